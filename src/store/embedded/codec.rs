//! How items and records are written to disk.
//!
//! Not the wire's JSON, and not the shape of the types in memory: those may change freely, what
//! is written here may not. Each value begins with the version of its layout; a new layout gets
//! a new version and the old one stays readable.

use serde::{Deserialize, Serialize, Serializer};

use crate::v2::{
    Action, Content, Dir, EtcdIndex, Item, Key, PasswordHash, Permissions, Record, Removed, Role,
    UnixMs, User, Value, WriteId, Writes,
};

/// The layout that is written.
const VERSION: u8 = 1;

/// Why bytes from the disk are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An item without its key, which is the name it is stored under.
#[derive(Serialize, Deserialize)]
struct ItemV1<'a> {
    #[serde(borrow)]
    content: ContentV1<'a>,
    created: u64,
    modified: u64,
    expiration: Option<i64>,
    action: Option<ActionV1>,
    /// Index and gateway.
    writes: Vec<(u64, u32)>,
    /// Whether it drains, the index before, and from when on it may be forgotten.
    removed: Option<(bool, u64, i64)>,
}

#[derive(Serialize, Deserialize)]
enum ContentV1<'a> {
    File(
        #[serde(serialize_with = "as_bytes")]
        #[serde(borrow)]
        &'a [u8],
    ),
    Dir(Option<u64>),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum ActionV1 {
    Get,
    Set,
    Create,
    Update,
    CompareAndSwap,
    Delete,
    CompareAndDelete,
    Expire,
}

#[derive(Serialize, Deserialize)]
enum RecordV1<'a> {
    Identity {
        schema: u32,
        cluster_id: u64,
        member_id: u64,
    },
    DirTtl {
        #[serde(serialize_with = "as_bytes")]
        #[serde(borrow)]
        key: &'a [u8],
        expiration: i64,
    },
    Drain {
        #[serde(serialize_with = "as_bytes")]
        #[serde(borrow)]
        key: &'a [u8],
        index: u64,
        action: ActionV1,
    },
    Gateway {
        gateway: u32,
        seen: i64,
    },
    Auth {
        change: u64,
        enabled: bool,
        recent: Vec<(u64, u32)>,
    },
    User {
        name: String,
        password: String,
        roles: Option<Vec<String>>,
    },
    Role {
        name: String,
        read: Option<Vec<String>>,
        write: Option<Vec<String>>,
    },
}

/// The item's bytes.
pub(super) fn item_to_bytes(item: &Item) -> Vec<u8> {
    let content = match &item.content {
        Content::File(value) => ContentV1::File(value.as_bytes()),
        Content::Dir(dir) => ContentV1::Dir(dir.stamp.map(|stamp| stamp.0)),
    };
    let writes = item.writes.ids().iter().map(|id| (id.index.0, id.gateway)).collect();
    let removed = |removed: Removed| (removed.draining, removed.before.0, removed.purge_at.0);
    to_bytes(&ItemV1 {
        content,
        created: item.created.0,
        modified: item.modified.0,
        expiration: item.expiration.map(|at| at.0),
        action: item.action.map(ActionV1::from),
        writes,
        removed: item.removed.map(removed),
    })
}

/// The item of this key that these bytes hold.
pub(super) fn item_from_bytes(key: Key, bytes: &[u8]) -> Result<Item, Unreadable> {
    let item: ItemV1<'_> = from_bytes(bytes)?;
    let content = match item.content {
        ContentV1::File(value) => Content::File(Value::from(value)),
        ContentV1::Dir(stamp) => Content::Dir(Dir { stamp: stamp.map(EtcdIndex) }),
    };
    let writes = item.writes.iter();
    let writes = writes.map(|&(index, gateway)| WriteId { index: EtcdIndex(index), gateway });
    let removed = |(draining, before, purge_at)| Removed {
        draining,
        before: EtcdIndex(before),
        purge_at: UnixMs(purge_at),
    };
    Ok(Item {
        key,
        content,
        created: EtcdIndex(item.created),
        modified: EtcdIndex(item.modified),
        expiration: item.expiration.map(UnixMs),
        action: item.action.map(Action::from),
        writes: Writes::new(writes),
        removed: item.removed.map(removed),
    })
}

/// The record's bytes.
pub(super) fn record_to_bytes(record: &Record) -> Vec<u8> {
    to_bytes(&match record {
        Record::Identity { schema, cluster_id, member_id } => {
            RecordV1::Identity { schema: *schema, cluster_id: *cluster_id, member_id: *member_id }
        }
        Record::DirTtl { key, expiration } => {
            RecordV1::DirTtl { key: key.as_bytes(), expiration: expiration.0 }
        }
        Record::Gateway { gateway, seen } => RecordV1::Gateway { gateway: *gateway, seen: seen.0 },
        Record::Drain { key, index, action } => {
            RecordV1::Drain { key: key.as_bytes(), index: index.0, action: (*action).into() }
        }
        Record::Auth { change, enabled, recent } => {
            let recent = recent.iter().map(|id| (id.index.0, id.gateway)).collect();
            RecordV1::Auth { change: *change, enabled: *enabled, recent }
        }
        Record::User(User { name, password, roles }) => RecordV1::User {
            name: name.clone(),
            password: password.0.clone(),
            roles: roles.clone(),
        },
        Record::Role(Role { name, permissions: Permissions { read, write } }) => {
            RecordV1::Role { name: name.clone(), read: read.clone(), write: write.clone() }
        }
    })
}

/// The record that these bytes hold.
pub(super) fn record_from_bytes(bytes: &[u8]) -> Result<Record, Unreadable> {
    Ok(match from_bytes(bytes)? {
        RecordV1::Identity { schema, cluster_id, member_id } => {
            Record::Identity { schema, cluster_id, member_id }
        }
        RecordV1::DirTtl { key, expiration } => {
            Record::DirTtl { key: key_from_bytes(key)?, expiration: UnixMs(expiration) }
        }
        RecordV1::Gateway { gateway, seen } => Record::Gateway { gateway, seen: UnixMs(seen) },
        RecordV1::Drain { key, index, action } => Record::Drain {
            key: key_from_bytes(key)?,
            index: EtcdIndex(index),
            action: action.into(),
        },
        RecordV1::Auth { change, enabled, recent } => {
            let id = |(index, gateway)| WriteId { index: EtcdIndex(index), gateway };
            Record::Auth { change, enabled, recent: recent.into_iter().map(id).collect() }
        }
        RecordV1::User { name, password, roles } => {
            Record::User(User { name, password: PasswordHash(password), roles })
        }
        RecordV1::Role { name, read, write } => {
            Record::Role(Role { name, permissions: Permissions { read, write } })
        }
    })
}

/// The key of these bytes.
pub(super) fn key_from_bytes(bytes: &[u8]) -> Result<Key, Unreadable> {
    Key::parse(bytes).map_err(|_| Unreadable("its key is not a key".to_owned()))
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("plain data in memory can be written")
}

fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    let body = match bytes.split_first() {
        Some((&VERSION, body)) => body,
        Some((version, _)) => {
            return Err(Unreadable(format!("its layout is {version}, known is {VERSION}")));
        }
        None => return Err(Unreadable("it is empty".to_owned())),
    };
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Unreadable(format!("it is {} bytes too long", rest.len()))),
        Err(e) => Err(Unreadable(e.to_string())),
    }
}

/// As one run of bytes; serde alone would visit each byte.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl From<Action> for ActionV1 {
    fn from(action: Action) -> ActionV1 {
        match action {
            Action::Get => ActionV1::Get,
            Action::Set => ActionV1::Set,
            Action::Create => ActionV1::Create,
            Action::Update => ActionV1::Update,
            Action::CompareAndSwap => ActionV1::CompareAndSwap,
            Action::Delete => ActionV1::Delete,
            Action::CompareAndDelete => ActionV1::CompareAndDelete,
            Action::Expire => ActionV1::Expire,
        }
    }
}

impl From<ActionV1> for Action {
    fn from(action: ActionV1) -> Action {
        match action {
            ActionV1::Get => Action::Get,
            ActionV1::Set => Action::Set,
            ActionV1::Create => Action::Create,
            ActionV1::Update => Action::Update,
            ActionV1::CompareAndSwap => Action::CompareAndSwap,
            ActionV1::Delete => Action::Delete,
            ActionV1::CompareAndDelete => Action::CompareAndDelete,
            ActionV1::Expire => Action::Expire,
        }
    }
}

#[cfg(test)]
mod tests;
