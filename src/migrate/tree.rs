//! A tree to read, wherever it is: on a server, or in a dump.
//!
//! Invariant: as those of both: nodes in one order, and `None` only behind a whole tree.

use std::fmt;
use std::io::BufRead;

use super::dump::Reader;
use super::{Node, Snapshot};

/// A tree to read.
pub enum Tree<'c> {
    /// A server's.
    Server(Box<Snapshot<'c>>),
    /// A dump's. A file is read where it is asked for: nothing else waits in a command.
    Dump(Box<Reader<Box<dyn BufRead + Send>>>),
}

/// Why a tree was not read to its end, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread(pub String);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unread {}

impl Tree<'_> {
    /// The next node; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Node>, Unread> {
        match self {
            Tree::Server(tree) => tree.next().await.map_err(|error| Unread(error.to_string())),
            Tree::Dump(dump) => match dump.next() {
                Ok(entry) => Ok(entry.map(|entry| entry.node)),
                Err(error) => Err(Unread(error.to_string())),
            },
        }
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        match self {
            Tree::Server(tree) => tree.bytes(),
            Tree::Dump(dump) => dump.bytes(),
        }
    }
}
