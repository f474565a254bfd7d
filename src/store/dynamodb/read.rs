//! Reads: of one item, of several, of one page of a level, of the records of a kind.
//!
//! Invariant: a read that fails changes nothing, so it is tried again on whatever may pass.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::DynamoDbStore;
use super::calls::{Patience, read};
use super::error::Failure;
use super::item::{decode, decode_at};
use super::layout::{Attributes, Place, SORT};
use super::meter::{Call, failed};
use super::record::decode_record;
use crate::store::{Consistency, Cursor, Level, Page, StoreError};
use crate::v2::{Item, Key, Record, RecordKind};

/// DynamoDB's most keys for one BatchGetItem.
const BATCH: usize = 100;

const RANGE: &str = "pk = :p AND begins_with(sk, :s)";

/// One page of a range of one partition.
struct Range {
    place: Place,
    from: Option<String>,
    consistency: Consistency,
}

impl DynamoDbStore {
    pub(super) async fn get_item(
        &self,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Arc<Item>>, StoreError> {
        let place = self.layout.of(key);
        let request = (self.client.get_item())
            .table_name(self.table.as_str())
            .set_key(Some(place.attributes()))
            .consistent_read(consistency == Consistency::Strong)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = read(self.patience(), || {
            let request = request.clone();
            async move {
                let (output, call) = self.attempt_read("GetItem", request.send()).await?;
                call.read(&output.consumed_capacity);
                Ok(output)
            }
        });
        let found = output.await?.item;
        found.map(|attributes| decode_at(key.clone(), &attributes)).transpose()
    }

    pub(super) async fn get_items(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Option<Arc<Item>>>, StoreError> {
        if let [key] = keys {
            return Ok(vec![self.get_item(key, Consistency::Strong).await?]);
        }
        let mut wanted: Vec<&Key> = keys.iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = HashMap::with_capacity(wanted.len());
        for batch in wanted.chunks(BATCH) {
            self.get_batch(batch, &mut found).await?;
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Reads up to a hundred items. DynamoDB may leave some for later: as long as any come, the
    /// rest is asked for at once.
    async fn get_batch(
        &self,
        keys: &[&Key],
        found: &mut HashMap<Key, Arc<Item>>,
    ) -> Result<(), StoreError> {
        let mut left: Vec<Attributes> =
            keys.iter().map(|key| self.layout.of(key).attributes()).collect();
        let mut patience = self.patience();
        while !left.is_empty() {
            let asked = left.len();
            let (items, rest) =
                read(patience.clone(), || self.get_batch_once(left.clone())).await?;
            for attributes in items {
                let item = decode(&attributes)?;
                found.insert(item.key.clone(), item);
            }
            left = rest;
            if left.len() < asked {
                patience.encouraged();
            } else if !patience.pause().await {
                return Err(StoreError::Unavailable("items of a batch are left over".to_owned()));
            }
        }
        Ok(())
    }

    async fn get_batch_once(
        &self,
        keys: Vec<Attributes>,
    ) -> Result<(Vec<Attributes>, Vec<Attributes>), Failure> {
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let request = (self.client.batch_get_item())
            .request_items(self.table.as_str(), keys.expect("the keys are set"))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let (output, call) = self.attempt_read("BatchGetItem", request.send()).await?;
        call.read(output.consumed_capacity());
        let items = output.responses.unwrap_or_default().into_values().flatten().collect();
        let rest = output.unprocessed_keys.unwrap_or_default().into_values();
        Ok((items, rest.flat_map(|rest| rest.keys).collect()))
    }

    pub(super) async fn list_level(
        &self,
        level: Level<'_>,
        consistency: Consistency,
    ) -> Result<Page, StoreError> {
        let from = level.from.map(|cursor| String::from_utf8(cursor.0)).transpose();
        let from = from.map_err(|_| StoreError::Corrupt("a cursor of another store".to_owned()))?;
        let place = self.layout.level(level.below, level.depth);
        let output = self.query(Range { place, from, consistency }).await?;
        let next = next_of(&output)?.map(|sort| Cursor(sort.into_bytes()));
        let items = output.items().iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    pub(super) async fn list_records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut from = None;
        loop {
            let place = self.layout.of_record(kind.prefix());
            let range = Range { place, from, consistency: Consistency::Strong };
            let output = self.query(range).await?;
            for attributes in output.items() {
                records.push(decode_record(attributes)?);
            }
            from = next_of(&output)?;
            if from.is_none() {
                return Ok(records);
            }
        }
    }

    async fn query(&self, range: Range) -> Result<QueryOutput, StoreError> {
        let Range { place, from, consistency } = range;
        let from = from.map(|sort| Place { sort, ..place.clone() }.attributes());
        let request = (self.client.query())
            .table_name(self.table.as_str())
            .key_condition_expression(RANGE)
            .expression_attribute_values(":p", AttributeValue::S(place.partition))
            .expression_attribute_values(":s", AttributeValue::S(place.sort))
            .set_exclusive_start_key(from)
            .consistent_read(consistency == Consistency::Strong)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = read(self.patience(), || {
            let request = request.clone();
            async move {
                let (output, call) = self.attempt_read("Query", request.send()).await?;
                call.read(&output.consumed_capacity);
                Ok(output)
            }
        });
        output.await
    }

    /// One call of a read. Its end is told by the caller, or here where it has no result.
    fn attempt_read<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<(T, Call), Failure>> + Send
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut metered = self.meter.begin(operation);
        // In its place already, so that the call is not held twice.
        let call = Box::pin(call);
        async move {
            match self.lines.attempt(&mut metered, call).await {
                Ok(output) => Ok((output, metered)),
                Err(trouble) => Err(failed(metered, &trouble)),
            }
        }
    }

    fn patience(&self) -> Patience {
        Patience::new(self.timing.read)
    }
}

/// Where the next page begins. A page must not pass for the last one because this cannot be read.
fn next_of(output: &QueryOutput) -> Result<Option<String>, StoreError> {
    let Some(last) = output.last_evaluated_key() else { return Ok(None) };
    let sort = last.get(SORT).and_then(|sort| sort.as_s().ok());
    let corrupt = || StoreError::Corrupt("the last key of a page".to_owned());
    sort.cloned().map(Some).ok_or_else(corrupt)
}
