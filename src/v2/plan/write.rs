//! Set, create, update and compareAndSwap.

use std::sync::Arc;

use super::known::Sight;
use super::{
    Plan, Planner, Prior, Step, await_drain, expire_first, look, not_a_file, not_the_root,
};
use crate::v2::change::{Mutation, NodeOp, Op, Precondition, Record, RecordKind};
use crate::v2::error::{Error, ErrorCode};
use crate::v2::index::UnixMs;
use crate::v2::item::{Action, Content, Item};
use crate::v2::key::Key;
use crate::v2::request::{Compare, Draft};

/// Set and create take an expiration before this for "none": 2000-01-01 (store.go,
/// `minExpireTime`). Update and compareAndSwap do not.
const EARLIEST_EXPIRATION: UnixMs = UnixMs(946_684_800_000);

impl Planner<'_> {
    /// Creates the node, or replaces the file that is there.
    pub(super) fn set(&self, key: &Key, draft: &Draft) -> Result<Step, Error> {
        not_the_root(key)?;
        let draft = &without_early_expiration(draft);
        match self.sight(key) {
            Sight::Unknown if draft.dir && !draft.refresh => self.new_node(key, draft, Action::Set),
            Sight::Unknown if draft.dir => Ok(look(vec![key.clone()])),
            Sight::Unknown => Ok(Step::Commit(self.replace_file(key, draft))),
            Sight::File(file) if draft.dir => Ok(Step::Commit(self.file_to_dir(file, draft))),
            Sight::File(_) => Ok(Step::Commit(self.replace_file(key, draft))),
            Sight::Dir(_) => Err(not_a_file(key)),
            Sight::Absent | Sight::Draining | Sight::Expired(_) if draft.refresh => {
                self.missing(key)
            }
            Sight::Absent => self.new_node(key, draft, Action::Set),
            Sight::Draining => Ok(await_drain(key)),
            Sight::Expired(item) => Ok(expire_first(item)),
        }
    }

    /// Creates the node where there is none.
    pub(super) fn create(&self, key: &Key, draft: &Draft) -> Result<Step, Error> {
        not_the_root(key)?;
        let draft = &without_early_expiration(draft);
        match self.sight(key) {
            Sight::Unknown | Sight::Absent => self.new_node(key, draft, Action::Create),
            Sight::File(_) | Sight::Dir(_) => Err(Error::about(ErrorCode::NodeExist, key)),
            Sight::Draining => Ok(await_drain(key)),
            Sight::Expired(item) => Ok(expire_first(item)),
        }
    }

    /// Creates a child whose name is the index of this write.
    ///
    /// The directory's stamp has to be below the index, and every creation in it moves the
    /// stamp: so the name sorts after all in-order keys that were made there before.
    pub(super) fn create_in_order(&self, dir: &Key, draft: &Draft) -> Result<Step, Error> {
        let name = self.moment.id.index.in_order_name();
        self.new_node(&dir.child(name.as_bytes()), &without_early_expiration(draft), Action::Create)
    }

    /// Changes the node that is there. Of a directory only the TTL can change.
    pub(super) fn update(&self, key: &Key, draft: &Draft) -> Result<Step, Error> {
        not_the_root(key)?;
        match self.sight(key) {
            Sight::Unknown | Sight::File(_) => {
                Ok(Step::Commit(self.change_file(key, draft, Action::Update, Vec::new())))
            }
            Sight::Dir(_) if !draft.value.is_empty() => Err(not_a_file(key)),
            Sight::Dir(dir) => Ok(Step::Commit(self.change_dir_ttl(dir, draft))),
            Sight::Absent | Sight::Draining | Sight::Expired(_) => self.missing(key),
        }
    }

    /// Changes the file where it is the one that was meant.
    pub(super) fn compare_and_swap(
        &self,
        key: &Key,
        draft: &Draft,
        compare: &Compare,
    ) -> Result<Step, Error> {
        not_the_root(key)?;
        match self.sight(key) {
            Sight::Dir(_) => return Err(not_a_file(key)),
            Sight::Absent | Sight::Draining | Sight::Expired(_) => return self.missing(key),
            Sight::File(file) => compare.check(file)?,
            Sight::Unknown => {}
        }
        let plan = self.change_file(key, draft, Action::CompareAndSwap, compare.preconditions());
        Ok(Step::Commit(plan))
    }

    fn replace_file(&self, key: &Key, draft: &Draft) -> Plan {
        self.write_over_file(key, draft, Action::Set, true, Vec::new())
    }

    fn change_file(
        &self,
        key: &Key,
        draft: &Draft,
        action: Action,
        expect: Vec<Precondition>,
    ) -> Plan {
        self.write_over_file(key, draft, action, false, expect)
    }

    fn write_over_file(
        &self,
        key: &Key,
        draft: &Draft,
        action: Action,
        creates: bool,
        mut expect: Vec<Precondition>,
    ) -> Plan {
        expect.insert(0, Precondition::LiveFile(self.moment.now));
        let value = (!draft.refresh).then(|| draft.value.clone());
        let mutation = Mutation::WriteFile { value, creates, expiration: draft.expiration };
        let told = (!draft.refresh).then_some(action);
        let op = NodeOp { key: key.clone(), id: self.moment.id, expect, mutation, action: told };
        let plan = self.commit(action, Prior::FromStore, vec![Op::Node(op)]);
        Plan { is_refresh: draft.refresh, ..plan }
    }

    /// A set with `dir=true` turns a file into an empty directory.
    fn file_to_dir(&self, file: &Arc<Item>, draft: &Draft) -> Plan {
        let expect =
            vec![Precondition::LiveFile(self.moment.now), Precondition::Modified(file.modified)];
        let mutation = Mutation::MakeDir { stamped: false, expiration: draft.expiration };
        let action = (!draft.refresh).then_some(Action::Set);
        let op = NodeOp { key: file.key.clone(), id: self.moment.id, expect, mutation, action };
        let mut ops = vec![Op::Node(op)];
        ops.extend(dir_ttl_record(&file.key, draft.expiration));
        let plan = self.commit(Action::Set, Prior::Known(Arc::clone(file)), ops);
        Plan { is_refresh: draft.refresh, ..plan }
    }

    fn change_dir_ttl(&self, dir: &Arc<Item>, draft: &Draft) -> Plan {
        let mut expect =
            vec![Precondition::LiveDir(self.moment.now), Precondition::Modified(dir.modified)];
        // prevNode shows the expiration that is replaced, so it has to be the one that was seen.
        expect.push(match dir.expiration {
            Some(expiration) => Precondition::Expiration(expiration),
            None => Precondition::Stamp(dir.stamp()),
        });
        let mutation = Mutation::SetDirTtl { expiration: draft.expiration };
        let action = (!draft.refresh).then_some(Action::Update);
        let key = dir.key.clone();
        let mut ops = vec![Op::Node(NodeOp { key, id: self.moment.id, expect, mutation, action })];
        match draft.expiration {
            Some(_) => ops.extend(dir_ttl_record(&dir.key, draft.expiration)),
            None => ops.extend(drop_dir_ttl_record(dir)),
        }
        let plan = self.commit(Action::Update, Prior::Known(Arc::clone(dir)), ops);
        Plan { is_refresh: draft.refresh, ..plan }
    }

    /// Puts a node where there is none, with the directories above it that are missing. All of
    /// it is one commit: no node is ever without its parent.
    fn new_node(&self, key: &Key, draft: &Draft, action: Action) -> Result<Step, Error> {
        let mutation = if draft.dir {
            Mutation::MakeDir { stamped: false, expiration: draft.expiration }
        } else {
            let (value, expiration) = (Some(draft.value.clone()), draft.expiration);
            Mutation::WriteFile { value, creates: true, expiration }
        };
        let expect = vec![Precondition::Absent];
        let op =
            NodeOp { key: key.clone(), id: self.moment.id, expect, mutation, action: Some(action) };
        let mut ops = vec![Op::Node(op)];
        if draft.dir {
            ops.extend(dir_ttl_record(key, draft.expiration));
        }
        if let Some(detour) = self.add_parents(key, &mut ops)? {
            return Ok(detour);
        }
        if ops.len() > self.moment.capacity.ops {
            let cause = format!(
                "the path needs {} new nodes at once; the limit is {}",
                ops.len(),
                self.moment.capacity.ops
            );
            return Err(Error::new(ErrorCode::InvalidField, cause));
        }
        Ok(Step::Commit(self.commit(action, Prior::Nothing, ops)))
    }

    /// Adds what a creation asks of the directories above it: the lowest that is there gets a
    /// stamp, the ones between are made. Gives a step to take first where one is needed.
    fn add_parents(&self, key: &Key, ops: &mut Vec<Op>) -> Result<Option<Step>, Error> {
        let mut missing_below = false;
        let mut above = key.parent();
        while let Some(dir) = above {
            match self.sight(&dir) {
                Sight::Unknown if missing_below && !dir.is_root() => {
                    let mut unknown = dir.ancestors();
                    unknown.push(dir);
                    return Ok(Some(look(unknown)));
                }
                Sight::Unknown | Sight::Dir(_) => {
                    ops.extend(self.stamp(&dir, key).map(Op::Node));
                    return Ok(None);
                }
                Sight::File(_) => return Err(Error::about(ErrorCode::NotDir, &dir)),
                Sight::Draining => return Ok(Some(await_drain(&dir))),
                Sight::Expired(item) => return Ok(Some(expire_first(item))),
                Sight::Absent => ops.push(Op::Node(self.implicit_parent(&dir))),
            }
            missing_below = true;
            above = dir.parent();
        }
        Ok(None)
    }

    /// The root can't be removed, so what is created in it need not stamp it: it would be the
    /// one item that all such writes share. Only an in-order key has to, for its name's sake.
    fn stamp(&self, dir: &Key, child: &Key) -> Option<NodeOp> {
        let in_order = child.name() == self.moment.id.index.in_order_name().as_bytes();
        if dir.is_root() && !in_order {
            return None;
        }
        let expect = vec![Precondition::LiveDir(self.moment.now)];
        let id = self.moment.id;
        let mutation = Mutation::Stamp { last: id.index };
        Some(NodeOp { key: dir.clone(), id, expect, mutation, action: None })
    }

    fn implicit_parent(&self, dir: &Key) -> NodeOp {
        let expect = vec![Precondition::Absent];
        let mutation = Mutation::MakeDir { stamped: true, expiration: None };
        NodeOp { key: dir.clone(), id: self.moment.id, expect, mutation, action: None }
    }
}

impl Compare {
    /// Whether the file is the one that was meant.
    pub(super) fn check(&self, file: &Item) -> Result<(), Error> {
        let value = match &file.content {
            Content::File(value) => value.as_bytes(),
            Content::Dir(_) => return Err(not_a_file(&file.key)),
        };
        let mut causes: Vec<Vec<u8>> = Vec::new();
        if let Some(prev_value) = self.prev_value.as_ref().filter(|prev| prev.as_bytes() != value) {
            causes.push([b"[", prev_value.as_bytes(), b" != ", value, b"]"].concat());
        }
        if let Some(prev_index) = self.prev_index.filter(|prev| *prev != file.modified) {
            causes.push(format!("[{prev_index} != {}]", file.modified).into_bytes());
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::TestFailed, causes.join(&b' ')))
    }

    /// The same, for the store to decide.
    pub(super) fn preconditions(&self) -> Vec<Precondition> {
        let value = self.prev_value.clone().map(Precondition::Value);
        let index = self.prev_index.map(Precondition::Modified);
        value.into_iter().chain(index).collect()
    }
}

fn without_early_expiration(draft: &Draft) -> Draft {
    let expiration = draft.expiration.filter(|at| *at >= EARLIEST_EXPIRATION);
    Draft { expiration, ..draft.clone() }
}

/// The record by which a directory's expiry is found.
fn dir_ttl_record(key: &Key, expiration: Option<UnixMs>) -> Option<Op> {
    let record = |expiration| Record::DirTtl { key: key.clone(), expiration };
    expiration.map(record).map(Op::PutRecord)
}

/// Removes the record of a directory that has, or had, a TTL.
pub(super) fn drop_dir_ttl_record(dir: &Item) -> Option<Op> {
    dir.expiration.map(|_| Op::DropRecord(RecordKind::DirTtl.name_for(&dir.key)))
}
