//! Commits as a whole: all or nothing, repetition, records.

use super::*;
use crate::v2::{PasswordHash, Permissions, Record, RecordKind, Role, User};

const DIR: Mutation = Mutation::MakeDir { stamped: false, expiration: None };

pub(crate) async fn a_commit_applies_whole_or_not_at_all<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let keys = [key("/whole/a"), key("/whole/b"), key("/elsewhere"), key("/whole/b/c")];
    apply(store, &one(ids.next(), op(&keys[2], vec![], file("old")))).await;
    let mut wanted = several(
        ids.next(),
        vec![
            Op::Node(op(&keys[0], vec![Precondition::Absent], file("a"))),
            Op::Node(op(
                &keys[1],
                vec![Precondition::Absent],
                Mutation::MakeDir { stamped: true, expiration: None },
            )),
            Op::Node(op(
                &keys[2],
                vec![Precondition::File, Precondition::Value(Value::from("new"))],
                file("newer"),
            )),
            Op::Node(op(&keys[3], vec![Precondition::Absent], file("c"))),
        ],
    );
    let there = get(store, &keys[2]).await;
    assert_eq!(refuse(store, &wanted).await, [(2, there.clone())]);
    let items = second.get_many(&keys).await.unwrap();
    assert_eq!(items, [None, None, there, None], "a refused commit changed something");

    let Op::Node(third) = &mut wanted.ops[2] else { unreachable!() };
    third.expect[1] = Precondition::Value(Value::from("old"));
    assert!(matches!(commit(store, &wanted).await, Committed::Applied { .. }));
    let items = second.get_many(&keys).await.unwrap();
    for (item, wanted_op) in items.iter().zip(&wanted.ops) {
        let item = item.as_ref().expect("it was written");
        assert_eq!(item.writes.contains(wanted.id), Some(true));
        let Op::Node(op) = wanted_op else { unreachable!() };
        assert_eq!(item.key, op.key);
    }
}

pub(crate) async fn a_refusal_gives_every_item_that_does_not_match<S: Store>(store: &S, _: &S) {
    let mut ids = Ids::new();
    let (there, fine) = (key("/r/there"), key("/r/fine"));
    apply(store, &one(ids.next(), op(&there, vec![], file("x")))).await;
    let item = get(store, &there).await;
    let ops = vec![
        Op::Node(op(&there, vec![Precondition::Absent], file("y"))),
        Op::Node(op(&fine, vec![Precondition::Absent], file("y"))),
        Op::Node(op(&key("/r/gone"), vec![Precondition::Dir], STAMP)),
        Op::Node(op(&key("/r"), vec![Precondition::File], file("y"))),
    ];
    let mut found = refuse(store, &several(ids.next(), ops)).await;
    found.sort_by_key(|(number, _)| *number);
    assert_eq!(found, [(0, item), (2, None), (3, None)]);
}

pub(crate) async fn a_large_commit_is_one_commit<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let parts = store.limits().commit_ops.min(300);
    let keys: Vec<Key> = (0..parts).map(|n| key(&format!("/large/{n:03}"))).collect();
    let ops = |value: &str| {
        let part = |key| Op::Node(op(key, vec![Precondition::Absent], file(value)));
        keys.iter().map(part).collect::<Vec<Op>>()
    };
    apply(store, &one(ids.next(), op(&keys[parts - 1], vec![], file("first")))).await;
    let found = refuse(store, &several(ids.next(), ops("refused"))).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, parts - 1);
    assert_eq!(listed(second, &key("/large"), 2).await.len(), 1);

    let mut wanted = several(ids.next(), ops("applied"));
    wanted.ops.pop();
    apply(store, &wanted).await;
    assert_eq!(listed(second, &key("/large"), 2).await, keys);
}

pub(crate) async fn a_commit_that_comes_again_is_not_applied_again<S: Store>(
    store: &S,
    second: &S,
) {
    let mut ids = Ids::new();
    let (a, b) = (key("/again/a"), key("/again/b"));
    let create = one(ids.next(), op(&a, vec![Precondition::Absent], file("one")));
    let both = several(
        ids.next(),
        vec![
            Op::Node(op(&b, vec![Precondition::Absent], file("b"))),
            Op::Node(op(&a, vec![Precondition::File], file("two"))),
        ],
    );
    let later = one(ids.next(), op(&a, vec![Precondition::File], file("three")));
    let remove = Mutation::Remove { draining: false, now: NOW };
    let gone = one(ids.next(), op(&a, vec![Precondition::File], remove));
    let mut so_far: Vec<&Commit> = Vec::new();
    for next in [&create, &both, &later, &gone] {
        apply(store, next).await;
        so_far.push(next);
        let there = store.get_many(&[a.clone(), b.clone()]).await.unwrap();
        for again in so_far.iter().rev() {
            if let Committed::Refused { found } = commit(second, again).await {
                let told = found.iter().flat_map(|(_, item)| item);
                let mut told = told.filter_map(|item| item.writes.contains(again.id));
                assert!(told.any(|happened| happened), "{found:?} does not tell of {again:?}");
            }
            let now_there = store.get_many(&[a.clone(), b.clone()]).await.unwrap();
            assert_eq!(now_there, there, "changed by {again:?}");
        }
    }
}

/// Creations in one directory, with one stamp for all of them: each child has the index of its own
/// write, and the directory that of the last one. They apply where the first could apply alone.
pub(crate) async fn writes_that_go_together_keep_their_ids<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let dir = key("/gathered");
    let made = one(ids.next(), op(&dir, vec![Precondition::Absent], DIR));
    apply(store, &made).await;
    let between = ids.next();
    let writes: Vec<WriteId> = (0..5).map(|_| ids.next()).collect();
    let (first, last) = (writes[0], writes[4]);
    let together = |writes: &[WriteId]| {
        let child = |id: &WriteId| {
            let child = dir.child(id.index.in_order_name().as_bytes());
            Op::Node(part_of(*id, op(&child, vec![Precondition::Absent], file("child"))))
        };
        let mut ops: Vec<Op> = writes.iter().map(child).collect();
        let mutation = Mutation::Stamp { last: last.index };
        let stamp = op(&dir, vec![Precondition::LiveDir(NOW)], mutation);
        ops.push(Op::Node(NodeOp { id: writes[0], action: None, ..stamp }));
        Commit { id: last, ops }
    };
    let wanted = together(&writes);
    apply(store, &wanted).await;
    for id in &writes {
        let child = get(second, &dir.child(id.index.in_order_name().as_bytes())).await.unwrap();
        assert_eq!((child.created, child.modified), (id.index, id.index));
        assert_eq!(child.writes.contains(*id), Some(true));
    }
    let stamped = get(second, &dir).await.unwrap();
    assert_eq!((stamped.stamp(), stamped.modified), (Some(last.index), made.id.index));

    if let Committed::Refused { found } = commit(store, &wanted).await {
        for (number, id) in writes.iter().enumerate() {
            let told = found.iter().find(|(part, _)| *part == number).and_then(|(_, i)| i.clone());
            assert_eq!(told.expect("a child").writes.contains(*id), Some(true), "{id:?}");
        }
    }
    // One that would be behind the stamp holds up those that would not.
    let found = refuse(store, &together(&[between, ids.next()])).await;
    assert_eq!(found, [(2, Some(stamped.clone()))]);
    let found = refuse(store, &together(&[first])).await;
    assert_eq!(found.last(), Some(&(1, Some(stamped))));
}

pub(crate) async fn a_commit_that_was_ruled_out_never_applies<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let (a, new, beside) = (key("/out/a"), key("/out/new"), key("/out/beside"));
    apply(store, &one(ids.next(), op(&a, vec![], file("one")))).await;
    for (key, expect, mutation) in [
        (&a, Precondition::Item, Mutation::RuleOut),
        (&new, Precondition::NoItem, Mutation::RuleOutNew { now: NOW }),
    ] {
        let id = ids.next();
        let parts = [key, &beside].map(|key| Op::Node(op(key, vec![], file("late"))));
        let (late, alone) = (several(id, parts.to_vec()), one(id, op(key, vec![], file("late"))));
        let expect = vec![expect, Precondition::NotWritten(id)];
        let rule_out = one(id.ruled_out(), op(key, expect, mutation));
        apply(store, &rule_out).await;
        let left = get(second, key).await;
        for handle in [store, second] {
            refuse(handle, &late).await;
            for again in [&alone, &rule_out] {
                assert_eq!(refuse(handle, again).await, [(0, left.clone())]);
            }
        }
        let item = left.as_ref().expect("it is ruled out by something");
        assert_eq!(item.writes.contains(id.ruled_out()), Some(true));
        assert_eq!(get(second, key).await, left);
        assert_eq!(get(second, &beside).await, None);
        let later = WriteId { gateway: id.gateway, ..ids.next() };
        apply(second, &one(later, op(key, vec![], file("later")))).await;
    }
}

fn ttl(path: &str, ms: i64) -> Record {
    Record::DirTtl { key: key(path), expiration: NOW.plus_ms(ms) }
}

async fn ttls<S: Store>(store: &S) -> Vec<Record> {
    let mut records = store.records(RecordKind::DirTtl).await.unwrap();
    records.sort_by_key(Record::name);
    records
}

pub(crate) async fn records_are_put_added_and_dropped<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let mut records = |op: Op| Commit { id: ids.next(), ops: vec![op] };
    assert_eq!(ttls(store).await, []);
    apply(store, &records(Op::PutRecord(ttl("/a", 1)))).await;
    apply(store, &records(Op::PutRecord(ttl("/a", 2)))).await;
    assert_eq!(ttls(second).await, [ttl("/a", 2)]);

    assert_eq!(refuse(store, &records(Op::AddRecord(ttl("/a", 3)))).await, []);
    apply(store, &records(Op::AddRecord(ttl("/b", 3)))).await;
    assert_eq!(ttls(second).await, [ttl("/a", 2), ttl("/b", 3)]);

    refuse(store, &records(Op::DropSameRecord(ttl("/a", 1)))).await;
    refuse(store, &records(Op::DropSameRecord(ttl("/c", 1)))).await;
    assert_eq!(ttls(second).await, [ttl("/a", 2), ttl("/b", 3)]);
    apply(store, &records(Op::DropSameRecord(ttl("/a", 2)))).await;
    assert_eq!(ttls(second).await, [ttl("/b", 3)]);

    apply(store, &records(Op::DropRecord(ttl("/b", 0).name()))).await;
    apply(store, &records(Op::DropRecord(ttl("/b", 0).name()))).await;
    assert_eq!(ttls(second).await, []);
    apply(store, &records(Op::AddRecord(ttl("/b", 4)))).await;
    assert_eq!(ttls(second).await, [ttl("/b", 4)]);
}

pub(crate) async fn records_and_items_go_together<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let dir = key("/together");
    let make = Mutation::MakeDir { stamped: false, expiration: Some(NOW) };
    let mut wanted = several(
        ids.next(),
        vec![
            Op::Node(op(&dir, vec![Precondition::Absent], make)),
            Op::AddRecord(ttl("/together", 0)),
        ],
    );
    apply(store, &Commit { id: ids.next(), ops: vec![Op::PutRecord(ttl("/together", 9))] }).await;
    wanted = several(ids.next(), wanted.ops);
    assert_eq!(refuse(store, &wanted).await, [], "the item did match");
    assert_eq!(get(second, &dir).await, None);

    wanted.ops[1] = Op::PutRecord(ttl("/together", 0));
    wanted = several(ids.next(), wanted.ops);
    apply(store, &wanted).await;
    assert_eq!(ttls(second).await, [ttl("/together", 0)]);
    let item = get(second, &dir).await;
    assert!(item.is_some());

    wanted.ops[1] = Op::DropRecord(ttl("/together", 0).name());
    wanted = several(ids.next(), wanted.ops);
    assert_eq!(refuse(store, &wanted).await, [(0, item)]);
    assert_eq!(ttls(second).await, [ttl("/together", 0)], "the record went alone");

    let remove = Mutation::Remove { draining: false, now: NOW };
    wanted.ops[0] = Op::Node(op(&dir, vec![Precondition::Dir], remove));
    wanted.ops[1] = Op::DropSameRecord(ttl("/together", 1));
    wanted = several(ids.next(), wanted.ops);
    assert_eq!(refuse(store, &wanted).await, []);
    wanted.ops[1] = Op::DropSameRecord(ttl("/together", 0));
    wanted = several(ids.next(), wanted.ops);
    apply(store, &wanted).await;
    assert_eq!(ttls(second).await, []);
    assert!(get(second, &dir).await.unwrap().removed.is_some());
}

pub(crate) async fn records_are_found_by_kind<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let odd = Key::parse(b"/odd/%2F/\xff/e").unwrap();
    let identity = Record::Identity { schema: 7, cluster_id: u64::MAX, member_id: 1 };
    let dirs = [ttl("/", 5), ttl("/%", 6), Record::DirTtl { key: odd.clone(), expiration: NOW }];
    let drains = [(odd, Action::Expire), (key("/d"), Action::Delete)];
    let drains = drains.map(|(key, action)| Record::Drain { key, index: EtcdIndex(9), action });
    let gateways = [3, 20].map(|gateway| Record::Gateway { gateway, seen: NOW });
    let auth = Record::Auth { change: 3, enabled: true, recent: vec![ids.next(), ids.next()] };
    let hash = PasswordHash("$2b$10$abc".to_owned());
    let users =
        [None, Some(vec![]), Some(vec!["root".to_owned(), "r/é%".to_owned()])].map(|roles| {
            let name = format!("u-{}", roles.as_ref().map_or(0, |roles| 1 + roles.len()));
            Record::User(User { name, password: hash.clone(), roles })
        });
    let permissions = Permissions { read: Some(vec!["/*".to_owned()]), write: None };
    let role = Record::Role(Role { name: "a/b é".to_owned(), permissions });
    let mut all = vec![identity.clone(), auth.clone(), role.clone()];
    all.extend_from_slice(&gateways);
    all.extend_from_slice(&users);
    all.extend(dirs.iter().chain(&drains).cloned());
    for record in &all {
        let commit = Commit { id: ids.next(), ops: vec![Op::AddRecord(record.clone())] };
        apply(store, &commit).await;
    }
    let sorted = |mut records: Vec<Record>| {
        records.sort_by_key(Record::name);
        records
    };
    let swept = dirs.iter().chain(&drains).chain([&auth]).cloned().collect();
    let accounts = users.iter().chain([&role]).cloned().collect();
    for (kind, wanted) in [
        (RecordKind::Identity, vec![identity]),
        (RecordKind::Gateway, gateways.to_vec()),
        (RecordKind::DirTtl, dirs.to_vec()),
        (RecordKind::Drain, drains.to_vec()),
        (RecordKind::Auth, vec![auth.clone()]),
        (RecordKind::Sweep, swept),
        (RecordKind::User, users.to_vec()),
        (RecordKind::Role, vec![role]),
        (RecordKind::Accounts, accounts),
    ] {
        let found = second.records(kind).await.unwrap();
        assert_eq!(sorted(found), sorted(wanted), "{kind:?}");
    }
    let Record::Auth { change, enabled, recent } = auth else { unreachable!("it is one") };
    let other = Record::Auth { change, enabled: !enabled, recent: recent.clone() };
    let same = Record::Auth { change, enabled, recent };
    let mut drop_same = |record| Commit { id: ids.next(), ops: vec![Op::DropSameRecord(record)] };
    assert_eq!(refuse(store, &drop_same(other)).await, []);
    apply(store, &drop_same(same)).await;
    assert_eq!(listed(second, &Key::root(), 1).await, [], "a record shows among the items");
}
