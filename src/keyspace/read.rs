//! Reads: one node, one level of children, or a whole subtree level by level.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::room::{Listing, Room};
use super::{Answer, Keyspace, store_failed};
use crate::store::{Consistency, Level, Store};
use crate::v2::{Error, EtcdIndex, Event, Item, Key, Known, Listed, Node, Read, UnixMs, missing};

/// How many top-level directories a recursive read of the root lists side by side.
const PARALLEL_SUBTREES: usize = 16;

/// How often a store that costs nothing is read until the answer's index covers the answer.
const LOCAL_ATTEMPTS: u32 = 3;

/// How long an answer waits for writes under way that its index has to cover.
const SETTLE_LIMIT: Duration = Duration::from_millis(100);

/// What a read shows.
struct Found {
    node: Node,
    /// The highest modifiedIndex in it.
    newest: EtcdIndex,
    room: Option<Room>,
}

/// A read that is under way.
struct Reading<'a> {
    consistency: Consistency,
    now: UnixMs,
    listing: Listing<'a>,
}

impl<S: Store> Keyspace<S> {
    /// Answers a read. `floor` is the index that was told before it.
    ///
    /// The index of the answer covers all that the answer shows, as in etcd, where that can be had
    /// without a second call to a store that costs. Where there are watches, it is never ahead of a
    /// write that the answer does not show: whoever watches from the next index on misses nothing.
    /// Beside other gateways it is therefore behind what the answer shows, by what their events
    /// take to come here.
    pub(super) async fn answer_read(&self, read: &Read, floor: EtcdIndex) -> Result<Answer, Error> {
        self.refuse_gone()?;
        self.check_key(&read.key)?;
        let mut floor = floor;
        let mut attempts = if self.store.limits().is_remote { 1 } else { LOCAL_ATTEMPTS };
        // Also while the feed is not followed: it may be before the watch begins, from a moment that
        // does not lie above what was listed.
        let is_watched = self.hub.is_some();
        let waits_for_others = self.is_awake() && self.following.limit().is_some();
        loop {
            let found = self.find_node(read).await.map_err(|error| error.at_store(floor))?;
            attempts -= 1;
            if found.newest > floor
                && !waits_for_others
                && self.clock.settles(found.newest, SETTLE_LIMIT).await
            {
                // One file alone is the state of its own index; and where nobody watches, nothing
                // can be missed.
                if !found.node.dir || !is_watched {
                    floor = found.newest;
                } else if attempts > 0 {
                    floor = self.clock.settled();
                    continue;
                }
            }
            let Found { node, room, .. } = found;
            return Ok(Answer { event: Event::get(node), index: floor, room });
        }
    }

    async fn find_node(&self, read: &Read) -> Result<Found, Error> {
        let consistency =
            if read.quorum { Consistency::Strong } else { self.config.read_consistency };
        let now = self.clock.now();
        let reading = Reading { consistency, now, listing: self.rooms.begin() };
        let mut newest = EtcdIndex(0);
        let mut top = Node::root();
        if !read.key.is_root() {
            let item = self.get_live(&read.key, consistency, now).await?;
            // A gateway's clock that is far ahead must not hide what is there: reads go on.
            let _ = self.observe(&item);
            newest = item.modified;
            top = item.node(now);
            if item.stamp().is_none() {
                return Ok(Found { node: top, newest, room: None });
            }
        }
        let levels = if read.recursive {
            self.subtree(&read.key, &reading).await?
        } else {
            vec![self.shown_level(&read.key, read.key.depth() + 1, &reading).await?]
        };
        let shown = levels.iter().flatten().map(|item| item.modified);
        let newest = shown.max().map_or(newest, |index| index.max(newest));
        let nodes = assemble(levels, &read.key, read.sorted, now);
        Ok(Found { node: Node { nodes, ..top }, newest, room: reading.listing.end() })
    }

    /// The item of a node that is there, or etcd's error that says what is missing.
    async fn get_live(
        &self,
        key: &Key,
        consistency: Consistency,
        now: UnixMs,
    ) -> Result<Arc<Item>, Error> {
        let item = self.store.get(key, consistency).await.map_err(|e| store_failed(&e))?;
        if let Some(item) = item.filter(|item| item.is_live(now)) {
            return Ok(item);
        }
        let mut known = Known::default();
        loop {
            let unknown = missing(key, &known, now)?;
            self.look(&unknown, &mut known).await?;
        }
    }

    /// Reads items and notes them.
    pub(super) async fn look(&self, keys: &[Key], known: &mut Known) -> Result<(), Error> {
        let items = self.store.get_many(keys).await.map_err(|e| store_failed(&e))?;
        for (key, item) in keys.iter().zip(items) {
            if let Some(item) = &item {
                self.observe(item)?;
            }
            known.see(key.clone(), item);
        }
        Ok(())
    }

    /// The levels of a subtree, from the top down.
    async fn subtree(
        &self,
        top: &Key,
        reading: &Reading<'_>,
    ) -> Result<Vec<Vec<Arc<Item>>>, Error> {
        if !top.is_root() {
            return self.levels_below(top, reading).await;
        }
        // Each top-level directory is a partition of its own: they are listed side by side.
        let first = self.shown_level(top, 1, reading).await?;
        let dirs: Vec<Key> =
            first.iter().filter(|i| has_children(i)).map(|i| i.key.clone()).collect();
        let below: Vec<Vec<Vec<Arc<Item>>>> = stream::iter(dirs)
            .map(|dir| async move { self.levels_below(&dir, reading).await })
            .buffer_unordered(PARALLEL_SUBTREES)
            .try_collect()
            .await?;
        let mut levels = vec![first];
        for subtree in below {
            for (depth, mut level) in subtree.into_iter().enumerate() {
                match levels.get_mut(depth + 1) {
                    Some(existing) => existing.append(&mut level),
                    None => levels.push(level),
                }
            }
        }
        Ok(levels)
    }

    async fn levels_below(
        &self,
        top: &Key,
        reading: &Reading<'_>,
    ) -> Result<Vec<Vec<Arc<Item>>>, Error> {
        let mut levels = Vec::new();
        let mut depth = top.depth();
        loop {
            depth += 1;
            let level = self.shown_level(top, depth, reading).await?;
            let is_last = !level.iter().any(|item| has_children(item));
            levels.push(level);
            if is_last {
                return Ok(levels);
            }
        }
    }

    /// The nodes of one level that a listing shows: live and not hidden.
    async fn shown_level(
        &self,
        below: &Key,
        depth: u16,
        reading: &Reading<'_>,
    ) -> Result<Vec<Arc<Item>>, Error> {
        let mut shown = Vec::new();
        let mut from = None;
        loop {
            let level = Level { below, depth, from };
            let page =
                self.store.list(level, reading.consistency).await.map_err(|e| store_failed(&e))?;
            let known = shown.len();
            let is_shown = |item: &Arc<Item>| item.is_live(reading.now) && !item.key.is_hidden();
            shown.extend(page.items.into_iter().filter(is_shown));
            reading.listing.grow(&shown[known..])?;
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if let Some(newest) = shown.iter().max_by_key(|item| item.highest_index()) {
            let _ = self.observe(newest);
        }
        Ok(shown)
    }
}

/// Whether something may be in this directory. One in which nothing was ever created need not
/// be listed.
fn has_children(item: &Item) -> bool {
    item.stamp().is_some()
}

/// Builds the tree of a listing. Nodes whose directory is not shown are left out: those of hidden
/// directories, and those that were created or removed while the levels were read.
fn assemble(levels: Vec<Vec<Arc<Item>>>, top: &Key, sorted: bool, now: UnixMs) -> Vec<Listed> {
    let mut below: HashMap<Key, Vec<Listed>> = HashMap::new();
    for level in levels.into_iter().rev() {
        let mut parents: HashMap<Key, Vec<Listed>> = HashMap::new();
        let mut siblings: Vec<Listed> = Vec::new();
        let mut rest = level.into_iter().peekable();
        while let Some(item) = rest.next() {
            let nodes = if item.is_dir() { below.remove(&item.key) } else { None };
            // A level mostly comes in order, and so with the children of one directory together.
            let is_last = rest.peek().is_none_or(|next| !next.key.is_sibling_of(&item.key));
            let parent = if is_last { item.key.parent() } else { None };
            siblings.push(Listed::new(item, nodes.unwrap_or_default(), now));
            if let Some(parent) = parent {
                parents.entry(parent).or_default().append(&mut siblings);
            }
        }
        if sorted {
            let by_key = |a: &Listed, b: &Listed| a.item.key.cmp(&b.item.key);
            parents.values_mut().for_each(|nodes| nodes.sort_by(by_key));
        }
        below = parents;
    }
    below.remove(top).unwrap_or_default()
}
