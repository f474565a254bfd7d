use super::*;

/// A register: writes and reads of a number.
struct Register;

#[derive(Clone, Copy)]
enum Access {
    Write(u8),
    Read(u8),
    /// From, to, and whether it is said to have succeeded.
    Swap(u8, u8, bool),
}
use Access::{Read, Swap, Write};

impl Model for Register {
    type State = u8;
    type Call = Access;

    fn step(&self, state: &u8, call: &Access) -> Vec<u8> {
        match *call {
            Write(value) => vec![value],
            Read(value) => (value == *state).then_some(*state).into_iter().collect(),
            Swap(from, to, true) => (from == *state).then_some(to).into_iter().collect(),
            Swap(from, _, false) => (from != *state).then_some(*state).into_iter().collect(),
        }
    }

    fn is_pure(&self, call: &Access) -> bool {
        matches!(call, Read(_) | Swap(_, _, false))
    }
}

/// Calls with the time of each from and to; to 0: no answer.
fn verdict(calls: &[(u64, u64, Access)]) -> Verdict {
    let entry = |(invoked, returned, call): &(u64, u64, Access)| Entry {
        invoked: *invoked,
        returned: (*returned > 0).then_some(*returned),
        call: *call,
    };
    let entries: Vec<Entry<Access>> = calls.iter().map(entry).collect();
    check(&Register, 0, &entries, 10_000)
}

fn is_good(calls: &[(u64, u64, Access)]) -> bool {
    matches!(verdict(calls), Verdict::Linearizable(_))
}

fn is_bad(calls: &[(u64, u64, Access)]) -> bool {
    matches!(verdict(calls), Verdict::Violated(_))
}

#[test]
fn calls_one_after_the_other_are_in_that_order() {
    assert!(is_good(&[(1, 2, Write(1)), (3, 4, Read(1)), (5, 6, Write(2)), (7, 8, Read(2))]));
    assert!(is_bad(&[(1, 2, Write(1)), (3, 4, Write(2)), (5, 6, Read(1))]), "a stale read");
    assert!(is_bad(&[(1, 2, Write(1)), (3, 4, Read(0))]), "a lost write");
}

#[test]
fn calls_at_the_same_time_may_be_in_any_order() {
    assert!(is_good(&[(1, 9, Write(1)), (2, 8, Write(2)), (10, 11, Read(1))]));
    assert!(is_good(&[(1, 9, Write(1)), (2, 8, Write(2)), (10, 11, Read(2))]));
    assert!(is_good(&[(1, 9, Write(1)), (2, 3, Read(0)), (4, 5, Read(1))]));
    assert!(is_bad(&[(1, 9, Write(1)), (2, 3, Read(1)), (4, 5, Read(0))]), "new, then old");
}

#[test]
fn a_write_that_would_change_nothing_now_may_be_needed_later() {
    assert!(is_good(&[
        (1, 2, Write(1)),
        (3, 20, Write(1)),
        (4, 5, Write(2)),
        (6, 7, Read(2)),
        (30, 31, Read(1)),
    ]));
}

#[test]
fn two_readers_agree_on_one_order() {
    let history = [
        (1, 20, Write(1)),
        (1, 20, Write(2)),
        (2, 3, Read(1)),
        (4, 5, Read(2)),
        (4, 5, Read(2)),
        (6, 7, Read(1)),
    ];
    assert!(is_bad(&history));
    assert!(is_good(&history[..5]));
}

#[test]
fn one_of_two_swaps_from_the_same_value_wins() {
    assert!(is_good(&[(1, 9, Swap(0, 1, true)), (1, 9, Swap(0, 2, false)), (10, 11, Read(1))]));
    assert!(is_bad(&[(1, 9, Swap(0, 1, true)), (1, 9, Swap(0, 2, true))]));
    assert!(is_bad(&[(1, 9, Swap(0, 1, false)), (10, 11, Read(0))]), "none lost to anybody");
}

#[test]
fn a_pending_call_may_take_effect_later_or_never() {
    let pending = (1, 0, Write(1));
    assert!(is_good(&[pending, (2, 3, Read(0)), (4, 5, Read(0))]));
    assert!(is_good(&[pending, (2, 3, Read(0)), (4, 5, Read(1))]));
    assert!(is_bad(&[pending, (2, 3, Read(1)), (4, 5, Read(0))]), "it cannot be taken back");
    assert!(is_bad(&[(2, 3, Read(1)), (4, 0, Write(1))]), "not before it was asked");
}

#[test]
fn an_order_that_is_given_explains_every_answer() {
    let calls = [(1, 9, Write(1)), (2, 8, Write(2)), (3, 0, Write(3)), (10, 11, Read(3))];
    let Verdict::Linearizable(order) = verdict(&calls) else { panic!("it is linearizable") };
    let mut state = 0;
    for call in &order {
        state = *Register.step(&state, &calls[*call].2).first().expect("the answer fits");
    }
    assert_eq!(state, 3);
    assert_eq!(order.last(), Some(&3));
}

#[test]
fn what_is_too_much_to_search_is_undecided() {
    let writes: Vec<(u64, u64, Access)> = (1..=30).map(|value| (1, 100, Write(value))).collect();
    let history = [writes, vec![(101, 102, Read(99))]].concat();
    assert_eq!(verdict(&history), Verdict::Undecided);
    let long = vec![(1, 2, Read(0)); MOST_CALLS + 1];
    assert_eq!(verdict(&long), Verdict::Undecided);
}
