//! The log: text or JSON lines on standard error, with a level that can be changed while running.
//!
//! The level is this program's own. Libraries speak up from `warn` on, or they would drown it:
//! at `debug` an SDK prints whole requests, and with them values.

use std::io;
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{fmt, registry, reload};

use crate::v2http::SetLogLevel;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log, and returns what changes the level.
pub fn start(format: LogFormat, level: Level) -> Result<SetLogLevel, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter)).try_init()?;
    Ok(Arc::new(move |level| {
        if let Err(error) = handle.reload(self::filter(level)) {
            tracing::error!(%error, "cannot change the log level");
        }
    }))
}

/// The target of the lines about writes, by which they can be told from all others.
pub const AUDIT: &str = "etcdynamo::audit";

fn filter(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("etcdynamo", level)
        // Whoever wants them wants all of them, whatever else is logged.
        .with_target(AUDIT, LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_whatever_our_own_level_is() {
        let filter = filter(Level::DEBUG);
        assert!(filter.would_enable("etcdynamo::v2http", &Level::DEBUG));
        assert!(!filter.would_enable("etcdynamo::v2http", &Level::TRACE));
        assert!(filter.would_enable("aws_config", &Level::WARN));
        assert!(!filter.would_enable("aws_config", &Level::INFO));
    }

    #[test]
    fn writes_are_logged_whatever_our_own_level_is() {
        let filter = filter(Level::ERROR);
        assert!(filter.would_enable(AUDIT, &Level::INFO));
        assert!(!filter.would_enable("etcdynamo::v2http", &Level::WARN));
    }
}
