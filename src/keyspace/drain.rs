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

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::write::pause;
use super::{Keyspace, store_failed};
use crate::store::{Committed, Consistency, Level, Store, StoreError};
use crate::v2::{
    Action, Commit, Error, Item, Key, Mutation, NodeOp, Op, Precondition, RecordKind, WriteId,
};

/// How many items are written side by side.
const PARALLEL_REMOVALS: usize = 32;

impl<S: Store> Keyspace<S> {
    /// Removes all that is below a draining tombstone, and then its mark.
    pub(super) async fn drain(&self, top: &Key) -> Result<(), Error> {
        tracing::debug!(%top, "a large subtree is being removed");
        let mut depth = top.depth();
        let mut dirs: Vec<Key> = Vec::new();
        loop {
            depth += 1;
            let found = self.remove_level(top, depth).await?;
            if found.is_empty() {
                break;
            }
            dirs.extend(found);
        }
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.depth()));
        for level in dirs.chunk_by(|a, b| a.depth() == b.depth()) {
            stream::iter(level.to_vec())
                .map(|dir| async move { self.end_drain(&dir, None).await })
                .buffer_unordered(PARALLEL_REMOVALS)
                .try_collect::<Vec<()>>()
                .await?;
        }
        let record = Op::DropRecord(RecordKind::Drain.name_for(top));
        self.end_drain(top, Some(record)).await
    }

    /// Removes the nodes of one level. Gives the directories below which there may be more.
    async fn remove_level(&self, top: &Key, depth: u16) -> Result<Vec<Key>, Error> {
        let mut dirs = Vec::new();
        let mut from = None;
        loop {
            let level = Level { below: top, depth, from };
            let page = self.store.list(level, Consistency::Strong).await;
            let page = page.map_err(|e| store_failed(&e))?;
            let drains =
                |item: &Arc<Item>| item.is_dir() && (item.removed.is_none() || item.is_draining());
            dirs.extend(page.items.iter().filter(|i| drains(i)).map(|i| i.key.clone()));
            let live = page.items.into_iter().filter(|item| item.removed.is_none());
            stream::iter(live)
                .map(|item| self.remove_below(item))
                .buffer_unordered(PARALLEL_REMOVALS)
                .try_collect::<Vec<()>>()
                .await?;
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(dirs),
            }
        }
    }

    /// Turns one node into a tombstone, whatever became of it since it was listed.
    async fn remove_below(&self, mut item: Arc<Item>) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            self.observe(&item)?;
            let draining = item.is_dir();
            let kind = if draining { Precondition::Dir } else { Precondition::File };
            let op = NodeOp {
                key: item.key.clone(),
                expect: vec![kind],
                mutation: Mutation::Remove { draining, now: self.clock.now() },
                action: None,
            };
            let ticket = self.clock.begin();
            let id = WriteId { index: ticket.index(), nonce: fastrand::u32(..) };
            match self.store.commit(&Commit { id, ops: vec![Op::Node(op)] }).await {
                Ok(Committed::Applied { .. }) => return Ok(()),
                Ok(Committed::Refused { found }) => {
                    match found.into_iter().find_map(|(_, item)| item) {
                        Some(now_there) if now_there.removed.is_none() => item = now_there,
                        Some(_) | None => return Ok(()),
                    }
                }
                // To remove a node twice does no harm, so an open outcome is just tried again.
                Err(StoreError::Indeterminate(_) | StoreError::Unavailable(_)) => {}
                Err(error) => return Err(store_failed(&error)),
            }
            attempt += 1;
            pause(attempt).await;
        }
    }

    /// Takes the mark from a draining tombstone, where it is still there.
    async fn end_drain(&self, key: &Key, record: Option<Op>) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            let op = NodeOp {
                key: key.clone(),
                expect: vec![Precondition::Draining],
                mutation: Mutation::EndDrain { now: self.clock.now() },
                action: Some(Action::Delete),
            };
            let mut ops = vec![Op::Node(op)];
            ops.extend(record.clone());
            let ticket = self.clock.begin();
            let id = WriteId { index: ticket.index(), nonce: fastrand::u32(..) };
            match self.store.commit(&Commit { id, ops }).await {
                // Refused: another gateway was faster.
                Ok(Committed::Applied { .. } | Committed::Refused { .. }) => return Ok(()),
                Err(StoreError::Indeterminate(_) | StoreError::Unavailable(_)) => {}
                Err(error) => return Err(store_failed(&error)),
            }
            attempt += 1;
            pause(attempt).await;
        }
    }
}
