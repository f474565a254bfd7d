//! A DynamoDB endpoint that misbehaves, in front of a real engine.
//!
//! ```text
//! gateway --> Proxy --> engine        one Proxy a gateway: "this gateway's calls" are "this Proxy's"
//! ```
//!
//! An HTTP/1.1 server on loopback that forwards what it gets. Each call that reads or writes data, or
//! reads a stream, draws a fault from the current [`Odds`], which may be changed at any time; calls about
//! tables pass. A test can also open a window of silence or of refused connections itself,
//! and can [hold](Proxy::hold) one write on its way.
//!
//! Not here: what a gateway should make of it. Invariant: a call is carried out on a task of its
//! own, so that what DynamoDB has been sent does not depend on whether its sender still lives.

pub(crate) mod call;
mod deliver;
mod hold;
mod memory;
mod reply;
mod serve;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::fault::{Counts, Odds};
use super::policy::Guard;
use hold::Arming;
pub use hold::{Held, Hold, Moment};
use memory::Memory;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

type ToEngine = Client<HttpConnector, http_body_util::Full<Bytes>>;

/// A running endpoint. It ends with its handle.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Keeps the port while no connection is accepted.
    _keeper: TcpSocket,
    runtime: Option<Runtime>,
}

/// What all connections of an endpoint share.
#[derive(Debug)]
struct Shared {
    engine: String,
    client: ToEngine,
    state: Mutex<State>,
    /// Until when connections are refused.
    refusing: watch::Sender<Instant>,
}

#[derive(Debug)]
struct State {
    random: Rng,
    odds: Odds,
    counts: Counts,
    memory: Memory,
    silent_until: Instant,
    armed: Option<Arming>,
    guard: Option<Guard>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, until: Instant) {
        self.refusing.send_modify(|known| *known = until.max(*known));
    }
}

impl Proxy {
    /// Starts an endpoint without faults in front of the engine at `engine` (host:port).
    ///
    /// # Errors
    /// No port could be had.
    pub fn start(engine: &str, seed: u64) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let entered = runtime.enter();
        let keeper = socket(0)?;
        let address = keeper.local_addr()?;
        let now = Instant::now();
        let state = State {
            random: Rng::with_seed(seed),
            odds: Odds::fair(),
            counts: Counts::default(),
            memory: Memory::default(),
            silent_until: now,
            armed: None,
            guard: None,
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            state: Mutex::new(state),
            refusing: watch::Sender::new(now),
        });
        let listener = socket(address.port())?.listen(BACKLOG)?;
        runtime.spawn(serve::accept(Arc::clone(&shared), listener, address.port()));
        drop(entered);
        Ok(Self { shared, address, _keeper: keeper, runtime: Some(runtime) })
    }

    /// Its URL, for a gateway's `--endpoint-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, only what this guard allows is forwarded; the rest is denied, as IAM does.
    pub fn guard(&self, guard: Guard) {
        self.shared.state().guard = Some(guard);
    }

    /// The guard, with what it saw so far.
    #[must_use]
    pub fn guarded(&self) -> Option<Guard> {
        self.shared.state().guard.clone()
    }

    /// From now on, faults come with these odds.
    pub fn set(&self, odds: Odds) {
        self.shared.state().odds = odds;
    }

    /// What was injected so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// For so long from now on, nothing is answered or applied.
    pub fn fall_silent(&self, time: Duration) {
        self.shared.state().silent_until = Instant::now() + time;
    }

    /// For so long from now on, connections are refused; those that are open are cut.
    pub fn refuse_connections(&self, time: Duration) {
        self.shared.refuse(Instant::now() + time);
    }

    /// No faults, no silence and no refusals from now on. What is delayed already still comes.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.odds = Odds::fair();
        state.silent_until = Instant::now();
        self.shared.refusing.send_modify(|until| *until = Instant::now());
    }

    /// Holds one of the next writes. It replaces a hold that has not come yet.
    #[must_use]
    pub fn hold(&self, hold: Hold) -> Held {
        let (arming, held) = Arming::new(hold);
        self.shared.state().armed = Some(arming);
        held
    }

    /// Holds nothing that is not held already.
    pub fn disarm(&self) {
        self.shared.state().armed = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A socket at this port of the loopback interface, beside the one that keeps it.
fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket)
}
