//! The codec of nodes' items: what is in the table, read back into values.
//!
//! Nodes' items are only ever written by update expressions ([`super::expression`]), so there is
//! no encoder for them but in tests. Invariant: what cannot be read whole is
//! [`StoreError::Corrupt`], never a guess.

use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::layout::{Attributes, SORT, key_at};
use crate::store::StoreError;
use crate::v2::{
    Action, Content, Dir, EtcdIndex, Item, Key, Removed, UnixMs, Value, WRITER_SLOTS, WriteId,
    Writes,
};

/// A file's value: S where it is UTF-8, else B.
pub(super) const VALUE: &str = "v";
/// TRUE on a directory.
pub(super) const DIR: &str = "d";
/// A directory's child stamp.
pub(super) const STAMP: &str = "k";
/// The createdIndex.
pub(super) const CREATED: &str = "c";
/// The modifiedIndex. Every node's item has one, no record has: its presence is the item's.
pub(super) const MODIFIED: &str = "m";
/// The expiration, in ms.
pub(super) const EXPIRATION: &str = "e";
/// The name of the last write's action.
pub(super) const ACTION: &str = "a";
/// The last write of the gateway of each slot, as [`write_id`] has it.
pub(super) const WRITES: [&str; WRITER_SLOTS as usize] = [
    "w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "wa", "wb", "wc", "wd", "we", "wf",
];
/// The mark of a removed node: from when on the item may be purged, in ms.
pub(super) const REMOVED: &str = "r";
/// The modifiedIndex that a removed node had.
pub(super) const BEFORE: &str = "b";
/// TRUE while the subtree below is being removed.
pub(super) const DRAINING: &str = "g";
/// When DynamoDB is to purge the item, in seconds: the table's TTL attribute.
pub(super) const PURGE: &str = "t";

/// What the attributes of an item measure at most beside its keys and its value, in bytes: the
/// names, the numbers (at most 21 bytes each), the markers, the action and the last writes (14 each).
pub(super) const ATTRIBUTES_OVERHEAD: usize = 512;

/// A number, as the SDK wants it.
pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A value, as it is kept.
pub(super) fn value(value: &Value) -> AttributeValue {
    match str::from_utf8(value.as_bytes()) {
        Ok(text) => AttributeValue::S(text.to_owned()),
        Err(_) => AttributeValue::B(Blob::new(value.as_bytes())),
    }
}

/// The attribute that keeps a write's id.
pub(super) fn write_slot(id: WriteId) -> &'static str {
    let slot = usize::try_from(id.slot()).unwrap_or_default();
    WRITES.get(slot).copied().unwrap_or(WRITES[0])
}

/// A write's id, as it is kept: its index and its gateway, big endian.
pub(super) fn write_id(id: WriteId) -> AttributeValue {
    let bytes = [&id.index.0.to_be_bytes()[..], &id.gateway.to_be_bytes()].concat();
    AttributeValue::B(Blob::new(bytes))
}

fn parse_write_id(bytes: &[u8]) -> Option<WriteId> {
    let (index, gateway) = bytes.split_first_chunk()?;
    let index = EtcdIndex(u64::from_be_bytes(*index));
    Some(WriteId { index, gateway: u32::from_be_bytes(gateway.try_into().ok()?) })
}

/// Reads the item of a node, with its key.
pub(super) fn decode(attributes: &Attributes) -> Result<Arc<Item>, StoreError> {
    let fields = Fields(attributes);
    let sort = fields.text(SORT)?.unwrap_or_default();
    let key = key_at(sort).ok_or_else(|| fields.corrupt(SORT))?;
    decode_at(key, attributes)
}

/// Reads the item of the node of this key.
pub(super) fn decode_at(key: Key, attributes: &Attributes) -> Result<Arc<Item>, StoreError> {
    let fields = Fields(attributes);
    let content = match (attributes.get(VALUE), fields.flag(DIR)?) {
        (None, true) => Content::Dir(Dir { stamp: fields.number(STAMP)?.map(EtcdIndex) }),
        (Some(AttributeValue::S(text)), false) => Content::File(Value::from(text.as_str())),
        (Some(AttributeValue::B(bytes)), false) => Content::File(Value::from(bytes.as_ref())),
        _ => return Err(fields.corrupt(VALUE)),
    };
    let action = match fields.text(ACTION)? {
        Some(name) => Some(Action::from_name(name).ok_or_else(|| fields.corrupt(ACTION))?),
        None => None,
    };
    let draining = fields.flag(DRAINING)?;
    let removed = match fields.number(REMOVED)? {
        Some(purge_at) => {
            let before = EtcdIndex(fields.needed(BEFORE)?);
            Some(Removed { draining, before, purge_at: UnixMs(purge_at) })
        }
        None => None,
    };
    Ok(Arc::new(Item {
        content,
        created: EtcdIndex(fields.needed(CREATED)?),
        modified: EtcdIndex(fields.needed(MODIFIED)?),
        expiration: fields.number(EXPIRATION)?.map(UnixMs),
        action,
        writes: fields.writes()?,
        removed,
        key,
    }))
}

/// The size of an item as DynamoDB bills it, in bytes, near enough.
pub(super) fn size<'a>(
    attributes: impl IntoIterator<Item = (impl AsRef<str>, &'a AttributeValue)>,
) -> usize {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the SDK's enum is open")]
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::L(list) => {
            list.iter().map(|text| text.as_s().map_or(1, String::len) + 1).sum()
        }
        // Nothing else but booleans is ever written here.
        _ => 1,
    };
    attributes.into_iter().map(|(name, held)| name.as_ref().len() + value(held)).sum()
}

/// The attributes of an item, read by name and type.
pub(super) struct Fields<'a>(pub(super) &'a Attributes);

impl Fields<'_> {
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.corrupt(name)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, StoreError> {
        match self.0.get(name) {
            None => Ok(false),
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.corrupt(name)),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => {
                digits.parse().map(Some).map_err(|_| self.corrupt(name))
            }
            Some(_) => Err(self.corrupt(name)),
        }
    }

    pub(super) fn needed<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.number(name)?.ok_or_else(|| self.corrupt(name))
    }

    fn writes(&self) -> Result<Writes, StoreError> {
        let mut ids = Vec::new();
        for name in WRITES {
            match self.0.get(name) {
                None => {}
                Some(AttributeValue::B(bytes)) => {
                    let id = parse_write_id(bytes.as_ref());
                    ids.push(id.ok_or_else(|| self.corrupt(name))?);
                }
                Some(_) => return Err(self.corrupt(name)),
            }
        }
        Ok(Writes::new(ids))
    }

    /// Names the item and the attribute, and not what is in it.
    pub(super) fn corrupt(&self, name: &str) -> StoreError {
        let sort = self.0.get(SORT).and_then(|sort| sort.as_s().ok());
        let sort = sort.map_or("(no sort key)", String::as_str);
        StoreError::Corrupt(format!("the attribute {name} of the item {sort:?}"))
    }
}

/// Writes what [`decode`] reads. The store itself writes items by update expressions only.
#[cfg(test)]
pub(super) fn encode(item: &Item, place: super::layout::Place) -> Attributes {
    let mut attributes = place.attributes();
    let mut set = |name: &str, value| attributes.insert(name.to_owned(), value);
    match &item.content {
        Content::File(held) => {
            set(VALUE, value(held));
        }
        Content::Dir(dir) => {
            set(DIR, AttributeValue::Bool(true));
            dir.stamp.map(|stamp| set(STAMP, number(stamp)));
        }
    }
    set(CREATED, number(item.created));
    set(MODIFIED, number(item.modified));
    item.expiration.map(|at| set(EXPIRATION, number(at.0)));
    item.action.map(|action| set(ACTION, AttributeValue::S(action.name().to_owned())));
    for id in item.writes.ids() {
        set(write_slot(*id), write_id(*id));
    }
    if let Some(removed) = item.removed {
        set(REMOVED, number(removed.purge_at.0));
        set(BEFORE, number(removed.before));
        removed.draining.then(|| set(DRAINING, AttributeValue::Bool(true)));
    }
    item.purge_at().map(|at| set(PURGE, number(at.ceil_seconds())));
    attributes
}
