//! Random commits against the store and against a model that is two maps.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::v2::{Record, RecordKind, WRITER_SLOTS};

const COMMITS: usize = 400;

/// Set to the seed that a failure printed, to see it again.
const SEED_VARIABLE: &str = "ETCDYNAMO_TEST_SEED";

/// Prints the seed where the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see this again: {SEED_VARIABLE}={}", self.0);
        }
    }
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    items: BTreeMap<Key, Item>,
    records: BTreeMap<String, Record>,
}

/// What a commit comes to.
enum Outcome {
    Applied,
    /// The numbers of the items that do not match, and whether a record does not.
    Refused(Vec<usize>, bool),
}

impl Model {
    fn commit(&mut self, commit: &Commit) -> Outcome {
        let (mut unmatched, mut record_unmatched) = (Vec::new(), false);
        for (number, op) in commit.ops.iter().enumerate() {
            match op {
                Op::Node(op) if op.applies(self.items.get(&op.key)) => {}
                Op::Node(_) => unmatched.push(number),
                Op::PutRecord(_) | Op::DropRecord(_) => {}
                Op::AddRecord(record) => {
                    record_unmatched |= self.records.contains_key(&record.name());
                }
                Op::DropSameRecord(record) => {
                    record_unmatched |= self.records.get(&record.name()) != Some(record);
                }
            }
        }
        if record_unmatched || !unmatched.is_empty() {
            return Outcome::Refused(unmatched, record_unmatched);
        }
        for op in &commit.ops {
            self.carry_out(op);
        }
        Outcome::Applied
    }

    fn carry_out(&mut self, op: &Op) {
        match op {
            Op::Node(op) => {
                let after = op.apply(self.items.get(&op.key));
                self.items.insert(op.key.clone(), after.expect("its preconditions hold"));
            }
            Op::PutRecord(record) | Op::AddRecord(record) => {
                self.records.insert(record.name(), record.clone());
            }
            Op::DropRecord(name) => drop(self.records.remove(name)),
            Op::DropSameRecord(record) => drop(self.records.remove(&record.name())),
        }
    }
}

fn some_time(rng: &mut Rng) -> UnixMs {
    NOW.plus_ms(rng.i64(-2..3))
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}

/// A mutation, with the precondition that always comes with it.
fn some_mutation(rng: &mut Rng, item: Option<&Item>) -> (Precondition, Mutation) {
    let value = |rng: &mut Rng| Value::from(["", "x", "y"][rng.usize(..3)]);
    let expiration = maybe(rng, some_time);
    match rng.u8(..12) {
        0..=2 => {
            let expect = [Precondition::Absent, Precondition::File][rng.usize(..2)].clone();
            let creates = expect == Precondition::Absent || rng.bool();
            (expect, Mutation::WriteFile { value: Some(value(rng)), creates, expiration })
        }
        3 => {
            let expect = [Precondition::File, Precondition::LiveFile(NOW)][rng.usize(..2)].clone();
            (expect, Mutation::WriteFile { value: None, creates: false, expiration })
        }
        4 => {
            let expect = [Precondition::Absent, Precondition::File][rng.usize(..2)].clone();
            (expect, Mutation::MakeDir { stamped: rng.bool(), expiration })
        }
        5 => (Precondition::Dir, Mutation::SetDirTtl { expiration }),
        6 => (Precondition::LiveDir(NOW), STAMP),
        7 => (Precondition::File, Mutation::Remove { draining: false, now: some_time(rng) }),
        8 => (Precondition::Dir, Mutation::Remove { draining: rng.bool(), now: some_time(rng) }),
        9 => (Precondition::Item, Mutation::RuleOut),
        10 => (Precondition::NoItem, Mutation::RuleOutNew { now: some_time(rng) }),
        _ => (draining(item), Mutation::EndDrain { now: some_time(rng) }),
    }
}

/// A precondition that holds of the item more often than not.
fn some_precondition(rng: &mut Rng, item: Option<&Item>) -> Precondition {
    let index = item.map_or(EtcdIndex(5), |item| item.modified);
    match rng.u8(..6) {
        0 => Precondition::Value(Value::from(["", "x", "y"][rng.usize(..3)])),
        1 => Precondition::Modified(index),
        2 => Precondition::Expiration(some_time(rng)),
        3 => Precondition::Stamp(item.and_then(Item::stamp)),
        4 => Precondition::LiveFile(some_time(rng)),
        _ => as_it_is(item),
    }
}

fn some_node_op(rng: &mut Rng, model: &Model, key: &Key) -> NodeOp {
    let item = model.items.get(key);
    let mut tries = (0..20).map(|_| some_mutation(rng, item));
    // Mostly one that goes with the item as it is.
    let fitting = tries.by_ref().find(|(expect, _)| expect.holds(item));
    drop(tries);
    let (expect, mutation) = match fitting {
        Some(fitting) if rng.u8(..10) > 0 => fitting,
        Some(_) | None => some_mutation(rng, item),
    };
    let mut expect = vec![expect];
    if rng.u8(..3) == 0 {
        expect.push(some_precondition(rng, item));
    }
    let action = maybe(rng, |rng| Action::ALL[rng.usize(1..8)]);
    NodeOp { action, ..op(key, expect, mutation) }
}

fn some_record_op(rng: &mut Rng, model: &Model, key: &Key) -> Op {
    let record = match rng.bool() {
        true => Record::DirTtl { key: key.clone(), expiration: some_time(rng) },
        false => Record::Drain {
            key: key.clone(),
            index: EtcdIndex(rng.u64(..3)),
            action: Action::Delete,
        },
    };
    let there = model.records.get(&record.name()).cloned();
    match rng.u8(..4) {
        0 => Op::PutRecord(record),
        1 => Op::AddRecord(record),
        2 => Op::DropRecord(record.name()),
        _ => Op::DropSameRecord(there.unwrap_or(record)),
    }
}

fn some_commit(rng: &mut Rng, model: &Model, keys: &[Key], ids: &mut Ids) -> Commit {
    let parts = [1, 1, 1, 2, 3][rng.usize(..5)];
    let mut keys = keys.to_vec();
    rng.shuffle(&mut keys);
    let mut ops = Vec::new();
    for key in &keys[..parts] {
        match rng.u8(..8) {
            0 => ops.push(some_record_op(rng, model, key)),
            _ => ops.push(Op::Node(some_node_op(rng, model, key))),
        }
    }
    let mut id = ids.next();
    if rng.u8(..12) == 0 {
        id.index = EtcdIndex(id.index.0 - rng.u64(..60));
    }
    // Some share a slot, and some do not.
    id.gateway = [0, 3, 3 + WRITER_SLOTS, 15, u32::MAX][rng.usize(..5)];
    let mut commit = several(id, ops);
    if rng.u8(..4) == 0 {
        // The first part is another write, which goes with this one.
        if let Some(Op::Node(op)) = commit.ops.first_mut() {
            op.id.index = EtcdIndex(id.index.0 - rng.u64(..10));
        }
    }
    commit
}

fn check(model: &Outcome, store: &Committed, before: &Model, commit: &Commit) {
    match (model, store) {
        (Outcome::Applied, Committed::Applied { before: told }) => {
            if let ([Op::Node(op)], Some(told)) = (&commit.ops[..], told) {
                assert_eq!(told.as_deref(), before.items.get(&op.key), "before {commit:?}");
            }
        }
        (Outcome::Refused(unmatched, record_unmatched), Committed::Refused { found }) => {
            assert!(!found.is_empty() || *record_unmatched, "nothing told: {commit:?}");
            for (number, item) in found {
                assert!(unmatched.contains(number), "part {number} matches: {commit:?}");
                let Op::Node(op) = &commit.ops[*number] else {
                    panic!("part {number}: {commit:?}")
                };
                assert_eq!(item.as_deref(), before.items.get(&op.key), "found by {commit:?}");
            }
        }
        (Outcome::Applied, Committed::Refused { found }) => {
            panic!("should apply, but found {found:?}: {commit:?}")
        }
        (Outcome::Refused(unmatched, _), Committed::Applied { .. }) => {
            panic!("should be refused for {unmatched:?} or a record: {commit:?}")
        }
    }
}

pub(crate) async fn random_commits_do_what_the_model_does<S: Store>(store: &S, second: &S) {
    let given = std::env::var(SEED_VARIABLE).ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    let seed = Seed(seed);
    let mut rng = Rng::with_seed(seed.0);
    let keys = ["/r", "/r/a", "/r/b", "/r/a/x", "/r/%", "/s/a/y"].map(key);
    let mut ids = Ids::new();
    let mut model = Model::default();
    for _ in 0..COMMITS {
        let wanted = some_commit(&mut rng, &model, &keys, &mut ids);
        let before = Model { items: model.items.clone(), records: model.records.clone() };
        let outcome = model.commit(&wanted);
        let handle = if rng.bool() { store } else { second };
        check(&outcome, &commit(handle, &wanted).await, &before, &wanted);
        let handle = if rng.bool() { store } else { second };
        for op in &wanted.ops {
            if let Op::Node(op) = op {
                let item = get(handle, &op.key).await;
                assert_eq!(item.as_deref(), model.items.get(&op.key), "after {wanted:?}");
            }
        }
    }
    check_all(store, &model).await;
}

async fn check_all<S: Store>(store: &S, model: &Model) {
    for (below, depth) in [("/", 1), ("/r", 2), ("/r", 3), ("/r/a", 3), ("/s", 3)] {
        let below = key(below);
        let (mut items, _) = list(store, &below, depth).await;
        items.sort_by(|a, b| a.key.cmp(&b.key));
        let wanted = model.items.values();
        let wanted = wanted.filter(|item| item.key.depth() == depth && item.key.is_below(&below));
        assert!(items.iter().map(Arc::as_ref).eq(wanted), "below {below} at {depth}: {items:?}");
    }
    let mut records = store.records(RecordKind::Sweep).await.unwrap();
    records.sort_by_key(Record::name);
    assert!(records.iter().eq(model.records.values()), "{records:?}");
}
