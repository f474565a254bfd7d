//! The state of the model: nodes by key, and the highest index that each key ever had.

use std::collections::BTreeMap;

/// An index, or that of a call whose answer never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// What an answer showed.
    Known(u64),
    /// The index of the call with this number, which nothing has shown yet.
    Of(usize),
}

/// When a node expires: as exactly as is known, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expires {
    /// Not before.
    pub earliest: i64,
    /// Not after.
    pub latest: i64,
}

/// A node that is in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its value; `None`: it is a directory.
    pub value: Option<String>,
    /// Its createdIndex.
    pub created: Index,
    /// Its modifiedIndex.
    pub modified: Index,
    /// When it expires.
    pub expires: Option<Expires>,
}

/// A tree below a directory that is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The nodes.
    pub nodes: BTreeMap<String, Node>,
    /// The highest index known of each key, also of those that are gone.
    pub floors: BTreeMap<String, u64>,
}

impl State {
    /// The highest index known of a key.
    #[must_use]
    pub fn floor(&self, key: &str) -> u64 {
        self.floors.get(key).copied().unwrap_or(0)
    }

    /// Whether the directory of a key is there.
    #[must_use]
    pub fn has_parent(&self, key: &str) -> bool {
        parent(key).is_none_or(|dir| self.nodes.get(dir).is_some_and(|node| node.value.is_none()))
    }

    /// The keys below a directory.
    #[must_use]
    pub fn below(&self, dir: &str) -> Vec<String> {
        let prefix = format!("{dir}/");
        self.nodes.keys().filter(|key| key.starts_with(&prefix)).cloned().collect()
    }

    /// Takes note that an index is this. `None`: it can't be.
    #[must_use]
    pub fn bind(&mut self, index: Index, shown: u64) -> Option<()> {
        let number = match index {
            Index::Known(known) => return (known == shown).then_some(()),
            Index::Of(number) => number,
        };
        self.name(number, shown).iter().try_for_each(|key| self.raise(key, shown))
    }

    /// Puts an index that became known where it was missing. Gives the keys that it is the
    /// modifiedIndex of.
    pub fn name(&mut self, number: usize, shown: u64) -> Vec<String> {
        let mut modified = Vec::new();
        for (key, node) in &mut self.nodes {
            if node.created == Index::Of(number) {
                node.created = Index::Known(shown);
            }
            if node.modified == Index::Of(number) {
                node.modified = Index::Known(shown);
                modified.push(key.clone());
            }
        }
        modified
    }

    /// Takes note that a key has this index now. `None`: it had a higher one, or this, before.
    #[must_use]
    pub fn raise(&mut self, key: &str, index: u64) -> Option<()> {
        if index <= self.floor(key) {
            return None;
        }
        self.floors.insert(key.to_owned(), index);
        Some(())
    }
}

/// The directory of a key; `None`: the one that is always there.
#[must_use]
pub(super) fn parent(key: &str) -> Option<&str> {
    key.rsplit_once('/').map(|(dir, _)| dir)
}

/// The directories above a key, from the top down.
#[must_use]
pub(super) fn ancestors(key: &str) -> Vec<&str> {
    key.match_indices('/').map(|(at, _)| &key[..at]).collect()
}
