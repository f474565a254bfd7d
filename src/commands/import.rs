//! `etcdynamo import`: a tree from a server or a file to a server, and on from there.
//!
//! Not here: how it is done ([`crate::migrate::import`], [`crate::migrate::follow`]). What goes on
//! is told on standard error, a line at a time; the result is one line.

use std::fmt;
use std::time::Duration;

use crate::config::{ClientConfig, ImportConfig, ImportFrom, ImportMode};
use crate::console;
use crate::migrate::follow::{self, Following, Say};
use crate::migrate::import::{self, Import, Imported, MayHold, Origin};
use crate::shutdown::{Pace, Shutdown};
use crate::v2client::{Client, Endpoints, Limits};

/// Why it is not done, for a person to read.
#[derive(Debug)]
pub struct NotImported(String);

impl fmt::Display for NotImported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotImported {}

/// Whoever reads no further is no reason to stop in the middle.
fn tell(line: &str) {
    console::remark(format_args!("etcdynamo: {line}"));
}

fn ready(line: &str) {
    console::answer(line);
}

fn connect(endpoints: Endpoints, config: &ClientConfig) -> Result<Client, NotImported> {
    Client::new(endpoints, &config.tls, config.limits).map_err(NotImported)
}

/// Imports, and follows if that was asked for. The line says what was done.
pub async fn run(config: ImportConfig) -> Result<String, NotImported> {
    let ImportConfig { from, to, mode, concurrency, client } = config;
    let to = connect(to, &client)?;
    let (from, may_hold) = match (from, mode) {
        (ImportFrom::Server { endpoints, scope }, ImportMode::Follow { resume }) => {
            let may_hold = if resume { MayHold::Anything } else { MayHold::Nothing };
            let limits = Limits { patience: Duration::ZERO, ..client.limits };
            let watching = ClientConfig { limits, ..client.clone() };
            let watcher = connect(endpoints.clone(), &watching)?;
            let from = connect(endpoints, &client)?;
            let following = Following { from, watcher, scope, to, may_hold, concurrency };
            return follow(following).await;
        }
        (ImportFrom::Server { endpoints, scope }, mode) => {
            (Origin::Server { client: Box::new(connect(endpoints, &client)?), scope }, mode)
        }
        (ImportFrom::File(path), mode) => (Origin::File(path), mode),
    };
    let may_hold = match may_hold {
        ImportMode::Fresh => MayHold::Nothing,
        ImportMode::Resume | ImportMode::Follow { .. } => MayHold::Anything,
    };
    let import = Import { from, to, may_hold, concurrency };
    let result = import::run(import, &tell).await;
    let result = result.map_err(|fatal| NotImported(fatal.to_string()))?;
    tell_all(&result, result.describe())
}

async fn follow(following: Following) -> Result<String, NotImported> {
    let shutdown = Shutdown::new(Pace { delay: Duration::ZERO, grace: Duration::ZERO });
    shutdown.on_signals().map_err(|error| NotImported(format!("signals: {error}")))?;
    let say = Say { tell: &tell, ready: &ready };
    let result = follow::run(following, &shutdown, say).await;
    let result = result.map_err(|fatal| NotImported(fatal.to_string()))?;
    let Imported { nodes, events, refused, .. } = &result;
    let mut line = format!("{nodes} nodes, {events} events applied");
    if *refused > 0 {
        line.push_str(&format!(", {refused} nodes refused by the target"));
    }
    tell_all(&result, line)
}

/// What is to be told at the end, and the last line.
fn tell_all(result: &Imported, mut line: String) -> Result<String, NotImported> {
    for refusal in &result.refusals {
        tell(refusal);
    }
    for difference in &result.comparison.first {
        tell(&difference.to_string());
    }
    match result.comparison.summary().as_str() {
        "" => line.push_str(", verified"),
        differences => line.push_str(&format!("; source and target differ: {differences}")),
    }
    if result.is_good() { Ok(line) } else { Err(NotImported(line)) }
}
