//! The walk through the shards of a stream.
//!
//! ```text
//! open:   list all shards. Those that nobody followed yet are read from LATEST on, except where
//!         the parent is read too: then, like every shard that comes later, from its beginning,
//!         when the parent was read to its end.
//! round:  read each shard once. Where one ended, list again, and go on with its children.
//! ```
//!
//! A shard ends by itself after some hours, or by a split; what is written to its items then goes to
//! its children. To open a child at LATEST, or before its parent's end, is how events get lost or
//! out of order. The list may show a child late, or before its parent: either is looked for. Whether a
//! shard is closed is asked from reading it, not from the list, except for those that were
//! closed and had children before the walk began.
//!
//! Invariant: from [`Walk::open`] on every record is given once, those of one item in order, or
//! there is a [`Step::Gap`]. Nothing is changed but after an answer came, so a call that fails, or
//! is dropped, loses nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::store::feed::Round;

/// How many shards are read side by side; each answer may be 1 MB.
const PARALLEL_READS: usize = 8;

/// A page of so many records has more behind it.
const LARGE_PAGE: usize = 500;

/// How often the shards are listed, whatever happens; and how often at first and at the longest
/// while the children of a shard are looked for.
const LIST_INTERVAL: Duration = Duration::from_secs(60);
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);
const LONGEST_SEARCH_INTERVAL: Duration = Duration::from_secs(4);

/// For how long the children of a shard that ended are waited for before a round counts as whole
/// without them: a stream that merges two shards, or is switched off, gives none.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);

/// How often a call is tried while a walk begins, and the pause between.
const OPEN_ATTEMPTS: u32 = 5;
const OPEN_PAUSE: Duration = Duration::from_millis(200);

/// A shard as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The shard before it, which may not be in the list any more.
    pub(super) parent: Option<String>,
    /// Nothing will be added to it.
    pub(super) is_closed: bool,
}

/// Where a shard is read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// What comes from now on.
    Latest,
    /// At the beginning of what is still there.
    Start,
    /// After the record of this sequence number.
    After(String),
}

/// What one call gives of a shard.
#[derive(Debug, Clone)]
pub(super) struct Page<R> {
    pub(super) records: Vec<R>,
    /// The sequence number of the last one.
    pub(super) last: Option<String>,
    /// The iterator to read on with; `None`: the shard ended.
    pub(super) next: Option<String>,
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The iterator is too old.
    Expired,
    /// What should be read is not there any more.
    Lost(String),
    /// There are too many readers.
    Throttled(String),
    /// Anything else, which may pass.
    Passing(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Expired => f.write_str("an iterator expired"),
            Trouble::Lost(why) | Trouble::Throttled(why) | Trouble::Passing(why) => {
                f.write_str(why)
            }
        }
    }
}

/// The calls that a walk makes.
pub(super) trait Source: Send + Sync + 'static {
    /// A record of the stream.
    type Record: Send;

    /// A page of the list of shards, and after which shard the next page begins.
    fn shards(
        &self,
        after: Option<String>,
    ) -> impl Future<Output = Result<(Vec<Shard>, Option<String>), Trouble>> + Send;

    /// An iterator of a shard; `None` where there is nothing to be read.
    fn iterator(
        &self,
        shard: &str,
        position: &Position,
    ) -> impl Future<Output = Result<Option<String>, Trouble>> + Send;

    /// What an iterator points at.
    fn records(
        &self,
        iterator: &str,
    ) -> impl Future<Output = Result<Page<Self::Record>, Trouble>> + Send;
}

/// What the walk came upon.
#[derive(Debug)]
pub(super) enum Step<R> {
    Records(Vec<R>),
    Round(Round),
    Gap(String),
}

/// How far a shard was read.
#[derive(Debug)]
enum Progress {
    /// Not begun: its parent comes first.
    Waits { parent: String, since: Instant },
    /// Being read.
    Reads { position: Position, iterator: Option<String> },
    /// Read to its end, at this time; `None`: before the walk began.
    Done(Option<Instant>),
}

/// A walk that goes on for ever.
#[derive(Debug)]
pub(super) struct Walk<S> {
    source: S,
    shards: BTreeMap<String, Progress>,
    /// The parents of all shards that were ever listed and still are.
    parents: BTreeSet<String>,
    /// What is left of this round; `None`: the next one has not begun.
    round: Option<VecDeque<String>>,
    went: Round,
    /// A shard ended, and its children are to be looked for in this round.
    seeks_children: bool,
    list_at: Instant,
    search_interval: Duration,
}

impl<S: Source> Walk<S> {
    /// Begins a walk: what is written after this returns is walked through.
    pub(super) async fn open(source: S) -> Result<Walk<S>, Trouble> {
        let listed = retrying(|| list(&source)).await?;
        let parents = parents_of(&listed);
        let was_followed = |shard: &Shard| shard.is_closed && parents.contains(&shard.id);
        let read: BTreeSet<&str> =
            listed.iter().filter(|s| !was_followed(s)).map(|s| s.id.as_str()).collect();
        let mut shards = BTreeMap::new();
        for shard in &listed {
            let read_parent = shard.parent.as_deref().filter(|parent| read.contains(parent));
            let progress = match read_parent {
                _ if was_followed(shard) => Progress::Done(None),
                Some(parent) => {
                    Progress::Waits { parent: parent.to_owned(), since: Instant::now() }
                }
                None => {
                    let position = Position::Latest;
                    let iterator = retrying(|| source.iterator(&shard.id, &position)).await?;
                    match iterator {
                        Some(_) => Progress::Reads { position, iterator },
                        None => Progress::Done(Some(Instant::now())),
                    }
                }
            };
            shards.insert(shard.id.clone(), progress);
        }
        Ok(Walk {
            source,
            shards,
            parents,
            round: None,
            went: Round::Whole,
            seeks_children: false,
            list_at: Instant::now() + LIST_INTERVAL,
            search_interval: SEARCH_INTERVAL,
        })
    }

    /// The next step.
    pub(super) async fn next(&mut self) -> Step<S::Record> {
        loop {
            if self.round.is_none() {
                self.went = Round::Whole;
                if let Err(why) = self.list_if_due().await {
                    return Step::Gap(why);
                }
                self.round = Some(self.readable());
            }
            if self.seeks_children {
                if let Err(why) = self.follow_children().await {
                    return Step::Gap(why);
                }
                self.seeks_children = false;
            }
            let queue = self.round.as_ref().into_iter().flatten();
            let ids: Vec<String> = queue.take(PARALLEL_READS).cloned().collect();
            if ids.is_empty() {
                self.round = None;
                if self.is_orphaned() {
                    self.break_round(false);
                }
                return Step::Round(self.went);
            }
            match self.read(&ids).await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => return Step::Records(records),
                Err(why) => return Step::Gap(why),
            }
        }
    }

    /// Reads a page of each of these shards. `Err`: records are missing.
    async fn read(&mut self, ids: &[String]) -> Result<Vec<S::Record>, String> {
        let pages = join_all(ids.iter().map(|id| self.page(id))).await;
        let mut all = Vec::new();
        let mut ended = false;
        let mut again = Vec::new();
        for (id, page) in ids.iter().zip(pages) {
            match page {
                Ok(page) => {
                    ended |= page.next.is_none();
                    if page.next.is_some() && page.records.len() >= LARGE_PAGE {
                        again.push(id.clone());
                    }
                    self.went_on(id, page.last, page.next);
                    all.extend(page.records);
                }
                Err(trouble) => self.failed(id, trouble)?,
            }
        }
        if let Some(queue) = &mut self.round {
            queue.drain(..ids.len().min(queue.len()));
            queue.extend(again);
        }
        // Not now: the records must not be lost where this is cut short.
        self.seeks_children |= ended;
        Ok(all)
    }

    /// What a shard has next, with a new iterator where there is none.
    async fn page(&self, id: &str) -> Result<Page<S::Record>, Trouble> {
        let nothing = Page { records: Vec::new(), last: None, next: None };
        let Some(Progress::Reads { position, iterator }) = self.shards.get(id) else {
            return Ok(nothing);
        };
        let iterator = match iterator {
            Some(iterator) => Some(iterator.clone()),
            None => self.source.iterator(id, position).await?,
        };
        match iterator {
            Some(iterator) => self.source.records(&iterator).await,
            None => Ok(nothing),
        }
    }

    /// Notes how far a shard was read.
    fn went_on(&mut self, id: &str, last: Option<String>, next: Option<String>) {
        let Some(progress) = self.shards.get_mut(id) else { return };
        let Progress::Reads { position, iterator } = progress else { return };
        if let Some(last) = last {
            *position = Position::After(last);
        }
        *iterator = next;
        if iterator.is_none() {
            *progress = Progress::Done(Some(Instant::now()));
        }
    }

    /// Notes that a shard could not be read. `Err`: its records are missing.
    fn failed(&mut self, id: &str, trouble: Trouble) -> Result<(), String> {
        tracing::debug!(shard = id, %trouble, "a shard of the stream was not read");
        match trouble {
            Trouble::Throttled(_) => self.break_round(true),
            Trouble::Passing(_) => self.break_round(false),
            Trouble::Lost(why) => return Err(why),
            Trouble::Expired => {
                self.break_round(false);
                if let Some(Progress::Reads { position, iterator }) = self.shards.get_mut(id) {
                    if *position == Position::Latest {
                        // Where it pointed at nobody can tell any more.
                        return Err("an iterator expired before a record was read".to_owned());
                    }
                    *iterator = None;
                }
            }
        }
        Ok(())
    }

    /// A shard ended: its children are looked for now, and read in this round.
    async fn follow_children(&mut self) -> Result<(), String> {
        self.search_interval = SEARCH_INTERVAL;
        self.list_at = Instant::now();
        self.list_if_due().await?;
        let queued: BTreeSet<String> = self.round.iter().flatten().cloned().collect();
        let fresh: Vec<String> = self
            .readable()
            .into_iter()
            .filter(|id| !queued.contains(id) && self.is_unread(id))
            .collect();
        if let Some(queue) = &mut self.round {
            queue.extend(fresh);
        }
        Ok(())
    }

    fn is_unread(&self, id: &str) -> bool {
        matches!(
            self.shards.get(id),
            Some(Progress::Reads { position: Position::Start, iterator: None })
        )
    }

    /// The shards that can be read. Those whose parent was read to its end begin.
    fn readable(&mut self) -> VecDeque<String> {
        let ready: Vec<String> = self
            .shards
            .iter()
            .filter(|(_, progress)| match progress {
                Progress::Waits { parent, since } => match self.shards.get(parent) {
                    Some(Progress::Done(_)) => true,
                    Some(Progress::Waits { .. } | Progress::Reads { .. }) => false,
                    // It may be listed after its child; or it was forgotten.
                    None => since.elapsed() >= ORPHAN_PATIENCE,
                },
                Progress::Reads { .. } | Progress::Done(_) => false,
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in ready {
            self.shards.insert(id, Progress::Reads { position: Position::Start, iterator: None });
        }
        let reads = |progress: &Progress| matches!(progress, Progress::Reads { .. });
        self.shards.iter().filter(|(_, p)| reads(p)).map(|(id, _)| id.clone()).collect()
    }

    /// Whether a shard ended whose children are still looked for, or one waits for a parent that
    /// is not listed.
    fn is_orphaned(&self) -> bool {
        self.shards.iter().any(|(id, progress)| match progress {
            Progress::Done(Some(at)) => {
                !self.parents.contains(id) && at.elapsed() < ORPHAN_PATIENCE
            }
            Progress::Waits { parent, .. } => !self.shards.contains_key(parent),
            Progress::Done(None) | Progress::Reads { .. } => false,
        })
    }

    /// Lists the shards when it is time to. A list that cannot be had breaks the round only where
    /// it is needed.
    async fn list_if_due(&mut self) -> Result<(), String> {
        if Instant::now() < self.list_at {
            return Ok(());
        }
        match list(&self.source).await {
            Ok(listed) => self.take_in(&listed),
            Err(Trouble::Lost(why)) => return Err(why),
            Err(trouble) => {
                tracing::debug!(%trouble, "the shards of the stream were not listed");
                let throttled = matches!(trouble, Trouble::Throttled(_));
                self.break_round(throttled);
            }
        }
        let mut interval = LIST_INTERVAL;
        let seeks = |(id, progress): (&String, &Progress)| match progress {
            Progress::Done(Some(_)) => !self.parents.contains(id),
            Progress::Waits { parent, .. } => !self.shards.contains_key(parent),
            Progress::Done(None) | Progress::Reads { .. } => false,
        };
        if self.shards.iter().any(seeks) {
            interval = self.search_interval;
            self.search_interval = LONGEST_SEARCH_INTERVAL.min(interval * 2);
        }
        self.list_at = Instant::now() + interval;
        Ok(())
    }

    /// Notes new shards, and forgets those that are read and gone.
    fn take_in(&mut self, listed: &[Shard]) {
        self.parents = parents_of(listed);
        let ids: BTreeSet<&str> = listed.iter().map(|shard| shard.id.as_str()).collect();
        let is_kept = |id: &String, progress: &mut Progress| {
            ids.contains(id.as_str()) || !matches!(progress, Progress::Done(_))
        };
        self.shards.retain(is_kept);
        for shard in listed {
            let begins = match &shard.parent {
                Some(parent) => Progress::Waits { parent: parent.clone(), since: Instant::now() },
                None => Progress::Reads { position: Position::Start, iterator: None },
            };
            self.shards.entry(shard.id.clone()).or_insert(begins);
        }
    }

    fn break_round(&mut self, throttled: bool) {
        let before = matches!(self.went, Round::Broken { throttled: true });
        self.went = Round::Broken { throttled: throttled || before };
    }
}

fn parents_of(listed: &[Shard]) -> BTreeSet<String> {
    listed.iter().filter_map(|shard| shard.parent.clone()).collect()
}

/// The whole list of shards.
async fn list<S: Source>(source: &S) -> Result<Vec<Shard>, Trouble> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = source.shards(after).await?;
        all.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

async fn retrying<T, F>(mut call: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(Trouble::Throttled(_) | Trouble::Passing(_)) if attempt < OPEN_ATTEMPTS => {
                sleep(OPEN_PAUSE * attempt).await;
                attempt += 1;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
