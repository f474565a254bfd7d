//! The program as a function of AWS Lambda: opened once an environment, and then asked by events.
//!
//! No task of the keyspace runs beside requests there; see `keyspace::waking` for what is done instead.
//! Lambda kills an environment without a word, unless an extension is there: then it sends SIGTERM, upon which
//! the sign of life is taken away. Invariant: whatever keeps it from serving is told to Lambda.

use std::sync::Arc;

use super::open::{open_keyspace, open_table};
use super::{FLUSH_LIMIT, StartError, http_config};
use crate::config::{Config, StoreConfig};
use crate::keyspace::Keyspace;
use crate::shutdown::{Pace, Shutdown};
use crate::store::dynamodb::DynamoDbStore;
use crate::traces::{self, Exporting};
use crate::v2http::{SetLogLevel, lambda};

/// What an environment has when it is open.
struct Open {
    keyspace: Arc<Keyspace<DynamoDbStore>>,
    traces: Option<Arc<Exporting>>,
    shutdown: Shutdown,
}

/// Serves events until the environment ends.
pub(super) async fn run(config: &Config, set_log_level: SetLogLevel) -> Result<(), StartError> {
    let Open { keyspace, traces, shutdown } = match open(config).await {
        Ok(open) => open,
        Err(error) => {
            lambda::report_failed_start(&error.to_string()).await;
            return Err(error);
        }
    };
    let of_http = http_config(config, config.advertised(&[]), set_log_level);
    let keys = Arc::clone(&keyspace);
    let serving = Box::pin(lambda::serve(keys, of_http, traces.clone(), shutdown.clone()));
    let served = tokio::select! {
        biased;
        () = shutdown.begun() => Ok(()),
        served = serving => served,
    };
    keyspace.leave().await;
    if let Some(traces) = traces {
        traces.flush(FLUSH_LIMIT).await;
    }
    served.map_err(|error| StartError::new("AWS Lambda's runtime API", error))
}

async fn open(config: &Config) -> Result<Open, StartError> {
    let pace = Pace { delay: config.observe.shutdown_delay, grace: config.shutdown_timeout };
    let shutdown = Shutdown::new(pace);
    shutdown.on_signals().map_err(|error| StartError::new("cannot handle signals", error))?;
    let url = config.observe.traces_url.as_ref();
    let traces = url.map(|url| traces::start(url.as_str())).transpose();
    let traces = traces.map_err(|error| StartError::new("--otlp-endpoint", error))?.map(Arc::new);
    let StoreConfig::DynamoDb(table) = &config.store else {
        return Err(StartError::new("--store", "AWS Lambda keeps no files"));
    };
    let keyspace = Box::pin(open_keyspace(config, open_table(table).await?)).await?;
    tracing::info!(name = config.name, "serving events of AWS Lambda");
    Ok(Open { keyspace, traces, shutdown })
}
