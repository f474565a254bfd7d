//! Opens a store, and the keyspace in it, as the configuration says.
//!
//! Not here: what is then done with it. Invariant: what is opened is ready to be used; where that
//! cannot be, the error names the flag it is about.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::clock::{IndexClock, SystemClock, unix_ms};
use crate::config::{Config, ReadConsistency, Runtime, StoreConfig, TableConfig, WatchKind};
use crate::keyspace::{self, Access, Keyspace, Reach};
use crate::metrics::{self, DynamodbCall};
use crate::store::dynamodb::{Consumed, DynamoDbConfig, DynamoDbStore, Meter, Timing};
use crate::store::embedded::Embedded;
use crate::store::{Consistency, Store};
use crate::v2::EtcdIndex;

/// How far two gateways' clocks may be apart.
const MAX_DRIFT_US: u64 = 5 * 60 * 1_000_000;

/// Why the program could not start, for a person to read.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StartError {
    pub(super) fn new(
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

/// A store that is open, and how it is used.
pub(super) struct Opened<S> {
    /// The store.
    pub(super) store: S,
    /// How fresh plain reads are.
    pub(super) read_consistency: Consistency,
    /// All indexes are above this one.
    pub(super) floor: EtcdIndex,
}

/// Opens a table.
pub(super) async fn open_table(table: &TableConfig) -> Result<Opened<DynamoDbStore>, StartError> {
    Ok(Opened {
        floor: EtcdIndex(0),
        read_consistency: match table.read_consistency {
            ReadConsistency::Strong => Consistency::Strong,
            ReadConsistency::Eventual => Consistency::Eventual,
        },
        store: open_dynamodb(table).await?,
    })
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
    metrics::keyspace_opened(&table.keyspace);
    let meter = Meter::new(|call| {
        let Consumed { operation, units, spent_on, outcome, took } = call;
        let outcome = outcome.name();
        metrics::dynamodb_called(DynamodbCall { operation, outcome, units, took });
        for (operation, units) in spent_on {
            metrics::units_spent(operation, units);
        }
    });
    let opened = DynamoDbStore::open(&config, meter).await;
    opened.map_err(|error| StartError::new(format!("--table {}", table.table), error))
}

pub(super) async fn open_embedded(data_dir: &Path) -> Result<Embedded, StartError> {
    let dir = data_dir.to_owned();
    let now = Arc::new(|| unix_ms(&SystemClock));
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir, now)).await;
    let opened = opened.map_err(|panicked| StartError::new("--data-dir", panicked))?;
    opened.map_err(|error| StartError::new("--data-dir", error))
}

/// The clock of a gateway on a table. Each has a lane there; two in one are rare.
pub(super) fn index_clock() -> IndexClock {
    IndexClock::new(Arc::new(SystemClock), MAX_DRIFT_US, EtcdIndex(0)).in_lane(fastrand::u64(..))
}

/// Opens the keyspace in a store, and removes what is overdue, unless requests do.
pub(super) async fn open_keyspace<S: Store>(
    config: &Config,
    opened: Opened<S>,
) -> Result<Arc<Keyspace<S>>, StartError> {
    let Opened { store, read_consistency, floor } = opened;
    let clock = match config.store {
        StoreConfig::Embedded { .. } => IndexClock::new(Arc::new(SystemClock), MAX_DRIFT_US, floor),
        StoreConfig::DynamoDb(_) => index_clock(),
    };
    let watch_reach = match config.watch.kind {
        WatchKind::Local | WatchKind::Off => Reach::Own,
        WatchKind::Streams => Reach::All,
    };
    let of_keyspace = keyspace::Config {
        access: if config.read_only { Access::ReadOnly } else { Access::ReadWrite },
        read_consistency,
        max_requests: config.max_concurrent_requests,
        request_timeout: config.request_timeout,
        watch_window: config.watch.window,
        watch_reach,
        // On DynamoDB the table's own TTL removes files, and nobody pays for it.
        scan_for_ttl: matches!(config.store, StoreConfig::Embedded { .. }),
    };
    let keyspace = Keyspace::open(store, Arc::new(clock), of_keyspace)
        .await
        .map_err(|error| StartError::new("cannot open the keyspace", error))?;
    if config.read_only {
        tracing::info!("this gateway only reads: writes are refused");
    }
    match config.runtime {
        Runtime::Server => keyspace
            .sweep()
            .await
            .map_err(|error| StartError::new("cannot remove what is overdue", error.chain()))?,
        // Each request does that before it is answered, and a start has little time there.
        Runtime::Lambda => {}
    }
    Ok(Arc::new(keyspace))
}
