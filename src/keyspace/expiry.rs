//! The sweep: directories whose TTL ran out, and drains that nobody finishes.
//!
//! A file that is past its expiration is invisible by its own attribute and needs no sweep. A
//! directory takes its subtree along, so each directory with a TTL has a record, and every
//! gateway looks at these records: when the next one is due, and now and then for those of others.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::timeout;

use super::drain::Drain;
use super::write::Unfinished;
use super::{Keyspace, store_failed, timed_out};
use crate::metrics;
use crate::store::{Consistency, Store};
use crate::units::Operation as Spent;
use crate::v2::{Commit, Error, Key, Op, Record, RecordKind, Seen, UnixMs};

/// How often the records are looked at while there is nothing to do soon.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);

/// How soon they are looked at again where somebody's drain was seen under way.
const DRAIN_INTERVAL: Duration = Duration::from_secs(1);

/// How long one round may take; what is left then is for the next.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// How soon they are looked at again, at the earliest.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// What the records say is to be done.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The directories that have a TTL, by their expiration.
    dirs: Vec<(UnixMs, Key)>,
    /// The subtrees whose removal is under way.
    drains: Vec<Drain>,
    /// How often users and roles were changed.
    pub(super) account_changes: u64,
}

impl Work {
    /// Whether there is something to remove, or to finish, at this time.
    pub(super) fn is_any(&self, now: UnixMs) -> bool {
        let is_overdue = self.dirs.first().is_some_and(|(expiration, _)| *expiration <= now);
        is_overdue || !self.drains.is_empty()
    }

    /// When the next directory expires after this time.
    pub(super) fn next_due(&self, now: UnixMs) -> Option<UnixMs> {
        self.dirs.iter().map(|(expiration, _)| *expiration).find(|expiration| *expiration > now)
    }
}

impl<S: Store> Keyspace<S> {
    /// Removes what is overdue, once. To be awaited before the gateway is ready.
    pub async fn sweep(&self) -> Result<(), Error> {
        let work = self.look_for_work().await?;
        self.follow_accounts(work.account_changes).await?;
        for drain in &work.drains {
            self.finish_drain(drain).await?;
        }
        self.expire_dirs(&work).await
    }

    /// Keeps removing what is overdue, and telling what happened, for ever.
    pub async fn keep_sweeping(&self) {
        tokio::join!(
            self.keep_sweeping_dirs(),
            self.keep_expiring_files(),
            self.keep_telling(),
            self.keep_beating(),
            self.keep_following(),
            self.keep_following_accounts(),
        );
    }

    async fn keep_sweeping_dirs(&self) {
        let mut seen_before: HashSet<Drain> = HashSet::new();
        loop {
            let round = self.sweep_again(&mut seen_before);
            let pause = match timeout(ROUND_LIMIT, round).await.unwrap_or(Err(timed_out())) {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(
                        error = error.chain(),
                        "the sweep failed and will be tried again"
                    );
                    IDLE_INTERVAL
                }
            };
            // What this gateway itself does is looked at without waiting.
            let _ = timeout(pause, self.sweep_wanted.notified()).await;
        }
    }

    /// One round. Drains that were under way at the last round already are finished here: whoever
    /// began them needs help, or is gone.
    async fn sweep_again(&self, seen_before: &mut HashSet<Drain>) -> Result<Duration, Error> {
        self.finish_left_drains().await?;
        let work = self.look_for_work().await?;
        self.follow_accounts(work.account_changes).await?;
        self.finish_abandoned(&work, seen_before).await?;
        self.expire_dirs(&work).await?;
        metrics::clock_ahead(self.clock.ahead());
        let soon = if seen_before.is_empty() { IDLE_INTERVAL } else { DRAIN_INTERVAL };
        Ok(self.until_next(&work).min(soon))
    }

    /// Finishes what requests of this gateway had to leave.
    pub(super) async fn finish_left_drains(&self) -> Result<(), Error> {
        // Whatever keeps one of them from its end, none is forgotten.
        let left = self.take_left_drains().into_iter().map(|drain| Unfinished::new(self, drain));
        for unfinished in left.collect::<Vec<_>>() {
            self.finish_drain(unfinished.drain()).await?;
            unfinished.done();
        }
        Ok(())
    }

    /// Finishes what was under way at the last look already, and remembers what is at this one.
    pub(super) async fn finish_abandoned(
        &self,
        work: &Work,
        seen_before: &mut HashSet<Drain>,
    ) -> Result<(), Error> {
        let (abandoned, under_way): (Vec<&Drain>, Vec<&Drain>) =
            work.drains.iter().partition(|drain| seen_before.contains(drain));
        for drain in abandoned {
            self.finish_drain(drain).await?;
        }
        *seen_before = under_way.into_iter().cloned().collect();
        Ok(())
    }

    async fn finish_drain(&self, drain: &Drain) -> Result<(), Error> {
        Spent::Drain.pays(self.drain(drain)).await
    }

    fn take_left_drains(&self) -> Vec<Drain> {
        std::mem::take(&mut *self.left_drains.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn look_for_work(&self) -> Result<Work, Error> {
        let records = Spent::Sweep.pays(self.store.records(RecordKind::Sweep)).await;
        let records = records.map_err(|e| store_failed(&e))?;
        let mut work = Work::default();
        for record in records {
            match record {
                // Whatever there is to be removed, gateways that write remove it.
                Record::DirTtl { .. } | Record::Drain { .. } if self.is_read_only() => {}
                Record::DirTtl { key, expiration } => work.dirs.push((expiration, key)),
                Record::Drain { key: top, index, action } => {
                    work.drains.push(Drain { top, index, action });
                }
                Record::Auth { change, .. } => work.account_changes = change,
                Record::Identity { .. }
                | Record::Gateway { .. }
                | Record::User(_)
                | Record::Role(_) => {}
            }
        }
        work.dirs.sort();
        Ok(work)
    }

    /// Removes the directories that are overdue, in the order of their expirations.
    pub(super) async fn expire_dirs(&self, work: &Work) -> Result<(), Error> {
        let now = self.clock.now();
        for (expiration, key) in work.dirs.iter().take_while(|(expiration, _)| *expiration <= now) {
            Spent::Expire.pays(self.expire_dir(key.clone(), *expiration)).await?;
        }
        Ok(())
    }

    async fn expire_dir(&self, key: Key, expiration: UnixMs) -> Result<(), Error> {
        let item = self.store.get(&key, Consistency::Strong).await.map_err(|e| store_failed(&e))?;
        let overdue = item.filter(|item| {
            item.removed.is_none() && item.is_dir() && item.expiration == Some(expiration)
        });
        match overdue {
            Some(item) => {
                let seen = Seen { modified: item.modified, expiration };
                self.expire(key, seen).await.map(|_| ())
            }
            // The directory went, or its TTL changed, with something above it.
            None => self.drop_record(Record::DirTtl { key, expiration }).await,
        }
    }

    async fn drop_record(&self, record: Record) -> Result<(), Error> {
        let commit = Commit { id: self.unseen_id()?, ops: vec![Op::DropSameRecord(record)] };
        self.store.commit(&commit).await.map(|_| ()).map_err(|e| store_failed(&e))
    }

    /// How long it is until the next directory is due.
    fn until_next(&self, work: &Work) -> Duration {
        let now = self.clock.now();
        let Some(next) = work.next_due(now) else { return IDLE_INTERVAL };
        let left_ms = u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0);
        Duration::from_millis(left_ms).clamp(SHORTEST_INTERVAL, IDLE_INTERVAL)
    }
}
