//! How long a connection may be idle, and how long the head of a request may take from its first
//! byte on.
//!
//! hyper has one limit for both, which has to be long: a load balancer must be the first to close.
//! A client that sends its head byte by byte is cut off much sooner here, and told so. The longer
//! time goes for a head that began to come before the request in front of it was answered.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::linger::Lingering;
use crate::metrics;

/// How long a client that was too slow may take for the answer that says so.
const GOODBYE: Duration = Duration::from_secs(1);

const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 20\r\n\
    Connection: close\r\n\
    \r\n\
    408 Request Timeout\n";

/// Where a connection is between two requests.
#[derive(Debug)]
pub(super) struct HeadWatch(Mutex<Reading>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing has come or gone since.
    Silence(Instant),
    /// Some of a head came first at this time.
    Head(Instant),
    /// The head is whole, and its answer is not.
    Request,
}

impl HeadWatch {
    pub(super) fn new() -> HeadWatch {
        HeadWatch(Mutex::new(Reading::Silence(Instant::now())))
    }

    /// Bytes came from the client.
    pub(super) fn bytes_came(&self) {
        let mut reading = self.lock();
        if let Reading::Silence(_) = *reading {
            *reading = Reading::Head(Instant::now());
        }
    }

    /// Bytes went to the client: a large answer may be on its way for long.
    pub(super) fn bytes_went(&self) {
        let mut reading = self.lock();
        if let Reading::Silence(_) = *reading {
            *reading = Reading::Silence(Instant::now());
        }
    }

    /// A head is whole.
    pub(super) fn request_came(&self) {
        *self.lock() = Reading::Request;
    }

    /// A request has its whole answer, so that what comes next is the next one.
    pub(super) fn answered(&self) {
        *self.lock() = Reading::Silence(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is told bit by bit, and over when this is dropped.
#[derive(Debug)]
pub(super) struct Telling(pub(super) Arc<HeadWatch>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Any request.
    Request,
    /// The rest of a head.
    Head,
}

/// The alarm for what takes too long.
#[derive(Debug)]
pub(super) struct Alarm {
    idle: Duration,
    head: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(super) fn new(idle: Duration, head: Duration) -> Alarm {
        Alarm { idle, head, timer: None }
    }

    /// Ready when something is late. To be asked after each look at the connection.
    pub(super) fn poll(&mut self, watch: &HeadWatch, cx: &mut Context<'_>) -> Poll<Late> {
        let reading = *watch.lock();
        let (at, late) = match reading {
            Reading::Silence(since) => (since + self.idle, Late::Request),
            Reading::Head(since) => (since + self.head, Late::Head),
            Reading::Request => return Poll::Pending,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| late)
    }
}

/// Closes a connection, after a word on why where the client had begun to speak.
pub(super) async fn close(mut socket: Lingering, late: Late) {
    let goodbye = async {
        if late == Late::Head {
            metrics::head_late();
            socket.write_all(TOO_LATE).await?;
            socket.flush().await?;
        }
        socket.shutdown().await
    };
    match timeout(GOODBYE, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client that was late has left"),
        Err(_) => tracing::debug!("a client that was late does not read either"),
    }
}
