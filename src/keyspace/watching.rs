//! Watches on this keyspace: what its writes tell the hub, and how a watch begins.
//!
//! ```text
//! begin (an index is taken) -> commit -> offer the event -> happened -> release what is settled
//!                                   \-> refused: release what waited for it
//!                                   \-> cut off: the key is in doubt
//! ```
//!
//! An event is offered before its index settles, so whatever is settled was offered. Not here:
//! who is told what, and in which order; that is the hub's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::settle::{Failed, Settled};
use super::{Keyspace, store_failed, timed_out};
use crate::clock::Ticket;
use crate::metrics;
use crate::store::{Consistency, Store};
use crate::v2::{Error, ErrorCode, EtcdIndex, Event, Key, Op, Plan, TOMBSTONE_LIFETIME_MS, Watch};
use crate::watch::{HOLD_LIMIT, Known, Offered, Watcher};

/// How long after a write was cut off it may still happen: the store may have it in its hands.
const MAY_STILL_HAPPEN: Duration = Duration::from_secs(10);

/// How many such writes are kept apart.
const MAX_LOST: usize = 100;

/// For how long the removal of a key certainly leaves a trace, whichever gateway's clock dated it:
/// a third of a tombstone's life (which is more than twice the allowed drift of clocks).
const TRACE_MS: i64 = TOMBSTONE_LIFETIME_MS / 3;

/// How long before it happens a write takes its index, at most.
const UNDER_WAY_US: u64 = 60_000_000;

/// A watch that began.
#[derive(Debug)]
pub struct Watching {
    /// Its events.
    pub watcher: Watcher,
    /// The index at which it began.
    pub index: EtcdIndex,
}

/// Writes that were cut off a moment ago: when they will certainly have happened or not.
#[derive(Debug, Default)]
pub(super) struct Lost(Mutex<VecDeque<(Instant, Key)>>);

impl Lost {
    fn add(&self, key: Key) {
        let decided_at = Instant::now() + MAY_STILL_HAPPEN;
        let mut lost = self.lock();
        if lost.len() < MAX_LOST {
            lost.push_back((decided_at, key));
        } else {
            // The root stands for everything.
            lost.clear();
            lost.push_back((decided_at, Key::root()));
        }
    }

    fn take_decided(&self) -> Vec<Key> {
        let mut lost = self.lock();
        let decided = lost.partition_point(|(decided_at, _)| decided_at.elapsed() > Duration::ZERO);
        lost.drain(..decided).map(|(_, key)| key).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Key)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is under way. Dropping it says that it did not happen, or, once its commit may
/// have reached the store, that nobody knows.
#[derive(Debug)]
pub(super) struct Begun<'a, S> {
    keyspace: &'a Keyspace<S>,
    ticket: Option<Ticket<'a>>,
    index: EtcdIndex,
    in_doubt: Option<Key>,
}

impl<S> Begun<'_, S> {
    pub(super) fn index(&self) -> EtcdIndex {
        self.index
    }

    /// Its commit goes to the store now.
    pub(super) fn may_happen(&mut self, plan: &Plan) {
        if self.in_doubt.is_none() {
            self.in_doubt = plan.key().cloned();
        }
    }

    /// What the store says of it.
    pub(super) fn decide(&mut self, outcome: Result<Settled, Failed>) -> Result<Settled, Error> {
        match &outcome {
            Ok(Settled::Applied(_) | Settled::HadApplied(_)) => {}
            Err(failed) if failed.is_open => {}
            Ok(Settled::Refused(_)) | Err(_) => self.did_not_happen(),
        }
        outcome.map_err(|failed| store_failed(&failed.error))
    }

    /// The store never saw it, or refused it.
    pub(super) fn did_not_happen(&mut self) {
        self.in_doubt = None;
    }
}

impl<S: Store> Begun<'_, S> {
    /// It happened: watchers are told, once everything with a lower index is decided.
    pub(super) fn happened(mut self, plan: &Plan, event: &Event) {
        let keyspace = self.keyspace;
        keyspace.note_ttl(event);
        if let Some(hub) = &keyspace.hub {
            let told = Arc::new(event.clone());
            let offered = match plan.drains {
                true => hub.offer_apart(told),
                false => hub.offer(told, went_with(plan)),
            };
            if offered == Offered::Late {
                keyspace.doubt(&event.node.key);
            }
        }
        self.in_doubt = None;
        if let Some(ticket) = self.ticket.take() {
            ticket.happened();
        }
    }
}

impl<S> Drop for Begun<'_, S> {
    fn drop(&mut self) {
        drop(self.ticket.take());
        if let Some(key) = self.in_doubt.take().filter(|_| self.keyspace.hub.is_some()) {
            tracing::warn!(%key, index = %self.index, "a write was cut off: its watchers start anew");
            self.keyspace.doubt(&key);
            self.keyspace.lost.add(key);
        }
        self.keyspace.release_settled();
    }
}

impl<S> Keyspace<S> {
    /// Begins a write: takes an index, which settles when the write ends.
    pub(super) fn begin(&self) -> Begun<'_, S> {
        let ticket = self.clock.begin();
        let index = ticket.index();
        Begun { keyspace: self, ticket: Some(ticket), index, in_doubt: None }
    }

    /// Lets the hub tell what is settled, and what no other gateway's event may come before. Where
    /// it told more already, because a write is stuck, that one is not waited for any more.
    pub(super) fn release_settled(&self) {
        let Some(hub) = &self.hub else { return };
        let (settled, released) = (self.clock.settled(), hub.released());
        let settled = if settled < released { self.clock.settled_above(released) } else { settled };
        hub.release(self.following.limit().map_or(settled, |limit| limit.min(settled)));
    }

    /// Something may have happened to this key that watchers will not be told.
    pub(super) fn doubt(&self, key: &Key) {
        let Some(hub) = &self.hub else { return };
        metrics::key_doubted();
        if self.following.limit().is_some() {
            // An index of its own would not be told for a while, and clients who read anew would
            // be refused until then.
            let upto = hub.doubt_released(key);
            let _never_ahead_of_what_was_observed = self.clock.observe(upto);
        } else {
            // An index of its own, so that clients who read anew get past it.
            hub.doubt(key, self.fresh_index());
        }
    }

    /// Tells watchers what no write tells: that an event waited for too long, or a doubt. For
    /// ever.
    pub(super) async fn keep_telling(&self) {
        let Some(hub) = &self.hub else { return };
        loop {
            sleep(HOLD_LIMIT / 4).await;
            if let Some(upto) = hub.release_overdue(self.following.patience()) {
                tracing::warn!(
                    %upto,
                    "a write is stuck, or the store's feed is: watchers are told of later ones"
                );
            }
            for key in self.lost.take_decided() {
                self.doubt(&key);
            }
            self.release_settled();
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Begins a watch.
    pub(super) async fn begin_watch(&self, watch: &Watch) -> Result<Watching, Error> {
        let Some(hub) = &self.hub else {
            let cause = "watch is off on this gateway (--watch)";
            return Err(Error::new(ErrorCode::InvalidField, cause));
        };
        self.check_key(&watch.key)?;
        self.refuse_gone()?;
        self.refuse_beside_others()?;
        self.be_following().await?;
        if let Some(since) = watch.since {
            // What it looks back on is to be whole. It is not waited for longer than it is held.
            let _ = timeout(self.following.patience() * 2, hub.catch_up(since)).await;
        }
        let known = match watch.since {
            Some(_) => Known::new(),
            None => self.just_written(watch).await.map_err(|e| store_failed(&e))?,
        };
        let index = self.told_index();
        let cleared = match hub.watch_knowing(watch, known) {
            Ok(watcher) => {
                // After it was registered: a clear in between ends it.
                self.cover(hub, watch);
                return Ok(Watching { watcher, index });
            }
            Err(cleared) => cleared,
        };
        if !watch.recursive {
            // First registered and then read: whatever the read does not show will be told.
            let watcher = hub.watch_from_now(watch);
            self.cover(hub, watch);
            if self.is_unchanged_since(&watch.key, cleared.asked).await? {
                return Ok(Watching { watcher, index });
            }
        }
        Err(Error::from(cleared).at_store(self.told_index()))
    }

    /// Whether an item proves that nothing happened to its node from an index on.
    async fn is_unchanged_since(&self, key: &Key, since: EtcdIndex) -> Result<bool, Error> {
        if key.is_root() {
            // Nothing ever happens to it.
            return Ok(true);
        }
        let read = self.store.get(key, Consistency::Strong);
        let item = timeout(self.config.request_timeout, read).await.map_err(|_| timed_out())?;
        let item = item.map_err(|e| store_failed(&e))?;
        let Some(item) = item.filter(|item| item.tells_of_a_node()) else {
            let traced_from = self.clock.now().plus_ms(-TRACE_MS);
            let traced_from_us = u64::try_from(traced_from.0).unwrap_or(0).saturating_mul(1000);
            return Ok(since.0 > traced_from_us);
        };
        self.observe(&item)?;
        self.note_ttl_of(&item);
        Ok(self.proves(item.highest_index(), since))
    }

    /// Whether an item with this highest index proves that its node was not written since a client
    /// saw it, who then asks for what comes from `since` on.
    ///
    /// One that asks for the next index after the item's own saw the item as it is. One that asks for
    /// a later index saw it at that time, by some gateway's clock: where several write, one with a
    /// slower clock may have written after that under a lower index.
    fn proves(&self, highest: EtcdIndex, since: EtcdIndex) -> bool {
        let slack_us = match self.store.limits().is_remote {
            true => self.clock.max_drift_us() + UNDER_WAY_US,
            false => 0,
        };
        highest.next() == since || highest.0.saturating_add(slack_us) < since.0
    }
}

/// The nodes that went with a directory in the commit that removed it.
fn went_with(plan: &Plan) -> Vec<Key> {
    if !plan.removes_dir() {
        return Vec::new();
    }
    let below = plan.commit.ops.iter().skip(1).filter_map(Op::node);
    below.map(|op| op.key.clone()).collect()
}
