use super::*;
use crate::proof::checker::{Entry, Verdict, check};
use crate::proof::history::{Operation, Shown, Verb};

mod random;
mod trees;

fn tree() -> Tree {
    Tree { clocks: Clocks { ahead_ms: vec![0, 3000], slack_ms: 50 }, prev_node: PrevNode::Exact }
}

fn check_with(model: &Tree, calls: &[Call]) -> Verdict {
    let entry = |(number, call): (usize, &Call)| Entry {
        invoked: call.invoked,
        returned: call.is_known().then_some(call.answered),
        call: Numbered { number, call: call.clone() },
    };
    let entries: Vec<Entry<Numbered>> = calls.iter().enumerate().map(entry).collect();
    check(model, State::default(), &entries, 100_000)
}

fn is_good(calls: &[Call]) -> bool {
    matches!(check_with(&tree(), calls), Verdict::Linearizable(_))
}

fn is_bad(calls: &[Call]) -> bool {
    matches!(check_with(&tree(), calls), Verdict::Violated(_))
}

/// A call from one millisecond to another.
fn at(from_ms: u64, to_ms: u64, operation: Operation, reply: Reply) -> Call {
    let (invoked, answered) = (from_ms * 1000, to_ms * 1000);
    Call { client: 0, gateway: 0, operation, invoked, answered, reply }
}

fn ask(verb: Verb, key: &str) -> Operation {
    Operation::new(verb, key)
}

fn set(key: &str, value: &str) -> Operation {
    ask(Verb::Set, key).value(value)
}

fn swap(key: &str, from: &str, value: &str) -> Operation {
    Operation { prev_value: Some(from.to_owned()), ..ask(Verb::Swap, key).value(value) }
}

fn file(key: &str, value: &str, created: u64, modified: u64) -> Shown {
    let (key, value) = (key.to_owned(), Some(value.to_owned()));
    Shown { key, value, dir: false, created, modified, expires: None }
}

fn dir(key: &str, index: u64) -> Shown {
    Shown { value: None, dir: true, ..file(key, "", index, index) }
}

fn gone(key: &str, created: u64, modified: u64) -> Shown {
    Shown { value: None, ..file(key, "", created, modified) }
}

fn done(node: Shown, prev: Option<Shown>) -> Reply {
    Reply::Done { status: 200, node, prev, nodes: Vec::new() }
}

fn made(node: Shown) -> Reply {
    Reply::Done { status: 201, node, prev: None, nodes: Vec::new() }
}

fn refused(code: u16, cause: &str) -> Reply {
    Reply::Refused { code, cause: cause.to_owned() }
}

fn unknown() -> Reply {
    Reply::Unknown("no answer".to_owned())
}

/// `k` is set to `1` at index 10, in the first ten milliseconds.
fn first() -> Call {
    at(0, 10, set("k", "1"), made(file("k", "1", 10, 10)))
}

#[test]
fn a_file_is_created_replaced_read_and_removed() {
    assert!(is_good(&[
        first(),
        at(20, 30, set("k", "2"), done(file("k", "2", 20, 20), Some(file("k", "1", 10, 10)))),
        at(40, 50, ask(Verb::Get, "k"), done(file("k", "2", 20, 20), None)),
        at(60, 70, swap("k", "2", "3"), done(file("k", "3", 20, 30), Some(file("k", "2", 20, 20)))),
        at(80, 90, swap("k", "2", "4"), refused(101, "[2 != 3]")),
        at(100, 110, ask(Verb::Delete, "k"), done(gone("k", 20, 40), Some(file("k", "3", 20, 30)))),
        at(120, 130, ask(Verb::Get, "k"), refused(100, "k")),
        at(140, 150, ask(Verb::Create, "k").value("5"), made(file("k", "5", 50, 50))),
        at(160, 170, ask(Verb::Create, "k").value("6"), refused(105, "k")),
    ]));
}

#[test]
fn a_lost_update_is_found() {
    let second = done(file("k", "2", 20, 20), Some(file("k", "1", 10, 10)));
    let third = done(file("k", "3", 30, 30), Some(file("k", "1", 10, 10)));
    assert!(is_bad(&[
        first(),
        at(20, 50, set("k", "2"), second),
        at(20, 50, set("k", "3"), third)
    ]));
    let lost = at(40, 50, ask(Verb::Get, "k"), done(file("k", "1", 10, 10), None));
    let second = done(file("k", "2", 20, 20), Some(file("k", "1", 10, 10)));
    assert!(is_bad(&[first(), at(20, 30, set("k", "2"), second), lost]));
}

#[test]
fn a_swap_that_succeeds_twice_is_found() {
    let swapped = |value: &str, index: u64| {
        let reply = done(file("k", value, 10, index), Some(file("k", "1", 10, 10)));
        at(20, 50, swap("k", "1", value), reply)
    };
    assert!(is_good(&[first(), swapped("2", 20)]));
    assert!(is_bad(&[first(), swapped("2", 20), swapped("3", 30)]));
}

#[test]
fn a_write_that_is_reported_failed_and_shows_up_is_found() {
    let late = at(40, 50, ask(Verb::Get, "k"), done(file("k", "2", 10, 20), None));
    let told = |reply: Reply| [first(), at(20, 30, swap("k", "0", "2"), reply), late.clone()];
    assert!(is_bad(&told(refused(101, "[0 != 1]"))));
    let unknown_set = [first(), at(20, 30, set("k", "2"), unknown())];
    let shown = at(40, 50, ask(Verb::Get, "k"), done(file("k", "2", 20, 20), None));
    assert!(is_good(&[unknown_set.to_vec(), vec![shown]].concat()));
}

#[test]
fn an_own_write_that_is_reported_as_compare_failed_is_found() {
    let own = at(20, 30, swap("k", "1", "2"), refused(101, "[1 != 2]"));
    let shown = at(40, 50, ask(Verb::Get, "k"), done(file("k", "2", 10, 20), None));
    assert!(is_bad(&[first(), own, shown]));
}

#[test]
fn a_value_that_comes_back_after_its_removal_is_found() {
    let removed = done(gone("k", 10, 20), Some(file("k", "1", 10, 10)));
    let removal = at(20, 30, ask(Verb::Delete, "k"), removed);
    let back = at(40, 50, ask(Verb::Get, "k"), done(file("k", "1", 10, 10), None));
    assert!(is_bad(&[first(), removal.clone(), back]));
    let early = at(15, 25, ask(Verb::Get, "k"), done(file("k", "1", 10, 10), None));
    assert!(is_good(&[first(), removal, early]));
}

#[test]
fn an_index_that_does_not_rise_is_found() {
    let lower = done(file("k", "2", 9, 9), Some(file("k", "1", 10, 10)));
    assert!(is_bad(&[first(), at(20, 30, set("k", "2"), lower)]));
    let removed = done(gone("k", 10, 20), Some(file("k", "1", 10, 10)));
    let again = at(40, 50, ask(Verb::Create, "k").value("2"), made(file("k", "2", 15, 15)));
    assert!(is_bad(&[first(), at(20, 30, ask(Verb::Delete, "k"), removed), again]));
}

#[test]
fn the_index_of_an_unknown_write_is_learnt_once() {
    let wrote = [first(), at(20, 30, set("k", "2"), unknown())];
    let read = |from: u64, index: u64| {
        at(from, from + 5, ask(Verb::Get, "k"), done(file("k", "2", index, index), None))
    };
    assert!(is_good(&[wrote.to_vec(), vec![read(40, 20), read(50, 20)]].concat()));
    assert!(is_bad(&[wrote.to_vec(), vec![read(40, 20), read(50, 21)]].concat()));
    assert!(is_bad(&[wrote.to_vec(), vec![read(40, 9)]].concat()), "below the one before");
    let by_index = Operation { prev_index: Some(5), ..ask(Verb::Swap, "k").value("3") };
    let wrong = at(40, 50, by_index, refused(101, "[5 != 20]"));
    assert!(is_good(&[wrote.to_vec(), vec![wrong.clone(), read(60, 20)]].concat()));
    assert!(is_bad(&[wrote.to_vec(), vec![wrong, read(60, 22)]].concat()));
}

#[test]
fn an_unknown_removal_may_have_happened_or_not() {
    let history = [first(), at(20, 30, ask(Verb::Delete, "k"), unknown())];
    let there = at(40, 50, ask(Verb::Get, "k"), done(file("k", "1", 10, 10), None));
    let missing = at(60, 70, ask(Verb::Get, "k"), refused(100, "k"));
    let then = |calls: &[&Call]| {
        let rest = calls.iter().map(|call| Call::clone(call));
        history.iter().cloned().chain(rest).collect::<Vec<Call>>()
    };
    assert!(is_good(&then(&[&there])));
    assert!(is_good(&then(&[&missing])));
    assert!(is_good(&then(&[&there, &missing])), "it may be late");
    let back = at(80, 90, ask(Verb::Get, "k"), done(file("k", "1", 10, 10), None));
    assert!(is_bad(&then(&[&missing, &back])));
}

#[test]
fn a_node_before_may_be_absent_only_where_replies_are_lost() {
    let history = [first(), at(20, 30, set("k", "2"), done(file("k", "2", 20, 20), None))];
    assert!(is_bad(&history));
    let lenient = Tree { prev_node: PrevNode::MayBeLost, ..tree() };
    assert!(matches!(check_with(&lenient, &history), Verdict::Linearizable(_)));
}

#[test]
fn a_file_is_gone_after_its_time_and_there_before_it() {
    let expiring = |expires: i64| Shown { expires: Some(expires), ..file("k", "1", 10, 10) };
    let wrote = at(1000, 1010, Operation { ttl: Some(2), ..set("k", "1") }, made(expiring(3005)));
    let get = |from: u64, gateway: usize, reply: Reply| Call {
        gateway,
        ..at(from, from + 5, ask(Verb::Get, "k"), reply)
    };
    let there = || done(expiring(3005), None);
    let missing = || refused(100, "k");
    assert!(is_good(&[wrote.clone(), get(2000, 0, there()), get(3500, 0, missing())]));
    assert!(is_bad(&[wrote.clone(), get(3500, 0, there())]), "too late");
    assert!(is_good(&[wrote.clone(), get(1100, 1, missing()), get(1200, 0, there())]));
    assert!(is_bad(&[wrote.clone(), get(1100, 1, there())]), "its clock is three seconds ahead");
    // The gateway whose clock is ahead may have removed it: then it does not come back.
    assert!(is_good(&[wrote.clone(), get(1100, 0, missing())]));
    assert!(is_bad(&[wrote.clone(), get(1100, 0, missing()), get(1200, 0, there())]));
    let odd = at(1000, 1010, Operation { ttl: Some(2), ..set("k", "1") }, made(expiring(9000)));
    assert!(is_bad(&[odd]), "not when it said it would");
}

#[test]
fn a_refresh_keeps_the_value_and_moves_the_expiration() {
    let expiring = |value: &str, modified: u64, expires: i64| Shown {
        expires: Some(expires),
        ..file("k", value, 10, modified)
    };
    let wrote =
        at(1000, 1010, Operation { ttl: Some(1), ..set("k", "1") }, made(expiring("1", 10, 2005)));
    let refresh = |value: &str| {
        let operation = Operation { ttl: Some(2), ..ask(Verb::Refresh, "k") };
        let reply = done(expiring(value, 20, 3505), Some(expiring("1", 10, 2005)));
        at(1500, 1510, operation, reply)
    };
    let there = at(2500, 2510, ask(Verb::Get, "k"), done(expiring("1", 20, 3505), None));
    assert!(is_good(&[wrote.clone(), refresh("1"), there.clone()]));
    assert!(is_bad(&[wrote.clone(), refresh(""), there]));
    let missing = at(2500, 2510, ask(Verb::Get, "k"), refused(100, "k"));
    let unskewed = Tree { clocks: Clocks { ahead_ms: vec![0], slack_ms: 50 }, ..tree() };
    let history = [wrote, refresh("1"), missing];
    assert!(
        matches!(check_with(&unskewed, &history), Verdict::Violated(_)),
        "removed though refreshed"
    );
}

#[test]
fn a_write_that_was_found_out_late_shows_its_own_value_or_none() {
    let lenient = Tree { prev_node: PrevNode::MayBeLost, ..tree() };
    let update = |value: &str, created: u64| {
        let reply = done(file("k", value, created, 20), None);
        at(20, 30, ask(Verb::Update, "k").value("2"), reply)
    };
    let explains =
        |call: Call| matches!(check_with(&lenient, &[first(), call]), Verdict::Linearizable(_));
    assert!(explains(update("2", 10)));
    assert!(explains(update("2", 20)), "created anew since, so it is not known when");
    assert!(!explains(update("2", 15)), "made up");
    assert!(!explains(update("other", 10)), "another's value");
    assert!(is_bad(&[first(), update("2", 20)]), "nothing was lost");
    let refresh = |value: &str| {
        let node = Shown { expires: Some(1020), ..file("k", value, 10, 20) };
        at(20, 30, Operation { ttl: Some(1), ..ask(Verb::Refresh, "k") }, done(node, None))
    };
    assert!(explains(refresh("1")) && explains(refresh("")));
    assert!(!explains(refresh("other")), "another's value");
}
