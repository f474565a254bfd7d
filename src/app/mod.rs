//! Builds, starts and stops everything, in order; [`administration`] is what is done to a table
//! beside serving it. The only place that names a store.
//!
//! Up: listen and answer probes, open the store, open the keyspace, sweep what is overdue, follow the
//! feed, serve. Down: not ready, stop accepting, drain, close the store, send the last traces. A
//! shutdown that begins while something is being opened ends that.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::Instant;

pub mod administration;
#[cfg(feature = "lambda")]
mod lambda;
mod open;
pub use open::StartError;
use open::{Opened, open_embedded, open_keyspace, open_table};

use crate::config::{Config, Runtime, Scheme, StoreConfig, TlsConfig, TlsVersion};
use crate::keyspace::Keyspace;
use crate::shutdown::{Pace, Shutdown};
use crate::store::{Consistency, Store};
use crate::tls::{self, MinVersion, Tls};
use crate::traces;
use crate::v2http::{self, Cors, Door, Drained, Listener, LogConfig, SetLogLevel};

/// How long a connection may be idle. Longer than the idle timeout of load balancers (60 s), which
/// must be the first to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the larger request bodies may take in memory together.
const BODY_BUDGET_BYTES: usize = 128 << 20;

/// How long the last spans may take on their way.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The keyspace answers within the request timeout; this is how much later the HTTP side gives up
/// on it.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Runs the server until it is told to stop.
pub async fn run(config: Config, set_log_level: SetLogLevel) -> Result<(), StartError> {
    #[cfg(feature = "lambda")]
    if config.runtime == Runtime::Lambda {
        return Box::pin(lambda::run(&config, set_log_level)).await;
    }
    let pace = Pace { delay: config.observe.shutdown_delay, grace: config.shutdown_timeout };
    let shutdown = Shutdown::new(pace);
    shutdown.on_signals().map_err(|error| StartError::new("cannot handle signals", error))?;
    let url = config.observe.traces_url.as_ref();
    let exporting = url.map(|url| traces::start(url.as_str())).transpose();
    let exporting = exporting.map_err(|error| StartError::new("--otlp-endpoint", error))?;
    let listeners = listen(&config).await?;
    let serving = Serving { config: &config, listeners, set_log_level, shutdown: shutdown.clone() };
    // In a place of its own, or its type grows too deep for the compiler.
    let result = Box::pin(serve_store(serving)).await;
    if let Some(exporting) = exporting {
        let left = shutdown.deadline().saturating_duration_since(Instant::now());
        exporting.finish(left.min(FLUSH_LIMIT)).await;
    }
    result
}

/// Tells whoever waits for the server why it does not come, where that is AWS Lambda.
pub async fn report_failed_start(why: &str) {
    #[cfg(feature = "lambda")]
    v2http::lambda::report_failed_start(why).await;
    #[cfg(not(feature = "lambda"))]
    let _ = why;
}

/// What serving needs beside a store.
struct Serving<'a> {
    config: &'a Config,
    listeners: Vec<Listener>,
    set_log_level: SetLogLevel,
    shutdown: Shutdown,
}

async fn serve_store(serving: Serving<'_>) -> Result<(), StartError> {
    match &serving.config.store {
        StoreConfig::Embedded { data_dir } => {
            let kept = OnceLock::new();
            let opening = async {
                let store = open_embedded(data_dir).await?;
                Ok(Opened {
                    floor: store.highest_index(),
                    read_consistency: Consistency::Strong,
                    store: kept.get_or_init(|| store).clone(),
                })
            };
            let result = serve(serving, opening).await;
            if let Some(store) = kept.into_inner() {
                store.close().await;
            }
            result
        }
        StoreConfig::DynamoDb(table) => serve(serving, open_table(table)).await,
    }
}

/// Opens the store and the keyspace in it, and serves it. What listens answers probes meanwhile.
async fn serve<S: Store>(
    serving: Serving<'_>,
    opening: impl Future<Output = Result<Opened<S>, StartError>>,
) -> Result<(), StartError> {
    let Serving { config, listeners, set_log_level, shutdown } = serving;
    let bound = Bound::of(&listeners);
    let looks = listeners.iter().find_map(|listener| listener.tls.clone());
    let looks = looks.map(|tls| tokio::spawn(async move { tls.keep_looking().await }));
    let (is_open, coming) = oneshot::channel();
    let keys = async {
        match coming.await {
            Ok(keyspace) => keyspace,
            // It will not come any more, and the reason is told elsewhere.
            Err(_) => std::future::pending().await,
        }
    };
    let of_http = http_config(config, config.advertised(&bound.clients), set_log_level);
    let http = tokio::spawn(v2http::serve(listeners, keys, of_http, shutdown.clone()));
    let keyspace = tokio::select! {
        biased;
        () = shutdown.begun() => None,
        opened = async {
            let keyspace = open_keyspace(config, opening.await?).await?;
            refuse_insecure(config, &bound, &keyspace).await?;
            Ok(keyspace)
        } => Some(opened?),
    };
    let Some(keyspace) = keyspace else {
        tracing::info!("stopped before it was open");
        return said(http.await);
    };
    let sweeper = tokio::spawn({
        let keyspace = Arc::clone(&keyspace);
        async move { keyspace.keep_sweeping().await }
    });
    keyspace.follow_from_the_start().await;
    let announced = announce(config, &bound);
    // Where the receiver is gone, the shutdown was faster.
    let _ = is_open.send(Arc::clone(&keyspace));
    if announced.is_err() {
        shutdown.begin();
    }
    let served = said(http.await);
    if let Some(looks) = looks {
        looks.abort();
    }
    sweeper.abort();
    // Only when it has ended is nothing of it under way any more.
    let _aborted = sweeper.await;
    keyspace.leave().await;
    announced.map_err(|error| StartError::new("cannot write to standard output", error))?;
    served
}

/// Refuses to serve whoever comes by, unless that is what was asked for. Only now is it known
/// whether users have to show who they are; nothing but probes was answered until here.
async fn refuse_insecure<S: Store>(
    config: &Config,
    bound: &Bound,
    keyspace: &Keyspace<S>,
) -> Result<(), StartError> {
    let insecure = config.insecure_urls(&bound.clients);
    if insecure.is_empty() || config.allow_insecure_listen {
        return Ok(());
    }
    if keyspace.has_auth() {
        tracing::warn!(
            ?insecure,
            "passwords go over the network as they are: these URLs have no TLS"
        );
        return Ok(());
    }
    keyspace.leave().await;
    let what = format!(
        "anybody who reaches {} could read and write everything: it has no TLS, and users and roles \
         are off. Use https URLs (--cert-file, --key-file), or listen on 127.0.0.1, or enable users \
         and roles through a server that does (etcdctl auth enable), or, on a network where \
         everybody may, say --allow-insecure-listen",
        insecure.join(", ")
    );
    Err(StartError::new("--listen-client-urls", what))
}

fn http_config(
    config: &Config,
    client_urls: Vec<String>,
    set_log_level: SetLogLevel,
) -> v2http::Config {
    v2http::Config {
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
        stands_still: config.runtime == Runtime::Lambda,
        log: LogConfig {
            slow_request: config.observe.slow_request,
            audit: config.observe.audit_log,
        },
        set_log_level,
    }
}

/// Says how serving ended.
fn said(ended: Result<Drained, JoinError>) -> Result<(), StartError> {
    match ended {
        Ok(Drained::Whole) => tracing::info!("stopped"),
        Ok(Drained::Cut { connections, writes }) => {
            tracing::warn!(connections, writes, "stopped with requests under way");
        }
        Err(panicked) => return Err(StartError::new("serving broke off", panicked)),
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

/// Where it listens, in the order of the flags.
struct Bound {
    clients: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
}

impl Bound {
    fn of(listeners: &[Listener]) -> Bound {
        let at = |door: Door| {
            let listeners = listeners.iter().filter(|listener| listener.door == door);
            listeners.filter_map(|listener| listener.socket.local_addr().ok()).collect()
        };
        Bound { clients: at(Door::Clients), metrics: at(Door::Metrics) }
    }
}

/// Says where it listens: in the log, and in the one line on standard output, for whoever started
/// the program and waits for it.
fn announce(config: &Config, bound: &Bound) -> io::Result<()> {
    for hint in config.hints(&bound.clients) {
        tracing::warn!("{hint}");
    }
    let client_urls = config.advertised(&bound.clients);
    tracing::info!(bound = ?bound.clients, ?client_urls, name = config.name, "serving");
    let mut out = io::stdout().lock();
    write!(out, "listening on")?;
    for (url, address) in config.listen.iter().zip(&bound.clients) {
        write!(out, " {}", url.scheme.url(*address))?;
    }
    for (url, address) in config.listen_metrics.iter().zip(&bound.metrics) {
        write!(out, ", metrics on {}", url.scheme.url(*address))?;
    }
    writeln!(out)?;
    out.flush()
}
