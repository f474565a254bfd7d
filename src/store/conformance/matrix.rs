//! Every precondition and every mutation, over every state an item can be in.

use super::*;
use crate::v2::TOMBSTONE_LIFETIME_MS;

/// Another part of the same commit, so that a store's way for several parts is taken.
#[derive(Clone, Copy, PartialEq)]
enum Company {
    Alone,
    Accompanied,
}

const PAST: Option<UnixMs> = Some(UnixMs(NOW.0 - 1));
const FUTURE: Option<UnixMs> = Some(UnixMs(NOW.0 + 1));

fn expiring_file(expiration: Option<UnixMs>) -> Mutation {
    Mutation::WriteFile { value: Some(Value::from("there")), creates: true, expiration }
}

fn dir(stamped: bool, expiration: Option<UnixMs>) -> Mutation {
    Mutation::MakeDir { stamped, expiration }
}

const REMOVE: Mutation = Mutation::Remove { draining: false, now: NOW };
const DRAIN: Mutation = Mutation::Remove { draining: true, now: NOW };
const RULE_OUT_NEW: Mutation = Mutation::RuleOutNew { now: NOW };
const END_DRAIN: Mutation = Mutation::EndDrain { now: NOW };

/// Each state, by the mutations that lead to it.
fn states() -> Vec<(&'static str, Vec<Mutation>)> {
    vec![
        ("absent", vec![]),
        ("file", vec![expiring_file(None)]),
        ("empty file", vec![file("")]),
        ("live file", vec![expiring_file(FUTURE)]),
        ("expired file", vec![expiring_file(PAST)]),
        ("dir", vec![dir(false, None)]),
        ("stamped dir", vec![dir(true, None)]),
        ("dir stamped later", vec![dir(false, FUTURE), STAMP]),
        (
            "dir with a later ttl",
            vec![dir(false, None), Mutation::SetDirTtl { expiration: FUTURE }],
        ),
        ("expired dir", vec![dir(false, PAST)]),
        ("tombstone of a file", vec![expiring_file(FUTURE), REMOVE]),
        ("tombstone of a dir", vec![dir(true, None), REMOVE]),
        ("draining", vec![dir(true, FUTURE), DRAIN]),
        ("ruled out", vec![RULE_OUT_NEW]),
        ("file, and a write ruled out", vec![expiring_file(None), Mutation::RuleOut]),
        ("drained", vec![dir(false, None), DRAIN, END_DRAIN]),
    ]
}

/// The commits that lead a key to a state, and the item as its definition says it is then.
fn way(ids: &mut Ids, key: &Key, steps: &[Mutation]) -> (Vec<Commit>, Option<Item>) {
    let mut item: Option<Item> = None;
    let mut step = |mutation: &Mutation| {
        let id = ids.next();
        let op = part_of(id, op(key, vec![as_it_is(item.as_ref())], mutation.clone()));
        item = op.apply(item.as_ref());
        one(id, op)
    };
    (steps.iter().map(&mut step).collect(), item)
}

/// An item in this state, to count cases by.
fn sample(steps: &[Mutation]) -> Option<Item> {
    way(&mut Ids::new(), &Key::root(), steps).1
}

/// Brings a key into a state.
async fn bring<S: Store>(store: &S, ids: &mut Ids, key: &Key, steps: &[Mutation]) -> Option<Item> {
    let (commits, item) = way(ids, key, steps);
    for commit in &commits {
        apply(store, commit).await;
    }
    item
}

/// A commit of this part, alone or after another one that applies.
fn with_company(id: WriteId, op: NodeOp, company: Company) -> (Commit, usize) {
    match company {
        Company::Alone => (one(id, op), 0),
        Company::Accompanied => {
            let beside = op.key.child(b"company");
            let other = super::op(&beside, vec![Precondition::Absent], file("company"));
            (several(id, vec![Op::Node(other), Op::Node(op)]), 1)
        }
    }
}

/// Every precondition, as it holds of the item and as it does not.
fn preconditions(item: Option<&Item>) -> Vec<Precondition> {
    let mut all = vec![
        Precondition::Absent,
        Precondition::LiveFile(NOW),
        Precondition::LiveDir(NOW),
        Precondition::File,
        Precondition::Dir,
        Precondition::Value(Value::from("there")),
        Precondition::Value(Value::from("ther")),
        Precondition::Value(Value::from("")),
        Precondition::Modified(EtcdIndex(1)),
        Precondition::Expiration(UnixMs(NOW.0 - 1)),
        Precondition::Expiration(UnixMs(NOW.0 + 1)),
        Precondition::Stamp(None),
        Precondition::Stamp(Some(EtcdIndex(1))),
        Precondition::Draining(EtcdIndex(1)),
        Precondition::Item,
        Precondition::NoItem,
        Precondition::NotWritten(WriteId { index: EtcdIndex(1), gateway: 1 }),
    ];
    if let Some(item) = item {
        all.push(Precondition::Modified(item.modified));
        all.push(Precondition::Draining(item.modified));
        all.push(Precondition::Stamp(Some(item.highest_index())));
        all.extend(item.writes.ids().iter().copied().map(Precondition::NotWritten));
    }
    all
}

/// A mutation that goes with every state of this kind.
fn harmless(item: Option<&Item>) -> Mutation {
    match kind(item) {
        Kind::Dir => STAMP,
        Kind::Draining => END_DRAIN,
        Kind::File | Kind::Nothing => file("after"),
    }
}

/// An item of each state, under a key of its own for each case.
fn case_key(state: usize, case: usize) -> Key {
    key(&format!("/matrix/{state}/{case}"))
}

async fn check_preconditions<S: Store>(store: &S, company: Company) {
    let mut ids = Ids::new();
    for (state, (name, steps)) in states().iter().enumerate() {
        for case in 0..preconditions(sample(steps).as_ref()).len() {
            let key = case_key(state, case);
            let item = bring(store, &mut ids, &key, steps).await;
            let known = item.as_ref();
            // It may name an index of this very item.
            let precondition = preconditions(known).swap_remove(case);
            let told = format!("{precondition:?} of {name}");
            let holds = precondition.holds(known);
            let op = op(&key, vec![as_it_is(known), precondition], harmless(known));
            let id = ids.next();
            let op = part_of(id, op);
            let after = op.apply(known);
            let (wanted, number) = with_company(id, op, company);
            if holds {
                apply(store, &wanted).await;
                assert_eq!(get(store, &key).await.as_deref(), after.as_ref(), "{told}");
            } else {
                let found = refuse(store, &wanted).await;
                assert_eq!(found, [(number, item.clone().map(Arc::new))], "{told}");
                assert_eq!(get(store, &key).await.as_deref(), known, "{told}");
                assert_eq!(get(store, &key.child(b"company")).await, None, "{told}");
            }
        }
    }
}

pub(crate) async fn every_precondition_holds_as_its_definition_says<S: Store>(store: &S, _: &S) {
    check_preconditions(store, Company::Alone).await;
}

pub(crate) async fn every_precondition_holds_alike_in_company<S: Store>(store: &S, _: &S) {
    check_preconditions(store, Company::Accompanied).await;
}

/// Every mutation that goes with a state of this kind.
fn mutations(item: Option<&Item>) -> Vec<Mutation> {
    let write = |value: Option<&str>, creates, expiration| Mutation::WriteFile {
        value: value.map(Value::from),
        creates,
        expiration,
    };
    let creations = [
        write(Some("new"), true, None),
        write(Some(""), true, FUTURE),
        dir(false, None),
        dir(true, None),
        dir(false, FUTURE),
        dir(true, FUTURE),
    ];
    let rule_out = if item.is_some() { Mutation::RuleOut } else { RULE_OUT_NEW };
    let mut fitting = match kind(item) {
        Kind::Draining => vec![END_DRAIN],
        Kind::Dir => vec![
            Mutation::SetDirTtl { expiration: None },
            Mutation::SetDirTtl { expiration: Some(NOW.plus_ms(77)) },
            STAMP,
            REMOVE,
            DRAIN,
        ],
        Kind::File => {
            let rewrites = [
                write(Some("new"), false, None),
                write(Some("new"), false, Some(NOW.plus_ms(77))),
                write(None, false, None),
                write(None, false, Some(NOW.plus_ms(TOMBSTONE_LIFETIME_MS))),
                REMOVE,
            ];
            creations.into_iter().chain(rewrites).collect()
        }
        Kind::Nothing => creations.to_vec(),
    };
    fitting.push(rule_out);
    fitting
}

async fn check_mutations<S: Store>(store: &S, company: Company) {
    let mut ids = Ids::new();
    for (state, (name, steps)) in states().iter().enumerate() {
        let sample = sample(steps);
        let actions = [Some(Action::Expire), None];
        let both = |mutation: Mutation| actions.map(|action| (mutation.clone(), action));
        let cases = mutations(sample.as_ref()).into_iter().flat_map(both);
        let mut wanted_level = Vec::new();
        for (case, (mutation, action)) in cases.enumerate() {
            let key = case_key(state, case);
            let before = bring(store, &mut ids, &key, steps).await;
            let known = before.as_ref();
            let told = format!("{mutation:?} over {name}");
            let id = ids.next();
            let op = part_of(id, op(&key, vec![as_it_is(known)], mutation));
            let op = NodeOp { action, ..op };
            let after = op.apply(known);
            let (wanted, _) = with_company(id, op, company);
            let told_before = apply(store, &wanted).await;
            if let (Some(told_before), Company::Alone) = (told_before, company) {
                assert_eq!(told_before.as_deref(), known, "before {told}");
            }
            assert_eq!(get(store, &key).await.as_deref(), after.as_ref(), "{told}");
            wanted_level.push((told, key, after));
        }
        let (level, _) = list(store, &case_key(state, 0).parent().unwrap(), 3).await;
        for (told, key, after) in wanted_level {
            let in_list = level.iter().find(|item| item.key == key);
            assert_eq!(in_list.map(Arc::as_ref), after.as_ref(), "{told}, in the listing");
        }
    }
}

pub(crate) async fn every_mutation_gives_what_its_definition_says<S: Store>(store: &S, _: &S) {
    check_mutations(store, Company::Alone).await;
}

pub(crate) async fn every_mutation_gives_the_same_in_company<S: Store>(store: &S, _: &S) {
    check_mutations(store, Company::Accompanied).await;
}

pub(crate) async fn a_commit_needs_a_higher_index_than_every_item_it_changes<S: Store>(
    store: &S,
    _: &S,
) {
    let mut ids = Ids::new();
    for (state, (name, steps)) in states().iter().enumerate() {
        let key = case_key(state, 0);
        let item = bring(store, &mut ids, &key, steps).await;
        let Some(item) = item.filter(Item::tells_of_a_node) else { continue };
        let item = Arc::new(item);
        let mutation = harmless(Some(&item));
        let op = op(&key, vec![as_it_is(Some(&item))], mutation.clone());
        let highest = item.highest_index();
        let at = |index| WriteId { index: EtcdIndex(index), gateway: 1 };
        if mutation == END_DRAIN {
            apply(store, &one(at(highest.0 - 1), op)).await;
            assert!(!get(store, &key).await.unwrap().is_draining(), "it has no index");
            continue;
        }
        for company in [Company::Alone, Company::Accompanied] {
            for index in [highest.0, highest.0 - 1, item.created.0 - 5] {
                let (wanted, number) = with_company(at(index), op.clone(), company);
                let found = refuse(store, &wanted).await;
                assert_eq!(found, [(number, Some(item.clone()))], "{index} over {name}");
            }
        }
        apply(store, &one(at(highest.0 + 1), op)).await;
    }
}
