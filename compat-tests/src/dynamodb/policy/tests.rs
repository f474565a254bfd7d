//! What calls need, and what policies allow.

use hyper::body::Bytes;
use serde_json::json;

use super::*;

const TABLE: &str = "a-table";

fn call(operation: &str, body: &Value) -> Call {
    Call::new(&format!("DynamoDB_20120810.{operation}"), Bytes::from(body.to_string()))
}

fn stream(operation: &str, body: &Value) -> Call {
    Call::new(&format!("DynamoDBStreams_20120810.{operation}"), Bytes::from(body.to_string()))
}

fn guard(policies: &[&str]) -> Guard {
    Guard::new(policies, TABLE, "mine").expect("the policies are understood")
}

fn item(partition: &str) -> Value {
    json!({ "pk": { "S": partition }, "sk": { "S": "001/a" } })
}

#[test]
fn a_server_may_read_and_write_its_table_and_no_other() {
    let stream_arn = format!("arn:aws:dynamodb:us-east-1:1:table/{TABLE}/stream/2026");
    let of_another = "arn:aws:dynamodb:us-east-1:1:table/another/stream/2026";
    for (allowed, call) in [
        (true, call("GetItem", &json!({ "TableName": TABLE, "Key": item("mine/") }))),
        (false, call("GetItem", &json!({ "TableName": "another", "Key": item("mine/") }))),
        (false, call("GetItem", &json!({ "TableName": "a-table-2", "Key": item("mine/") }))),
        (true, call("BatchGetItem", &json!({ "RequestItems": { TABLE: { "Keys": [] } } }))),
        (
            false,
            call(
                "BatchGetItem",
                &json!({ "RequestItems": { TABLE: {}, "another": { "Keys": [] } } }),
            ),
        ),
        (false, call("Scan", &json!({ "TableName": TABLE }))),
        (false, call("DeleteTable", &json!({ "TableName": TABLE }))),
        (false, call("CreateTable", &json!({ "TableName": TABLE }))),
        (true, call("DescribeTable", &json!({ "TableName": TABLE }))),
        (true, stream("DescribeStream", &json!({ "StreamArn": stream_arn }))),
        (false, stream("DescribeStream", &json!({ "StreamArn": of_another }))),
        (true, stream("GetRecords", &json!({ "ShardIterator": "x" }))),
        (false, stream("ListStreams", &json!({ "TableName": TABLE }))),
        (false, Call::new("AWSCognito.GetItem", Bytes::from_static(b"{}"))),
    ] {
        let mut guard = guard(&["serve"]);
        assert_eq!(guard.allows(&call), allowed, "{call:?}");
        assert_eq!(guard.denied().is_empty(), allowed, "{call:?}");
    }
}

#[test]
fn a_transaction_needs_what_its_parts_need() {
    let with = |part: &str| {
        let put = json!({ "Put": { "TableName": TABLE, "Item": item("mine/") } });
        let other = json!({ part: { "TableName": TABLE, "Key": item("mine/") } });
        call("TransactWriteItems", &json!({ "TransactItems": [put, other] }))
    };
    let mut guard = guard(&["serve"]);
    assert!(guard.allows(&with("Delete")) && guard.allows(&with("Update")));
    let unused = guard.unused();
    for action in ["PutItem", "DeleteItem", "UpdateItem"] {
        assert!(!unused.contains(&format!("serve dynamodb:{action}")), "{unused:?}");
    }
    assert!(unused.contains(&"serve dynamodb:GetItem".to_owned()));
    assert!(!guard.allows(&with("ConditionCheck")));
}

#[test]
fn who_only_reads_may_not_write() {
    let key = json!({ "TableName": TABLE, "Key": item("mine/") });
    let part = json!({ "TransactItems": [{ "Update": key }] });
    for (allowed, call) in [
        (true, call("GetItem", &key)),
        (false, call("PutItem", &json!({ "TableName": TABLE, "Item": item("mine/") }))),
        (false, call("UpdateItem", &key)),
        (false, call("DeleteItem", &key)),
        (false, call("TransactWriteItems", &part)),
        (false, call("UpdateTimeToLive", &json!({ "TableName": TABLE }))),
    ] {
        assert_eq!(guard(&["read-only"]).allows(&call), allowed, "{call:?}");
    }
    let reads = ["Get", "BatchGet", "Query", "Describe"];
    for entry in guard(&["read-only"]).unused() {
        let action = entry.strip_prefix("read-only dynamodb:").expect("an action on a table");
        assert!(reads.iter().any(|verb| action.starts_with(verb)), "{action} may write");
    }
}

#[test]
fn one_keyspace_is_all_that_a_part_may_touch() {
    let of = |partition: &str| {
        let query = json!({
            "TableName": TABLE,
            "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)",
            "ExpressionAttributeValues": { ":p": { "S": partition }, ":s": { "S": "mine/" } },
        });
        let part = |key: &str| json!({ "Update": { "TableName": TABLE, "Key": item(key) } });
        [
            call("Query", &query),
            call("PutItem", &json!({ "TableName": TABLE, "Item": item(partition) })),
            call(
                "BatchGetItem",
                &json!({ "RequestItems": { TABLE: { "Keys": [item("mine/"), item(partition)] } } }),
            ),
            call(
                "TransactWriteItems",
                &json!({ "TransactItems": [part("mine/a"), part(partition)] }),
            ),
        ]
    };
    for (partition, allowed) in
        [("mine/", true), ("mine/a", true), ("mine//records", true), ("mine2/", false), ("", false)]
    {
        for call in of(partition) {
            let mut guard = guard(&["serve-one-keyspace"]);
            assert_eq!(guard.allows(&call), allowed, "{partition:?} {call:?}");
        }
    }
    let unnamed = call("Query", &json!({ "TableName": TABLE }));
    assert!(!guard(&["serve-one-keyspace"]).allows(&unnamed), "a key that is not told");
}

#[test]
fn what_is_not_understood_is_no_policy() {
    let allow = |action: Value| json!({ "Effect": "Allow", "Action": action, "Resource": "x" });
    for statement in [
        json!({}),
        json!({ "Effect": "Deny", "Action": ["a:B"], "Resource": "x" }),
        json!({ "Effect": "Allow", "NotAction": ["a:B"], "Resource": "x" }),
        json!({ "Effect": "Allow", "Action": ["a:B"], "Resource": "x", "Condition": {} }),
        allow(json!(["dynamodb:*"])),
        allow(json!([])),
    ] {
        assert!(statements(&json!({ "Statement": [statement] })).is_err(), "{statement}");
    }
    assert!(statements(&json!({ "Statement": [allow(json!(["a:B"]))] })).is_ok());
    assert!(statements(&json!({ "Statement": [] })).is_err());
}

#[test]
fn a_star_stands_for_anything() {
    for (text, pattern, fits) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "a*c", true),
        ("abc", "*", true),
        ("a/b/c", "a/*/c", true),
        ("a/b/d", "a/*/c", false),
        ("", "*", true),
    ] {
        assert_eq!(is_like(text, pattern), fits, "{text} {pattern}");
    }
}

#[test]
fn a_batch_of_writes_needs_its_table_and_the_keys_of_all_its_items() {
    let delete = |partition: &str| json!({ "DeleteRequest": { "Key": item(partition) } });
    let put = |partition: &str| json!({ "PutRequest": { "Item": item(partition) } });
    let batch = |table: &str, requests: &[Value]| {
        call("BatchWriteItem", &json!({ "RequestItems": { table: requests } }))
    };
    let own = batch(TABLE, &[delete("mine/"), put("mine/a")]);
    assert!(guard(&["administrate"]).allows(&own));
    assert!(!guard(&["administrate"]).allows(&batch("another", &[delete("mine/")])));
    assert!(!guard(&["serve"]).allows(&own), "no server sends one");
    let mut guard = guard(&["administrate"]);
    assert!(guard.allows(&batch(TABLE, &[delete("mine/"), put("other/a")])));
    let needs = needs(&batch(TABLE, &[delete("mine/"), put("other/a")]), TABLE);
    let [need] = needs.as_slice() else { panic!("{needs:?}") };
    assert_eq!(need.leading_keys, ["mine/", "other/a"]);
}
