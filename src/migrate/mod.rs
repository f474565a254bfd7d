//! Moving trees: out of a server into a file, from one server into another, and whether two are
//! equal. A server here is any that speaks etcd v2.
//!
//! Not here: flags and what is printed ([`crate::commands`]). Invariant: nothing holds a whole tree
//! in memory, and a tree that was not read to its end is an error, never a short tree.

pub mod compare;
pub mod dump;
pub mod export;
pub mod follow;
pub mod import;
pub mod info;
mod listing;
mod node;
mod order;
pub mod snapshot;
mod tree;
mod ttl;

pub use node::{Content, Node};
pub use order::Scope;
pub use snapshot::{Snapshot, TreeError};
pub use tree::{DumpReader, Tree, Unread};
