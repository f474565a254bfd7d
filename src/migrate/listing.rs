//! The answer to a recursive GET, parsed as it comes: a node goes out as soon as its last brace was
//! read, and is forgotten.
//!
//! A v2 server writes a node's key first, then what is below it, then its indexes (etcd's
//! v2store/node_extern.go). So a directory goes out after its children, as [`super::order`] has it.
//!
//! Not here: where the bytes come from, and whether the nodes are in order. Invariant: no more is
//! held than one node's JSON and the keys of the directories above it, whatever is sent. What is
//! said of a bad answer holds nothing of its content: that may be values.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, BufReader, Read};

use jiff::Timestamp;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::node::NODE_JSON_BYTES;
use super::{Content, Node, node};

/// The most directories that a node may be in.
const DEEPEST: usize = 1000;

/// Enough of a stack for as many: without optimization it takes between 2 and 4 MB, and less with.
pub(super) const STACK_BYTES: usize = 16 << 20;

/// Whom a node is given to; false if nobody wants more.
pub(super) type Taker<'a> = &'a mut dyn FnMut(Node) -> bool;

/// Why an answer is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misread {
    /// It breaks off, or the connection does.
    Broken(String),
    /// It is no listing.
    Strange(String),
    /// Nobody wants more.
    Stopped,
}

/// Parses the answer to a GET of this key, and gives all its nodes away. The root is none.
pub(super) fn parse(answer: impl Read, key: &str, taker: Taker<'_>) -> Result<(), Misread> {
    let spent = Cell::new(0);
    let sink =
        Sink { taker: RefCell::new(taker), spent: &spent, problem: RefCell::new(None), top: key };
    let metered = Metered { inner: BufReader::with_capacity(64 << 10, answer), spent: &spent };
    let mut json = serde_json::Deserializer::from_reader(metered);
    // Depth is counted here.
    json.disable_recursion_limit();
    let parsed = Answer(&sink).deserialize(&mut json).and_then(|()| json.end());
    match (parsed, sink.problem.into_inner()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(problem)) => Err(problem),
        (Err(error), None) => Err(misread(error)),
    }
}

fn misread(error: serde_json::Error) -> Misread {
    let byte = error.column();
    match error.classify() {
        Category::Io => Misread::Broken(io::Error::from(error).to_string()),
        Category::Eof => Misread::Broken("its answer breaks off".to_owned()),
        Category::Syntax => Misread::Strange(format!("its answer is no JSON at byte {byte}")),
        Category::Data => {
            Misread::Strange(format!("its answer has a field of another type at byte {byte}"))
        }
    }
}

/// Refuses a node that takes more than any node may.
struct Metered<'a, R> {
    inner: BufReader<R>,
    spent: &'a Cell<usize>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let spent = self.spent.get() + count;
        self.spent.set(spent);
        if spent > NODE_JSON_BYTES {
            let what = format!("its answer has more than {NODE_JSON_BYTES} bytes for one node");
            return Err(io::Error::other(what));
        }
        Ok(count)
    }
}

struct Sink<'a> {
    taker: RefCell<Taker<'a>>,
    /// Bytes since the last node went out.
    spent: &'a Cell<usize>,
    problem: RefCell<Option<Misread>>,
    /// The key that was asked for.
    top: &'a str,
}

impl Sink<'_> {
    /// Ends the parsing with this.
    fn end<E: serde::de::Error>(&self, problem: Misread) -> E {
        self.problem.borrow_mut().get_or_insert(problem);
        E::custom("")
    }

    fn strange<E: serde::de::Error>(&self, what: String) -> E {
        self.end(Misread::Strange(format!("its answer has {what}")))
    }

    fn give<E: serde::de::Error>(&self, node: Node) -> Result<(), E> {
        self.spent.set(0);
        let mut taker = self.taker.borrow_mut();
        if taker(node) { Ok(()) } else { Err(self.end(Misread::Stopped)) }
    }
}

/// `{"action":"get","node":{...}}`.
struct Answer<'s, 't>(&'s Sink<'t>);

impl<'de> DeserializeSeed<'de> for Answer<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_there = false;
        while let Some(field) = map.next_key::<String>()? {
            if field == "node" && !is_there {
                is_there = true;
                map.next_value_seed(NodeSeed { sink: self.0, parent: None, depth: 0 })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if is_there { Ok(()) } else { Err(self.0.strange("no node".to_owned())) }
    }
}

/// A node, in this directory.
#[derive(Clone, Copy)]
struct NodeSeed<'s, 't> {
    sink: &'s Sink<'t>,
    /// `None`: it is what was asked for.
    parent: Option<&'s str>,
    depth: usize,
}

/// What was read of a node.
#[derive(Default)]
struct Fields {
    key: Option<String>,
    value: Option<String>,
    is_dir: bool,
    has_nodes: bool,
    expiration: Option<Timestamp>,
    created: Option<u64>,
    modified: Option<u64>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Fields::default();
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "key" if fields.key.is_none() && !fields.has_nodes => {
                    let key = map.next_value::<String>()?;
                    self.expect(&key)?;
                    fields.key = Some(key);
                }
                "value" => fields.value = map.next_value()?,
                "dir" => fields.is_dir = map.next_value()?,
                "expiration" => {
                    let text = map.next_value::<String>()?;
                    fields.expiration = Some(text.parse().map_err(|_| {
                        self.sink.strange::<A::Error>(format!("no time of RFC 3339: {text:?}"))
                    })?);
                }
                "nodes" if !fields.has_nodes => {
                    fields.has_nodes = true;
                    let parent = Some(self.directory(&fields)?);
                    let NodeSeed { sink, depth, .. } = self;
                    map.next_value_seed(Nodes(NodeSeed { sink, parent, depth: depth + 1 }))?;
                }
                "createdIndex" => fields.created = Some(map.next_value()?),
                "modifiedIndex" => fields.modified = Some(map.next_value()?),
                "key" | "nodes" => return Err(self.sink.strange(format!("a second {field}"))),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.finish(fields)
    }
}

impl NodeSeed<'_, '_> {
    /// Whether this key can be here.
    fn expect<E: serde::de::Error>(&self, key: &str) -> Result<(), E> {
        let is_here = match self.parent {
            None => key == self.sink.top,
            Some(parent) => node::is_clean(key) && key != "/" && node::parent(key) == parent,
        };
        if self.depth > DEEPEST {
            return Err(self.sink.strange(format!("a node in more than {DEEPEST} directories")));
        }
        if is_here { Ok(()) } else { Err(self.sink.strange(format!("{key:?} in a wrong place"))) }
    }

    /// The key of a directory whose nodes begin.
    fn directory<'k, E: serde::de::Error>(&self, fields: &'k Fields) -> Result<&'k str, E> {
        match &fields.key {
            Some(key) => Ok(key),
            None if self.is_root() => Ok("/"),
            None => Err(self.sink.strange("the nodes of a directory before its key".to_owned())),
        }
    }

    /// The root has no key, or this one, and no indexes.
    fn is_root(&self) -> bool {
        self.parent.is_none() && self.sink.top == "/"
    }

    fn finish<E: serde::de::Error>(&self, fields: Fields) -> Result<(), E> {
        let sink = self.sink;
        let key = fields.key.unwrap_or_else(|| "/".to_owned());
        let content = match (fields.value, fields.is_dir) {
            (None, true) => Content::Dir,
            (Some(_), true) => {
                return Err(sink.strange(format!("a directory {key:?} with a value")));
            }
            (_, false) if fields.has_nodes => {
                return Err(sink.strange(format!("a file {key:?} with nodes below it")));
            }
            // A file always has a value on the wire; where it had none, it could be read as this.
            (value, false) => Content::File(value.unwrap_or_default()),
        };
        if self.is_root() {
            return match content {
                Content::Dir => Ok(()),
                Content::File(_) => Err(sink.strange("a root that is a file".to_owned())),
            };
        }
        if key == "/" {
            return Err(sink.strange("a node without a key".to_owned()));
        }
        let (Some(created), Some(modified)) = (fields.created, fields.modified) else {
            return Err(sink.strange(format!("no createdIndex or modifiedIndex of {key:?}")));
        };
        sink.give(Node { key, content, created, modified, expiration: fields.expiration })
    }
}

/// The nodes of a directory: the seed of each.
struct Nodes<'s, 't>(NodeSeed<'s, 't>);

impl<'de> DeserializeSeed<'de> for Nodes<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Nodes<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.0)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests;
