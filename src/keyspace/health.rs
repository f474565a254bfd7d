//! Whether the store answers: asked for by probes, of which there may be many a second.
//!
//! An answer is good for a second, and whoever comes while the store is asked waits for that
//! answer. Invariant: at most one read a second, however many ask; and nobody waits longer than two
//! reads may take.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::Keyspace;
use crate::store::{Consistency, Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::Key;

/// For how long an answer is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long the store has for its answer.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// What is known of the store's health.
#[derive(Debug)]
pub(super) struct Health {
    last: Mutex<Option<Seen>>,
    /// Whoever has it asks the store.
    turn: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    is_healthy: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health { last: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Health {
    /// The last answer, while it is good.
    fn known(&self) -> Option<bool> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|seen| seen.at.elapsed() < GOOD_FOR).map(|seen| seen.is_healthy)
    }

    fn note(&self, is_healthy: bool) {
        let seen = Seen { at: Instant::now(), is_healthy };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

impl<S: Store> Keyspace<S> {
    /// Whether the store answers, as of a second ago at most.
    pub(super) async fn is_healthy(&self) -> bool {
        if let Some(known) = self.health.known() {
            return known;
        }
        if self.is_gone() {
            return false;
        }
        let asked = async {
            let _turn = self.health.turn.acquire().await;
            if let Some(known) = self.health.known() {
                return known;
            }
            let is_healthy = self.store_answers().await;
            self.health.note(is_healthy);
            is_healthy
        };
        timeout(2 * READ_LIMIT, asked).await.unwrap_or(false)
    }

    async fn store_answers(&self) -> bool {
        let root = Key::root();
        let probe = Spent::Health.pays(self.store.get(&root, Consistency::Strong));
        match timeout(READ_LIMIT, probe).await {
            Ok(Ok(Some(_))) => true,
            // The root goes with the keyspace, and not before.
            Ok(Ok(None)) => self.see_whether_gone().await.is_ok() && !self.is_gone(),
            // A store that is busy answers, only not to everybody.
            Ok(Err(StoreError::Busy)) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store is not healthy");
                false
            }
            Err(_elapsed) => {
                tracing::warn!("the store is not healthy: it does not answer in time");
                false
            }
        }
    }
}
