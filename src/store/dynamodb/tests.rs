//! The store on an engine in this process: the contract, the costs, and what can go wrong.

mod contract;
mod costs;
mod erase;
mod faults;
mod model;
mod pages;
mod table;
mod whole_table;

use super::engine::Engine;
use super::meter::Meter;
use super::*;
use crate::store::{Committed, Consistency, Store};
use crate::v2::{Action, EtcdIndex, Mutation, NodeOp, Op, Precondition, UnixMs, Value, WriteId};

const NOW: UnixMs = UnixMs(1_790_000_000_000);

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a clean path")
}

fn id(index: u64) -> WriteId {
    WriteId { index: EtcdIndex(index), gateway: 7 }
}

/// A commit of one write at this index, whose parts are made for any.
fn commit(index: u64, mut ops: Vec<Op>) -> Commit {
    for op in &mut ops {
        if let Op::Node(op) = op {
            op.id = id(index);
            if let Mutation::Stamp { last } = &mut op.mutation {
                *last = op.id.index;
            }
        }
    }
    Commit { id: id(index), ops }
}

fn put(path: &str, value: &str, expect: Vec<Precondition>) -> Op {
    let value = Some(Value::from(value));
    let mutation = Mutation::WriteFile { value, creates: true, expiration: None };
    Op::Node(NodeOp { key: key(path), id: id(0), expect, mutation, action: Some(Action::Set) })
}

fn make_dir(path: &str) -> Op {
    let mutation = Mutation::MakeDir { stamped: false, expiration: None };
    let expect = vec![Precondition::Absent];
    Op::Node(NodeOp { key: key(path), id: id(0), expect, mutation, action: None })
}

fn stamp(path: &str) -> Op {
    let expect = vec![Precondition::LiveDir(NOW)];
    Op::Node(NodeOp {
        key: key(path),
        id: id(0),
        expect,
        mutation: Mutation::Stamp { last: EtcdIndex(0) },
        action: None,
    })
}

fn remove(path: &str) -> Op {
    let mutation = Mutation::Remove { draining: false, now: NOW };
    let expect = vec![Precondition::File];
    Op::Node(NodeOp { key: key(path), id: id(0), expect, mutation, action: Some(Action::Delete) })
}

#[track_caller]
fn applied(result: Result<Committed, StoreError>) {
    assert!(matches!(result, Ok(Committed::Applied { .. })), "{result:?}");
}

#[tokio::test]
async fn two_handles_see_one_table() {
    let engine = Engine::new();
    let (ours, theirs) = tokio::join!(engine.store(Meter::none()), engine.store(Meter::none()));
    applied(ours.commit(&commit(1, vec![put("/a", "1", vec![Precondition::Absent])])).await);
    let found = theirs.get(&key("/a"), Consistency::Strong).await.unwrap().unwrap();
    assert_eq!(found.writes.contains(id(1)), Some(true));
    let again = theirs.commit(&commit(2, vec![put("/a", "2", vec![Precondition::Absent])])).await;
    let Ok(Committed::Refused { found }) = again else { panic!("{again:?}") };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.as_ref().map(|item| item.modified), Some(EtcdIndex(1)));
}

#[tokio::test]
async fn keyspaces_share_a_table_and_nothing_else() {
    let engine = Engine::new();
    let ours = engine.store(Meter::none()).await;
    let other = DynamoDbConfig { keyspace: "ks2".to_owned(), ..super::engine::config() };
    let theirs = DynamoDbStore::open_with(engine.client(), &other, Meter::none()).await.unwrap();
    applied(ours.commit(&commit(1, vec![put("/a", "1", vec![])])).await);
    assert!(theirs.get(&key("/a"), Consistency::Strong).await.unwrap().is_none());
    let bad = DynamoDbConfig { keyspace: "a/b".to_owned(), ..super::engine::config() };
    let refused = DynamoDbStore::open_with(engine.client(), &bad, Meter::none()).await;
    assert!(matches!(refused, Err(OpenError::Keyspace(_))));
}

#[tokio::test]
async fn the_largest_item_fits() {
    let store = Engine::new().store(Meter::none()).await;
    let limits = store.limits();
    let path = format!("/{}/b", "a".repeat(limits.key_bytes - 3));
    let value = "v".repeat(limits.item_bytes - limits.key_bytes);
    let expires = NOW.plus_ms(1000);
    let mut op = put(&path, &value, vec![]);
    if let Op::Node(NodeOp { mutation: Mutation::WriteFile { expiration, .. }, .. }) = &mut op {
        *expiration = Some(expires);
    }
    applied(store.commit(&commit(1, vec![op])).await);
    applied(store.commit(&commit((1 << 53) - 1, vec![remove(&path)])).await);
    let larger = "v".repeat(ITEM_BYTES);
    let refused = store.commit(&commit(1, vec![put("/a", &larger, vec![])])).await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{refused:?}");
    let both = vec![put("/a", &larger, vec![]), put("/b", "", vec![])];
    let refused = store.commit(&commit(1, both)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{refused:?}");
}
