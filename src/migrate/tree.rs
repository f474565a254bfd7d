//! A tree to read, wherever it is: on a server, or in a dump.
//!
//! Invariant: as those of both: nodes in one order, and `None` only behind a whole tree.

use std::fmt;
use std::io::BufRead;

use super::dump::Reader;
use super::{Node, Snapshot};

/// A dump that is read from anywhere.
pub type DumpReader = Reader<Box<dyn BufRead + Send>>;

/// A tree to read.
pub enum Tree<'c> {
    /// A server's.
    Server(Box<Snapshot<'c>>),
    /// A dump's, with the name of its file. It is read where it is asked for, though that may wait
    /// for a disk: nothing else goes on meanwhile.
    Dump(&'c mut DumpReader, String),
    /// One without nodes.
    Empty,
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
            Tree::Dump(dump, name) => match dump.next() {
                Ok(entry) => Ok(entry.map(|entry| entry.node)),
                Err(error) => Err(Unread(format!("{name}: {error}"))),
            },
            Tree::Empty => Ok(None),
        }
    }
}
