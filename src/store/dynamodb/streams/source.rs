//! The calls to DynamoDB Streams, as [`super::walk`] wants them.
//!
//! Invariant: each call ends within the store's time for one attempt, and nothing is retried here.

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{ShardIteratorType, StreamRecord};

use super::walk::{Page, Position, Shard, Source, Trouble};
use crate::store::StoreError;
use crate::store::dynamodb::DynamoDbStore;
use crate::store::dynamodb::calls::{self, attempt};
use crate::store::dynamodb::error::{Failure, Fate};
use crate::store::dynamodb::meter::{Meter, failed};

/// The stream of a table.
#[derive(Debug)]
pub(super) struct StreamSource {
    client: Client,
    arn: String,
    within: Duration,
    meter: Meter,
}

impl StreamSource {
    /// Finds the table's stream as it is now: one that was off for a while is another one.
    pub(super) async fn find(store: &DynamoDbStore) -> Result<StreamSource, StoreError> {
        let within = store.timing.attempt;
        let request = store.client.describe_table().table_name(store.table.as_str());
        let mut call = store.meter.begin("DescribeTable");
        let described = attempt(within, Some(&mut call), request.send()).await;
        let described = match described {
            Ok(described) => described,
            Err(trouble) => return Err(StoreError::Unavailable(failed(call, &trouble).why)),
        };
        call.read(None);
        let table = described.table();
        let is_on = table
            .and_then(|table| table.stream_specification())
            .is_some_and(|stream| stream.stream_enabled());
        let arn = table.and_then(|table| table.latest_stream_arn()).filter(|_| is_on);
        let no_stream = "the table has no stream: switch NEW_AND_OLD_IMAGES on";
        let arn = arn.ok_or_else(|| StoreError::Unavailable(no_stream.to_owned()))?;
        let (client, meter) = (store.streams.clone(), store.meter.clone());
        Ok(StreamSource { client, arn: arn.to_owned(), within, meter })
    }

    /// One call, told to the meter.
    async fn call<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Trouble>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut metered = self.meter.begin(operation);
        match attempt(self.within, Some(&mut metered), call).await {
            Ok(output) => {
                metered.read(None);
                Ok(output)
            }
            Err(trouble) => {
                let failure = failed(metered, &trouble);
                Err(meaning(&trouble, failure))
            }
        }
    }
}

/// What a failed call means for the walk.
fn meaning<E>(trouble: &calls::Trouble<E>, failure: Failure) -> Trouble
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = match trouble {
        calls::Trouble::Sdk(error) => error.code().unwrap_or_default(),
        calls::Trouble::Late | calls::Trouble::Crowded => "",
    };
    let why = failure.why;
    match (code, failure.fate) {
        ("ExpiredIteratorException", _) => Trouble::Expired,
        ("TrimmedDataAccessException" | "ResourceNotFoundException", _) => Trouble::Lost(why),
        (_, Fate::Passing(_)) => Trouble::Throttled(why),
        (_, Fate::Lasting | Fate::TooLarge | Fate::Invalid | Fate::Crowded | Fate::Unknown) => {
            Trouble::Passing(why)
        }
    }
}

impl Source for StreamSource {
    type Record = StreamRecord;

    async fn shards(&self, after: Option<String>) -> Result<(Vec<Shard>, Option<String>), Trouble> {
        let request = self.client.describe_stream().stream_arn(&self.arn);
        let request = request.set_exclusive_start_shard_id(after);
        let output = self.call("DescribeStream", request.send()).await?;
        let stream = output.stream_description.ok_or_else(|| {
            Trouble::Passing("a description of the stream without a stream".to_owned())
        })?;
        let shards = stream.shards.unwrap_or_default().into_iter().filter_map(|shard| {
            let is_closed =
                shard.sequence_number_range().is_some_and(|r| r.ending_sequence_number().is_some());
            Some(Shard { id: shard.shard_id?, parent: shard.parent_shard_id, is_closed })
        });
        Ok((shards.collect(), stream.last_evaluated_shard_id))
    }

    async fn iterator(&self, shard: &str, position: &Position) -> Result<Option<String>, Trouble> {
        let (kind, sequence_number) = match position {
            Position::Latest => (ShardIteratorType::Latest, None),
            Position::Start => (ShardIteratorType::TrimHorizon, None),
            Position::After(number) => {
                (ShardIteratorType::AfterSequenceNumber, Some(number.clone()))
            }
        };
        let request = (self.client.get_shard_iterator())
            .stream_arn(&self.arn)
            .shard_id(shard)
            .shard_iterator_type(kind)
            .set_sequence_number(sequence_number);
        Ok(self.call("GetShardIterator", request.send()).await?.shard_iterator)
    }

    async fn records(&self, iterator: &str) -> Result<Page<StreamRecord>, Trouble> {
        let request = self.client.get_records().shard_iterator(iterator);
        let output = self.call("GetRecords", request.send()).await?;
        let records: Vec<StreamRecord> =
            output.records.unwrap_or_default().into_iter().filter_map(|r| r.dynamodb).collect();
        let last = records.last().and_then(|record| record.sequence_number.clone());
        Ok(Page { records, last, next: output.next_shard_iterator })
    }
}
