//! Who waits, by path.
//!
//! An event is carried along the components of its path, so it meets only watchers at and above
//! its key; the removal of a directory also goes to the nodes that went with it
//! (v2store/watcher_hub.go, `notify` and `notifyWatchers`; v2store/store.go, `Delete`).
//!
//! Invariant: a watcher is in the map exactly as long as it may still be told something. Those who
//! fell silent are kept apart, only so that they can be ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use super::inbox::{After, Inbox};
use super::window::concerns;
use crate::metrics;
use crate::v2::{Action, EtcdIndex, Event, Key, Node, Watch};

/// An event on its way.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) event: Arc<Event>,
    /// The nodes that went with a directory.
    pub(super) removed: Vec<Key>,
    /// Its place in the order in which events came in.
    pub(super) number: u64,
}

/// The start of a watch: which events are too early for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// Those with a lower index.
    At(EtcdIndex),
    /// Those that came in before, up to this number.
    After(u64),
}

/// Nodes with the index of the last event about each that a watcher is not to be told.
pub type Known = Vec<(Key, EtcdIndex)>;

/// One watcher that waits.
#[derive(Debug)]
struct Waiting {
    /// Rises within a path, by which a watcher is found again.
    id: u64,
    inbox: Arc<Inbox>,
    start: Start,
    /// What happened before, although it may come later. Mostly nothing.
    known: Box<[(Key, EtcdIndex)]>,
    recursive: bool,
    stream: bool,
    _counted: metrics::Held,
}

/// How the node of an event stands to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It is the node at the path.
    At,
    /// It is below the path, and hidden from there or not.
    Below { hidden: bool },
    /// It is a removed directory above the path, and a node was there.
    Above,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_path: HashMap<Box<[u8]>, Vec<Waiting>>,
    silent: HashMap<u64, Arc<Inbox>>,
    count: u64,
    last_id: u64,
}

impl Watchers {
    /// How many wait.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds one. The id is for [`Watchers::remove`].
    pub(super) fn add(
        &mut self,
        watch: &Watch,
        start: Start,
        known: Known,
        inbox: Arc<Inbox>,
    ) -> u64 {
        self.last_id += 1;
        let waiting = Waiting {
            id: self.last_id,
            inbox,
            start,
            known: known.into(),
            recursive: watch.recursive,
            stream: watch.stream,
            _counted: metrics::watcher_waits(),
        };
        self.by_path.entry(watch.key.as_bytes().into()).or_default().push(waiting);
        self.count += 1;
        self.last_id
    }

    /// Adds one that will not be told anything.
    pub(super) fn add_silent(&mut self, inbox: Arc<Inbox>) -> u64 {
        self.last_id += 1;
        self.silent.insert(self.last_id, inbox);
        self.last_id
    }

    /// Takes one away, if it is still here.
    pub(super) fn remove(&mut self, path: &[u8], id: u64) {
        self.silent.remove(&id);
        let Some(here) = self.by_path.get_mut(path) else { return };
        if let Ok(place) = here.binary_search_by_key(&id, |waiting| waiting.id) {
            here.remove(place);
            self.count -= 1;
        }
        if here.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// The keys below a directory at which somebody waits.
    pub(super) fn watched_below(&self, dir: &Key) -> Vec<Key> {
        let paths = self.by_path.keys().filter_map(|path| Key::parse(path).ok());
        paths.filter(|key| key.is_below(dir)).collect()
    }

    /// Tells an event to all that it concerns.
    pub(super) fn tell(&mut self, offer: &Offer, woken: &mut Vec<Waker>) {
        if self.count == 0 || offer.event.is_refresh {
            return;
        }
        let key = &offer.event.node.key;
        let path = key.as_bytes();
        let is_removal = match offer.event.action {
            Action::Delete | Action::CompareAndDelete | Action::Expire => true,
            Action::Get
            | Action::Set
            | Action::Create
            | Action::Update
            | Action::CompareAndSwap => false,
        };
        if is_removal {
            for inside in &offer.removed {
                self.tell_at(inside.as_bytes(), Relation::Above, offer, woken);
            }
            // etcd tells those at the removed node itself once as such and once on the way: who
            // still waits after the first time, a stream, hears it twice.
            self.tell_at(path, Relation::At, offer, woken);
        }
        if !key.is_root() {
            self.tell_at(b"/", Relation::Below { hidden: is_hidden(path) }, offer, woken);
        }
        for (end, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
            let (above, rest) = path.split_at(end);
            self.tell_at(above, Relation::Below { hidden: is_hidden(rest) }, offer, woken);
        }
        self.tell_at(path, Relation::At, offer, woken);
    }

    /// Tells those at a node which went with a removed directory of that removal.
    pub(super) fn tell_inside(&mut self, key: &Key, offer: &Offer, woken: &mut Vec<Waker>) {
        self.tell_at(key.as_bytes(), Relation::Above, offer, woken);
    }

    fn tell_at(&mut self, path: &[u8], relation: Relation, offer: &Offer, woken: &mut Vec<Waker>) {
        let Some(here) = self.by_path.get_mut(path) else { return };
        let before = here.len();
        here.retain(|waiting| {
            if !waiting.is_concerned(relation, offer) {
                return true;
            }
            let after = if waiting.stream { After::More } else { After::End };
            let (waker, goes_on) = waiting.inbox.put(&offer.event, after);
            woken.extend(waker);
            if waiting.stream && !goes_on {
                self.silent.insert(waiting.id, Arc::clone(&waiting.inbox));
            }
            goes_on
        });
        self.count -= (before - here.len()) as u64;
        if here.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// Ends all that an event about this key might concern, whatever it is.
    pub(super) fn end_concerned(&mut self, key: &Key, woken: &mut Vec<Waker>) {
        self.end_where(|watched, recursive| concerns(watched, recursive, key), woken);
    }

    /// Ends all.
    pub(super) fn end_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.silent.drain().filter_map(|(_, inbox)| inbox.end()));
        self.end_where(|_, _| true, woken);
    }

    fn end_where(&mut self, ends: impl Fn(&Key, bool) -> bool, woken: &mut Vec<Waker>) {
        let mut ended = 0;
        self.by_path.retain(|path, here| {
            let Ok(watched) = Key::parse(path) else { return false };
            let leaving = here.extract_if(.., |waiting| ends(&watched, waiting.recursive));
            for waiting in leaving {
                woken.extend(waiting.inbox.end());
                ended += 1;
            }
            !here.is_empty()
        });
        self.count -= ended;
    }
}

impl Waiting {
    fn is_concerned(&self, relation: Relation, offer: &Offer) -> bool {
        let in_time = match self.start {
            Start::At(index) => offer.event.node.modified >= index,
            Start::After(number) => offer.number > number,
        };
        let Node { key, modified, .. } = &offer.event.node;
        let is_known = self.known.iter().any(|(known, last)| known == key && modified <= last);
        in_time
            && !is_known
            && match relation {
                Relation::At | Relation::Above => true,
                Relation::Below { hidden } => self.recursive && !hidden,
            }
    }
}

/// Whether a path below a watched one has a hidden part (v2store/watcher_hub.go, `isHidden`).
fn is_hidden(rest: &[u8]) -> bool {
    rest.windows(2).any(|pair| pair == b"/_")
}
