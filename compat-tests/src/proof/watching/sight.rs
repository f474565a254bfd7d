//! What a watcher saw: what it read, the events it was told, and what it then takes the tree to be.
//!
//! Keys are relative to the directory of a round, as in a history. Nothing is judged here.
//! Invariant: a view holds files alone, since nobody is told of directories that come by themselves.

use std::collections::BTreeMap;
use std::fmt;

use crate::json::Json;

/// A file of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) value: String,
    pub(super) modified: u64,
}

/// The files that a watcher takes to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View(pub(super) BTreeMap<String, Held>);

/// A node as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) dir: bool,
    pub(super) modified: u64,
}

/// What a watcher was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) action: String,
    pub(super) node: Node,
    pub(super) prev: Option<Node>,
}

/// A read from which a watcher went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) began: u64,
    pub(super) ended: u64,
    /// Its `X-Etcd-Index`.
    pub(super) index: u64,
    pub(super) view: View,
}

/// One thing after the other that happened to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Read(Read),
    Event {
        at: u64,
        event: Event,
    },
    /// 401: it has to read anew.
    Cleared {
        at: u64,
    },
    /// It changed to another gateway, or its own was started again.
    Moved {
        at: u64,
        gateway: usize,
    },
}

/// What a watcher asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything below the directory of the round.
    Tree,
    /// One key.
    Key(String),
}

/// How it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    LongPoll,
    Stream,
}

/// All that a watcher saw, in its order.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) number: usize,
    pub(super) scope: Scope,
    pub(super) manner: Manner,
    pub(super) notes: Vec<Note>,
    /// What it takes the tree to be.
    pub(super) view: View,
    /// Answers that no v2 server gives, whatever the state.
    pub(super) problems: Vec<String>,
}

impl Scope {
    /// Whether it is about this key.
    pub(super) fn covers(&self, key: &str) -> bool {
        match self {
            Self::Tree => true,
            Self::Key(own) => own == key,
        }
    }
}

impl Event {
    /// Whether its node went.
    pub(super) fn removes(&self) -> bool {
        matches!(self.action.as_str(), "delete" | "expire" | "compareAndDelete")
    }

    /// Reads the line of an answer; `top` is the directory of the round.
    pub(super) fn parse(json: &Json, top: &str) -> Result<Self, String> {
        let action = json.text("action").ok_or("an event without an action")?.to_owned();
        let node = Node::parse(json.get("node").ok_or("an event without a node")?, top)?;
        let prev = json.get("prevNode").map(|prev| Node::parse(prev, top)).transpose()?;
        Ok(Self { action, node, prev })
    }
}

impl Node {
    fn parse(json: &Json, top: &str) -> Result<Self, String> {
        let key = json.text("key").ok_or_else(|| format!("no key in {json:?}"))?;
        Ok(Self {
            key: relative(key, top),
            value: json.text("value").map(str::to_owned),
            dir: json.get("dir") == Some(&Json::Bool(true)),
            modified: json
                .number("modifiedIndex")
                .ok_or_else(|| format!("no modifiedIndex in {json:?}"))?,
        })
    }
}

impl View {
    /// The files that a recursive answer shows.
    pub(super) fn parse(node: &Json, top: &str) -> Result<Self, String> {
        let mut view = Self::default();
        view.add(node, top)?;
        Ok(view)
    }

    fn add(&mut self, json: &Json, top: &str) -> Result<(), String> {
        let node = Node::parse_lenient(json, top)?;
        if !node.dir {
            let value = node.value.unwrap_or_default();
            self.0.insert(node.key, Held { value, modified: node.modified });
        }
        json.list("nodes").iter().try_for_each(|child| self.add(child, top))
    }

    /// Takes an event in as a client does: whatever was there before.
    pub(super) fn apply(&mut self, event: &Event, scope: &Scope) {
        let Node { key, value, dir, modified } = &event.node;
        if event.removes() {
            self.0.retain(|held, _| !is_at_or_below(held, key));
        } else if !dir && scope.covers(key) {
            let value = value.clone().unwrap_or_default();
            self.0.insert(key.clone(), Held { value, modified: *modified });
        }
    }

    /// What of it a watcher of this scope has to know.
    pub(super) fn within(&self, scope: &Scope) -> Self {
        let held = self.0.iter().filter(|(key, _)| scope.covers(key));
        Self(held.map(|(key, held)| (key.clone(), held.clone())).collect())
    }

    /// How it differs from what is true; nothing where it does not.
    pub(super) fn differs(&self, truth: &Self) -> Option<String> {
        let shown = |held: Option<&Held>| {
            held.map_or("nothing".to_owned(), |held| format!("{}@{}", held.value, held.modified))
        };
        let keys = self.0.keys().chain(truth.0.keys());
        let differing: BTreeMap<&String, String> = keys
            .filter(|key| self.0.get(*key) != truth.0.get(*key))
            .map(|key| {
                let (own, held) = (shown(self.0.get(key)), shown(truth.0.get(key)));
                (key, format!("{key}: it has {own}, the tree {held}"))
            })
            .collect();
        let lines: Vec<String> = differing.into_values().collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

impl Node {
    /// The root of a listing has no index.
    fn parse_lenient(json: &Json, top: &str) -> Result<Self, String> {
        if json.get("dir") == Some(&Json::Bool(true)) {
            let key = relative(json.text("key").unwrap_or_default(), top);
            return Ok(Self { key, value: None, dir: true, modified: 0 });
        }
        Self::parse(json, top)
    }
}

/// Whether a key is this one or below it. The directory of the round is above all.
pub(super) fn is_at_or_below(key: &str, dir: &str) -> bool {
    let below = key.strip_prefix(dir);
    dir.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn relative(key: &str, top: &str) -> String {
    let below = key.strip_prefix(top).unwrap_or(key);
    below.strip_prefix('/').unwrap_or(below).to_owned()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { key, value, modified, .. } = &self.node;
        let value = value.as_deref().unwrap_or("-");
        write!(f, "{} {key}={value}@{modified}", self.action)?;
        let prev = self.prev.as_ref();
        prev.map_or(Ok(()), |prev| {
            write!(f, " was {}@{}", prev.value.as_deref().unwrap_or("-"), prev.modified)
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(read) => {
                let Read { began, ended, index, view } = read;
                write!(f, "{began}..{ended}: read at index {index}, {} files", view.0.len())
            }
            Self::Event { at, event } => write!(f, "{at}: {event}"),
            Self::Cleared { at } => write!(f, "{at}: 401"),
            Self::Moved { at, gateway } => write!(f, "{at}: to gateway {gateway}"),
        }
    }
}
