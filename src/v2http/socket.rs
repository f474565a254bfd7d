//! A client's socket, plain or under TLS, and who is at its other end.
//!
//! Whoever reads and writes does not notice which it is. A handshake is bounded in time, and a
//! connection whose handshake is under way has no memory of hyper's yet.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{self, Tls};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who sends requests on a connection, and where it came in.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address; that of a load balancer where one is in between.
    pub(super) address: SocketAddr,
    /// The common name of its certificate, which is one of a trusted CA.
    pub(super) common_name: Option<Arc<str>>,
    /// What it may ask for there.
    pub(super) door: Door,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everything: a client URL.
    Clients,
    /// What operators and probes ask for.
    Metrics,
}

/// A socket that bytes of HTTP can be read from.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    /// In a box, for its state is large and few move it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// The socket below TLS.
    pub(super) fn transport(&mut self) -> &mut TcpStream {
        match self {
            Socket::Plain(socket) => socket,
            Socket::Tls(stream) => stream.get_mut().0,
        }
    }

    /// The common name of the certificate that the client showed.
    pub(super) fn common_name(&self) -> Option<Arc<str>> {
        match self {
            Socket::Plain(_) => None,
            Socket::Tls(stream) => {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                tls::common_name(certificate).map(Arc::from)
            }
        }
    }
}

/// Makes a socket one under TLS.
pub(super) async fn shake_hands(tls: &Tls, socket: TcpStream) -> io::Result<Socket> {
    let handshake = TlsAcceptor::from(tls.current()).accept(socket);
    match timeout(HANDSHAKE, handshake).await {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream?))),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The address that a client counts under: an IPv4 address is one in any spelling.
pub(super) fn address_of(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
