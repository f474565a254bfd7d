//! Writes what a plan says to a server.
//!
//! Top down: the nodes of a directory are written one after the other, in the order in which their
//! source made them, and different directories side by side. All writes set a state and have no
//! condition that a repetition would fail, so one whose answer was lost is sent again.
//!
//! **Directories that expire** get their TTL last, when all is in them: one that ran out while it
//! is filled would be made again, without a TTL, by the next node in it. What is over by then is
//! removed again.
//!
//! Invariant: nothing is left out in silence. A node is written, or was as it should be, or is over,
//! or is told with the reason.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::super::ttl::{Left, left, now};
use super::super::{Content, Node};
use super::plan::{Group, NodeId, Plan, Todo};
use super::spool::Spool;
use super::target::{Refused, Target};
use super::{Failures, Fatal};

/// How much is read from the dump at once; a larger node is read alone.
const BATCH_NODES: usize = 64;
const BATCH_BYTES: u64 = 256 << 10;

/// How much of the dump is in memory at any moment, in KiB, several times over while it is sent.
const ROOM_KIB: u32 = 4 << 10;

/// How it went.
#[derive(Debug, Default)]
pub(in crate::migrate) struct Filled {
    /// Nodes that were made or changed.
    pub(in crate::migrate) written: AtomicU64,
    /// Nodes that were as they should be.
    pub(in crate::migrate) unchanged: AtomicU64,
    /// Nodes whose time was over.
    pub(in crate::migrate) expired: AtomicU64,
    /// Nodes that the target does not take.
    pub(in crate::migrate) failures: Failures,
}

impl Filled {
    /// Nodes that nothing is left to do for.
    pub(in crate::migrate) fn done(&self) -> u64 {
        [&self.written, &self.unchanged, &self.expired, &self.failures.count]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// A plan that is being carried out.
pub(in crate::migrate) struct Fill<'a> {
    plan: &'a Plan,
    spool: &'a Spool,
    target: &'a Target,
    filled: &'a Filled,
    /// The directories that are to get their TTL.
    mortal: Mutex<Vec<NodeId>>,
    /// For what is read and not written yet.
    room: Semaphore,
}

/// The directories that are there and not yet filled.
struct Queue {
    groups: Mutex<Vec<Group>>,
    /// One permit for each of them. Closed when there will be no more.
    waiting: Semaphore,
    /// Those that wait or are being filled.
    open: AtomicUsize,
    fatal: Mutex<Option<Fatal>>,
}

impl Queue {
    fn push(&self, group: Group) {
        self.open.fetch_add(1, Ordering::Relaxed);
        lock(&self.groups).push(group);
        self.waiting.add_permits(1);
    }

    async fn pop(&self) -> Option<Group> {
        self.waiting.acquire().await.ok()?.forget();
        lock(&self.groups).pop()
    }

    fn done(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.waiting.close();
        }
    }

    fn fail(&self, fatal: Fatal) {
        lock(&self.fatal).get_or_insert(fatal);
        self.waiting.close();
    }

    fn has_failed(&self) -> bool {
        lock(&self.fatal).is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl<'a> Fill<'a> {
    /// Of this plan, from its dump to this server.
    pub(in crate::migrate) fn new(
        plan: &'a Plan,
        spool: &'a Spool,
        target: &'a Target,
        filled: &'a Filled,
    ) -> Fill<'a> {
        let (mortal, room) = (Mutex::new(Vec::new()), Semaphore::new(ROOM_KIB as usize));
        Fill { plan, spool, target, filled, mortal, room }
    }

    /// Carries it out, in so many directories at once.
    pub(in crate::migrate) async fn run(&self, concurrency: usize) -> Result<(), Fatal> {
        let queue = Queue {
            groups: Mutex::new(Vec::new()),
            waiting: Semaphore::new(0),
            open: AtomicUsize::new(0),
            fatal: Mutex::new(None),
        };
        queue.push(Group::Roots);
        join_all((0..concurrency.max(1)).map(|_| self.worker(&queue))).await;
        if let Some(fatal) = lock(&queue.fatal).take() {
            return Err(fatal);
        }
        self.end_directories().await
    }

    async fn worker(&self, queue: &Queue) {
        while let Some(group) = queue.pop().await {
            if let Err(fatal) = self.group(group, queue).await {
                queue.fail(fatal);
            }
            queue.done();
        }
    }

    /// Writes the nodes of a directory, in their order.
    async fn group(&self, group: Group, queue: &Queue) -> Result<(), Fatal> {
        let mut rest = self.plan.group(group);
        while !rest.is_empty() && !queue.has_failed() {
            let (batch, later) = rest.split_at(self.batch(rest));
            let bytes: u64 = batch.iter().map(|id| self.plan.line_bytes(*id)).sum();
            let kib = u32::try_from(bytes >> 10).unwrap_or(ROOM_KIB).min(ROOM_KIB);
            // It is never closed.
            let _room = self.room.acquire_many(kib).await.ok();
            let nodes = self.read(batch).await?;
            for (id, node) in batch.iter().zip(nodes) {
                let is_there = match node {
                    None => {
                        add(&self.filled.unchanged, 1);
                        true
                    }
                    Some(node) => self.node(*id, &node).await?,
                };
                if is_there && !self.plan.group(Group::Of(*id)).is_empty() {
                    queue.push(Group::Of(*id));
                }
            }
            rest = later;
        }
        Ok(())
    }

    /// How many of these are read at once, at least one.
    fn batch(&self, ids: &[NodeId]) -> usize {
        let mut bytes = 0;
        let fits = |id: &&NodeId| {
            bytes += self.plan.line_bytes(**id);
            bytes <= BATCH_BYTES
        };
        ids.iter().take(BATCH_NODES).take_while(fits).count().max(1)
    }

    /// Reads nodes; `None` for one that is as it should be.
    async fn read(&self, ids: &[NodeId]) -> Result<Vec<Option<Node>>, Fatal> {
        let place = |id: &NodeId| match self.plan.todo(*id) {
            Todo::Nothing => None,
            Todo::Make | Todo::Change => Some(self.plan.offset(*id)),
        };
        let places: Vec<Option<u64>> = ids.iter().map(place).collect();
        let spool = self.spool.clone();
        let read = tokio::task::spawn_blocking(move || {
            let node = |place: Option<u64>| place.map(|at| spool.node_at(at)).transpose();
            places.into_iter().map(node).collect::<Result<Vec<_>, _>>()
        });
        read.await.expect("it does not panic").map_err(Fatal::Dump)
    }

    /// Writes a node. False: what is below it need not be tried.
    async fn node(&self, id: NodeId, node: &Node) -> Result<bool, Fatal> {
        let todo = self.plan.todo(id);
        let seconds = match left(node.expiration, now()) {
            Left::Nothing => {
                add(&self.filled.expired, self.plan.size(id));
                if node.is_dir() && todo == Todo::Change {
                    // What an import that was interrupted had not given its TTL yet.
                    lock(&self.mortal).push(id);
                }
                return Ok(false);
            }
            Left::Forever => None,
            Left::Seconds(seconds) => Some(seconds),
        };
        let is_mortal_dir = node.is_dir() && seconds.is_some();
        if is_mortal_dir {
            lock(&self.mortal).push(id);
        }
        let result = match &node.content {
            Content::File(value) => self.target.write_file(&node.key, value, seconds, todo).await,
            Content::Dir if is_mortal_dir && todo == Todo::Change => Ok(()),
            Content::Dir => self.target.write_dir(&node.key, None, todo).await,
        };
        match result {
            Ok(()) => {
                add(&self.filled.written, 1);
                Ok(true)
            }
            Err(Refused::Node(error)) => {
                self.filled.failures.add(&node.key, &error, self.plan.size(id));
                Ok(false)
            }
            Err(Refused::All(fatal)) => Err(fatal),
        }
    }

    /// Gives the directories that expire their TTL, or removes those that are over. One in another
    /// one comes first.
    async fn end_directories(&self) -> Result<(), Fatal> {
        let mut mortal = std::mem::take(&mut *lock(&self.mortal));
        mortal.sort_unstable();
        for id in mortal {
            let Some(node) = self.read_one(id).await? else { continue };
            let ended = match left(node.expiration, now()) {
                Left::Nothing => self.target.remove_tree(&node.key).await,
                Left::Seconds(seconds) => {
                    self.target.write_dir(&node.key, Some(seconds), Todo::Change).await
                }
                Left::Forever => Ok(()),
            };
            match ended {
                Ok(()) => {}
                Err(Refused::Node(error)) => self.filled.failures.add(&node.key, &error, 0),
                Err(Refused::All(fatal)) => return Err(fatal),
            }
        }
        Ok(())
    }

    async fn read_one(&self, id: NodeId) -> Result<Option<Node>, Fatal> {
        Ok(self.read(&[id]).await?.pop().flatten())
    }
}
