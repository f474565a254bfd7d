//! The feed of a table: DynamoDB Streams.
//!
//! [`walk`] goes through the shards of a stream in the right order and knows nothing of AWS;
//! [`source`] makes the calls; here records become changes of items. Invariant: a record of
//! another keyspace, or of the keyspace's own records, is nobody's change. Of those records only
//! gateways' signs of life are passed on: who starts is known before it serves.

mod source;
mod walk;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types as streams;

use super::DynamoDbStore;
use super::item::decode;
use super::layout::{Attributes, Layout, PARTITION, SORT, key_at};
use super::record::decode_record;
use crate::store::StoreError;
use crate::store::feed::{Change, Fed, Feed};
use crate::v2::{Record, RecordKind};
use source::StreamSource;
use walk::{Step, Walk};

/// The feed of one keyspace of a table.
#[derive(Debug)]
pub struct StreamFeed {
    walk: Walk<StreamSource>,
    layout: Layout,
    /// Signs that were read and not passed on yet.
    signs: Vec<Record>,
}

impl StreamFeed {
    /// Begins a feed now. What happens from its return on will be in it.
    pub(super) async fn open(store: &DynamoDbStore) -> Result<StreamFeed, StoreError> {
        let source = StreamSource::find(store).await?;
        let walk = Walk::open(source).await.map_err(|trouble| {
            StoreError::Unavailable(format!("the table's stream cannot be read: {trouble}"))
        })?;
        Ok(StreamFeed { walk, layout: store.layout.clone(), signs: Vec::new() })
    }
}

impl Feed for StreamFeed {
    async fn next(&mut self) -> Fed {
        loop {
            if let Some(sign) = self.signs.pop() {
                return Fed::Sign(sign);
            }
            let records = match self.walk.next().await {
                Step::Records(records) => records,
                Step::Round(round) => return Fed::Round(round),
                Step::Gap(why) => return Fed::Gap(why),
            };
            self.signs.extend(records.iter().filter_map(|record| sign(&self.layout, record)));
            let changes = records.into_iter().filter_map(|record| change(&self.layout, record));
            match changes.collect::<Result<Vec<Change>, StoreError>>() {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => return Fed::Changes(changes),
                Err(error) => return Fed::Gap(error.to_string()),
            }
        }
    }
}

/// The sign of life that a record of the stream tells of.
fn sign(layout: &Layout, record: &streams::StreamRecord) -> Option<Record> {
    let keys = record.keys.as_ref()?;
    let text = |name| keys.get(name).and_then(|held| held.as_s().ok());
    let name = text(SORT)?.strip_prefix(RecordKind::Gateway.prefix())?;
    let place = layout.of_record(&format!("{}{name}", RecordKind::Gateway.prefix()));
    if place.partition != *text(PARTITION)? {
        return None;
    }
    let image = attributes(record.new_image.clone()?).ok()?;
    // One that cannot be read is found by whoever looks for signs.
    decode_record(&image).ok()
}

/// The change of an item of this keyspace's tree that a record tells of.
fn change(layout: &Layout, record: streams::StreamRecord) -> Option<Result<Change, StoreError>> {
    let keys = record.keys.as_ref()?;
    let text = |name| keys.get(name).and_then(|held| held.as_s().ok());
    let key = key_at(text(SORT)?)?;
    if layout.of(&key).partition != *text(PARTITION)? {
        return None;
    }
    let item = |image: Option<HashMap<String, streams::AttributeValue>>| {
        image.map(|image| attributes(image).and_then(|image| decode(&image))).transpose()
    };
    let (before, after) = (item(record.old_image), item(record.new_image));
    Some(before.and_then(|before| Ok(Change { before, after: after? })))
}

/// The same attributes as the other half of the SDK has them.
fn attributes(image: HashMap<String, streams::AttributeValue>) -> Result<Attributes, StoreError> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the SDK's enum is open")]
    let convert = |(name, value)| match value {
        streams::AttributeValue::S(text) => Ok((name, AttributeValue::S(text))),
        streams::AttributeValue::N(digits) => Ok((name, AttributeValue::N(digits))),
        streams::AttributeValue::B(bytes) => Ok((name, AttributeValue::B(bytes))),
        streams::AttributeValue::Bool(flag) => Ok((name, AttributeValue::Bool(flag))),
        _ => Err(StoreError::Corrupt(format!("attribute {name} of a record of the stream"))),
    };
    image.into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests;
