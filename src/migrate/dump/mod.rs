//! A tree in a file: what `export` writes, and `import` and `verify` read.
//!
//! JSON lines, so that jq and a person can read it. The first line says what the file is, then
//! comes a line a node, and the last line is the proof that all of it is there:
//!
//! ```text
//! {"format":"etcdynamo dump","version":1,"source":"http://etcd:2379","serverVersion":"3.4.23",
//!  "prefix":"/","hidden":["/_locks"],"index":17,"time":"2026-11-22T11:49:18Z"}      (one line)
//! {"key":"/_locks","dir":true,"createdIndex":5,"modifiedIndex":5}
//! {"key":"/a/b","value":"1","createdIndex":4,"modifiedIndex":9}
//! {"key":"/a/c","value":"2","createdIndex":7,"modifiedIndex":7,"expiration":"2026-11-22T12:00:00.5Z"}
//! {"key":"/a","dir":true,"createdIndex":4,"modifiedIndex":4}
//! {"nodes":4,"sha256":"5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"}
//! ```
//!
//! - `index` is the `X-Etcd-Index` from which a watch misses nothing that the file does not have.
//! - A node has a `value`, or `dir`. Its `expiration` is RFC 3339, with the server's fraction of a
//!   second; one that does not expire has none. Keys are whole, and as etcd writes them.
//! - **A directory comes after all that is below it**, and siblings come in the order of the bytes
//!   of their names. A v2 server says a directory's createdIndex after its children, so any other
//!   order would need the whole directory in memory. Every node's directory is in the file, but for
//!   the prefix and the hidden nodes, whose directories are made as they are needed. The root
//!   itself is no node: it has no line.
//! - `nodes` counts the lines between. `sha256` is that of all bytes before the last line. A file
//!   whose last line is another one is not whole, whatever it has.
//!
//! Every line ends with `\n`. A reader leaves out fields of the first line and of nodes that it does
//! not know, and refuses another `version`: so fields may be added, and whatever cannot be left
//! out raises the version. The last line has these two fields, in this order, without spaces.
//!
//! Invariant: what [`Writer`] wrote to its end, [`Reader`] reads; what is anything else, it refuses
//! by its line.

mod file;
mod read;
mod write;

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use file::PartialFile;
pub use read::{Entry, Reader, node_at};
pub use write::Writer;

use super::node::NODE_JSON_BYTES;
use super::{Content, Node, Scope};

/// What the first line calls the format.
const FORMAT: &str = "etcdynamo dump";

/// The one version there is.
const VERSION: u64 = 1;

/// The longest line: the largest node, and what stands around its key and value.
const LINE_BYTES: usize = NODE_JSON_BYTES + 1024;

/// What a tree is a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The server's URL, without credentials.
    pub source: String,
    /// Its version, if it said one.
    pub server_version: Option<String>,
    /// Which part of its tree.
    pub scope: Scope,
    /// The index to watch from.
    pub index: u64,
    /// When it was begun.
    pub time: Timestamp,
}

/// Why a dump was not read or not written, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpError {
    /// The line, from 1 on, where it is one line's fault.
    pub line: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for DumpError {}

/// The first line. Fields are declared in the order in which they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstLine {
    format: String,
    version: u64,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_version: Option<String>,
    prefix: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    hidden: Vec<String>,
    index: u64,
    time: String,
}

/// A node's line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeLine<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<bool>,
    created_index: u64,
    modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
}

/// The last line, byte for byte.
fn last_line(nodes: u64, sha256: &[u8]) -> String {
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{LAST_LINE_BEGINS}{nodes},\"sha256\":\"{hex}\"}}\n")
}

/// No other line begins so.
const LAST_LINE_BEGINS: &str = "{\"nodes\":";

#[cfg(test)]
mod tests;
