//! The HTTP side: etcd's v2 API, version 3.4, on the wire.
//!
//! hyper lives here and nowhere else. This module knows requests, answers and connections; what
//! a request does to the tree it leaves to a [`Keys`]. It holds no state that matters: whatever a
//! client is told comes from the keyspace or from the configuration.
//!
//! A request goes `server` (connection, by `socket`) -> `route` (path, CORS, `request_log`) -> a handler
//! (`keys`, `watch`, `cluster`, `stats`, `health`, `admin`), which reads `params` and answers by `reply`.
//! A watch that has to wait is then taken off hyper, by `waiting`, until it is over. In AWS Lambda `lambda`
//! stands in the place of `server`.

mod admin;
mod auth;
mod body;
mod cluster;
mod form;
mod head;
mod health;
mod json;
mod keys;
#[cfg(feature = "lambda")]
pub mod lambda;
mod linger;
mod media_type;
mod params;
mod path;
pub mod probe;
mod rate;
mod reply;
mod request_log;
mod route;
mod server;
mod socket;
mod starting;
mod stats;
mod waiting;
mod watch;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::keyspace::Keys;
use crate::shutdown::Shutdown;
use crate::v2::UnixMs;

pub use request_log::LogConfig;
pub use server::{Drained, Listener, serve};
pub use socket::Door;

/// How the HTTP side is set up.
#[derive(Clone)]
pub struct Config {
    /// The name of the one member that every gateway shows itself as.
    pub name: String,
    /// The URLs that clients are told to use: `/v2/members`, `/v2/machines`.
    pub client_urls: Vec<String>,
    /// Which origins a browser may come from.
    pub cors: Cors,
    /// How many connections may be open; more wait to be accepted.
    pub max_connections: usize,
    /// What all request bodies over 64 KiB may take in memory together.
    pub body_budget_bytes: usize,
    /// How long a request's head may take from its first byte on.
    pub header_timeout: Duration,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// How many requests below `/v2` a client may send in a second; `None`: any number.
    pub requests_per_second_per_client: Option<NonZeroU32>,
    /// How long a client waits for an answer at most. A write goes on to its end all the same.
    pub request_timeout: Duration,
    /// How long a watch may have nothing to say until it is ended; `None`: for ever.
    pub watch_timeout: Option<Duration>,
    /// Say in each reply of `/v2/keys` what the request consumed.
    pub expose_request_units: bool,
    /// Nothing runs between two requests, so what was missed is made up for in front of the next.
    pub stands_still: bool,
    /// What is logged of requests.
    pub log: LogConfig,
    /// Changes the log level, for `/config/local/log`.
    pub set_log_level: SetLogLevel,
}

/// Changes the log level of the running program.
pub type SetLogLevel = Arc<dyn Fn(tracing::Level) + Send + Sync>;

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("client_urls", &self.client_urls)
            .field("cors", &self.cors)
            .finish_non_exhaustive()
    }
}

/// Which origins a browser may come from (etcd's `--cors`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Any: `*`.
    Any,
    /// These, and no other.
    Origins(Vec<String>),
}

/// What every handler sees.
struct Api<K> {
    keys: Arc<K>,
    config: Config,
    /// The id of the cluster as a header.
    cluster_id: HeaderValue,
    /// The id of the one member, as text.
    member_id: String,
    /// Writes that run to their end though their client left.
    writes: TaskTracker,
    /// What each client sent of late, where that is limited.
    clients: Option<rate::Clients>,
    bodies: body::Budget,
    shutdown: Shutdown,
    started: Instant,
    started_at: UnixMs,
}

impl<K: Keys> Api<K> {
    fn new(keys: Arc<K>, config: Config, shutdown: Shutdown) -> Api<K> {
        let identity = keys.identity();
        // Hexadecimal without leading zeros, as etcd's types.ID prints itself.
        let cluster_id = HeaderValue::from_str(&format!("{:x}", identity.cluster_id));
        Api {
            cluster_id: cluster_id.unwrap_or(HeaderValue::from_static("0")),
            member_id: format!("{:x}", identity.member_id),
            writes: TaskTracker::new(),
            clients: config.requests_per_second_per_client.map(rate::Clients::new),
            bodies: body::Budget::new(config.body_budget_bytes),
            shutdown,
            started: Instant::now(),
            started_at: keys.now(),
            keys,
            config,
        }
    }

    /// Whether load balancers may send clients here, or why not.
    fn ready(&self) -> Result<(), &'static str> {
        if self.shutdown.is_announced() { Err("the server is shutting down") } else { Ok(()) }
    }
}
