//! How many requests a client may send in a second, by its address.
//!
//! Each address has a bucket of one second's requests, which fills up evenly. It is kept as the
//! one time at which it will be full again (the generic cell rate algorithm), and forgotten once
//! that is past. The memory is bounded: where too many addresses are busy at once, those that are
//! not known share one bucket. (The `governor` crate has the same bucket, but its table of
//! addresses has no bound.)
//!
//! An IPv6 client counts under its /64, of which it has every address for itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many addresses are known at once; some four megabytes.
const ADDRESSES: usize = 1 << 16;

/// A second's requests: what a bucket holds.
const BUCKET: Duration = Duration::from_secs(1);

/// What each client has sent of late.
#[derive(Debug)]
pub(super) struct Clients {
    /// How long one request fills the bucket's gap.
    each: Duration,
    most: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    /// When each is full again.
    full_at: HashMap<IpAddr, Instant>,
    /// The same of all others together.
    others: Option<Instant>,
    /// When those that are full were last forgotten.
    swept: Option<Instant>,
}

/// A request too many; a next one is welcome after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany {
    pub(super) retry_after: Duration,
}

impl Clients {
    /// Clients that may send so many requests in a second.
    pub(super) fn new(per_second: NonZeroU32) -> Clients {
        Clients::of_at_most(ADDRESSES, per_second)
    }

    fn of_at_most(most: usize, per_second: NonZeroU32) -> Clients {
        Clients { each: BUCKET / per_second.get(), most, buckets: Mutex::default() }
    }

    /// Counts a request that came now, if its client may send one.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        let address = network(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= self.most && !buckets.full_at.contains_key(&address) {
            buckets.sweep(now);
            if buckets.full_at.len() >= self.most {
                let full_at = self.taken(buckets.others, now)?;
                buckets.others = Some(full_at);
                return Ok(());
            }
        }
        let full_at = self.taken(buckets.full_at.get(&address).copied(), now)?;
        buckets.full_at.insert(address, full_at);
        Ok(())
    }

    /// When a bucket is full again after one more request.
    fn taken(&self, full_at: Option<Instant>, now: Instant) -> Result<Instant, TooMany> {
        let full_at = full_at.map_or(now, |full_at| full_at.max(now)) + self.each;
        match (full_at - now).checked_sub(BUCKET) {
            Some(retry_after) if !retry_after.is_zero() => Err(TooMany { retry_after }),
            Some(_) | None => Ok(full_at),
        }
    }
}

impl Buckets {
    /// Forgets full buckets, at most once in the time that one takes to fill.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now - swept >= BUCKET) {
            self.swept = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(per_second: u32, most: usize) -> Clients {
        Clients::of_at_most(most, NonZeroU32::new(per_second).unwrap())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_evenly() {
        let clients = clients(4, 10);
        let start = Instant::now();
        let at = |ms| clients.admit(ip("10.0.0.1"), start + Duration::from_millis(ms));
        let after = |ms| Err(TooMany { retry_after: Duration::from_millis(ms) });
        for _ in 0..4 {
            assert_eq!(at(0), Ok(()));
        }
        assert_eq!(at(0), after(250));
        // A refusal costs nothing.
        assert_eq!(at(100), after(150));
        assert_eq!(at(250), Ok(()));
        assert_eq!(at(250), after(250));
        assert_eq!(clients.admit(ip("10.0.0.2"), start), Ok(()));
        for _ in 0..4 {
            assert_eq!(at(10_000), Ok(()));
        }
        assert_eq!(at(10_000), after(250));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let clients = clients(1, 10);
        let now = Instant::now();
        assert_eq!(clients.admit(ip("2001:db8::1"), now), Ok(()));
        assert!(clients.admit(ip("2001:db8::ffff:2"), now).is_err());
        assert_eq!(clients.admit(ip("2001:db8:0:1::1"), now), Ok(()));
    }

    #[test]
    fn addresses_beyond_the_bound_share_a_bucket_until_there_is_room() {
        let clients = clients(1, 2);
        let start = Instant::now();
        let at = |address, ms| clients.admit(ip(address), start + Duration::from_millis(ms));
        assert_eq!(at("10.0.0.1", 0), Ok(()));
        assert_eq!(at("10.0.0.2", 100), Ok(()));
        assert_eq!(at("10.0.0.3", 200), Ok(()));
        assert!(at("10.0.0.4", 200).is_err());
        assert!(at("10.0.0.1", 900).is_err());
        assert_eq!(clients.buckets.lock().unwrap().full_at.len(), 2);
        assert_eq!(at("10.0.0.5", 1300), Ok(()));
        assert_eq!(at("10.0.0.6", 1300), Ok(()));
        assert!(at("10.0.0.5", 1300).is_err());
        assert_eq!(clients.buckets.lock().unwrap().full_at.len(), 2);
    }
}
