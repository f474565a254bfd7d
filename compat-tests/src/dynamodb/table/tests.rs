//! Each rule sees the table that breaks it, and none a table that does not.

use serde_json::{Value, json};

use super::{Reading, Table};

const NOW: i64 = 1_800_000_000_000;

/// An item as DynamoDB has it.
fn item(partition: &str, sort: &str, attributes: Value) -> Value {
    let mut item = json!({ "pk": { "S": partition }, "sk": { "S": sort } });
    for (name, value) in attributes.as_object().expect("it is an object") {
        item[name] = match value {
            Value::Number(number) => json!({ "N": number.to_string() }),
            Value::Bool(flag) => json!({ "BOOL": flag }),
            Value::String(text) => json!({ "S": text }),
            Value::Null | Value::Array(_) | Value::Object(_) => value.clone(),
        };
    }
    item
}

fn root() -> Value {
    item("ks/", "000/", json!({ "d": true, "c": 1, "m": 1 }))
}

/// The directory /d, and /d/f in it.
fn dir() -> Value {
    item("ks/", "001/d", json!({ "d": true, "k": 7, "c": 5, "m": 5, "a": "set" }))
}

fn file() -> Value {
    item("ks/d", "002/d/f", json!({ "v": "x", "c": 7, "m": 8, "a": "create" }))
}

fn with(mut item: Value, attributes: Value) -> Value {
    let keys = (item["pk"]["S"].take(), item["sk"]["S"].take());
    let text = |value: &Value| value.as_str().expect("it is a key").to_owned();
    let added = self::item(&text(&keys.0), &text(&keys.1), attributes);
    for (name, value) in added.as_object().expect("it is an object") {
        item[name] = value.clone();
    }
    item
}

fn tombstone(item: Value) -> Value {
    let purge_at = NOW + 60_000;
    with(item, json!({ "r": purge_at, "b": 8, "m": 9, "t": purge_at / 1000 }))
}

fn record(name: &str, attributes: Value) -> Value {
    item("ks//records", name, attributes)
}

fn violations(items: &[Value], at_rest: bool) -> Vec<String> {
    Table::of(items, "ks").violations(Reading { now_ms: NOW, at_rest })
}

/// What one table breaks must be this one thing.
fn breaks(items: &[Value], rule: &str) {
    let found = violations(items, true);
    assert!(found.len() == 1 && found[0].contains(rule), "{rule:?} expected, found {found:?}");
}

#[test]
fn a_sound_table_breaks_nothing() {
    let other = item("other/d", "002/d/f", json!({ "nonsense": 1 }));
    let gone = item("ks/d", "002/d/gone", json!({ "v": "x", "c": 6, "m": 6 }));
    let dir_with_ttl = with(dir(), json!({ "e": NOW + 1000 }));
    for items in [
        vec![root(), dir(), file(), other],
        vec![root(), dir(), file(), tombstone(gone)],
        vec![root(), tombstone(dir()), tombstone(file())],
        vec![root(), with(tombstone(file()), json!({ "c": 0, "m": 0, "b": 0 }))],
        vec![
            root(),
            dir_with_ttl,
            file(),
            record("identity", json!({})),
            record("sweep/dir-ttl/d", json!({ "e": NOW + 1000 })),
        ],
    ] {
        assert_eq!(violations(&items, true), Vec::<String>::new(), "{items:?}");
    }
}

#[test]
fn no_node_is_without_its_parents() {
    breaks(&[root(), file()], "no item /d");
    breaks(&[root(), tombstone(dir()), file()], "orphan: /d/f is there, and /d is removed");
    let parent = item("ks/", "001/d", json!({ "v": "x", "c": 5, "m": 5 }));
    breaks(&[root(), parent, file()], "/d is a file and has a child: /d/f");
    breaks(&[], "root directory is missing");
}

#[test]
fn what_is_past_its_expiration_may_lie_anywhere_for_a_while() {
    let past = with(file(), json!({ "e": NOW - 1, "t": NOW / 1000 + 900 }));
    assert_eq!(violations(&[root(), tombstone(dir()), past], true), Vec::<String>::new());
    let overdue = with(dir(), json!({ "e": NOW - 1000 }));
    let ttl = record("sweep/dir-ttl/d", json!({ "e": NOW - 1000 }));
    assert_eq!(violations(&[root(), overdue, file(), ttl], true), Vec::<String>::new());
    let long = with(dir(), json!({ "e": NOW - 60_000 }));
    let ttl = record("sweep/dir-ttl/d", json!({ "e": NOW - 60_000 }));
    breaks(&[root(), long, ttl], "overdue");
}

#[test]
fn nothing_is_left_of_a_removed_subtree() {
    let made_anew = with(dir(), json!({ "c": 10, "m": 10, "k": 10 }));
    breaks(&[root(), made_anew, file()], "left of a removed subtree");
}

#[test]
fn a_directory_has_the_stamp_of_what_was_created_in_it() {
    let unstamped = item("ks/", "001/d", json!({ "d": true, "c": 5, "m": 5 }));
    breaks(&[root(), unstamped, file()], "stamp None");
    breaks(&[root(), with(dir(), json!({ "k": 6 })), file()], "stamp Some(6), below 7");
    let replaced = with(file(), json!({ "a": "set", "c": 9, "m": 9 }));
    assert_eq!(violations(&[root(), dir(), replaced], true), Vec::<String>::new());
}

#[test]
fn a_drain_ends_and_leaves_nothing() {
    let draining = with(dir(), json!({ "r": NOW, "b": 5, "m": 9, "g": true }));
    breaks(&[root(), draining.clone()], "/d is still draining");
    let drain = record("sweep/drain/d", json!({ "m": 9, "a": "delete" }));
    breaks(&[root(), drain.clone()], "sweep/drain/d");
    // While it is under way, all of that may be seen.
    assert_eq!(violations(&[root(), draining, file(), drain], false), Vec::<String>::new());
}

#[test]
fn keys_say_the_path_twice() {
    let elsewhere = item("ks/e", "002/d/f", json!({ "v": "x", "c": 7, "m": 8 }));
    breaks(&[root(), dir(), elsewhere], "/d/f lies in the partition ks/e");
    let deep = item("ks/d", "003/d/f", json!({ "v": "x", "c": 7, "m": 8 }));
    breaks(&[root(), dir(), deep], "/d/f lies at the depth 003");
    let twin = item("ks/", "002/d/f", json!({ "v": "x", "c": 7, "m": 8 }));
    assert!(violations(&[root(), dir(), file(), twin], true).len() > 1);
}

#[test]
fn indexes_are_exact_and_in_order() {
    let high = 1_u64 << 53;
    breaks(&[root(), dir(), with(file(), json!({ "m": high }))], "an index that is none");
    breaks(&[root(), dir(), with(file(), json!({ "c": 9, "a": "set" }))], "created at 9");
    let gone = with(tombstone(file()), json!({ "b": 9 }));
    breaks(&[root(), dir(), gone], "is not after 9");
}

#[test]
fn only_what_nobody_needs_may_be_purged() {
    breaks(&[root(), dir(), with(file(), json!({ "t": 5 }))], "there to stay");
    let early = with(file(), json!({ "e": NOW + 5000, "t": NOW / 1000 }));
    breaks(&[root(), dir(), early], "may be purged at Some");
    let kept = with(file(), json!({ "r": NOW, "b": 8, "m": 9 }));
    breaks(&[root(), dir(), kept], "may be purged at None");
}

#[test]
fn a_directory_with_a_ttl_has_a_record_of_it() {
    let items = [root(), with(dir(), json!({ "e": NOW + 1000 }))];
    breaks(&items, "no record");
    let stale = record("sweep/dir-ttl/d", json!({ "e": NOW + 999 }));
    breaks(&[&items[..], &[stale]].concat(), "no record");
}

#[test]
fn what_cannot_be_read_is_told() {
    for strange in [
        json!({ "c": 7, "m": 8 }),
        json!({ "v": "x", "d": true, "c": 7, "m": 8 }),
        json!({ "v": "x", "m": 8 }),
        json!({ "v": "x", "c": 7, "m": 8, "zz": 1 }),
        json!({ "v": "x", "c": 7, "m": 8, "w0": { "B": "AAAA" } }),
    ] {
        let found = violations(&[root(), dir(), item("ks/d", "002/d/f", strange)], true);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
