//! The tree of a server as a stream of nodes, in the order of [`super::order`].
//!
//! `GET /v2/keys/PREFIX?recursive=true&sorted=true&quorum=true`, parsed as it comes. From etcd that
//! is one moment of the tree. What etcdynamo shows is consistent key by key; and where it refuses a
//! listing as too large, several of them are put together ([`walk`]). [`Snapshot::index`] is good
//! to follow from in any case: it is that of the **first** listing. Whatever is written after that
//! moment is told by a watch from there on, whether a later listing shows it already or not, and
//! whatever was written before is in the first listing, or in a later one unless it was changed
//! again meanwhile, of which the watch tells. Who carries out these events once more on top of
//! what was read comes to the state of the server: an event says what a node is, not by how much it
//! changed.
//!
//! Hidden nodes are in no listing. Those that the [`Scope`] names are asked for one by one when it
//! is their turn; one that is not there is left out.
//!
//! Invariant: who gets `None` got a whole tree ([`super::order::Check`]); an answer that breaks off
//! is an error.

mod stream;
mod walk;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use super::order::{self, Check};
use super::{Node, Scope};
use crate::v2client::{self, Client};
use walk::{Place, Walk};

/// Why there is no tree, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeError {
    /// The server was asked for a node that is not there.
    NotThere(String),
    /// The server refused, or did not answer.
    Call(v2client::Error),
    /// Its answer breaks off.
    Broken(String),
    /// Its answer is no tree of v2.
    Strange(String),
}

impl TreeError {
    /// The code of v2, if the server refused.
    pub fn code(&self) -> Option<u32> {
        match self {
            TreeError::Call(error) => error.code(),
            TreeError::NotThere(_) | TreeError::Broken(_) | TreeError::Strange(_) => None,
        }
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeError::NotThere(key) => write!(f, "there is no {}", key.escape_debug()),
            TreeError::Call(error) => error.fmt(f),
            TreeError::Broken(what) | TreeError::Strange(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for TreeError {}

/// A tree that is being read.
pub struct Snapshot<'c> {
    place: Place<'c>,
    /// The prefix first, then hidden nodes inside of which we are.
    walks: Vec<Walk>,
    /// Hidden nodes whose turn is still to come, the next one last.
    hidden: Vec<String>,
    check: Check,
}

impl<'c> Snapshot<'c> {
    /// Begins to read. Nothing was given out yet, so an answer that breaks off is asked for once
    /// more.
    pub async fn open(client: &'c Client, scope: &Scope) -> Result<Snapshot<'c>, TreeError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut place = Place { client, head: None, listings: 0, bytes };
        let walk = match Walk::begin(&mut place, &scope.prefix).await {
            Err(TreeError::Broken(_)) => Walk::begin(&mut place, &scope.prefix).await?,
            walk => walk?,
        };
        let hidden = scope.hidden.iter().rev().cloned().collect();
        Ok(Snapshot { place, walks: vec![walk], hidden, check: Check::new(scope.clone()) })
    }

    /// The same; none where there is nothing.
    pub async fn open_if_there(
        client: &'c Client,
        scope: &Scope,
    ) -> Result<Option<Snapshot<'c>>, TreeError> {
        match Snapshot::open(client, scope).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(TreeError::NotThere(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The `X-Etcd-Index` of the first listing; etcd and etcdynamo always say it.
    pub fn index(&self) -> Option<u64> {
        self.place.head.as_ref()?.index
    }

    /// The `X-Etcd-Cluster-Id`, if the server said one.
    pub fn cluster(&self) -> Option<&str> {
        self.place.head.as_ref()?.cluster.as_deref()
    }

    /// How many listings it took so far. One is one moment of etcd's tree.
    pub fn listings(&self) -> u64 {
        self.place.listings
    }

    /// How many bytes the server sent so far.
    pub fn bytes(&self) -> u64 {
        self.place.bytes.load(Atomic::Relaxed)
    }

    /// The next node; `None` behind the last one of a whole tree.
    pub async fn next(&mut self) -> Result<Option<Node>, TreeError> {
        let node = self.unchecked().await?;
        let checked = match &node {
            Some(node) => self.check.see(node),
            None => self.check.end(),
        };
        match checked {
            Ok(()) => Ok(node),
            Err(what) => {
                // Two keys may come out as one, or in another order than that of their bytes.
                let hint = match what.contains(char::REPLACEMENT_CHARACTER) {
                    true => " (a server shows U+FFFD for bytes that are not UTF-8)",
                    false => "",
                };
                Err(TreeError::Strange(format!("{}: {what}{hint}", self.place.name())))
            }
        }
    }

    async fn unchecked(&mut self) -> Result<Option<Node>, TreeError> {
        loop {
            let next = self.walks.last().and_then(Walk::peek);
            // Where nothing comes here any more, those around this walk have their turn first.
            let is_due = |hidden: &String| match next {
                Some(next) => order::compare(hidden, &next.key).is_lt(),
                None => self.walks.is_empty(),
            };
            if let Some(key) = self.hidden.pop_if(|hidden| is_due(hidden)) {
                match Walk::begin(&mut self.place, &key).await {
                    Ok(walk) => self.walks.push(walk),
                    Err(TreeError::NotThere(_)) => {}
                    Err(error) => return Err(error),
                }
                continue;
            }
            let Some(walk) = self.walks.last_mut() else { return Ok(None) };
            match walk.take(&mut self.place).await? {
                None => drop(self.walks.pop()),
                node => return Ok(node),
            }
        }
    }
}

#[cfg(test)]
mod tests;
