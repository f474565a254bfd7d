//! Reads a dump, a line at a time.
//!
//! Whether it is whole is known at its end only: who changes anything by what a dump says reads it
//! once to the end before, and then again. [`Entry::at`] and [`node_at`] find a node again without
//! its value having been kept.
//!
//! Invariant: [`Reader::next`] gives `None` only behind a last line that proves all before it.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use jiff::Timestamp;
use ring::digest::{Context, SHA256};

use super::super::order::Check;
use super::{
    Content, DumpError, FORMAT, FirstLine, Header, LAST_LINE_BEGINS, LINE_BYTES, Node, NodeLine,
    Scope, VERSION, last_line,
};

/// A node, and where its line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node.
    pub node: Node,
    /// The offset of its line in the file, for [`node_at`].
    pub at: u64,
}

/// Reads a dump.
pub struct Reader<R> {
    input: R,
    header: Header,
    check: Check,
    digest: Context,
    line: Vec<u8>,
    /// The number of the line that was read last.
    number: u64,
    /// The bytes that were read.
    offset: u64,
    nodes: u64,
    is_whole: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub fn begin(mut input: R) -> Result<Reader<R>, DumpError> {
        let mut line = Vec::new();
        read_line(&mut input, &mut line).map_err(|what| at(1, what))?;
        let header = header(&line).map_err(|what| at(1, what))?;
        let mut digest = Context::new(&SHA256);
        digest.update(&line);
        Ok(Reader {
            input,
            check: Check::new(header.scope.clone()),
            header,
            digest,
            number: 1,
            offset: line.len() as u64,
            line,
            nodes: 0,
            is_whole: false,
        })
    }

    /// What the first line says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// The next node; `None` at the end of a dump that is whole.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, an iterator goes on")]
    pub fn next(&mut self) -> Result<Option<Entry>, DumpError> {
        if self.is_whole {
            return Ok(None);
        }
        let offset = self.offset;
        self.number += 1;
        let entry = self.read(offset);
        entry.map_err(|what| at(self.number, what))
    }

    fn read(&mut self, at: u64) -> Result<Option<Entry>, String> {
        read_line(&mut self.input, &mut self.line)?;
        self.offset += self.line.len() as u64;
        if self.line.starts_with(LAST_LINE_BEGINS.as_bytes()) {
            self.end()?;
            self.is_whole = true;
            return Ok(None);
        }
        let node = node(&self.line)?;
        self.check.see(&node)?;
        self.digest.update(&self.line);
        self.nodes += 1;
        Ok(Some(Entry { node, at }))
    }

    /// Holds the last line against what was read.
    fn end(&mut self) -> Result<(), String> {
        let digest = self.digest.clone().finish();
        if self.line != last_line(self.nodes, digest.as_ref()).as_bytes() {
            return Err(format!(
                "the checksum is not that of the {} nodes before it: the file is damaged",
                self.nodes
            ));
        }
        self.check.end()?;
        match read_line_or_end(&mut self.input, &mut self.line) {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err("more comes after what should be the last line".to_owned()),
        }
    }
}

/// The node whose line begins there, in a dump that was read to its end before.
pub fn node_at(file: &mut (impl Read + Seek), offset: u64) -> Result<Node, DumpError> {
    let whole = |what: String| DumpError { line: None, what };
    file.seek(SeekFrom::Start(offset)).map_err(|error| whole(error.to_string()))?;
    let mut line = Vec::new();
    read_line(&mut BufReader::new(file), &mut line)
        .and_then(|()| node(&line))
        .map_err(|what| whole(format!("at byte {offset}: {what}: the file was changed meanwhile")))
}

fn at(line: u64, what: String) -> DumpError {
    DumpError { line: Some(line), what }
}

/// Reads a line, which has to be there.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), String> {
    match read_line_or_end(input, line)? {
        true => Ok(()),
        false => Err("the file ends before its last line: it is truncated".to_owned()),
    }
}

/// Reads a line with its end, and no more of a longer one than it may have; false at the end.
fn read_line_or_end(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    let read = input.take(LINE_BYTES as u64).read_until(b'\n', line);
    read.map_err(|error| format!("it could not be read: {error}"))?;
    match line.last() {
        Some(b'\n') => Ok(true),
        None => Ok(false),
        Some(_) if line.len() == LINE_BYTES => {
            Err(format!("it has more than {LINE_BYTES} bytes: no dump has such a line"))
        }
        Some(_) => Err("the file ends in the middle of this line: it is truncated".to_owned()),
    }
}

fn header(line: &[u8]) -> Result<Header, String> {
    let json: serde_json::Value = serde_json::from_slice(line).map_err(|_| no_dump())?;
    if json.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(no_dump());
    }
    match json.get("version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(format!("its format has version {version}, and only 1 is known here"));
        }
        None => return Err("it does not say the version of its format".to_owned()),
    }
    let first: FirstLine = serde_json::from_value(json).map_err(|error| damaged(&error))?;
    Ok(Header {
        source: first.source,
        server_version: first.server_version,
        scope: Scope::new(first.prefix, first.hidden)?,
        index: first.index,
        time: timestamp(&first.time)?,
    })
}

fn node(line: &[u8]) -> Result<Node, String> {
    let line: NodeLine<'_> = serde_json::from_slice(line).map_err(|error| damaged(&error))?;
    let content = match (line.value, line.dir) {
        (Some(value), None | Some(false)) => Content::File(value.into_owned()),
        (None, Some(true)) => Content::Dir,
        (Some(_), Some(true)) => return Err("it is a file and a directory".to_owned()),
        (None, None | Some(false)) => return Err("it is no file and no directory".to_owned()),
    };
    Ok(Node {
        key: line.key.into_owned(),
        content,
        created: line.created_index,
        modified: line.modified_index,
        expiration: line.expiration.as_deref().map(timestamp).transpose()?,
    })
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("{text:?} is no time of RFC 3339: {error}"))
}

fn no_dump() -> String {
    format!("this is no \"{FORMAT}\"")
}

/// What is wrong with a line, without its content: that may be a value.
fn damaged(error: &serde_json::Error) -> String {
    format!("it is damaged (column {})", error.column())
}
