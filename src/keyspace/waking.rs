//! A gateway that nobody runs between two requests, as in AWS Lambda: what it makes up for.
//!
//! From one answer to the next request such a process stands still: for a millisecond, for an hour, or for
//! ever. Nothing may be left to tasks beside requests, which is where [`Keyspace::keep_sweeping`] does it
//! elsewhere; here it is done in front of a request, and costs nothing while there is none:
//!
//! ```text
//! every request   users, roles, and what is to be removed are looked at    once a second at most
//!                 directories whose TTL ran out are removed
//! a write, and    its sign of life is left anew                            every 10 s at most
//! a removal       and if its slot was taken over: another slot, another number
//! then            removals that were left half done go on                  for a second at most
//! ```
//!
//! So no answer is older than a second in what users may do or in what a directory's TTL took along. The look
//! has to succeed, or the request is refused (300): what was known before the stillness may be of any age.
//!
//! **What is sent late.** A write that was under way when its process was stopped goes on when it is
//! thawed, however much later. It breaks no promise to the others, for nothing that it depends on is kept
//! in the process. A commit is judged by what is in the table when it arrives: it carries its
//! conditions, an index that has to be above what is there, and an id above the last one of its slot. So
//! where anything changed meanwhile it is refused, and planned anew, with a new index and the time by then;
//! where nothing did, it applies as if it had been slow. One that was ruled out cannot apply. Its event has an
//! old index, so whoever watches by the stream is told that one came late, as of any slow gateway.
//! What a freeze can do is what a slow network can do: a condition on a key with a TTL was checked against the
//! time at which it was planned. The answer waits for the commits of its request all the same (`v2http`'s
//! part for Lambda), so that a process is seldom stopped with one under way.
//!
//! **Slots.** Signs of processes that were killed stay behind, so slots are soon all taken, and whoever starts
//! takes the one of the oldest sign: of one that is gone, or one that stands still. Therefore a write looks first
//! whether its slot is still its own. Until the next look, 10 s later, two gateways share a slot only if more than 16 of
//! them write within these 10 s, or if one was taking the slot over at the moment of the look. What that costs: of a
//! write whose reply got lost, while the other one writes the same key, the outcome may not be known any more,
//! and its client is told so (300), never wrongly.
//!
//! Time that passes is the larger of two clocks' difference: the monotonic one may stand still with the machine.

use std::collections::HashSet;
use std::sync::{Mutex as Lock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::drain::Drain;
use super::neighbours::{BEAT_INTERVAL, OwnSign};
use super::open::{Claim, OpenError, claim_slot, see_it_stays};
use super::{Keyspace, store_failed};
use crate::clock::IndexClock;
use crate::store::{Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{Error, UnixMs};

/// For how long a look is good.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request waits for removals that others, or earlier requests, left half done.
const DRAIN_SHARE: Duration = Duration::from_secs(1);

/// What a request is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It only reads.
    Reads,
    /// It may write.
    Writes,
}

/// What was done in front of requests so far.
#[derive(Debug, Default)]
pub(super) struct Waking {
    /// The removals that were under way at the last look. Whoever holds it catches up.
    turn: Mutex<HashSet<Drain>>,
    looked: Lock<Option<Look>>,
    /// When the last sign of life was left here.
    signed: Lock<Option<Moment>>,
}

/// The last look that succeeded.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Moment,
    /// When the next directory expires, as far as it told.
    due: Option<UnixMs>,
}

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    monotonic: Instant,
    wall: UnixMs,
}

impl Moment {
    fn now(clock: &IndexClock) -> Moment {
        Moment { monotonic: Instant::now(), wall: clock.now() }
    }

    /// How long ago it was: by the clock that says longer.
    fn age(&self, now: Moment) -> Duration {
        let by_wall = u64::try_from(now.wall.0.saturating_sub(self.wall.0)).unwrap_or(0);
        let by_monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        by_monotonic.max(Duration::from_millis(by_wall))
    }
}

impl Waking {
    fn is_look_good(&self, now: Moment) -> bool {
        let look = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        look.is_some_and(|look| {
            look.at.age(now) < LOOK_INTERVAL && look.due.is_none_or(|due| due > now.wall)
        })
    }

    fn looked(&self, look: Look) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }

    fn is_signed(&self, now: Moment) -> bool {
        let signed = *self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.is_some_and(|at| at.age(now) < BEAT_INTERVAL)
    }
}

impl<S> Keyspace<S> {
    /// A sign of life was just left.
    pub(super) fn signed_now(&self) {
        self.signed_at(Moment::now(&self.clock));
    }

    fn signed_at(&self, at: Moment) {
        *self.waking.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

impl<S: Store> Keyspace<S> {
    /// Makes up for what was missed while nothing ran beside requests. To be awaited before each one.
    pub(super) async fn catch_up(&self, intent: Intent) -> Result<(), Error> {
        let mut under_way = self.waking.turn.lock().await;
        // What this gateway itself does is looked at without waiting.
        let is_wanted = self.sweep_wanted.notified().now_or_never().is_some();
        let now = Moment::now(&self.clock);
        if !is_wanted && self.waking.is_look_good(now) {
            return match intent {
                Intent::Reads => Ok(()),
                Intent::Writes => self.be_present(now).await,
            };
        }
        let work = self.look_for_work().await?;
        self.follow_accounts(work.account_changes).await?;
        if intent == Intent::Writes || work.is_any(now.wall) {
            self.be_present(now).await?;
        }
        self.expire_dirs(&work).await?;
        // Only now: what failed before this is tried again by the next request.
        self.waking.looked(Look { at: now, due: work.next_due(now.wall) });
        let rest = async {
            self.finish_left_drains().await?;
            self.finish_abandoned(&work, &mut under_way).await
        };
        // They were half done when they were found, and may be when this request is answered.
        if !matches!(timeout(DRAIN_SHARE, rest).await, Ok(Ok(()))) {
            tracing::debug!("a removal is still under way; the next request goes on with it");
        }
        Ok(())
    }

    /// Leaves a sign of life where the last one is old, and moves to another slot where this
    /// gateway's was taken over.
    async fn be_present(&self, now: Moment) -> Result<(), Error> {
        if self.is_read_only() || !self.store.limits().is_remote || self.waking.is_signed(now) {
            return Ok(());
        }
        Spent::Heartbeat.pays(self.sign_anew()).await?;
        self.signed_at(now);
        Ok(())
    }

    async fn sign_anew(&self) -> Result<(), Error> {
        self.refuse_gone()?;
        if matches!(self.look_for_signs().await?, OwnSign::There) {
            return self.leave_sign().await;
        }
        let claim = claim_slot(&*self.store, &self.clock).await.map_err(|error| no_slot(&error))?;
        // A sign also goes with its keyspace.
        if let Err(error) = see_it_stays(&*self.store, &self.clock, self.identity, &claim).await {
            self.see_whether_gone().await?;
            self.refuse_gone()?;
            return Err(no_slot(&error));
        }
        let Claim { gateway, sign, others } = claim;
        tracing::info!(
            gateway,
            "this gateway stood still, and its slot was taken: it has another one"
        );
        self.gateway.change(gateway);
        self.meet(sign, others);
        Ok(())
    }
}

/// What a client is told where no slot can be had.
fn no_slot(error: &OpenError) -> Error {
    let error = match error {
        OpenError::Store(error) => error.clone(),
        OpenError::Schema(_)
        | OpenError::Missing
        | OpenError::Unsettled
        | OpenError::HalfDeleted
        | OpenError::Deleted
        | OpenError::NoRandomBytes => StoreError::Unavailable(error.to_string()),
    };
    store_failed(&error)
}
