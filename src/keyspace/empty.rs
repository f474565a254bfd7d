//! Emptying a keyspace: every node below the root goes, hidden ones too, and nothing else.
//!
//! Each is removed as a client's recursive DELETE of it would: by the rules, with an event that
//! watchers hear, a tombstone, and indexes that rise. So it may be done beside gateways that serve,
//! and again where it was cut short. Invariant: every node that was there throughout is removed;
//! users, roles and the ids stay, and so does what somebody makes meanwhile.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Keys as _, Keyspace, store_failed};
use crate::store::{Consistency, Level, Store};
use crate::units::Operation as Spent;
use crate::v2::{Error, ErrorCode, Item, Key, Operation, Removal, Seen, Write};

/// How many nodes are removed side by side, each with all that is below it.
const PARALLEL: usize = 8;

impl<S: Store> Keyspace<S> {
    /// Removes every node, and says how many there were directly under the root; meanwhile, how many
    /// so far.
    pub async fn empty(&self, mut told: impl FnMut(u64) + Send) -> Result<u64, Error> {
        let mut removed = 0;
        let mut from = None;
        loop {
            let level = Level { below: &Key::root(), depth: 1, from };
            let page = Spent::DeleteRecursive.pays(self.store.list(level, Consistency::Strong));
            let page = page.await.map_err(|error| store_failed(&error))?;
            let nodes = page.items.into_iter().filter(|item| item.removed.is_none());
            let mut removals =
                stream::iter(nodes).map(|item| self.remove_whole(item)).buffer_unordered(PARALLEL);
            while let Some(is_removed) = removals.try_next().await? {
                removed += u64::from(is_removed);
                told(removed);
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(removed),
            }
        }
    }

    /// Removes a node with all that is below it. Says no where somebody else did.
    async fn remove_whole(&self, item: Arc<Item>) -> Result<bool, Error> {
        let key = item.key.clone();
        if let Some(expiration) = item.expiration.filter(|_| item.is_past(self.clock.now())) {
            // No client could remove it any more, but it is still there.
            let seen = Seen { modified: item.modified, expiration };
            let gone = Spent::Expire.pays(self.expire(key, seen)).await?;
            return Ok(gone.is_some());
        }
        let removal = Removal { dir: true, recursive: true };
        match self.write(Write { key, operation: Operation::Delete(removal) }).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == ErrorCode::KeyNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
