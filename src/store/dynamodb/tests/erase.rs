//! Erasing a keyspace: all of it and nothing else, wherever it is cut short.

use super::*;
use crate::clock::{IndexClock, SystemClock};
use crate::keyspace::{self, OpenError, Presence};
use crate::store::dynamodb::engine::{Fault, config};
use crate::v2::{PasswordHash, Record, User};

/// Names that are beginnings of each other, or sort around the slash that ends each.
const NEIGHBOURS: [&str; 7] = ["a.b", "a-b", "a_", "aa", "A", "a0", "b"];

fn clock() -> IndexClock {
    IndexClock::new(Arc::new(SystemClock), 300_000_000, EtcdIndex(0))
}

async fn store(engine: &Engine, keyspace: &str) -> DynamoDbStore {
    let config = DynamoDbConfig { keyspace: keyspace.to_owned(), ..config() };
    DynamoDbStore::open_with(engine.client(), &config, Meter::none()).await.unwrap()
}

/// A keyspace with nodes, tombstones below a tombstone that was purged, and records.
async fn fill(engine: &Engine, name: &str, nodes: u64) -> DynamoDbStore {
    let store = store(engine, name).await;
    keyspace::found(&store, &clock()).await.expect("it is made");
    for number in 0..nodes {
        let path = format!("/d{}/f{number}", number % 3);
        applied(store.commit(&commit(number + 1, vec![put(&path, "v", vec![])])).await);
    }
    applied(store.commit(&commit(90, vec![put("/d0/f0", "v", vec![])])).await);
    applied(store.commit(&commit(91, vec![remove("/d0/f0")])).await);
    let user = User { name: "u".to_owned(), password: PasswordHash("h".to_owned()), roles: None };
    for record in [
        Record::User(user),
        Record::Gateway { gateway: 1, seen: UnixMs(1) },
        Record::DirTtl { key: key("/d1"), expiration: NOW },
    ] {
        applied(store.commit(&commit(1, vec![Op::PutRecord(record)])).await);
    }
    store
}

/// Every item of the table, as it is there, by the keyspace in its partition key.
fn items(engine: &Engine, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let request = serde_json::json!({ "TableName": super::super::engine::TABLE });
    let request = serde_json::from_value(request).unwrap();
    let page = serde_json::to_value(engine.database().scan(request).unwrap()).unwrap();
    let items = page["Items"].as_array().unwrap().iter();
    let of = |item: &serde_json::Value| {
        let partition = item["pk"]["S"].as_str().unwrap();
        partition.split_once('/').unwrap().0.to_owned()
    };
    let mut found: Vec<String> =
        items.filter(|item| is_wanted(&of(item))).map(ToString::to_string).collect();
    found.sort();
    found
}

async fn delete(store: &DynamoDbStore) -> Result<u64, String> {
    let retired = keyspace::retire(store, &clock(), |_| ()).await;
    retired.map_err(|error| error.to_string())?;
    store.erase(|_| ()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn all_of_it_goes_and_nothing_of_its_neighbours() {
    let engine = Engine::new();
    for name in NEIGHBOURS {
        fill(&engine, name, 3).await;
    }
    let before = items(&engine, |_| true);
    let store = fill(&engine, "a", 60).await;
    let there = items(&engine, |name| name == "a").len();
    let mut told = Vec::new();
    keyspace::retire(&store, &clock(), |_| ()).await.expect("nobody is there");
    let erased = store.erase(|erased| told.push(erased)).await.expect("it is erased");
    assert_eq!(erased + 1, u64::try_from(there).unwrap(), "and the identity");
    assert!(told.is_sorted() && told.len() > 2, "{told:?}");
    assert_eq!(items(&engine, |_| true), before);
    assert_eq!(delete(&store).await, Ok(0));
    let founded = keyspace::found(&store, &clock()).await.expect("it can be made anew");
    assert!(founded.is_new);
}

/// Stopped at each of its calls, it leaves either all of it or what nobody opens; and doing it
/// again finishes it.
#[tokio::test]
async fn wherever_it_is_cut_short_nobody_opens_what_is_left() {
    let denied = Fault::Reply(400, r#"{"__type":"x#AccessDeniedException"}"#.to_owned());
    for call in 0..40 {
        let engine = Engine::new();
        fill(&engine, "ab", 2).await;
        let neighbour = items(&engine, |_| true);
        let store = fill(&engine, "a", 60).await;
        let whole = items(&engine, |name| name == "a");
        engine.take_calls();
        engine.script(vec![Fault::None; call]);
        engine.script(vec![denied.clone(); 100]);
        let cut_short = delete(&store).await;
        engine.forget_script();
        let left = items(&engine, |name| name == "a");
        match keyspace::look(&store).await.expect("a look") {
            Presence::Whole(_) => assert_eq!(left, whole, "call {call}"),
            Presence::HalfDeleted => {
                let refused = keyspace::found(&store, &clock()).await;
                assert!(matches!(refused, Err(OpenError::HalfDeleted)), "{refused:?}");
            }
            Presence::Nothing => assert_eq!(left, Vec::<String>::new(), "call {call}"),
        }
        if cut_short.is_ok() {
            assert!(call > 6, "it takes many calls");
            return;
        }
        delete(&store).await.expect("it goes on");
        assert_eq!(items(&engine, |_| true), neighbour, "call {call}");
    }
    panic!("it never ended");
}

/// Each of its calls fails once in a way that passes, or its reply gets lost.
#[tokio::test]
async fn what_passes_does_not_stop_it() {
    let throttled = Fault::Reply(400, r#"{"__type":"x#ThrottlingException"}"#.to_owned());
    for fault in [throttled, Fault::LoseReply, Fault::Cut, Fault::Refuse] {
        for call in 0..12 {
            let engine = Engine::new();
            let store = fill(&engine, "a", 30).await;
            engine.script(vec![Fault::None; call]);
            engine.script([fault.clone()]);
            delete(&store).await.expect("it goes on");
            engine.forget_script();
            assert_eq!(items(&engine, |_| true), Vec::<String>::new(), "{fault:?} at {call}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_of_a_batch_comes_again() {
    let engine = Engine::new();
    let store = engine.impatient_store().await;
    for number in 0..5 {
        applied(
            store.commit(&commit(number + 1, vec![put(&format!("/f{number}"), "", vec![])])).await,
        );
    }
    let left = |numbers: &[u32]| {
        let places = numbers.iter().map(|number| {
            serde_json::json!({ "DeleteRequest": { "Key": {
                "pk": { "S": "ks/" }, "sk": { "S": format!("001/f{number}") },
            } } })
        });
        let places: Vec<serde_json::Value> = places.collect();
        let table = super::super::engine::TABLE;
        Fault::Reply(200, serde_json::json!({ "UnprocessedItems": { table: places } }).to_string())
    };
    engine.take_calls();
    engine.script([Fault::None, left(&[0, 1, 2, 3, 4]), left(&[1, 3]), left(&[1, 3])]);
    assert_eq!(store.erase(|_| ()).await.unwrap(), 5);
    let calls = engine.take_calls();
    let names: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["Scan", "BatchWriteItem", "BatchWriteItem", "BatchWriteItem", "BatchWriteItem"]
    );
    assert!(calls[3].1.contains("001/f1") && !calls[3].1.contains("001/f0"), "{}", calls[3].1);
    applied(store.commit(&commit(9, vec![put("/f1", "", vec![])])).await);
    engine.script([Fault::None]);
    engine.script(vec![left(&[1]); 1000]);
    let error = store.erase(|_| ()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}
