//! An import from its beginning to its end.

use std::io::BufRead;
use std::path::PathBuf;

use super::{
    Extra, Fatal, Imported, Joined, Pace, Plan, Spool, Target, Tell, join, open, plan,
    require_empty, spool, write,
};
use crate::clock::SystemClock;
use crate::migrate::compare::{Comparing, Comparison};
use crate::migrate::dump::Reader;
use crate::migrate::{Scope, Snapshot, Tree, TreeError};
use crate::v2client::Client;

/// So many differences are told one by one.
const DIFFERENCES_TOLD: usize = 100;

/// Where a tree comes from.
#[derive(Debug)]
pub enum Origin {
    /// A dump.
    File(PathBuf),
    /// A server.
    Server {
        /// Which.
        client: Box<Client>,
        /// Which part of its tree.
        scope: Scope,
    },
}

/// What the target may have where the nodes are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayHold {
    /// Nothing.
    Nothing,
    /// Anything: it is kept where it is as it should be, and changed where not.
    Anything,
}

/// What is to be imported.
#[derive(Debug)]
pub struct Import {
    /// From where.
    pub from: Origin,
    /// To where.
    pub to: Client,
    /// What may be there.
    pub may_hold: MayHold,
    /// How many directories are written to at once.
    pub concurrency: usize,
}

/// Imports, and compares.
pub async fn run(import: Import, tell: Tell<'_>) -> Result<Imported, Fatal> {
    let Import { from, to, may_hold, concurrency } = import;
    let spool = match &from {
        Origin::File(path) => open(path).await?,
        Origin::Server { client, scope } => spool(client, scope, tell).await?,
    };
    let mut plan = plan(&spool).await?;
    let target = Target::new(to);
    let joined = prepare(&mut plan, &spool, &target, (may_hold, Extra::Stay)).await?;
    let (nodes, bytes) = (plan.len(), plan.bytes());
    tell(&format!("{nodes} nodes with {bytes} bytes of keys and values"));
    let pace = Pace { concurrency, tell };
    let mut imported = write(&plan, &spool, &target, &joined.remove, pace).await?;
    tell("comparing both");
    let there = tree_of(target.client(), &plan.header().scope).await.map_err(Fatal::TargetTree)?;
    let input: Box<dyn BufRead + Send> = Box::new(spool.read());
    let mut dump = Reader::begin(input).map_err(Fatal::Dump)?;
    imported.comparison = compare(Tree::Dump(&mut dump, "the file".to_owned()), there).await?;
    Ok(imported)
}

/// Looks at what the target has, if it may have anything.
pub(in crate::migrate) async fn prepare(
    plan: &mut Plan,
    spool: &Spool,
    target: &Target,
    (may_hold, extra): (MayHold, Extra),
) -> Result<Joined, Fatal> {
    match may_hold {
        MayHold::Nothing => {
            require_empty(target, &plan.header().scope).await?;
            Ok(Joined::default())
        }
        MayHold::Anything => join(plan, spool, target, extra).await,
    }
}

/// Compares the trees of two servers as they are now.
pub(in crate::migrate) async fn compare_servers(
    source: &Client,
    target: &Target,
    scope: &Scope,
) -> Result<Comparison, Fatal> {
    let from = tree_of(source, scope).await.map_err(Fatal::Source)?;
    let to = tree_of(target.client(), scope).await.map_err(Fatal::TargetTree)?;
    compare(from, to).await
}

async fn compare(mut from: Tree<'_>, mut to: Tree<'_>) -> Result<Comparison, Fatal> {
    let comparing = Comparing { most: DIFFERENCES_TOLD, clock: &SystemClock };
    comparing.compare(&mut from, &mut to, |_| {}).await.map_err(Fatal::Unread)
}

/// The tree of a server; one without nodes where there is nothing.
async fn tree_of<'c>(client: &'c Client, scope: &Scope) -> Result<Tree<'c>, TreeError> {
    let snapshot = Snapshot::open_if_there(client, scope).await?;
    Ok(snapshot.map_or(Tree::Empty, |snapshot| Tree::Server(Box::new(snapshot))))
}
