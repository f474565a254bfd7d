use super::*;
use crate::proof::history::{Operation, Shown};

const LONG: Duration = Duration::from_secs(8);

fn call(
    client: usize,
    gateway: usize,
    times: (u64, u64),
    operation: Operation,
    reply: Reply,
) -> Call {
    Call { client, gateway, operation, invoked: times.0, answered: times.1, reply }
}

fn file(key: &str, value: &str, modified: u64) -> Shown {
    let (key, value) = (key.to_owned(), Some(value.to_owned()));
    Shown { key, value, dir: false, created: modified, modified, expires: None }
}

fn done(node: Shown) -> Reply {
    Reply::Done { status: 200, node, prev: None, nodes: Vec::new() }
}

fn set(client: usize, gateway: usize, times: (u64, u64), key: &str, index: u64) -> Call {
    let operation = Operation::new(Verb::Set, key).value("v");
    call(client, gateway, times, operation, done(file(key, "v", index)))
}

fn found(calls: &[Call]) -> usize {
    all(calls, Reach::AnyGateway, LONG).len()
}

#[test]
fn indexes_of_a_key_and_of_a_gateway_rise() {
    assert_eq!(found(&[set(0, 0, (1, 2), "k", 5), set(1, 1, (3, 4), "k", 6)]), 0);
    assert_eq!(found(&[set(0, 0, (1, 2), "k", 5), set(1, 1, (3, 4), "k", 5)]), 1);
    assert_eq!(found(&[set(0, 0, (1, 2), "k", 5), set(1, 0, (3, 4), "j", 4)]), 1);
    assert_eq!(
        found(&[set(0, 0, (1, 2), "k", 5), set(1, 1, (3, 4), "j", 4)]),
        0,
        "nothing ties them"
    );
    assert_eq!(
        found(&[set(0, 0, (1, 9), "k", 5), set(1, 0, (3, 4), "k", 4)]),
        0,
        "at the same time"
    );
}

#[test]
fn a_write_is_above_what_its_client_read() {
    let read = call(0, 0, (1, 2), Operation::new(Verb::Get, "k"), done(file("k", "1", 9)));
    let write = set(0, 1, (3, 4), "j", 8);
    assert_eq!(found(&[read.clone(), write.clone()]), 1);
    let apart = |calls: &[Call]| all(calls, Reach::SameGatewayOrKey, LONG).len();
    assert_eq!(apart(&[read.clone(), write.clone()]), 0);
    assert_eq!(apart(&[read.clone(), Call { gateway: 0, ..write.clone() }]), 1);
    assert_eq!(apart(&[read.clone(), set(0, 1, (3, 4), "k", 8)]), 1);
    assert_eq!(
        found(&[read, Call { client: 1, ..write }]),
        0,
        "another client knows nothing of it"
    );
}

#[test]
fn indexes_have_53_bits() {
    assert_eq!(found(&[set(0, 0, (1, 2), "k", (1 << 53) - 1)]), 0);
    assert_eq!(found(&[set(0, 0, (1, 2), "k", 1 << 53)]), 1);
}

#[test]
fn a_refused_write_shows_nowhere_and_does_not_refuse_itself() {
    let swap = Operation {
        prev_value: Some("0".to_owned()),
        ..Operation::new(Verb::Swap, "k").value("2")
    };
    let refused = |cause: &str| {
        let reply = Reply::Refused { code: 101, cause: cause.to_owned() };
        call(0, 0, (1, 2), swap.clone(), reply)
    };
    let read = call(1, 1, (3, 4), Operation::new(Verb::Get, "k"), done(file("k", "2", 9)));
    assert_eq!(found(&[refused("[0 != 1]")]), 0);
    assert_eq!(found(&[refused("[0 != 2]")]), 1);
    assert_eq!(found(&[refused("[0 != 1]"), read]), 1);
}

#[test]
fn a_late_answer_is_found() {
    let late = set(0, 0, (0, 8_000_001), "k", 5);
    assert_eq!(found(&[late]), 1);
}

fn post(times: (u64, u64), value: &str, reply: Reply) -> Call {
    call(0, 0, times, Operation::new(Verb::Post, "q").value(value), reply)
}

fn listed(nodes: Vec<Shown>) -> Call {
    let node = Shown { value: None, dir: true, ..file("q", "", 1) };
    let reply = Reply::Done { status: 200, node, prev: None, nodes };
    call(9, 0, (100, 101), Operation::new(Verb::List, "q"), reply)
}

#[test]
fn in_order_keys_sort_as_they_were_acknowledged() {
    let (a, b) = (file("q/05", "a", 5), file("q/06", "b", 6));
    let good = [post((1, 2), "a", done(a.clone())), post((3, 4), "b", done(b.clone()))];
    let all = listed(vec![a.clone(), b.clone()]);
    assert_eq!(in_order(&[good.to_vec(), vec![all.clone()]].concat()), Vec::<String>::new());
    let bad = [post((1, 2), "b", done(b.clone())), post((3, 4), "a", done(a.clone()))];
    assert_eq!(in_order(&[bad.to_vec(), vec![all]].concat()).len(), 1);
    assert_eq!(
        in_order(&[good.to_vec(), vec![listed(vec![a.clone()])]].concat()).len(),
        1,
        "one is lost"
    );
    let twice = listed(vec![a, b, file("q/07", "b", 7)]);
    assert_eq!(in_order(&[good.to_vec(), vec![twice]].concat()).len(), 1, "one was done twice");
}

#[test]
fn an_unknown_in_order_key_is_there_once_or_not_at_all() {
    let unknown = post((1, 2), "a", Reply::Unknown("no answer".to_owned()));
    let (a, again) = (file("q/05", "a", 5), file("q/06", "a", 6));
    assert!(in_order(&[unknown.clone(), listed(Vec::new())]).is_empty());
    assert!(in_order(&[unknown.clone(), listed(vec![a.clone()])]).is_empty());
    assert_eq!(in_order(&[unknown.clone(), listed(vec![a.clone(), again])]).len(), 1);
    assert_eq!(in_order(&[unknown, listed(vec![file("q/09", "z", 9)])]).len(), 1);
}
