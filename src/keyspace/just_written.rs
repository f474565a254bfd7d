//! What was written a moment before a watch begins.
//!
//! A watch without an index begins now. Beside other gateways an event comes a moment after its
//! write, so one that was acknowledged before the watch began may be told after that. Indexes do not
//! tell it from a later one, since gateways' clocks differ; the items do: what is read when the
//! watch begins was written before. It is read only where other gateways are there, and only so
//! much of it: in a larger place a watch may begin with an event of the last moment.

use std::sync::Arc;

use super::Keyspace;
use super::subtree::Onward;
use crate::store::{Consistency, Store, StoreError};
use crate::v2::{EtcdIndex, Item, Watch};
use crate::watch::Known;

/// How many items are read.
const MAX_ITEMS: usize = 1_000;

/// A reading that goes on until there is nothing more, or enough.
struct Reading {
    /// What has a higher index was not told yet.
    released: EtcdIndex,
    found: Known,
    left: usize,
}

impl Reading {
    /// Takes in an item. Whether it is a directory in which there may be something.
    fn take(&mut self, item: &Item) -> bool {
        self.left = self.left.saturating_sub(1);
        if item.highest_index() > self.released {
            self.found.push((item.key.clone(), item.highest_index()));
        }
        item.is_dir() && (item.removed.is_none() || item.is_draining())
    }

    fn take_page(&mut self, items: &[Arc<Item>]) -> Onward {
        let inside = items.iter().filter(|item| self.take(item));
        let dirs = inside.map(|item| item.key.clone()).collect();
        if self.left == 0 { Onward::Break(()) } else { Onward::Continue(dirs) }
    }
}

impl<S: Store> Keyspace<S> {
    /// The nodes of a watch that begins now whose last events may still be to come, each with the
    /// index of the last that happened.
    pub(super) async fn just_written(&self, watch: &Watch) -> Result<Known, StoreError> {
        let Some(hub) = self.hub.as_ref().filter(|_| self.following.limit().is_some()) else {
            return Ok(Known::new());
        };
        let mut reading = Reading { released: hub.released(), found: Vec::new(), left: MAX_ITEMS };
        if !watch.key.is_root() {
            let top = self.store.get(&watch.key, Consistency::Strong).await?;
            if !top.is_some_and(|top| reading.take(&top)) {
                return Ok(reading.found);
            }
        }
        if watch.recursive {
            self.walk_below(&watch.key, |items| reading.take_page(items)).await?;
        }
        Ok(reading.found)
    }
}
