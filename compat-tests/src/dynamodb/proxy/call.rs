//! One call as it came over the wire: its operation and its body.
//!
//! Not here: what is done with it. Invariant: a body that is not changed is forwarded byte for byte.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::body::Bytes;
use serde_json::Value;

/// What a call does to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads items.
    Read,
    /// It writes items.
    Write,
    /// It reads the table's stream.
    Stream,
    /// It is about tables, or nobody knows.
    Other,
}

/// A call of DynamoDB's JSON protocol.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The whole `X-Amz-Target`.
    pub(crate) target: String,
    /// The operation in it.
    pub(crate) operation: String,
    /// What it does.
    pub(crate) kind: Kind,
    /// The JSON, as it came.
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(target: &str, body: Bytes) -> Self {
        let (service, operation) = target.split_once('.').unwrap_or(("", target));
        let kind = match operation {
            _ if service == "DynamoDBStreams_20120810" => Kind::Stream,
            _ if service != "DynamoDB_20120810" => Kind::Other,
            "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems" => Kind::Read,
            "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => {
                Kind::Write
            }
            _ => Kind::Other,
        };
        Self { target: target.to_owned(), operation: operation.to_owned(), kind, body }
    }

    pub(crate) fn is_transaction(&self) -> bool {
        self.operation == "TransactWriteItems"
    }

    /// Whether it is a read that DynamoDB may answer with what was true a moment ago.
    pub(crate) fn is_eventual(&self) -> bool {
        let is_strong = |request: &Value| request["ConsistentRead"] == true;
        match self.operation.as_str() {
            "GetItem" | "Query" | "Scan" => !self.json().is_some_and(|json| is_strong(&json)),
            "BatchGetItem" => {
                let json = self.json().unwrap_or_default();
                let tables = json["RequestItems"].as_object();
                tables.is_some_and(|tables| !tables.values().any(is_strong))
            }
            _ => false,
        }
    }

    /// How many items a transaction has.
    pub(crate) fn items(&self) -> usize {
        let json = self.json().unwrap_or_default();
        json["TransactItems"].as_array().map_or(0, Vec::len)
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The same call with another body.
    pub(crate) fn with(&self, json: &Value) -> Self {
        Self { body: json.to_string().into(), ..self.clone() }
    }

    /// What two calls that ask the same have in common.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.target, &self.body).hash(&mut hasher);
        hasher.finish()
    }
}
