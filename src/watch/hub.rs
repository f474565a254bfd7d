//! The hub: puts events in order, remembers them for a while, and tells those who wait.
//!
//! ```text
//! offer (any order) -> held -> release, by index -> window
//!                                                \-> watchers at and above the key
//! ```
//!
//! One lock, held for no longer than it takes to put an event into the inboxes of those whom it
//! concerns; they are woken after it.
//!
//! Invariant: what is released has all its predecessors released before it. Where one is late all
//! the same, what it was about is in doubt: watchers of it are ended, and a look back over it is
//! refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::inbox::{After, Inbox};
use super::removals::{Inside, Removals, Went};
use super::watchers::{Known, Offer, Start, Watchers};
use super::window::{Cleared, Window};
use crate::metrics;
use crate::v2::{EtcdIndex, Event, Key, Watch};

/// How long an event waits for those with a lower index that are not known yet.
pub const HOLD_LIMIT: Duration = Duration::from_secs(2);

/// How many events wait at most.
const MAX_HELD: usize = 10_000;

/// What became of an offered event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It will be told in its turn, or was known already.
    InTime,
    /// Later ones were told before it. To be owned up to by [`Hub::doubt`].
    Late,
}

/// The events of a gateway, and who waits for them.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// A copy of the state's, to be read without the lock.
    released: AtomicU64,
    /// What is released went on.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    held: BTreeMap<(EtcdIndex, Key), Held>,
    window: Window,
    watchers: Watchers,
    removals: Removals,
    released: EtcdIndex,
    offers: u64,
    has_ended: bool,
}

#[derive(Debug)]
struct Held {
    offer: Offer,
    since: Instant,
}

impl State {
    fn offer(&mut self, event: Arc<Event>, mut removed: Vec<Key>, inside: Inside) -> Offered {
        let index = event.node.modified;
        if index <= self.released {
            let is_known = self.window.contains(&event);
            return if is_known { Offered::InTime } else { Offered::Late };
        }
        let place = (index, event.node.key.clone());
        if self.held.contains_key(&place) {
            return Offered::InTime;
        }
        self.offers += 1;
        let number = self.offers;
        removed.extend(self.removals.note(&event, number, inside));
        let offer = Offer { event, removed, number };
        self.held.insert(place, Held { offer, since: Instant::now() });
        Offered::InTime
    }

    fn went(&mut self, went: &Went, woken: &mut Vec<Waker>) {
        let Some((event, number)) = self.removals.of(went) else { return };
        let place = (event.node.modified, event.node.key.clone());
        match self.held.get_mut(&place) {
            Some(held) => held.offer.removed.push(went.key.clone()),
            None => {
                let offer = Offer { event, removed: Vec::new(), number };
                self.watchers.tell_inside(&went.key, &offer, woken);
            }
        }
    }

    /// Releases what is held up to an index. Whether it went on.
    fn release(&mut self, upto: EtcdIndex, woken: &mut Vec<Waker>) -> bool {
        if upto <= self.released {
            return false;
        }
        self.released = upto;
        let mut last = None;
        while let Some(first) = self.held.first_entry().filter(|e| e.key().0 <= self.released) {
            let index = first.key().0;
            let Held { offer, .. } = first.remove();
            self.watchers.tell(&offer, woken);
            self.window.push(offer.event);
            if last.replace(index) == Some(index) {
                // Who goes on from the next index is refused, and gets past that by reading anew.
                self.released = self.released.max(index.next());
            }
        }
        let upto = self.released;
        for Went { key, index, .. } in self.removals.take_strays(upto) {
            // It went with a directory whose removal nobody told of.
            self.window.doubt(key.clone(), index);
            self.watchers.end_concerned(&key, woken);
        }
        metrics::window_holds(self.window.len());
        true
    }

    /// Up to where events have waited for too long.
    fn overdue(&self, limit: Duration) -> Option<EtcdIndex> {
        if self.held.len() > MAX_HELD {
            return self.held.last_key_value().map(|((index, _), _)| *index);
        }
        let overdue = self.held.iter().rev().find(|(_, held)| held.since.elapsed() >= limit);
        overdue.map(|((index, _), _)| *index)
    }
}

impl Hub {
    /// A hub that remembers so many events and knows nothing of what was up to `start`.
    pub fn new(max_events: usize, start: EtcdIndex) -> Hub {
        let state = State {
            held: BTreeMap::new(),
            window: Window::new(max_events, start),
            watchers: Watchers::default(),
            removals: Removals::default(),
            released: start,
            offers: 0,
            has_ended: false,
        };
        Hub { state: Mutex::new(state), released: AtomicU64::new(start.0), moved: Notify::new() }
    }

    /// Takes in an event that happened; its index is its node's modifiedIndex. `removed` are the
    /// nodes that went with a directory, as far as somebody watches them. An event that comes
    /// again, by its index and key, is known.
    pub fn offer(&self, event: Arc<Event>, removed: Vec<Key>) -> Offered {
        self.lock().offer(event, removed, Inside::Known)
    }

    /// The same, for the event of another gateway or of a removal in many commits: nodes that went
    /// with a directory are told of by [`Hub::went`], earlier or later.
    pub fn offer_apart(&self, event: Arc<Event>) -> Offered {
        self.lock().offer(event, Vec::new(), Inside::ToldOf)
    }

    /// Who watches this node is told of the removal of the directory that it went with.
    pub fn went(&self, went: &Went) {
        self.change(|state, woken| {
            state.went(went, woken);
            false
        });
    }

    /// Tells the events up to an index: every one of them was offered, or did not happen.
    pub fn release(&self, upto: EtcdIndex) {
        if upto > self.released() {
            self.change(|state, woken| state.release(upto, woken));
        }
    }

    /// Tells the events that have waited for this long, and those before them. Gives the index up
    /// to which it did; what is lower and was not offered will be late if it happened.
    pub fn release_overdue(&self, limit: Duration) -> Option<EtcdIndex> {
        let mut overdue = None;
        self.change(|state, woken| {
            overdue = state.overdue(limit);
            overdue.is_some_and(|upto| state.release(upto, woken))
        });
        overdue
    }

    /// The index up to which everything that was offered is told.
    pub fn released(&self) -> EtcdIndex {
        EtcdIndex(self.released.load(Ordering::Acquire))
    }

    /// Waits until the events are told that are here by now and that a watch from an index on
    /// would look back on; and, where it asks for what was before a clear, until what is released
    /// is past that: who is refused and reads anew is then not refused again. Bounded by what
    /// [`Hub::release_overdue`] does.
    pub async fn catch_up(&self, since: EtcdIndex) {
        let target = {
            let state = self.lock();
            let last_held = state.held.last_key_value().map(|((index, _), _)| *index);
            let last_held = last_held.filter(|last| since <= *last);
            last_held.max(Some(state.window.after()).filter(|after| since <= *after))
        };
        let Some(target) = target else { return };
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.released() >= target {
                return;
            }
            moved.await;
        }
    }

    /// An event about this key may never be told, or told too late. Watchers whom it might concern
    /// are ended, and until they ask for what comes after `upto` they are refused.
    pub fn doubt(&self, key: &Key, upto: EtcdIndex) {
        self.change(|state, woken| {
            state.window.doubt(key.clone(), upto);
            state.watchers.end_concerned(key, woken);
            false
        });
    }

    /// The same for an event that came too late, with the lowest index that covers it. What is
    /// released goes on to that, so that who reads anew gets past it.
    pub fn doubt_released(&self, key: &Key) -> EtcdIndex {
        let mut upto = EtcdIndex(0);
        self.change(|state, woken| {
            upto = state.released.next();
            state.window.doubt(key.clone(), upto);
            state.watchers.end_concerned(key, woken);
            state.release(upto, woken)
        });
        upto
    }

    /// Events may be missing up to an index, about whatever. All watchers are ended.
    pub fn clear(&self, upto: EtcdIndex) {
        self.change(|state, woken| {
            state.window.clear(upto);
            state.removals = Removals::default();
            state.watchers.end_all(woken);
            false
        });
    }

    /// Ends all watchers, and those that are still to come at once.
    pub fn end(&self) {
        self.change(|state, woken| {
            state.has_ended = true;
            state.watchers.end_all(woken);
            false
        });
    }

    /// Begins a watch: with a look back if it has an index, else from now on.
    pub fn watch(self: &Arc<Self>, watch: &Watch) -> Result<Watcher, Cleared> {
        self.watch_knowing(watch, Known::new())
    }

    /// The same, without what is known to have happened before, although it may come later.
    pub fn watch_knowing(
        self: &Arc<Self>,
        watch: &Watch,
        known: Known,
    ) -> Result<Watcher, Cleared> {
        metrics::watch_requested();
        let mut state = self.lock();
        let Some(since) = watch.since else {
            let start = Start::After(state.offers);
            return Ok(self.register(&mut state, watch, start, known));
        };
        match state.window.look_back(watch, since)? {
            Some(event) => Ok(self.told(&mut state, watch, &event)),
            None => Ok(self.register(&mut state, watch, Start::At(since), known)),
        }
    }

    /// Begins a watch without a look back, for somebody who then proves otherwise that nothing was
    /// missed between the watch's index and now.
    pub fn watch_from_now(self: &Arc<Self>, watch: &Watch) -> Watcher {
        let mut state = self.lock();
        let start = watch.since.map_or(Start::After(state.offers), Start::At);
        self.register(&mut state, watch, start, Known::new())
    }

    /// The keys below a directory at which somebody waits.
    pub fn watched_below(&self, dir: &Key) -> Vec<Key> {
        self.lock().watchers.watched_below(dir)
    }

    /// How many watchers wait.
    pub fn waiting(&self) -> u64 {
        self.lock().watchers.count()
    }

    fn register(
        self: &Arc<Self>,
        state: &mut State,
        watch: &Watch,
        start: Start,
        known: Known,
    ) -> Watcher {
        let inbox = Arc::<Inbox>::default();
        if state.has_ended {
            let _nobody = inbox.end();
            return Watcher { inbox, _waits: None };
        }
        let id = state.watchers.add(watch, start, known, Arc::clone(&inbox));
        let waits = Some(Waits { hub: Arc::clone(self), key: watch.key.clone(), id });
        Watcher { inbox, _waits: waits }
    }

    /// A watcher that is answered by the past. A stream then hears nothing more: etcd does not
    /// enter it anywhere (v2store/watcher_hub.go, `watch`).
    fn told(self: &Arc<Self>, state: &mut State, watch: &Watch, event: &Arc<Event>) -> Watcher {
        let inbox = Arc::<Inbox>::default();
        let is_silent = watch.stream && !state.has_ended;
        let after = if is_silent { After::Silence } else { After::End };
        let _nobody = inbox.put(event, after);
        let waits = is_silent.then(|| {
            let id = state.watchers.add_silent(Arc::clone(&inbox));
            Waits { hub: Arc::clone(self), key: watch.key.clone(), id }
        });
        Watcher { inbox, _waits: waits }
    }

    /// Changes the state under the lock, and wakes watchers after it. The change says whether
    /// what is released went on.
    fn change(&self, change: impl FnOnce(&mut State, &mut Vec<Waker>) -> bool) {
        let mut woken = Vec::new();
        let has_moved = {
            let mut state = self.lock();
            let has_moved = change(&mut state, &mut woken);
            self.released.store(state.released.0, Ordering::Release);
            has_moved
        };
        woken.into_iter().for_each(Waker::wake);
        if has_moved {
            self.moved.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch: its events, one after the other, as they happen. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watcher {
    inbox: Arc<Inbox>,
    /// Its place in the hub; none where everything was said already.
    _waits: Option<Waits>,
}

#[derive(Debug)]
struct Waits {
    hub: Arc<Hub>,
    key: Key,
    id: u64,
}

impl Watcher {
    /// The next event; `None` when there will be no more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        self.inbox.poll_take(cx)
    }

    /// Whether there is no event and no end by now.
    pub fn is_waiting(&self) -> bool {
        self.inbox.is_waiting()
    }

    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.hub.lock().watchers.remove(self.key.as_bytes(), self.id);
    }
}
