//! A table as a whole: described, surveyed, deleted.

use serde_json::json;

use super::*;
use crate::store::dynamodb::engine::{Fault, TABLE, config};
use crate::store::dynamodb::whole_table::{Billing, Held, Recovery, WholeTable};

fn whole(engine: &Engine) -> WholeTable {
    let config = DynamoDbConfig { timing: Timing::default(), ..config() };
    WholeTable::with_client(engine.client().table, &config, Meter::none())
}

fn create(engine: &Engine, sort: &str, more: &[(&str, serde_json::Value)]) {
    let mut table = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": sort, "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": sort, "KeyType": "RANGE"},
        ],
    });
    for (name, value) in more {
        table[*name] = value.clone();
    }
    engine.database().create_table(serde_json::from_value(table).unwrap()).unwrap();
}

fn described(status: &str) -> Fault {
    let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
    let table = json!({
        "TableStatus": status,
        "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
    });
    Fault::Reply(200, json!({ "Table": table }).to_string())
}

#[tokio::test]
async fn a_table_is_described_with_all_that_is_wrong_with_it() {
    let engine = Engine::new();
    let table = whole(&engine);
    let error = table.report().await.unwrap_err();
    assert!(error.to_string().contains("etcdynamo table create"), "{error}");
    assert_eq!(table.create().await.unwrap(), TableMade::Made);
    let report = table.report().await.unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.status.as_str(), report.billing), ("ACTIVE", Billing::OnDemand));
    assert_eq!(report.ttl_attribute.as_deref(), Some("t"));
    assert_eq!(report.stream.as_deref(), Some("NEW_AND_OLD_IMAGES"));
    assert!(matches!(report.recovery, Recovery::Unknown(_)), "{:?}", report.recovery);

    let engine = Engine::new();
    let throughput = json!({"ReadCapacityUnits": 3, "WriteCapacityUnits": 4});
    create(
        &engine,
        "sort",
        &[("BillingMode", json!("PROVISIONED")), ("ProvisionedThroughput", throughput)],
    );
    engine.take_calls();
    let report = whole(&engine).report().await.unwrap();
    assert_eq!(report.differences.len(), 3, "{report:?}");
    assert_eq!(report.billing, Billing::Provisioned { read: 3, write: 4 });
    assert_eq!((report.ttl_attribute, report.stream), (None, None));
    let calls = engine.take_calls();
    assert!(calls.iter().all(|(name, _)| name.starts_with("Describe")), "it changes nothing");
}

#[tokio::test]
async fn point_in_time_recovery_is_told_where_it_can_be_asked() {
    for (status, wanted) in [("ENABLED", Recovery::On), ("DISABLED", Recovery::Off)] {
        let engine = Engine::new();
        let table = whole(&engine);
        table.create().await.unwrap();
        let recovery = json!({ "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": status },
        } });
        engine.script([Fault::None, Fault::None, Fault::Reply(200, recovery.to_string())]);
        assert_eq!(table.report().await.unwrap().recovery, wanted);
    }
}

#[tokio::test]
async fn a_table_is_not_usable_while_its_status_says_so() {
    let engine = Engine::new();
    let table = whole(&engine);
    table.create().await.unwrap();
    engine.script([described("CREATING")]);
    let report = table.report().await.unwrap();
    assert!(report.differences.iter().any(|what| what.contains("CREATING")), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_is_gone_when_its_deletion_ends() {
    let engine = Engine::new();
    let table = whole(&engine);
    table.create().await.unwrap();
    engine.take_calls();
    let in_use = Fault::Reply(400, r#"{"__type":"x#ResourceInUseException"}"#.to_owned());
    engine.script([Fault::None, in_use, Fault::None, Fault::LoseReply]);
    engine.script(vec![described("DELETING"); 20]);
    table.delete().await.unwrap();
    let calls = engine.take_calls();
    assert_eq!(calls.iter().filter(|(name, _)| name == "DeleteTable").count(), 2);
    let error = table.delete().await.unwrap_err();
    assert!(matches!(error, TableError::Missing(_)), "{error}");
    engine.script([described("DELETING")]);
    table.delete().await.expect("whoever asked for it, it goes");
}

#[tokio::test]
async fn a_table_with_other_keys_is_never_deleted() {
    let engine = Engine::new();
    create(&engine, "sort", &[]);
    let table = whole(&engine);
    engine.take_calls();
    for refused in [table.see_whose().await, table.delete().await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, TableError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("\"sort\""), "{error}");
    }
    assert!(engine.take_calls().iter().all(|(name, _)| name == "DescribeTable"));
}

#[tokio::test]
async fn a_protected_table_is_left_alone() {
    let engine = Engine::new();
    create(&engine, "sk", &[("DeletionProtectionEnabled", json!(true))]);
    let table = whole(&engine);
    let error = table.delete().await.unwrap_err();
    assert!(matches!(error, TableError::Protected(_)), "{error}");
    // Where its description did not say so, DynamoDB does.
    engine.script([described("ACTIVE")]);
    let error = table.delete().await.unwrap_err();
    let TableError::Unavailable { why, .. } = &error else { panic!("{error}") };
    assert!(why.contains("protected"), "{why}");
}

#[tokio::test]
async fn a_survey_tells_whose_each_item_is() {
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    crate::keyspace::found(
        &store,
        &crate::clock::IndexClock::new(
            Arc::new(crate::clock::SystemClock),
            300_000_000,
            EtcdIndex(0),
        ),
    )
    .await
    .unwrap();
    let value = "v".repeat(300_000);
    for number in 0..8 {
        let op = put(&format!("/d/{number}"), &value, vec![]);
        applied(store.commit(&commit(number + 1, vec![op])).await);
    }
    for (partition, sort) in [
        ("ks.x/", "001/a"),
        ("ks", "001/a"),
        ("user/17", "profile"),
        ("ks/b", "002/a/b"),
        ("ks//records", "of-tomorrow"),
        ("a b/", "001/a"),
    ] {
        let item = json!({ "pk": {"S": partition}, "sk": {"S": sort}, "x": {"S": "1"} });
        let put = json!({ "TableName": TABLE, "Item": item });
        engine.database().put_item(serde_json::from_value(put).unwrap()).unwrap();
    }
    let table = whole(&engine);
    let (mut found, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let page = table.survey(from, None).await.unwrap();
        pages += 1;
        found.extend(page.found);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert!(pages > 2, "{pages} pages");
    let count = |name: Option<&str>, is: fn(&Held) -> bool| {
        let found = found.iter().filter(|item| item.keyspace.as_deref() == name);
        found.filter(|item| is(&item.held)).count()
    };
    assert_eq!(count(Some("ks"), |held| matches!(held, Held::Node(_))), 9, "and the root");
    assert_eq!(count(Some("ks"), |held| matches!(held, Held::Record(_))), 1);
    assert_eq!(count(Some("ks"), |held| matches!(held, Held::Unreadable)), 1);
    assert_eq!(count(Some("ks.x"), |held| matches!(held, Held::Unreadable)), 1);
    assert_eq!(count(None, |_| true), 4);
    assert!(found.iter().any(|item| item.bytes > 300_000));
    let sample = table.survey(None, Some(3)).await.unwrap();
    assert_eq!((sample.found.len(), sample.next.is_some()), (3, true));
}
