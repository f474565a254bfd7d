//! `import`: the tree of a dump or of a server into a server.
//!
//! There is one way in: what a server shows is put into a file first, as `export` would. That file
//! is read to its end, which proves that it is whole, before anything is changed; then it is
//! written to the target ([`fill`]); and then both are compared.
//!
//! ```text
//! server -> snapshot -> Spool -> Plan -> join with the target -> fill -> compare
//! file --------------/
//! ```
//!
//! Not here: flags and what is printed ([`crate::commands`]); what comes after it
//! ([`super::follow`]). Invariant: without an order to mirror nothing is removed at the target, but
//! for directories whose TTL ran out while they were imported.

use std::fmt;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::compare::Comparison;
use super::dump::DumpError;
use super::export::{ExportError, export};
use super::snapshot::{Snapshot, TreeError};
use super::{Content, Node, Scope, Unread};
use crate::v2client::{Client, Error};

mod fill;
mod join;
mod plan;
mod run;
mod spool;
mod succession;
mod target;

use fill::{Fill, Filled};
pub(in crate::migrate) use join::{Extra, Joined, join};
pub(in crate::migrate) use plan::Plan;
pub use run::{Import, MayHold, Origin, run};
pub(in crate::migrate) use run::{compare_servers, prepare};
pub(in crate::migrate) use spool::Spool;
pub(in crate::migrate) use target::{Refused, Target, parsed};

/// How often progress is told.
const TELL: Duration = Duration::from_secs(2);

/// So many nodes that were refused are told one by one.
const FAILURES_TOLD: usize = 100;

/// Where lines for the operator go.
pub type Tell<'a> = &'a (dyn Fn(&str) + Sync);

/// Why nothing more can be done, for a person to read.
#[derive(Debug)]
pub enum Fatal {
    /// The dump is not whole, or was changed.
    Dump(DumpError),
    /// A file could not be read, or a temporary one not be written.
    Io(io::Error),
    /// The source could not be read.
    Source(TreeError),
    /// The source answered no.
    SourceCall(Error),
    /// The target does not take anything.
    Target(Error),
    /// The target could not be read.
    TargetTree(TreeError),
    /// Both could not be compared.
    Unread(Unread),
    /// There are nodes at the target, so many.
    NotEmpty(u64),
    /// Source and target are one.
    Same,
    /// It was told to stop before it was done.
    Interrupted,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Dump(error) => write!(f, "the file: {error}"),
            Fatal::Io(error) => write!(f, "the file: {error}"),
            Fatal::Source(error) => write!(f, "the source: {error}"),
            Fatal::SourceCall(error) => write!(f, "the source: {error}"),
            Fatal::Target(error) => write!(f, "the target: {error}"),
            Fatal::TargetTree(error) => write!(f, "the target: {error}"),
            Fatal::Unread(error) => write!(f, "comparing both: {error}"),
            Fatal::NotEmpty(count) => write!(
                f,
                "the target is not empty: it has {count} nodes where these are to go; with \
                 --resume what is missing or differs is written"
            ),
            Fatal::Interrupted => {
                f.write_str("stopped before all was there: --resume goes on where it was")
            }
            Fatal::Same => f.write_str("source and target are the same cluster"),
        }
    }
}

impl std::error::Error for Fatal {}

impl Fatal {
    /// Whether all may be well a moment later.
    pub(in crate::migrate) fn may_pass(&self) -> bool {
        match self {
            Fatal::Source(error) | Fatal::TargetTree(error) => match error {
                TreeError::Call(error) => error.may_pass(),
                TreeError::Broken(_) => true,
                TreeError::NotThere(_) | TreeError::Strange(_) => false,
            },
            Fatal::SourceCall(error) | Fatal::Target(error) => error.may_pass(),
            // Whatever it is, the next attempt reads it anew.
            Fatal::Unread(_) => true,
            Fatal::Dump(_)
            | Fatal::Io(_)
            | Fatal::NotEmpty(_)
            | Fatal::Same
            | Fatal::Interrupted => false,
        }
    }
}

/// Nodes that the target does not take.
#[derive(Debug, Default)]
pub(in crate::migrate) struct Failures {
    count: AtomicU64,
    first: Mutex<Vec<String>>,
}

impl Failures {
    /// One with what is below it, so many in all.
    fn add(&self, key: &str, error: &Error, nodes: u64) {
        self.count.fetch_add(nodes, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < FAILURES_TOLD {
            let below = match nodes {
                0 | 1 => String::new(),
                nodes => format!(", nor the {} nodes below it", nodes - 1),
            };
            first.push(format!(
                "{}: the target does not take it{below}: {error}",
                key.escape_debug()
            ));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.first.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How an import went.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Nodes of the source.
    pub nodes: u64,
    /// Nodes that were made or changed.
    pub written: u64,
    /// Nodes that were there as they should be.
    pub unchanged: u64,
    /// Nodes that were over.
    pub expired: u64,
    /// Nodes at the target that were removed with all below them.
    pub removed: u64,
    /// Nodes that the target does not take.
    pub refused: u64,
    /// The first of those, with the reason.
    pub refusals: Vec<String>,
    /// Events of the source that were applied.
    pub events: u64,
    /// What a comparison of both trees showed at last.
    pub comparison: Comparison,
}

impl Imported {
    /// Whether nothing is missing.
    pub fn is_good(&self) -> bool {
        self.refused == 0 && self.comparison.differences() == 0
    }

    /// What was done, in words.
    pub fn describe(&self) -> String {
        let Imported { nodes, written, unchanged, expired, removed, refused, .. } = self;
        let mut line = format!("{written} of {nodes} nodes imported");
        let counts = [
            (unchanged, "skipped, being there already"),
            (expired, "left out, their TTL being over"),
            (removed, "removed"),
            (refused, "refused by the target"),
        ];
        for (count, what) in counts.iter().filter(|(count, _)| **count > 0) {
            line.push_str(&format!(", {count} {what}"));
        }
        line
    }
}

/// Reads what a server shows into a file that has no name.
pub(in crate::migrate) async fn spool(
    client: &Client,
    scope: &Scope,
    tell: Tell<'_>,
) -> Result<Spool, Fatal> {
    let file = BufWriter::new(tempfile::tempfile().map_err(Fatal::Io)?);
    let mut told = Instant::now();
    let step = |nodes, bytes| {
        if nodes % 1024 == 0 && told.elapsed() >= TELL {
            told = Instant::now();
            tell(&format!("{nodes} nodes read, {bytes} bytes"));
        }
    };
    let exported = export(client, scope, super::ttl::now(), file, step).await;
    let (file, exported) = exported.map_err(|error| match error {
        ExportError::Tree(error) => Fatal::Source(error),
        ExportError::Dump(error) => Fatal::Dump(error),
        ExportError::NoIndex => Fatal::Source(TreeError::Strange(error.to_string())),
    })?;
    if exported.replaced > 0 {
        tell(&format!(
            "{} nodes have U+FFFD in their key or value, which a server shows for bytes that are \
             not UTF-8: where it did, the copy has U+FFFD",
            exported.replaced
        ));
    }
    Ok(Spool::of(file.into_inner().map_err(|error| Fatal::Io(error.into_error()))?))
}

/// Opens a file.
pub(in crate::migrate) async fn open(path: &Path) -> Result<Spool, Fatal> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || Spool::open(&path)).await;
    opened.expect("it does not panic").map_err(Fatal::Io)
}

/// Reads a dump to its end, which proves that it is whole.
pub(in crate::migrate) async fn plan(spool: &Spool) -> Result<Plan, Fatal> {
    let input = spool.read();
    let read = tokio::task::spawn_blocking(move || Plan::read(input, &mut |_| {})).await;
    read.expect("it does not panic").map_err(Fatal::Dump)
}

/// The same, and the nodes that expire, without their values.
pub(in crate::migrate) async fn plan_with_mortals(
    spool: &Spool,
) -> Result<(Plan, Vec<Node>), Fatal> {
    let input = spool.read();
    let read = tokio::task::spawn_blocking(move || {
        let mut mortals = Vec::new();
        let plan = Plan::read(input, &mut |node| {
            // Without its value.
            let content = match &node.content {
                Content::Dir => Content::Dir,
                Content::File(_) => Content::File(String::new()),
            };
            mortals.push(Node { key: node.key.clone(), content, ..*node });
        })?;
        Ok((plan, mortals))
    });
    read.await.expect("it does not panic").map_err(Fatal::Dump)
}

/// Refuses a target that has any of the nodes' places taken.
pub(in crate::migrate) async fn require_empty(target: &Target, scope: &Scope) -> Result<(), Fatal> {
    let there = Snapshot::open_if_there(target.client(), scope).await;
    let Some(mut snapshot) = there.map_err(Fatal::TargetTree)? else { return Ok(()) };
    let mut count = 0;
    while snapshot.next().await.map_err(Fatal::TargetTree)?.is_some() {
        count += 1;
    }
    if count == 0 { Ok(()) } else { Err(Fatal::NotEmpty(count)) }
}

/// Removes what is to go, and writes what is to be done.
pub(in crate::migrate) async fn write(
    plan: &Plan,
    spool: &Spool,
    target: &Target,
    remove: &[String],
    pace: Pace<'_>,
) -> Result<Imported, Fatal> {
    let filled = Filled::default();
    for key in remove {
        match target.remove_tree(key).await {
            Ok(()) => {}
            Err(Refused::Node(error)) => filled.failures.add(key, &error, 1),
            Err(Refused::All(fatal)) => return Err(fatal),
        }
    }
    let fill = Fill::new(plan, spool, target, &filled);
    tokio::select! {
        done = fill.run(pace.concurrency) => done?,
        () = tell_progress(plan.len(), &filled, pace.tell) => {}
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(Imported {
        nodes: plan.len(),
        written: count(&filled.written),
        unchanged: count(&filled.unchanged),
        expired: count(&filled.expired),
        removed: remove.len() as u64,
        refused: count(&filled.failures.count),
        refusals: filled.failures.take(),
        events: 0,
        comparison: Comparison::default(),
    })
}

/// How much at once, and who is told.
#[derive(Clone, Copy)]
pub(in crate::migrate) struct Pace<'a> {
    pub(in crate::migrate) concurrency: usize,
    pub(in crate::migrate) tell: Tell<'a>,
}

/// Tells how far it is, for as long as it is polled.
async fn tell_progress(total: u64, filled: &Filled, tell: Tell<'_>) {
    let begun = Instant::now();
    let mut ticks = interval_at(begun + TELL, TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        let done = filled.done();
        let rate = done * 1000 / u64::try_from((now - begun).as_millis().max(1)).unwrap_or(1);
        tell(&format!("{done} of {total} nodes, {rate} a second"));
    }
}
