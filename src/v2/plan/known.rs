//! What is known of the tree while a write is planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::v2::index::UnixMs;
use crate::v2::item::Item;
use crate::v2::key::Key;

/// The items that were seen so far, and the last listing.
#[derive(Debug, Clone, Default)]
pub struct Known {
    items: BTreeMap<Key, Option<Arc<Item>>>,
    listing: Option<Vec<Arc<Item>>>,
}

/// How a node looks by what is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sight<'a> {
    /// Nothing is known of it.
    Unknown,
    /// There is no node.
    Absent,
    /// There is no node, and what was below it is still being removed.
    Draining,
    /// There is a node that is past its expiration.
    Expired(&'a Arc<Item>),
    /// There is a file.
    File(&'a Arc<Item>),
    /// There is a directory.
    Dir(&'a Arc<Item>),
}

impl Known {
    /// Notes an item (or that there is none) as seen. What was listed before may be out of date
    /// by it.
    pub fn see(&mut self, key: Key, item: Option<Arc<Item>>) {
        self.items.insert(key, item);
        self.listing = None;
    }

    /// Notes what is below the directory that the write is about: the nodes that are not
    /// removed, expired ones among them.
    pub fn see_listing(&mut self, nodes: Vec<Arc<Item>>) {
        self.listing = Some(nodes);
    }

    pub(super) fn listing(&self) -> Option<&[Arc<Item>]> {
        self.listing.as_deref()
    }

    pub(super) fn sight(&self, key: &Key, now: UnixMs) -> Sight<'_> {
        match self.items.get(key) {
            None => Sight::Unknown,
            Some(None) => Sight::Absent,
            Some(Some(item)) if item.is_draining() => Sight::Draining,
            Some(Some(item)) if item.removed.is_some() => Sight::Absent,
            Some(Some(item)) if item.is_past(now) => Sight::Expired(item),
            Some(Some(item)) if item.is_dir() => Sight::Dir(item),
            Some(Some(item)) => Sight::File(item),
        }
    }
}
