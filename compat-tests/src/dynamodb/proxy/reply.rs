//! Replies: those of the engine as they came, and DynamoDB's own errors.
//!
//! The shapes are DynamoDB's: `__type` with its name space, `message` or `Message`, and for a
//! cancelled transaction one reason an item, in their order. Not here: when which is given.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::call::Call;

/// DynamoDB's name space for most exceptions.
const DYNAMODB: &str = "com.amazonaws.dynamodb.v20120810";
/// That of the front end which lets in.
const FRONT_DOOR: &str = "com.amazon.coral.service";
/// That of the front end which turns requests away.
const FRONT: &str = "com.amazon.coral.availability";

const CONFLICT: &str = "Transaction is ongoing for the item";
const TABLE_RATE: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB \
                          is automatically scaling your table or index so please try again shortly.";

/// A status and a body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let content_type = "application/x-amz-json-1.0".to_owned();
        Self { status, content_type, body: body.to_string().into() }
    }

    fn exception(space: &str, name: &str, message: &str) -> Self {
        let body = json!({ "__type": format!("{space}#{name}"), "message": message });
        Self::json(StatusCode::BAD_REQUEST, &body)
    }

    /// One of the ways to be turned away for the rate.
    pub(crate) fn throttled(call: &Call, dice: &mut fastrand::Rng) -> Self {
        if call.is_transaction() && dice.bool() {
            return Self::cancelled(call, "ThrottlingError", TABLE_RATE, dice);
        }
        match dice.u8(..4) {
            0 => Self::exception(
                DYNAMODB,
                "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API.",
            ),
            1 => Self::exception(
                DYNAMODB,
                "RequestLimitExceeded",
                "Throughput exceeds the current throughput limit for your account.",
            ),
            2 => Self::exception(FRONT, "ThrottlingException", "Rate exceeded"),
            _ => Self::exception(DYNAMODB, "ThrottlingException", TABLE_RATE),
        }
    }

    /// One of the ways to be turned away for the rate at a stream.
    pub(crate) fn stream_throttled(dice: &mut fastrand::Rng) -> Self {
        match dice.u8(..3) {
            0 => Self::exception(DYNAMODB, "LimitExceededException", "Too many readers of a shard"),
            1 => Self::exception(FRONT, "ThrottlingException", "Rate exceeded"),
            _ => Self::exception(
                DYNAMODB,
                "ProvisionedThroughputExceededException",
                "The rate of requests for the shard is too high.",
            ),
        }
    }

    /// What no policy allows. (IAM names who was denied, and what, in the message.)
    pub(crate) fn access_denied(call: &Call) -> Self {
        let message = format!(
            "User: arn:aws:sts::000000000000:assumed-role/etcdynamo/task is not authorized to \
             perform what {} needs because no identity-based policy allows the action",
            call.operation
        );
        Self::exception(FRONT_DOOR, "AccessDeniedException", &message)
    }

    /// An iterator of a stream that is too old.
    pub(crate) fn iterator_expired() -> Self {
        let message =
            "The shard iterator is expired and can no longer be used to retrieve records.";
        Self::exception(DYNAMODB, "ExpiredIteratorException", message)
    }

    /// Records of a stream that are not there any more.
    pub(crate) fn records_trimmed() -> Self {
        let message = "The operation attempted to read past the oldest stream record in a shard.";
        Self::exception(DYNAMODB, "TrimmedDataAccessException", message)
    }

    /// A write that met another one.
    pub(crate) fn conflict(call: &Call, dice: &mut fastrand::Rng) -> Self {
        if call.is_transaction() {
            return Self::cancelled(call, "TransactionConflict", CONFLICT, dice);
        }
        Self::exception(DYNAMODB, "TransactionConflictException", CONFLICT)
    }

    /// A transaction whose token is that of one which runs.
    pub(crate) fn in_progress() -> Self {
        let message = "The transaction with the given request token is already in progress.";
        Self::exception(DYNAMODB, "TransactionInProgressException", message)
    }

    /// A cancelled transaction, for a reason that one of its items gives.
    fn cancelled(call: &Call, code: &str, message: &str, dice: &mut fastrand::Rng) -> Self {
        let items = call.items().max(1);
        let guilty = dice.usize(..items);
        let codes: Vec<&str> =
            (0..items).map(|item| if item == guilty { code } else { "None" }).collect();
        let reasons: Vec<Value> = (codes.iter())
            .map(|code| match *code {
                "None" => json!({ "Code": "None" }),
                code => json!({ "Code": code, "Message": message }),
            })
            .collect();
        let text = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        let body = json!({
            "__type": format!("{DYNAMODB}#TransactionCanceledException"),
            "CancellationReasons": reasons,
            "Message": text,
        });
        Self::json(StatusCode::BAD_REQUEST, &body)
    }

    /// One of the ways in which a server says that it failed; a balancer's is no JSON.
    pub(crate) fn server_error(dice: &mut fastrand::Rng) -> Self {
        let exception = |name: &str, message: &str, status| {
            let error = Self::exception(DYNAMODB, name, message);
            Self { status, ..error }
        };
        match dice.u8(..3) {
            0 => exception(
                "InternalServerError",
                "Internal server error",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            1 => exception(
                "ServiceUnavailable",
                "The service is temporarily unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            _ => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                content_type: "text/html".to_owned(),
                body: Bytes::from_static(b"<html><body>503 Service Unavailable</body></html>"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_transaction_names_each_item_in_its_place() {
        let body = json!({ "TransactItems": [{}, {}, {}] }).to_string();
        let call = Call::new("DynamoDB_20120810.TransactWriteItems", body.into());
        let reply = Reply::conflict(&call, &mut fastrand::Rng::with_seed(1));
        let json: Value = serde_json::from_slice(&reply.body).expect("it is JSON");
        let reasons = json["CancellationReasons"].as_array().expect("there are reasons");
        let of = |code: &str| reasons.iter().filter(|reason| reason["Code"] == code).count();
        assert_eq!((reasons.len(), of("None"), of("TransactionConflict")), (3, 2, 1));
        let message = json["Message"].as_str().expect("there is a message");
        assert!(message.contains("TransactionConflict") && message.contains("None"), "{message}");
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
}
