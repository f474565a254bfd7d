//! A request to the tree, after its parameters were read and found well formed.

use super::index::{EtcdIndex, UnixMs};
use super::item::Value;
use super::key::Key;

/// A read of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which node.
    pub key: Key,
    /// The whole subtree instead of one level.
    pub recursive: bool,
    /// Children in the order of their keys, at every level.
    pub sorted: bool,
    /// Linearizable, whatever the server's default is.
    pub quorum: bool,
}

/// A wait for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Which node.
    pub key: Key,
    /// What happens below it too.
    pub recursive: bool,
    /// All events, not only the first.
    pub stream: bool,
    /// From this index on; `None`: from now on.
    pub since: Option<EtcdIndex>,
}

/// A change of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which node; for an in-order creation, the directory.
    pub key: Key,
    /// What to do with it.
    pub operation: Operation,
}

/// What a write does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// PUT: create the node, or replace the file that is there.
    Set(Draft),
    /// PUT with prevExist=false: create the node where there is none.
    Create(Draft),
    /// POST: create a child named by its index.
    CreateInOrder(Draft),
    /// PUT with prevExist=true: change the node that is there.
    Update(Draft),
    /// PUT with prevValue or prevIndex: change the file where it is the one that was meant.
    CompareAndSwap(Draft, Compare),
    /// DELETE.
    Delete(Removal),
    /// DELETE with prevValue or prevIndex: remove the file where it is the one that was meant.
    CompareAndDelete(Compare),
    /// The TTL of the node ran out, as seen in this version of it. No client asks for this.
    Expire(Seen),
}

/// What a write puts into a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The value of a file.
    pub value: Value,
    /// Make a directory. Update and compareAndSwap do not look at it.
    pub dir: bool,
    /// Keep the value and tell no watcher.
    pub refresh: bool,
    /// When the node shall expire; none: it stays.
    pub expiration: Option<UnixMs>,
}

/// The conditions of a compareAndSwap or compareAndDelete; at least one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compare {
    /// The value that the file must have.
    pub prev_value: Option<Value>,
    /// The modifiedIndex that the file must have.
    pub prev_index: Option<EtcdIndex>,
}

/// How much a DELETE may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// An empty directory too.
    pub dir: bool,
    /// A directory with all that is in it.
    pub recursive: bool,
}

/// A version of a node that was seen to be past its expiration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its modifiedIndex.
    pub modified: EtcdIndex,
    /// Its expiration.
    pub expiration: UnixMs,
}
