//! What can go wrong between a gateway and DynamoDB, and how often it shall.
//!
//! Each [`Fault`] says what becomes of the call and what its caller is told. [`Odds`] say how
//! likely each is. A choice is drawn from a seeded generator, one draw a call, so that a seed
//! repeats it as far as the order of the calls allows. Not here: how it is done.

use std::fmt;

use fastrand::Rng;

use super::proxy::call::{Call, Kind};

/// One way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Turned away for its rate: not applied. One of the exceptions for it, and of a transaction
    /// also one that is cancelled with the reason `ThrottlingError`.
    Throttled,
    /// A write that met another one: not applied. `TransactionConflictException`, and of a
    /// transaction one that is cancelled with the reason `TransactionConflict` for one item.
    Conflict,
    /// A transaction that is answered with `TransactionInProgressException`, and applied a moment
    /// later: as when its token is known from an attempt that still runs.
    InProgress,
    /// 500 or 503: not applied.
    ServerError,
    /// Applied, and answered with 500 or 503.
    ErrorAfter,
    /// Applied and answered, but late: less than the 1.5 s that a gateway waits for one call.
    Slow,
    /// Applied when the gateway has given up waiting for it.
    Late,
    /// The connection is cut, without a reply: not applied.
    CutBefore,
    /// Applied, and the connection is cut without a reply.
    CutAfter,
    /// Applied, and the connection is cut in the middle of the reply.
    HalfReply,
    /// A write that is delivered twice, at once. The second answer is given, or the first where it
    /// applied.
    Twice,
    /// A write that applied and is delivered once more some time after it was answered.
    LateTwin,
    /// A read that is not strong gets an earlier answer to the same request.
    Stale,
    /// A batch of which a part is left over, or a page that ends early.
    Partial,
    /// From this call on for a while, nothing is answered or applied.
    BlackHole,
    /// From this call on for a while, no connection is accepted, and those that are open end.
    Outage,
    /// A call about the stream is turned away for its rate.
    StreamThrottled,
    /// A read of the stream is answered with `ExpiredIteratorException`.
    IteratorExpired,
    /// A read of the stream is answered with `TrimmedDataAccessException`.
    RecordsTrimmed,
}

impl Fault {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 19] = [
        Self::Throttled,
        Self::Conflict,
        Self::InProgress,
        Self::ServerError,
        Self::ErrorAfter,
        Self::Slow,
        Self::Late,
        Self::CutBefore,
        Self::CutAfter,
        Self::HalfReply,
        Self::Twice,
        Self::LateTwin,
        Self::Stale,
        Self::Partial,
        Self::BlackHole,
        Self::Outage,
        Self::StreamThrottled,
        Self::IteratorExpired,
        Self::RecordsTrimmed,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Conflict => "transaction conflict",
            Self::InProgress => "transaction in progress",
            Self::ServerError => "5xx, not applied",
            Self::ErrorAfter => "5xx, applied",
            Self::Slow => "slow reply",
            Self::Late => "applied too late",
            Self::CutBefore => "cut before",
            Self::CutAfter => "cut after",
            Self::HalfReply => "half a reply",
            Self::Twice => "delivered twice",
            Self::LateTwin => "delivered again later",
            Self::Stale => "stale read",
            Self::Partial => "partial read",
            Self::BlackHole => "black hole",
            Self::Outage => "connections refused",
            Self::StreamThrottled => "stream throttled",
            Self::IteratorExpired => "stream iterator expired",
            Self::RecordsTrimmed => "stream records trimmed",
        }
    }

    /// Whether it is one that meets only those who read the stream.
    #[must_use]
    pub fn is_of_streams(self) -> bool {
        matches!(self, Self::StreamThrottled | Self::IteratorExpired | Self::RecordsTrimmed)
    }

    /// Whether it can happen to such a call.
    fn concerns(self, call: &Call) -> bool {
        let is_write = call.kind == Kind::Write;
        match self {
            Self::Conflict | Self::Twice | Self::LateTwin => is_write,
            Self::InProgress => call.is_transaction(),
            Self::Stale => call.is_eventual(),
            Self::Partial => matches!(call.operation.as_str(), "BatchGetItem" | "Query"),
            Self::StreamThrottled => call.kind == Kind::Stream,
            Self::IteratorExpired | Self::RecordsTrimmed => call.operation == "GetRecords",
            Self::Throttled => matches!(call.kind, Kind::Read | Kind::Write),
            Self::ServerError
            | Self::ErrorAfter
            | Self::Slow
            | Self::Late
            | Self::CutBefore
            | Self::CutAfter
            | Self::HalfReply
            | Self::BlackHole
            | Self::Outage => call.kind != Kind::Other,
        }
    }

    fn position(self) -> usize {
        Self::ALL.iter().position(|fault| *fault == self).unwrap_or_default()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How likely each fault is for one call that it concerns, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds([f64; Fault::ALL.len()]);

impl Odds {
    /// No faults.
    #[must_use]
    pub fn fair() -> Self {
        Self::default()
    }

    /// One fault only.
    #[must_use]
    pub fn only(fault: Fault, probability: f64) -> Self {
        Self::fair().with(fault, probability)
    }

    /// All of them together, each about as often as a bad day has it.
    #[must_use]
    pub fn weather() -> Self {
        Self([
            0.04, 0.04, 0.03, 0.02, 0.02, 0.05, 0.005, 0.02, 0.02, 0.02, 0.03, 0.03, 0.1, 0.2,
            0.0007, 0.0007, 0.05, 0.02, 0.01,
        ])
    }

    /// The same with another probability of one fault.
    #[must_use]
    pub fn with(mut self, fault: Fault, probability: f64) -> Self {
        self.0[fault.position()] = probability;
        self
    }

    /// The same, each fault so many times as likely.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self(self.0.map(|odds| odds * factor))
    }

    /// What becomes of a call. At most one fault meets it.
    pub(super) fn draw(&self, call: &Call, random: &mut Rng) -> Option<Fault> {
        let mut at = random.f64();
        Fault::ALL.into_iter().filter(|fault| fault.concerns(call)).find(|fault| {
            at -= self.0[fault.position()];
            at < 0.0
        })
    }
}

/// How often each fault really was injected, and how many calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The calls that read or write data.
    pub calls: u64,
    /// Those that write.
    pub writes: u64,
    faults: [u64; Fault::ALL.len()],
}

impl Counts {
    /// How often this fault was injected.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.faults[fault.position()]
    }

    /// How many faults were injected in all.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.faults.iter().sum()
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.faults[fault.position()] += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} writes", self.calls, self.writes)?;
        for fault in Fault::ALL.into_iter().filter(|fault| self.of(*fault) > 0) {
            write!(f, ", {fault}: {}", self.of(fault))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: &str, body: &str) -> Call {
        Call::new(&format!("DynamoDB_20120810.{operation}"), body.as_bytes().to_vec().into())
    }

    fn stream(operation: &str) -> Call {
        Call::new(&format!("DynamoDBStreams_20120810.{operation}"), b"{}".to_vec().into())
    }

    fn drawn(odds: Odds, call: &Call) -> Vec<Option<Fault>> {
        let mut random = Rng::with_seed(7);
        (0..200).map(|_| odds.draw(call, &mut random)).collect()
    }

    #[test]
    fn a_seed_repeats_the_choice() {
        let call = call("UpdateItem", "{}");
        let first = drawn(Odds::weather(), &call);
        assert_eq!(first, drawn(Odds::weather(), &call));
        assert!(first.iter().any(Option::is_some) && first.iter().any(Option::is_none));
    }

    #[test]
    fn a_fault_meets_only_calls_that_it_concerns() {
        let strong = call("GetItem", r#"{"ConsistentRead":true}"#);
        let eventual = call("GetItem", r#"{"ConsistentRead":false}"#);
        for (fault, call, meets) in [
            (Fault::Stale, &strong, false),
            (Fault::Stale, &eventual, true),
            (Fault::Conflict, &eventual, false),
            (Fault::InProgress, &call("UpdateItem", "{}"), false),
            (Fault::InProgress, &call("TransactWriteItems", "{}"), true),
            (Fault::CutAfter, &call("DescribeTable", "{}"), false),
            (Fault::Throttled, &call("CreateTable", "{}"), false),
            (Fault::Partial, &call("Query", "{}"), true),
            (Fault::IteratorExpired, &call("GetItem", "{}"), false),
            (Fault::IteratorExpired, &stream("GetShardIterator"), false),
            (Fault::IteratorExpired, &stream("GetRecords"), true),
            (Fault::StreamThrottled, &stream("DescribeStream"), true),
            (Fault::StreamThrottled, &eventual, false),
            (Fault::Slow, &stream("GetRecords"), true),
            (Fault::Throttled, &stream("GetRecords"), false),
        ] {
            let found = drawn(Odds::only(fault, 1.0), call);
            assert!(found.iter().all(|found| found.is_some() == meets), "{fault} {call:?}");
        }
    }

    #[test]
    fn every_fault_has_a_name_and_odds_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::ALL[fault.position()], fault);
            let odds = Odds::only(fault, 0.5);
            assert_eq!(odds.0.iter().filter(|odds| **odds > 0.0).count(), 1, "{fault}");
        }
    }
}
