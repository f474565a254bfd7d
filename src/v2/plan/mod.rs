//! The rules of v2 for writes: from a request and what is known of the tree to the next step.
//!
//! Planning is optimistic. Where nothing is known of a node, the likely case is assumed (a PUT
//! finds a file, a creation finds its directory) and the commit's preconditions say so. A
//! refused commit shows what is really there; the plan is made again with it. An error is only
//! ever given from items that were really seen.
//!
//! The operations are etcd's v2store/store.go; where a quirk is kept, it says so.

mod known;
mod remove;
mod write;

pub use known::Known;

use std::sync::Arc;

use known::Sight;

use super::change::{Commit, Mutation, NodeOp, Op};
use super::error::{Error, ErrorCode};
use super::index::UnixMs;
use super::item::{Action, Content, Item, WriteId};
use super::key::Key;
use super::node::Event;
use super::request::{Operation, Seen, Write};

/// What to do next for a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Do this first, and plan again.
    Detour(Detour),
    /// Commit this; if it is refused, plan again with what was found.
    Commit(Plan),
    /// There is nothing left to do (an expiry that somebody else carried out or took back).
    Moot,
}

/// What has to be known, or out of the way, before a write can be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detour {
    /// Read these items, strongly.
    Look(Vec<Key>),
    /// List what is below this directory, one level or all. It is enough to find one node more
    /// than `at_most`.
    List {
        /// The directory.
        key: Key,
        /// The whole subtree instead of one level.
        recursive: bool,
        /// With more nodes than this, the rest makes no difference.
        at_most: usize,
    },
    /// A node in the way is past its expiration: carry that out.
    Expire(Key, Seen),
    /// The subtree below this tombstone is being removed: help until it is gone.
    AwaitDrain(Key),
}

/// Where the answer's `prevNode` comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Prior {
    /// There was no node.
    Nothing,
    /// The store tells it with the commit.
    FromStore,
    /// This node, which the commit's preconditions pin.
    Known(Arc<Item>),
}

/// A change that is ready to be committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to commit. The first part is on the node that the write is about.
    pub commit: Commit,
    /// What happens, in the words of the answer.
    pub action: Action,
    /// The node before it.
    pub prior: Prior,
    /// Whether no watcher is told.
    pub is_refresh: bool,
    /// Whether the subtree below the node has to be removed, after the commit and before the
    /// answer.
    pub drains: bool,
}

/// What one commit can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// How many parts.
    pub ops: usize,
    /// How many bytes of items.
    pub bytes: usize,
}

/// Under which circumstances a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time.
    pub now: UnixMs,
    /// The index and id that the write gets.
    pub id: WriteId,
    /// What one commit can take.
    pub capacity: Capacity,
}

/// Plans the next step of a write.
pub fn plan(write: &Write, known: &Known, moment: Moment) -> Result<Step, Error> {
    let planner = Planner { known, moment };
    let key = &write.key;
    match &write.operation {
        Operation::Set(draft) => planner.set(key, draft),
        Operation::Create(draft) => planner.create(key, draft),
        Operation::CreateInOrder(draft) => planner.create_in_order(key, draft),
        Operation::Update(draft) => planner.update(key, draft),
        Operation::CompareAndSwap(draft, compare) => planner.compare_and_swap(key, draft, compare),
        Operation::Delete(removal) => planner.delete(key, *removal),
        Operation::CompareAndDelete(compare) => planner.compare_and_delete(key, compare),
        Operation::Expire(seen) => planner.expire(key, *seen),
    }
}

/// Says of a node that is not there which part of its path is missing first, or which is a file
/// (store.go, `internalGet`). The items of its ancestors have to be known.
pub fn missing(key: &Key, known: &Known, now: UnixMs) -> Result<Vec<Key>, Error> {
    let ancestors = key.ancestors();
    let unknown: Vec<Key> = ancestors
        .iter()
        .filter(|above| matches!(known.sight(above, now), Sight::Unknown))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Ok(unknown);
    }
    for above in &ancestors {
        match known.sight(above, now) {
            Sight::Dir(_) => {}
            Sight::File(_) => return Err(Error::about(ErrorCode::NotDir, above)),
            Sight::Unknown | Sight::Absent | Sight::Draining | Sight::Expired(_) => {
                return Err(Error::about(ErrorCode::KeyNotFound, above));
            }
        }
    }
    Err(Error::about(ErrorCode::KeyNotFound, key))
}

struct Planner<'a> {
    known: &'a Known,
    moment: Moment,
}

impl Planner<'_> {
    fn sight(&self, key: &Key) -> Sight<'_> {
        self.known.sight(key, self.moment.now)
    }

    fn missing(&self, key: &Key) -> Result<Step, Error> {
        missing(key, self.known, self.moment.now).map(look)
    }

    fn commit(&self, action: Action, prior: Prior, ops: Vec<Op>) -> Plan {
        let commit = Commit { id: self.moment.id, ops };
        Plan { commit, action, prior, is_refresh: false, drains: false }
    }
}

fn look(keys: Vec<Key>) -> Step {
    Step::Detour(Detour::Look(keys))
}

fn await_drain(key: &Key) -> Step {
    Step::Detour(Detour::AwaitDrain(key.clone()))
}

/// Carries out an expiry that is in the way, of the version that was seen.
fn expire_first(item: &Item) -> Step {
    Step::Detour(Detour::Expire(item.key.clone(), seen(item)))
}

/// Writes to the root are refused, whatever they are (except a compareAndDelete, for which the
/// root is a directory first, and an in-order creation, which only adds to it).
fn not_the_root(key: &Key) -> Result<(), Error> {
    if key.is_root() {
        return Err(Error::about(ErrorCode::RootReadOnly, key));
    }
    Ok(())
}

/// "Not a file": the cause is the key, and nothing for the root (store.go cuts its own prefix).
fn not_a_file(key: &Key) -> Error {
    if key.is_root() {
        return Error::new(ErrorCode::NotFile, "");
    }
    Error::about(ErrorCode::NotFile, key)
}

/// An expired item as the version that was seen.
fn seen(item: &Item) -> Seen {
    let expiration = item.expiration.unwrap_or_default();
    Seen { modified: item.modified, expiration }
}

/// What a store tells of a commit that applied.
#[derive(Debug, Clone)]
pub enum Aftermath {
    /// The item before it; of a commit with several parts, nothing.
    Before(Option<Arc<Item>>),
    /// The reply was lost, and the item was found to carry the write: as it is by now.
    Found(Arc<Item>),
}

impl Plan {
    /// The node that the write is about: the first part of the commit.
    pub fn key(&self) -> Option<&Key> {
        self.commit.ops.iter().find_map(Op::node).map(|op| &op.key)
    }

    /// Whether a directory goes, with what is in it.
    pub fn removes_dir(&self) -> bool {
        match &self.prior {
            Prior::Known(item) => {
                item.is_dir() && matches!(self.action, Action::Delete | Action::Expire)
            }
            Prior::Nothing | Prior::FromStore => false,
        }
    }

    /// The event of this plan, once it is committed.
    pub fn event(&self, aftermath: &Aftermath, now: UnixMs) -> Option<Event> {
        let Some(Op::Node(op)) = self.commit.ops.first() else { return None };
        let id = self.commit.id;
        let before = match (&self.prior, aftermath) {
            (Prior::Nothing, _) => None,
            (Prior::Known(item), _) => Some(Arc::clone(item)),
            (Prior::FromStore, Aftermath::Before(item)) => item.clone(),
            (Prior::FromStore, Aftermath::Found(item)) => before_removal(item, id).map(Arc::new),
        };
        let after = match (&self.prior, aftermath, &before) {
            (Prior::FromStore, Aftermath::Found(item), None) => left_by(op, item, id),
            (Prior::Nothing | Prior::Known(_) | Prior::FromStore, _, _) => {
                op.apply(before.as_deref())?
            }
        };
        let prev_node = before.as_deref().map(|item| item.node(now));
        let is_new = self.prior == Prior::Nothing;
        let event = Event::of_write(self.action, id.index, after.node(now), prev_node, is_new);
        Some(Event { is_refresh: self.is_refresh, ..event })
    }
}

/// The node that this write removed, as its tombstone still tells. None where another write came
/// since, and after a lost reply of any other write than a removal: the node before is gone.
fn before_removal(tombstone: &Item, id: WriteId) -> Option<Item> {
    let removed = tombstone.removed.filter(|_| tombstone.modified == id.index)?;
    Some(Item { removed: None, modified: removed.before, ..tombstone.clone() })
}

/// The file that a write left whose reply was lost, from what was found to carry the write.
///
/// Where another write came since, only this one itself tells: another's value is never shown as
/// its own. What is told by neither is shown as if this write had created the file empty: the value
/// that a refresh kept, and the createdIndex where the file was created anew since.
fn left_by(op: &NodeOp, found: &Item, id: WriteId) -> Item {
    let last = found.removed.map_or(found.modified, |removed| removed.before);
    if last == id.index {
        return Item { modified: id.index, removed: None, ..found.clone() };
    }
    let (value, creates, expiration) = match &op.mutation {
        Mutation::WriteFile { value, creates, expiration } => {
            (value.clone(), *creates, *expiration)
        }
        Mutation::MakeDir { .. }
        | Mutation::SetDirTtl { .. }
        | Mutation::Stamp { .. }
        | Mutation::Remove { .. }
        | Mutation::EndDrain { .. }
        | Mutation::RuleOut
        | Mutation::RuleOutNew { .. } => (None, false, None),
    };
    let was_there = !creates && found.created < id.index;
    Item {
        content: Content::File(value.unwrap_or_default()),
        created: if was_there { found.created } else { id.index },
        modified: id.index,
        expiration,
        removed: None,
        ..found.clone()
    }
}

#[cfg(test)]
mod tests;
