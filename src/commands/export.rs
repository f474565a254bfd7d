//! `etcdynamo export`: a server's tree into a file, or to standard output.
//!
//! Not here: the format ([`crate::migrate::dump`]). Invariant: there is a whole FILE in the end, or
//! what was there before, also after SIGINT and SIGTERM.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Progress;
use crate::clock::{SystemClock, unix_ms};
use crate::config::ExportConfig;
use crate::console;
use crate::migrate::dump::PartialFile;
use crate::migrate::export::{Exported, export};
use crate::v2client::Client;

/// How much is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Why nothing was exported, for a person to read.
#[derive(Debug)]
pub struct NotExported(String);

impl fmt::Display for NotExported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not exported: {}", self.0)
    }
}

impl std::error::Error for NotExported {}

fn failed(error: impl fmt::Display) -> NotExported {
    NotExported(error.to_string())
}

/// Exports, and says so on standard error.
pub async fn run(config: &ExportConfig) -> Result<(), NotExported> {
    let ExportConfig { from, client, .. } = config;
    let client = Client::new(from.clone(), &client.tls, client.limits).map_err(failed)?;
    let progress = Progress::new();
    match &config.file {
        // A signal ends it in the usual way: there is nothing to clean up, and who writes to a
        // pipe that is full could not be asked to stop in another one.
        None => copy(&client, config, io::stdout(), progress).await.map(drop),
        Some(file) => tokio::select! {
            done = into_file(&client, config, file, progress) => done,
            name = stopped() => Err(failed(format!("{}, and no file was written", name?))),
        },
    }
}

async fn into_file(
    client: &Client,
    config: &ExportConfig,
    place: &Path,
    progress: Progress,
) -> Result<(), NotExported> {
    let at = |error: io::Error| failed(format!("{}: {error}", place.display()));
    let (partial, file) = PartialFile::create(place).map_err(at)?;
    let file = copy(client, config, file, progress).await?;
    partial.keep(&file).map_err(at)
}

/// Gives back where it all went, with nothing of it in a buffer.
async fn copy<W: Write>(
    client: &Client,
    config: &ExportConfig,
    out: W,
    mut progress: Progress,
) -> Result<W, NotExported> {
    let time = Timestamp::from_millisecond(unix_ms(&SystemClock).0).map_err(failed)?;
    let out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let step = |nodes, bytes| progress.step(nodes, bytes);
    let exported = export(client, &config.scope, time, out, step).await;
    let (out, exported) = exported.map_err(failed)?;
    let out = out.into_inner().map_err(|error| failed(error.error()))?;
    tell(&progress, exported);
    Ok(out)
}

fn tell(progress: &Progress, exported: Exported) {
    let Exported { nodes, bytes, index, listings, replaced } = exported;
    let put_together = match listings {
        1 => String::new(),
        more => format!(", put together from {more} listings"),
    };
    console::remark(format_args!(
        "exported {} at index {index}{put_together}",
        progress.describe(nodes, bytes)
    ));
    if replaced > 0 {
        console::remark(format_args!(
            "warning: {replaced} nodes have U+FFFD in their key or value, which a server shows for \
             bytes that are not UTF-8: where it did, the copy has U+FFFD"
        ));
    }
}

/// Waits for SIGINT or SIGTERM, and names it.
async fn stopped() -> Result<&'static str, NotExported> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT came"),
        _ = terminate.recv() => Ok("SIGTERM came"),
    }
}
