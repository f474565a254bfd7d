//! The window: the events of the recent past, and what cannot be said of it.
//!
//! Nothing is told here; it only answers what a watch that begins in the past would have seen.
//! It is bounded by a number of events and by what their values take in memory.
//!
//! Two gateways may give the same index to writes of different keys. Who was told of one of them
//! goes on from the next index, and cannot say whether of the other too; so it is refused.
//!
//! Invariant: every event after `after` is in it, in the order of the indexes, except those that
//! a doubt covers. So "nothing found" proves that there was nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::v2::{Action, Error, ErrorCode, EtcdIndex, Event, Key, Node, Watch};

/// What the values of all its events may take. The latest event stays whatever it takes.
const WINDOW_BYTES: usize = 128 << 20;

/// How many doubts are kept apart; with more, the whole past is in doubt.
const MAX_DOUBTS: usize = 64;

/// The past cannot be told from the index that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The oldest index from which it can.
    pub oldest: EtcdIndex,
    /// The index that was asked for.
    pub asked: EtcdIndex,
}

impl fmt::Display for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cleared { oldest, asked } = self;
        write!(f, "the requested history has been cleared [{oldest}/{asked}]")
    }
}

impl From<Cleared> for Error {
    fn from(cleared: Cleared) -> Error {
        Error::new(ErrorCode::EventIndexCleared, cleared.to_string())
    }
}

/// An event about this key may be missing, somewhere up to this index.
#[derive(Debug)]
struct Doubt {
    key: Key,
    upto: EtcdIndex,
}

#[derive(Debug)]
pub(super) struct Window {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    max_events: usize,
    after: EtcdIndex,
    doubts: VecDeque<Doubt>,
}

impl Window {
    /// A window onto what comes after an index.
    pub(super) fn new(max_events: usize, after: EtcdIndex) -> Window {
        let (events, doubts) = (VecDeque::new(), VecDeque::new());
        Window { events, bytes: 0, max_events: max_events.max(1), after, doubts }
    }

    /// Adds the latest event.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += value_bytes(&event);
        self.events.push_back(event);
        while self.events.len() > self.max_events
            || (self.bytes > WINDOW_BYTES && self.events.len() > 1)
        {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= value_bytes(&oldest);
            let index = oldest.node.modified;
            let next = self.events.front().map(|event| event.node.modified);
            let has_twin = self.after == index || next == Some(index);
            self.after = self.after.max(if has_twin { index.next() } else { index });
        }
    }

    /// It knows what came after this index.
    pub(super) fn after(&self) -> EtcdIndex {
        self.after
    }

    /// How many events are in it.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether this very event is in it.
    pub(super) fn contains(&self, event: &Event) -> bool {
        let index = event.node.modified;
        let same = |other: &&Arc<Event>| other.node.modified == index;
        let mut others = self.events.range(self.first_from(index)..).take_while(same);
        others.any(|other| other.node.key == event.node.key)
    }

    /// From now on nothing is known of what was up to this index.
    pub(super) fn clear(&mut self, upto: EtcdIndex) {
        self.after = self.after.max(upto);
        self.events.clear();
        self.bytes = 0;
        self.doubts.clear();
    }

    /// From now on it is not known whether something happened to this key, up to this index.
    pub(super) fn doubt(&mut self, key: Key, upto: EtcdIndex) {
        self.doubts.retain(|doubt| doubt.key != key && doubt.upto > self.after);
        self.doubts.push_back(Doubt { key, upto });
        if self.doubts.len() > MAX_DOUBTS {
            self.clear(upto);
        }
    }

    /// The first event from an index on that a watch would have been told of
    /// (v2store/event_history.go, `scan`). Refreshes count in the window and are passed over.
    pub(super) fn look_back(
        &self,
        watch: &Watch,
        since: EtcdIndex,
    ) -> Result<Option<Arc<Event>>, Cleared> {
        let asked = since;
        if since <= self.after {
            let oldest = self.events.front().map_or(self.after.next(), |e| e.node.modified);
            return Err(Cleared { oldest, asked });
        }
        let doubts = self.doubts.iter().filter(|doubt| since <= doubt.upto);
        let doubt = doubts.filter(|d| concerns(&watch.key, watch.recursive, &d.key));
        if let Some(upto) = doubt.map(|doubt| doubt.upto).max() {
            return Err(Cleared { oldest: upto.next(), asked });
        }
        if self.has_twins_before(watch, since) {
            return Err(Cleared { oldest: since.next(), asked });
        }
        let mut later = self.events.range(self.first_from(since)..);
        Ok(later.find(|event| showed(event, watch)).cloned())
    }

    /// Whether the index before this one is that of several events that the watch would be told of.
    fn has_twins_before(&self, watch: &Watch, since: EtcdIndex) -> bool {
        let before = EtcdIndex(since.0.saturating_sub(1));
        let twins = self.events.range(self.first_from(before)..self.first_from(since));
        twins.filter(|event| showed(event, watch)).nth(1).is_some()
    }

    fn first_from(&self, index: EtcdIndex) -> usize {
        self.events.partition_point(|event| event.node.modified < index)
    }
}

/// Whether an event is shown to a watch that looks back. Unlike for one that waits, hidden keys
/// count, and a removed directory concerns every path that its own is a prefix of, as text.
fn showed(event: &Event, watch: &Watch) -> bool {
    let key = &event.node.key;
    let removed_dir = event.prev_node.as_ref().is_some_and(|prev| prev.dir)
        && matches!(event.action, Action::Delete | Action::Expire);
    let is_shown = *key == watch.key
        || (watch.recursive && key.is_below(&watch.key))
        || (removed_dir && watch.key.as_bytes().starts_with(key.as_bytes()));
    is_shown && !event.is_refresh
}

/// Whether an event about a key, whatever it is, might be told to a watch.
pub(super) fn concerns(watched: &Key, recursive: bool, key: &Key) -> bool {
    (recursive && key.is_below(watched)) || watched.as_bytes().starts_with(key.as_bytes())
}

fn value_bytes(event: &Event) -> usize {
    let bytes = |node: &Node| node.value.as_ref().map_or(0, |value| value.as_bytes().len());
    bytes(&event.node) + event.prev_node.as_ref().map_or(0, bytes)
}
