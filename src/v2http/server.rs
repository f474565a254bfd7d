//! Listeners and connections: accept, serve, drain.
//!
//! A connection is accepted only when there is a permit for it, so that too many clients wait in
//! the kernel's queue instead of in our memory. At the end nothing new is accepted, requests that
//! are being answered get their answer, writes run to their end, and what is not done by the
//! deadline is cut off.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::linger::Lingering;
use super::starting::Opening;
use super::waiting::{self, Handover};
use super::watch::Lines;
use super::{Api, Config, route};
use crate::keyspace::Keys;
use crate::metrics;
use crate::shutdown::Shutdown;

/// The longest request head, and the most that is read from a socket at once. A target has at
/// most 64 KiB (the `http` crate counts it in 16 bits), the rest is for what proxies add.
const HEAD_BYTES: usize = 256 << 10;

/// How long to wait after an error that says the process has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    shutdown: Shutdown,
    /// The deadline has passed.
    cut: CancellationToken,
}

/// Serves until the shutdown begins, and then drains within its grace. Until there are `keys`, only
/// probes are answered.
pub async fn serve<K: Keys>(
    listeners: Vec<TcpListener>,
    keys: impl Future<Output = Arc<K>>,
    config: Config,
    shutdown: Shutdown,
) -> Drained {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(HEAD_BYTES)
        // Scripts look for `X-Etcd-Index`, in etcd's spelling.
        .title_case_headers(true);
    let server = Arc::new(Server {
        permits: Arc::new(Semaphore::new(config.max_connections)),
        connections: TaskTracker::new(),
        cut: CancellationToken::new(),
        opening: Opening::new(config.request_timeout, config.log),
        http,
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
async fn accept<K: Keys>(server: Arc<Server<K>>, listener: TcpListener) {
    let mut stop = pin!(server.shutdown.begun());
    loop {
        let next = async {
            let permit = Arc::clone(&server.permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut stop => return,
            next = next => next,
        };
        let Ok(permit) = permit else { return };
        match accepted {
            Ok((socket, address)) => {
                let server = Arc::clone(&server);
                let client = Client::new(socket, route::Client { address }, permit);
                server.connections.spawn(serve_connection(Arc::clone(&server), client));
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

/// A client's connection, and what it counts as.
struct Client {
    socket: Lingering,
    who: route::Client,
    _permit: OwnedSemaphorePermit,
    _open: metrics::Held,
}

impl Client {
    fn new(socket: TcpStream, who: route::Client, permit: OwnedSemaphorePermit) -> Client {
        // Answers are small and must not wait for the client's acknowledgement of the last one.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let _open = metrics::connection_opened();
        Client { socket: Lingering::new(socket), who, _permit: permit, _open }
    }
}

/// Answers requests until the connection ends, or until a watch waits on it, which goes on alone.
async fn serve_connection<K: Keys>(server: Arc<Server<K>>, client: Client) {
    let Client { socket, who, _permit, _open } = client;
    let handover = Arc::clone(socket.handover());
    let was_used = AtomicBool::new(false);
    let service = service_fn(|request| {
        was_used.store(true, Ordering::Relaxed);
        let (server, handover) = (&server, &handover);
        async move {
            let may_leave = waiting::may_leave(&request);
            let reply = match server.opening.api() {
                Some(api) => route::answer(api, request, who).await,
                None => Box::pin(server.opening.answer(request, who, &server.shutdown)).await,
            };
            Ok::<_, Infallible>(if may_leave { handover.offer(reply) } else { reply })
        }
    });
    let mut connection = server.http.serve_connection(TokioIo::new(socket), service);
    // Tokens of its own: a connection looks at them at every step, and should meet nobody there.
    let stop = server.shutdown.child();
    let cut = server.cut.child_token();
    let served = tokio::select! {
        biased;
        served = until_served(&mut connection, &handover) => served,
        () = stop.cancelled() => {
            // hyper closes idle connections on this, but not those that never had a request.
            Pin::new(&mut connection).graceful_shutdown();
            if !was_used.load(Ordering::Relaxed) {
                return;
            }
            tokio::select! {
                biased;
                served = until_served(&mut connection, &handover) => served,
                () = cut.cancelled() => return,
            }
        }
    };
    match served {
        Served::Ended(Ok(())) => {}
        Served::Ended(Err(error)) => tracing::debug!(%error, "connection ended"),
        Served::Waits(lines) => {
            let Parts { io, read_buf, .. } = connection.into_parts();
            let client = Client { socket: io.into_inner().unread(&read_buf), who, _permit, _open };
            server.connections.spawn(tell(Arc::clone(&server), client, lines));
        }
    }
}

/// How hyper was done with a connection.
enum Served {
    Ended(hyper::Result<()>),
    /// A watch waits on it, and its head is written.
    Waits(Lines),
}

async fn until_served<C>(connection: &mut C, handover: &Handover) -> Served
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Served::Ended(ended)),
        Poll::Pending => handover.take().map_or(Poll::Pending, |l| Poll::Ready(Served::Waits(l))),
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
