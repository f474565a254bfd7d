//! Time: the wall clock, and the hybrid logical clock that indexes come from.
//!
//! An index is `max(now in microseconds, last index issued or seen + 1)`: it needs no round trip,
//! rises strictly within a gateway, and is above everything that the gateway has read. It stays
//! below 2^53 until the year 2255.
//!
//! Gateways whose clocks are behind all go on from the highest index that they saw. So that they
//! seldom give one index to two keys, which costs watchers a read, each does so in a lane of its own
//! where there may be others: with indexes of one remainder by [`LANES`].
//!
//! The clock also knows which writes are under way. The index that answers carry never reaches
//! a write whose outcome is still open, so "watch from the next index" misses nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::v2::{EtcdIndex, UnixMs};

/// How many lanes there are. A gateway that is behind goes that much ahead with each write, at most.
pub const LANES: u64 = 32;

/// A wall clock, in microseconds since the Unix epoch.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now_us(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
    fn now_us(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The time in milliseconds, as expirations are kept.
pub fn unix_ms(clock: &dyn Clock) -> UnixMs {
    UnixMs(i64::try_from(clock.now_us() / 1000).unwrap_or(i64::MAX))
}

/// An index is further ahead of the wall clock than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFarAhead {
    /// The index.
    pub index: EtcdIndex,
    /// How far ahead it is.
    pub ahead_us: u64,
}

impl fmt::Display for TooFarAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFarAhead { index, ahead_us } = self;
        write!(
            f,
            "index {index} is {} s ahead of this gateway's clock, which is more than the allowed \
             drift: one of the gateways' clocks is wrong",
            ahead_us / 1_000_000
        )
    }
}

/// The hybrid logical clock of one gateway.
pub struct IndexClock {
    wall: Arc<dyn Clock>,
    max_drift_us: u64,
    /// The remainder of indexes that are not the wall clock's; `None`: the next one will do.
    lane: Option<u64>,
    state: Mutex<State>,
    settled: AtomicU64,
    moved: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    done: u64,
    open: BTreeSet<u64>,
}

impl State {
    fn settled(&self) -> u64 {
        self.open.first().map_or(self.done, |first_open| self.done.min(first_open - 1))
    }
}

impl IndexClock {
    /// A clock that issues indexes above `floor` and above the time of its making.
    pub fn new(wall: Arc<dyn Clock>, max_drift_us: u64, floor: EtcdIndex) -> IndexClock {
        let start = wall.now_us().max(floor.0).max(1);
        let state = Mutex::new(State { last: start, done: start, open: BTreeSet::new() });
        IndexClock {
            wall,
            max_drift_us,
            lane: None,
            state,
            settled: AtomicU64::new(start),
            moved: Notify::new(),
        }
    }

    /// How far the indexes are ahead of the wall clock, because those of other gateways are.
    pub fn ahead(&self) -> Duration {
        let last = self.lock().last;
        Duration::from_micros(last.saturating_sub(self.wall.now_us()))
    }

    /// The same clock in a lane, beside those of other gateways.
    pub fn in_lane(self, lane: u64) -> IndexClock {
        IndexClock { lane: Some(lane % LANES), ..self }
    }

    /// The lowest index above this one that is not taken from the wall clock.
    fn above(&self, last: u64) -> u64 {
        let next = last + 1;
        self.lane.map_or(next, |lane| next + (lane + LANES - next % LANES) % LANES)
    }

    /// The wall clock's time.
    pub fn now(&self) -> UnixMs {
        unix_ms(&*self.wall)
    }

    /// The wall clock's time as an index.
    pub fn wall_index(&self) -> EtcdIndex {
        EtcdIndex(self.wall.now_us())
    }

    /// How far two gateways' clocks may be apart, in microseconds.
    pub fn max_drift_us(&self) -> u64 {
        self.max_drift_us
    }

    /// Issues an index to a write that begins.
    pub fn begin(&self) -> Ticket<'_> {
        let now = self.wall.now_us();
        let mut state = self.lock();
        state.last = if now > state.last { now } else { self.above(state.last) };
        let index = state.last;
        state.open.insert(index);
        self.publish(&state);
        Ticket { clock: self, index: EtcdIndex(index) }
    }

    /// The highest index such that no write at or below it is still under way here.
    pub fn settled(&self) -> EtcdIndex {
        EtcdIndex(self.settled.load(Ordering::Acquire))
    }

    /// The same, without regard to writes at or below `floor` that are still under way.
    pub fn settled_above(&self, floor: EtcdIndex) -> EtcdIndex {
        let state = self.lock();
        let first_open = state.open.range(floor.0 + 1..).next();
        EtcdIndex(first_open.map_or(state.done, |first_open| state.done.min(first_open - 1)))
    }

    /// Waits until no write at or below this index is under way here, at most so long. Gives
    /// whether it is so.
    pub async fn settles(&self, index: EtcdIndex, at_most: Duration) -> bool {
        let settled = async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                // Before the look, so that nothing that happens after it is missed.
                moved.as_mut().enable();
                if self.settled() >= index {
                    return;
                }
                moved.await;
            }
        };
        self.settled() >= index || tokio::time::timeout(at_most, settled).await.is_ok()
    }

    /// How far clocks may be apart.
    pub fn max_drift(&self) -> Duration {
        Duration::from_micros(self.max_drift_us)
    }

    /// Takes note of an index that was read, so that all later ones are above it. One that is
    /// too far ahead is refused: it would carry a broken clock's time on to every key.
    pub fn observe(&self, index: EtcdIndex) -> Result<(), TooFarAhead> {
        if index.0 <= self.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        let ahead_us = index.0.saturating_sub(self.wall.now_us());
        if ahead_us > self.max_drift_us {
            return Err(TooFarAhead { index, ahead_us });
        }
        let mut state = self.lock();
        state.last = state.last.max(index.0);
        state.done = state.done.max(index.0);
        self.publish(&state);
        Ok(())
    }

    fn close(&self, index: EtcdIndex, happened: bool) {
        let mut state = self.lock();
        state.open.remove(&index.0);
        if happened {
            state.done = state.done.max(index.0);
        }
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        self.settled.store(state.settled(), Ordering::Release);
        self.moved.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for IndexClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexClock").field("settled", &self.settled()).finish_non_exhaustive()
    }
}

/// The index of a write that is under way. Dropping it says that the write did not happen.
#[derive(Debug)]
pub struct Ticket<'a> {
    clock: &'a IndexClock,
    index: EtcdIndex,
}

impl Ticket<'_> {
    /// The index.
    pub fn index(&self) -> EtcdIndex {
        self.index
    }

    /// The write happened.
    pub fn happened(self) {
        self.clock.close(self.index, true);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.clock.close(self.index, false);
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A clock that tests move by hand.

    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Clock;

    /// A clock that stands still until it is moved.
    #[derive(Debug)]
    pub(crate) struct FakeClock(AtomicU64);

    impl FakeClock {
        pub(crate) fn at_us(now: u64) -> FakeClock {
            FakeClock(AtomicU64::new(now))
        }

        pub(crate) fn advance_ms(&self, ms: u64) {
            self.0.fetch_add(ms * 1000, Ordering::SeqCst);
        }

        pub(crate) fn set_us(&self, now: u64) {
            self.0.store(now, Ordering::SeqCst);
        }
    }

    impl Clock for FakeClock {
        fn now_us(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeClock;
    use super::*;

    const DRIFT_US: u64 = 5 * 60 * 1_000_000;

    fn clock_at(now_us: u64) -> (Arc<FakeClock>, IndexClock) {
        let wall = Arc::new(FakeClock::at_us(now_us));
        let clock = IndexClock::new(Arc::clone(&wall) as Arc<dyn Clock>, DRIFT_US, EtcdIndex(0));
        (wall, clock)
    }

    #[test]
    fn it_tells_how_far_other_clocks_are_ahead() {
        let (wall, clock) = clock_at(1_000_000);
        assert_eq!(clock.ahead(), Duration::ZERO);
        clock.observe(EtcdIndex(3_500_000)).expect("not too far");
        assert_eq!(clock.ahead(), Duration::from_millis(2500));
        wall.advance_ms(4000);
        assert_eq!(clock.ahead(), Duration::ZERO);
    }

    #[test]
    fn indexes_rise_while_the_wall_clock_stands_still_or_goes_back() {
        let (wall, clock) = clock_at(1_000_000);
        let first = clock.begin().index();
        let second = clock.begin().index();
        wall.set_us(500_000);
        let third = clock.begin().index();
        assert!(first < second && second < third);
        wall.set_us(9_000_000);
        assert_eq!(clock.begin().index(), EtcdIndex(9_000_000));
    }

    #[test]
    fn a_clock_goes_on_above_its_floor() {
        let wall = Arc::new(FakeClock::at_us(10));
        let clock = IndexClock::new(wall, DRIFT_US, EtcdIndex(1_000));
        assert_eq!(clock.settled(), EtcdIndex(1_000));
        assert_eq!(clock.begin().index(), EtcdIndex(1_001));
    }

    #[test]
    fn clocks_that_are_behind_give_different_indexes_in_different_lanes() {
        let behind = |lane| {
            let (_, clock) = clock_at(1_000_000);
            let clock = clock.in_lane(lane);
            clock.observe(EtcdIndex(2_000_000)).expect("within the drift");
            let indexes: Vec<EtcdIndex> = (0..50).map(|_| clock.begin().index()).collect();
            assert!(indexes.is_sorted() && indexes[0] > EtcdIndex(2_000_000));
            assert!(indexes[0] <= EtcdIndex(2_000_000 + LANES));
            indexes
        };
        let other = behind(3);
        assert!(behind(7).iter().all(|index| !other.contains(index)));
        let (wall, clock) = clock_at(1_000_000);
        let clock = clock.in_lane(1);
        wall.set_us(9_000_000);
        assert_eq!(clock.begin().index(), EtcdIndex(9_000_000), "the wall clock's own");
    }

    #[test]
    fn what_was_read_is_below_what_is_written_next() {
        let (_, clock) = clock_at(1_000_000);
        clock.observe(EtcdIndex(2_000_000)).expect("within the drift");
        assert!(clock.begin().index() > EtcdIndex(2_000_000));
        assert_eq!(clock.settled(), EtcdIndex(2_000_000));
    }

    #[test]
    fn an_index_too_far_ahead_does_not_move_the_clock() {
        let (_, clock) = clock_at(1_000_000);
        let far = EtcdIndex(1_000_000 + DRIFT_US + 1);
        assert_eq!(clock.observe(far), Err(TooFarAhead { index: far, ahead_us: DRIFT_US + 1 }));
        assert!(clock.begin().index() < far);
    }

    #[test]
    fn the_settled_index_waits_for_writes_under_way() {
        let (_, clock) = clock_at(1_000_000);
        let slow = clock.begin();
        let quick = clock.begin();
        let (slow_index, quick_index) = (slow.index(), quick.index());
        quick.happened();
        assert!(clock.settled() < slow_index);
        slow.happened();
        assert_eq!(clock.settled(), quick_index);
    }

    #[tokio::test]
    async fn one_can_wait_for_an_index_to_settle() {
        let (_, clock) = clock_at(1_000_000);
        let ticket = clock.begin();
        let index = ticket.index();
        assert!(!clock.settles(index, Duration::from_millis(1)).await);
        let wait = clock.settles(index, Duration::from_secs(60));
        tokio::pin!(wait);
        assert!(futures_util::poll!(wait.as_mut()).is_pending());
        ticket.happened();
        assert!(wait.await);
    }

    #[test]
    fn a_write_that_did_not_happen_leaves_the_settled_index() {
        let (_, clock) = clock_at(1_000_000);
        let before = clock.settled();
        drop(clock.begin());
        assert_eq!(clock.settled(), before);
    }
}
