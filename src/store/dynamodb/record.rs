//! The codec of records: what a keyspace keeps beside its tree.
//!
//! No record has a modifiedIndex, every node's item has one. Invariant: what cannot be read whole is
//! [`StoreError::Corrupt`], never a guess.

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{ACTION, EXPIRATION, Fields, MODIFIED, number};
use super::layout::{Attributes, SORT};
use crate::store::StoreError;
use crate::v2::{
    Action, EtcdIndex, Key, PasswordHash, Permissions, Record, RecordKind, Role, UnixMs, User,
    WriteId,
};

const SCHEMA: &str = "schema_version";
const CLUSTER_ID: &str = "cluster_id";
const MEMBER_ID: &str = "member_id";
const GATEWAY: &str = "gateway";
const SEEN: &str = "seen";
const CHANGE: &str = "change_count";
const ENABLED: &str = "auth_enabled";
/// The last changes of users and roles, as `index.gateway`, comma-separated.
const RECENT: &str = "recent_changes";
const PASSWORD: &str = "password_hash";
/// A list; absent where it was never given.
const ROLES: &str = "role_names";
const READ: &str = "read_patterns";
const WRITE: &str = "write_patterns";

/// Reads a record. Its name says what it is.
pub(super) fn decode_record(attributes: &Attributes) -> Result<Record, StoreError> {
    let fields = Fields(attributes);
    let name = fields.text(SORT)?.unwrap_or_default();
    let about = |kind: RecordKind| {
        let path = name.strip_prefix(kind.prefix()).filter(|path| path.starts_with('/'));
        path.and_then(|path| Key::from_escaped(path).ok())
    };
    if name == RecordKind::Identity.prefix() {
        let schema = fields.needed(SCHEMA)?;
        let cluster_id = fields.needed(CLUSTER_ID)?;
        let member_id = fields.needed(MEMBER_ID)?;
        return Ok(Record::Identity { schema, cluster_id, member_id });
    }
    if name.starts_with(RecordKind::Gateway.prefix()) {
        let (gateway, seen) = (fields.needed(GATEWAY)?, UnixMs(fields.needed(SEEN)?));
        return Ok(Record::Gateway { gateway, seen });
    }
    if name.starts_with(RecordKind::Auth.prefix()) {
        let (change, enabled) = (fields.needed(CHANGE)?, fields.flag(ENABLED)?);
        let recent = fields.text(RECENT)?.and_then(ids_from);
        let recent = recent.ok_or_else(|| fields.corrupt(RECENT))?;
        return Ok(Record::Auth { change, enabled, recent });
    }
    if let Some(name) = name.strip_prefix(RecordKind::User.prefix()) {
        let password = fields.text(PASSWORD)?.ok_or_else(|| fields.corrupt(PASSWORD))?;
        let password = PasswordHash(password.to_owned());
        return Ok(Record::User(User {
            name: name.to_owned(),
            password,
            roles: fields.list(ROLES)?,
        }));
    }
    if let Some(name) = name.strip_prefix(RecordKind::Role.prefix()) {
        let permissions = Permissions { read: fields.list(READ)?, write: fields.list(WRITE)? };
        return Ok(Record::Role(Role { name: name.to_owned(), permissions }));
    }
    if let Some(key) = about(RecordKind::DirTtl) {
        return Ok(Record::DirTtl { key, expiration: UnixMs(fields.needed(EXPIRATION)?) });
    }
    if let Some(key) = about(RecordKind::Drain) {
        let index = EtcdIndex(fields.needed(MODIFIED)?);
        let action = fields.text(ACTION)?.and_then(Action::from_name);
        let action = action.ok_or_else(|| fields.corrupt(ACTION))?;
        return Ok(Record::Drain { key, index, action });
    }
    Err(fields.corrupt(SORT))
}

/// What a record holds beside its name.
pub(super) fn encode_record(record: &Record) -> Vec<(&'static str, AttributeValue)> {
    match record {
        Record::Identity { schema, cluster_id, member_id } => vec![
            (SCHEMA, number(schema)),
            (CLUSTER_ID, number(cluster_id)),
            (MEMBER_ID, number(member_id)),
        ],
        Record::Gateway { gateway, seen } => {
            vec![(GATEWAY, number(gateway)), (SEEN, number(seen.0))]
        }
        Record::Auth { change, enabled, recent } => vec![
            (CHANGE, number(change)),
            (ENABLED, AttributeValue::Bool(*enabled)),
            (RECENT, AttributeValue::S(ids_to(recent))),
        ],
        Record::User(User { password, roles, .. }) => {
            let password = (PASSWORD, AttributeValue::S(password.0.clone()));
            [password].into_iter().chain(list(ROLES, roles)).collect()
        }
        Record::Role(Role { permissions: Permissions { read, write }, .. }) => {
            list(READ, read).into_iter().chain(list(WRITE, write)).collect()
        }
        Record::DirTtl { expiration, .. } => vec![(EXPIRATION, number(expiration.0))],
        Record::Drain { index, action, .. } => {
            vec![(MODIFIED, number(index)), (ACTION, AttributeValue::S(action.name().to_owned()))]
        }
    }
}

fn list(name: &'static str, texts: &Option<Vec<String>>) -> Option<(&'static str, AttributeValue)> {
    let texts = texts.as_ref()?.iter().cloned().map(AttributeValue::S);
    Some((name, AttributeValue::L(texts.collect())))
}

fn ids_to(ids: &[WriteId]) -> String {
    let texts: Vec<String> =
        ids.iter().map(|id| format!("{}.{}", id.index.0, id.gateway)).collect();
    texts.join(",")
}

fn ids_from(text: &str) -> Option<Vec<WriteId>> {
    let id = |text: &str| {
        let (index, gateway) = text.split_once('.')?;
        Some(WriteId { index: EtcdIndex(index.parse().ok()?), gateway: gateway.parse().ok()? })
    };
    text.split(',').filter(|text| !text.is_empty()).map(id).collect()
}

impl Fields<'_> {
    fn list(&self, name: &str) -> Result<Option<Vec<String>>, StoreError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::L(texts)) => {
                let texts = texts.iter().map(|text| text.as_s().cloned());
                texts.collect::<Result<_, _>>().map(Some).map_err(|_| self.corrupt(name))
            }
            Some(_) => Err(self.corrupt(name)),
        }
    }
}
