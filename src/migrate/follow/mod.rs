//! `import --follow`: the target stays what the source is, until somebody says stop.
//!
//! ```text
//! source --watch--> fetch (a task for each subtree) --queue--> here --set to this state--> target
//!        <--look-- leases: nodes with a TTL, whose refreshes no watch tells
//!        <--read-- mirror: a subtree, or all of it, where both had differed
//! ```
//!
//! Events are applied one after the other. Each says what a node is, so one that is applied
//! twice, or on top of a tree that has it already, does no harm: what comes after it is applied
//! as well. Where the target's answer shows that both trees had differed, that subtree is read from the
//! source again and made equal; where events are missing ([`fetch::Told::Gap`]), all of it is.
//!
//! At the end, everything up to the index that the source has then is applied, then both trees are
//! read and made equal (a TTL that was refreshed a moment ago is not at the target yet), and compared.
//!
//! Not here: the watch ([`fetch`]), what an event means ([`action`]), when a TTL is looked at
//! ([`leases`]). Invariant: what has been taken out of the queue has been applied, or is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Scope;
use super::compare::Comparison;
use super::import::{Fatal, Imported, Pace, Target, Tell};
use super::ttl::now;
use crate::shutdown::Shutdown;
use crate::v2::Key;
use crate::v2client::Client;

mod action;
mod apply;
mod fetch;
mod leases;
mod look;
mod run;

pub use run::{Following, run};

use fetch::{Goal, Queue, Told};
use leases::{Lease, Leases};

/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(10);

/// How many nodes are looked at at once.
const LOOKS: usize = 16;

/// How often both trees are made equal and compared at the end, while the source changes.
const LAST_ATTEMPTS: usize = 3;

/// What is told to whom.
#[derive(Clone, Copy)]
pub struct Say<'a> {
    /// What goes on.
    pub tell: Tell<'a>,
    /// That it has caught up for the first time.
    pub ready: Tell<'a>,
}

/// The source of a tree that is followed.
pub(in crate::migrate) struct Source {
    pub(in crate::migrate) client: Arc<Client>,
    /// For watches and looks: it does not try again by itself, so that what happens is seen.
    pub(in crate::migrate) watcher: Arc<Client>,
    pub(in crate::migrate) scope: Scope,
}

impl Source {
    /// The subtrees that are watched: hidden ones need a watch of their own.
    fn roots(&self) -> Vec<String> {
        let mut roots = vec![self.scope.prefix.clone()];
        roots.extend(self.scope.hidden.iter().cloned());
        roots
    }

    fn key(&self) -> Key {
        Key::parse(self.scope.prefix.as_bytes()).unwrap_or_else(|_| Key::root())
    }

    /// Begins to fetch what happens from an index on.
    fn fetch(&self, from: u64) -> Queue {
        Queue::begin(&self.watcher, &self.roots(), from)
    }
}

/// A source that is being followed.
pub(in crate::migrate) struct Follower<'a> {
    source: &'a Source,
    target: &'a Target,
    pace: Pace<'a>,
    leases: Leases,
    /// Events that were applied.
    applied: u64,
    /// The index of the last event.
    index: u64,
    /// Nodes that the target did not take.
    refused: u64,
    /// When all of the source was read last because events were missing.
    whole_at: Option<Instant>,
    /// What is wrong with the source.
    trouble: Option<String>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What happened during the import comes first.
    CatchingUp,
    Following,
    Stopping,
}

impl<'a> Follower<'a> {
    fn new(source: &'a Source, target: &'a Target, pace: Pace<'a>, index: u64) -> Follower<'a> {
        Follower {
            source,
            target,
            pace,
            leases: Leases::default(),
            applied: 0,
            index,
            refused: 0,
            whole_at: None,
            trouble: None,
        }
    }

    /// Takes note of the nodes with a TTL.
    fn lease(&mut self, nodes: &[super::Node]) {
        let now = now();
        for node in nodes {
            let (created, is_dir) = (node.created, node.is_dir());
            let lease = node.expiration.map(|expiration| Lease { expiration, created, is_dir });
            self.leases.set(&node.key, lease, now);
        }
    }

    /// Follows until it is told to stop, and says how both trees compare then.
    async fn run(
        &mut self,
        mut queue: Queue,
        shutdown: &Shutdown,
        say: Say<'_>,
    ) -> Result<Imported, Fatal> {
        let mut phase = Phase::CatchingUp;
        let mut goal = self.aim(&queue, phase).await?;
        let mut open = self.source.roots().len();
        let mut looks = FuturesUnordered::new();
        let mut ticks = interval(TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            let due = self.until_look(looks.len());
            tokio::select! {
                () = shutdown.begun(), if phase != Phase::Stopping => {
                    (say.tell)("stopping: what the source has done up to now comes first");
                    phase = Phase::Stopping;
                    goal = self.aim(&queue, phase).await?;
                    open = self.source.roots().len();
                }
                message = queue.messages.recv() => {
                    // The tasks that fetch end with the queue, or once the last goal is reached.
                    let Some(message) = message else { return self.finish().await };
                    let Told::Reached(reached) = message.told else {
                        self.apply(message).await?;
                        continue;
                    };
                    // One that was aimed at before counts for nothing.
                    open -= usize::from(reached == goal);
                    match phase {
                        Phase::CatchingUp if open == 0 => {
                            phase = Phase::Following;
                            (say.ready)(&self.following());
                        }
                        Phase::Stopping if open == 0 => return self.finish().await,
                        Phase::CatchingUp | Phase::Following | Phase::Stopping => {}
                    }
                }
                Some(looked) = looks.next(), if !looks.is_empty() => self.looked(looked).await?,
                () = sleep(due.unwrap_or(TELL)), if due.is_some() => {
                    while looks.len() < LOOKS
                        && let Some(look) = self.leases.take_due(now())
                    {
                        looks.push(look::look(&self.source.watcher, look));
                    }
                }
                _ = ticks.tick() => self.tell_status(queue.messages.len()),
            }
        }
    }

    /// Has all watches go on until where the source is now.
    async fn aim(&self, queue: &Queue, phase: Phase) -> Result<Goal, Fatal> {
        let index = fetch::index_of(&self.source.client, &self.source.key()).await;
        let index = index.map_err(Fatal::SourceCall)?;
        let goal = Goal { index, is_last: phase == Phase::Stopping };
        queue.aim(goal);
        Ok(goal)
    }

    /// How long until a node is to be looked at, if another one can be.
    fn until_look(&self, under_way: usize) -> Option<Duration> {
        let due = self.leases.next_due().filter(|_| under_way < LOOKS)?;
        Some(Duration::try_from(due.duration_since(now())).unwrap_or(Duration::ZERO))
    }

    fn following(&self) -> String {
        let (from, to) = (self.source.client.endpoints(), self.target.client().endpoints());
        format!("following {from} to {to} from index {}", self.index)
    }

    fn tell_status(&self, waiting: usize) {
        let Follower { index, applied, refused, .. } = self;
        let leases = self.leases.len();
        (self.pace.tell)(&format!(
            "at index {index}: {applied} events applied, {waiting} wait, {refused} refused, \
             {leases} nodes with a TTL"
        ));
    }

    /// Makes both trees equal and compares them. A source that still changes gets some attempts.
    async fn finish(&mut self) -> Result<Imported, Fatal> {
        let mut last = Imported::default();
        for _ in 0..LAST_ATTEMPTS {
            last = self.mirror(&self.source.scope.prefix).await?;
            let Imported { written, removed, .. } = &last;
            if written + removed > 0 {
                let what = format!("{written} nodes made equal and {removed} removed at the end");
                (self.pace.tell)(&what);
            }
            last.comparison = self.compare().await?;
            if last.is_good() {
                break;
            }
        }
        last.events = self.applied;
        Ok(last)
    }

    async fn compare(&self) -> Result<Comparison, Fatal> {
        super::import::compare_servers(&self.source.client, self.target, &self.source.scope).await
    }
}
