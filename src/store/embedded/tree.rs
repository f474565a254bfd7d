//! The whole tree in memory: what readers see.
//!
//! Nothing here is durable, and nothing here decides. Invariant: all that is in here is on disk.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::store::{Cursor, Level, Page};
use crate::v2::{EtcdIndex, Item, Key, Record, RecordKind};

/// The items by depth and path, and the records by name.
#[derive(Default)]
pub(super) struct Tree {
    /// One set for each depth, so that one level of a subtree is one range.
    levels: Vec<BTreeSet<Slot>>,
    records: BTreeMap<String, Record>,
    highest_index: EtcdIndex,
}

/// An item in its place among those of its depth, by the bytes of its path. The item holds the
/// path already; a map would hold it twice.
struct Slot(Arc<Item>);

impl Slot {
    fn path(&self) -> &[u8] {
        self.0.key.as_bytes()
    }
}

impl Borrow<[u8]> for Slot {
    fn borrow(&self) -> &[u8] {
        self.path()
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Slot) -> bool {
        self.path() == other.path()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Slot) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Slot) -> Ordering {
        self.path().cmp(other.path())
    }
}

impl Tree {
    /// The item of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Item>> {
        let level = self.levels.get(usize::from(key.depth()))?;
        level.get(key.as_bytes()).map(|slot| &slot.0)
    }

    /// Puts an item in the place of its key, and gives back the one that was there.
    pub(super) fn put(&mut self, item: Arc<Item>) -> Option<Arc<Item>> {
        self.highest_index = self.highest_index.max(item.highest_index());
        let depth = usize::from(item.key.depth());
        if self.levels.len() <= depth {
            self.levels.resize_with(depth + 1, BTreeSet::new);
        }
        self.levels[depth].replace(Slot(item)).map(|slot| slot.0)
    }

    /// The highest index that was ever put.
    pub(super) fn highest_index(&self) -> EtcdIndex {
        self.highest_index
    }

    /// Forgets the item of a key.
    pub(super) fn forget(&mut self, key: &Key) -> Option<Arc<Item>> {
        let level = self.levels.get_mut(usize::from(key.depth()))?;
        level.take(key.as_bytes()).map(|slot| slot.0)
    }

    /// At most so many items of a level. The cursor is the path of the last one.
    pub(super) fn page(&self, level: &Level<'_>, most: usize) -> Page {
        let Some(slots) = self.levels.get(usize::from(level.depth)) else {
            return Page::default();
        };
        let prefix = level.below.prefix();
        let mut end = prefix.clone();
        if let Some(slash) = end.last_mut() {
            *slash += 1;
        }
        let start = match &level.from {
            Some(Cursor(path)) => Bound::Excluded(&path[..]),
            None => Bound::Included(&prefix[..]),
        };
        if matches!(start, Bound::Excluded(path) if path >= &end[..]) {
            return Page::default();
        }
        let mut rest = slots.range::<[u8], _>((start, Bound::Excluded(&end[..])));
        let items: Vec<Arc<Item>> = rest.by_ref().take(most).map(|slot| slot.0.clone()).collect();
        let last = items.last().filter(|_| rest.next().is_some());
        let next = last.map(|item| Cursor(item.key.as_bytes().to_vec()));
        Page { items, next }
    }

    /// The record of this name.
    pub(super) fn record(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// Puts a record under its name; none: forgets the one of this name.
    pub(super) fn put_record(&mut self, name: String, record: Option<Record>) {
        match record {
            Some(record) => self.records.insert(name, record),
            None => self.records.remove(&name),
        };
    }

    /// The records of a kind.
    pub(super) fn records(&self, kind: RecordKind) -> Vec<Record> {
        let from = self.records.range::<str, _>((Bound::Included(kind.prefix()), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(kind.prefix()))
            .map(|(_, record)| record.clone())
            .collect()
    }

    /// Every item.
    pub(super) fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.levels.iter().flatten().map(|slot| &slot.0)
    }
}
