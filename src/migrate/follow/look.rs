//! Looks at nodes with a TTL at the source, and passes refreshes on.
//!
//! Invariant: what is refreshed at the target is there as the source's node was before: else an
//! event is under way that says what it is now.

use super::super::import::{Fatal, Refused, parsed};
use super::super::ttl::{Left, left, now};
use super::Follower;
use super::leases::{Lease, Look};
use crate::v2client::error::{KEY_NOT_FOUND, NOT_DIR};
use crate::v2client::{Client, Condition, Error, Get, Node, Put, State};

/// A node of the source, if it is there.
pub(super) struct Looked {
    look: Look,
    node: Result<Option<Node>, Error>,
}

/// Looks at a node of the source.
pub(super) async fn look(client: &Client, look: Look) -> Looked {
    let get = Get { quorum: true, ..Get::default() };
    let node = match parsed(&look.key) {
        Err(_) => Ok(None),
        Ok(key) => match client.get(&key, get).await {
            Ok((event, _)) => Ok(Some(event.node)),
            Err(error) if matches!(error.code(), Some(KEY_NOT_FOUND | NOT_DIR)) => Ok(None),
            Err(error) => Err(error),
        },
    };
    Looked { look, node }
}

impl Follower<'_> {
    /// Passes a refresh on, if there was one.
    pub(super) async fn looked(&mut self, looked: Looked) -> Result<(), Fatal> {
        let Looked { look, node } = looked;
        let Some(known) = self.leases.known(&look) else { return Ok(()) };
        let lease = |node: Node| {
            let (created, is_dir) = (node.created_index, node.dir);
            node.expiration.map(|expiration| Lease { expiration, created, is_dir })
        };
        // Where it is gone, or has no TTL any more, an event says so, and until it is applied what
        // is known of the target holds. What is wrong with the source is told by its watch.
        let found = node.ok().flatten().and_then(lease).unwrap_or(known);
        if found.expiration <= known.expiration {
            self.leases.set(&look.key, Some(found), now());
            return Ok(());
        }
        self.refresh(&look.key, known, found).await
    }

    async fn refresh(&mut self, key: &str, known: Lease, found: Lease) -> Result<(), Fatal> {
        let Left::Seconds(ttl) = left(Some(found.expiration), now()) else {
            self.leases.set(key, Some(found), now());
            return Ok(());
        };
        if known.is_dir && known.expiration <= now() {
            // It may have run out at the target, and be there again for what was written in it.
            return self.reread(key).await;
        }
        // A refresh without a condition gives a file a new createdIndex.
        let is_anew = known.created != found.created;
        let condition = if is_anew { Condition::None } else { Condition::Exists };
        let put = Put { state: State::Refresh, ttl: Some(ttl), condition };
        let Ok(path) = parsed(key) else { return Ok(()) };
        let Err(error) = self.target.client().put(&path, put).await else {
            self.leases.set(key, Some(found), now());
            return Ok(());
        };
        match self.target.judge(error).await {
            // It ran out at the target, or is something else there.
            Refused::Node(_) => self.reread(key).await,
            Refused::All(fatal) if fatal.may_pass() => {
                // What is known is not changed, so it is looked at again in a moment.
                self.leases.set(key, Some(known), now());
                Ok(())
            }
            Refused::All(fatal) => Err(fatal),
        }
    }
}
