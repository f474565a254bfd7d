//! The order in which a tree goes by: depth first, siblings by the bytes of their names, and a
//! directory **after** all that is below it.
//!
//! After it, because a v2 server writes a directory's children before the directory's own indexes,
//! so that this is the only order with one line a node that needs no memory. Everything below a
//! directory is one run in it, which is what a comparison needs.
//!
//! Invariant: a stream that went through [`Check`] to its end is a tree: every node once, in order,
//! each in a directory that is there, unless it is a root of what was asked for.

use std::cmp::Ordering;
use std::fmt;

use super::node::{Node, is_below, is_clean, is_hidden_below, parent};

/// How two clean keys follow each other.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    match (a.get(same), b.get(same)) {
        (None, None) => Ordering::Equal,
        // The one is a directory above the other.
        (None, Some(b'/')) => Ordering::Greater,
        (Some(b'/'), None) => Ordering::Less,
        // A name that is the beginning of the other name.
        (None | Some(b'/'), Some(_)) => Ordering::Less,
        (Some(_), None | Some(b'/')) => Ordering::Greater,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

/// Which part of a tree is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The directory or file, with all below it that is not hidden.
    pub prefix: String,
    /// Hidden nodes to take along, each with what is below it: no listing shows them. Sorted.
    pub hidden: Vec<String>,
}

impl Scope {
    /// The scope, if it makes sense.
    pub fn new(prefix: String, hidden: Vec<String>) -> Result<Scope, String> {
        if !is_clean(&prefix) {
            return Err(format!("'{prefix}' is no key like /a/b"));
        }
        for key in &hidden {
            if !is_clean(key) || key == "/" {
                return Err(format!("'{key}' is no key like /a/_b"));
            }
            if !is_below(key, &prefix) {
                return Err(format!("{key} is not below {prefix}"));
            }
            if !is_hidden_below(key, &prefix) {
                return Err(format!("{key} is not hidden: no name in it begins with _"));
            }
            let others = hidden.iter().filter(|other| is_below(key, other));
            if let Some(other) = others.into_iter().find(|other| !is_hidden_below(key, other)) {
                return Err(format!("{key} comes with {other} already"));
            }
        }
        let mut sorted = hidden.clone();
        // By their names, and one before those that are hidden below it.
        sorted.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        sorted.dedup();
        if sorted.len() < hidden.len() {
            return Err("a hidden node is named twice".to_owned());
        }
        Ok(Scope { prefix, hidden: sorted })
    }

    /// All but what is hidden.
    pub fn everything() -> Scope {
        Scope { prefix: "/".to_owned(), hidden: Vec::new() }
    }

    fn is_root(&self, key: &str) -> bool {
        key == self.prefix || self.hidden.iter().any(|hidden| hidden == key)
    }

    fn holds(&self, key: &str) -> bool {
        let is_in = |root: &str| key == root || is_below(key, root);
        is_in(&self.prefix)
            && (!is_hidden_below(key, &self.prefix)
                || self.hidden.iter().any(|root| is_in(root) && !is_hidden_below(key, root)))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix.escape_debug())?;
        for (at, key) in self.hidden.iter().enumerate() {
            let before = if at == 0 { " with " } else { ", " };
            write!(f, "{before}{}", key.escape_debug())?;
        }
        Ok(())
    }
}

/// Sees a tree go by, and says where it is none.
#[derive(Debug)]
pub(super) struct Check {
    scope: Scope,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    key: String,
    needs_parent: bool,
}

impl Check {
    pub(super) fn new(scope: Scope) -> Check {
        Check { scope, last: None }
    }

    /// The next node.
    pub(super) fn see(&mut self, node: &Node) -> Result<(), String> {
        let key = node.key.as_str();
        if !is_clean(key) || key == "/" {
            return Err(format!("{key:?} is no key of a node"));
        }
        if !self.scope.holds(key) {
            return Err(format!("{key:?} is no part of {}", self.scope));
        }
        let needs_parent = !self.scope.is_root(key) && parent(key) != "/";
        let Some(last) = &mut self.last else {
            self.last = Some(Last { key: key.to_owned(), needs_parent });
            return Ok(());
        };
        match compare(&last.key, key) {
            Ordering::Less => {}
            Ordering::Equal => return Err(format!("{key:?} comes twice")),
            Ordering::Greater => {
                let last = &last.key;
                return Err(format!("{key:?} comes after {last:?}: this is not sorted"));
            }
        }
        if !node.is_dir() && is_below(&last.key, key) {
            return Err(format!("{key:?} is a file, and {:?} is below it", last.key));
        }
        let directory = parent(&last.key);
        if last.needs_parent && key != directory && !is_below(key, directory) {
            return Err(format!("{:?} is there, and its directory is not", last.key));
        }
        last.key.clear();
        last.key.push_str(key);
        last.needs_parent = needs_parent;
        Ok(())
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) -> Result<(), String> {
        match &self.last {
            Some(last) if last.needs_parent => {
                Err(format!("{:?} is there, and its directory is not", last.key))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
