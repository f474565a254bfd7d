//! The rules, tried on a store that is a map: tables whose names are the spec, and properties.

mod lost;
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::v2::change::NodeOp;
use crate::v2::index::EtcdIndex;
use crate::v2::item::{Removed, Value, Writes};
use crate::v2::request::{Compare, Draft, Removal};

const START: UnixMs = UnixMs(1_790_000_000_000);
const CAPACITY: Capacity = Capacity { ops: 100, bytes: 1 << 22 };

/// A store that is a map, carrying out plans as the service does.
#[derive(Clone)]
struct Model {
    items: BTreeMap<Key, Item>,
    index: u64,
    now: UnixMs,
    capacity: Capacity,
}

impl Model {
    fn new() -> Model {
        let mut model = Model { items: BTreeMap::new(), index: 1, now: START, capacity: CAPACITY };
        let root = NodeOp {
            key: Key::root(),
            id: id(1),
            expect: vec![],
            mutation: crate::v2::Mutation::MakeDir { stamped: false, expiration: None },
            action: None,
        };
        assert!(model.commit(&Commit { id: id(1), ops: vec![Op::Node(root)] }).is_empty());
        model
    }

    /// Applies a commit, or gives the keys of the parts that do not match.
    fn commit(&mut self, commit: &Commit) -> Vec<Key> {
        let nodes = || {
            commit.ops.iter().filter_map(|op| match op {
                Op::Node(op) => Some(op),
                Op::PutRecord(_) | Op::AddRecord(_) | Op::DropRecord(_) | Op::DropSameRecord(_) => {
                    None
                }
            })
        };
        let refused: Vec<Key> = nodes()
            .filter(|op| !op.applies(self.items.get(&op.key)))
            .map(|op| op.key.clone())
            .collect();
        if refused.is_empty() {
            for op in nodes() {
                let after = op.apply(self.items.get(&op.key));
                self.items.insert(op.key.clone(), after.expect("the preconditions held"));
            }
        }
        refused
    }

    fn item(&self, key: &Key) -> Option<Arc<Item>> {
        self.items.get(key).cloned().map(Arc::new)
    }

    fn below(&self, top: &Key, recursive: bool) -> Vec<Arc<Item>> {
        let within = |item: &&Item| {
            item.removed.is_none()
                && item.key.is_below(top)
                && (recursive || item.key.depth() == top.depth() + 1)
        };
        self.items.values().filter(within).cloned().map(Arc::new).collect()
    }

    fn write(&mut self, key: &str, operation: Operation) -> Result<Option<Event>, Error> {
        self.run(&Write { key: k(key), operation })
    }

    fn run(&mut self, write: &Write) -> Result<Option<Event>, Error> {
        let mut known = Known::default();
        for _ in 0..100 {
            self.index += 1;
            let moment = Moment { now: self.now, id: id(self.index), capacity: self.capacity };
            match plan(write, &known, moment)? {
                Step::Moot => return Ok(None),
                Step::Detour(detour) => self.detour(detour, &mut known)?,
                Step::Commit(plan) => {
                    let before = plan.key().and_then(|key| self.item(key));
                    let refused = self.commit(&plan.commit);
                    if refused.is_empty() {
                        return Ok(self.conclude(&plan, before));
                    }
                    for key in refused {
                        let item = self.item(&key);
                        known.see(key, item);
                    }
                }
            }
        }
        panic!("no end in sight for {write:?}");
    }

    fn detour(&mut self, detour: Detour, known: &mut Known) -> Result<(), Error> {
        match detour {
            Detour::Look(keys) => {
                keys.into_iter().for_each(|key| known.see(key.clone(), self.item(&key)));
            }
            Detour::List { key, recursive, .. } => known.see_listing(self.below(&key, recursive)),
            Detour::Expire(key, seen) => {
                self.run(&Write { key: key.clone(), operation: Operation::Expire(seen) })?;
                known.see(key.clone(), self.item(&key));
            }
            Detour::AwaitDrain(key) => panic!("{key} is still draining"),
        }
        Ok(())
    }

    fn conclude(&mut self, plan: &Plan, before: Option<Arc<Item>>) -> Option<Event> {
        let single = plan.commit.ops.len() == 1;
        let aftermath = Aftermath::Before(before.filter(|_| single));
        let event = plan.event(&aftermath, self.now).expect("an applied plan has an event");
        if plan.drains {
            let gone = Removed { draining: false, before: EtcdIndex(0), purge_at: self.now };
            let top = event.node.key.clone();
            for item in self.items.values_mut().filter(|i| i.key == top || i.key.is_below(&top)) {
                item.removed = Some(gone);
            }
        }
        Some(event)
    }

    fn live(&self) -> impl Iterator<Item = &Item> {
        self.items.values().filter(|item| item.is_live(self.now))
    }
}

fn id(index: u64) -> WriteId {
    WriteId { index: EtcdIndex(index), gateway: 0 }
}

fn k(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a clean path")
}

fn file(value: &str) -> Draft {
    Draft { value: Value::from(value), ..Draft::default() }
}

fn dir() -> Draft {
    Draft { dir: true, ..Draft::default() }
}

fn until(draft: Draft, seconds: i64) -> Draft {
    Draft { expiration: Some(START.plus_ms(seconds * 1000)), ..draft }
}

fn refresh(seconds: i64) -> Draft {
    Draft { refresh: true, ..until(file(""), seconds) }
}

fn if_value(value: &str) -> Compare {
    Compare { prev_value: Some(Value::from(value)), prev_index: None }
}

const PLAIN: Removal = Removal { dir: false, recursive: false };
const EMPTY_DIR: Removal = Removal { dir: true, recursive: false };
const TREE: Removal = Removal { dir: false, recursive: true };

/// A file `/f`, a directory `/d` with a file, a hidden file and a directory in it, an empty
/// directory `/e`.
fn tree() -> Model {
    let mut model = Model::new();
    for (key, draft) in [
        ("/f", file("v")),
        ("/d/x", file("1")),
        ("/d/_h", file("2")),
        ("/d/s/y", file("3")),
        ("/e", dir()),
    ] {
        model.write(key, Operation::Set(draft)).expect("the tree grows");
    }
    model
}

fn refused(operation: Operation, key: &str) -> (u16, String) {
    let mut model = tree();
    let before = model.items.clone();
    let error = model.write(key, operation).expect_err("a refusal");
    assert_eq!(model.items, before, "a refusal changes nothing");
    (error.code.number(), String::from_utf8(error.cause).expect("text"))
}

#[test]
fn refusals_have_etcds_code_and_cause() {
    let cas = |value: &str| Operation::CompareAndSwap(file("new"), if_value(value));
    let table = [
        (Operation::Set(file("v")), "/", 107, "/"),
        (Operation::Set(file("v")), "/d", 102, "/d"),
        (Operation::Set(dir()), "/d", 102, "/d"),
        (Operation::Set(file("v")), "/f/a/b", 104, "/f"),
        (Operation::Set(refresh(9)), "/nope/a", 100, "/nope"),
        (Operation::Set(refresh(9)), "/d", 102, "/d"),
        (Operation::Set(refresh(9)), "/f/a", 104, "/f"),
        (Operation::Create(file("v")), "/", 107, "/"),
        (Operation::Create(file("v")), "/f", 105, "/f"),
        (Operation::Create(dir()), "/d", 105, "/d"),
        (Operation::Create(file("v")), "/f/a", 104, "/f"),
        (Operation::CreateInOrder(file("v")), "/f", 104, "/f"),
        (Operation::CreateInOrder(file("v")), "/f/a", 104, "/f"),
        (Operation::Update(file("v")), "/", 107, "/"),
        (Operation::Update(file("v")), "/nope/a/b", 100, "/nope"),
        (Operation::Update(file("v")), "/d/nope", 100, "/d/nope"),
        (Operation::Update(file("v")), "/f/a", 104, "/f"),
        (Operation::Update(file("v")), "/d", 102, "/d"),
        (cas("v"), "/", 107, "/"),
        (cas("v"), "/d", 102, "/d"),
        (cas("v"), "/nope", 100, "/nope"),
        (cas("v"), "/f/a", 104, "/f"),
        (cas("x"), "/f", 101, "[x != v]"),
        (Operation::Delete(TREE), "/", 107, "/"),
        (Operation::Delete(PLAIN), "/nope", 100, "/nope"),
        (Operation::Delete(TREE), "/f/a", 104, "/f"),
        (Operation::Delete(PLAIN), "/d", 102, "/d"),
        (Operation::Delete(EMPTY_DIR), "/d", 108, "/d"),
        (Operation::CompareAndDelete(if_value("x")), "/", 102, ""),
        (Operation::CompareAndDelete(if_value("x")), "/d", 102, "/d"),
        (Operation::CompareAndDelete(if_value("x")), "/f", 101, "[x != v]"),
        (Operation::CompareAndDelete(if_value("x")), "/nope/a", 100, "/nope"),
    ];
    for (operation, key, code, cause) in table {
        let shown = format!("{operation:?} on {key}");
        assert_eq!(refused(operation, key), (code, cause.to_owned()), "{shown}");
    }
}

#[test]
fn a_failed_comparison_names_what_differs() {
    let wrong = |prev_value: Option<&str>, prev_index: Option<u64>| {
        let prev_value = prev_value.map(Value::from);
        Compare { prev_value, prev_index: prev_index.map(EtcdIndex) }
    };
    let mut model = tree();
    let index = model.items[&k("/f")].modified;
    for (compare, cause) in [
        (wrong(Some("x"), Some(7)), format!("[x != v] [7 != {index}]")),
        (wrong(Some("v"), Some(7)), format!("[7 != {index}]")),
        (wrong(Some("x"), Some(index.0)), "[x != v]".to_owned()),
    ] {
        let error = model
            .write("/f", Operation::CompareAndSwap(file("n"), compare))
            .expect_err("a failed comparison");
        assert_eq!(String::from_utf8_lossy(&error.cause), cause);
    }
    let both = wrong(Some("v"), Some(index.0));
    let event = model.write("/f", Operation::CompareAndSwap(file("n"), both));
    let event = event.expect("it holds").expect("an event");
    assert_eq!(event.action, Action::CompareAndSwap);
    assert!(event.node.created < event.node.modified);
}

#[test]
fn set_replaces_and_resets_and_update_keeps_the_created_index() {
    let mut model = tree();
    let created = model.items[&k("/f")].created;
    let set = model.write("/f", Operation::Set(until(file("b"), 9))).expect("ok").expect("event");
    assert_eq!((set.action, set.is_created), (Action::Set, false));
    assert_eq!(set.node.created, set.node.modified);
    assert_eq!(set.prev_node.as_ref().map(|prev| prev.created), Some(created));
    assert_eq!((set.node.ttl, set.prev_node.map(|prev| prev.ttl)), (9, Some(0)));
    let update =
        model.write("/f", Operation::Update(Draft::default())).expect("ok").expect("event");
    assert_eq!(update.node.created, set.node.created);
    assert_eq!(update.node.value, Some(Value::default()), "an update without a value empties");
    assert_eq!(update.node.expiration, None, "and drops the TTL");
    let new = model.write("/n", Operation::Set(file("1"))).expect("ok").expect("event");
    assert_eq!((new.is_created, new.prev_node), (true, None));
}

#[test]
fn a_refresh_keeps_the_value_and_tells_nobody() {
    for operation in [Operation::Set(refresh(9)), Operation::Update(refresh(9))] {
        let mut model = tree();
        let event = model.write("/f", operation).expect("ok").expect("event");
        assert!(event.is_refresh);
        assert_eq!(event.node.value, Some(Value::from("v")));
        assert_eq!(event.node.ttl, 9);
        assert_eq!(model.items[&k("/f")].action, None);
    }
}

#[test]
fn a_set_with_dir_turns_a_file_into_an_empty_directory() {
    let mut model = tree();
    let event = model.write("/f", Operation::Set(until(dir(), 9))).expect("ok").expect("event");
    assert!(event.node.dir && event.node.value.is_none());
    assert_eq!(event.prev_node.and_then(|prev| prev.value), Some(Value::from("v")));
    assert_eq!(event.node.ttl, 9);
    model.write("/f/a", Operation::Create(file("1"))).expect("it is a directory now");
}

#[test]
fn the_update_of_a_directory_shows_an_index_that_it_does_not_keep() {
    let mut model = tree();
    let kept = model.items[&k("/d")].modified;
    let event = model.write("/d", Operation::Update(until(dir(), 9))).expect("ok").expect("event");
    assert!(event.node.modified > kept);
    assert_eq!(model.items[&k("/d")].modified, kept);
    assert_eq!(event.node.ttl, 9);
    let event = model.write("/d", Operation::Update(dir())).expect("ok").expect("event");
    assert_eq!((event.node.expiration, event.prev_node.map(|prev| prev.ttl)), (None, Some(9)));
}

#[test]
fn in_order_keys_are_named_by_their_index_and_sort_in_order() {
    let mut model = tree();
    let mut names = Vec::new();
    for path in ["/q", "/q", "/", "/q"] {
        let event =
            model.write(path, Operation::CreateInOrder(file("v"))).expect("ok").expect("event");
        assert_eq!(event.action, Action::Create);
        assert_eq!(event.node.created, event.node.modified);
        assert_eq!(event.node.key.name(), event.node.created.in_order_name().as_bytes());
        names.push(event.node.key.name().to_vec());
    }
    assert!(names.is_sorted());
}

#[test]
fn an_in_order_key_sorts_after_those_of_a_gateway_whose_clock_is_ahead() {
    let mut model = tree();
    model.index = 5_000;
    let ahead = model.write("/q", Operation::CreateInOrder(file("v"))).expect("ok").expect("event");
    model.index = 4_980;
    let behind =
        model.write("/q", Operation::CreateInOrder(file("v"))).expect("ok").expect("event");
    assert!(behind.node.key > ahead.node.key);
}

#[test]
fn deletes_take_one_index_and_show_what_was() {
    let mut model = tree();
    let event = model.write("/d", Operation::Delete(TREE)).expect("ok").expect("event");
    assert_eq!(event.action, Action::Delete);
    assert!(event.node.dir && event.node.value.is_none() && event.node.nodes.is_empty());
    assert!(event.prev_node.is_some_and(|prev| prev.dir && prev.created == event.node.created));
    assert!(!model.live().any(|item| item.key.is_below(&k("/d")) || item.key == k("/d")));
    model.write("/e", Operation::Delete(EMPTY_DIR)).expect("an empty directory goes");
    let file = model.write("/f", Operation::Delete(TREE)).expect("ok").expect("event");
    assert_eq!(file.prev_node.and_then(|prev| prev.value), Some(Value::from("v")));
}

#[test]
fn a_subtree_beyond_one_commit_is_drained() {
    let mut model = tree();
    model.capacity = Capacity { ops: 4, bytes: 1 << 20 };
    let moment = |model: &Model| Moment {
        now: model.now,
        id: id(model.index + 100),
        capacity: model.capacity,
    };
    let mut known = Known::default();
    known.see(k("/d"), model.item(&k("/d")));
    known.see_listing(model.below(&k("/d"), true));
    let write = Write { key: k("/d"), operation: Operation::Delete(TREE) };
    let step = plan(&write, &known, moment(&model)).expect("a plan");
    assert!(matches!(step, Step::Commit(Plan { drains: true, .. })), "{step:?}");
    let event = model.run(&write).expect("ok").expect("event");
    assert_eq!(event.action, Action::Delete);
    assert!(!model.live().any(|item| item.key.is_below(&k("/d"))));
}

/// An answer shows the node that was planned for, so a commit must not apply to another one: such as a
/// directory that was removed and made anew meanwhile, as empty as the one before.
#[test]
fn what_an_answer_shows_is_what_the_commit_changes() {
    let mut model = tree();
    model.write("/t", Operation::Set(until(dir(), 5))).expect("ok");
    for (key, operation) in [
        ("/e", Operation::Delete(EMPTY_DIR)),
        ("/e", Operation::Delete(TREE)),
        ("/e", Operation::Update(until(dir(), 5))),
        ("/t", Operation::Expire(seen(&model.items[&k("/t")]))),
        ("/d", Operation::Delete(TREE)),
        ("/f", Operation::Set(dir())),
    ] {
        model.now = START.plus_ms(if key == "/t" { 5000 } else { 0 });
        let seen = model.item(&k(key)).expect("there");
        let mut known = Known::default();
        known.see(k(key), Some(Arc::clone(&seen)));
        known.see_listing(model.below(&k(key), true));
        let moment = Moment { now: model.now, id: id(model.index + 100), capacity: CAPACITY };
        let write = Write { key: k(key), operation };
        let Ok(Step::Commit(planned)) = plan(&write, &known, moment) else { panic!("{write:?}") };
        let part = planned.commit.ops.first().and_then(Op::node).expect("the node's own");
        assert!(matches!(planned.prior, Prior::Known(_)), "{write:?}");
        assert!(part.applies(Some(&seen)), "{write:?}");
        let modified = EtcdIndex(seen.modified.0 + 1);
        let anew = Item { created: modified, modified, ..(*seen).clone() };
        assert!(!part.applies(Some(&anew)), "{write:?}");
    }
}

#[test]
fn nothing_is_created_at_or_below_a_draining_tombstone() {
    let mut known = Known::default();
    let mut model = tree();
    model.index += 1;
    let now = model.now;
    let top = model.items.get_mut(&k("/d")).expect("there");
    top.removed = Some(Removed { draining: true, before: EtcdIndex(0), purge_at: now });
    known.see(k("/d"), model.item(&k("/d")));
    known.see(k("/d/new"), None);
    let moment = Moment { now: model.now, id: id(model.index), capacity: CAPACITY };
    for (key, operation) in [
        ("/d", Operation::Set(file("v"))),
        ("/d", Operation::Create(dir())),
        ("/d/new/a", Operation::Create(file("v"))),
        ("/d/new", Operation::Set(file("v"))),
    ] {
        known.see(k(key), model.item(&k(key)));
        let step = plan(&Write { key: k(key), operation }, &known, moment);
        assert_eq!(step, Ok(Step::Detour(Detour::AwaitDrain(k("/d")))), "{key}");
    }
}

#[test]
fn an_expired_node_counts_as_absent_and_is_expired_by_who_acts_on_it() {
    let mut model = tree();
    model.write("/t", Operation::Set(until(file("v"), 5))).expect("ok");
    model.write("/td/a", Operation::Set(file("v"))).expect("ok");
    model.write("/td", Operation::Update(until(dir(), 5))).expect("ok");
    model.write("/e/t", Operation::Set(until(file("v"), 5))).expect("ok");
    model.now = START.plus_ms(5000);
    let gone = |result: Result<Option<Event>, Error>| result.expect_err("gone").code.number();
    assert_eq!(gone(model.write("/t", Operation::Update(file("w")))), 100);
    assert_eq!(gone(model.write("/t", Operation::Delete(PLAIN))), 100);
    let event = model.write("/t", Operation::Create(file("w"))).expect("ok").expect("event");
    assert!(event.is_created);
    model.write("/e", Operation::Delete(EMPTY_DIR)).expect("only an expired child was in it");
    model.write("/td/b", Operation::Set(file("v"))).expect("the directory is made anew");
    let names: Vec<String> =
        model.live().filter(|i| i.key.is_below(&k("/td"))).map(|i| i.key.to_string()).collect();
    assert_eq!(names, ["/td/b"], "the old subtree went with its directory");
}

#[test]
fn an_expiry_leaves_what_was_refreshed_meanwhile() {
    let mut model = tree();
    model.write("/t", Operation::Set(until(file("v"), 5))).expect("ok");
    let was = seen(&model.items[&k("/t")]);
    model.write("/t", Operation::Update(refresh(60))).expect("ok");
    model.now = START.plus_ms(6000);
    assert_eq!(model.write("/t", Operation::Expire(was)), Ok(None));
    assert!(model.items[&k("/t")].is_live(model.now));
    model.now = START.plus_ms(60_000);
    let was = seen(&model.items[&k("/t")]);
    let event = model.write("/t", Operation::Expire(was)).expect("ok").expect("event");
    assert_eq!(event.action, Action::Expire);
    assert_eq!(event.prev_node.map(|prev| (prev.ttl, prev.expiration.is_some())), Some((0, true)));
}

#[test]
fn an_expiration_before_the_year_2000_is_none_for_set_and_create_only() {
    let ancient = Draft { expiration: Some(UnixMs(-5)), ..file("v") };
    let mut model = tree();
    let set = model.write("/a", Operation::Set(ancient.clone())).expect("ok").expect("event");
    assert_eq!(set.node.expiration, None);
    let create = model.write("/b", Operation::Create(ancient.clone())).expect("ok").expect("event");
    assert_eq!(create.node.expiration, None);
    let update = model.write("/a", Operation::Update(ancient)).expect("ok").expect("event");
    assert_eq!(update.node.expiration, Some(UnixMs(-5)));
}
