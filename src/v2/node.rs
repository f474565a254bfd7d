//! A node and an event as replies show them.

use std::sync::Arc;

use super::index::{EtcdIndex, UnixMs, ttl_left};
use super::item::{Action, Item, Value};
use super::key::Key;

/// A node as a reply shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The key. The root's is not shown, nor are its indexes.
    pub key: Key,
    /// The value; `None` for a directory, and in the node of a removal.
    pub value: Option<Value>,
    /// Whether this is a directory.
    pub dir: bool,
    /// When it expires.
    pub expiration: Option<UnixMs>,
    /// The seconds left, as of the reply; not shown when 0.
    pub ttl: i64,
    /// The children that a listing shows.
    pub nodes: Vec<Listed>,
    /// The index of the last change.
    pub modified: EtcdIndex,
    /// The index of the creation.
    pub created: EtcdIndex,
}

/// A node below the one that a listing is of. It shares the store's item: a listing of thousands
/// copies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The item of the node.
    pub item: Arc<Item>,
    /// The seconds left, as of the reply; not shown when 0.
    pub ttl: i64,
    /// The children, in a recursive listing.
    pub nodes: Vec<Listed>,
}

impl Listed {
    /// The item as a listing at this time shows it.
    pub fn new(item: Arc<Item>, nodes: Vec<Listed>, now: UnixMs) -> Listed {
        let ttl = item.expiration.map_or(0, |expiration| ttl_left(now, expiration));
        Listed { item, ttl, nodes }
    }
}

impl Node {
    /// The root directory, which has no item of its own to show.
    pub fn root() -> Node {
        Node {
            key: Key::root(),
            value: None,
            dir: true,
            expiration: None,
            ttl: 0,
            nodes: Vec::new(),
            modified: EtcdIndex(0),
            created: EtcdIndex(0),
        }
    }

    /// What the event of a removal shows of the node that went: no value and no expiration.
    pub fn gone(&self, index: EtcdIndex) -> Node {
        Node {
            key: self.key.clone(),
            value: None,
            dir: self.dir,
            expiration: None,
            ttl: 0,
            nodes: Vec::new(),
            modified: index,
            created: self.created,
        }
    }
}

/// The answer to a request that went through, and what a watcher is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub action: Action,
    /// The node after it.
    pub node: Node,
    /// The node before it; never for `create` and `get`.
    pub prev_node: Option<Node>,
    /// Whether a node that was not there is there now: the answer is a 201.
    pub is_created: bool,
    /// Whether no watcher is told.
    pub is_refresh: bool,
}

impl Event {
    /// What a write of this index tells, of its node after it and before it. `is_new`: nothing was
    /// there.
    pub(super) fn of_write(
        action: Action,
        index: EtcdIndex,
        after: Node,
        before: Option<Node>,
        is_new: bool,
    ) -> Event {
        let (mut node, mut prev_node) = (after, before);
        match action {
            Action::Delete | Action::CompareAndDelete => node = node.gone(index),
            Action::Expire => {
                node = node.gone(index);
                prev_node = prev_node.map(|prev| Node { ttl: 0, ..prev });
            }
            // A directory's update shows the new index although the node keeps its old one
            // (store.go, `Update` makes the event before `Write` refuses).
            Action::Get
            | Action::Set
            | Action::Create
            | Action::Update
            | Action::CompareAndSwap => node.modified = index,
        }
        let is_created = match action {
            Action::Create => true,
            Action::Set => is_new,
            Action::Get
            | Action::Update
            | Action::CompareAndSwap
            | Action::Delete
            | Action::CompareAndDelete
            | Action::Expire => false,
        };
        Event { action, node, prev_node, is_created, is_refresh: false }
    }

    /// The answer to a read.
    pub fn get(node: Node) -> Event {
        Event { action: Action::Get, node, prev_node: None, is_created: false, is_refresh: false }
    }
}
