//! Settling: a commit is sent until it is known what became of it.
//!
//! A commit whose outcome is not known is sent again as it was. If it had happened, each item that
//! it wrote carries the id of its write, and refuses it by its index. If it had not, it applies
//! now or is refused, and then ruled out: the attempt before may still be on its way, and another
//! gateway may change what is in its way. Either way it is decided, and cannot apply later.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics;
use crate::store::{Committed, Store, StoreError};
use crate::v2::{Aftermath, Commit, Item, Mutation, NodeOp, Op, Precondition};

/// How long to wait, at most, before a commit of unknown outcome is sent again: at first, and
/// at the most after doubling.
const RESEND_PAUSE: Duration = Duration::from_millis(20);
const RESEND_PAUSE_LIMIT: Duration = Duration::from_millis(500);

/// The items that a refused commit found, by the number of the part that they did not match.
pub(super) type Found = Vec<(usize, Option<Arc<Item>>)>;

/// What became of a commit that was decided.
#[derive(Debug, Clone)]
pub(super) enum Settled {
    /// It applied just now, with the item before it as far as the store tells.
    Applied(Option<Arc<Item>>),
    /// It had applied when it was sent before; these are the items as they are by now.
    HadApplied(Found),
    /// It did not apply, and never will.
    Refused(Found),
}

/// A commit of which the store tells nothing more.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    /// What the store said last.
    pub(super) error: StoreError,
    /// Whether it may have happened.
    pub(super) is_open: bool,
}

impl Settled {
    /// What is left of a write whose own part comes first; else what was found.
    pub(super) fn aftermath(self) -> Result<Aftermath, Found> {
        match self {
            Settled::Applied(before) => Ok(Aftermath::Before(before)),
            Settled::HadApplied(found) => {
                let main = found.into_iter().find(|(part, _)| *part == 0);
                let main = main.and_then(|(_, item)| item);
                Ok(main.map_or(Aftermath::Before(None), Aftermath::Found))
            }
            Settled::Refused(found) => Err(found),
        }
    }
}

/// Commits, and finds out what became of it.
pub(super) async fn settle<S: Store>(store: &S, commit: &Commit) -> Result<Settled, Failed> {
    let mut resends: u32 = 0;
    loop {
        let outcome = store.commit(commit).await;
        if resends > 0 && outcome.is_ok() {
            metrics::outcome_found_out();
        }
        match outcome {
            Ok(Committed::Applied { before }) => return Ok(Settled::Applied(before.flatten())),
            Ok(Committed::Refused { found }) => {
                return match happened(commit, &found) {
                    Some(true) => Ok(Settled::HadApplied(found)),
                    None if resends > 0 => Err(covered()),
                    Some(false) if resends > 0 => rule_out(store, commit, found).await,
                    Some(false) | None => Ok(Settled::Refused(found)),
                };
            }
            Err(StoreError::Indeterminate(why)) => {
                tracing::debug!(why, resends, "a commit's outcome is not known yet");
            }
            // It may have happened before; that still has to be found out.
            Err(error @ (StoreError::Unavailable(_) | StoreError::Busy)) if resends > 0 => {
                tracing::debug!(%error, resends, "a commit's outcome cannot be found out yet");
            }
            Err(error) => {
                let is_open = resends > 0 || matches!(error, StoreError::Corrupt(_));
                return Err(Failed { error, is_open });
            }
        }
        resends += 1;
        pause(resends).await;
    }
}

/// Keeps earlier attempts at a commit from applying, which was refused when it came again. A commit
/// is whole, so it is enough to rule out one part of it.
async fn rule_out<S: Store>(
    store: &S,
    commit: &Commit,
    refused_by: Found,
) -> Result<Settled, Failed> {
    let parts = commit.ops.iter().map(Op::node).enumerate();
    let mut parts = parts.filter_map(|(number, op)| op.map(|op| (number, op)));
    let Some((number, part)) = parts.find(|(_, op)| op.leaves_its_id()) else {
        return Ok(Settled::Refused(refused_by));
    };
    let mut is_there = refused_by.iter().all(|(found, item)| *found != number || item.is_some());
    let mut attempts: u32 = 0;
    loop {
        let ruling = ruling_on(part, is_there);
        match store.commit(&Commit { id: ruling.id, ops: vec![Op::Node(ruling)] }).await {
            Ok(Committed::Applied { .. }) => return Ok(Settled::Refused(refused_by)),
            Ok(Committed::Refused { found }) => {
                let item = found.into_iter().find_map(|(_, item)| item);
                let Some(item) = item else {
                    is_there = false;
                    continue;
                };
                is_there = true;
                match (item.writes.contains(part.id), item.writes.contains(part.id.ruled_out())) {
                    (Some(true), _) => return Ok(Settled::HadApplied(vec![(number, Some(item))])),
                    (_, Some(true)) => return Ok(Settled::Refused(refused_by)),
                    (_, None) => return Err(covered()),
                    (_, Some(false)) => {}
                }
            }
            Err(
                error @ (StoreError::Indeterminate(_)
                | StoreError::Unavailable(_)
                | StoreError::Busy),
            ) => {
                tracing::debug!(%error, attempts, "a commit cannot be ruled out yet");
            }
            Err(error) => return Err(Failed { error, is_open: true }),
        }
        attempts += 1;
        pause(attempts).await;
    }
}

/// What rules out a write of an item, whether or not the item is there.
fn ruling_on(part: &NodeOp, is_there: bool) -> NodeOp {
    let (first, mutation) = if is_there {
        (Precondition::Item, Mutation::RuleOut)
    } else {
        (Precondition::NoItem, Mutation::RuleOutNew { now: part.id.index.time() })
    };
    let expect = vec![first, Precondition::NotWritten(part.id)];
    NodeOp { key: part.key.clone(), id: part.id.ruled_out(), expect, mutation, action: None }
}

/// Another gateway's later write stands where the trace of this one would.
fn covered() -> Failed {
    let why = "what it wrote was written again too often".to_owned();
    Failed { error: StoreError::Indeterminate(why), is_open: true }
}

/// Whether a refused commit had happened before, by what it found. `None`: it may have.
///
/// It is whole, so one item is enough to tell. Where only stamps were found, every part that would
/// tell did match, which it would not after it happened.
fn happened(commit: &Commit, found: &Found) -> Option<bool> {
    let verdicts = found.iter().filter_map(|(part, item)| {
        let op = commit.ops.get(*part).and_then(Op::node).filter(|op| op.leaves_its_id())?;
        Some(item.as_ref().map_or(Some(false), |item| item.writes.contains(op.id)))
    });
    let verdicts: Vec<Option<bool>> = verdicts.collect();
    if verdicts.contains(&Some(true)) {
        return Some(true);
    }
    let is_covered = !verdicts.is_empty() && verdicts.iter().all(Option::is_none);
    if is_covered { None } else { Some(false) }
}

/// Waits a random while, longer with each attempt, at most a bounded one.
pub(super) async fn pause(attempt: u32) {
    let longest = RESEND_PAUSE.saturating_mul(1 << attempt.min(6)).min(RESEND_PAUSE_LIMIT);
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}
