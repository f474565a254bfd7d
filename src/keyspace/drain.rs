//! Removing a subtree that is too large for one commit.
//!
//! ```text
//! top: live directory
//!   1. one commit: top -> draining tombstone, record "drain" written   (the delete is decided)
//!   2. for each level, from the top down: each directory -> draining tombstone, each file ->
//!      tombstone. A directory is dead before its children are listed, so nothing can be
//!      created behind the drain's back; whatever is found goes, whatever its index.
//!   3. each directory, from the bottom up: draining -> tombstone
//!   4. one commit: top -> tombstone, record dropped                    (the answer goes out)
//! ```
//!
//! Every step is conditional and may be done by several gateways at once, or again: whoever finds
//! the record, or a draining tombstone in its way, starts at step 2. A directory that drains is
//! never purged, so a drain that stopped half way still finds all that is below it.
//!
//! A helper may be slow: the drain may end without it, and the path may be in use again. So what
//! it removes is a version that it saw *before* it saw the top still draining, and the marks that
//! it takes off are those of the removals that it saw.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::settle::pause;
use super::{Keyspace, store_failed};
use crate::store::{Committed, Consistency, Level, Store, StoreError};
use crate::v2::{
    Action, Commit, Error, EtcdIndex, Item, Key, Mutation, NodeOp, Op, Precondition, Record,
};
use crate::watch::Went;

/// How many items are written side by side.
const PARALLEL_REMOVALS: usize = 32;

/// How often a step is tried while the store does not answer.
const ATTEMPTS: u32 = 10;

/// A removal that drains: its top and its index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    /// The directory that was removed.
    pub(super) top: Key,
    /// The index of its removal.
    pub(super) index: EtcdIndex,
    /// `delete` or `expire`.
    pub(super) action: Action,
}

/// The drain ended without us.
struct Ended;

impl<S: Store> Keyspace<S> {
    /// Helps the drain whose tombstone is in the way, if it is still there.
    pub(super) async fn help_drain(&self, top: &Key) -> Result<(), Error> {
        let item = self.store.get(top, Consistency::Strong).await.map_err(|e| store_failed(&e))?;
        match item.filter(|item| item.is_draining()) {
            Some(item) => {
                let action = item.action.unwrap_or(Action::Delete);
                let drain = Drain { top: top.clone(), index: item.modified, action };
                self.drain(&drain).await
            }
            None => Ok(()),
        }
    }

    /// Removes all that is below a draining tombstone, and then its mark.
    ///
    /// Within this gateway one task does that and the others wait for it: each that helps lists
    /// all of it again, so that many who meet a drain at once would make it slower, not faster.
    pub(super) async fn drain(&self, drain: &Drain) -> Result<(), Error> {
        let _turn = self.drains.wait(&drain.top).await;
        if !self.still_drains(drain).await? {
            return Ok(());
        }
        tracing::debug!(top = %drain.top, index = %drain.index, "removing a large subtree");
        let mut depth = drain.top.depth();
        let mut dirs: Vec<(Key, EtcdIndex)> = Vec::new();
        loop {
            depth += 1;
            let Ok(found) = self.remove_level(drain, depth).await? else { return Ok(()) };
            if found.is_empty() {
                break;
            }
            dirs.extend(found);
        }
        dirs.reverse();
        for level in dirs.chunk_by(|(a, _), (b, _)| a.depth() == b.depth()) {
            stream::iter(level.to_vec())
                .map(|(dir, index)| async move { self.end_drain(&dir, index, None).await })
                .buffer_unordered(PARALLEL_REMOVALS)
                .try_collect::<Vec<()>>()
                .await?;
        }
        let Drain { top: key, index, action } = drain.clone();
        let record = Op::DropSameRecord(Record::Drain { key, index, action });
        self.end_drain(&drain.top, drain.index, Some(record)).await
    }

    /// Removes the nodes of one level. Gives the directories below which there may be more, with
    /// the indexes of their removals.
    async fn remove_level(
        &self,
        drain: &Drain,
        depth: u16,
    ) -> Result<Result<Vec<(Key, EtcdIndex)>, Ended>, Error> {
        let mut dirs = Vec::new();
        let mut from = None;
        loop {
            let level = Level { below: &drain.top, depth, from };
            let page = self.store.list(level, Consistency::Strong).await;
            let page = page.map_err(|e| store_failed(&e))?;
            if !self.still_drains(drain).await? {
                return Ok(Err(Ended));
            }
            let removed: Vec<Option<(Key, EtcdIndex)>> = stream::iter(page.items)
                .map(|item| self.remove_below(drain, item))
                .buffer_unordered(PARALLEL_REMOVALS)
                .try_collect()
                .await?;
            dirs.extend(removed.into_iter().flatten());
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(Ok(dirs)),
            }
        }
    }

    async fn still_drains(&self, drain: &Drain) -> Result<bool, Error> {
        let top = self.store.get(&drain.top, Consistency::Strong).await;
        let top = top.map_err(|e| store_failed(&e))?;
        Ok(top.is_some_and(|top| top.is_draining() && top.modified == drain.index))
    }

    /// Turns one node into a tombstone, whatever became of it while the drain goes on. Gives the
    /// directory, with the index of its removal, below which there may be more.
    async fn remove_below(
        &self,
        drain: &Drain,
        mut item: Arc<Item>,
    ) -> Result<Option<(Key, EtcdIndex)>, Error> {
        let mut attempt = 0;
        loop {
            if item.removed.is_some() {
                if attempt > 0 {
                    self.tell_who_watches(&item, item.modified);
                }
                return Ok(item.is_draining().then(|| (item.key.clone(), item.modified)));
            }
            self.observe(&item)?;
            let ticket = self.begin();
            let id = self.write_id(ticket.index())?;
            let op = NodeOp {
                key: item.key.clone(),
                id,
                expect: vec![Precondition::Modified(item.modified)],
                mutation: Mutation::Remove { draining: item.is_dir(), now: self.clock.now() },
                action: None,
            };
            let commit = Commit { id, ops: vec![Op::Node(op)] };
            let _flight = match self.take_off(&commit) {
                Ok(flight) => flight,
                Err(landing) => {
                    drop(ticket);
                    landing.wait().await;
                    continue;
                }
            };
            match self.store.commit(&commit).await {
                Ok(Committed::Applied { .. }) => {
                    self.tell_who_watches(&item, id.index);
                    return Ok(item.is_dir().then(|| (item.key.clone(), id.index)));
                }
                Ok(Committed::Refused { found }) => {
                    match found.into_iter().find_map(|(_, item)| item) {
                        Some(found) if self.still_drains(drain).await? => item = found,
                        Some(_) | None => return Ok(None),
                    }
                }
                // What was removed is then found removed, so an open outcome is tried again.
                Err(error) => give_up_or(error, &mut attempt).await?,
            }
        }
    }

    /// Whoever watches a node that went hears of the removal. Where a feed is followed, that tells.
    fn tell_who_watches(&self, item: &Item, index: EtcdIndex) {
        if let Some(hub) = self.hub.as_ref().filter(|_| !self.follows()) {
            hub.went(&Went { key: item.key.clone(), created: item.created, index });
        }
    }

    /// Takes the mark from a draining tombstone, where it is still there.
    async fn end_drain(
        &self,
        key: &Key,
        index: EtcdIndex,
        record: Option<Op>,
    ) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            let ticket = self.begin();
            let id = self.write_id(ticket.index())?;
            let op = NodeOp {
                key: key.clone(),
                id,
                expect: vec![Precondition::Draining(index)],
                mutation: Mutation::EndDrain { now: self.clock.now() },
                action: None,
            };
            let mut ops = vec![Op::Node(op)];
            ops.extend(record.clone());
            match self.store.commit(&Commit { id, ops }).await {
                // Refused: another gateway was faster.
                Ok(Committed::Applied { .. } | Committed::Refused { .. }) => return Ok(()),
                Err(error) => give_up_or(error, &mut attempt).await?,
            }
        }
    }
}

/// Waits before a step is tried again, or gives it up; the sweep will find what is left.
async fn give_up_or(error: StoreError, attempt: &mut u32) -> Result<(), Error> {
    let passing = match error {
        StoreError::Indeterminate(_) | StoreError::Unavailable(_) | StoreError::Busy => true,
        StoreError::TooLarge(_) | StoreError::Corrupt(_) => false,
    };
    *attempt += 1;
    if !passing || *attempt > ATTEMPTS {
        return Err(store_failed(&error));
    }
    pause(*attempt).await;
    Ok(())
}
