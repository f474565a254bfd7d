//! A page of the whole table, whatever keyspaces are in it: what only administrators read.
//!
//! Not here: what is looked for. Invariant: a page is strongly consistent, and its price is counted.

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use super::calls::{Lines, Patience, Timing, read};
use super::meter::{Meter, failed};
use crate::store::StoreError;

/// By what a table is reached, and what that costs is counted.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) lines: &'a Lines,
    pub(super) meter: &'a Meter,
    pub(super) timing: Timing,
}

/// Reads the page that is asked for.
pub(super) async fn page(
    request: ScanFluentBuilder,
    way: Way<'_>,
) -> Result<ScanOutput, StoreError> {
    let Way { lines, meter, timing } = way;
    let request =
        request.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
    read(Patience::new(timing.read), || {
        let request = request.clone();
        async move {
            let mut call = meter.begin("Scan");
            match lines.attempt(&mut call, request.send()).await {
                Ok(page) => {
                    call.read(&page.consumed_capacity);
                    Ok(page)
                }
                Err(trouble) => Err(failed(call, &trouble)),
            }
        }
    })
    .await
}
