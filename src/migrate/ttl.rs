//! The arithmetic of expirations that move from one server to another.
//!
//! A v2 server takes a TTL in whole seconds and keeps a time. So a moved node expires up to a
//! second later than it would have, and never earlier. Both clocks are taken to be right.

use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};

/// The time.
pub(super) fn now() -> Timestamp {
    let us = i64::try_from(SystemClock.now_us()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX)
}

/// What is left to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It does not expire.
    Forever,
    /// So many seconds, rounded up, and at least one.
    Seconds(u64),
    /// Nothing: its time has come.
    Nothing,
}

/// What is left at this moment.
pub(super) fn left(expiration: Option<Timestamp>, now: Timestamp) -> Left {
    let Some(expiration) = expiration else { return Left::Forever };
    match u128::try_from(expiration.as_nanosecond() - now.as_nanosecond()) {
        Err(_) | Ok(0) => Left::Nothing,
        Ok(nanoseconds) => {
            let seconds = nanoseconds.div_ceil(1_000_000_000);
            Left::Seconds(u64::try_from(seconds).unwrap_or(u64::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: i32) -> Timestamp {
        Timestamp::new(1_800_000_000 + seconds, nanoseconds).expect("a time of this century")
    }

    #[test]
    fn seconds_are_rounded_up_and_what_is_over_is_over() {
        for (expiration, now, expected) in [
            (None, at(0, 0), Left::Forever),
            (Some(at(10, 0)), at(0, 0), Left::Seconds(10)),
            (Some(at(10, 1)), at(0, 0), Left::Seconds(11)),
            (Some(at(10, 0)), at(0, 1), Left::Seconds(10)),
            (Some(at(10, 0)), at(9, 999_999_999), Left::Seconds(1)),
            (Some(at(10, 0)), at(10, 0), Left::Nothing),
            (Some(at(10, 0)), at(11, 0), Left::Nothing),
        ] {
            assert_eq!(left(expiration, now), expected, "{expiration:?} at {now}");
        }
        let longest = left(Some(Timestamp::MAX), Timestamp::MIN);
        assert!(matches!(longest, Left::Seconds(600_000_000_000..)), "{longest:?}");
    }

    #[test]
    fn a_moved_node_never_expires_early() {
        for nanoseconds in [0, 1, 499_999_999, 999_999_999] {
            let (expiration, now) = (at(7, nanoseconds), at(3, 250_000_000));
            let Left::Seconds(seconds) = left(Some(expiration), now) else {
                panic!("it is in the future");
            };
            let moved = now.as_nanosecond() + i128::from(seconds) * 1_000_000_000;
            let late = moved - expiration.as_nanosecond();
            assert!((0..1_000_000_000).contains(&late), "{late}");
        }
    }
}
