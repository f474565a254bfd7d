//! Files with a TTL, in the order of their expirations, so that watchers hear of each in time.
//!
//! A file past its expiration is invisible by itself; this is only about the event. What is noted
//! here may be out of date, which does no harm: an expiry applies to the version that was noted or
//! to none. On a store of its own a gateway notes what it writes, and what is there when it starts. On
//! one that it shares, where files nobody watches cost nothing when they expire, it notes what is, or
//! was lately, watched: by one look at each such place, and from then on by what is written there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::subtree::Onward;
use super::{Keyspace, store_failed, timed_out};
use crate::store::{Consistency, Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{Error, EtcdIndex, Event, Item, Key, Known, Operation, Seen, UnixMs, Watch, Write};
use crate::watch::Hub;

/// How many expiries are under way side by side.
const PARALLEL_EXPIRIES: usize = 64;

/// How long to wait after an expiry failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MS: i64 = 1000;

/// How long to sleep at most: the wall clock may be set anew.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// By how much another gateway's file is removed later than an own one.
const SHORTEST_DELAY_MS: i64 = 50;
const LONGEST_DELAY_MS: i64 = 300;

/// How many places are remembered as watched.
const MAX_AREAS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct TtlFiles {
    noted: Mutex<Noted>,
    areas: Mutex<Areas>,
    /// Another file is the first one.
    sooner: Notify,
}

/// The places that are, or were, watched since the past is known.
#[derive(Debug, Default)]
struct Areas {
    /// Each with whether all below it is too.
    covered: HashMap<Key, bool>,
    /// Those that are not looked at yet. What is written there is noted already.
    to_scan: VecDeque<Area>,
}

#[derive(Debug)]
struct Area {
    key: Key,
    recursive: bool,
}

impl Areas {
    fn covers(&self, key: &Key, recursive: bool) -> bool {
        if self.covered.is_empty() {
            return false;
        }
        let here = self.covered.get(key).is_some_and(|all| *all || !recursive);
        let is_whole = |above: &Key| self.covered.get(above).copied().unwrap_or(false);
        here || is_whole(&Key::root()) || key.ancestors().iter().any(is_whole)
    }
}

#[derive(Debug, Default)]
struct Noted {
    versions: HashMap<Key, Version>,
    by_due: BTreeSet<(UnixMs, Key)>,
}

/// A file with a TTL, as it was noted.
#[derive(Debug, Clone, Copy)]
struct Version {
    seen: Seen,
    /// When it is to be removed: at its expiration, or later where that failed.
    due: UnixMs,
}

impl Noted {
    fn remove(&mut self, key: &Key) {
        if let Some(version) = self.versions.remove(key) {
            self.by_due.remove(&(version.due, key.clone()));
        }
    }

    fn insert(&mut self, key: &Key, version: Version) {
        self.versions.insert(key.clone(), version);
        self.by_due.insert((version.due, key.clone()));
    }
}

impl TtlFiles {
    /// Notes that a place is watched. Says no where there are too many.
    fn cover(&self, key: &Key, recursive: bool) -> bool {
        let mut areas = self.lock_areas();
        if areas.covers(key, recursive) {
            return true;
        }
        if areas.covered.len() >= MAX_AREAS {
            return false;
        }
        let covered = areas.covered.entry(key.clone()).or_default();
        *covered |= recursive;
        areas.to_scan.push_back(Area { key: key.clone(), recursive });
        drop(areas);
        self.sooner.notify_one();
        true
    }

    fn covers(&self, key: &Key) -> bool {
        self.lock_areas().covers(key, false)
    }

    fn next_area(&self) -> Option<Area> {
        self.lock_areas().to_scan.pop_front()
    }

    fn put_back(&self, area: Area) {
        self.lock_areas().to_scan.push_front(area);
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        *self.lock_areas() = Areas::default();
        *self.lock() = Noted::default();
    }

    fn lock_areas(&self) -> MutexGuard<'_, Areas> {
        self.areas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the latest version of a node: a file that expires, or something else. It is removed so
    /// long after its expiration.
    fn note(&self, key: &Key, modified: EtcdIndex, expiration: Option<UnixMs>, delay_ms: i64) {
        let mut noted = self.lock();
        if noted.versions.get(key).is_some_and(|known| known.seen.modified > modified) {
            return;
        }
        noted.remove(key);
        let Some(expiration) = expiration else { return };
        let due = expiration.plus_ms(delay_ms);
        noted.insert(key, Version { seen: Seen { modified, expiration }, due });
        if noted.by_due.first().is_some_and(|(_, first)| first == key) {
            self.sooner.notify_one();
        }
    }

    /// Forgets a version, or postpones it; unless a later one was noted.
    fn settle(&self, key: &Key, seen: Seen, postponed_to: Option<UnixMs>) {
        let mut noted = self.lock();
        if noted.versions.get(key).is_some_and(|version| version.seen == seen) {
            noted.remove(key);
            if let Some(due) = postponed_to {
                noted.insert(key, Version { seen, due });
            }
        }
    }

    /// The first files that are overdue, in the order of their expirations.
    fn overdue(&self, now: UnixMs) -> Vec<(Key, Seen)> {
        let noted = self.lock();
        let overdue = noted.by_due.iter().take_while(|(due, _)| *due <= now);
        let versions = overdue.take(PARALLEL_EXPIRIES).filter_map(|(_, key)| {
            noted.versions.get(key).map(|version| (key.clone(), version.seen))
        });
        versions.collect()
    }

    fn next(&self) -> Option<UnixMs> {
        self.lock().by_due.first().map(|(due, _)| *due)
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Keyspace<S> {
    /// Notes what an event of this gateway made of its node.
    pub(super) fn note_ttl(&self, event: &Event) {
        let node = &event.node;
        if self.expires(&node.key) {
            let expiration = node.expiration.filter(|_| !node.dir);
            self.ttl_files.note(&node.key, node.modified, expiration, 0);
        }
    }

    /// Notes an item that was read.
    pub(super) fn note_ttl_of(&self, item: &Item) {
        if self.expires(&item.key) {
            let is_file = item.removed.is_none() && !item.is_dir();
            let expiration = item.expiration.filter(|_| is_file);
            self.ttl_files.note(&item.key, item.modified, expiration, self.delay_ms(item));
        }
    }

    /// Whether this gateway removes the file at this key when its TTL runs out.
    fn expires(&self, key: &Key) -> bool {
        !self.is_read_only()
            && (self.config.scan_for_ttl || (self.hub.is_some() && self.ttl_files.covers(key)))
    }

    /// Whoever wrote a file last removes it at once, the others a little later, each at another
    /// time: mostly they will find it gone, which costs a read and no write.
    fn delay_ms(&self, item: &Item) -> i64 {
        let writers = item.writes.ids();
        let is_own = writers.iter().any(|id| self.is_own(*id) && id.index == item.modified);
        if is_own || !writers.iter().any(|id| id.index == item.modified) {
            return 0;
        }
        fastrand::i64(SHORTEST_DELAY_MS..LONGEST_DELAY_MS)
    }
}

impl<S: Store> Keyspace<S> {
    /// Somebody watches here: from now on files with a TTL are known.
    pub(super) fn cover(&self, hub: &Hub, watch: &Watch) {
        let is_useless = self.config.scan_for_ttl || self.is_read_only();
        if is_useless || !self.store.limits().is_remote {
            return;
        }
        if !self.ttl_files.cover(&watch.key, watch.recursive) {
            tracing::warn!("too many places are watched: all watchers start anew");
            self.clear_past(hub);
        }
    }

    /// Notes every file with a TTL that is there.
    pub(super) async fn scan_for_ttl(&self) -> Result<(), StoreError> {
        if !self.config.scan_for_ttl {
            return Ok(());
        }
        self.scan_below(&Key::root()).await
    }

    /// Notes every file with a TTL that is below a directory.
    async fn scan_below(&self, top: &Key) -> Result<(), StoreError> {
        self.walk_below(top, |items| {
            let mut dirs = Vec::new();
            for item in items.iter().filter(|item| item.removed.is_none()) {
                if item.is_dir() {
                    dirs.push(item.key.clone());
                } else if item.expiration.is_some() {
                    self.note_ttl_of(item);
                }
            }
            Onward::Continue(dirs)
        })
        .await
    }

    /// Notes the files with a TTL of the places that are watched since a moment.
    async fn scan_covered(&self) -> Result<(), Error> {
        while let Some(area) = self.ttl_files.next_area() {
            let Area { key, recursive } = &area;
            let scanned = async {
                if let Some(item) = self.store.get(key, Consistency::Strong).await? {
                    self.note_ttl_of(&item);
                }
                if *recursive { self.scan_below(key).await } else { Ok(()) }
            };
            if let Err(error) = scanned.await {
                self.ttl_files.put_back(area);
                return Err(store_failed(&error));
            }
        }
        Ok(())
    }

    /// Removes files when their TTL runs out, for ever.
    pub(super) async fn keep_expiring_files(&self) {
        let is_useless = !self.config.scan_for_ttl && self.hub.is_none();
        if is_useless || self.is_read_only() {
            return;
        }
        loop {
            let round = Spent::Expire.pays(self.expire_files());
            let round = timeout(self.config.request_timeout, round);
            match round.await.unwrap_or(Err(timed_out())) {
                Ok(pause) => {
                    let _ = timeout(pause, self.ttl_files.sooner.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(
                        error = error.chain(),
                        "expiring files failed and will be tried again"
                    );
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Removes the first of the files that are overdue. Gives how long it is until the next is.
    async fn expire_files(&self) -> Result<Duration, Error> {
        self.scan_covered().await?;
        let overdue = self.ttl_files.overdue(self.clock.now());
        let keys: Vec<Key> = overdue.iter().map(|(key, _)| key.clone()).collect();
        if !keys.is_empty() {
            let items = self.store.get_many(&keys).await.map_err(|e| store_failed(&e))?;
            // They begin, and so get their indexes, in this order.
            let expired: Vec<Result<(), Error>> = stream::iter(overdue.into_iter().zip(items))
                .map(|((key, seen), item)| self.expire_file(key, seen, item))
                .buffered(PARALLEL_EXPIRIES)
                .collect()
                .await;
            expired.into_iter().collect::<Result<(), Error>>()?;
        }
        let Some(next) = self.ttl_files.next() else { return Ok(LONGEST_SLEEP) };
        let left_ms = u64::try_from(next.0.saturating_sub(self.clock.now().0)).unwrap_or(0);
        Ok(Duration::from_millis(left_ms).min(LONGEST_SLEEP))
    }

    async fn expire_file(
        &self,
        key: Key,
        seen: Seen,
        item: Option<Arc<Item>>,
    ) -> Result<(), Error> {
        let mut known = Known::default();
        known.see(key.clone(), item);
        let write = Write { key, operation: Operation::Expire(seen) };
        let outcome = self.run_knowing(&write, known).await;
        if matches!(outcome, Ok(Some(_))) {
            self.counters.count_expired();
        }
        // One that cannot be removed must not be in the way of the others.
        let retry_at = || self.clock.now().plus_ms(RETRY_PAUSE_MS);
        self.ttl_files.settle(&write.key, seen, outcome.is_err().then(retry_at));
        outcome.map(|_| ())
    }
}
