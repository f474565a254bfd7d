//! Listings and batches that do not fit one reply, and records.

use super::*;
use crate::store::dynamodb::engine::Fault;
use crate::store::{Cursor, Level};
use crate::v2::{Record, RecordKind};

#[tokio::test]
async fn a_level_of_several_pages_has_every_item_once() {
    let store = Engine::new().store(Meter::none()).await;
    let value = "v".repeat(300_000);
    for number in 0..8 {
        let path = format!("/d/{number}");
        applied(store.commit(&commit(number + 1, vec![put(&path, &value, vec![])])).await);
    }
    applied(store.commit(&commit(20, vec![put("/d-/x", "", vec![])])).await);
    applied(store.commit(&commit(21, vec![put("/d/0/deeper", "", vec![])])).await);
    let mut seen = Vec::new();
    let (mut from, mut pages) = (None, 0);
    loop {
        let below = key("/d");
        let level = Level { below: &below, depth: 2, from };
        let page = store.list(level, Consistency::Strong).await.unwrap();
        pages += 1;
        seen.extend(page.items.iter().map(|item| item.key.to_string()));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    seen.sort();
    let wanted: Vec<String> = (0..8).map(|number| format!("/d/{number}")).collect();
    assert_eq!(seen, wanted);
    assert!(pages > 2, "{pages} pages");
}

#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused() {
    let store = Engine::new().store(Meter::none()).await;
    let level = Level { below: &key("/d"), depth: 2, from: Some(Cursor(vec![0xff])) };
    let refused = store.list(level, Consistency::Strong).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn many_items_come_in_the_order_of_their_keys() {
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    for number in (0..120).step_by(3) {
        let path = format!("/d/{number}");
        applied(store.commit(&commit(number + 1, vec![put(&path, "", vec![])])).await);
    }
    let mut keys: Vec<Key> = (0..120).rev().map(|number| key(&format!("/d/{number}"))).collect();
    keys.push(key("/d/3"));
    engine.take_calls();
    let found = store.get_many(&keys).await.unwrap();
    assert_eq!(engine.take_calls().len(), 2, "100 keys a call");
    assert_eq!(found.len(), keys.len());
    for (key, found) in keys.iter().zip(&found) {
        let number: u64 = std::str::from_utf8(key.name()).unwrap().parse().unwrap();
        assert_eq!(found.as_ref().map(|item| &item.key), number.is_multiple_of(3).then_some(key));
    }
    assert!(store.get_many(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_batch_leaves_over_is_asked_for_again() {
    let engine = Engine::new();
    let store = engine.store(Meter::none()).await;
    applied(store.commit(&commit(1, vec![put("/a", "1", vec![])])).await);
    let left = r#"{"Responses":{},"UnprocessedKeys":{"etcdynamo-test-table":{"ConsistentRead":true,
        "Keys":[{"pk":{"S":"ks/"},"sk":{"S":"001/a"}},{"pk":{"S":"ks/"},"sk":{"S":"001/b"}}]}}}"#;
    engine.script([Fault::Reply(200, left.to_owned()), Fault::Reply(200, left.to_owned())]);
    let found = store.get_many(&[key("/b"), key("/a")]).await.unwrap();
    assert!(found[0].is_none());
    assert_eq!(found[1].as_ref().map(|item| &item.key), Some(&key("/a")));
}

#[tokio::test]
async fn records_are_kept_by_kind_and_dropped_only_as_they_are() {
    let store = Engine::new().store(Meter::none()).await;
    let ttl = |path, at| Record::DirTtl { key: key(path), expiration: UnixMs(at) };
    let drain = Record::Drain { key: key("/a"), index: EtcdIndex(9), action: Action::Expire };
    let identity = Record::Identity { schema: 1, cluster_id: u64::MAX, member_id: 3 };
    let add = |record: &Record| vec![Op::AddRecord(record.clone())];
    applied(store.commit(&commit(1, add(&identity))).await);
    let again = store.commit(&commit(2, add(&identity))).await;
    assert!(matches!(again, Ok(Committed::Refused { found }) if found.is_empty()));
    let puts = vec![Op::PutRecord(ttl("/a", 5)), Op::PutRecord(ttl("/a/b", 6))];
    applied(store.commit(&commit(3, puts)).await);
    applied(store.commit(&commit(4, vec![Op::PutRecord(drain.clone())])).await);

    let held = |kind| {
        let store = &store;
        async move { store.records(kind).await.unwrap() }
    };
    assert_eq!(held(RecordKind::Identity).await, [identity]);
    assert_eq!(held(RecordKind::Drain).await, std::slice::from_ref(&drain));
    assert_eq!(held(RecordKind::DirTtl).await, [ttl("/a", 5), ttl("/a/b", 6)]);
    assert_eq!(held(RecordKind::Sweep).await.len(), 3);

    let same = |record| commit(5, vec![Op::DropSameRecord(record)]);
    let refused = store.commit(&same(ttl("/a", 6))).await;
    assert!(matches!(refused, Ok(Committed::Refused { found }) if found.is_empty()));
    applied(store.commit(&same(ttl("/a", 5))).await);
    let gone = store.commit(&same(ttl("/a", 5))).await;
    assert!(matches!(gone, Ok(Committed::Refused { .. })));
    let name = RecordKind::Drain.name_for(&key("/a"));
    for index in [6, 7] {
        applied(store.commit(&commit(index, vec![Op::DropRecord(name.clone())])).await);
    }
    assert_eq!(held(RecordKind::Sweep).await, [ttl("/a/b", 6)]);
}

#[tokio::test]
async fn a_refused_transaction_gives_the_parts_that_did_not_match() {
    let store = Engine::new().store(Meter::none()).await;
    applied(store.commit(&commit(1, vec![make_dir("/d"), put("/d/a", "1", vec![])])).await);
    let record = Record::DirTtl { key: key("/d"), expiration: NOW };
    let parts = vec![
        put("/d/a", "2", vec![Precondition::Absent]),
        put("/d/b", "2", vec![Precondition::Absent]),
        remove("/d/c"),
        stamp("/d"),
        Op::DropSameRecord(record),
    ];
    let result = store.commit(&commit(2, parts)).await;
    let Ok(Committed::Refused { found }) = result else { panic!("{result:?}") };
    let parts: Vec<usize> = found.iter().map(|(part, _)| *part).collect();
    assert_eq!(parts, [0, 2]);
    assert_eq!(found[0].1.as_ref().map(|item| item.modified), Some(EtcdIndex(1)));
    assert!(found[1].1.is_none());
    assert!(store.get(&key("/d/b"), Consistency::Strong).await.unwrap().is_none());
}
