//! What each call to DynamoDB took and came to, for whoever counts.
//!
//! ```text
//! meter.begin("GetItem") -> Call -> sent (its turn has come) -> read, wrote, … or failed
//! ```
//!
//! A [`Call`] is told of when it ends, in the task that made it, and it is a span of its requests'
//! traces. Invariant: each call that ends is told of once. One whose task is dropped is not: nobody
//! knows what became of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use tokio::time::Instant;

use super::calls::Trouble;
use super::error::{Failure, Fate, Obstacle};
use crate::traces::CallSpan;
use crate::units::{Operation, Payers, Units, spend};

/// What became of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was to do.
    Done,
    /// Its condition did not hold.
    ConditionFailed,
    /// DynamoDB turned it away to be tried again: too many requests.
    Throttled,
    /// It met another call on the same item.
    Conflict,
    /// Nobody listens at the endpoint.
    Unreachable,
    /// DynamoDB does not take it: no permission, no such table, too large.
    Refused,
    /// It has no reply, or one that does not say.
    Unknown,
    /// It was not sent, as too many others were under way.
    NotSent,
}

impl Outcome {
    /// As it is called in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::ConditionFailed => "conditionFailed",
            Outcome::Throttled => "throttled",
            Outcome::Conflict => "conflict",
            Outcome::Unreachable => "unreachable",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
            Outcome::NotSent => "notSent",
        }
    }

    /// Whether it has no result.
    pub fn is_failure(self) -> bool {
        !matches!(self, Outcome::Done | Outcome::ConditionFailed)
    }
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Outcome {
        match failure.fate {
            Fate::Passing(Obstacle::Throttle) => Outcome::Throttled,
            Fate::Passing(Obstacle::Conflict) => Outcome::Conflict,
            Fate::Passing(Obstacle::NoListener) => Outcome::Unreachable,
            Fate::Lasting | Fate::TooLarge | Fate::Invalid => Outcome::Refused,
            Fate::Unknown => Outcome::Unknown,
            Fate::Crowded => Outcome::NotSent,
        }
    }
}

/// What one call consumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumed {
    /// DynamoDB's name of the operation.
    pub operation: &'static str,
    /// The request units. DynamoDB does not tell them where a condition failed: there they are
    /// counted by the size of the item it gave back, or of the one that was to be written.
    pub units: Units,
    /// What they were spent on, and how much on each.
    pub spent_on: Vec<(Operation, Units)>,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, from when it was sent.
    pub took: Duration,
}

/// Is told of every call, when it ends, in the task that made it.
#[derive(Clone)]
pub struct Meter(Arc<dyn Fn(Consumed) + Send + Sync>);

impl Meter {
    /// A meter that passes on what it is told.
    pub fn new(tell: impl Fn(Consumed) + Send + Sync + 'static) -> Meter {
        Meter(Arc::new(tell))
    }

    /// A meter that nobody reads.
    pub fn none() -> Meter {
        Meter::new(|_| ())
    }

    /// Begins a call, which may still have to wait for its turn.
    pub(super) fn begin(&self, operation: &'static str) -> Call {
        Call { meter: self.clone(), operation, began: Instant::now(), span: CallSpan::none() }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Call {
    meter: Meter,
    operation: &'static str,
    began: Instant,
    span: CallSpan,
}

impl Call {
    /// Its turn has come: what it takes is counted from now on.
    pub(super) fn sent(&mut self) {
        self.began = Instant::now();
        self.span = CallSpan::begin(self.operation, || Payers::of_this_task().traces());
    }

    pub(super) fn read<'a>(self, capacity: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let read = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.tell(Units { read, write: 0.0 }, Outcome::Done);
    }

    pub(super) fn wrote<'a>(self, capacity: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let mut units = Units::default();
        for table in capacity {
            // A transaction that comes again with its token is only read.
            let read = table.read_capacity_units().unwrap_or_default();
            let write = table.capacity_units().unwrap_or_default() - read;
            units += Units { read, write };
        }
        self.tell(units, Outcome::Done);
    }

    /// A condition that did not hold, which costs as well.
    pub(super) fn refused(self, write: f64) {
        self.tell(Units { read: 0.0, write }, Outcome::ConditionFailed);
    }

    pub(super) fn failed(self, failure: &Failure) {
        self.tell(Units::default(), Outcome::from(failure));
    }

    fn tell(self, units: Units, outcome: Outcome) {
        let Call { meter, operation, began, span } = self;
        let took = began.elapsed();
        span.end(units, outcome.name(), outcome.is_failure());
        let spent_on = spend(units).collect();
        (meter.0)(Consumed { operation, units, spent_on, outcome, took });
    }
}

/// Notes that a call has no result, and says what became of it.
pub(super) fn failed<E>(call: Call, trouble: &Trouble<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failure = Failure::from(trouble);
    call.failed(&failure);
    failure
}
