//! Builds, starts and stops everything, in order. The only place that names a store.
//!
//! Up: listen, open the store, open the keyspace, sweep what is overdue, follow the feed, serve.
//! Down: stop accepting, drain, close the store. What listens before the store is open only queues
//! clients.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::clock::{Clock, IndexClock, SystemClock, unix_ms};
use crate::config::{
    Config, ReadConsistency, Scheme, StoreConfig, TableConfig, TlsConfig, TlsVersion, WatchKind,
};
use crate::keyspace::{self, Keys, Keyspace, Reach};
use crate::metrics;
use crate::shutdown::Shutdown;
use crate::store::dynamodb::{DynamoDbConfig, DynamoDbStore, Meter, Timing};
use crate::store::embedded::Embedded;
use crate::store::{Consistency, Store};
use crate::tls::{self, MinVersion, Tls};
use crate::v2::EtcdIndex;
use crate::v2http::{self, Cors, Door, Drained, Listener, SetLogLevel};

/// How far two gateways' clocks may be apart.
const MAX_DRIFT_US: u64 = 5 * 60 * 1_000_000;

/// How long a connection may be idle. Longer than the idle timeout of load balancers (60 s), which
/// must be the first to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the larger request bodies may take in memory together.
const BODY_BUDGET_BYTES: usize = 128 << 20;

/// The keyspace answers within the request timeout; this is how much later the HTTP side gives up
/// on it.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Why the program could not start, for a person to read.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StartError {
    fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StartError {
        StartError { what: what.into(), source: source.into() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Runs the server until it is told to stop.
pub async fn run(config: Config, set_log_level: SetLogLevel) -> Result<(), StartError> {
    let shutdown = Shutdown::new(config.shutdown_timeout);
    shutdown.on_signals().map_err(|error| StartError::new("cannot handle signals", error))?;
    let listeners = listen(&config).await?;
    match &config.store {
        StoreConfig::Embedded { data_dir } => {
            let store = open_embedded(data_dir).await?;
            let opened = Opened {
                floor: store.highest_index(),
                read_consistency: Consistency::Strong,
                store: store.clone(),
            };
            let result = serve(&config, opened, listeners, set_log_level, shutdown).await;
            store.close().await;
            result
        }
        StoreConfig::DynamoDb(table) => {
            let opened = Opened {
                floor: EtcdIndex(0),
                read_consistency: match table.read_consistency {
                    ReadConsistency::Strong => Consistency::Strong,
                    ReadConsistency::Eventual => Consistency::Eventual,
                },
                store: open_dynamodb(table).await?,
            };
            serve(&config, opened, listeners, set_log_level, shutdown).await
        }
    }
}

/// A store that is open, and how it is used.
struct Opened<S> {
    store: S,
    read_consistency: Consistency,
    /// All indexes are above this one.
    floor: EtcdIndex,
}

async fn open_dynamodb(table: &TableConfig) -> Result<DynamoDbStore, StartError> {
    let config = DynamoDbConfig {
        table: table.table.clone(),
        keyspace: table.keyspace.clone(),
        region: table.region.clone(),
        endpoint_url: table.endpoint_url.clone(),
        create_table: table.create_table,
        timing: Timing::default(),
    };
    let meter = Meter::new(|call| {
        metrics::dynamodb_called(call.operation, call.units, call.turned_away);
        for (operation, units) in call.spent_on {
            metrics::units_spent(operation, units);
        }
    });
    let opened = DynamoDbStore::open(&config, meter).await;
    opened.map_err(|error| StartError::new(format!("--table {}", table.table), error))
}

async fn open_embedded(data_dir: &Path) -> Result<Embedded, StartError> {
    let dir = data_dir.to_owned();
    let now = Arc::new(|| unix_ms(&SystemClock));
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir, now)).await;
    let opened = opened.map_err(|panicked| StartError::new("--data-dir", panicked))?;
    opened.map_err(|error| StartError::new("--data-dir", error))
}

/// Opens the keyspace in a store, and serves it.
async fn serve<S: Store>(
    config: &Config,
    opened: Opened<S>,
    listeners: Vec<Listener>,
    set_log_level: SetLogLevel,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let Opened { store, read_consistency, floor } = opened;
    let wall: Arc<dyn Clock> = Arc::new(SystemClock);
    let clock = IndexClock::new(wall, MAX_DRIFT_US, floor);
    // Where there may be other gateways on the same table, each has a lane; two in one are rare.
    let clock = match config.store {
        StoreConfig::Embedded { .. } => clock,
        StoreConfig::DynamoDb(_) => clock.in_lane(fastrand::u64(..)),
    };
    let clock = Arc::new(clock);
    let request_timeout = config.request_timeout;
    let watch_window = config.watch.window;
    // On DynamoDB the table's own TTL removes files, and nobody pays for it.
    let scan_for_ttl = matches!(config.store, StoreConfig::Embedded { .. });
    let watch_reach = match config.watch.kind {
        WatchKind::Local | WatchKind::Off => Reach::Own,
        WatchKind::Streams => Reach::All,
    };
    let of_keyspace = keyspace::Config {
        read_consistency,
        max_requests: config.max_concurrent_requests,
        request_timeout,
        watch_window,
        watch_reach,
        scan_for_ttl,
    };
    let keyspace = Keyspace::open(store, clock, of_keyspace)
        .await
        .map_err(|error| StartError::new("cannot open the keyspace", error))?;
    let keyspace = Arc::new(keyspace);
    keyspace
        .sweep()
        .await
        .map_err(|error| StartError::new("cannot remove what is overdue", error))?;
    let sweeper = tokio::spawn({
        let keyspace = Arc::clone(&keyspace);
        async move { keyspace.keep_sweeping().await }
    });
    keyspace.follow_from_the_start().await;
    let served =
        serve_keys(config, Arc::clone(&keyspace), listeners, set_log_level, shutdown).await;
    sweeper.abort();
    // Only when it has ended is nothing of it under way any more.
    let _aborted = sweeper.await;
    keyspace.leave().await;
    served
}

/// Says where it listens, and serves until the end.
async fn serve_keys<K: Keys>(
    config: &Config,
    keys: Arc<K>,
    listeners: Vec<Listener>,
    set_log_level: SetLogLevel,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let bound = bound_at(&listeners, Door::Clients);
    for hint in config.hints(&bound) {
        tracing::warn!("{hint}");
    }
    let looks = listeners.iter().find_map(|listener| listener.tls.clone());
    let looks = looks.map(|tls| tokio::spawn(async move { tls.keep_looking().await }));
    let client_urls = config.advertised(&bound);
    tracing::info!(?bound, ?client_urls, name = config.name, "serving");
    announce(config, &listeners)
        .map_err(|error| StartError::new("cannot write to standard output", error))?;
    let of_http = v2http::Config {
        name: config.name.clone(),
        client_urls,
        cors: config.cors.clone().map_or(Cors::Any, Cors::Origins),
        max_connections: config.max_connections,
        body_budget_bytes: BODY_BUDGET_BYTES,
        header_timeout: config.client_limits.header_timeout,
        idle_timeout: IDLE_TIMEOUT,
        requests_per_second_per_client: config.client_limits.requests_per_second,
        request_timeout: config.request_timeout + ANSWER_SLACK,
        watch_timeout: config.watch.timeout,
        expose_request_units: config.expose_request_units,
        set_log_level,
    };
    let drained = v2http::serve(listeners, keys, of_http, shutdown).await;
    if let Some(looks) = looks {
        looks.abort();
    }
    match drained {
        Drained::Whole => tracing::info!("stopped"),
        Drained::Cut { connections, writes } => {
            tracing::warn!(connections, writes, "stopped with requests under way");
        }
    }
    Ok(())
}

async fn listen(config: &Config) -> Result<Vec<Listener>, StartError> {
    let tls = match &config.tls {
        Some(tls) => Some(Arc::new(load_tls(tls)?)),
        None => None,
    };
    let mut listeners = Vec::new();
    for (flag, door, urls) in [
        ("listen-client-urls", Door::Clients, &config.listen),
        ("listen-metrics-urls", Door::Metrics, &config.listen_metrics),
    ] {
        for url in urls {
            let bound = TcpListener::bind((url.host.as_str(), url.port)).await;
            let what = format!("--{flag}: cannot listen on {}:{}", url.host, url.port);
            let socket = bound.map_err(|error| StartError::new(what, error))?;
            let tls = tls.clone().filter(|_| url.scheme == Scheme::Https);
            listeners.push(Listener { socket, tls, door });
        }
    }
    Ok(listeners)
}

fn load_tls(config: &TlsConfig) -> Result<Tls, StartError> {
    let files = tls::Files {
        cert: config.cert.clone(),
        key: config.key.clone(),
        client_ca: config.client_ca.clone(),
        min_version: match config.min_version {
            TlsVersion::Tls12 => MinVersion::Tls12,
            TlsVersion::Tls13 => MinVersion::Tls13,
        },
    };
    Tls::load(files).map_err(|error| StartError::new("cannot speak TLS", error))
}

/// The addresses of the listeners that serve this, in the order of their flag.
fn bound_at(listeners: &[Listener], door: Door) -> Vec<SocketAddr> {
    let listeners = listeners.iter().filter(|listener| listener.door == door);
    listeners.filter_map(|listener| listener.socket.local_addr().ok()).collect()
}

/// The one line on standard output, for whoever started the program and waits for it.
fn announce(config: &Config, listeners: &[Listener]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "listening on")?;
    for (url, address) in config.listen.iter().zip(bound_at(listeners, Door::Clients)) {
        write!(out, " {}", url.scheme.url(address))?;
    }
    for (url, address) in config.listen_metrics.iter().zip(bound_at(listeners, Door::Metrics)) {
        write!(out, ", metrics on {}", url.scheme.url(address))?;
    }
    writeln!(out)?;
    out.flush()
}
