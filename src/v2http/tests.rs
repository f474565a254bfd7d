//! The server on a real socket, with a keyspace that plays along.
//!
//! What is expected here was seen on the wire of an etcd 3.4.23; where this server differs on
//! purpose, the test says so.

use std::future::ready;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tracing::Level;

use super::fake::FakeKeys;
use super::{Config, Cors, Door, Drained, Listener, LogConfig, serve};
use crate::shutdown::{Pace, Shutdown};
use crate::tls::Tls;
use crate::v2::Operation;

mod answers;
mod connections;
mod limits;
mod logs;
mod secure;
mod watches;

/// One listener without TLS, as most tests need it.
const PLAIN: [(Option<Arc<Tls>>, Door); 1] = [(None, Door::Clients)];

/// A server that runs, and what it runs on.
struct Running {
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
    keys: Arc<FakeKeys>,
    shutdown: Shutdown,
    log_levels: Arc<Mutex<Vec<Level>>>,
    server: JoinHandle<Drained>,
}

/// How a server under test is set up.
struct Setup {
    value_bytes: usize,
    cors: Cors,
    max_connections: usize,
    header_timeout: Duration,
    idle_timeout: Duration,
    requests_per_second_per_client: Option<NonZeroU32>,
    request_timeout: Duration,
    watch_timeout: Option<Duration>,
    expose_request_units: bool,
    grace: Duration,
    log: LogConfig,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            value_bytes: 10 << 20,
            cors: Cors::Any,
            max_connections: 100,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            requests_per_second_per_client: None,
            request_timeout: Duration::from_secs(30),
            watch_timeout: None,
            expose_request_units: false,
            grace: Duration::from_secs(30),
            log: LogConfig::default(),
        }
    }
}

impl Setup {
    async fn start(self) -> Running {
        let keys = Arc::new(FakeKeys::new(self.value_bytes));
        self.start_on(PLAIN, Arc::clone(&keys), ready(keys)).await
    }

    /// With several listeners, of which the first one has the address.
    async fn start_at<const N: usize>(self, doors: [(Option<Arc<Tls>>, Door); N]) -> Running {
        let keys = Arc::new(FakeKeys::new(self.value_bytes));
        self.start_on(doors, Arc::clone(&keys), ready(keys)).await
    }

    /// With keys that come later.
    async fn start_with(
        self,
        coming: impl Future<Output = Arc<FakeKeys>> + Send + 'static,
    ) -> Running {
        let keys = Arc::new(FakeKeys::new(self.value_bytes));
        self.start_on(PLAIN, keys, coming).await
    }

    async fn start_on<const N: usize>(
        self,
        doors: [(Option<Arc<Tls>>, Door); N],
        keys: Arc<FakeKeys>,
        coming: impl Future<Output = Arc<FakeKeys>> + Send + 'static,
    ) -> Running {
        let mut listeners = Vec::new();
        for (tls, door) in doors {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listeners.push(Listener { socket, tls, door });
        }
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.socket.local_addr().unwrap()).collect();
        let shutdown = Shutdown::new(Pace { delay: Duration::ZERO, grace: self.grace });
        let log_levels = Arc::<Mutex<Vec<Level>>>::default();
        let set_levels = Arc::clone(&log_levels);
        let config = Config {
            name: "a".to_owned(),
            client_urls: vec!["http://a:2379".to_owned(), "http://b:2379".to_owned()],
            cors: self.cors,
            max_connections: self.max_connections,
            body_budget_bytes: 0,
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            requests_per_second_per_client: self.requests_per_second_per_client,
            request_timeout: self.request_timeout,
            watch_timeout: self.watch_timeout,
            expose_request_units: self.expose_request_units,
            stands_still: false,
            log: self.log,
            set_log_level: Arc::new(move |level| set_levels.lock().unwrap().push(level)),
        };
        let serving = serve(listeners, coming, config, shutdown.clone());
        let server = tokio::spawn(serving);
        Running { address: addresses[0], addresses, keys, shutdown, log_levels, server }
    }
}

/// An answer, as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(given, _)| *given == name).map(|(_, value)| value)
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a connection of its own; `head` needs no Host and no end.
    async fn ask_raw(&self, head: &str, body: &str) -> Answer {
        let mut socket = self.connect().await;
        let text = format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n{body}");
        socket.write_all(text.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await
    }

    async fn ask(&self, method: &str, target: &str) -> Answer {
        self.ask_raw(&format!("{method} {target} HTTP/1.1"), "").await
    }

    async fn send_form(&self, method: &str, target: &str, form: &str) -> Answer {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded",
            form.len()
        );
        self.ask_raw(&head, form).await
    }

    /// The values that were written, in order.
    fn values(&self) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        for write in self.keys.written() {
            if let Operation::Set(draft) = write.operation {
                values.push(draft.value.as_bytes().to_vec());
            }
        }
        values
    }
}

async fn read_to_end(socket: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or(0), head: head.to_owned(), body: body.to_owned() }
}

/// Reads until the text has come.
async fn read_until(socket: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "the end came before {text}");
    }
    String::from_utf8(seen).unwrap()
}
