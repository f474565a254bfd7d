//! Opening a keyspace: who this cluster is, and whether this program may touch its data.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::statistics::Counters;
use super::{Config, Identity, Keyspace};
use crate::clock::IndexClock;
use crate::store::{Committed, Store, StoreError};
use crate::v2::{
    Commit, EtcdIndex, Key, Mutation, NodeOp, Op, Precondition, Record, RecordKind, WriteId,
};

/// The layout of items and records that this program reads and writes.
const SCHEMA: u32 = 1;

/// How often a keyspace is looked at while another gateway may be making it.
const OPEN_ATTEMPTS: usize = 5;

/// Why a keyspace cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The store gave no answer.
    Store(StoreError),
    /// The data has a layout that this program does not know.
    Schema(u32),
    /// The keyspace could neither be found nor made.
    Unsettled,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Store(error) => error.fmt(f),
            OpenError::Schema(found) => write!(
                f,
                "the keyspace has schema version {found}, and this program knows {SCHEMA}: \
                 use the version of etcdynamo that wrote it, or a newer one"
            ),
            OpenError::Unsettled => f.write_str("the keyspace could neither be found nor made"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Store(error) => Some(error),
            OpenError::Schema(_) | OpenError::Unsettled => None,
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Opens the keyspace in this store, and makes it where there is none yet.
    pub async fn open(
        store: S,
        clock: Arc<IndexClock>,
        config: Config,
    ) -> Result<Keyspace<S>, OpenError> {
        let identity = find_or_make(&store, &clock).await?;
        Ok(Keyspace {
            store,
            clock,
            config,
            identity,
            counters: Counters::default(),
            sweep_wanted: Notify::new(),
            left_drains: Mutex::default(),
        })
    }
}

async fn find_or_make<S: Store>(store: &S, clock: &IndexClock) -> Result<Identity, OpenError> {
    for _ in 0..OPEN_ATTEMPTS {
        let found = store.records(RecordKind::Identity).await.map_err(OpenError::Store)?;
        for record in found {
            if let Record::Identity { schema, cluster_id, member_id } = record {
                if schema != SCHEMA {
                    return Err(OpenError::Schema(schema));
                }
                return Ok(Identity { cluster_id, member_id });
            }
        }
        let ticket = clock.begin();
        match store.commit(&first_commit(ticket.index())).await {
            // Found on the next turn, whoever made it.
            Ok(Committed::Applied { .. } | Committed::Refused { .. })
            | Err(StoreError::Indeterminate(_)) => {}
            Err(error) => return Err(OpenError::Store(error)),
        }
    }
    Err(OpenError::Unsettled)
}

/// Mints the ids and makes the root directory, at once and for ever.
fn first_commit(index: EtcdIndex) -> Commit {
    let identity = Record::Identity {
        schema: SCHEMA,
        cluster_id: fastrand::u64(1..),
        member_id: fastrand::u64(1..),
    };
    let root = NodeOp {
        key: Key::root(),
        expect: vec![Precondition::Absent],
        mutation: Mutation::MakeDir { stamped: false, expiration: None },
        action: None,
    };
    let id = WriteId { index, nonce: fastrand::u32(..) };
    Commit { id, ops: vec![Op::Node(root), Op::AddRecord(identity)] }
}
