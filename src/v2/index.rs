//! Indexes and points in time, as numbers with a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in the store's one order of changes. Always below 2^53, so that a reader that keeps
/// numbers as doubles (JavaScript, jq) reads it exactly.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct EtcdIndex(pub u64);

impl EtcdIndex {
    /// The index after this one.
    pub fn next(self) -> EtcdIndex {
        EtcdIndex(self.0 + 1)
    }

    /// When it was given out, by the clock of the gateway that did: an index is the time in
    /// microseconds, or some more.
    pub fn time(self) -> UnixMs {
        UnixMs(i64::try_from(self.0 / 1000).unwrap_or(i64::MAX))
    }

    /// The name of the in-order key that is made at this index: 20 digits, zero padded.
    pub fn in_order_name(self) -> String {
        format!("{:020}", self.0)
    }
}

impl fmt::Display for EtcdIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: milliseconds since the Unix epoch (before it, negative).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// This point in time, some milliseconds later.
    pub fn plus_ms(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Whole seconds since the epoch, rounded up.
    pub fn ceil_seconds(self) -> i64 {
        self.0.div_euclid(1000) + i64::from(self.0.rem_euclid(1000) > 0)
    }
}

/// What etcd computes for a TTL of this many seconds: `now + ttl` in nanoseconds, in an `int64`
/// that wraps around (v2http/client.go multiplies, etcdserver sends `UnixNano`).
pub fn expiration_after(now: UnixMs, ttl_seconds: u64) -> UnixMs {
    let ttl_ns = i64::from_ne_bytes(ttl_seconds.wrapping_mul(1_000_000_000).to_ne_bytes());
    let now_ns = now.0.wrapping_mul(1_000_000);
    UnixMs(now_ns.wrapping_add(ttl_ns).div_euclid(1_000_000))
}

/// The `ttl` that a reply shows: the seconds left, rounded up, and toward zero once past.
pub fn ttl_left(now: UnixMs, expiration: UnixMs) -> i64 {
    let left_ms = expiration.0.saturating_sub(now.0);
    left_ms / 1000 + i64::from(left_ms % 1000 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    #[test]
    fn a_ttl_adds_seconds() {
        assert_eq!(expiration_after(NOW, 10), UnixMs(NOW.0 + 10_000));
        assert_eq!(expiration_after(NOW, 0), NOW);
    }

    #[test]
    fn a_ttl_wraps_around_as_in_etcd() {
        assert_eq!(expiration_after(NOW, u64::MAX), UnixMs(NOW.0 - 1000));
        let year_2000 = UnixMs(946_684_800_000);
        assert!(expiration_after(NOW, 9_223_372_037) < year_2000);
        assert!(expiration_after(NOW, 10_000_000_000) < year_2000);
        assert!(expiration_after(NOW, 7_400_000_000) > NOW);
    }

    #[test]
    fn the_ttl_left_is_rounded_up_and_toward_zero_once_past() {
        for (left_ms, ttl) in
            [(10_000, 10), (9_001, 10), (9_000, 9), (1, 1), (0, 0), (-999, 0), (-1000, -1)]
        {
            assert_eq!(ttl_left(NOW, NOW.plus_ms(left_ms)), ttl, "{left_ms} ms");
        }
    }

    #[test]
    fn in_order_names_have_twenty_digits() {
        assert_eq!(EtcdIndex(6).in_order_name(), "00000000000000000006");
    }
}
