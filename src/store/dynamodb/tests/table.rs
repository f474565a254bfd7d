//! Creating and verifying tables.

use super::*;
use crate::store::dynamodb::engine::{Fault, TABLE, config};
use crate::store::dynamodb::table::Table;

fn table(client: &Client) -> Table<'_> {
    Table::new(client, TABLE, Timing::default())
}

async fn create(engine: &Engine, json: serde_json::Value) {
    let request = serde_json::from_value(json).unwrap();
    engine.database().create_table(request).unwrap();
}

fn schema(sort: &str, kind: &str) -> serde_json::Value {
    serde_json::json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": sort, "AttributeType": kind},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": sort, "KeyType": "RANGE"},
        ],
    })
}

#[tokio::test]
async fn a_missing_table_names_the_flag() {
    let client = Engine::new().client().table;
    let error = table(&client).verify().await.unwrap_err();
    assert!(matches!(error, TableError::Missing(_)));
    assert!(error.to_string().contains("--create-table"), "{error}");
}

#[tokio::test]
async fn a_table_is_created_once_and_then_fits() {
    let engine = Engine::new();
    let client = engine.client().table;
    let (one, other) = (table(&client), table(&client));
    let (one, other) = tokio::join!(one.create(), other.create());
    assert!(one.unwrap().max(other.unwrap()) == TableMade::Made);
    table(&client).verify().await.unwrap();
    assert_eq!(table(&client).create().await.unwrap(), TableMade::WasThere);
    let keep = DynamoDbConfig { create_table: false, ..config() };
    DynamoDbStore::open_with(engine.client(), &keep, Meter::none()).await.unwrap();
}

#[tokio::test]
async fn what_is_off_is_named_and_switched_on_only_when_asked() {
    let engine = Engine::new();
    create(&engine, schema("sk", "S")).await;
    let client = engine.client().table;
    let error = table(&client).verify().await.unwrap_err();
    let TableError::Different { differences, .. } = &error else { panic!("{error}") };
    assert_eq!(differences.len(), 2, "{error}");
    assert!(error.to_string().contains("TTL") && error.to_string().contains("stream"), "{error}");
    assert_eq!(table(&client).create().await.unwrap(), TableMade::SwitchedOn);
    table(&client).verify().await.unwrap();
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused_with_each_difference() {
    let engine = Engine::new();
    let mut json = schema("sort", "N");
    json["StreamSpecification"] =
        serde_json::json!({"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"});
    json["LocalSecondaryIndexes"] = serde_json::json!([{
        "IndexName": "by-number",
        "KeySchema": json["KeySchema"],
        "Projection": {"ProjectionType": "ALL"},
    }]);
    create(&engine, json).await;
    let client = engine.client().table;
    let error = table(&client).create().await.unwrap_err();
    let TableError::Different { differences, .. } = &error else { panic!("{error}") };
    assert_eq!(differences.len(), 4, "{error}");
    for word in ["sort", "local secondary index", "KEYS_ONLY", "TTL"] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[tokio::test]
async fn the_type_of_a_key_and_the_ttl_attribute_matter() {
    let engine = Engine::new();
    create(&engine, schema("sk", "N")).await;
    let ttl = serde_json::json!({
        "TableName": TABLE,
        "TimeToLiveSpecification": {"AttributeName": "other", "Enabled": true},
    });
    engine.database().update_time_to_live(serde_json::from_value(ttl).unwrap()).unwrap();
    let client = engine.client().table;
    let error = table(&client).create().await.unwrap_err();
    assert!(error.to_string().contains("\"sk\" is N"), "{error}");
    assert!(error.to_string().contains("\"other\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_settles_is_waited_for() {
    let engine = Engine::new();
    create(&engine, schema("sk", "S")).await;
    let client = engine.client().table;
    let creating = Fault::Reply(200, r#"{"Table":{"TableStatus":"CREATING"}}"#.to_owned());
    engine.script(vec![creating.clone(); 60]);
    table(&client).create().await.unwrap();
    engine.script(vec![creating; 1000]);
    let error = table(&client).verify().await.unwrap_err();
    assert!(error.to_string().contains("CREATING"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_looked_at_is_not_waited_for_long() {
    let engine = Engine::new();
    let client = engine.client().table;
    let denied = r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#.to_owned();
    for (fault, longest_s) in
        [(Fault::Refuse, 11), (Fault::Hang, 17), (Fault::Reply(400, denied), 1)]
    {
        engine.script(vec![fault; 100]);
        let before = tokio::time::Instant::now();
        let error = table(&client).create().await.unwrap_err();
        assert!(matches!(error, TableError::Unavailable { .. }), "{error}");
        assert!(before.elapsed().as_secs() <= longest_s, "{:?}", before.elapsed());
        engine.forget_script();
    }
}
