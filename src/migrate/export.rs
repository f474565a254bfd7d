//! A server's tree into a dump.
//!
//! Not here: where the dump goes, and what is said of it. Invariant: what was written to its end is
//! the whole tree.

use std::fmt;
use std::io::Write;

use jiff::Timestamp;

use super::dump::{DumpError, Header, Writer};
use super::{Scope, Snapshot, TreeError};
use crate::v2client::Client;

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many nodes.
    pub nodes: u64,
    /// How many bytes were written.
    pub bytes: u64,
    /// The index to watch from.
    pub index: u64,
    /// How many listings it took.
    pub listings: u64,
    /// Nodes with U+FFFD in their key or value, by which a server shows a byte that is not UTF-8:
    /// what was there is not known.
    pub replaced: u64,
}

/// Why nothing was exported, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportError {
    /// The tree was not read.
    Tree(TreeError),
    /// The dump was not written.
    Dump(DumpError),
    /// The server says no `X-Etcd-Index`, so nobody could go on from there.
    NoIndex,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Tree(error) => error.fmt(f),
            ExportError::Dump(error) => error.fmt(f),
            ExportError::NoIndex => f.write_str("the server says no X-Etcd-Index"),
        }
    }
}

impl std::error::Error for ExportError {}

/// The version of etcd that a server says it is, if it says one.
pub async fn version(client: &Client) -> Option<String> {
    let text = client.version().await.ok()?;
    let json = serde_json::from_str::<serde_json::Value>(&text).ok();
    let version = json.as_ref().and_then(|json| json.get("etcdserver")?.as_str());
    // Before 2.1 it was a line of text.
    let version = version.unwrap_or(text.trim());
    let is_one = !version.is_empty() && version.len() < 100 && !version.contains(['{', '<', '\n']);
    is_one.then(|| version.to_owned())
}

/// Writes the tree there, which should be buffered. `progress` is told nodes and bytes so far.
pub async fn export<W: Write>(
    client: &Client,
    scope: &Scope,
    time: Timestamp,
    out: W,
    mut progress: impl FnMut(u64, u64),
) -> Result<(W, Exported), ExportError> {
    let mut snapshot = Snapshot::open(client, scope).await.map_err(ExportError::Tree)?;
    let index = snapshot.index().ok_or(ExportError::NoIndex)?;
    let header = Header {
        source: client.endpoints().to_string(),
        server_version: version(client).await,
        scope: scope.clone(),
        index,
        time,
    };
    let mut writer = Writer::begin(out, &header).map_err(ExportError::Dump)?;
    let mut replaced = 0;
    while let Some(node) = snapshot.next().await.map_err(ExportError::Tree)? {
        writer.node(&node).map_err(ExportError::Dump)?;
        replaced += u64::from(node.has_replacement());
        progress(writer.nodes(), writer.bytes());
    }
    let (nodes, bytes, listings) = (writer.nodes(), writer.bytes(), snapshot.listings());
    let out = writer.finish().map_err(ExportError::Dump)?;
    Ok((out, Exported { nodes, bytes, index, listings, replaced }))
}
