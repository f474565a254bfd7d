//! A keyspace that was deleted beside this gateway, which nobody knew of: it was cut off from the
//! table for longer than signs of life last, or it leaves none as it only reads.
//!
//! What it would write now is nobody's, so it refuses everything from the moment that it knows. It
//! costs nothing to find out: a sign of life that is not there any more at the next one, or a root
//! that is not there when `/health` reads it, is reason to look. Invariant: it never comes back,
//! not even where a keyspace of the same name is made; that is another cluster.

use std::sync::atomic::{AtomicBool, Ordering};

use super::open::{OpenError, find};
use super::{Keys as _, Keyspace, store_failed};
use crate::store::Store;
use crate::v2::{Error, ErrorCode};

/// Whether it is known that the keyspace was deleted.
#[derive(Debug, Default)]
pub(super) struct Gone(AtomicBool);

impl<S> Keyspace<S> {
    pub(super) fn is_gone(&self) -> bool {
        self.gone.0.load(Ordering::Acquire)
    }

    /// Refuses a request where there is nothing any more that it could be about.
    pub(super) fn refuse_gone(&self) -> Result<(), Error> {
        match self.is_gone() {
            true => {
                let error = Error::new(ErrorCode::RaftInternal, "the keyspace was deleted");
                Err(error.at_store(self.told_index()))
            }
            false => Ok(()),
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Sees whether the keyspace is still the one that was opened, and ends all that goes on where
    /// it is not.
    pub(super) async fn see_whether_gone(&self) -> Result<(), Error> {
        let found = find(&*self.store).await.map_err(|error| match error {
            OpenError::Store(error) => store_failed(&error),
            error @ (OpenError::Schema(_)
            | OpenError::Missing
            | OpenError::Unsettled
            | OpenError::HalfDeleted
            | OpenError::Deleted
            | OpenError::NoRandomBytes) => Error::new(ErrorCode::RaftInternal, error.to_string()),
        })?;
        if found != Some(self.identity) && !self.gone.0.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "the keyspace was deleted while this gateway could not be seen; it answers no \
                 requests any more, and is to be stopped"
            );
            self.end_watches();
        }
        Ok(())
    }
}
