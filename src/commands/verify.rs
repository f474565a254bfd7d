//! `etcdynamo verify`: whether two trees are equal, as an exit code, and what differs.
//!
//! Not here: the comparing ([`crate::migrate::compare`]). Invariant: 0 only if both trees were read
//! to their ends and nothing differs.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::progress::Progress;
use crate::clock::SystemClock;
use crate::config::{TreePlace, VerifyConfig};
use crate::console;
use crate::migrate::compare::{Comparing, Comparison};
use crate::migrate::dump::Reader;
use crate::migrate::{DumpReader, Scope, Snapshot, Tree};
use crate::v2client::Client;

/// How much of a file is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Why two trees do not count as equal, for a person to read.
#[derive(Debug)]
pub enum NotEqual {
    /// One of them was not read.
    NotVerified(String),
    /// They differ: how much, in words.
    Different(String),
}

impl fmt::Display for NotEqual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotEqual::NotVerified(why) => write!(f, "not verified: {why}"),
            NotEqual::Different(summary) => write!(f, "different: {summary}"),
        }
    }
}

impl std::error::Error for NotEqual {}

fn failed(error: impl fmt::Display) -> NotEqual {
    NotEqual::NotVerified(error.to_string())
}

/// One of both: a dump whose first line was read, or a server that was not called yet.
enum Side<'a> {
    Dump(Box<DumpReader>, &'a Path),
    Server(Box<Client>),
}

impl<'a> Side<'a> {
    fn open(place: &'a TreePlace, config: &VerifyConfig) -> Result<Side<'a>, NotEqual> {
        match place {
            TreePlace::File(path) => open(path).map(|dump| Side::Dump(Box::new(dump), path)),
            TreePlace::Server(endpoints) => {
                let client = &config.client;
                let client = Client::new(endpoints.clone(), &client.tls, client.limits);
                client.map(Box::new).map(Side::Server).map_err(failed)
            }
        }
    }

    fn scope(&self) -> Option<&Scope> {
        match self {
            Side::Dump(dump, _) => Some(&dump.header().scope),
            Side::Server(_) => None,
        }
    }

    async fn tree(&mut self, scope: &Scope) -> Result<Tree<'_>, NotEqual> {
        match self {
            Side::Dump(dump, path) => Ok(Tree::Dump(dump, path.display().to_string())),
            Side::Server(client) => match Snapshot::open(client, scope).await {
                Ok(snapshot) => Ok(Tree::Server(Box::new(snapshot))),
                Err(error) => Err(failed(format!("{}: {error}", client.endpoints()))),
            },
        }
    }
}

fn open(path: &Path) -> Result<DumpReader, NotEqual> {
    let at = |error: &dyn fmt::Display| failed(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| at(&error))?;
    let file: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(BUFFER_BYTES, file));
    Reader::begin(file).map_err(|error| at(&error))
}

/// What is compared: what was asked for, or what a file has.
fn scope(asked: Option<&Scope>, held: [Option<&Scope>; 2]) -> Result<Scope, NotEqual> {
    let mut known = held.into_iter().flatten().chain(asked);
    let Some(scope) = known.next() else { return Ok(Scope::everything()) };
    match known.find(|other| *other != scope) {
        Some(other) => Err(failed(format!("a file has {scope}, and compared is {other}"))),
        None => Ok(scope.clone()),
    }
}

/// Compares, and tells the result and the first differences on standard output.
pub async fn run(config: &VerifyConfig) -> Result<(), NotEqual> {
    let (mut from, mut to) = (Side::open(&config.from, config)?, Side::open(&config.to, config)?);
    let scope = scope(config.scope.as_ref(), [from.scope(), to.scope()])?;
    let (mut from, mut to) = (from.tree(&scope).await?, to.tree(&scope).await?);
    let mut progress = Progress::new();
    let (mut nodes, mut bytes) = (0, 0);
    let comparing = Comparing { most: config.max_differences, clock: &SystemClock };
    let compared = comparing.compare(&mut from, &mut to, |node| {
        nodes += 1;
        bytes += node;
        progress.step(nodes, bytes);
    });
    let found = compared.await.map_err(failed)?;
    console::remark(format_args!("compared {}", progress.describe(nodes, bytes)));
    tell(&found)
}

fn tell(found: &Comparison) -> Result<(), NotEqual> {
    for difference in &found.first {
        console::answer(difference);
    }
    let untold = found.differences() - found.first.len() as u64;
    if untold > 0 && !found.first.is_empty() {
        console::answer(format_args!("and {untold} more"));
    }
    let result = match found.differences() {
        0 => Ok(()),
        _ => Err(NotEqual::Different(found.summary())),
    };
    if result.is_ok() {
        console::answer(format_args!("equal: {} nodes", found.from));
    }
    if found.expired > 0 {
        let expired = found.expired;
        console::answer(format_args!("expired on one side, which is no difference: {expired}"));
    }
    result
}
