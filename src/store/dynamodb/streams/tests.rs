//! The feed of a real stream, on the engine in this process.

use super::*;
use crate::store::dynamodb::engine::{Engine, Fault};
use crate::store::dynamodb::{DynamoDbConfig, Meter};
use crate::store::feed::Round;
use crate::store::{Committed, Store};
use crate::v2::{
    Action, Commit, EtcdIndex, Item, Key, Mutation, NodeOp, Op, Record, UnixMs, Value, WriteId,
};

fn set(path: &str, value: &str, index: u64) -> Commit {
    let mutation = Mutation::WriteFile {
        value: Some(Value::from(value)),
        creates: true,
        expiration: Some(UnixMs(1_790_000_000_000)),
    };
    let key = Key::parse(path.as_bytes()).expect("clean");
    let id = WriteId { index: EtcdIndex(index), gateway: 17 };
    let op = NodeOp { key, id, expect: Vec::new(), mutation, action: Some(Action::Set) };
    Commit { id, ops: vec![Op::Node(op)] }
}

async fn commit(store: &DynamoDbStore, commit: &Commit) {
    let committed = store.commit(commit).await.expect("it is decided");
    assert!(matches!(committed, Committed::Applied { .. }));
}

/// What the feed says until a round is over, and how that went.
async fn round(feed: &mut StreamFeed) -> (Vec<Change>, Round) {
    let mut all = Vec::new();
    loop {
        match feed.next().await {
            Fed::Changes(changes) => all.extend(changes),
            Fed::Sign(_) => {}
            Fed::Round(round) => return (all, round),
            Fed::Gap(why) => panic!("{why}"),
        }
    }
}

async fn stored(store: &DynamoDbStore, path: &str) -> Option<std::sync::Arc<Item>> {
    let key = Key::parse(path.as_bytes()).expect("clean");
    store.get(&key, crate::store::Consistency::Strong).await.expect("a read")
}

#[tokio::test]
async fn the_feed_shows_items_as_they_are_read() {
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    commit(&store, &set("/before", "0", 5)).await;
    let mut feed = store.feed().await.expect("a feed");
    commit(&store, &set("/d/f", "1", 10)).await;
    let first = stored(&store, "/d/f").await;
    commit(&store, &set("/d/f", "\u{0}2", 20)).await;
    let second = stored(&store, "/d/f").await;
    let (changes, went) = round(&mut feed).await;
    assert_eq!(went, Round::Whole);
    let expected =
        [Change { before: None, after: first.clone() }, Change { before: first, after: second }];
    assert_eq!(changes, expected);
    assert_eq!(round(&mut feed).await, (vec![], Round::Whole));
}

#[tokio::test]
async fn records_and_other_keyspaces_are_not_in_it() {
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    let other =
        DynamoDbConfig { keyspace: "ks2".to_owned(), ..crate::store::dynamodb::engine::config() };
    let other = DynamoDbStore::open_with(engine.client(), &other, Meter::none()).await.unwrap();
    let mut feed = store.feed().await.expect("a feed");
    commit(&other, &set("/f", "1", 10)).await;
    let record = Record::Gateway { gateway: 1, seen: UnixMs(1) };
    let id = WriteId { index: EtcdIndex(11), gateway: 1 };
    commit(&store, &Commit { id, ops: vec![Op::PutRecord(record)] }).await;
    assert_eq!(round(&mut feed).await, (vec![], Round::Whole));
    commit(&store, &set("/f", "1", 12)).await;
    assert_eq!(round(&mut feed).await.0.len(), 1);
}

#[tokio::test]
async fn trouble_breaks_a_round_and_loses_nothing() {
    let error =
        |code: &str| format!(r#"{{"__type":"com.amazonaws.dynamodb#{code}","message":"m"}}"#);
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    let mut feed = store.feed().await.expect("a feed");
    commit(&store, &set("/f", "1", 10)).await;
    for (fault, throttled) in [
        (Fault::Reply(400, error("LimitExceededException")), true),
        (Fault::Reply(500, error("InternalServerError")), false),
        (Fault::LoseReply, false),
        (Fault::Refuse, true),
    ] {
        engine.script([fault]);
        assert_eq!(round(&mut feed).await, (vec![], Round::Broken { throttled }));
    }
    assert_eq!(round(&mut feed).await.0.len(), 1);
    commit(&store, &set("/f", "2", 20)).await;
    engine.script([Fault::Reply(400, error("ExpiredIteratorException"))]);
    assert_eq!(round(&mut feed).await.0.len(), 0);
    assert_eq!(round(&mut feed).await.0.len(), 1);
    engine.script([Fault::Reply(400, error("TrimmedDataAccessException"))]);
    assert!(matches!(feed.next().await, Fed::Gap(_)));
}
