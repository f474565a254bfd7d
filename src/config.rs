//! Flags and environment: as typed, and as meant.
//!
//! [`Flags`] is what somebody typed, every flag also an environment variable. [`Config`] is what
//! is meant by it, with every default filled in. All mistakes are told at once, by flag name.
//! Nothing else reads the environment, and only `app` reads the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::Level;

use crate::telemetry::LogFormat;

mod access;
mod administration;
mod client;
mod commands;
mod health;
mod import;
mod lambda;
mod limits;
mod migrate;
mod observe;
mod tls;
mod typed;
mod urls;
mod watch;
use access::AccessFlags;
pub use administration::{Consent, KeyspaceCommand, KeyspacePlace, TableCommand, TablePlace};
pub use client::ClientConfig;
pub use commands::Asked;
pub use health::HealthCheck;
pub use import::{ImportConfig, ImportFrom, ImportMode};
use lambda::LambdaFlags;
pub use lambda::Runtime;
pub use limits::ClientLimits;
use limits::LimitFlags;
pub use migrate::{ExportConfig, InfoConfig, TreePlace, VerifyConfig};
pub use observe::ObserveConfig;
use observe::ObserveFlags;
pub use tls::{TlsConfig, TlsVersion};
use tls::{TlsFlags, TlsMeaning};
use typed::{Readable, Typed, one_of};
pub use urls::{ListenUrl, Scheme};
use watch::WatchFlags;
pub use watch::{WatchConfig, WatchKind};

/// Where clients connect to if nothing else is said.
const DEFAULT_LISTEN: &str = "http://127.0.0.1:2379";

/// The exit code of a configuration that makes no sense (EX_USAGE).
pub const EXIT_USAGE: u8 = 64;

// What is said of the program itself is said in `commands`.
#[derive(Debug, Args)]
struct Flags {
    /// Where clients connect to, comma-separated. Port 0 takes a free one.
    #[arg(long, env = "ETCDYNAMO_LISTEN_CLIENT_URLS", value_name = "URLS")]
    #[arg(default_value = DEFAULT_LISTEN)]
    listen_client_urls: String,

    /// What clients are told to connect to, comma-separated; behind a load balancer, its URL
    /// [default: the listen URLs. Needed with 0.0.0.0, which no client can connect to]
    #[arg(long, env = "ETCDYNAMO_ADVERTISE_CLIENT_URLS", value_name = "URLS")]
    advertise_client_urls: Option<String>,

    /// The name of the member that clients see; the same for all gateways on a table.
    #[arg(long, env = "ETCDYNAMO_NAME", default_value = "default")]
    name: String,

    /// Where the tree is kept: embedded or dynamodb
    /// [default: dynamodb if --table is given, else embedded]
    #[arg(long, env = "ETCDYNAMO_STORE")]
    store: Option<Typed<StoreKind>>,

    /// The directory of the embedded store [default: etcdynamo.data]
    #[arg(long, env = "ETCDYNAMO_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The DynamoDB table.
    #[arg(long, env = "ETCDYNAMO_TABLE")]
    table: Option<String>,

    /// The tree's name in the table, which may hold several [default: default]
    #[arg(long, env = "ETCDYNAMO_KEYSPACE")]
    keyspace: Option<String>,

    /// The AWS region [default: as the AWS SDK finds it]
    #[arg(long, env = "ETCDYNAMO_REGION")]
    region: Option<String>,

    /// Another endpoint than AWS's own: DynamoDB local, a VPC endpoint.
    #[arg(long, env = "ETCDYNAMO_ENDPOINT_URL", value_name = "URL")]
    endpoint_url: Option<String>,

    /// Make the table if it is not there.
    #[arg(long, env = "ETCDYNAMO_CREATE_TABLE")]
    create_table: bool,

    /// How fresh a read is that does not say quorum=true: strong, or eventual for half the cost
    /// [default: strong]
    #[arg(long, env = "ETCDYNAMO_READ_CONSISTENCY", value_name = "CONSISTENCY")]
    read_consistency: Option<Typed<ReadConsistency>>,

    #[command(flatten)]
    access: AccessFlags,

    #[command(flatten)]
    watch: WatchFlags,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    limits: LimitFlags,

    /// The origins that browsers may come from, comma-separated; * for any.
    #[arg(long, env = "ETCDYNAMO_CORS", value_name = "ORIGINS", default_value = "*")]
    cors: String,

    /// How lines of the log look: text or json.
    #[arg(long, env = "ETCDYNAMO_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: Typed<LogFormat>,

    /// The least level that is logged: error, warn, info, debug or trace.
    #[arg(long, env = "ETCDYNAMO_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,

    /// Say in each reply of /v2/keys what the request consumed of DynamoDB's capacity.
    #[arg(long, env = "ETCDYNAMO_EXPOSE_REQUEST_UNITS")]
    expose_request_units: bool,

    /// How many connections may be open at once.
    #[arg(long, env = "ETCDYNAMO_MAX_CONNECTIONS", value_name = "COUNT", default_value = "4096")]
    max_connections: Typed<usize>,

    /// How many reads and writes may be under way at once; more are refused. Watches do not count.
    #[arg(long, env = "ETCDYNAMO_MAX_CONCURRENT_REQUESTS", value_name = "COUNT")]
    #[arg(default_value = "4096")]
    max_concurrent_requests: Typed<usize>,

    /// How long a request may take until its client gets an error.
    #[arg(long, env = "ETCDYNAMO_REQUEST_TIMEOUT_MS", value_name = "MS", default_value = "5000")]
    request_timeout_ms: Typed<u64>,

    /// How long requests that are under way get when the server is stopped.
    #[arg(long, env = "ETCDYNAMO_SHUTDOWN_TIMEOUT_MS", value_name = "MS")]
    #[arg(default_value = "20000")]
    shutdown_timeout_ms: Typed<u64>,

    #[command(flatten)]
    observe: ObserveFlags,

    #[command(flatten)]
    lambda: LambdaFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Embedded,
    Dynamodb,
}

/// How fresh plain reads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadConsistency {
    /// They show every write that was acknowledged before.
    Strong,
    /// They may be behind by a moment, and cost half.
    Eventual,
}

impl Readable for StoreKind {
    fn read(text: &str) -> Result<StoreKind, String> {
        one_of(text)
    }
}

impl Readable for ReadConsistency {
    fn read(text: &str) -> Result<ReadConsistency, String> {
        one_of(text)
    }
}

impl Readable for LogFormat {
    fn read(text: &str) -> Result<LogFormat, String> {
        one_of(text)
    }
}

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<ListenUrl>,
    /// Where to serve metrics beside.
    pub listen_metrics: Vec<ListenUrl>,
    /// What https listeners need.
    pub tls: Option<TlsConfig>,
    /// There are files of TLS, but no https listener.
    tls_is_idle: bool,
    /// What one client may ask for.
    pub client_limits: ClientLimits,
    /// What to advertise; empty: where it listens.
    advertise: Vec<String>,
    /// The member's name.
    pub name: String,
    /// Where the tree is kept.
    pub store: StoreConfig,
    /// The allowed origins; `None`: any.
    pub cors: Option<Vec<String>>,
    /// It never writes to its store.
    pub read_only: bool,
    /// Clients are served beyond this machine without TLS, and without users and roles.
    pub allow_insecure_listen: bool,
    /// How watches behave.
    pub watch: WatchConfig,
    /// How the log looks.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: Level,
    /// Whether replies say what their requests consumed.
    pub expose_request_units: bool,
    /// How many connections may be open.
    pub max_connections: usize,
    /// How many reads and writes may be under way.
    pub max_concurrent_requests: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long the drain may take.
    pub shutdown_timeout: Duration,
    /// What operators see.
    pub observe: ObserveConfig,
    /// What runs the program.
    pub runtime: Runtime,
}

/// Where the tree is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In a local directory.
    Embedded {
        /// The directory.
        data_dir: PathBuf,
    },
    /// In a DynamoDB table.
    DynamoDb(TableConfig),
}

/// Which DynamoDB table, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// The table's name.
    pub table: String,
    /// The tree's name in it.
    pub keyspace: String,
    /// The region; `None`: as the SDK finds it.
    pub region: Option<String>,
    /// The endpoint; `None`: AWS's own.
    pub endpoint_url: Option<String>,
    /// Make the table if it is not there.
    pub create_table: bool,
    /// How fresh plain reads are.
    pub read_consistency: ReadConsistency,
}

/// Why there is no configuration, for a person to read, or what was asked for instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConfig {
    /// What to print.
    pub text: String,
    /// The exit code: 0 for `--help` and `--version`, which are printed on standard output.
    pub exit_code: u8,
}

impl Config {
    /// The URLs to advertise when these addresses are listened on, in the order of `listen`.
    pub fn advertised(&self, bound: &[SocketAddr]) -> Vec<String> {
        if self.advertise.is_empty() {
            let urls = self.listen.iter().zip(bound);
            urls.map(|(url, address)| url.scheme.url(*address)).collect()
        } else {
            self.advertise.clone()
        }
    }

    /// What is allowed but hardly meant.
    pub fn hints(&self, bound: &[SocketAddr]) -> Vec<&'static str> {
        let is_anywhere = bound.iter().any(|address| address.ip().is_unspecified());
        let hidden = self.advertise.is_empty() && is_anywhere;
        let hidden = hidden.then_some(
            "clients are told to connect to an address that means every interface: set \
             --advertise-client-urls to URLs they can reach, or etcdctl and other clients that \
             ask for the members will not work from elsewhere",
        );
        let plain = self.tls_is_idle.then_some(
            "--cert-file, --key-file and --trusted-ca-file are ignored, and clients are served \
             without TLS: no URL of --listen-client-urls or --listen-metrics-urls is https",
        );
        hidden.into_iter().chain(plain).collect()
    }
}

/// All that is wrong, each with the flag it is about.
#[derive(Debug, Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, flag: &str, what: impl fmt::Display) {
        self.0.push(format!("--{flag}: {what}"));
    }

    /// A mistake that no flag is about.
    fn about_environment(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }

    /// The value, or a default after the mistake was noted.
    fn check<T: Default>(&mut self, flag: &str, value: Result<T, String>) -> T {
        value.unwrap_or_else(|what| {
            self.add(flag, what);
            T::default()
        })
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "error: {mistake}")?;
        }
        f.write_str("\nFor more information, try '--help'.\n")
    }
}

impl Flags {
    fn meaning(self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let store = self.store(&mut mistakes);
        let listen = mistakes.check("listen-client-urls", urls::listen(&self.listen_client_urls));
        let advertise = self.advertise_client_urls.as_deref().map(urls::advertise);
        let advertise = mistakes.check("advertise-client-urls", advertise.unwrap_or(Ok(vec![])));
        let tls = self.tls.given();
        let runtime = self.lambda.meaning(&store, &self.listen_client_urls, &tls, &mut mistakes);
        let watch = self.watch.meaning(&store, runtime, &mut mistakes);
        let read_only = self.access.meaning(&store, &watch, &mut mistakes);
        let TlsMeaning { tls, metrics, is_idle } = self.tls.meaning(&listen, &mut mistakes);
        let client_limits = self.limits.meaning(&mut mistakes);
        let observe = self.observe.meaning(&mut mistakes);
        let cors = mistakes.check("cors", cors(&self.cors));
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            mistakes.add("name", "must be a name of printable characters");
        }
        let log_level = self.log_level.parse().unwrap_or_else(|_| {
            let given = &self.log_level;
            let what = format!("'{given}' is none of error, warn, info, debug and trace");
            mistakes.add("log-level", what);
            Level::INFO
        });
        let log_format = self.log_format.or(LogFormat::Text, "log-format", &mut mistakes);
        let max_connections = self.max_connections.or(1, "max-connections", &mut mistakes);
        let max_concurrent_requests =
            self.max_concurrent_requests.or(1, "max-concurrent-requests", &mut mistakes);
        let request_timeout_ms = self.request_timeout_ms.or(1, "request-timeout-ms", &mut mistakes);
        let shutdown_timeout_ms =
            self.shutdown_timeout_ms.or(0, "shutdown-timeout-ms", &mut mistakes);
        for (flag, is_zero) in [
            ("max-connections", max_connections == 0),
            ("max-concurrent-requests", max_concurrent_requests == 0),
            ("request-timeout-ms", request_timeout_ms == 0),
        ] {
            if is_zero {
                mistakes.add(flag, "must be more than 0");
            }
        }
        // What a semaphore can count; more sockets than this no process has.
        let max_connections = max_connections.min(1 << 20);
        let config = Config {
            listen,
            listen_metrics: metrics,
            tls,
            tls_is_idle: is_idle,
            client_limits,
            advertise,
            name: self.name,
            store,
            cors,
            read_only,
            allow_insecure_listen: self.access.allow_insecure_listen,
            watch,
            log_format,
            log_level,
            expose_request_units: self.expose_request_units,
            max_connections,
            max_concurrent_requests,
            request_timeout: Duration::from_millis(request_timeout_ms),
            shutdown_timeout: Duration::from_millis(shutdown_timeout_ms),
            observe,
            runtime,
        };
        if mistakes.0.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn store(&self, mistakes: &mut Mistakes) -> StoreConfig {
        let implied = if self.table.is_some() { StoreKind::Dynamodb } else { StoreKind::Embedded };
        let named = self.store.clone().map(|kind| kind.or(implied, "store", mistakes));
        let is_dynamodb = named.unwrap_or(implied) == StoreKind::Dynamodb;
        let strong = ReadConsistency::Strong;
        let read_consistency = self.read_consistency.clone();
        let read_consistency =
            read_consistency.map_or(strong, |how| how.or(strong, "read-consistency", mistakes));
        if !is_dynamodb {
            self.refuse_table_flags(mistakes);
            let data_dir = self.data_dir.clone().unwrap_or_else(|| "etcdynamo.data".into());
            return StoreConfig::Embedded { data_dir };
        }
        if self.data_dir.is_some() {
            mistakes.add("data-dir", "belongs to the embedded store, and --table to DynamoDB");
        }
        let table = self.table.clone().unwrap_or_default();
        if !is_name(&table, 3, 255) {
            let what = "must be a table's name: 3 to 255 letters, digits, '_', '.' and '-'";
            mistakes.add("table", what);
        }
        let keyspace = self.keyspace.clone().unwrap_or_else(|| "default".to_owned());
        if !is_name(&keyspace, 1, 64) {
            mistakes.add("keyspace", "must be 1 to 64 letters, digits, '_', '.' and '-'");
        }
        if self.region.as_deref() == Some("") {
            mistakes.add("region", "must not be empty");
        }
        if let Some(url) = &self.endpoint_url {
            mistakes.check("endpoint-url", urls::endpoint(url));
        }
        StoreConfig::DynamoDb(TableConfig {
            table,
            keyspace,
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            create_table: self.create_table,
            read_consistency,
        })
    }

    fn refuse_table_flags(&self, mistakes: &mut Mistakes) {
        let given = [
            ("table", self.table.is_some()),
            ("keyspace", self.keyspace.is_some()),
            ("region", self.region.is_some()),
            ("endpoint-url", self.endpoint_url.is_some()),
            ("create-table", self.create_table),
            ("read-consistency", self.read_consistency.is_some()),
        ];
        let what = match &self.store {
            Some(_) => "belongs to DynamoDB, and --store is embedded",
            None => "belongs to DynamoDB: name its --table",
        };
        for (flag, _) in given.iter().filter(|(_, given)| *given) {
            mistakes.add(flag, what);
        }
    }
}

/// Letters, digits, `_`, `.` and `-`.
fn is_name(text: &str, least: usize, most: usize) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (least..=most).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// The origins of `--cors`; `None`: any.
fn cors(text: &str) -> Result<Option<Vec<String>>, String> {
    let origins: Vec<&str> = urls::list(text).collect();
    if origins.contains(&"*") {
        return Ok(None);
    }
    for origin in &origins {
        if !origin.starts_with("http://") && !origin.starts_with("https://") {
            return Err(format!("'{origin}' is no origin like https://example.com, and not *"));
        }
        if origin.ends_with('/') {
            return Err(format!("'{origin}': an origin has no path, not even a '/'"));
        }
    }
    Ok(Some(origins.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests;
