//! Pairs that differ must be caught, pairs that only look different must pass.

use super::*;
use crate::http::{Framing, Head};

fn answer(status: u16, index: u64, body: &str) -> Answer {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Answer {
        head: Head {
            minor: 1,
            status,
            reason: String::new(),
            headers: vec![
                header("Content-Type", "application/json"),
                header("X-Etcd-Index", &index.to_string()),
            ],
            framing: Framing::Chunked,
        },
        body: body.as_bytes().to_vec(),
    }
}

fn differ(left: &Answer, right: &Answer) -> bool {
    let step = Step::new(0, "GET", "/a");
    answers(&step, [left, right], &mut Indexes::default()).is_err()
}

fn node(fields: &str) -> String {
    format!("{{\"action\":\"get\",\"node\":{{{fields}}}}}\n")
}

#[test]
fn the_same_under_other_indexes_passes() {
    let left = r#""key":"/a/00000000000000000007","value":"1","expiration":"2026-01-01T00:00:01.5Z","ttl":10,"modifiedIndex":9,"createdIndex":7"#;
    let right = r#""key":"/a/00000000000000070000","value":"1","expiration":"2026-01-01T00:00:02Z","ttl":9,"modifiedIndex":90000,"createdIndex":70000"#;
    assert!(!differ(&answer(200, 9, &node(left)), &answer(200, 90000, &node(right))));
}

#[test]
fn children_pass_in_any_order() {
    let left = r#""nodes":[{"key":"/a"},{"key":"/b"}]"#;
    let right = r#""nodes":[{"key":"/b"},{"key":"/a"}]"#;
    let (left, right) = (answer(200, 9, &node(left)), answer(200, 9, &node(right)));
    assert!(!differ(&left, &right));
    let mut step = Step::new(0, "GET", "/a");
    step.query.push("sorted=true".to_owned());
    assert!(answers(&step, [&left, &right], &mut Indexes::default()).is_err());
}

#[test]
fn causes_pass_with_other_indexes() {
    let left = "{\"errorCode\":101,\"cause\":\"[x != 2] [1 != 98]\",\"index\":99}\n";
    let right = "{\"errorCode\":101,\"cause\":\"[x != 2] [1 != 9800]\",\"index\":9900}\n";
    assert!(!differ(&answer(412, 99, left), &answer(412, 9900, right)));
}

#[test]
fn differences_are_caught() {
    let base = r#""key":"/a","value":"1","modifiedIndex":9,"createdIndex":7"#;
    let bodies = [
        ("a value", r#""key":"/a","value":"2","modifiedIndex":9,"createdIndex":7"#),
        ("a key", r#""key":"/b","value":"1","modifiedIndex":9,"createdIndex":7"#),
        ("a field more", r#""key":"/a","value":"1","dir":true,"modifiedIndex":9,"createdIndex":7"#),
        ("a field less", r#""key":"/a","modifiedIndex":9,"createdIndex":7"#),
        ("the order of fields", r#""value":"1","key":"/a","modifiedIndex":9,"createdIndex":7"#),
        ("equal indexes apart", r#""key":"/a","value":"1","modifiedIndex":9,"createdIndex":9"#),
        ("the order of indexes", r#""key":"/a","value":"1","modifiedIndex":9,"createdIndex":70"#),
        ("a kind", r#""key":"/a","value":1,"modifiedIndex":9,"createdIndex":7"#),
    ];
    let left = answer(200, 9, &node(base));
    for (what, right) in bodies {
        assert!(differ(&left, &answer(200, 9, &node(right))), "{what}");
    }
    assert!(differ(&left, &answer(201, 9, &node(base))), "a status");
    assert!(differ(&left, &answer(200, 10, &node(base))), "an index of the header");
    assert!(differ(&left, &answer(200, 9, node(base).trim_end())), "the newline");
    let mut other = left.clone();
    other.head.headers.remove(0);
    assert!(differ(&left, &other), "a header");
}

#[test]
fn times_apart_are_caught() {
    let at = |time: &str, ttl: u32| {
        answer(200, 9, &node(&format!("\"expiration\":\"{time}\",\"ttl\":{ttl}")))
    };
    let left = at("2026-01-01T00:00:01Z", 10);
    assert!(differ(&left, &at("2026-01-01T00:00:05Z", 10)));
    assert!(differ(&left, &at("2026-01-01T00:00:01Z", 12)));
    assert!(differ(&left, &at("2026-01-01T00:00:01.0Z", 10)), "a spelling");
}

#[test]
fn lists_and_causes_apart_are_caught() {
    let list = |nodes: &str| answer(200, 9, &node(&format!("\"nodes\":[{nodes}]")));
    assert!(differ(&list(r#"{"key":"/a"}"#), &list(r#"{"key":"/a"},{"key":"/b"}"#)));
    let cause = |cause: &str| answer(412, 9, &format!("{{\"cause\":\"{cause}\",\"index\":9}}\n"));
    assert!(differ(&cause("[1 != 9]"), &cause("[1 != x]")));
    assert!(differ(&cause("[1 != 9]"), &cause("[1 != 8]")), "another event");
    assert!(differ(&cause("/a"), &cause("/a/b")));
}
