//! Writes a dump, a node at a time.
//!
//! Invariant: nothing is written that [`super::Reader`] would refuse, and without
//! [`Writer::finish`] it refuses all of it.

use std::borrow::Cow;
use std::io::Write;

use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::super::order::Check;
use super::{Content, DumpError, FORMAT, FirstLine, Header, LINE_BYTES, Node, NodeLine, VERSION};

/// Writes a dump.
pub struct Writer<W> {
    out: W,
    check: Check,
    digest: Context,
    line: Vec<u8>,
    nodes: u64,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins with the first line. `out` should be buffered.
    pub fn begin(out: W, header: &Header) -> Result<Writer<W>, DumpError> {
        let check = Check::new(header.scope.clone());
        let digest = Context::new(&SHA256);
        let mut writer = Writer { out, check, digest, line: Vec::new(), nodes: 0, bytes: 0 };
        writer.put(&FirstLine {
            format: FORMAT.to_owned(),
            version: VERSION,
            source: header.source.clone(),
            server_version: header.server_version.clone(),
            prefix: header.scope.prefix.clone(),
            hidden: header.scope.hidden.clone(),
            index: header.index,
            time: header.time.to_string(),
        })?;
        Ok(writer)
    }

    /// Writes the next node, in the order of a dump.
    pub fn node(&mut self, node: &Node) -> Result<(), DumpError> {
        self.check.see(node).map_err(whole)?;
        self.put(&NodeLine {
            key: Cow::Borrowed(&node.key),
            value: match &node.content {
                Content::File(value) => Some(Cow::Borrowed(value)),
                Content::Dir => None,
            },
            dir: node.is_dir().then_some(true),
            created_index: node.created,
            modified_index: node.modified,
            expiration: node.expiration.map(|at| at.to_string()),
        })?;
        self.nodes += 1;
        Ok(())
    }

    /// Nodes written so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the last line, flushes, and gives back where it all went.
    pub fn finish(mut self) -> Result<W, DumpError> {
        self.check.end().map_err(whole)?;
        let last = super::last_line(self.nodes, self.digest.finish().as_ref());
        self.out.write_all(last.as_bytes()).map_err(not_written)?;
        self.out.flush().map_err(not_written)?;
        Ok(self.out)
    }

    fn put(&mut self, line: &impl Serialize) -> Result<(), DumpError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| whole(error.to_string()))?;
        self.line.push(b'\n');
        if self.line.len() > LINE_BYTES {
            return Err(whole(format!("a node of more than {LINE_BYTES} bytes")));
        }
        self.digest.update(&self.line);
        self.bytes += self.line.len() as u64;
        self.out.write_all(&self.line).map_err(not_written)
    }
}

fn whole(what: String) -> DumpError {
    DumpError { line: None, what }
}

fn not_written(error: std::io::Error) -> DumpError {
    whole(format!("it could not be written: {error}"))
}
