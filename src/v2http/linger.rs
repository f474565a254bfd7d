//! A connection's socket, as hyper sees it: one that is closed so that its last answer arrives.
//!
//! Where a request is refused before its body was read, closing at once would make the kernel
//! send a reset for what still comes in, and the client would lose the answer. So a closing
//! connection first says that it is done, and throws away what comes for a moment, as Go's server
//! does (net/http, `closeWriteAndWait`).
//!
//! It also goes to and fro between hyper and the task of a waiting watch: it keeps what was read
//! too early, and tells of it when hyper has written all that it had.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::waiting::Handover;

/// How long the client is listened to after the last answer.
const LINGER: Duration = Duration::from_millis(500);

/// How much is read of what a client sends while its watch waits. Beyond it nobody listens, and so
/// nobody notices whether it left.
const EARLY_BYTES: usize = 8 << 10;

/// A socket that lingers when it is shut down.
#[derive(Debug)]
pub(super) struct Lingering {
    socket: TcpStream,
    /// Set once our side is closed.
    until: Option<Pin<Box<Sleep>>>,
    /// What was read before its turn, and is to be read first.
    early: Vec<u8>,
    /// Whom to tell that all is written.
    handover: Arc<Handover>,
}

impl Lingering {
    pub(super) fn new(socket: TcpStream) -> Lingering {
        Lingering { socket, until: None, early: Vec::new(), handover: Arc::default() }
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
            ready!(self.socket.poll_read_ready(cx))?;
            let mut scratch = [0; 1024];
            match self.socket.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => self.early.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
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
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when its own buffer is empty.
        self.handover.flushed();
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Lingering { socket, until, .. } = self.get_mut();
        let until = match until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
                until.insert(Box::pin(sleep(LINGER)))
            }
        };
        let mut scratch = [0; 4096];
        while until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
