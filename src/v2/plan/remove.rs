//! Delete, compareAndDelete and expire.

use std::sync::Arc;

use super::known::Sight;
use super::write::drop_dir_ttl_record;
use super::{
    Detour, Plan, Planner, Prior, Step, expire_first, look, not_a_file, not_the_root, seen,
};
use crate::v2::change::{Mutation, NodeOp, Op, Precondition, Record};
use crate::v2::error::{Error, ErrorCode};
use crate::v2::item::{Action, Content, Item};
use crate::v2::key::Key;
use crate::v2::request::{Compare, Removal, Seen};

/// Removing the top of a subtree takes up to two parts beside its nodes: the record of its TTL
/// goes, or the record of the drain comes.
const RECORD_PARTS: usize = 2;

impl Planner<'_> {
    /// Removes a file, an empty directory (`dir`), or a directory and all in it (`recursive`).
    pub(super) fn delete(&self, key: &Key, removal: Removal) -> Result<Step, Error> {
        not_the_root(key)?;
        let may_be_dir = removal.dir || removal.recursive;
        match self.sight(key) {
            Sight::Unknown if may_be_dir => Ok(look(vec![key.clone()])),
            Sight::Unknown | Sight::File(_) => {
                Ok(Step::Commit(self.remove_file(key, Action::Delete, Vec::new())))
            }
            Sight::Dir(_) if !may_be_dir => Err(not_a_file(key)),
            Sight::Dir(dir) if removal.recursive => {
                Ok(self.remove_subtree(dir, Action::Delete, Vec::new()))
            }
            Sight::Dir(dir) => self.remove_empty_dir(dir),
            Sight::Absent | Sight::Draining | Sight::Expired(_) => self.missing(key),
        }
    }

    /// Removes the file where it is the one that was meant.
    pub(super) fn compare_and_delete(&self, key: &Key, compare: &Compare) -> Result<Step, Error> {
        match self.sight(key) {
            _ if key.is_root() => return Err(not_a_file(key)),
            Sight::Dir(_) => return Err(not_a_file(key)),
            Sight::Absent | Sight::Draining | Sight::Expired(_) => return self.missing(key),
            Sight::File(file) => compare.check(file)?,
            Sight::Unknown => {}
        }
        let action = Action::CompareAndDelete;
        Ok(Step::Commit(self.remove_file(key, action, compare.preconditions())))
    }

    /// Removes a node that was seen to be past its expiration, unless it was written or
    /// refreshed meanwhile.
    pub(super) fn expire(&self, key: &Key, was: Seen) -> Result<Step, Error> {
        let item = match self.sight(key) {
            Sight::Unknown => return Ok(look(vec![key.clone()])),
            Sight::Expired(item) if seen(item) == was => item,
            Sight::Expired(_)
            | Sight::Absent
            | Sight::Draining
            | Sight::File(_)
            | Sight::Dir(_) => return Ok(Step::Moot),
        };
        let not_refreshed = Precondition::Expiration(was.expiration);
        if item.is_dir() {
            return Ok(self.remove_subtree(item, Action::Expire, vec![not_refreshed]));
        }
        let same = vec![Precondition::File, Precondition::Modified(was.modified), not_refreshed];
        let op = self.removal(item, Action::Expire, same);
        Ok(Step::Commit(self.commit(Action::Expire, Prior::FromStore, vec![Op::Node(op)])))
    }

    fn remove_file(&self, key: &Key, action: Action, mut expect: Vec<Precondition>) -> Plan {
        expect.insert(0, Precondition::LiveFile(self.moment.now));
        let mutation = Mutation::Remove { draining: false, now: self.moment.now };
        let op =
            NodeOp { key: key.clone(), id: self.moment.id, expect, mutation, action: Some(action) };
        self.commit(action, Prior::FromStore, vec![Op::Node(op)])
    }

    /// A directory may go where nothing live is in it and, by its stamp, nothing came since.
    fn remove_empty_dir(&self, dir: &Arc<Item>) -> Result<Step, Error> {
        if dir.stamp().is_some() {
            let Some(children) = self.known.listing() else {
                let at_most = self.moment.capacity.ops;
                return Ok(list(dir, false, at_most));
            };
            if children.iter().any(|child| child.is_live(self.moment.now)) {
                return Err(Error::about(ErrorCode::DirNotEmpty, &dir.key));
            }
            if let Some(child) = children.first() {
                return Ok(expire_first(child));
            }
        }
        let expect = [vec![Precondition::LiveDir(self.moment.now)], unchanged(dir)].concat();
        let mut ops = vec![Op::Node(self.removal(dir, Action::Delete, expect))];
        ops.extend(drop_dir_ttl_record(dir));
        Ok(Step::Commit(self.commit(Action::Delete, Prior::Known(Arc::clone(dir)), ops)))
    }

    /// Removes a directory and all in it: in one commit where one can take it, else by a drain.
    fn remove_subtree(&self, top: &Arc<Item>, action: Action, expect: Vec<Precondition>) -> Step {
        let at_most = self.moment.capacity.ops.saturating_sub(1 + RECORD_PARTS);
        let nodes = match (top.stamp(), self.known.listing()) {
            (None, _) => &[],
            (Some(_), Some(nodes)) => nodes,
            (Some(_), None) => {
                return list(top, true, at_most);
            }
        };
        let bytes: usize = nodes.iter().map(|item| approximate_bytes(item)).sum();
        if nodes.len() > at_most || bytes > self.moment.capacity.bytes {
            return Step::Commit(self.start_drain(top, action, expect));
        }
        let alive = [vec![Precondition::Dir], unchanged(top), expect].concat();
        let mut ops = vec![Op::Node(self.removal(top, action, alive))];
        ops.extend(nodes.iter().map(|item| Op::Node(self.removal_below(item))));
        ops.extend(drop_dir_ttl_record(top));
        Step::Commit(self.commit(action, Prior::Known(Arc::clone(top)), ops))
    }

    fn start_drain(&self, top: &Arc<Item>, action: Action, expect: Vec<Precondition>) -> Plan {
        let same = vec![Precondition::Dir, Precondition::Modified(top.modified)];
        let mutation = Mutation::Remove { draining: true, now: self.moment.now };
        let (key, index) = (top.key.clone(), self.moment.id.index);
        let expect = [same, expect].concat();
        let op =
            NodeOp { key: key.clone(), id: self.moment.id, expect, mutation, action: Some(action) };
        let record = Op::PutRecord(Record::Drain { key, index, action });
        let mut ops = vec![Op::Node(op), record];
        ops.extend(drop_dir_ttl_record(top));
        let plan = self.commit(action, Prior::Known(Arc::clone(top)), ops);
        Plan { drains: true, ..plan }
    }

    fn removal(&self, item: &Item, action: Action, expect: Vec<Precondition>) -> NodeOp {
        let mutation = Mutation::Remove { draining: false, now: self.moment.now };
        NodeOp { key: item.key.clone(), id: self.moment.id, expect, mutation, action: Some(action) }
    }

    /// A node that goes with its directory: a file on the condition that it still is one, a
    /// directory on the condition that nothing was created in it. No watcher is told of it.
    fn removal_below(&self, item: &Item) -> NodeOp {
        let expect = match &item.content {
            Content::File(_) => vec![Precondition::File],
            Content::Dir(dir) => vec![Precondition::Dir, Precondition::Stamp(dir.stamp)],
        };
        let mutation = Mutation::Remove { draining: false, now: self.moment.now };
        NodeOp { key: item.key.clone(), id: self.moment.id, expect, mutation, action: None }
    }
}

/// A directory is the one that was seen: made then, as the answer says, and with nothing created in it
/// and no other TTL since. One that was made anew has no stamp either, so both are needed.
fn unchanged(dir: &Item) -> Vec<Precondition> {
    vec![Precondition::Modified(dir.modified), Precondition::Stamp(dir.stamp())]
}

fn list(dir: &Item, recursive: bool, at_most: usize) -> Step {
    Step::Detour(Detour::List { key: dir.key.clone(), recursive, at_most })
}

/// About what an item weighs in a commit.
fn approximate_bytes(item: &Item) -> usize {
    let value = match &item.content {
        Content::File(value) => value.as_bytes().len(),
        Content::Dir(_) => 0,
    };
    2 * item.key.as_bytes().len() + value + 256
}
