//! The pace of following: how often the feed is read, and how long events wait for others'.
//!
//! A stream lets about two readers at a shard. With more gateways each reads less often, so that
//! all of them together read as often as two; where they are throttled all the same, a reader
//! slows down until that ends. Pure, but for the time that has passed since the last whole round.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Round;
use crate::v2::EtcdIndex;

/// How often two gateways read, each.
const INTERVAL: Duration = Duration::from_millis(250);
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// How long events wait before anything is known of others', and at least and at most.
const FIRST_HOLD: Duration = Duration::from_millis(500);
const SHORTEST_HOLD: Duration = Duration::from_millis(200);
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// How many rounds the latest event is remembered: with the one before, between one and two
/// minutes at the shortest interval.
const MEMORY_ROUNDS: u32 = 240;

#[derive(Debug)]
pub(super) struct Pace {
    /// When the round under way began.
    began: EtcdIndex,
    /// When the last whole one did.
    whole: EtcdIndex,
    whole_at: Instant,
    /// What was written before is no measure.
    start: EtcdIndex,
    /// How late events of others were at most, in this span of time and in the one before.
    latest: Option<Duration>,
    latest_before: Option<Duration>,
    rounds: u32,
    interval: Duration,
}

impl Pace {
    /// The pace of a feed that began at this index.
    pub(super) fn new(start: EtcdIndex) -> Pace {
        Pace {
            began: start,
            whole: start,
            whole_at: Instant::now(),
            start,
            latest: None,
            latest_before: None,
            rounds: 0,
            interval: INTERVAL,
        }
    }

    /// A round begins, at this time.
    pub(super) fn begins(&mut self, now: EtcdIndex) {
        self.began = now;
    }

    /// An event of another gateway came. It is late by as much as it is older than the last whole
    /// round, upon which it should have been told already.
    pub(super) fn saw(&mut self, index: EtcdIndex) {
        if index > self.start {
            let late = Duration::from_micros(self.whole.0.saturating_sub(index.0));
            self.latest = self.latest.max(Some(late));
        }
    }

    /// The round ended. There are so many gateways.
    pub(super) fn ended(&mut self, round: Round, gateways: usize) {
        let fair = INTERVAL.mul_f64(gateways.max(2) as f64 / 2.0).min(LONGEST_INTERVAL);
        match round {
            Round::Whole => {
                // A clock that was set back must not take back what was told.
                self.whole = self.whole.max(self.began);
                self.whole_at = Instant::now();
                self.interval = fair.max(self.interval.mul_f64(0.9));
            }
            Round::Broken { throttled: true } => {
                // Not in step with the others.
                let slower = self.interval.mul_f64(1.5 + fastrand::f64());
                self.interval = slower.max(fair).min(LONGEST_INTERVAL);
            }
            Round::Broken { throttled: false } => self.interval = self.interval.max(fair),
        }
        self.rounds += 1;
        if self.rounds >= MEMORY_ROUNDS {
            self.rounds = 0;
            self.latest_before = self.latest.take();
        }
    }

    /// How long to wait until the next round.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long events wait for those of others.
    pub(super) fn hold(&self) -> Duration {
        match self.latest.max(self.latest_before) {
            None => FIRST_HOLD,
            Some(late) => (late.mul_f64(1.5) + SHORTEST_HOLD).clamp(SHORTEST_HOLD, LONGEST_HOLD),
        }
    }

    /// How long events are held in all while nothing is wrong.
    pub(super) fn patience(&self) -> Duration {
        self.hold() + self.interval * 2
    }

    /// Up to where all that others wrote should have come.
    pub(super) fn safe(&self) -> EtcdIndex {
        let hold = u64::try_from(self.hold().as_micros()).unwrap_or(u64::MAX);
        EtcdIndex(self.whole.0.saturating_sub(hold))
    }

    /// For how long no round was whole.
    pub(super) fn lag(&self) -> Duration {
        self.whole_at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: EtcdIndex = EtcdIndex(1_000_000_000);

    fn at(ms: u64) -> EtcdIndex {
        EtcdIndex(START.0 + ms * 1000)
    }

    #[test]
    fn events_wait_as_long_as_others_are_late() {
        let mut pace = Pace::new(START);
        pace.begins(at(1_000));
        pace.ended(Round::Whole, 2);
        assert_eq!((pace.hold(), pace.safe()), (FIRST_HOLD, at(500)));
        pace.saw(EtcdIndex(START.0 - 5_000_000));
        assert_eq!(pace.hold(), FIRST_HOLD, "what was before is no measure");
        pace.saw(at(400));
        assert_eq!(pace.hold(), Duration::from_millis(1_100));
        pace.saw(at(5_000));
        assert_eq!(pace.hold(), Duration::from_millis(1_100), "the latest counts");
        pace.begins(at(60_000));
        pace.ended(Round::Whole, 2);
        pace.saw(at(1_000));
        assert_eq!(pace.hold(), LONGEST_HOLD);
        for _ in 0..2 * MEMORY_ROUNDS {
            pace.saw(at(60_000));
            pace.ended(Round::Whole, 2);
        }
        assert_eq!(pace.hold(), SHORTEST_HOLD, "it is forgotten in time");
    }

    #[test]
    fn what_is_safe_stands_still_with_the_feed() {
        let mut pace = Pace::new(START);
        pace.begins(at(1_000));
        pace.ended(Round::Whole, 2);
        let safe = pace.safe();
        pace.begins(at(9_000));
        pace.ended(Round::Broken { throttled: false }, 2);
        assert_eq!(pace.safe(), safe);
        pace.begins(at(500));
        pace.ended(Round::Whole, 2);
        assert_eq!(pace.safe(), safe, "a clock that was set back");
    }

    /// A shard that lets eight reads a second through, for all readers together.
    fn throttled_share(gateways: usize) -> f64 {
        let mut paces: Vec<(Pace, f64)> =
            (0..gateways).map(|n| (Pace::new(START), n as f64 * 0.01)).collect();
        let (mut tokens, mut now, mut reads, mut refused) = (8.0_f64, 0.0_f64, 0.0, 0.0);
        while now < 120.0 {
            let (pace, at) = paces.iter_mut().min_by(|a, b| a.1.total_cmp(&b.1)).expect("some");
            tokens = (tokens + (*at - now) * 8.5).min(8.0);
            now = *at;
            let throttled = tokens < 1.0;
            if throttled {
                refused += 1.0
            } else {
                tokens -= 1.0
            }
            reads += 1.0;
            let round = if throttled { Round::Broken { throttled } } else { Round::Whole };
            pace.ended(round, gateways);
            *at += pace.interval().as_secs_f64();
        }
        refused / reads
    }

    #[test]
    fn readers_share_what_a_shard_lets_through() {
        fastrand::seed(7);
        for gateways in [1, 2, 3, 8, 20] {
            let refused = throttled_share(gateways);
            assert!(refused < 0.25, "{gateways} gateways: {refused}");
        }
    }
}
