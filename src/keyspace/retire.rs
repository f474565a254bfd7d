//! Taking a keyspace out of use, so that it can be erased.
//!
//! ```text
//! who deletes                                  a gateway that starts
//!   1. no sign of life is fresh, or refuse       1. read the identity
//!   2. drop the identity                         2. leave a sign of life
//!   3. look for signs again: is one new,         3. read the identity again: is it another one
//!      put the identity back and refuse             or none, take the sign away and fail
//!   4. erase everything, the root last
//! ```
//!
//! Whichever comes first of the sign and the end of the identity, one of the two sees it. From step 2
//! until the root is gone, whoever starts finds a root without an identity and fails by
//! [`OpenError::HalfDeleted`](super::OpenError); who deletes again goes on where it was left.
//!
//! A sign that is old by its date may be that of a gateway whose clock is behind, and one of the
//! future was left by a clock that is ahead, some time. So where it is not older than clocks may be
//! apart, it is watched for as long as signs live. Not here: gateways that leave no sign, as they
//! only read, and those that were cut off from the table for longer than that. They learn of it
//! afterwards ([`super::gone`]).

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::neighbours::{SIGN_LIFETIME, SIGN_LIFETIME_MS};
use super::open::{OpenError, find, identity_record, passing_id};
use super::settle::pause;
use crate::clock::IndexClock;
use crate::store::{Store, StoreError};
use crate::v2::{Commit, Op, Record, RecordKind, UnixMs};

/// How often signs are looked at that may be those of a slow clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How often a step is tried whose outcome is not known.
const ATTEMPTS: u32 = 10;

/// A gateway's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// The gateway's number.
    pub gateway: u32,
    /// The time in it, by the gateway's clock.
    pub seen: UnixMs,
}

impl Sign {
    /// Whether the gateway lives, by the date of its sign. One of the future says nothing.
    pub fn is_fresh(&self, now: UnixMs) -> bool {
        let is_within = |before: UnixMs, after: UnixMs| before.plus_ms(SIGN_LIFETIME_MS) > after;
        is_within(self.seen, now) && is_within(now, self.seen)
    }
}

/// Why a keyspace was not taken out of use.
#[derive(Debug)]
pub enum NotRetired {
    /// Gateways live on it. How long ago each said so.
    Lived(Vec<(Sign, Duration)>),
    /// It cannot be looked at.
    Open(OpenError),
    /// The store gave no answer.
    Store(StoreError),
}

impl fmt::Display for NotRetired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRetired::Lived(signs) => {
                let number = signs.len();
                write!(f, "{number} of its gateways may be alive, and would go on writing:")?;
                for (sign, ago) in signs {
                    let Sign { gateway, .. } = sign;
                    write!(f, " gateway {gateway}, seen {} s ago;", ago.as_secs())?;
                }
                let lifetime = SIGN_LIFETIME.as_secs();
                write!(f, " stop them first. One that was killed counts for {lifetime} s more")
            }
            NotRetired::Open(error) => error.fmt(f),
            NotRetired::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotRetired {}

impl From<StoreError> for NotRetired {
    fn from(error: StoreError) -> NotRetired {
        NotRetired::Store(error)
    }
}

/// Takes the keyspace in this store out of use, for ever. `wait` is told where that takes a while.
pub async fn retire<S: Store>(
    store: &S,
    clock: &IndexClock,
    wait: impl FnOnce(Duration),
) -> Result<(), NotRetired> {
    let identity = find(store).await.map_err(NotRetired::Open)?;
    let before = see_silence(store, clock, wait).await?;
    let Some(identity) = identity else { return Ok(()) };
    let record = identity_record(identity);
    drop_record(store, clock, &record).await?;
    let mut new = signs(store).await?;
    new.retain(|sign| !before.contains(sign));
    if new.is_empty() {
        return Ok(());
    }
    put_back(store, clock, &record).await?;
    Err(lived(clock, new))
}

/// Sees that no gateway lives, and gives the signs of those that lived.
async fn see_silence<S: Store>(
    store: &S,
    clock: &IndexClock,
    wait: impl FnOnce(Duration),
) -> Result<Vec<Sign>, NotRetired> {
    let mut found = signs(store).await?;
    let now = clock.now();
    let fresh: Vec<Sign> = found.iter().copied().filter(|sign| sign.is_fresh(now)).collect();
    if !fresh.is_empty() {
        return Err(lived(clock, fresh));
    }
    let drift_ms = i64::try_from(clock.max_drift().as_millis()).unwrap_or(i64::MAX);
    let lasts_ms = SIGN_LIFETIME_MS.saturating_add(drift_ms);
    if found.iter().all(|sign| sign.seen.plus_ms(lasts_ms) <= now) {
        return Ok(found);
    }
    wait(SIGN_LIFETIME);
    let until = Instant::now() + SIGN_LIFETIME;
    while Instant::now() < until {
        sleep(LOOK_INTERVAL).await;
        let again = signs(store).await?;
        let new: Vec<Sign> = again.iter().copied().filter(|sign| !found.contains(sign)).collect();
        if !new.is_empty() {
            return Err(lived(clock, new));
        }
        found = again;
    }
    Ok(found)
}

async fn signs<S: Store>(store: &S) -> Result<Vec<Sign>, StoreError> {
    let records = store.records(RecordKind::Gateway).await?;
    let sign = |record| match record {
        Record::Gateway { gateway, seen } => Some(Sign { gateway, seen }),
        Record::Identity { .. }
        | Record::Auth { .. }
        | Record::User(_)
        | Record::Role(_)
        | Record::DirTtl { .. }
        | Record::Drain { .. } => None,
    };
    Ok(records.into_iter().filter_map(sign).collect())
}

fn lived(clock: &IndexClock, signs: Vec<Sign>) -> NotRetired {
    let now = clock.now();
    let ago = |sign: &Sign| {
        let ms = u64::try_from(now.0.saturating_sub(sign.seen.0)).unwrap_or(0);
        Duration::from_millis(ms)
    };
    NotRetired::Lived(signs.iter().map(|sign| (*sign, ago(sign))).collect())
}

/// Removes the record where it is still this one.
async fn drop_record<S: Store>(
    store: &S,
    clock: &IndexClock,
    record: &Record,
) -> Result<(), StoreError> {
    commit(store, clock, Op::DropSameRecord(record.clone())).await
}

async fn put_back<S: Store>(
    store: &S,
    clock: &IndexClock,
    record: &Record,
) -> Result<(), StoreError> {
    commit(store, clock, Op::AddRecord(record.clone())).await
}

/// Commits until the store says that it is so; it may have been so before.
async fn commit<S: Store>(store: &S, clock: &IndexClock, op: Op) -> Result<(), StoreError> {
    let commit = Commit { id: passing_id(clock), ops: vec![op] };
    let mut attempt = 0;
    loop {
        match store.commit(&commit).await {
            Ok(_) => return Ok(()),
            Err(error @ (StoreError::TooLarge(_) | StoreError::Corrupt(_))) => return Err(error),
            Err(error) if attempt >= ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
        pause(attempt).await;
    }
}
