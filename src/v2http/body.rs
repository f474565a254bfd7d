//! Request bodies, bounded: each by what could be stored, all together by a budget.
//!
//! A body that cannot fit is refused before it is read on. A body of more than 64 KiB takes its
//! size out of the budget before it is read and gives it back when its request is done, so bodies
//! never hold more than the budget and 64 KiB a connection. A body without a length takes the
//! most it may grow to, once, so that no two wait for each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// Go's limit for a form (net/http, `maxFormSize`).
pub(super) const FORM_BYTES: usize = 10 << 20;

/// A body of this size is read without asking the budget.
const SMALL_BYTES: usize = 64 << 10;

/// The budget's unit.
const UNIT_BYTES: usize = 1024;

/// How long a body may stand still, and how long one of next to nothing may take.
const STALL: Duration = Duration::from_secs(30);

/// How fast a body has to come beyond that, in bytes a second.
const SLOWEST: u32 = 16 << 10;

/// The body of a request.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// On its way, on a connection.
    Coming(Incoming),
    /// All of it, which came with the request and is in memory anyway.
    #[cfg(feature = "lambda")]
    Whole(Bytes),
}

/// The memory that larger bodies may take together.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// A body that was read, and its share of the budget.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than it may be.
    TooLarge,
    /// It stopped coming, or could not be understood.
    Broken,
    /// Too many other bodies are on their way.
    NoRoom,
}

impl Budget {
    /// A budget of so many bytes, at least one form's.
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(units(bytes.max(FORM_BYTES)) as usize)))
    }

    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let share = Arc::clone(&self.0).acquire_many_owned(units(bytes));
        match timeout(STALL, share).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(Unread::NoRoom),
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(body: RequestBody, limit: usize, budget: &Budget) -> Result<Body, Unread> {
    let limit = limit.min(FORM_BYTES);
    match body {
        RequestBody::Coming(incoming) => receive(incoming, limit, budget).await,
        #[cfg(feature = "lambda")]
        RequestBody::Whole(bytes) if bytes.len() > limit => Err(Unread::TooLarge),
        #[cfg(feature = "lambda")]
        RequestBody::Whole(bytes) => Ok(Body { bytes, share: None }),
    }
}

async fn receive(mut incoming: Incoming, limit: usize, budget: &Budget) -> Result<Body, Unread> {
    let declared = incoming.size_hint().exact();
    if declared == Some(0) {
        return Ok(Body { bytes: Bytes::new(), share: None });
    }
    let declared = match declared {
        Some(length) => match usize::try_from(length) {
            Ok(length) if length <= limit => Some(length),
            Ok(_) | Err(_) => return Err(Unread::TooLarge),
        },
        None => None,
    };
    let mut share = match declared {
        Some(length) if length > SMALL_BYTES => Some(budget.take(length).await?),
        _ => None,
    };
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    let mut pace = Pace::begin();
    while let Some(data) = next(&mut incoming, &pace).await? {
        let length = first.len() + rest.len() + data.len();
        pace.came += data.len();
        if length > limit {
            return Err(Unread::TooLarge);
        }
        if declared.is_none() && share.is_none() && length > SMALL_BYTES {
            share = Some(budget.take(limit).await?);
            pace = Pace::begin();
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve_exact(declared.unwrap_or(length));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { first } else { Bytes::from(rest) };
    Ok(Body { bytes, share })
}

/// How fast a body comes.
struct Pace {
    began: Instant,
    came: usize,
}

impl Pace {
    fn begin() -> Pace {
        Pace { began: Instant::now(), came: 0 }
    }

    /// By when more has to come.
    fn deadline(&self) -> Instant {
        let came = u32::try_from(self.came).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * came / SLOWEST;
        (Instant::now() + STALL).min(self.began + STALL + earned)
    }
}

/// The next piece of data; trailers are passed over.
async fn next(incoming: &mut Incoming, pace: &Pace) -> Result<Option<Bytes>, Unread> {
    let deadline = pace.deadline();
    loop {
        let frame = match timeout_at(deadline, incoming.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => return Err(Unread::Broken),
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}
