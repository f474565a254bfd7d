//! The flags about watches.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::typed::{Readable, Typed, one_of};
use super::{Mistakes, Runtime, StoreConfig};

#[derive(Debug, Args)]
pub(super) struct WatchFlags {
    /// Whose writes watchers are told of: local for those of this gateway, which must be the only
    /// one; streams for those of all gateways on the table; or off [default: local on the embedded
    /// store, streams on DynamoDB, off in AWS Lambda]
    #[arg(long, env = "ETCDYNAMO_WATCH", value_name = "WHICH")]
    watch: Option<Typed<WatchKind>>,

    /// How many recent events are kept for watches that begin in the past.
    #[arg(long, env = "ETCDYNAMO_WATCH_WINDOW", value_name = "COUNT", default_value = "1000")]
    watch_window: Typed<usize>,

    /// How long a watch may have nothing to tell until it is ended, upon which clients ask again;
    /// less than the idle timeout of a load balancer in between. 0: for ever.
    #[arg(long, env = "ETCDYNAMO_WATCH_TIMEOUT_MS", value_name = "MS", default_value = "0")]
    watch_timeout_ms: Typed<u64>,
}

/// Whose writes watchers are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WatchKind {
    /// The writes of this gateway, which must be the only one.
    Local,
    /// Those of all gateways on the table.
    Streams,
    /// None.
    Off,
}

impl Readable for WatchKind {
    fn read(text: &str) -> Result<WatchKind, String> {
        one_of(text)
    }
}

/// How watches behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// Whose writes watchers are told of.
    pub kind: WatchKind,
    /// How many events are kept; `None`: there are no watches.
    pub window: Option<usize>,
    /// How long a watch may be silent; `None`: for ever.
    pub timeout: Option<Duration>,
}

impl WatchFlags {
    /// What is meant, on this store.
    pub(super) fn meaning(
        self,
        store: &StoreConfig,
        runtime: Runtime,
        mistakes: &mut Mistakes,
    ) -> WatchConfig {
        let by_default = match (runtime, store) {
            (Runtime::Lambda, _) => WatchKind::Off,
            (Runtime::Server, StoreConfig::Embedded { .. }) => WatchKind::Local,
            (Runtime::Server, StoreConfig::DynamoDb(_)) => WatchKind::Streams,
        };
        let kind = self.watch.map_or(by_default, |kind| kind.or(by_default, "watch", mistakes));
        if runtime == Runtime::Lambda && kind != WatchKind::Off {
            mistakes.add("watch", "is off in AWS Lambda, where nothing runs that could wait");
        }
        match (kind, store) {
            (WatchKind::Streams, StoreConfig::Embedded { .. }) => {
                mistakes.add("watch", "streams belongs to DynamoDB; the embedded store has local");
            }
            (WatchKind::Streams, StoreConfig::DynamoDb(_))
            | (WatchKind::Local | WatchKind::Off, _) => {}
        }
        let window = self.watch_window.or(1, "watch-window", mistakes);
        if window == 0 {
            mistakes.add("watch-window", "must be more than 0");
        }
        let timeout_ms = self.watch_timeout_ms.or(0, "watch-timeout-ms", mistakes);
        WatchConfig {
            kind,
            window: (kind != WatchKind::Off).then_some(window),
            timeout: (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)),
        }
    }
}
