//! Removed directories of the last moments, and the nodes that went with them.
//!
//! What another gateway removed comes as one event for the directory and one note for each node that
//! went with it, in any order, and in a large removal under later indexes. Here they find each
//! other. Invariant: a note whose event does not come is kept until it is due, and then given up to
//! be doubted; it is never dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::v2::{Action, EtcdIndex, Event, Key};

/// How many removals are remembered.
const MAX_REMOVALS: usize = 256;

/// How nodes inside a removed directory are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// All of them, with the event.
    Known,
    /// By notes.
    ToldOf,
}

#[derive(Debug)]
struct Removal {
    event: Arc<Event>,
    /// Its place in the order in which events came in.
    number: u64,
    inside: Inside,
}

#[derive(Debug, Default)]
pub(super) struct Removals {
    latest: VecDeque<Removal>,
    /// Nodes that went with a directory of which nothing is known yet.
    strays: Vec<Went>,
}

/// A node that went with a directory above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Went {
    /// The node.
    pub key: Key,
    /// Its createdIndex. A removal before that is not the one it went with.
    pub created: EtcdIndex,
    /// The index of the write that removed it: the directory's, or a later one.
    pub index: EtcdIndex,
}

impl Went {
    fn is_by(&self, event: &Event) -> bool {
        let removal = event.node.modified;
        self.key.is_below(&event.node.key) && self.created <= removal && removal <= self.index
    }
}

impl Removals {
    /// Notes an event, if it is the removal of a directory. Gives the nodes that are known by now to
    /// have gone with it.
    pub(super) fn note(&mut self, event: &Arc<Event>, number: u64, inside: Inside) -> Vec<Key> {
        let was_dir = event.prev_node.as_ref().is_some_and(|prev| prev.dir);
        if !was_dir || !matches!(event.action, Action::Delete | Action::Expire) {
            return Vec::new();
        }
        self.latest.push_back(Removal { event: Arc::clone(event), number, inside });
        if self.latest.len() > MAX_REMOVALS {
            self.latest.pop_front();
        }
        self.strays.extract_if(.., |went| went.is_by(event)).map(|went| went.key).collect()
    }

    /// The removal with which a node went, and its number; `None` where nobody has to be told, or
    /// where it is not known yet: then the node is kept in mind.
    pub(super) fn of(&mut self, went: &Went) -> Option<(Arc<Event>, u64)> {
        let mine = self.latest.iter().filter(|removal| went.is_by(&removal.event));
        match mine.min_by_key(|removal| removal.event.node.modified) {
            Some(Removal { inside: Inside::Known, .. }) => None,
            Some(removal) => Some((Arc::clone(&removal.event), removal.number)),
            None => {
                self.strays.push(went.clone());
                None
            }
        }
    }

    /// The nodes whose removal should have come by now, as everything up to this index has.
    pub(super) fn take_strays(&mut self, upto: EtcdIndex) -> Vec<Went> {
        if self.strays.is_empty() {
            return Vec::new();
        }
        self.strays.extract_if(.., |went| went.index <= upto).collect()
    }
}
