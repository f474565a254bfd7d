//! From the first import to the last comparison.

use std::sync::Arc;

use super::super::Scope;
use super::super::import::{
    Extra, Fatal, Imported, MayHold, Pace, Target, plan_with_mortals, prepare, spool, write,
};
use super::{Follower, Say, Source};
use crate::shutdown::Shutdown;
use crate::v2client::Client;

/// What is to be followed.
#[derive(Debug)]
pub struct Following {
    /// The source.
    pub from: Client,
    /// The source, by a client that does not try again by itself.
    pub watcher: Client,
    /// Which part of its tree.
    pub scope: Scope,
    /// The target.
    pub to: Client,
    /// What may be there at first.
    pub may_hold: MayHold,
    /// How many directories are written to at once.
    pub concurrency: usize,
}

/// Imports, follows until the shutdown begins, and compares.
pub async fn run(
    following: Following,
    shutdown: &Shutdown,
    say: Say<'_>,
) -> Result<Imported, Fatal> {
    let Following { from, watcher, scope, to, may_hold, concurrency } = following;
    let source = Source { client: Arc::new(from), watcher: Arc::new(watcher), scope };
    let target = Target::new(to);
    let pace = Pace { concurrency, tell: say.tell };
    let begun = tokio::select! {
        begun = begin(&source, &target, may_hold, pace) => begun?,
        () = shutdown.begun() => return Err(Fatal::Interrupted),
    };
    let Begun { mut follower, queue } = begun;
    follower.run(queue, shutdown, say).await
}

/// An import that is to be followed.
struct Begun<'a> {
    follower: Follower<'a>,
    queue: super::fetch::Queue,
}

/// Imports. What happens meanwhile is fetched already.
async fn begin<'a>(
    source: &'a Source,
    target: &'a Target,
    may_hold: MayHold,
    pace: Pace<'a>,
) -> Result<Begun<'a>, Fatal> {
    if is_same(&source.client, target.client()).await? {
        return Err(Fatal::Same);
    }
    // Before the tree is read: that may take longer than the source remembers events.
    let index = super::fetch::index_of(&source.client, &source.key()).await;
    let index = index.map_err(Fatal::SourceCall)?;
    let queue = source.fetch(index + 1);
    let spool = spool(&source.client, &source.scope, pace.tell).await?;
    let (mut plan, mortals) = plan_with_mortals(&spool).await?;
    let joined = prepare(&mut plan, &spool, target, (may_hold, Extra::Go)).await?;
    let mut follower = Follower::new(source, target, pace, index);
    let imported = write(&plan, &spool, target, &joined.remove, pace).await?;
    for refusal in &imported.refusals {
        (pace.tell)(refusal);
    }
    (pace.tell)(&imported.describe());
    follower.lease(&mortals);
    Ok(Begun { follower, queue })
}

/// Whether both are one cluster: they say the same id, which etcds with the same peer URLs do as
/// well, and no index moves in one without moving in the other.
async fn is_same(a: &Client, b: &Client) -> Result<bool, Fatal> {
    let members = "/v2/members";
    let first = a.raw(members).await.map_err(Fatal::SourceCall)?.head;
    let second = b.raw(members).await.map_err(Fatal::Target)?.head;
    if first.cluster.is_none() || first.cluster != second.cluster {
        return Ok(false);
    }
    let root = crate::v2::Key::root();
    let first = super::fetch::index_of(a, &root).await.map_err(Fatal::SourceCall)?;
    let second = super::fetch::index_of(b, &root).await.map_err(Fatal::Target)?;
    Ok(first == second)
}
