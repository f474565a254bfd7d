//! Items that a commit of this gateway is under way to: of each, one commit at a time.
//!
//! An item remembers of each gateway only its last write. So no other write of this gateway may go
//! over an item until it is known what became of the one before: neither the next request's nor what
//! comes from beside, as an expiry, the removal of a directory with all in it, a missing parent.
//!
//! Whoever finds an item in flight waits with empty hands, and plans anew with a higher index. Nobody
//! waits for another item while it holds one, so nobody waits for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::v2::{Commit, Key, Op};

/// The items that are in flight, and how to hear of each landing.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Key, Landing>>>);

/// A commit that is under way. It has landed when this is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    in_flight: InFlight,
    keys: Vec<Key>,
    // Dropped after the keys are free, which wakes those who wait.
    _landed: watch::Sender<()>,
}

/// Another commit's landing, to be waited for.
#[derive(Debug, Clone)]
pub(super) struct Landing(watch::Receiver<()>);

impl InFlight {
    /// Takes off, unless an item that the commit leaves its id in is in flight.
    pub(super) fn take_off(&self, commit: &Commit) -> Result<Flight, Landing> {
        let parts = commit.ops.iter().filter_map(Op::node).filter(|op| op.leaves_its_id());
        let keys: Vec<Key> = parts.map(|op| op.key.clone()).collect();
        let mut in_flight = self.lock();
        if let Some(landing) = keys.iter().find_map(|key| in_flight.get(key)) {
            return Err(landing.clone());
        }
        let (landed, landing) = watch::channel(());
        in_flight.extend(keys.iter().map(|key| (key.clone(), Landing(landing.clone()))));
        drop(in_flight);
        Ok(Flight { in_flight: self.clone(), keys, _landed: landed })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Landing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock();
        for key in &self.keys {
            in_flight.remove(key);
        }
    }
}

impl Landing {
    /// Waits until the other commit has landed.
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent; it ends with its sender.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::{EtcdIndex, Mutation, NodeOp, WriteId};

    fn commit(paths: &[&str]) -> Commit {
        let id = WriteId { index: EtcdIndex(1), gateway: 1 };
        let remove = |path: &&str| {
            let key = Key::root().child(path.as_bytes());
            let mutation = Mutation::RuleOut;
            Op::Node(NodeOp { key, id, expect: Vec::new(), mutation, action: None })
        };
        Commit { id, ops: paths.iter().map(remove).collect() }
    }

    #[tokio::test]
    async fn what_touches_an_item_in_flight_waits_for_its_landing() {
        let in_flight = InFlight::default();
        let first = in_flight.take_off(&commit(&["a", "b"])).expect("nothing is in flight");
        let other = in_flight.take_off(&commit(&["c"])).expect("it touches neither");
        let landing = in_flight.take_off(&commit(&["d", "b"])).expect_err("b is in flight").wait();
        tokio::pin!(landing);
        assert!(futures_util::poll!(landing.as_mut()).is_pending());
        drop(in_flight.take_off(&commit(&["d"])).expect("a refused one leaves nothing behind"));
        drop(first);
        landing.await;
        drop(in_flight.take_off(&commit(&["d", "b"])).expect("it has landed"));
        drop(other);
        assert!(in_flight.lock().is_empty());
    }
}
