//! Listeners and connections: accept, serve, drain.
//!
//! A connection is accepted only when there is a permit for it, so that too many clients wait in
//! the kernel's queue instead of in our memory. At the end nothing new is accepted, requests that
//! are being answered get their answer, writes run to their end, and what is not done by the
//! deadline is cut off.
//!
//! Handshakes of TLS run beside each other and beside the accepting, at most so many at once; then
//! the next ones wait in the kernel's queue, while plain listeners and open connections go on.
//! Listeners for metrics have connections of their own, so that probes are answered when clients
//! have taken all of theirs.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::RequestBody;
use super::head::{self, Alarm, HeadWatch, Late, Telling};
use super::linger::Lingering;
use super::socket::{self, Door, Peer, Socket};
use super::starting::Opening;
use super::waiting::{self, Handover};
use super::watch::Lines;
use super::{Api, Config, route};
use crate::keyspace::Keys;
use crate::metrics;
use crate::shutdown::Shutdown;
use crate::tls::Tls;

/// The longest request head, and the most that is read from a socket at once. A target has at
/// most 64 KiB (the `http` crate counts it in 16 bits), the rest is for what proxies add.
const HEAD_BYTES: usize = 256 << 10;

/// How long to wait after an error that says the process has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections the listeners for metrics may have open together.
const METRICS_CONNECTIONS: usize = 64;

/// A bound socket, and what is served there.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What TLS uses there; `None`: it is plain.
    pub tls: Option<Arc<Tls>>,
    /// What is served.
    pub door: Door,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request got its answer and every write came to its end.
    Whole,
    /// The deadline came first: so many connections and writes were cut off.
    Cut {
        /// Connections with a request that had no answer yet.
        connections: usize,
        /// Writes whose end was not seen.
        writes: usize,
    },
}

/// What every connection needs.
struct Server<K> {
    opening: Opening<K>,
    http: http1::Builder,
    idle_timeout: Duration,
    header_timeout: Duration,
    permits: Arc<Semaphore>,
    metrics_permits: Arc<Semaphore>,
    /// For handshakes under way: half of all connections.
    handshakes: Arc<Semaphore>,
    connections: TaskTracker,
    shutdown: Shutdown,
    /// The deadline has passed.
    cut: CancellationToken,
}

/// Serves until the shutdown begins, and then drains within its grace. Until there are `keys`, only
/// probes are answered.
pub async fn serve<K: Keys>(
    listeners: Vec<Listener>,
    keys: impl Future<Output = Arc<K>>,
    config: Config,
    shutdown: Shutdown,
) -> Drained {
    let mut http = http1::Builder::new();
    // How long a connection is idle is measured here, by `head`.
    http.header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        // Scripts look for `X-Etcd-Index`, in etcd's spelling.
        .title_case_headers(true);
    let server = Arc::new(Server {
        permits: Arc::new(Semaphore::new(config.max_connections)),
        metrics_permits: Arc::new(Semaphore::new(METRICS_CONNECTIONS)),
        handshakes: Arc::new(Semaphore::new(config.max_connections.div_ceil(2))),
        connections: TaskTracker::new(),
        cut: CancellationToken::new(),
        opening: Opening::new(config.request_timeout, config.log),
        http,
        idle_timeout: config.idle_timeout,
        header_timeout: config.header_timeout,
        shutdown: shutdown.clone(),
    });
    let acceptors = TaskTracker::new();
    for listener in listeners {
        acceptors.spawn(accept(Arc::clone(&server), listener));
    }
    acceptors.close();
    let opening = async {
        server.opening.opened(Api::new(keys.await, config, shutdown));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = acceptors.wait() => {}
        () = opening => {}
    }
    drain(&server).await
}

async fn drain<K: Keys>(server: &Server<K>) -> Drained {
    let deadline = server.shutdown.deadline();
    let none = TaskTracker::new();
    let writes = match server.opening.api() {
        Some(api) => {
            // An answer that goes on for ever is one that ends now.
            api.keys.end_watches();
            &api.writes
        }
        None => &none,
    };
    server.connections.close();
    writes.close();
    let done = async {
        server.connections.wait().await;
        writes.wait().await;
    };
    if timeout_at(deadline, done).await.is_ok() {
        return Drained::Whole;
    }
    let drained = Drained::Cut { connections: server.connections.len(), writes: writes.len() };
    server.cut.cancel();
    server.connections.wait().await;
    drained
}

/// Accepts until the shutdown begins. The listener is closed on return.
async fn accept<K: Keys>(server: Arc<Server<K>>, listener: Listener) {
    let mut stop = pin!(server.shutdown.begun());
    let Listener { socket: listener, tls, door } = listener;
    let permits = match door {
        Door::Clients => &server.permits,
        Door::Metrics => &server.metrics_permits,
    };
    loop {
        let next = async {
            let permit = Arc::clone(permits).acquire_owned().await;
            let handshake = match &tls {
                Some(_) => Some(Arc::clone(&server.handshakes).acquire_owned().await),
                None => None,
            };
            (permit, handshake, listener.accept().await)
        };
        let (permit, handshake, accepted) = tokio::select! {
            biased;
            () = &mut stop => return,
            next = next => next,
        };
        let Ok(permit) = permit else { return };
        match accepted {
            Ok((socket, address)) => {
                // Answers are small and must not wait for the client's acknowledgement of the last one.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let peer = Peer { address, common_name: None, door };
                let open = Open { _permit: permit, _open: metrics::connection_opened() };
                let arrival = Arrival { socket, peer, open };
                let connections = &server.connections;
                match &tls {
                    None => {
                        let client = arrival.client();
                        connections.spawn(serve_connection(Arc::clone(&server), client))
                    }
                    Some(tls) => {
                        let (server, tls) = (Arc::clone(&server), Arc::clone(tls));
                        connections.spawn(welcome(server, tls, arrival, handshake))
                    }
                };
            }
            Err(error) if is_of_one_socket(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about a connection that was gone before it was accepted.
fn is_of_one_socket(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// A connection that was accepted.
struct Arrival {
    socket: TcpStream,
    peer: Peer,
    open: Open,
}

/// What an open connection counts as.
struct Open {
    _permit: OwnedSemaphorePermit,
    _open: metrics::Held,
}

/// A client's connection, and what it counts as.
struct Client {
    socket: Lingering,
    peer: Peer,
    open: Open,
}

impl Arrival {
    fn client(self) -> Client {
        let Arrival { socket, peer, open } = self;
        Client { socket: Lingering::new(Socket::Plain(socket)), peer, open }
    }
}

/// Shakes hands with a client, and serves it. What it holds for that goes with the handshake.
async fn welcome<K: Keys>(
    server: Arc<Server<K>>,
    tls: Arc<Tls>,
    arrival: Arrival,
    handshake: Option<Result<OwnedSemaphorePermit, AcquireError>>,
) {
    let Arrival { socket, mut peer, open } = arrival;
    let stop = server.shutdown.child();
    let shaken = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        shaken = socket::shake_hands(&tls, socket) => shaken,
    };
    drop(handshake);
    match shaken {
        Ok(socket) => {
            peer.common_name = socket.common_name();
            let Peer { address, common_name, .. } = &peer;
            tracing::debug!(client = %address, common_name = common_name.as_deref(), "TLS handshake done");
            let client = Client { socket: Lingering::new(socket), peer, open };
            server.connections.spawn(serve_connection(Arc::clone(&server), client));
        }
        Err(error) => {
            metrics::handshake_failed();
            tracing::debug!(%error, client = %peer.address, "TLS handshake failed");
        }
    }
}

/// Answers requests until the connection ends, or until a watch waits on it, which goes on alone.
async fn serve_connection<K: Keys>(server: Arc<Server<K>>, client: Client) {
    let Client { socket, peer, open } = client;
    let (handover, heads) = (Arc::clone(socket.handover()), Arc::clone(socket.heads()));
    heads.answered();
    let was_used = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        was_used.store(true, Ordering::Relaxed);
        heads.request_came();
        let (server, peer, handover, heads) = (&server, &peer, &handover, &heads);
        async move {
            let may_leave = waiting::may_leave(&request);
            let request = request.map(RequestBody::Coming);
            let mut reply = match server.opening.api() {
                Some(api) => route::answer(api, request, peer).await,
                None => Box::pin(server.opening.answer(request, peer, &server.shutdown)).await,
            };
            reply.body_mut().keep(Telling(Arc::clone(heads)));
            Ok::<_, Infallible>(if may_leave { handover.offer(reply) } else { reply })
        }
    });
    let mut connection = server.http.serve_connection(TokioIo::new(socket), service);
    // Tokens of its own: a connection looks at them at every step, and should meet nobody there.
    let stop = server.shutdown.child();
    let cut = server.cut.child_token();
    let mut alarm = Alarm::new(server.idle_timeout, server.header_timeout);
    let served = tokio::select! {
        biased;
        served = until_served(&mut connection, &handover, &heads, &mut alarm) => served,
        () = stop.cancelled() => {
            // hyper closes idle connections on this, but not those that never had a request.
            Pin::new(&mut connection).graceful_shutdown();
            if !was_used.load(Ordering::Relaxed) {
                return;
            }
            tokio::select! {
                biased;
                served = until_served(&mut connection, &handover, &heads, &mut alarm) => served,
                () = cut.cancelled() => return,
            }
        }
    };
    match served {
        Served::Ended(Ok(())) => {}
        Served::Ended(Err(error)) => tracing::debug!(%error, "connection ended"),
        Served::Waits(lines) => {
            let Parts { io, read_buf, .. } = connection.into_parts();
            let client = Client { socket: io.into_inner().unread(&read_buf), peer, open };
            server.connections.spawn(tell(Arc::clone(&server), client, lines));
        }
        Served::Late(late) => head::close(connection.into_parts().io.into_inner(), late).await,
    }
}

/// How hyper was done with a connection.
enum Served {
    Ended(hyper::Result<()>),
    /// A watch waits on it, and its head is written.
    Waits(Lines),
    /// A request did not come in time.
    Late(Late),
}

async fn until_served<C>(
    connection: &mut C,
    handover: &Handover,
    heads: &HeadWatch,
    alarm: &mut Alarm,
) -> Served
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Served::Ended(ended)),
        Poll::Pending => match handover.take() {
            Some(lines) => Poll::Ready(Served::Waits(lines)),
            None => alarm.poll(heads, cx).map(Served::Late),
        },
    })
    .await
}

/// Tells a watch; then requests are answered again. In a box, for the one begins the other.
fn tell<K: Keys>(
    server: Arc<Server<K>>,
    mut client: Client,
    lines: Lines,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let told = tokio::select! {
            biased;
            told = waiting::tell(&mut client.socket, lines) => told,
            () = server.cut.cancelled() => return,
        };
        match told {
            Ok(()) => {
                server.connections.spawn(serve_connection(Arc::clone(&server), client));
            }
            Err(error) => tracing::debug!(%error, "connection ended while a watch waited"),
        }
    })
}
