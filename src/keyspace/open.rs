//! Opening a keyspace: who this cluster is, and whether this program may touch its data.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};

use super::accounts::Guard;
use super::following::Following;
use super::gather::Groups;
use super::gone::Gone;
use super::health::Health;
use super::in_flight::InFlight;
use super::neighbours::Neighbours;
use super::read_only::Number;
use super::room::{LISTING_BYTES, Rooms};
use super::statistics::Counters;
use super::ttl_files::TtlFiles;
use super::turns::Turns;
use super::waking::Waking;
use super::watching::Lost;
use super::{Access, Config, Identity, Keyspace};
use crate::clock::IndexClock;
use crate::store::{Committed, Consistency, Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{
    Commit, GATEWAYS, Key, Mutation, NodeOp, Op, Precondition, Record, RecordKind, UnixMs,
    WRITER_SLOTS, WriteId, writer_slot,
};
use crate::watch::Hub;

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
    /// It is not there, and this gateway makes none.
    Missing,
    /// The keyspace could neither be found nor made.
    Unsettled,
    /// Its deletion was begun, and is not finished.
    HalfDeleted,
    /// It was deleted while it was being opened.
    Deleted,
    /// The system gives no random bytes.
    NoRandomBytes,
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
            OpenError::NoRandomBytes => f.write_str("the system gives no random bytes"),
            OpenError::Missing => f.write_str(
                "there is none of this name, and a gateway that only reads makes none \
                 (--keyspace, --read-only): start one that writes first",
            ),
            OpenError::Unsettled => f.write_str("the keyspace could neither be found nor made"),
            OpenError::HalfDeleted => f.write_str(
                "its deletion was begun and is not finished: `etcdynamo keyspace delete` finishes \
                 it, and then it can be made anew",
            ),
            OpenError::Deleted => f.write_str("it was deleted just now, while it was being opened"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Store(error) => Some(error),
            OpenError::Schema(_)
            | OpenError::Missing
            | OpenError::Unsettled
            | OpenError::HalfDeleted
            | OpenError::Deleted
            | OpenError::NoRandomBytes => None,
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Opens the keyspace in this store. A gateway that writes makes it where there is none yet,
    /// and claims a slot.
    pub async fn open(
        store: S,
        clock: Arc<IndexClock>,
        config: Config,
    ) -> Result<Keyspace<S>, OpenError> {
        Spent::Open.pays(Keyspace::open_it(store, clock, config)).await
    }

    async fn open_it(
        store: S,
        clock: Arc<IndexClock>,
        config: Config,
    ) -> Result<Keyspace<S>, OpenError> {
        let (identity, claim) = match config.access {
            Access::ReadWrite => {
                let Founded { identity, .. } = found(&store, &clock).await?;
                let claim = claim_slot(&store, &clock).await?;
                see_it_stays(&store, &clock, identity, &claim).await?;
                (identity, Some(claim))
            }
            Access::ReadOnly => (find(&store).await?.ok_or(OpenError::Missing)?, None),
        };
        // What was before is not in the window: nothing is kept over a restart.
        let hub = config.watch_window.map(|events| Arc::new(Hub::new(events, clock.settled())));
        let store = Arc::new(store);
        let keyspace = Keyspace {
            groups: Groups::new(&store),
            store,
            clock,
            config,
            identity,
            health: Health::default(),
            gone: Gone::default(),
            counters: Counters::default(),
            gateway: Number::new(claim.as_ref().map(|claim| claim.gateway)),
            admission: Semaphore::new(config.max_requests.min(Semaphore::MAX_PERMITS)),
            rooms: Rooms::new(LISTING_BYTES),
            turns: Turns::default(),
            drains: Turns::default(),
            waking: Waking::default(),
            in_flight: InFlight::default(),
            guard: Guard::new().map_err(|_| OpenError::NoRandomBytes)?,
            sweep_wanted: Notify::new(),
            left_drains: Mutex::default(),
            ttl_files: TtlFiles::default(),
            hub,
            lost: Lost::default(),
            neighbours: Neighbours::default(),
            following: Following::default(),
            refuses: AtomicBool::new(false),
        };
        if let Some(Claim { sign, others, .. }) = claim {
            keyspace.meet(sign, others);
            keyspace.signed_now();
        }
        keyspace.scan_for_ttl().await.map_err(OpenError::Store)?;
        Ok(keyspace)
    }
}

/// Who this cluster is, where it is there.
pub(super) async fn find<S: Store>(store: &S) -> Result<Option<Identity>, OpenError> {
    let found = store.records(RecordKind::Identity).await.map_err(OpenError::Store)?;
    for record in found {
        if let Record::Identity { schema, cluster_id, member_id } = record {
            if schema != SCHEMA {
                return Err(OpenError::Schema(schema));
            }
            return Ok(Some(Identity { cluster_id, member_id }));
        }
    }
    Ok(None)
}

/// A keyspace that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founded {
    /// Who this cluster is.
    pub identity: Identity,
    /// It was made just now.
    pub is_new: bool,
}

/// What there is of a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All of it.
    Whole(Identity),
    /// What an interrupted deletion left.
    HalfDeleted,
    /// Nothing.
    Nothing,
}

/// Sees what there is of the keyspace in this store. Changes nothing.
pub async fn look<S: Store>(store: &S) -> Result<Presence, OpenError> {
    if let Some(identity) = find(store).await? {
        return Ok(Presence::Whole(identity));
    }
    let root = store.get(&Key::root(), Consistency::Strong).await.map_err(OpenError::Store)?;
    Ok(if root.is_some() { Presence::HalfDeleted } else { Presence::Nothing })
}

/// Sees that the keyspace is there: makes it where there is none. Several may do so at once.
pub async fn found<S: Store>(store: &S, clock: &IndexClock) -> Result<Founded, OpenError> {
    let mut minted = None;
    let mut has_root = false;
    for _ in 0..OPEN_ATTEMPTS {
        if let Some(identity) = find(store).await? {
            return Ok(Founded { identity, is_new: minted == Some(identity) });
        }
        let identity = *minted.get_or_insert_with(mint);
        has_root = match store.commit(&first_commit(passing_id(clock), identity)).await {
            // Found on the next turn, whoever made it.
            Ok(Committed::Applied { .. }) | Err(StoreError::Indeterminate(_)) => false,
            Ok(Committed::Refused { found }) => found.iter().any(|(_, root)| root.is_some()),
            Err(error) => return Err(OpenError::Store(error)),
        };
    }
    // The two are made at once, and the identity is what a deletion begins with.
    Err(if has_root { OpenError::HalfDeleted } else { OpenError::Unsettled })
}

/// The id of a write of somebody who has no slot.
pub(super) fn passing_id(clock: &IndexClock) -> WriteId {
    WriteId { index: clock.begin().index(), gateway: fastrand::u32(..GATEWAYS) }
}

fn mint() -> Identity {
    Identity { cluster_id: fastrand::u64(1..), member_id: fastrand::u64(1..) }
}

pub(super) fn identity_record(identity: Identity) -> Record {
    let Identity { cluster_id, member_id } = identity;
    Record::Identity { schema: SCHEMA, cluster_id, member_id }
}

/// Keeps the ids and makes the root directory, at once and for ever.
fn first_commit(id: WriteId, identity: Identity) -> Commit {
    let root = NodeOp {
        key: Key::root(),
        id,
        expect: vec![Precondition::Absent],
        mutation: Mutation::MakeDir { stamped: false, expiration: None },
        action: None,
    };
    Commit { id, ops: vec![Op::Node(root), Op::AddRecord(identity_record(identity))] }
}

/// Sees that nobody deleted the keyspace before it knew of this gateway: after the sign of life was
/// left, it is still the same one ([`super::retire`]).
pub(super) async fn see_it_stays<S: Store>(
    store: &S,
    clock: &IndexClock,
    identity: Identity,
    claim: &Claim,
) -> Result<(), OpenError> {
    if find(store).await? == Some(identity) {
        return Ok(());
    }
    let sign = Record::Gateway { gateway: claim.gateway, seen: claim.sign };
    let commit = Commit { id: passing_id(clock), ops: vec![Op::DropSameRecord(sign)] };
    if store.commit(&commit).await.is_err() {
        tracing::warn!("the sign of life stays behind; others will see that it grows old");
    }
    Err(OpenError::Deleted)
}

/// A gateway's place on its table.
pub(super) struct Claim {
    pub(super) gateway: u32,
    /// The date of the sign of life that it left.
    pub(super) sign: UnixMs,
    /// The signs of the others.
    pub(super) others: Vec<Record>,
}

/// Chooses this gateway's number, and so its slot: one that no gateway has yet, or the one whose
/// gateway was not seen for the longest time.
pub(super) async fn claim_slot<S: Store>(
    store: &S,
    clock: &IndexClock,
) -> Result<Claim, OpenError> {
    for _ in 0..OPEN_ATTEMPTS {
        let taken = store.records(RecordKind::Gateway).await.map_err(OpenError::Store)?;
        let holder = |slot: u32| {
            taken.iter().find_map(|record| match record {
                Record::Gateway { gateway, seen } if writer_slot(*gateway) == slot => Some(*seen),
                Record::Gateway { .. }
                | Record::Identity { .. }
                | Record::Auth { .. }
                | Record::User(_)
                | Record::Role(_)
                | Record::DirTtl { .. }
                | Record::Drain { .. } => None,
            })
        };
        let slot = (0..WRITER_SLOTS).min_by_key(|slot| holder(*slot)).unwrap_or_default();
        let gateway = fastrand::u32(..GATEWAYS / WRITER_SLOTS) * WRITER_SLOTS + slot;
        let sign = clock.now();
        let record = Record::Gateway { gateway, seen: sign };
        // A free slot is for the first who comes; one that is taken over was abandoned.
        let op = if holder(slot).is_none() { Op::AddRecord(record) } else { Op::PutRecord(record) };
        let ticket = clock.begin();
        let id = WriteId { index: ticket.index(), gateway };
        match store.commit(&Commit { id, ops: vec![op] }).await {
            Ok(Committed::Applied { .. }) => return Ok(Claim { gateway, sign, others: taken }),
            // Another gateway was faster, or it may have been this one: the next slot will do.
            Ok(Committed::Refused { .. }) | Err(StoreError::Indeterminate(_)) => {}
            Err(error) => return Err(OpenError::Store(error)),
        }
    }
    Err(OpenError::Unsettled)
}
