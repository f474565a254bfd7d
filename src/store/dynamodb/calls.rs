//! One call to DynamoDB, and the few that may follow it: deadlines, pauses, what it cost.
//!
//! Only so many calls are under way at a time. Those beyond wait, first come, first served, but
//! not for long: a store that is slower than its clients is not helped by a queue, and they are
//! better told early.
//!
//! The SDK's own retries are off: they cannot tell what happened from what may have happened.
//! Invariant: every call ends within its attempt's time, and no call of a series begins after
//! its total. (A last call that is cut short would make an unknown outcome of a certain one.)

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::error::{Failure, Fate};
use super::meter::Call;
use crate::metrics;
use crate::store::StoreError;

/// How long calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Making a connection.
    pub connect: Duration,
    /// How long a call may wait for others to end before it begins.
    pub turn: Duration,
    /// One call. What has no reply by then is a lost reply.
    pub attempt: Duration,
    /// From when on a read is not tried again.
    pub read: Duration,
    /// From when on a commit that certainly did not happen is not tried again.
    pub commit: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect: Duration::from_secs(1),
            turn: Duration::from_millis(500),
            attempt: Duration::from_millis(1500),
            read: Duration::from_secs(2),
            commit: Duration::from_secs(2),
        }
    }
}

/// A call that has no result, with DynamoDB's answer where there is one.
#[derive(Debug)]
pub(super) enum Trouble<E> {
    /// It was not sent, because too many others are under way.
    Crowded,
    /// There was no answer in time.
    Late,
    /// What the SDK says. Boxed, as it holds the whole reply.
    Sdk(Box<SdkError<E, HttpResponse>>),
}

impl<E> From<&Trouble<E>> for Failure
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata + Error + 'static,
{
    fn from(trouble: &Trouble<E>) -> Failure {
        match trouble {
            Trouble::Crowded => Failure::new(Fate::Crowded, "too many calls are under way"),
            Trouble::Late => Failure::new(Fate::Unknown, "no reply in time"),
            Trouble::Sdk(error) => Failure::from(error.as_ref()),
        }
    }
}

/// Makes one call, which ends by itself when its time is over.
///
/// The SDK's futures are large, and whatever waits for one holds it, up to the connection of the
/// client: so the call has its own place, and only while it lasts. (Not an async function, which
/// would keep room for it all the same.)
pub(super) fn attempt<T, E>(
    within: Duration,
    metered: Option<&mut Call>,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
) -> impl Future<Output = Result<T, Trouble<E>>> + Send {
    let call = Box::pin(call);
    async move {
        if let Some(metered) = metered {
            metered.sent();
        }
        match timeout(within, call).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(Trouble::Sdk(Box::new(error))),
            Err(_elapsed) => Err(Trouble::Late),
        }
    }
}

/// The calls that may be under way at a time.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    free: Arc<Semaphore>,
    timing: Timing,
}

/// How many calls are under way at most. Far more than one gateway's processors can keep up with
/// at DynamoDB's usual few milliseconds a call.
pub(super) const LINES: usize = 256;

impl Lines {
    pub(super) fn new(timing: Timing) -> Lines {
        Lines { free: Arc::new(Semaphore::new(LINES)), timing }
    }

    /// Makes one call when there is a line for it.
    pub(super) fn attempt<T, E>(
        &self,
        metered: &mut Call,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<T, Trouble<E>>> + Send {
        let Timing { turn, attempt: within, .. } = self.timing;
        let call = attempt(within, Some(metered), call);
        async move {
            match timeout(turn, self.free.acquire()).await {
                Ok(Ok(_line)) => call.await,
                Ok(Err(_)) | Err(_) => Err(Trouble::Crowded),
            }
        }
    }
}

/// The pauses of one series of calls, and its end.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    deadline: Instant,
    pause: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

impl Patience {
    /// A series in which no call begins after this time.
    pub(super) fn new(total: Duration) -> Patience {
        Patience { deadline: Instant::now() + total, pause: FIRST_PAUSE }
    }

    /// Waits before the next call: anything between nothing and twice as much as the last time,
    /// so that those who met once do not meet again. Says no where there is no time left.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = self.pause.mul_f64(fastrand::f64());
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        metrics::dynamodb_retried();
        true
    }

    /// The next pause is a short one again: something came of the last call.
    pub(super) fn encouraged(&mut self) {
        self.pause = FIRST_PAUSE;
    }
}

/// Reads, and reads again on anything that may pass, until the time is over.
pub(super) async fn read<T, F>(
    mut patience: Patience,
    mut call: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        let failure = match call().await {
            Ok(output) => return Ok(output),
            Err(failure) => failure,
        };
        match failure.fate {
            Fate::Passing(_) | Fate::Unknown => {
                if !patience.pause().await {
                    return Err(StoreError::Unavailable(failure.why));
                }
            }
            Fate::Crowded => return Err(StoreError::Busy),
            Fate::Lasting => return Err(StoreError::Unavailable(failure.why)),
            Fate::TooLarge | Fate::Invalid => return Err(StoreError::Corrupt(failure.why)),
        }
    }
}
