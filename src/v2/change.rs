//! A change of the store: preconditions and mutations as values.
//!
//! The planner makes them, a store carries them out: one compiles them to condition and update
//! expressions, the other calls [`Precondition::holds`] and [`Mutation::apply`]. Both must come
//! to the same result, which the conformance suite holds. Nothing here knows a v2 rule.

use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::index::{EtcdIndex, UnixMs};
use super::item::{
    Action, Content, Dir, Item, Removed, TOMBSTONE_LIFETIME_MS, Value, WriteId, Writes, writer_slot,
};
use super::key::Key;

/// What must hold of an item for a commit to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// There is no node: no item, or a tombstone that is not draining.
    Absent,
    /// There is a file that is not past its expiration at this time.
    LiveFile(UnixMs),
    /// There is a directory that is not past its expiration at this time.
    LiveDir(UnixMs),
    /// There is a file, past its expiration or not.
    File,
    /// There is a directory, past its expiration or not.
    Dir,
    /// The value is this one.
    Value(Value),
    /// The modifiedIndex is this one.
    Modified(EtcdIndex),
    /// The expiration is this one.
    Expiration(UnixMs),
    /// The directory's child stamp is this one.
    Stamp(Option<EtcdIndex>),
    /// There is a tombstone that is draining, of the removal at this index.
    Draining(EtcdIndex),
    /// There is an item: a node or a tombstone.
    Item,
    /// There is no item, not even a tombstone.
    NoItem,
    /// This is not the last write of its slot.
    NotWritten(WriteId),
}

impl Precondition {
    /// Whether it holds of this item.
    pub fn holds(&self, item: Option<&Item>) -> bool {
        let node = item.filter(|item| item.removed.is_none());
        match self {
            Precondition::Absent => {
                item.is_none_or(|item| item.removed.is_some() && !item.is_draining())
            }
            Precondition::LiveFile(now) => {
                node.is_some_and(|node| !node.is_dir() && !node.is_past(*now))
            }
            Precondition::LiveDir(now) => {
                node.is_some_and(|node| node.is_dir() && !node.is_past(*now))
            }
            Precondition::File => node.is_some_and(|node| !node.is_dir()),
            Precondition::Dir => node.is_some_and(Item::is_dir),
            Precondition::Value(value) => {
                node.is_some_and(|node| node.content == Content::File(value.clone()))
            }
            Precondition::Modified(index) => node.is_some_and(|node| node.modified == *index),
            Precondition::Expiration(at) => node.is_some_and(|node| node.expiration == Some(*at)),
            Precondition::Stamp(stamp) => node.is_some_and(|node| node.stamp() == *stamp),
            Precondition::Draining(index) => {
                item.is_some_and(|item| item.is_draining() && item.modified == *index)
            }
            Precondition::Item => item.is_some(),
            Precondition::NoItem => item.is_none(),
            Precondition::NotWritten(id) => {
                item.is_none_or(|item| item.writes.contains(*id) != Some(true))
            }
        }
    }
}

/// What a commit does to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Write a file.
    WriteFile {
        /// The value; none: keep the one that is there.
        value: Option<Value>,
        /// Whether the file counts as created now, or keeps its createdIndex.
        creates: bool,
        /// The expiration; none: the file stays.
        expiration: Option<UnixMs>,
    },
    /// Make an empty directory, where nothing is or where a file is.
    MakeDir {
        /// Whether a child is created with it.
        stamped: bool,
        /// The expiration; none: the directory stays.
        expiration: Option<UnixMs>,
    },
    /// Change a directory's expiration. Its modifiedIndex stays, as in etcd.
    SetDirTtl {
        /// The expiration; none: the directory stays.
        expiration: Option<UnixMs>,
    },
    /// Note in a directory that children are created.
    Stamp {
        /// The index of the last of them; the operation's own is that of the first.
        last: EtcdIndex,
    },
    /// Turn the node into a tombstone, which keeps what the node was.
    Remove {
        /// The subtree below is yet to be removed.
        draining: bool,
        /// When it happens; the tombstone may be purged some time after.
        now: UnixMs,
    },
    /// The subtree below a draining tombstone is gone.
    EndDrain {
        /// When it happens.
        now: UnixMs,
    },
    /// Note the operation's id, and nothing else: a write with a lower one of the same slot, which
    /// may still be on its way, cannot apply any more.
    RuleOut,
    /// The same where there is no item: a tombstone of nothing.
    RuleOutNew {
        /// When it happens; the tombstone may be purged some time after.
        now: UnixMs,
    },
}

impl Mutation {
    /// The item after it. The preconditions hold of `item`.
    fn apply(&self, op: &NodeOp, item: Option<&Item>) -> Option<Item> {
        let id = op.id;
        let writes = item.map_or_else(Writes::default, |item| item.writes.clone()).then(id);
        let written = |content, created, expiration| Item {
            key: op.key.clone(),
            content,
            created,
            modified: id.index,
            expiration,
            action: op.action,
            writes: writes.clone(),
            removed: None,
        };
        match self {
            Mutation::WriteFile { value, creates, expiration } => {
                let content = match value {
                    Some(value) => Content::File(value.clone()),
                    None => item?.content.clone(),
                };
                let created = if *creates { id.index } else { item?.created };
                Some(written(content, created, *expiration))
            }
            Mutation::MakeDir { stamped, expiration } => {
                let dir = Dir { stamp: stamped.then_some(id.index) };
                Some(written(Content::Dir(dir), id.index, *expiration))
            }
            Mutation::SetDirTtl { expiration } => {
                let content = Content::Dir(Dir { stamp: Some(id.index) });
                let item = item?.clone();
                let (expiration, action) = (*expiration, op.action);
                Some(Item { content, expiration, action, writes, ..item })
            }
            Mutation::Stamp { last } => {
                let content = Content::Dir(Dir { stamp: Some(*last) });
                Some(Item { content, ..item?.clone() })
            }
            Mutation::Remove { draining, now } => {
                let item = item?.clone();
                let (before, purge_at) = (item.modified, purge_at(*now));
                let removed = Some(Removed { draining: *draining, before, purge_at });
                let (modified, action) = (id.index, op.action);
                Some(Item { modified, action, writes, removed, ..item })
            }
            Mutation::EndDrain { now } => {
                let item = item?.clone();
                let end = |was| Removed { draining: false, purge_at: purge_at(*now), ..was };
                Some(Item { removed: item.removed.map(end), ..item })
            }
            Mutation::RuleOut => Some(Item { writes, ..item?.clone() }),
            Mutation::RuleOutNew { now } => {
                let never = EtcdIndex(0);
                let removed = Removed { draining: false, before: never, purge_at: purge_at(*now) };
                let (modified, removed) = (never, Some(removed));
                let nothing = written(Content::File(Value::from("")), never, None);
                Some(Item { modified, removed, action: None, ..nothing })
            }
        }
    }
}

/// When a tombstone that is made now may be purged.
pub fn purge_at(now: UnixMs) -> UnixMs {
    now.plus_ms(TOMBSTONE_LIFETIME_MS)
}

/// What a commit asks of one node's item, and does to it.
///
/// Besides its preconditions, an operation that gives the item its index applies only over an item
/// whose highest index is below that; and one that leaves its id there, only where the id in its
/// slot is a lower one. So a write that happened or was ruled out cannot happen later, however long
/// an attempt at it was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOp {
    /// The key of the item.
    pub key: Key,
    /// The write that it is a part of. A commit may carry out several writes.
    pub id: WriteId,
    /// What must hold.
    pub expect: Vec<Precondition>,
    /// What is done.
    pub mutation: Mutation,
    /// What a watcher is told; none: nothing.
    pub action: Option<Action>,
}

impl NodeOp {
    /// Whether it applies over this item.
    pub fn applies(&self, item: Option<&Item>) -> bool {
        let by_index = |item: &Item| item.highest_index() < self.id.index;
        let by_id = |item: &Item| item.writes.contains(self.id) == Some(false);
        item.is_none_or(|item| !self.gives_its_index() || by_index(item))
            && item.is_none_or(|item| !self.leaves_its_id() || by_id(item))
            && self.expect.iter().all(|precondition| precondition.holds(item))
    }

    /// The item after it, where it applies over `item`.
    pub fn apply(&self, item: Option<&Item>) -> Option<Item> {
        self.mutation.apply(self, item)
    }

    /// Whether the item remembers afterwards which write it was.
    pub fn leaves_its_id(&self) -> bool {
        match self.mutation {
            Mutation::WriteFile { .. }
            | Mutation::MakeDir { .. }
            | Mutation::SetDirTtl { .. }
            | Mutation::Remove { .. }
            | Mutation::RuleOut
            | Mutation::RuleOutNew { .. } => true,
            Mutation::Stamp { .. } | Mutation::EndDrain { .. } => false,
        }
    }

    /// Whether the item's highest index is its own afterwards.
    fn gives_its_index(&self) -> bool {
        match self.mutation {
            Mutation::WriteFile { .. }
            | Mutation::MakeDir { .. }
            | Mutation::SetDirTtl { .. }
            | Mutation::Stamp { .. }
            | Mutation::Remove { .. } => true,
            Mutation::EndDrain { .. } | Mutation::RuleOut | Mutation::RuleOutNew { .. } => false,
        }
    }
}

/// A record of the keyspace itself, beside the tree. No client can reach one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Who this cluster is; written once.
    Identity {
        /// The layout of the data; a gateway that does not know it must not touch it.
        schema: u32,
        /// The cluster's id.
        cluster_id: u64,
        /// The id of the one member that all gateways are.
        member_id: u64,
    },
    /// A directory that has a TTL.
    DirTtl {
        /// The directory.
        key: Key,
        /// When it expires.
        expiration: UnixMs,
    },
    /// A gateway that writes here.
    Gateway {
        /// Its id, as its writes carry it. Its slot is its place among the gateways.
        gateway: u32,
        /// When it was last known to be there.
        seen: UnixMs,
    },
    /// Whether users and roles count; each change of them replaces it, so one happens at a time. It
    /// is among what the sweep looks at, by which every gateway soon knows.
    Auth {
        /// How many changes there were.
        change: u64,
        /// Whether requests need permissions.
        enabled: bool,
        /// The last changes, the latest first.
        recent: Vec<WriteId>,
    },
    /// A user.
    User(User),
    /// A role.
    Role(Role),
    /// A subtree whose removal is under way.
    Drain {
        /// The root of the subtree.
        key: Key,
        /// The index of the removal.
        index: EtcdIndex,
        /// `delete` or `expire`.
        action: Action,
    },
}

/// The kinds of records, each with its part of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// The one [`Record::Identity`].
    Identity,
    /// Gateways, one for each slot.
    Gateway,
    /// What the sweep looks at: the next three kinds together.
    Sweep,
    /// The one [`Record::Auth`], of which there is none before the first change.
    Auth,
    /// Directories that have a TTL.
    DirTtl,
    /// Removals under way.
    Drain,
    /// Users and roles: the next two kinds together.
    Accounts,
    /// Users.
    User,
    /// Roles.
    Role,
}

impl RecordKind {
    /// What the names of these records, and of no others, begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            RecordKind::Identity => "identity",
            RecordKind::Gateway => "gateway/",
            RecordKind::Sweep => "sweep/",
            RecordKind::Auth => "sweep/auth/",
            RecordKind::DirTtl => "sweep/dir-ttl",
            RecordKind::Drain => "sweep/drain",
            RecordKind::Accounts => "accounts/",
            RecordKind::User => "accounts/user/",
            RecordKind::Role => "accounts/role/",
        }
    }

    /// The name of the record of this kind about this key.
    pub fn name_for(self, key: &Key) -> String {
        format!("{}{}", self.prefix(), key.escaped())
    }
}

impl Record {
    /// The record's name, by which it is found and replaced.
    pub fn name(&self) -> String {
        match self {
            Record::Identity { .. } => RecordKind::Identity.prefix().to_owned(),
            Record::Gateway { gateway, .. } => {
                format!("{}{:02}", RecordKind::Gateway.prefix(), writer_slot(*gateway))
            }
            Record::Auth { change, .. } => {
                format!("{}{change:020}", RecordKind::Auth.prefix())
            }
            Record::User(user) => format!("{}{}", RecordKind::User.prefix(), user.name),
            Record::Role(role) => format!("{}{}", RecordKind::Role.prefix(), role.name),
            Record::DirTtl { key, .. } => RecordKind::DirTtl.name_for(key),
            Record::Drain { key, .. } => RecordKind::Drain.name_for(key),
        }
    }
}

/// One part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// On a node's item.
    Node(NodeOp),
    /// Write a record over whatever has its name.
    PutRecord(Record),
    /// Write a record where none has its name.
    AddRecord(Record),
    /// Remove the record of this name, if there is one.
    DropRecord(String),
    /// Remove a record where it is still this one.
    DropSameRecord(Record),
}

impl Op {
    /// The operation, where it is one on a node's item.
    pub fn node(&self) -> Option<&NodeOp> {
        match self {
            Op::Node(op) => Some(op),
            Op::PutRecord(_) | Op::AddRecord(_) | Op::DropRecord(_) | Op::DropSameRecord(_) => None,
        }
    }

    /// What the value in it measures, in bytes.
    pub fn value_bytes(&self) -> usize {
        match self.node().map(|op| &op.mutation) {
            Some(Mutation::WriteFile { value: Some(value), .. }) => value.as_bytes().len(),
            _ => 0,
        }
    }
}

/// What a store does at once or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The id of the write; of several that go together, of the last.
    pub id: WriteId,
    /// The parts, no two on one item.
    pub ops: Vec<Op>,
}
