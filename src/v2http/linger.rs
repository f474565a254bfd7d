//! A connection's socket, as hyper sees it: one that is closed so that its last answer arrives.
//!
//! Where a request is refused before its body was read, closing at once would make the kernel
//! send a reset for what still comes in, and the client would lose the answer. So a closing
//! connection first says that it is done, and throws away what comes for a moment, as Go's server
//! does (net/http, `closeWriteAndWait`).
//!
//! It also goes to and fro between hyper and the task of a waiting watch: it keeps what was read
//! too early, and tells of it when hyper has written all that it had.
//!
//! Under it is a plain socket or one under TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::head::HeadWatch;
use super::socket::Socket;
use super::waiting::Handover;

/// How long the client is listened to after the last answer, and after what it sends then.
const LINGER: Duration = Duration::from_millis(500);

/// How long in all: a large body that was refused may still be on its way.
const LINGER_LONGEST: Duration = Duration::from_secs(5);

/// How much is read of what a client sends while its watch waits. Beyond it nobody listens, and so
/// nobody notices whether it left.
const EARLY_BYTES: usize = 8 << 10;

/// A socket that lingers when it is shut down.
#[derive(Debug)]
pub(super) struct Lingering {
    socket: Socket,
    /// Set once our side is closed: when the other one is as well, and when at the latest.
    until: Option<(Pin<Box<Sleep>>, Instant)>,
    /// What was read before its turn, and is to be read first.
    early: Vec<u8>,
    /// Whom to tell that all is written.
    handover: Arc<Handover>,
    /// Whom to tell that something came or went.
    heads: Arc<HeadWatch>,
}

impl Lingering {
    pub(super) fn new(socket: Socket) -> Lingering {
        let (handover, heads) = (Arc::default(), Arc::new(HeadWatch::new()));
        Lingering { socket, until: None, early: Vec::new(), handover, heads }
    }

    /// What knows for how long nothing came, or only a part.
    pub(super) fn heads(&self) -> &Arc<HeadWatch> {
        &self.heads
    }

    /// Where the watches go that wait on this connection.
    pub(super) fn handover(&self) -> &Arc<Handover> {
        &self.handover
    }

    /// The same, with what somebody read from it and did not use.
    pub(super) fn unread(mut self, early: &[u8]) -> Lingering {
        self.early.splice(..0, early.iter().copied());
        self
    }

    /// Ready when the client has left. What it sends meanwhile is kept.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.early.len() < EARLY_BYTES {
            let mut scratch = [0; 1024];
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.early.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..count]);
            self.early.drain(..count);
            self.heads.bytes_came();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.heads.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.socket).poll_write(cx, buf))?;
        self.heads.bytes_went();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, bufs))?;
        self.heads.bytes_went();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        // hyper flushes when its own buffer is empty, and now TLS's is as well.
        self.handover.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Lingering { socket, until, .. } = self.get_mut();
        let (until, latest) = match until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
                let latest = Instant::now() + LINGER_LONGEST;
                until.insert((Box::pin(sleep(LINGER)), latest))
            }
        };
        let mut scratch = [0; 4096];
        while until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            // Below TLS, for nobody wants to know what it was.
            match ready!(Pin::new(socket.transport()).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    until.as_mut().reset((Instant::now() + LINGER).min(*latest));
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
