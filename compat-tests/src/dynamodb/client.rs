//! Plain calls to an engine or an endpoint: JSON in, JSON out.
//!
//! Engines want an `Authorization` header and do not look at it. Not an SDK: no retries, and a
//! new connection for each call, so that a call is sent exactly once.

use serde_json::{Value, json};

use crate::http::{Answer, Connection, Request};

/// Stands in for a signature: local engines only ask that there is one.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
    Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

/// One call, and its answer whatever the status.
///
/// # Errors
/// No connection, or no whole answer.
pub fn send(address: &str, operation: &str, body: &Value) -> Result<Answer, String> {
    let request = Request::new("POST", "/")
        .header("X-Amz-Target", &format!("DynamoDB_20120810.{operation}"))
        .header("Content-Type", "application/x-amz-json-1.0")
        .header("X-Amz-Date", "20260101T000000Z")
        .header("Authorization", AUTHORIZATION)
        .body(body.to_string());
    let answer = Connection::open(address).and_then(|mut connection| connection.send(&request));
    answer.map_err(|error| format!("{operation}: {error}"))
}

/// One call that must succeed.
///
/// # Errors
/// It did not.
pub fn call(address: &str, operation: &str, body: &Value) -> Result<Value, String> {
    let answer = send(address, operation, body)?;
    if answer.status() != 200 {
        return Err(format!("{operation}: {} {}", answer.status(), answer.text()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("{operation}: {error}"))
}

/// Every item of a table, page by page, by strong reads.
///
/// # Errors
/// A page could not be read.
pub fn scan(address: &str, table: &str) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    let mut request = json!({ "TableName": table, "ConsistentRead": true });
    loop {
        let mut page = call(address, "Scan", &request)?;
        let Value::Array(found) = page["Items"].take() else {
            return Err(format!("Scan: no items in {page}"));
        };
        items.extend(found);
        let last = page["LastEvaluatedKey"].take();
        if last.is_null() {
            return Ok(items);
        }
        request["ExclusiveStartKey"] = last;
    }
}
