//! Following the store's feed: what other gateways write reaches the watchers of this one.
//!
//! ```text
//! asleep --a watch, or the start--> feed begins --> the past is cleared --> follows
//!    ^                     ^--a gap, the past is cleared------'   |
//!    '-----------------no watcher for IDLE_LIMIT------------------'
//! ```
//!
//! **Order.** An event waits until those with a lower index have had the time to come: it is told
//! when its index is older than the last whole round by [`Pace::hold`], which follows how late
//! events of others have lately been. That makes it rare that one comes too late, and no more:
//! such a one puts its key in doubt, so its watchers read anew. While no other gateway is seen,
//! nothing waits; one that starts is seen by its sign of life in the feed, before it serves. While
//! the feed stands still, events wait a bounded time longer, and are told then; what others wrote
//! meanwhile will be late, and owned up to.
//!
//! **The beginning.** All iterators of the feed are made first; what is written after that is in
//! it. Then this gateway takes an index S from its clock and clears the past up to it. An event
//! that was written before the iterators can have an index above S only if its gateway's clock is
//! ahead. A client that got its `X-Etcd-Index` here got it later, and read that write. One that
//! comes with an index from a gateway whose clock is ahead might miss one; so the past counts as
//! cleared up to [`SKEW_ALLOWANCE`] above S where there are other gateways, and a watch that looks
//! back waits until that has passed before it is refused. Clocks that are further apart than that
//! cost this promise in the first seconds after a gateway woke, for clients that change gateways
//! in these seconds; nothing else depends on clocks.
//!
//! **Sleep.** While nobody has watched for long, nothing is read. The index that answers carry is
//! then not one that can be looked back to, which costs one 401 and one more read. A gateway that
//! starts is awake before it is ready, so that whatever happens through it from then on can be
//! looked back to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::neighbours::Company;
use super::pace::Pace;
use super::{Keyspace, Reach, store_failed};
use crate::metrics;
use crate::store::{Change, Fed, Feed, Round, Store};
use crate::units::Operation as Spent;
use crate::v2::{Error, ErrorCode, EtcdIndex, Event, Record, Told, WriteId, told};
use crate::watch::{HOLD_LIMIT, Hub, Offered, Went};

/// For how long nobody must have watched until the feed is left.
const IDLE_LIMIT: Duration = Duration::from_secs(1800);

/// How far ahead other gateways' clocks may be for what is told of the moment of waking.
const SKEW_ALLOWANCE_US: u64 = 500_000;

/// How long it may take to begin a feed.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait after a feed could not begin, and the longest after doubling.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(15);

/// Nothing waits for others.
const NO_LIMIT: u64 = u64::MAX;

/// Where the following is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody watches, or the feed is about to begin.
    Asleep,
    /// The feed cannot begin.
    Fails,
    /// Every write of every gateway is told of.
    Follows,
}

/// Why following a feed ended.
enum Ended {
    Idle,
    Gap(String),
}

/// What this gateway knows of its following.
#[derive(Debug)]
pub(super) struct Following {
    phase: watch::Sender<Phase>,
    wanted: Notify,
    wanted_at: Mutex<Instant>,
    /// Up to where may be told.
    limit: AtomicU64,
    /// How long an event may be held, in microseconds.
    patience_us: AtomicU64,
}

impl Default for Following {
    fn default() -> Following {
        Following {
            phase: watch::Sender::new(Phase::Asleep),
            wanted: Notify::new(),
            wanted_at: Mutex::new(Instant::now()),
            limit: AtomicU64::new(NO_LIMIT),
            patience_us: AtomicU64::new(0),
        }
    }
}

impl Following {
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Up to where may be told; `None`: whatever this gateway has settled.
    pub(super) fn limit(&self) -> Option<EtcdIndex> {
        Some(self.limit.load(Ordering::Acquire)).filter(|l| *l != NO_LIMIT).map(EtcdIndex)
    }

    /// How long an event is held before it is told without those that may be missing.
    pub(super) fn patience(&self) -> Duration {
        HOLD_LIMIT + Duration::from_micros(self.patience_us.load(Ordering::Relaxed))
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    fn want(&self) {
        *self.wanted_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.wanted.notify_one();
    }

    fn is_unwanted(&self, hub: &Hub) -> bool {
        let wanted_at = *self.wanted_at.lock().unwrap_or_else(PoisonError::into_inner);
        hub.waiting() == 0 && wanted_at.elapsed() >= IDLE_LIMIT
    }
}

impl<S> Keyspace<S> {
    /// Whether watches here hear of all gateways by a feed.
    pub(super) fn follows(&self) -> bool {
        self.config.watch_reach == Reach::All && self.hub.is_some()
    }

    /// Sees that the feed is followed, and waits until it is. Bounded.
    pub(super) async fn be_following(&self) -> Result<(), Error> {
        if !self.follows() {
            return Ok(());
        }
        self.following.want();
        let mut phase = self.following.phase.subscribe();
        let settled = phase.wait_for(|phase| *phase != Phase::Asleep);
        match timeout(self.config.request_timeout.min(BEGIN_LIMIT), settled).await {
            Ok(Ok(phase)) if *phase == Phase::Follows => Ok(()),
            Ok(_) | Err(_) => {
                let cause = "the table's stream of changes cannot be read";
                Err(Error::new(ErrorCode::RaftInternal, cause))
            }
        }
    }

    /// Sees at the start that the feed is followed, so that all that clients do can be looked back
    /// to. Where that cannot be, watches say so, and the rest goes on.
    pub async fn follow_from_the_start(&self) {
        match self.be_following().await {
            Ok(()) if self.is_awake() && self.neighbours.company() != Company::Alone => {
                sleep(Duration::from_micros(SKEW_ALLOWANCE_US)).await;
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(error = error.chain(), "watches are not answered yet"),
        }
    }

    /// The index that an answer carries which begins now: what has a lower one is told to watchers
    /// already, or is owned up to when it comes.
    pub(super) fn told_index(&self) -> EtcdIndex {
        match &self.hub {
            Some(hub) if self.is_awake() => hub.released(),
            Some(_) | None => self.clock.settled(),
        }
    }

    /// Whether the feed is followed.
    pub(super) fn is_awake(&self) -> bool {
        self.follows() && self.following.phase() == Phase::Follows
    }

    /// Clears the past, of which something is not known.
    pub(super) fn clear_past(&self, hub: &Hub) -> EtcdIndex {
        let start = self.fresh_index();
        hub.clear(start);
        self.ttl_files.forget();
        start
    }

    /// Takes in what others wrote.
    fn take_in_changes(&self, hub: &Hub, changes: Vec<Change>, pace: &mut Pace) {
        let now = self.clock.now();
        for change in changes {
            let (before, after) = (change.before.as_deref(), change.after.as_deref());
            match told(before, after, now) {
                Told::Nothing => {}
                Told::Event(_, id) if self.is_own(id) => {}
                Told::Event(event, id) => self.take_in_event(hub, *event, id, pace),
                Told::Went { key, created, id } => {
                    hub.went(&Went { key, created, index: id.index });
                }
            }
            if let Some(after) = after {
                self.note_ttl_of(after);
            }
        }
    }

    fn take_in_event(&self, hub: &Hub, event: Event, id: WriteId, pace: &mut Pace) {
        self.neighbours.wrote(id.gateway);
        pace.saw(id.index);
        let key = event.node.key.clone();
        if let Err(ahead) = self.clock.observe(id.index) {
            tracing::error!(%key, %ahead, "an event from the future: its watchers start anew");
            self.doubt(&key);
            return;
        }
        if hub.offer_apart(event.into()) == Offered::Late {
            tracing::debug!(%key, index = %id.index, "an event came too late: its watchers start anew");
            self.doubt(&key);
        }
    }

    /// Lets the hub tell what is due after a round.
    fn round_ended(&self, round: Round, pace: &mut Pace) {
        let company = self.neighbours.company();
        let others = match company {
            Company::Alone => 0,
            Company::Others(others) => others,
            // Nobody knows; there may be one.
            Company::Unknown => 1,
        };
        pace.ended(round, others + 1);
        let limit = if others == 0 { NO_LIMIT } else { pace.safe().0 };
        if others > 0 {
            // No index of this gateway is to come at or below what is told.
            let _ahead_only_by_a_clock_set_back = self.clock.observe(EtcdIndex(limit));
        }
        self.following.limit.store(limit, Ordering::Release);
        let patience = u64::try_from(pace.patience().as_micros()).unwrap_or(u64::MAX);
        self.following.patience_us.store(patience, Ordering::Relaxed);
        metrics::stream_lags(pace.lag(), pace.hold());
        self.release_settled();
    }
}

impl<S: Store> Keyspace<S> {
    /// Follows the feed while somebody watches, for ever.
    pub(super) async fn keep_following(&self) {
        let Some(hub) = self.hub.as_ref().filter(|_| self.follows()) else { return };
        loop {
            self.following.wanted.notified().await;
            self.follow(hub).await;
            self.following.enter(Phase::Asleep);
            self.following.limit.store(NO_LIMIT, Ordering::Release);
            self.clear_past(hub);
            metrics::stream_lags(Duration::ZERO, Duration::ZERO);
            tracing::info!("nobody watches: the table's stream is not read any more");
        }
    }

    /// Follows one feed after the other until nobody watches any more.
    async fn follow(&self, hub: &Hub) {
        let mut pause = RETRY_PAUSE;
        loop {
            let began = timeout(BEGIN_LIMIT, self.begin_feed()).await;
            let why = match began {
                Ok(Ok(feed)) => {
                    pause = RETRY_PAUSE;
                    let pace = self.begin_to_follow(hub);
                    match self.follow_feed(hub, feed, pace).await {
                        Ended::Idle => return,
                        Ended::Gap(why) => {
                            self.following.enter(Phase::Asleep);
                            metrics::stream_gap();
                            tracing::warn!(why, "changes are missing: all watchers start anew");
                            self.clear_past(hub);
                            continue;
                        }
                    }
                }
                Ok(Err(error)) => error.chain(),
                Err(_elapsed) => "it takes too long".to_owned(),
            };
            tracing::warn!(why, "the table's stream cannot be followed, and watches are refused");
            self.following.enter(Phase::Fails);
            if self.following.is_unwanted(hub) {
                return;
            }
            sleep(pause).await;
            pause = LONGEST_RETRY_PAUSE.min(pause * 2);
        }
    }

    /// Begins a feed, and looks who else writes: what they write is to be waited for from the start.
    async fn begin_feed(&self) -> Result<S::Feed, Error> {
        let feed = self.store.feed().await.map_err(|error| store_failed(&error))?;
        Spent::Watch.pays(self.look_for_signs()).await?;
        Ok(feed)
    }

    /// A feed began: from here on everything is told, and nothing is known of what was before.
    fn begin_to_follow(&self, hub: &Hub) -> Pace {
        let start = self.clear_past(hub);
        let pace = Pace::new(start);
        if self.neighbours.company() != Company::Alone {
            hub.clear(EtcdIndex(start.0 + SKEW_ALLOWANCE_US));
            self.following.limit.store(start.0, Ordering::Release);
        }
        self.following.enter(Phase::Follows);
        self.release_settled();
        tracing::info!(%start, "the table's stream is followed");
        pace
    }

    async fn follow_feed(&self, hub: &Hub, mut feed: S::Feed, mut pace: Pace) -> Ended {
        loop {
            pace.begins(self.clock.wall_index());
            let round = loop {
                match feed.next().await {
                    Fed::Changes(changes) => self.take_in_changes(hub, changes, &mut pace),
                    Fed::Sign(Record::Gateway { gateway, .. })
                        if self.gateway.get() != Some(gateway) =>
                    {
                        self.neighbours.wrote(gateway);
                    }
                    Fed::Sign(_) => {}
                    Fed::Round(round) => break round,
                    Fed::Gap(why) => return Ended::Gap(why),
                }
            };
            self.round_ended(round, &mut pace);
            if self.following.is_unwanted(hub) {
                return Ended::Idle;
            }
            sleep(pace.interval()).await;
        }
    }
}
