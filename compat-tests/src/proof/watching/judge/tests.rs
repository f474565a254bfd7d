//! The judge is held to what watchers may see, and to what is known to be bad.

use super::super::sight::{Held, Node, View};
use super::*;
use crate::proof::history::Shown;

/// A call that was answered at `at`, 10 after it was sent.
fn call(verb: Verb, key: &str, value: Option<&str>, at: u64, reply: Reply) -> Call {
    let operation = Operation { value: value.map(str::to_owned), ..Operation::new(verb, key) };
    Call { client: 0, gateway: 0, operation, invoked: at - 10, answered: at, reply }
}

fn done(key: &str, value: Option<&str>, index: u64) -> Reply {
    let (key, value) = (key.to_owned(), value.map(str::to_owned));
    let node = Shown { key, value, dir: false, created: index, modified: index, expires: None };
    Reply::Done { status: 200, node, prev: None, nodes: Vec::new() }
}

/// An acknowledged set. Its index is also its time.
fn set(key: &str, value: &str, index: u64) -> Call {
    call(Verb::Set, key, Some(value), index, done(key, Some(value), index))
}

fn delete(key: &str, index: u64) -> Call {
    call(Verb::Delete, key, None, index, done(key, None, index))
}

fn node(key: &str, value: Option<&str>, modified: u64) -> Node {
    Node { key: key.to_owned(), value: value.map(str::to_owned), dir: false, modified }
}

fn told(action: &str, key: &str, value: Option<&str>, index: u64) -> Note {
    let event = Event { action: action.to_owned(), node: node(key, value, index), prev: None };
    Note::Event { at: index, event }
}

fn told_after(before: Node, note: Note) -> Note {
    let Note::Event { at, event } = note else { panic!("no event: {note}") };
    Note::Event { at, event: Event { prev: Some(before), ..event } }
}

/// A read at an index, which is also its time, that shows these files.
fn read(index: u64, files: &[(&str, &str, u64)]) -> Note {
    let held = files.iter().map(|(key, value, modified)| {
        (key.to_string(), Held { value: value.to_string(), modified: *modified })
    });
    let view = View(held.collect());
    Note::Read(Read { began: index, ended: index + 1, index, view })
}

fn cleared(at: u64) -> Note {
    Note::Cleared { at }
}

fn watcher(scope: Scope, manner: Manner, notes: Vec<Note>) -> Seen {
    Seen { number: 0, scope, manner, notes, view: View::default(), problems: Vec::new() }
}

/// What is found, by its first words behind the watcher.
fn judged(calls: &[Call], notes: Vec<Note>) -> Vec<String> {
    all(calls, &[watcher(Scope::Tree, Manner::LongPoll, notes)])
}

fn is_bad(calls: &[Call], notes: Vec<Note>, why: &str) {
    let found = judged(calls, notes);
    assert!(found.iter().any(|problem| problem.contains(why)), "{why}: {found:?}");
}

fn is_good(calls: &[Call], notes: Vec<Note>) {
    assert_eq!(judged(calls, notes), Vec::<String>::new());
}

fn three() -> Vec<Call> {
    vec![set("a", "1", 110), set("b", "2", 120), delete("a", 130)]
}

fn all_three() -> Vec<Note> {
    vec![
        read(100, &[]),
        told("set", "a", Some("1"), 110),
        told("set", "b", Some("2"), 120),
        told("delete", "a", None, 130),
    ]
}

#[test]
fn what_a_correct_server_tells_is_good() {
    is_good(&three(), all_three());
}

#[test]
fn a_missed_event_is_found_wherever_it_is() {
    for missing in 1..4 {
        let mut notes = all_three();
        notes.remove(missing);
        is_bad(&three(), notes, "missed");
    }
}

#[test]
fn two_writes_with_one_index_are_both_to_be_told() {
    let calls = [set("a", "1", 110), set("b", "2", 110), set("c", "3", 120)];
    let notes = || vec![read(100, &[]), told("set", "a", Some("1"), 110)];
    let last = told("set", "c", Some("3"), 120);
    is_bad(&calls, [notes(), vec![last.clone()]].concat(), "missed: set b@110");
    let anew = read(111, &[("a", "1", 110), ("b", "2", 110)]);
    is_good(&calls, [notes(), vec![cleared(110), anew, last]].concat());
}

#[test]
fn a_read_after_401_covers_what_was_passed_over_unless_it_comes_too_late() {
    let calls = [set("a", "1", 110), set("a", "2", 120)];
    let notes = |at| {
        let jump = told("set", "a", Some("2"), 120);
        vec![read(100, &[]), jump, cleared(at), read(at, &[("a", "2", 120)])]
    };
    is_good(&calls, notes(200));
    is_bad(&calls, notes(200 + OWN_UP_US), "passed over for long: set a@110");
}

#[test]
fn a_read_that_is_ahead_of_its_files_covers_nothing() {
    // It began before the write was answered, and its index is past a write that it does not show.
    let calls = [set("a", "1", 105)];
    is_bad(&calls, vec![read(100, &[])], "missed");
    let Note::Read(early) = read(110, &[]) else { panic!("no read") };
    let early = Note::Read(Read { began: 100, ..early });
    is_bad(&calls, vec![early.clone()], "missed");
    // The same where the key may be gone again, and where the read shows it.
    is_good(&[calls[0].clone(), delete("a", 108)], vec![early]);
    let Note::Read(shown) = read(110, &[("a", "1", 105)]) else { panic!("no read") };
    is_good(&calls, vec![Note::Read(Read { began: 100, ..shown })]);
}

#[test]
fn events_out_of_order_or_twice_are_found() {
    let mut notes = all_three();
    notes.swap(1, 2);
    is_bad(&three(), notes, "came after index 120");
    let mut notes = all_three();
    notes.insert(2, notes[1].clone());
    is_bad(&three(), notes, "came after index 110");
    is_bad(
        &[set("a", "1", 90)],
        vec![read(100, &[]), told("set", "a", Some("1"), 90)],
        "came after",
    );
}

#[test]
fn only_a_stream_on_the_node_that_goes_is_told_twice() {
    let calls = [set("a", "1", 90), delete("a", 110)];
    let gone = told("delete", "a", None, 110);
    let notes = vec![read(100, &[("a", "1", 90)]), gone.clone(), gone];
    let scope = || Scope::Key("a".to_owned());
    let of = |scope, manner| all(&calls, &[watcher(scope, manner, notes.clone())]);
    assert!(of(scope(), Manner::Stream).is_empty());
    assert!(!of(scope(), Manner::LongPoll).is_empty());
    assert!(!of(Scope::Tree, Manner::Stream).is_empty());
}

#[test]
fn only_a_stream_is_told_of_two_keys_with_one_index() {
    let calls = [set("a", "1", 110), set("b", "2", 110)];
    let told = |key, value| told("set", key, Some(value), 110);
    let notes = vec![read(100, &[]), told("a", "1"), told("b", "2")];
    let of = |manner| all(&calls, &[watcher(Scope::Tree, manner, notes.clone())]);
    assert!(of(Manner::Stream).is_empty());
    assert!(!of(Manner::LongPoll).is_empty());
}

#[test]
fn what_nobody_asked_for_is_found() {
    let refused = Reply::Refused { code: 105, cause: "a".to_owned() };
    let unknown = || Reply::Unknown("cut".to_owned());
    let start = || read(100, &[]);
    let created = || vec![start(), told("create", "a", Some("1"), 110)];
    let create = |reply| [call(Verb::Create, "a", Some("1"), 110, reply)];
    is_bad(&[], created(), "nobody wrote");
    is_bad(&create(refused), created(), "answered with error 105");
    is_good(&create(unknown()), created());
    is_bad(&create(unknown()), vec![start(), told("set", "a", Some("1"), 110)], "asked for as");
    is_bad(&[], vec![start(), told("delete", "a", None, 110)], "nobody asked for");
    is_good(
        &[call(Verb::Delete, "a", None, 110, unknown())],
        vec![start(), told("delete", "a", None, 110)],
    );
    is_bad(&[set("a", "1", 90)], vec![start(), told("expire", "a", None, 110)], "nobody asked for");
}

#[test]
fn a_value_that_comes_back_under_another_index_is_found() {
    let calls = [set("a", "1", 110), delete("a", 120)];
    let mut notes =
        vec![read(100, &[]), told("set", "a", Some("1"), 110), told("delete", "a", None, 120)];
    is_good(&calls, notes.clone());
    notes.push(told("set", "a", Some("1"), 130));
    is_bad(&calls, notes, "another index");
    // The outcome is unknown, and two watchers are told differently.
    let calls = [call(Verb::Set, "a", Some("1"), 110, Reply::Unknown("cut".to_owned()))];
    let saw = |index| {
        let notes = vec![read(100, &[]), told("set", "a", Some("1"), index)];
        watcher(Scope::Tree, Manner::LongPoll, notes)
    };
    assert!(all(&calls, &[saw(110), saw(110)]).is_empty());
    assert!(!all(&calls, &[saw(110), saw(111)]).is_empty());
}

#[test]
fn an_event_with_another_value_or_action_than_was_answered_is_found() {
    let calls = [set("a", "1", 110)];
    for (action, value) in [("set", "2"), ("create", "1")] {
        is_bad(&calls, vec![read(100, &[]), told(action, "a", Some(value), 110)], "was set");
    }
}

#[test]
fn what_was_before_has_to_be_the_state_before() {
    let calls = [set("a", "1", 90), set("a", "2", 110), set("a", "3", 120)];
    let start = || read(100, &[("a", "1", 90)]);
    let second = || told_after(node("a", Some("1"), 90), told("set", "a", Some("2"), 110));
    let third = |value, index| {
        let event = told("set", "a", Some("3"), 120);
        vec![start(), second(), told_after(node("a", Some(value), index), event)]
    };
    is_good(&calls, third("2", 110));
    is_bad(&calls, third("1", 90), "before it was Set a value=2");
    is_bad(&calls, third("x", 110), "before it was Set a value=2");
    is_bad(&calls, third("3", 120), "not older");
}

#[test]
fn a_watcher_that_spins_is_found() {
    let turns =
        (0..=MOST_CLEARED as u64).flat_map(|turn| [read(100 + turn, &[]), cleared(100 + turn)]);
    is_bad(&[], turns.collect(), "it spins");
}

#[test]
fn a_removed_directory_covers_what_was_below() {
    let tree = call(Verb::RemoveTree, "s", None, 120, done("s", None, 120));
    let calls = [set("s/x", "1", 110), tree];
    let notes =
        vec![read(100, &[]), told("set", "s/x", Some("1"), 110), told("delete", "s", None, 120)];
    is_good(&calls, notes.clone());
    is_bad(&calls, notes[..2].to_vec(), "missed: delete s@120");
    let mut view = View::default();
    let scope = Scope::Tree;
    for (position, files) in [(1, 1), (2, 0)] {
        let Note::Event { event, .. } = &notes[position] else { panic!("no event") };
        view.apply(event, &scope);
        assert_eq!(view.0.len(), files);
    }
}
