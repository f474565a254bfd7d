//! What a group of commits does, before any of it is durable or seen.
//!
//! Invariant: a commit is decided against the tree as the commits before it in the group leave
//! it, so that a group means the same as its commits one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::tree::Tree;
use crate::store::Committed;
use crate::v2::{Commit, Item, Key, Op, Record};

/// The items and records that a group writes, each as the last commit leaves it.
#[derive(Default)]
pub(super) struct Changes {
    /// The items; a commit never takes one away.
    pub(super) items: HashMap<Key, Arc<Item>>,
    /// The records by name; none: it goes.
    pub(super) records: HashMap<String, Option<Record>>,
}

/// What one part of a commit does.
enum Effect {
    Item(Arc<Item>),
    Record(String, Option<Record>),
}

impl Changes {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.records.is_empty()
    }

    /// Decides a commit, and takes up what it does if it applies.
    pub(super) fn decide(&mut self, tree: &Tree, commit: &Commit) -> Committed {
        let mut effects = Vec::with_capacity(commit.ops.len());
        let mut before = None;
        let mut found = Vec::new();
        let mut refused = false;
        for (number, op) in commit.ops.iter().enumerate() {
            match op {
                Op::Node(op) => {
                    let item = self.item(tree, &op.key);
                    let known = item.as_deref();
                    match op.applies(known).then(|| op.apply(known)).flatten() {
                        Some(mut after) => {
                            if let Some(known) = known {
                                after.key = known.key.clone();
                            }
                            effects.push(Effect::Item(Arc::new(after)));
                            before = Some(item);
                        }
                        None => found.push((number, item)),
                    }
                }
                Op::PutRecord(record) => {
                    effects.push(Effect::Record(record.name(), Some(record.clone())));
                }
                Op::AddRecord(record) => {
                    let name = record.name();
                    refused |= self.record(tree, &name).is_some();
                    effects.push(Effect::Record(name, Some(record.clone())));
                }
                Op::DropRecord(name) => {
                    effects.push(Effect::Record(name.clone(), None));
                }
                Op::DropSameRecord(record) => {
                    let name = record.name();
                    refused |= self.record(tree, &name) != Some(record);
                    effects.push(Effect::Record(name, None));
                }
            }
        }
        if refused || !found.is_empty() {
            return Committed::Refused { found };
        }
        effects.into_iter().for_each(|effect| self.take_up(effect));
        Committed::Applied { before: before.filter(|_| commit.ops.len() == 1) }
    }

    fn take_up(&mut self, effect: Effect) {
        match effect {
            Effect::Item(item) => {
                self.items.insert(item.key.clone(), item);
            }
            Effect::Record(name, record) => {
                self.records.insert(name, record);
            }
        }
    }

    fn item(&self, tree: &Tree, key: &Key) -> Option<Arc<Item>> {
        self.items.get(key).or_else(|| tree.get(key)).cloned()
    }

    fn record<'a>(&'a self, tree: &'a Tree, name: &str) -> Option<&'a Record> {
        match self.records.get(name) {
            Some(record) => record.as_ref(),
            None => tree.record(name),
        }
    }
}
