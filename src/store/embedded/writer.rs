//! The one thread that changes anything.
//!
//! It takes all commits that wait, decides them in order, makes what they do durable with one
//! sync, shows it to the readers, and only then answers. Between groups it forgets items whose
//! time is past.
//!
//! Invariants: nothing is seen before it is durable; after a write that failed nothing is
//! written any more, because the disk may hold a part that the memory does not.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::changes::Changes;
use super::disk::Durable;
use super::{NowFn, Shared};
use crate::store::{Committed, StoreError};
use crate::v2::{Commit, Item, Key, Mutation, Op, UnixMs};

/// How many commits one sync serves at most.
const GROUP_COMMITS: usize = 1024;
/// No more commits are taken once a group's values measure this.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// How many items are forgotten at a time; a commit that comes meanwhile waits for these.
const PURGE_ITEMS: usize = 256;
/// How many commits are remembered by name of their own (see [`Repeats`]).
const REPEATS: usize = 256;

/// A commit, and where its answer goes.
pub(super) struct Request {
    pub(super) commit: Commit,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// The writer's own state.
pub(super) struct Writer<D> {
    inbox: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    disk: D,
    now: NowFn,
    /// Which item may be forgotten from when on.
    due: BTreeSet<(UnixMs, Key)>,
    repeats: Repeats,
}

impl<D: Durable> Writer<D> {
    pub(super) fn new(
        inbox: mpsc::Receiver<Request>,
        shared: Arc<Shared>,
        disk: D,
        now: NowFn,
    ) -> Writer<D> {
        let due = {
            let tree = shared.tree();
            tree.items().filter_map(|item| due(item)).collect()
        };
        Writer { inbox, shared, disk, now, due, repeats: Repeats::default() }
    }

    /// Serves until every sender is gone and every commit answered.
    pub(super) fn run(mut self) {
        self.purge();
        while let Some(first) = self.inbox.blocking_recv() {
            let group = self.gather(first);
            self.carry_out(group);
            self.purge();
        }
    }

    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = value_bytes(&first.commit);
        let mut group = vec![first];
        while group.len() < GROUP_COMMITS && bytes < GROUP_BYTES {
            let Ok(next) = self.inbox.try_recv() else { break };
            bytes += value_bytes(&next.commit);
            group.push(next);
        }
        group
    }

    fn carry_out(&mut self, group: Vec<Request>) {
        if let Some(why) = self.shared.failure() {
            return answer_all(group, || StoreError::Unavailable(why.to_owned()));
        }
        let mut changes = Changes::default();
        let answers: Vec<Committed> = {
            let tree = self.shared.tree();
            let decide = |request: &Request| {
                let commit = &request.commit;
                if self.repeats.has(commit) {
                    return Committed::Applied { before: None };
                }
                let answer = changes.decide(&tree, commit);
                if matches!(answer, Committed::Applied { .. }) {
                    self.repeats.note(commit);
                }
                answer
            };
            group.iter().map(decide).collect()
        };
        if !changes.is_empty() {
            if let Err(why) = self.disk.write(&changes) {
                self.shared.fail(&why);
                return answer_all(group, || StoreError::Indeterminate(why.clone()));
            }
            self.show(changes);
        }
        for (request, answer) in group.into_iter().zip(answers) {
            // Who does not wait any more has no use for the answer.
            let _ = request.answer.send(Ok(answer));
        }
    }

    fn show(&mut self, changes: Changes) {
        let mut replaced = Vec::with_capacity(changes.items.len());
        {
            let mut tree = self.shared.tree_mut();
            for (_, item) in changes.items {
                replaced.push((tree.put(item.clone()), item));
            }
            for (name, record) in changes.records {
                tree.put_record(name, record);
            }
        }
        for (before, after) in replaced {
            let (before, after) = (before.as_deref().and_then(due), due(&after));
            if before == after {
                continue;
            }
            if let Some(before) = before {
                self.due.remove(&before);
            }
            self.due.extend(after);
        }
    }

    /// Forgets some items whose time is past; all of them, as long as nobody waits.
    fn purge(&mut self) {
        if self.due.is_empty() || self.shared.failure().is_some() {
            return;
        }
        let now = (self.now)();
        loop {
            let past = self.due.iter().take_while(|(at, _)| *at < now).take(PURGE_ITEMS);
            let keys: Vec<Key> = past.map(|(_, key)| key.clone()).collect();
            if keys.is_empty() {
                return;
            }
            if let Err(why) = self.disk.forget(&keys) {
                return self.shared.fail(&why);
            }
            let mut gone = Vec::with_capacity(keys.len());
            {
                let mut tree = self.shared.tree_mut();
                gone.extend(keys.iter().filter_map(|key| tree.forget(key)));
            }
            for item in gone.iter().filter_map(|item| due(item)) {
                self.due.remove(&item);
            }
            if !self.inbox.is_empty() {
                return;
            }
        }
    }
}

fn due(item: &Item) -> Option<(UnixMs, Key)> {
    item.purge_at().map(|at| (at, item.key.clone()))
}

fn answer_all(group: Vec<Request>, error: impl Fn() -> StoreError) {
    for request in group {
        // Who does not wait any more has no use for the answer.
        let _ = request.answer.send(Err(error()));
    }
}

fn value_bytes(commit: &Commit) -> usize {
    commit.ops.iter().map(Op::value_bytes).sum()
}

/// The last commits whose repetition no item would refuse: those that write records, or end a
/// drain, and nothing that has an index.
#[derive(Default)]
struct Repeats(VecDeque<Commit>);

impl Repeats {
    fn has(&self, commit: &Commit) -> bool {
        !refuses_itself(commit) && self.0.contains(commit)
    }

    fn note(&mut self, commit: &Commit) {
        if refuses_itself(commit) {
            return;
        }
        if self.0.len() == REPEATS {
            self.0.pop_front();
        }
        self.0.push_back(commit.clone());
    }
}

/// Whether an item that the commit writes has its index afterwards, and so refuses it next time.
fn refuses_itself(commit: &Commit) -> bool {
    let mut nodes = commit.ops.iter().filter_map(Op::node);
    nodes.any(|op| !matches!(op.mutation, Mutation::EndDrain { .. }))
}
