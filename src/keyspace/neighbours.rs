//! The gateways on one table: each leaves a sign of life, and looks for those of the others.
//!
//! A sign is the record of the gateway's slot with the time in it, written anew every
//! [`BEAT_INTERVAL`]: one write unit and one read unit, $0.19 a month (on demand, us-east-1). Two
//! things depend on it: whether a gateway that tells only of its own writes may answer watches at
//! all, and how often a stream may be read that DynamoDB lets few readers read.
//!
//! Another gateway lives where its sign changed not long ago by *this* gateway's patience, so
//! clocks are not compared; only at the first look an old sign counts by its date. Invariant:
//! who cannot look for as long as it takes to be taken for gone, does not claim to be alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Keyspace, Reach, store_failed, timed_out};
use crate::metrics;
use crate::store::Store;
use crate::units::Operation as Spent;
use crate::v2::{Commit, Error, ErrorCode, Op, Record, RecordKind, UnixMs};

/// How often a gateway leaves its sign and looks for others'.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(10);

/// For how long a sign says that its gateway lives: three beats, and what a beat may be late.
pub(super) const SIGN_LIFETIME: Duration = Duration::from_secs(35);
pub(super) const SIGN_LIFETIME_MS: i64 = 35_000;

/// How long a gateway that stops tries to take its sign away.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What is known of the other gateways.
#[derive(Debug)]
pub(super) struct Neighbours(Mutex<State>);

#[derive(Debug)]
struct State {
    signs: HashMap<u32, Sign>,
    /// When it was last looked for them; `None`: never.
    looked: Option<Instant>,
    /// This gateway's own last sign.
    left: Option<UnixMs>,
}

/// The last sign of life of a gateway.
#[derive(Debug)]
struct Sign {
    /// The time in its record; `None`: it was only seen to write.
    dated: Option<UnixMs>,
    /// When it was seen to be new; `None`: it was old when it was first seen.
    seen: Option<Instant>,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours(Mutex::new(State { signs: HashMap::new(), looked: None, left: None }))
    }
}

/// Whether this gateway's own sign was found among the signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnSign {
    /// It was.
    There,
    /// It was not: it was taken away, or never left.
    Missing,
}

/// Who else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nobody.
    Alone,
    /// So many others.
    Others(usize),
    /// It could not be looked for too long a time.
    Unknown,
}

impl Neighbours {
    /// Who else is there by now.
    pub(super) fn company(&self) -> Company {
        let state = self.lock();
        let is_fresh = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < SIGN_LIFETIME);
        match state.signs.values().filter(|sign| is_fresh(sign.seen)).count() {
            0 if !is_fresh(state.looked) => Company::Unknown,
            0 => Company::Alone,
            others => Company::Others(others),
        }
    }

    /// A write of this gateway was seen: it lives.
    pub(super) fn wrote(&self, gateway: u32) {
        let mut state = self.lock();
        let sign = state.signs.entry(gateway).or_insert(Sign { dated: None, seen: None });
        sign.seen = Some(Instant::now());
    }

    /// Takes in all the signs that are there.
    pub(super) fn take_in(&self, records: Vec<Record>, own: Option<u32>, now: UnixMs) {
        let mut state = self.lock();
        let is_first_look = state.looked.is_none();
        let mut left = Vec::new();
        for record in records {
            let Record::Gateway { gateway, seen: dated } = record else { continue };
            if own == Some(gateway) {
                continue;
            }
            left.push(gateway);
            let known = state.signs.get(&gateway).and_then(|sign| sign.dated);
            let is_new = match known {
                Some(known) => known != dated,
                None => !is_first_look || dated.plus_ms(SIGN_LIFETIME_MS) > now,
            };
            let sign = state.signs.entry(gateway).or_insert(Sign { dated: None, seen: None });
            sign.dated = Some(dated);
            if is_new {
                sign.seen = Some(Instant::now());
            }
        }
        // Who took its sign away has left. Who was only seen to write has none to take away.
        state.signs.retain(|gateway, sign| sign.dated.is_none() || left.contains(gateway));
        state.signs.retain(|_, sign| {
            sign.dated.is_some() || sign.seen.is_some_and(|seen| seen.elapsed() < SIGN_LIFETIME)
        });
        state.looked = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Keyspace<S> {
    /// Refuses watches where they would miss what another gateway writes.
    pub(super) fn refuse_beside_others(&self) -> Result<(), Error> {
        if self.config.watch_reach == Reach::All || !self.is_refusing() {
            return Ok(());
        }
        let cause = "watch is refused: with --watch local this must be the only gateway on its \
                     table, and another one is there, or it cannot be known; use --watch streams \
                     on all of them";
        Err(Error::new(ErrorCode::InvalidField, cause))
    }

    /// Sees whether this gateway may answer watches, and clears the past where that changes.
    fn judge_company(&self) {
        let Some(hub) = self.hub.as_ref().filter(|_| self.config.watch_reach == Reach::Own) else {
            return;
        };
        let company = self.neighbours.company();
        let refuses = company != Company::Alone;
        if self.set_refusing(refuses) == refuses {
            return;
        }
        self.clear_past(hub);
        if refuses {
            tracing::warn!(
                ?company,
                "watches are refused from now on: with --watch local this must be the only \
                 gateway on its table"
            );
        } else {
            tracing::info!("no other gateway is there any more: watches are answered again");
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Takes in what was seen when this gateway claimed its slot with this sign.
    pub(super) fn meet(&self, sign: UnixMs, others: Vec<Record>) {
        self.neighbours.lock().left = Some(sign);
        if self.store.limits().is_remote {
            self.neighbours.take_in(others, self.gateway.get(), self.clock.now());
            self.judge_company();
        }
    }

    /// Leaves signs, where it writes, and looks for others', for ever.
    pub(super) async fn keep_beating(&self) {
        if !self.store.limits().is_remote {
            return;
        }
        loop {
            // Not in step with others that were started at the same time.
            sleep(BEAT_INTERVAL.mul_f64(0.9 + 0.1 * fastrand::f64())).await;
            let beat = timeout(self.config.request_timeout, Spent::Heartbeat.pays(self.beat()));
            if let Err(error) = beat.await.unwrap_or(Err(timed_out())) {
                tracing::warn!(
                    error = error.chain(),
                    "no sign of life could be left, or none be looked for"
                );
            }
            self.judge_company();
        }
    }

    async fn beat(&self) -> Result<(), Error> {
        if self.is_gone() {
            return Ok(());
        }
        // Looked for before it is left anew: nobody takes an own sign away but with the keyspace,
        // or to have its slot.
        let looked = self.look_for_signs().await;
        if !self.is_read_only() && matches!(looked, Ok(OwnSign::Missing)) {
            self.see_whether_gone().await?;
            self.refuse_gone()?;
        }
        // Whatever becomes of the look, the own sign is left.
        self.leave_sign().await?;
        looked.map(|_| ())
    }

    pub(super) async fn leave_sign(&self) -> Result<(), Error> {
        let Some(gateway) = self.gateway.get() else { return Ok(()) };
        let seen = self.clock.now();
        let record = Record::Gateway { gateway, seen };
        self.neighbours.lock().left = Some(seen);
        let commit = Commit { id: self.unseen_id()?, ops: vec![Op::PutRecord(record)] };
        let left = self.store.commit(&commit).await;
        left.map(|_| ()).map_err(|error| store_failed(&error))
    }

    /// Looks for the signs of others.
    pub(super) async fn look_for_signs(&self) -> Result<OwnSign, Error> {
        let records = self.store.records(RecordKind::Gateway).await;
        let records = records.map_err(|error| store_failed(&error))?;
        let is_own = |record: &Record| match record {
            Record::Gateway { gateway, .. } => self.gateway.get() == Some(*gateway),
            Record::Identity { .. }
            | Record::Auth { .. }
            | Record::User(_)
            | Record::Role(_)
            | Record::DirTtl { .. }
            | Record::Drain { .. } => false,
        };
        let own = if records.iter().any(is_own) { OwnSign::There } else { OwnSign::Missing };
        self.neighbours.take_in(records, self.gateway.get(), self.clock.now());
        let others = match self.neighbours.company() {
            Company::Others(others) => others,
            Company::Alone | Company::Unknown => 0,
        };
        metrics::gateways_seen(others + 1);
        Ok(own)
    }

    /// Takes this gateway's sign away, so that nobody waits for it to grow old. To be called when
    /// nothing is under way any more.
    pub async fn leave(&self) {
        if !self.store.limits().is_remote {
            return;
        }
        let left = self.neighbours.lock().left;
        let (Ok(id), Some(seen)) = (self.unseen_id(), left) else { return };
        let record = Record::Gateway { gateway: id.gateway, seen };
        let commit = Commit { id, ops: vec![Op::DropSameRecord(record)] };
        let leaving = Spent::Heartbeat.pays(self.store.commit(&commit));
        if !matches!(timeout(LEAVE_LIMIT, leaving).await, Ok(Ok(_))) {
            tracing::warn!("the sign of life stays behind; others will see that it grows old");
        }
    }
}
