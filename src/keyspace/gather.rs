//! Creations in one directory, gathered: one commit for all that wait, with one stamp.
//!
//! ```text
//! the first     goes at once, alone
//! later ones    wait, without an index, while a group of their directory is under way
//! it is over    all that wait get a seat in the next group, as many as one commit takes
//! in a group    each plans anew, with a fresh index, and hands in its commit; when the last one
//!               has, they go together: every child as it was planned, the directory once
//! ```
//!
//! Every creation stamps its directory, so two of one directory that meet in DynamoDB are in
//! conflict. Of one gateway no two ever meet; those of several still do.
//!
//! Nobody leads. A group is a future that all who have a seat poll, so it goes on as long as one of
//! them does, and the next one opens when the last of them is gone, however they went: nobody
//! waits for somebody who left. What a group does to the tree is what its creations would do one
//! after the other; one that is refused does not keep the others back.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::settle::{Failed, Found, Settled, settle};
use crate::metrics;
use crate::store::{Limits, Store, StoreError};
use crate::units::Payers;
use crate::v2::{Commit, Key, Mutation, NodeOp, Op};

/// About what a part of a commit weighs beside its key and value, in bytes.
const PART_BYTES: usize = 256;

type Outcome = Result<Settled, Failed>;

/// A creation that was handed in.
#[derive(Debug)]
struct Handed {
    commit: Commit,
    payers: Payers,
}

/// Carries out creations of one directory, and gives the outcome of each.
type CarryOut = dyn Fn(Vec<Handed>) -> BoxFuture<'static, Vec<Outcome>> + Send + Sync;

/// The directories in which something is being created.
pub(super) struct Groups {
    limits: Limits,
    carry_out: Box<CarryOut>,
    /// Who waits for the group that is under way in a directory.
    waiting: Mutex<HashMap<Key, VecDeque<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    size: Size,
    seat: oneshot::Sender<Seat>,
}

/// How a creation comes to its group.
#[derive(Debug)]
pub(super) enum Joined {
    /// Nothing is under way in the directory.
    Now(Seat),
    /// There will be a seat in a later group.
    Later(oneshot::Receiver<Seat>),
}

/// Some creations that go in one commit. It is there as long as one of its seats.
#[derive(Debug)]
struct Group {
    groups: Arc<Groups>,
    dir: Key,
    state: Mutex<State>,
    outcomes: Shared<BoxFuture<'static, Arc<Vec<Outcome>>>>,
}

#[derive(Debug)]
struct State {
    /// How many have a seat and have not handed in their commit yet.
    undecided: usize,
    commits: Vec<Handed>,
    /// Where the commits go when all are there.
    complete: Option<oneshot::Sender<Vec<Handed>>>,
}

/// A place in a group. Dropping it is to leave the group.
#[derive(Debug)]
pub(super) struct Seat {
    group: Arc<Group>,
    has_handed_in: bool,
}

/// What a commit takes of the store's limits.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    ops: usize,
    bytes: usize,
}

/// The directory whose creations this one may go with.
pub(super) fn directory(commit: &Commit) -> Option<&Key> {
    stamp(commit).map(|op| &op.key)
}

fn stamp(commit: &Commit) -> Option<&NodeOp> {
    commit.ops.last().and_then(Op::node).filter(|op| is_stamp(op))
}

fn is_stamp(op: &NodeOp) -> bool {
    matches!(op.mutation, Mutation::Stamp { .. })
}

impl Groups {
    pub(super) fn new<S: Store>(store: &Arc<S>) -> Arc<Groups> {
        let limits = store.limits();
        let store = Arc::clone(store);
        let carry_out = move |commits: Vec<Handed>| {
            let store = Arc::clone(&store);
            async move { carry_out(&*store, &commits).await }.boxed()
        };
        Arc::new(Groups { limits, carry_out: Box::new(carry_out), waiting: Mutex::default() })
    }

    /// Joins the creations of a directory with a commit like this one.
    pub(super) fn join(self: &Arc<Self>, dir: &Key, commit: &Commit) -> Joined {
        let mut waiting = self.lock();
        if let Some(line) = waiting.get_mut(dir) {
            let (seat, later) = oneshot::channel();
            line.push_back(Waiting { size: Size::of(commit), seat });
            return Joined::Later(later);
        }
        waiting.insert(dir.clone(), VecDeque::new());
        drop(waiting);
        Joined::Now(Seat { group: Group::open(self, dir, 1), has_handed_in: false })
    }

    /// Opens the next group of a directory, for those who wait.
    fn open_next(self: &Arc<Self>, dir: &Key) {
        let next = {
            let mut waiting = self.lock();
            let Some(line) = waiting.get_mut(dir) else { return };
            let next = first_of(line, self.limits);
            if next.is_empty() {
                waiting.remove(dir);
                return;
            }
            next
        };
        // Outside the lock: whoever left meanwhile gives the seat back by dropping it.
        let group = Group::open(self, dir, next.len());
        for Waiting { seat, .. } in next {
            let _ = seat.send(Seat { group: Arc::clone(&group), has_handed_in: false });
        }
    }

    /// Whether nothing is being created.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, VecDeque<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("directories", &self.lock().len()).finish_non_exhaustive()
    }
}

/// Those who come next: first come, first served, as many as one commit takes.
fn first_of(line: &mut VecDeque<Waiting>, limits: Limits) -> Vec<Waiting> {
    let mut taken = Size::default();
    let mut next = Vec::new();
    while let Some(first) = line.front() {
        if first.seat.is_closed() {
            line.pop_front();
            continue;
        }
        let Some(size) = taken.with(first.size, limits) else { break };
        taken = size;
        next.extend(line.pop_front());
    }
    next
}

impl Group {
    fn open(groups: &Arc<Groups>, dir: &Key, seats: usize) -> Arc<Group> {
        let (complete, commits) = oneshot::channel::<Vec<Handed>>();
        let under_way = Arc::clone(groups);
        let outcomes = async move {
            let commits = commits.await.unwrap_or_default();
            Arc::new((under_way.carry_out)(commits).await)
        };
        let state = State { undecided: seats, commits: Vec::new(), complete: Some(complete) };
        Arc::new(Group {
            groups: Arc::clone(groups),
            dir: dir.clone(),
            state: Mutex::new(state),
            outcomes: outcomes.boxed().shared(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One more has decided; the last one lets the group go.
    fn decided(&mut self) {
        self.undecided -= 1;
        if let Some(complete) = self.complete.take_if(|_| self.undecided == 0) {
            // Nobody listens where all have left.
            let _ = complete.send(std::mem::take(&mut self.commits));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.groups.open_next(&self.dir);
    }
}

impl Seat {
    /// Whether the seat is one for a creation like this.
    pub(super) fn is_for(&self, dir: &Key) -> bool {
        self.group.dir == *dir
    }

    /// Goes with the group, to its end. `None`: it did not happen, since another creation of the
    /// group makes the same directory; a later group will do.
    pub(super) async fn commit(mut self, commit: &Commit) -> Option<Outcome> {
        let number = self.hand_in(commit)?;
        let outcomes = self.group.outcomes.clone().await;
        outcomes.get(number).cloned()
    }

    fn hand_in(&mut self, commit: &Commit) -> Option<usize> {
        let mut state = self.group.lock();
        if state.commits.iter().any(|other| overlap(&other.commit, commit)) {
            return None;
        }
        let number = state.commits.len();
        state.commits.push(Handed { commit: commit.clone(), payers: Payers::of_this_task() });
        state.decided();
        drop(state);
        self.has_handed_in = true;
        Some(number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.has_handed_in {
            self.group.lock().decided();
        }
    }
}

/// Whether two commits touch one item, beside the directory that both stamp.
fn overlap(a: &Commit, b: &Commit) -> bool {
    let mut keys = own_keys(a);
    keys.any(|key| own_keys(b).any(|other| other == key))
}

fn own_keys(commit: &Commit) -> impl Iterator<Item = &Key> {
    commit.ops.iter().filter_map(Op::node).filter(|op| !is_stamp(op)).map(|op| &op.key)
}

impl Size {
    fn of(commit: &Commit) -> Size {
        let bytes = commit.ops.iter().map(|op| {
            let key = op.node().map_or(0, |op| op.key.as_bytes().len());
            op.value_bytes() + 2 * key + PART_BYTES
        });
        Size { ops: commit.ops.len(), bytes: bytes.sum() }
    }

    /// Both together, where one commit takes them. One alone always goes.
    fn with(self, other: Size, limits: Limits) -> Option<Size> {
        if self.ops == 0 {
            return Some(other);
        }
        // Both have the stamp.
        let ops = self.ops + other.ops - 1;
        let bytes = self.bytes + other.bytes;
        (ops <= limits.commit_ops && bytes <= limits.commit_bytes).then_some(Size { ops, bytes })
    }
}

/// Several creations as one commit.
struct Together {
    commit: Commit,
    /// Where the parts of each are, without its stamp, which comes last of all.
    parts: Vec<Range<usize>>,
}

impl Together {
    /// `None`: there is none.
    fn of(commits: &[&Commit]) -> Option<Together> {
        let first = commits.iter().min_by_key(|commit| commit.id.index)?;
        let last = commits.iter().max_by_key(|commit| commit.id.index)?;
        let mut ops = Vec::with_capacity(2 * commits.len());
        let mut parts = Vec::with_capacity(commits.len());
        for commit in commits {
            let begin = ops.len();
            let own = commit.ops.split_last().map_or(&[][..], |(_stamp, own)| own);
            ops.extend_from_slice(own);
            parts.push(begin..ops.len());
        }
        // As one after the other: the first must be able to go, and the last one's mark stays.
        let mut stamp = stamp(last)?.clone();
        stamp.id = first.id;
        ops.push(Op::Node(stamp));
        Some(Together { commit: Commit { id: last.id, ops }, parts })
    }

    /// What was found for one of the creations, by its own numbers; the second of the pair for
    /// its directory.
    fn found_for(&self, number: usize, found: &Found) -> (Found, Found) {
        let own = self.parts[number].clone();
        let directory = self.commit.ops.len() - 1;
        let renumber = |range: Range<usize>, to: usize| {
            let inside = found.iter().filter(move |(part, _)| range.contains(part));
            inside.map(|(part, item)| (part - to, item.clone())).collect()
        };
        let length = own.len();
        let begin = own.start;
        (renumber(own, begin), renumber(directory..directory + 1, directory - length))
    }
}

/// Carries out creations of one directory, as many at a time as can go together, and gives the
/// outcome of each.
async fn carry_out<S: Store>(store: &S, commits: &[Handed]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; commits.len()];
    let mut at_a_time = commits.len();
    loop {
        let open = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
        let numbers: Vec<usize> = open.map(|(number, _)| number).take(at_a_time).collect();
        let going: Vec<&Commit> = numbers.iter().map(|number| &commits[*number].commit).collect();
        let payers = numbers.iter().map(|number| commits[*number].payers.clone());
        let Some(together) = Together::of(&going) else { break };
        if going.len() > 1 {
            metrics::creations_gathered(going.len() as u64);
        }
        let payers = Payers::together(payers);
        let outcome = payers.pay(settle(store, &together.commit)).await;
        match outcome {
            Err(Failed { error: StoreError::TooLarge(why), is_open: false }) if going.len() > 1 => {
                // One of them may be; the others are not to be refused for it.
                tracing::debug!(why, "creations go one by one");
                at_a_time = 1;
            }
            outcome => {
                for (place, number) in numbers.iter().enumerate() {
                    outcomes[*number] = outcome_of(&together, place, &outcome);
                }
            }
        }
    }
    outcomes.into_iter().flatten().collect()
}

/// What became of one of several; `None`: nothing, as it was not the reason why they were refused.
fn outcome_of(together: &Together, place: usize, outcome: &Outcome) -> Option<Outcome> {
    let settled = match outcome {
        Ok(settled) => settled,
        Err(failed) => return Some(Err(failed.clone())),
    };
    Some(Ok(match settled {
        Settled::Applied(_) => Settled::Applied(None),
        Settled::HadApplied(found) => Settled::HadApplied(together.found_for(place, found).0),
        Settled::Refused(found) => {
            let (mut own, directory) = together.found_for(place, found);
            let is_reason = !own.is_empty() || !directory.is_empty() || found.is_empty();
            if !is_reason {
                return None;
            }
            own.extend(directory);
            Settled::Refused(own)
        }
    }))
}
