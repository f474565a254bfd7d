//! A watch that has nothing to say yet, kept without hyper.
//!
//! A gateway may have thousands of them, each for hours, and a connection of hyper's holds more than
//! twenty kilobytes for what it reads and writes. So when hyper has written the head of such an
//! answer, the connection is taken from it; what remains is a socket, the watch and a small task.
//! When the watch is over, hyper gets the connection back.
//!
//! ```text
//! service: offer -> hyper asks for the body -> hyper flushes the head -> take -> tell -> hyper
//! ```
//!
//! Invariant: a watch is taken only when hyper holds nothing of the answer that is not written,
//! and what the client sent beyond its request goes along.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::Body;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, Version};
use tokio::io::AsyncWriteExt as _;

use super::linger::Lingering;
use super::reply::{Payload, Reply};
use super::watch::Lines;

/// How much is written at once at most, but for the last line of it.
const WRITE_BYTES: usize = 64 << 10;

/// Whether a watch that answers this request may leave hyper: its end is then marked by the last
/// chunk, the connection stays, and the next request begins where this one ended.
pub(super) fn may_leave<B: Body>(request: &Request<B>) -> bool {
    let stays = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && request.headers().get_all(CONNECTION).iter().all(stays)
}

/// Where a watch is between the service that offers it and the connection's task that takes it.
#[derive(Debug, Default)]
pub(super) struct Handover(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lines: Option<Lines>,
    /// hyper wants the body: the head is in its buffer.
    is_asked_for: bool,
    /// And the head was written since.
    is_due: bool,
}

impl Handover {
    /// Takes a waiting watch out of an answer; leaves any other answer as it is.
    pub(super) fn offer(self: &Arc<Self>, reply: Reply) -> Reply {
        let (head, payload) = reply.into_parts();
        let payload = match payload {
            Payload::Events(lines) if lines.is_waiting() => {
                *self.lock() = State { lines: Some(lines), ..State::default() };
                Payload::Elsewhere(Arc::clone(self))
            }
            other @ (Payload::Events(_) | Payload::Whole(_) | Payload::Elsewhere(_)) => other,
        };
        Response::from_parts(head, payload)
    }

    /// hyper asks for the body.
    pub(super) fn asked_for(&self) {
        self.lock().is_asked_for = true;
    }

    /// hyper has written all that it had.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        state.is_due = state.is_asked_for;
    }

    /// The watch, once it is due.
    pub(super) fn take(&self) -> Option<Lines> {
        let mut state = self.lock();
        if state.is_due { state.lines.take() } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a watch to its end, as the chunks of a body whose head was written. An error is a client
/// that left, or cannot be written to.
pub(super) async fn tell(socket: &mut Lingering, mut lines: Lines) -> io::Result<()> {
    loop {
        let (chunks, is_over) =
            std::future::poll_fn(|cx| poll_chunks(socket, &mut lines, cx)).await?;
        socket.write_all(&chunks).await?;
        // TLS may have taken what the socket has not.
        socket.flush().await?;
        if is_over {
            return Ok(());
        }
    }
}

/// Waits for chunks, or for the client to leave. Gives also whether they are the last.
fn poll_chunks(
    socket: &mut Lingering,
    lines: &mut Lines,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Vec<u8>, bool)>> {
    let mut chunks = Vec::new();
    while chunks.len() < WRITE_BYTES {
        match Pin::new(&mut *lines).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let line = frame.into_data().unwrap_or_default();
                write!(chunks, "{:X}\r\n", line.len())?;
                chunks.extend_from_slice(&line);
                chunks.extend_from_slice(b"\r\n");
            }
            Poll::Ready(None) => {
                chunks.extend_from_slice(b"0\r\n\r\n");
                return Poll::Ready(Ok((chunks, true)));
            }
            Poll::Pending if chunks.is_empty() => {
                ready!(socket.poll_left(cx))?;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok((chunks, false)))
}
