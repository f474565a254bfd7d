//! Brings the events of the source: a long poll after the other, by a task for each subtree that
//! is watched, into a queue.
//!
//! etcd keeps its last thousand events, whoever they concern. Where a watch reaches back further
//! it is refused (401), and where the source began anew its index falls: then a [`Told::Gap`] is put
//! into the queue in place of what was missed, and the watch goes on from the source's index. Whoever
//! takes the gap out of the queue reads the tree again, and that is after it.
//!
//! **Silence.** That a watch from index `i` brought nothing says that nothing happened from `i` to the
//! index of its head. Then the next one asks from there, or a quiet subtree of a busy source would
//! fall out of the window. An event may be under way behind the head, so it takes two silent watches.
//!
//! Invariant: an event is in the queue, or a gap is, or the same index is asked for again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::v2::Key;
use crate::v2client::error::{EVENT_INDEX_CLEARED, KEY_NOT_FOUND, NOT_DIR};
use crate::v2client::{Client, Error, Event, Get, Watch, Watched};

/// How long a watch may bring nothing.
const LONGEST: Duration = Duration::from_secs(10);

/// The same where somebody waits for an index to be reached.
const LONGEST_TO_GOAL: Duration = Duration::from_millis(500);

/// No silent watch is followed by the next one sooner.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long is waited before a source that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How much waits to be applied, in KiB; an event counts as one at least.
const QUEUE_KIB: u32 = 128 << 10;
const QUEUE_EVENTS: usize = QUEUE_KIB as usize;

/// What a watch tells.
#[derive(Debug)]
pub(super) enum Told {
    /// An event.
    Event(Box<Event>),
    /// Events are missing here.
    Gap {
        /// Why, for a person to read.
        why: String,
        /// When that was known: all that is read after it has what was missed.
        since: Instant,
    },
    /// All events up to this goal are before this.
    Reached(Goal),
    /// The source does not answer, or answers again.
    Trouble(Option<String>),
}

/// Something told by the watch of one of the subtrees.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) root: usize,
    pub(super) told: Told,
    _room: OwnedSemaphorePermit,
}

/// An index that is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) index: u64,
    /// Nothing is fetched beyond it.
    pub(super) is_last: bool,
}

/// The queue, from its end.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) messages: mpsc::Receiver<Message>,
    goal: watch::Sender<Option<Goal>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Queue {
    /// Begins to fetch what happens below these keys from that index on.
    pub(super) fn begin(client: &Arc<Client>, roots: &[String], from: u64) -> Queue {
        let (sender, messages) = mpsc::channel(QUEUE_EVENTS);
        let (goal, _) = watch::channel(None);
        let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        let fetcher = |(root, key): (usize, &String)| Fetcher {
            client: Arc::clone(client),
            key: Key::parse(key.as_bytes()).unwrap_or_else(|_| Key::root()),
            root,
            messages: sender.clone(),
            room: Arc::clone(&room),
            goal: goal.subscribe(),
            from,
            silent: None,
            passed: 0,
            trouble: None,
        };
        let tasks = roots.iter().enumerate().map(fetcher);
        let tasks = tasks.map(|fetcher| tokio::spawn(fetcher.run()));
        let _tasks = tasks.map(AbortOnDropHandle::new).collect();
        Queue { messages, goal, _tasks }
    }

    /// Each watch is to tell when it has reached this.
    pub(super) fn aim(&self, goal: Goal) {
        self.goal.send_replace(Some(goal));
    }
}

/// The index of a source at this moment, read through consensus.
pub(super) async fn index_of(client: &Client, near: &Key) -> Result<u64, Error> {
    // A node that is not there, so that no listing comes with the answer.
    let probe = near.child(b"_etcdynamo");
    match client.get(&probe, Get { quorum: true, ..Get::default() }).await {
        Ok((event, head)) => Ok(head.index.unwrap_or(event.node.modified_index)),
        Err(Error::Refused(refusal)) if matches!(refusal.error_code, KEY_NOT_FOUND | NOT_DIR) => {
            Ok(refusal.index)
        }
        Err(error) => Err(error),
    }
}

/// Whoever it was sent to is gone.
struct Unwanted;

/// Fetches what happens in one subtree.
struct Fetcher {
    client: Arc<Client>,
    key: Key,
    root: usize,
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    goal: watch::Receiver<Option<Goal>>,
    /// The next index that is of interest.
    from: u64,
    /// The index of the head of the last watch, if it was a silent one from `from`.
    silent: Option<u64>,
    /// Nothing is to come up to this index.
    passed: u64,
    /// What is wrong with the source.
    trouble: Option<String>,
}

impl Fetcher {
    async fn run(mut self) {
        // Whoever is gone needs no answer.
        let _: Result<(), Unwanted> = self.fetch().await;
    }

    async fn fetch(&mut self) -> Result<(), Unwanted> {
        let mut reached: Option<Goal> = None;
        let mut since = Instant::now();
        loop {
            if self.goal.has_changed().map_err(|_| Unwanted)? {
                since = Instant::now();
            }
            let goal = *self.goal.borrow_and_update();
            let open = goal.filter(|goal| reached != Some(*goal));
            if let Some(goal) = open
                && self.has_reached(goal, since)
            {
                reached = open;
                self.send(Told::Reached(goal), 0).await?;
                if goal.is_last {
                    return Ok(());
                }
                continue;
            }
            let longest = if open.is_some() { LONGEST_TO_GOAL } else { LONGEST };
            let watch = Watch { from: self.from, recursive: true, longest };
            let asked = Instant::now();
            let watched = tokio::select! {
                watched = self.client.watch(&self.key, watch) => watched,
                changed = self.goal.changed() => match changed {
                    Ok(()) => {
                        since = Instant::now();
                        continue;
                    }
                    Err(_) => return Err(Unwanted),
                },
            };
            if matches!(watched, Ok(Watched::Silence { .. })) && asked.elapsed() < SHORTEST {
                // Something in between may end every watch at once.
                sleep(SHORTEST).await;
            }
            self.heard(watched, open.is_none()).await?;
        }
    }

    /// Whether nothing up to the goal is to come. A member that is behind the one that named the goal
    /// gets some time. So does a source that cannot be watched: at the end all of it is read anyway.
    fn has_reached(&self, goal: Goal, since: Instant) -> bool {
        let is_over = self.silent.is_some() || (goal.is_last && self.trouble.is_some());
        let is_late = is_over && since.elapsed() > LONGEST;
        self.from > goal.index || self.passed >= goal.index || is_late
    }

    async fn heard(
        &mut self,
        watched: Result<Watched, Error>,
        is_long: bool,
    ) -> Result<(), Unwanted> {
        if watched.is_ok() && self.trouble.take().is_some() {
            self.send(Told::Trouble(None), 0).await?;
        }
        match watched {
            Ok(Watched::Event(mut event)) => {
                // What was there before is not needed, but for its kind.
                event.prev_node.iter_mut().for_each(|node| node.value = None);
                self.silent = None;
                self.from = event.node.modified_index.max(self.from) + 1;
                let bytes = 1 + event.node.value.as_ref().map_or(0, String::len);
                self.send(Told::Event(event), bytes).await
            }
            Ok(Watched::Silence { index }) => self.heard_nothing(index, is_long).await,
            Err(Error::Refused(refusal)) if refusal.error_code == EVENT_INDEX_CLEARED => {
                self.gap(refusal.index, refusal.to_string()).await
            }
            Err(error) => self.heard_error(error.to_string()).await,
        }
    }

    async fn heard_nothing(&mut self, index: Option<u64>, is_long: bool) -> Result<(), Unwanted> {
        let Some(first) = std::mem::replace(&mut self.silent, index) else { return Ok(()) };
        if first.saturating_add(1) < self.from {
            let why = format!("the source's index was {} and is {first}", self.from - 1);
            return self.gap(first, why).await;
        }
        self.passed = self.passed.max(first);
        if is_long {
            self.from = self.from.max(first + 1);
        }
        Ok(())
    }

    async fn heard_error(&mut self, what: String) -> Result<(), Unwanted> {
        self.silent = None;
        if self.trouble.as_ref() != Some(&what) {
            self.trouble = Some(what.clone());
            self.send(Told::Trouble(Some(what)), 0).await?;
        }
        sleep(PAUSE).await;
        // One that was started anew may have another tree, and its index grow beyond what was seen.
        match index_of(&self.client, &self.key).await {
            Ok(index) if index.saturating_add(1) < self.from => {
                let why = format!("the source's index was {} and is {index}", self.from - 1);
                self.gap(index, why).await
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Goes on behind this index, and owns up to what is missing.
    async fn gap(&mut self, index: u64, why: String) -> Result<(), Unwanted> {
        self.silent = None;
        self.passed = 0;
        self.from = index.saturating_add(1);
        self.send(Told::Gap { why, since: Instant::now() }, 0).await
    }

    async fn send(&self, told: Told, bytes: usize) -> Result<(), Unwanted> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(QUEUE_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let room = room.map_err(|_closed| Unwanted)?;
        let message = Message { root: self.root, told, _room: room };
        self.messages.send(message).await.map_err(|_closed| Unwanted)
    }
}

#[cfg(test)]
mod tests;
