//! Erasing a keyspace: every item of it leaves the table.
//!
//! ```text
//! Scan            the places of its items, a page at a time, strong
//! BatchWriteItem  all of them but that of the root, 25 a call; what DynamoDB leaves, again
//! DeleteItem      the root's, last
//! ```
//!
//! It scans the whole table, because only that finds everything: what was purged above a tombstone
//! leaves a partition that nothing names. Not here: whether anybody may erase it, and that nobody
//! opens it meanwhile ([`crate::keyspace`] sees to both). Invariant: as long as any item is there
//! that was there at the beginning, the root's is; and doing it again finishes it.

use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, ReturnConsumedCapacity, WriteRequest,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::DynamoDbStore;
use super::calls::{Patience, read};
use super::error::Failure;
use super::layout::Attributes;
use super::meter::failed;
use super::scan::{self, Way};
use crate::store::StoreError;
use crate::v2::Key;

/// DynamoDB's most requests for one BatchWriteItem.
const BATCH: usize = 25;

/// How many batches are under way at once.
const PARALLEL_BATCHES: usize = 8;

impl DynamoDbStore {
    /// Removes every item of the keyspace, and says how many there were; meanwhile, how many so far.
    pub async fn erase(&self, mut told: impl FnMut(u64) + Send) -> Result<u64, StoreError> {
        let root = self.layout.of(&Key::root()).attributes();
        let mut erased: u64 = 0;
        let mut has_root = false;
        let mut from = None;
        loop {
            let (mut places, next) = self.places(from).await?;
            let found = places.len();
            places.retain(|place| *place != root);
            has_root |= places.len() < found;
            let batches: Vec<Vec<Attributes>> =
                places.chunks(BATCH).map(<[Attributes]>::to_vec).collect();
            let mut batches = stream::iter(batches)
                .map(|batch| self.erase_batch(batch))
                .buffer_unordered(PARALLEL_BATCHES);
            while let Some(batch) = batches.try_next().await? {
                erased += batch;
                told(erased);
            }
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if has_root {
            self.erase_one(root).await?;
            erased += 1;
        }
        Ok(erased)
    }

    /// The places of the keyspace's items on one page of the table, and where the next page begins.
    async fn places(
        &self,
        from: Option<Attributes>,
    ) -> Result<(Vec<Attributes>, Option<Attributes>), StoreError> {
        let request = (self.client.scan())
            .table_name(self.table.as_str())
            .filter_expression("begins_with(pk, :k)")
            .expression_attribute_values(":k", AttributeValue::S(self.layout.partitions()))
            .projection_expression("pk, sk")
            .set_exclusive_start_key(from);
        let Self { lines, meter, timing, .. } = self;
        let page = scan::page(request, Way { lines, meter, timing: *timing }).await?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    /// Removes up to 25 items, and says how many. DynamoDB may leave some for later.
    async fn erase_batch(&self, places: Vec<Attributes>) -> Result<u64, StoreError> {
        let all = places.len();
        let mut left: Vec<WriteRequest> = places.into_iter().map(removal).collect();
        let mut patience = Patience::new(self.timing.commit);
        while !left.is_empty() {
            let asked = left.len();
            left = read(patience.clone(), || self.erase_batch_once(left.clone())).await?;
            if left.len() < asked {
                patience = Patience::new(self.timing.commit);
            } else if !patience.pause().await {
                return Err(StoreError::Unavailable("items of a batch are left over".to_owned()));
            }
        }
        Ok(u64::try_from(all).unwrap_or(u64::MAX))
    }

    /// Gives what is left over. What is removed already may well be removed again, so whatever may
    /// pass is tried again.
    async fn erase_batch_once(
        &self,
        removals: Vec<WriteRequest>,
    ) -> Result<Vec<WriteRequest>, Failure> {
        let request = (self.client.batch_write_item())
            .request_items(self.table.as_str(), removals)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut call = self.meter.begin("BatchWriteItem");
        match self.lines.attempt(&mut call, request.send()).await {
            Ok(output) => {
                call.wrote(output.consumed_capacity());
                let left = output.unprocessed_items.unwrap_or_default();
                Ok(left.into_values().flatten().collect())
            }
            Err(trouble) => Err(failed(call, &trouble)),
        }
    }

    async fn erase_one(&self, place: Attributes) -> Result<(), StoreError> {
        let request = (self.client.delete_item())
            .table_name(self.table.as_str())
            .set_key(Some(place))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let done = read(Patience::new(self.timing.commit), || {
            let request = request.clone();
            async move {
                let mut call = self.meter.begin("DeleteItem");
                match self.lines.attempt(&mut call, request.send()).await {
                    Ok(output) => {
                        call.wrote(&output.consumed_capacity);
                        Ok(())
                    }
                    Err(trouble) => Err(failed(call, &trouble)),
                }
            }
        });
        done.await
    }
}

fn removal(place: Attributes) -> WriteRequest {
    let removal = DeleteRequest::builder().set_key(Some(place)).build();
    WriteRequest::builder().delete_request(removal.expect("the key is set")).build()
}
