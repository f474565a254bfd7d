//! Files with a TTL, in the order of their expirations, so that watchers hear of each in time.
//!
//! A file past its expiration is invisible by itself; this is only about the event. What is noted
//! here may be out of date, which does no harm: an expiry applies to the version that was noted or
//! to none. A gateway notes what it writes itself, and what is there when it starts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Keyspace, store_failed, timed_out};
use crate::store::{Consistency, Level, Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{Error, EtcdIndex, Event, Item, Key, Known, Operation, Seen, UnixMs, Write};

/// How many expiries are under way side by side.
const PARALLEL_EXPIRIES: usize = 64;

/// How long to wait after an expiry failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MS: i64 = 1000;

/// How long to sleep at most: the wall clock may be set anew.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct TtlFiles {
    noted: Mutex<Noted>,
    /// Another file is the first one.
    sooner: Notify,
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
    /// Notes the latest version of a node: a file that expires, or something else.
    fn note(&self, key: &Key, modified: EtcdIndex, expiration: Option<UnixMs>) {
        let mut noted = self.lock();
        if noted.versions.get(key).is_some_and(|known| known.seen.modified > modified) {
            return;
        }
        noted.remove(key);
        let Some(expiration) = expiration else { return };
        noted.insert(key, Version { seen: Seen { modified, expiration }, due: expiration });
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
    /// Notes what an event made of its node.
    pub(super) fn note_ttl(&self, event: &Event) {
        if self.config.scan_for_ttl {
            let node = &event.node;
            let expiration = node.expiration.filter(|_| !node.dir);
            self.ttl_files.note(&node.key, node.modified, expiration);
        }
    }

    /// Notes an item that was read.
    pub(super) fn note_ttl_of(&self, item: &Item) {
        if self.config.scan_for_ttl && item.removed.is_none() && !item.is_dir() {
            self.ttl_files.note(&item.key, item.modified, item.expiration);
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Notes every file with a TTL that is there.
    pub(super) async fn scan_for_ttl(&self) -> Result<(), StoreError> {
        if !self.config.scan_for_ttl {
            return Ok(());
        }
        // The subtrees below the root are listed one by one, as the store's listings want it.
        for dir in self.scan_level(&Key::root(), 1).await? {
            let mut depth = 1;
            loop {
                depth += 1;
                if self.scan_level(&dir, depth).await?.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Notes the files of one level. Gives the directories.
    async fn scan_level(&self, below: &Key, depth: u16) -> Result<Vec<Key>, StoreError> {
        let mut dirs = Vec::new();
        let mut from = None;
        loop {
            let level = Level { below, depth, from };
            let page = self.store.list(level, Consistency::Strong).await?;
            for item in page.items.iter().filter(|item| item.removed.is_none()) {
                if item.is_dir() {
                    dirs.push(item.key.clone());
                } else if item.expiration.is_some() {
                    self.note_ttl_of(item);
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(dirs),
            }
        }
    }

    /// Removes files when their TTL runs out, for ever.
    pub(super) async fn keep_expiring_files(&self) {
        if !self.config.scan_for_ttl {
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
                    tracing::warn!(%error, "expiring files failed and will be tried again");
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Removes the first of the files that are overdue. Gives how long it is until the next is.
    async fn expire_files(&self) -> Result<Duration, Error> {
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
