//! Carrying out a commit, and telling what became of it.
//!
//! ```text
//! parts     call                                      decided by
//! 1 node    UpdateItem                                its condition; both answers give the item
//! 1 record  PutItem, DeleteItem                       its condition, if it has one
//! 2 to 100  TransactWriteItems, with a token of the   all conditions at once; each that fails
//!           commit's id and contents                  gives its item
//!
//! answer                                              becomes
//! success                                             Applied
//! the condition failed                                Refused, with the items found
//! cancelled: a condition among the reasons            Refused, with the items of those parts
//! cancelled: only conflicts and throttles             did not happen: again, after a pause
//! conflict, throttle, connection refused              did not happen: again, after a pause
//! not allowed, no such table                          did not happen: Unavailable
//! too many calls are under way: not sent              did not happen: Busy
//! the same transaction is under way                   Indeterminate
//! anything else: timeout, broken connection, 5xx      Indeterminate
//! ```
//!
//! Invariant: a call is repeated here only where it certainly did not happen. What follows an attempt
//! that may still apply is for who finds out its outcome: a refusal then proves nothing yet.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConsumedCapacity, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure as OnFailure,
};

use super::DynamoDbStore;
use super::calls::{Patience, Trouble};
use super::error::{Failure, Fate, Obstacle, invalid};
use super::item::{MODIFIED, decode_at, size};
use super::layout::Attributes;
use super::meter::{Call, failed};
use super::write::{Act, Part, token, whole};
use crate::store::{Committed, StoreError};
use crate::v2::{Commit, Key, Op};

/// DynamoDB's most items for one transaction.
pub(super) const TRANSACTION: usize = 100;

const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

impl DynamoDbStore {
    /// Carries out a commit: repeats what did not happen, and only that, until the time is over.
    pub(super) async fn carry_out(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let mut patience = Patience::new(self.timing.commit);
        loop {
            let Failure { fate, why } = match self.try_once(commit).await {
                Ok(committed) => return Ok(committed),
                Err(failure) => failure,
            };
            tracing::debug!(index = commit.id.index.0, ?fate, why, "a commit has no result");
            match fate {
                Fate::Passing(_) => {
                    if patience.pause().await {
                        continue;
                    }
                }
                Fate::Crowded | Fate::Lasting | Fate::TooLarge | Fate::Invalid | Fate::Unknown => {}
            }
            return Err(match fate {
                Fate::TooLarge => StoreError::TooLarge(why),
                Fate::Invalid => StoreError::Corrupt(why),
                Fate::Unknown => StoreError::Indeterminate(why),
                Fate::Crowded => StoreError::Busy,
                Fate::Passing(_) | Fate::Lasting => StoreError::Unavailable(why),
            });
        }
    }

    async fn try_once(&self, commit: &Commit) -> Result<Committed, Failure> {
        let compile = |op| Part::compile(&self.layout, op);
        match commit.ops.as_slice() {
            [] => Ok(Committed::Applied { before: None }),
            [Op::Node(op)] => self.update(&op.key, compile(&commit.ops[0])).await,
            [op] => self.write_record(compile(op)).await,
            ops if ops.len() > TRANSACTION => {
                let why = format!("{} parts in one commit", ops.len());
                Err(Failure::new(Fate::TooLarge, why))
            }
            ops => self.transact(commit, ops.iter().map(compile).collect()).await,
        }
    }

    async fn update(&self, key: &Key, part: Part) -> Result<Committed, Failure> {
        let written = part.written_bytes();
        let Act::Update(update) = part.act else { unreachable!("a node's item is updated") };
        let request = (self.client.update_item())
            .table_name(self.table.as_str())
            .set_key(Some(part.place.attributes()))
            .update_expression(update)
            .set_condition_expression(part.condition)
            .set_expression_attribute_values(Some(part.values.into_iter().collect()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut call = self.meter.begin("UpdateItem");
        match self.lines.attempt(&mut call, request.send()).await {
            Ok(output) => {
                call.wrote(&output.consumed_capacity);
                // Some engines give back the bare key of an item that was not there.
                let before = output.attributes.filter(|old| old.contains_key(MODIFIED));
                // It happened, so an old item that cannot be read must not make it an error.
                let before = before.map(|old| decode_at(key.clone(), &old)).transpose().ok();
                Ok(Committed::Applied { before })
            }
            Err(trouble) => match service_error(&trouble) {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let found = failed.item();
                    call.refused(condition_units(found, written));
                    let found = found.map(|item| decode_at(key.clone(), item)).transpose();
                    Ok(Committed::Refused { found: vec![(0, found.map_err(unreadable)?)] })
                }
                _ => Err(failed(call, &trouble)),
            },
        }
    }

    async fn write_record(&self, part: Part) -> Result<Committed, Failure> {
        let written = part.written_bytes();
        let Part { place, act, condition, values } = part;
        let values = (!values.is_empty()).then(|| values.into_iter().collect());
        match act {
            Act::Put(held) => {
                let request = (self.client.put_item())
                    .table_name(self.table.as_str())
                    .set_item(Some(whole(place, held)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let mut call = self.meter.begin("PutItem");
                let done = self.lines.attempt(&mut call, request.send()).await;
                let done = done.map(|output| output.consumed_capacity);
                record_written(call, written, done)
            }
            Act::Delete => {
                let request = (self.client.delete_item())
                    .table_name(self.table.as_str())
                    .set_key(Some(place.attributes()))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let mut call = self.meter.begin("DeleteItem");
                let done = self.lines.attempt(&mut call, request.send()).await;
                let done = done.map(|output| output.consumed_capacity);
                record_written(call, written, done)
            }
            Act::Update(_) => unreachable!("a record is put or deleted"),
        }
    }

    async fn transact(&self, commit: &Commit, parts: Vec<Part>) -> Result<Committed, Failure> {
        let token = token(commit.id, &parts);
        let written: Vec<usize> = parts.iter().map(Part::written_bytes).collect();
        let parts = parts.into_iter().map(|part| part.in_transaction(&self.table));
        let request = (self.client.transact_write_items())
            .set_transact_items(Some(parts.collect()))
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut call = self.meter.begin("TransactWriteItems");
        let trouble = match self.lines.attempt(&mut call, request.send()).await {
            Ok(output) => {
                call.wrote(output.consumed_capacity());
                return Ok(Committed::Applied { before: None });
            }
            Err(trouble) => trouble,
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            service_error(&trouble)
        else {
            return Err(failed(call, &trouble));
        };
        let verdict = cancelled_by(cancelled, &commit.ops);
        match &verdict {
            Ok(_) => {
                let reasons = cancelled.cancellation_reasons().iter().zip(written);
                let units =
                    reasons.map(|(reason, written)| 2.0 * condition_units(reason.item(), written));
                call.refused(units.sum());
            }
            Err(failure) => call.failed(failure),
        }
        verdict
    }
}

/// What became of a record that was to be written.
fn record_written<E>(
    call: Call,
    written: usize,
    done: Result<Option<ConsumedCapacity>, Trouble<E>>,
) -> Result<Committed, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match done {
        Ok(consumed) => {
            call.wrote(&consumed);
            Ok(Committed::Applied { before: None })
        }
        Err(trouble) => {
            let code = service_error(&trouble).and_then(ProvideErrorMetadata::code);
            if code == Some(CONDITION_FAILED) {
                call.refused(condition_units(None, written));
                return Ok(Committed::Refused { found: Vec::new() });
            }
            Err(failed(call, &trouble))
        }
    }
}

/// What a cancelled transaction comes to. It did not happen; the reasons stand in the order of
/// the parts. A condition that failed decides: the rest need not be looked at.
fn cancelled_by(
    cancelled: &TransactionCanceledException,
    ops: &[Op],
) -> Result<Committed, Failure> {
    let reasons = cancelled.cancellation_reasons();
    let code = |reason: &CancellationReason| Code::of(reason);
    if reasons.iter().map(code).any(|code| code == Code::ConditionFailed) {
        let failed = ops.iter().zip(reasons).enumerate();
        let failed = failed.filter(|(_, (_, reason))| code(reason) == Code::ConditionFailed);
        let mut found = Vec::new();
        for (number, (op, reason)) in failed {
            if let Op::Node(op) = op {
                let item = reason.item().map(|item| decode_at(op.key.clone(), item)).transpose();
                found.push((number, item.map_err(unreadable)?));
            }
        }
        return Ok(Committed::Refused { found });
    }
    let why = |reason: &CancellationReason| {
        let (code, message) = (reason.code(), reason.message());
        format!("cancelled: {}: {}", code.unwrap_or_default(), message.unwrap_or_default())
    };
    for reason in reasons {
        let fate = match code(reason) {
            Code::TooLarge => Fate::TooLarge,
            Code::Invalid => invalid(reason.message().unwrap_or_default()),
            Code::Other => Fate::Lasting,
            Code::Fine | Code::Passing(_) | Code::ConditionFailed => continue,
        };
        return Err(Failure::new(fate, why(reason)));
    }
    let passing = reasons.iter().find_map(|reason| {
        let Code::Passing(obstacle) = code(reason) else { return None };
        Some((obstacle, why(reason)))
    });
    let (obstacle, why) = passing.unwrap_or((Obstacle::Conflict, "cancelled".to_owned()));
    Err(Failure::new(Fate::Passing(obstacle), why))
}

/// Why a part cancelled its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// It did not.
    Fine,
    /// Its condition does not hold.
    ConditionFailed,
    /// It met another call, or was throttled.
    Passing(Obstacle),
    /// Something is too large.
    TooLarge,
    /// DynamoDB does not take it as it is.
    Invalid,
    /// Something that is not known here, such as a missing permission.
    Other,
}

impl Code {
    fn of(reason: &CancellationReason) -> Code {
        match reason.code() {
            None | Some("None") => Code::Fine,
            Some("ConditionalCheckFailed") => Code::ConditionFailed,
            Some("TransactionConflict") => Code::Passing(Obstacle::Conflict),
            Some("ThrottlingError" | "ProvisionedThroughputExceeded") => {
                Code::Passing(Obstacle::Throttle)
            }
            Some("ItemCollectionSizeLimitExceeded") => Code::TooLarge,
            Some("ValidationError") => Code::Invalid,
            Some(_) => Code::Other,
        }
    }
}

fn service_error<E>(trouble: &Trouble<E>) -> Option<&E> {
    match trouble {
        Trouble::Sdk(error) => error.as_service_error(),
        Trouble::Crowded | Trouble::Late => None,
    }
}

/// The item was found and the commit was refused, but nobody can tell what was found.
fn unreadable(error: StoreError) -> Failure {
    Failure::new(Fate::Invalid, error.to_string())
}

/// What DynamoDB bills for a condition that failed: the size of the item that is there or of the
/// one that was to be written, whichever is larger, and at least one unit.
fn condition_units(found: Option<&Attributes>, written: usize) -> f64 {
    let bytes = found.map_or(0, size).max(written);
    let units = bytes.div_ceil(1024).max(1);
    // An item has at most 400 units.
    u32::try_from(units).map_or(f64::INFINITY, f64::from)
}
