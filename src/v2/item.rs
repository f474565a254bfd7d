//! What a store keeps of one key: the node, and what is needed to decide about it.
//!
//! An item outlives its node: a removed node leaves a tombstone, which keeps the key's index
//! rising across delete and re-create and makes a retried delete decidable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::{EtcdIndex, UnixMs, ttl_left};
use super::key::Key;
use super::node::Node;

/// How long an item stays after its node is gone. More than twice the allowed clock drift, so
/// that no gateway can write an index below that of a tombstone which was purged.
pub const TOMBSTONE_LIFETIME_MS: i64 = 15 * 60 * 1000;

/// A file's value: any bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Value {
    fn from(bytes: T) -> Value {
        Value(Arc::from(bytes.into()))
    }
}

/// Values are never logged; only their size is.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// What happened to a node, in etcd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// A read.
    Get,
    /// PUT without a condition.
    Set,
    /// PUT with prevExist=false, or POST.
    Create,
    /// PUT with prevExist=true.
    Update,
    /// PUT with prevValue or prevIndex.
    CompareAndSwap,
    /// DELETE without a condition.
    Delete,
    /// DELETE with prevValue or prevIndex.
    CompareAndDelete,
    /// The node's TTL ran out.
    Expire,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 8] = [
        Action::Get,
        Action::Set,
        Action::Create,
        Action::Update,
        Action::CompareAndSwap,
        Action::Delete,
        Action::CompareAndDelete,
        Action::Expire,
    ];

    /// The `action` of the body.
    pub fn name(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Set => "set",
            Action::Create => "create",
            Action::Update => "update",
            Action::CompareAndSwap => "compareAndSwap",
            Action::Delete => "delete",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }

    /// The action of this name.
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Names one write. The same id is sent again when a write's outcome has to be found out.
///
/// Of two writes of one gateway the later one has the higher id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId {
    /// The index of the write. One gateway never gives two writes the same.
    pub index: EtcdIndex,
    /// The gateway that writes: a number that it chose when it started, and that has its slot.
    pub gateway: u32,
}

/// How many gateways' last writes an item tells apart.
pub const WRITER_SLOTS: u32 = 16;

/// The place of this gateway's writes in an item's memory. Gateways choose their numbers so that
/// no two that run at a time share one, as long as there are enough.
pub fn writer_slot(gateway: u32) -> u32 {
    gateway % WRITER_SLOTS
}

/// Set in the gateway's number where a write is ruled out. It leaves the slot as it is.
const RULING: u32 = 1 << 31;

/// All numbers of gateways are below this one.
pub const GATEWAYS: u32 = RULING;

impl WriteId {
    /// What is left in the slot of a write that is not to happen any more: just above its id, and
    /// below that of every later write.
    pub fn ruled_out(self) -> WriteId {
        WriteId { gateway: self.gateway | RULING, ..self }
    }

    /// Whether this is no write, but what rules one out.
    pub fn is_ruling(&self) -> bool {
        self.gateway & RULING != 0
    }

    /// The place of this write in an item's memory.
    pub fn slot(&self) -> u32 {
        writer_slot(self.gateway)
    }
}

/// The last write of each gateway to an item.
///
/// A gateway has one write of an item under way at a time, so it can always tell whether one whose reply
/// was lost happened, however often others wrote since; only two gateways with one slot may cover each
/// other's traces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Writes(Vec<WriteId>);

impl Writes {
    /// A memory of these writes. Of two in one slot the later in the list counts.
    pub fn new(ids: impl IntoIterator<Item = WriteId>) -> Writes {
        ids.into_iter().fold(Writes::default(), |writes, id| writes.then(id))
    }

    /// The memory after one more write.
    pub fn then(&self, id: WriteId) -> Writes {
        let others = self.0.iter().filter(|other| other.slot() != id.slot());
        let mut ids: Vec<WriteId> = others.copied().chain([id]).collect();
        ids.sort_by_key(WriteId::slot);
        Writes(ids)
    }

    /// The ids, by slot.
    pub fn ids(&self) -> &[WriteId] {
        &self.0
    }

    /// Whether this write happened: yes, no, or (`None`) another gateway's later write stands
    /// in its place.
    pub fn contains(&self, id: WriteId) -> Option<bool> {
        match self.0.iter().find(|other| other.slot() == id.slot()) {
            Some(found) if *found == id => Some(true),
            Some(found) if *found > id => None,
            Some(_) | None => Some(false),
        }
    }
}

/// What a directory remembers of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dir {
    /// The highest index of a child's creation or of a change of this directory's TTL. It moves
    /// with each, so "it has not moved" proves that an empty directory is still empty. `None`:
    /// no child was ever created.
    pub stamp: Option<EtcdIndex>,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A file and its value.
    File(Value),
    /// A directory.
    Dir(Dir),
}

/// The mark of a removed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The subtree below is still being removed; nothing may be created at or below this key.
    pub draining: bool,
    /// The modifiedIndex that the node had.
    pub before: EtcdIndex,
    /// From when on the store may forget the item.
    pub purge_at: UnixMs,
}

/// What a store keeps of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// A file or a directory; of a tombstone, what it was.
    pub content: Content,
    /// The index of the node's creation.
    pub created: EtcdIndex,
    /// The index of the last change that shows in the node; of a tombstone, of its removal.
    pub modified: EtcdIndex,
    /// When the node expires; of a tombstone, when it would have.
    pub expiration: Option<UnixMs>,
    /// What the last write was to a watcher. `None`: nobody is told (a refresh, an implicit
    /// parent, a node that went with its directory).
    pub action: Option<Action>,
    /// The last writes of each gateway.
    pub writes: Writes,
    /// Set where the node is gone.
    pub removed: Option<Removed>,
}

impl Item {
    /// Whether the node is there at this time: not removed and not past its expiration.
    pub fn is_live(&self, now: UnixMs) -> bool {
        self.removed.is_none() && !self.is_past(now)
    }

    /// Whether the expiration is past, on the millisecond.
    pub fn is_past(&self, now: UnixMs) -> bool {
        self.expiration.is_some_and(|expiration| expiration <= now)
    }

    /// Whether the subtree below is still being removed.
    pub fn is_draining(&self) -> bool {
        self.removed.is_some_and(|removed| removed.draining)
    }

    /// Whether this is, or was, a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    /// Whether there is or was a node. An item that only keeps a write from happening
    /// ([`Mutation::RuleOutNew`](super::Mutation::RuleOutNew)) says nothing of the past.
    pub fn tells_of_a_node(&self) -> bool {
        self.modified > EtcdIndex(0)
    }

    /// A directory's child stamp.
    pub fn stamp(&self) -> Option<EtcdIndex> {
        match &self.content {
            Content::Dir(dir) => dir.stamp,
            Content::File(_) => None,
        }
    }

    /// The highest index in the item. A write over it needs a higher one.
    pub fn highest_index(&self) -> EtcdIndex {
        self.modified.max(self.stamp().unwrap_or_default())
    }

    /// From when on the store may forget the item by itself. Directories go only by the
    /// service's own sweep, which takes what is below them along.
    pub fn purge_at(&self) -> Option<UnixMs> {
        match (&self.removed, &self.content) {
            (Some(removed), _) => (!removed.draining).then_some(removed.purge_at),
            (None, Content::File(_)) => {
                self.expiration.map(|expiration| expiration.plus_ms(TOMBSTONE_LIFETIME_MS))
            }
            (None, Content::Dir(_)) => None,
        }
    }

    /// The node as a reply shows it at this time, without children.
    pub fn node(&self, now: UnixMs) -> Node {
        let value = match &self.content {
            Content::File(value) => Some(value.clone()),
            Content::Dir(_) => None,
        };
        Node {
            key: self.key.clone(),
            value,
            dir: self.is_dir(),
            expiration: self.expiration,
            ttl: self.expiration.map_or(0, |expiration| ttl_left(now, expiration)),
            nodes: Vec::new(),
            modified: self.modified,
            created: self.created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64, gateway: u32) -> WriteId {
        WriteId { index: EtcdIndex(index), gateway }
    }

    #[test]
    fn an_item_knows_the_last_write_of_each_gateway() {
        let writes = Writes::new([id(10, 1), id(20, 2), id(30, 2)]);
        assert_eq!(writes.contains(id(10, 1)), Some(true), "whatever others wrote since");
        assert_eq!(writes.contains(id(30, 2)), Some(true));
        assert_eq!(writes.contains(id(25, 1)), Some(false));
        assert_eq!(writes.contains(id(5, 3)), Some(false));
        assert_eq!(writes.ids().len(), 2);
    }

    #[test]
    fn a_gateway_with_the_same_slot_may_cover_a_write() {
        let writes = Writes::new([id(10, 1), id(20, 1 + WRITER_SLOTS)]);
        assert_eq!(writes.contains(id(10, 1)), None, "it may have happened");
        assert_eq!(writes.contains(id(20, 1)), None, "the same index, another gateway");
        assert_eq!(writes.contains(id(30, 1)), Some(false));
    }

    #[test]
    fn a_write_that_is_ruled_out_is_between_it_and_the_next() {
        let (write, next) = (id(10, 3), id(11, 3));
        let ruling = write.ruled_out();
        assert!(write < ruling && ruling < next);
        assert_eq!(ruling.slot(), write.slot());
        assert_eq!(Writes::new([ruling]).contains(write), None);
        assert_eq!(Writes::new([ruling]).contains(next), Some(false));
    }

    #[test]
    fn every_action_has_a_name_of_its_own() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(action));
        }
        assert_eq!(Action::from_name("nothing"), None);
    }
}
