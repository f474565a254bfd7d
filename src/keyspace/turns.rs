//! Turns: one write of a key, and one drain of a directory, at a time within this gateway.
//!
//! Writes of one key that went side by side would only refuse each other, and each would be planned
//! and paid anew; and of several that drain one directory each would list all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::v2::Key;

/// The keys that are being written, or drained.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Arc<Turn<()>>>>);

/// The turn of one task; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct HeldTurn<'a> {
    turns: &'a Turns,
    key: Key,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn at this key. First come, first served.
    pub(super) async fn wait(&self, key: &Key) -> HeldTurn<'_> {
        let turn = Arc::clone(self.lock().entry(key.clone()).or_default());
        // Made before the wait, so that a write which gives up while waiting tidies up as well.
        let mut held = HeldTurn { turns: self, key: key.clone(), held: None };
        held.held = Some(turn.lock_owned().await);
        held
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Turn<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldTurn<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut turns = self.turns.lock();
        // Only the map itself holds it: nobody waits.
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_has_one_turn_and_nothing_is_left_behind() {
        let turns = Turns::default();
        let (a, b) = (Key::root().child(b"a"), Key::root().child(b"b"));
        let first = turns.wait(&a).await;
        let _other = turns.wait(&b).await;
        {
            let second = turns.wait(&a);
            tokio::pin!(second);
            assert!(futures_util::poll!(second.as_mut()).is_pending());
            drop(first);
            second.await;
        }
        assert_eq!(turns.lock().len(), 1, "only b is held");
    }

    #[tokio::test]
    async fn a_write_that_gives_up_waiting_leaves_nothing_behind() {
        let turns = Turns::default();
        let a = Key::root().child(b"a");
        let first = turns.wait(&a).await;
        {
            let second = turns.wait(&a);
            tokio::pin!(second);
            assert!(futures_util::poll!(second.as_mut()).is_pending());
        }
        drop(first);
        assert!(turns.lock().is_empty());
    }
}
