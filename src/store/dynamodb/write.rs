//! The parts of a commit, as DynamoDB takes them: updates, puts and deletes with conditions.
//!
//! Invariant: a commit compiles to the same parts, and so to the same token, however often.

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure as OnFailure,
    TransactWriteItem, Update,
};

use super::expression::Expression;
use super::item::size;
use super::layout::{Attributes, Layout, PARTITION, Place};
use super::record::encode_record;
use crate::v2::{Op, WriteId};

/// One part of a commit.
#[derive(Debug)]
pub(super) struct Part {
    /// Where the item is.
    pub(super) place: Place,
    /// What is done to it.
    pub(super) act: Act,
    /// The condition expression, where there is a condition.
    pub(super) condition: Option<String>,
    /// The values that the expressions refer to.
    pub(super) values: Vec<(String, AttributeValue)>,
}

/// What a part does.
#[derive(Debug)]
pub(super) enum Act {
    /// Carry out an update expression.
    Update(String),
    /// Write an item that has these attributes.
    Put(Vec<(&'static str, AttributeValue)>),
    /// Remove the item.
    Delete,
}

impl Part {
    /// Compiles a part of a commit.
    pub(super) fn compile(layout: &Layout, op: &Op) -> Part {
        match op {
            Op::Node(node) => {
                let expression = Expression::compile(node);
                Part {
                    place: layout.of(&node.key),
                    act: Act::Update(expression.update()),
                    condition: Some(expression.condition()),
                    values: expression.values(),
                }
            }
            Op::PutRecord(record) => Part {
                place: layout.of_record(&record.name()),
                act: Act::Put(encode_record(record)),
                condition: None,
                values: Vec::new(),
            },
            Op::AddRecord(record) => Part {
                place: layout.of_record(&record.name()),
                act: Act::Put(encode_record(record)),
                condition: Some(format!("attribute_not_exists({PARTITION})")),
                values: Vec::new(),
            },
            Op::DropRecord(name) => Part {
                place: layout.of_record(name),
                act: Act::Delete,
                condition: None,
                values: Vec::new(),
            },
            Op::DropSameRecord(record) => {
                let held = encode_record(record);
                let same = held.iter().map(|(name, _)| format!("{name} = :{name}"));
                Part {
                    place: layout.of_record(&record.name()),
                    act: Act::Delete,
                    condition: Some(same.collect::<Vec<_>>().join(" AND ")),
                    values: held.into_iter().map(|(n, v)| (format!(":{n}"), v)).collect(),
                }
            }
        }
    }

    /// As a part of a transaction on this table.
    pub(super) fn in_transaction(self, table: &str) -> TransactWriteItem {
        let Part { place, act, condition, values } = self;
        let values = (!values.is_empty()).then(|| values.into_iter().collect());
        let complete = "the table, the key and the expression are set";
        let item = TransactWriteItem::builder();
        match act {
            Act::Update(update) => {
                let update = Update::builder()
                    .table_name(table)
                    .set_key(Some(place.attributes()))
                    .update_expression(update)
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(OnFailure::AllOld);
                item.update(update.build().expect(complete)).build()
            }
            Act::Put(held) => {
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(whole(place, held)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(OnFailure::AllOld);
                item.put(put.build().expect(complete)).build()
            }
            Act::Delete => {
                let delete = Delete::builder()
                    .table_name(table)
                    .set_key(Some(place.attributes()))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(OnFailure::AllOld);
                item.delete(delete.build().expect(complete)).build()
            }
        }
    }

    /// What the item that is to be written measures at least, in bytes: its keys, and what is
    /// written anew.
    pub(super) fn written_bytes(&self) -> usize {
        let written = match &self.act {
            Act::Update(update) => {
                let words: Vec<&str> = update.split([' ', ',']).collect();
                let set = self.values.iter().filter(|(name, _)| words.contains(&name.as_str()));
                size(set.map(|(name, value)| (name, value)))
            }
            Act::Put(held) => size(held.iter().map(|(name, value)| (name, value))),
            Act::Delete => 0,
        };
        self.place.bytes() + written
    }

    fn digest(&self, hasher: &mut DefaultHasher) {
        (&self.place, &self.condition, self.values.len()).hash(hasher);
        for (name, value) in &self.values {
            name.hash(hasher);
            digest_value(value, hasher);
        }
        match &self.act {
            Act::Update(update) => update.hash(hasher),
            Act::Put(held) => {
                for (name, value) in held {
                    name.hash(hasher);
                    digest_value(value, hasher);
                }
            }
            Act::Delete => hasher.write_u8(0),
        }
    }
}

/// An item that has these keys and attributes.
pub(super) fn whole(place: Place, held: Vec<(&'static str, AttributeValue)>) -> Attributes {
    let mut attributes = place.attributes();
    attributes.extend(held.into_iter().map(|(name, value)| (name.to_owned(), value)));
    attributes
}

/// The token by which DynamoDB knows a repetition: the commit's id, and a digest of what it
/// does, because one token with other contents would be an error for ten minutes.
pub(super) fn token(id: WriteId, parts: &[Part]) -> String {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        part.digest(&mut hasher);
    }
    let digest = hasher.finish() >> 16;
    // At most 36 characters: 14 for an index below 2^53, 8, 12 and the dashes.
    format!("{:x}-{:08x}-{digest:012x}", id.index.0, id.gateway)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the SDK's enum is open")]
fn digest_value(value: &AttributeValue, hasher: &mut DefaultHasher) {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.hash(hasher),
        AttributeValue::B(bytes) => bytes.as_ref().hash(hasher),
        AttributeValue::Bool(flag) => flag.hash(hasher),
        // Nothing else is ever written.
        _ => (),
    }
}
