//! Recorded answers, and what no server of v2 answers.

use std::collections::VecDeque;

use super::*;

/// Gives so much at a time.
struct Slow<'a> {
    bytes: VecDeque<&'a [u8]>,
    end: Option<io::Error>,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.bytes.pop_front(), self.end.take()) {
            (Some(bytes), end) => {
                self.end = end;
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(0),
        }
    }
}

fn parsed(answer: impl Read + Send, key: &str) -> (Vec<Node>, Result<(), Misread>) {
    std::thread::scope(|scope| {
        let parsing = move || {
            let mut nodes = Vec::new();
            let result = parse(answer, key, &mut |node| {
                nodes.push(node);
                true
            });
            (nodes, result)
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, parsing).expect("a thread").join().expect("no panic")
    })
}

fn strange(answer: &str) -> String {
    match parsed(answer.as_bytes(), "/") {
        (_, Err(Misread::Strange(what))) => what,
        (_, other) => panic!("{answer}: {other:?}"),
    }
}

/// What etcd 3.4.23 answered to `/v2/keys/?recursive=true&sorted=true&quorum=true`.
const ETCD: &str = concat!(
    r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":["#,
    r#"{"key":"/a/b","value":"1","modifiedIndex":4,"createdIndex":4},{"key":"/a/c\n\"x","#,
    r#""value":"ü\u003c\u003e","modifiedIndex":5,"createdIndex":5}],"modifiedIndex":4,"#,
    r#""createdIndex":4},{"key":"/a-b","dir":true,"nodes":[{"key":"/a-b/q","value":"1","#,
    r#""expiration":"2026-11-22T11:49:18.773737633Z","ttl":1000,"modifiedIndex":7,"#,
    r#""createdIndex":7}],"modifiedIndex":7,"createdIndex":7},{"key":"/a.b","value":"","#,
    r#""modifiedIndex":6,"createdIndex":6},{"key":"/a0","value":"\ufffd\u0000x","#,
    r#""modifiedIndex":10,"createdIndex":10},{"key":"/dir","dir":true,"#,
    r#""expiration":"2026-11-22T11:37:38.784452242Z","ttl":300,"modifiedIndex":8,"#,
    r#""createdIndex":8}]}}"#
);

fn file(key: &str, value: &str, index: u64) -> Node {
    let content = Content::File(value.to_owned());
    Node { key: key.to_owned(), content, created: index, modified: index, expiration: None }
}

fn dir(key: &str, index: u64) -> Node {
    Node { content: Content::Dir, ..file(key, "", index) }
}

fn etcds() -> Vec<Node> {
    let at = |text: &str| Some(text.parse().expect("a time"));
    vec![
        file("/a/b", "1", 4),
        file("/a/c\n\"x", "ü<>", 5),
        dir("/a", 4),
        Node { expiration: at("2026-11-22T11:49:18.773737633Z"), ..file("/a-b/q", "1", 7) },
        dir("/a-b", 7),
        file("/a.b", "", 6),
        file("/a0", "\u{fffd}\u{0}x", 10),
        Node { expiration: at("2026-11-22T11:37:38.784452242Z"), ..dir("/dir", 8) },
    ]
}

#[test]
fn an_answer_of_etcd_is_read() {
    assert_eq!(parsed(ETCD.as_bytes(), "/"), (etcds(), Ok(())));
    // With the newline that etcdynamo ends it with, and byte by byte.
    let answer = format!("{ETCD}\n");
    let bytes = answer.as_bytes().chunks(1).collect();
    assert_eq!(parsed(Slow { bytes, end: None }, "/"), (etcds(), Ok(())));
}

#[test]
fn an_answer_of_etcdynamo_is_read() {
    let answer = concat!(
        r#"{"action":"get","node":{"key":"/a","dir":true,"nodes":[{"key":"/a/b","#,
        r#""value":"1","expiration":"2026-11-22T11:49:18.773Z","ttl":100,"#,
        r#""modifiedIndex":1795314224919918,"createdIndex":1795314224919917}],"#,
        r#""modifiedIndex":1795314224919916,"createdIndex":1795314224919916}}"#,
        "\n"
    );
    let (nodes, result) = parsed(answer.as_bytes(), "/a");
    assert_eq!(result, Ok(()));
    let expiration = Some("2026-11-22T11:49:18.773Z".parse().expect("a time"));
    let child = file("/a/b", "1", 1_795_314_224_919_918);
    let child = Node { created: 1_795_314_224_919_917, expiration, ..child };
    assert_eq!(nodes, [child, dir("/a", 1_795_314_224_919_916)]);
}

#[test]
fn what_was_asked_for_may_be_a_file_or_an_empty_root() {
    let answer =
        r#"{"action":"get","node":{"key":"/f","value":"1","modifiedIndex":4,"createdIndex":3}}"#;
    let expected = Node { created: 3, ..file("/f", "1", 4) };
    assert_eq!(parsed(answer.as_bytes(), "/f"), (vec![expected], Ok(())));
    for root in [r#"{"dir":true}"#, r#"{"key":"/","dir":true,"nodes":[]}"#] {
        let answer = format!(r#"{{"action":"get","node":{root}}}"#);
        assert_eq!(parsed(answer.as_bytes(), "/"), (vec![], Ok(())));
    }
}

#[test]
fn every_cut_is_told_and_no_node_is_made_up() {
    for length in 0..ETCD.len() {
        let (nodes, result) = parsed(&ETCD.as_bytes()[..length], "/");
        assert!(matches!(result, Err(Misread::Broken(_))), "{length}: {result:?}");
        assert_eq!(nodes, etcds()[..nodes.len()], "{length}");
    }
    let bytes = VecDeque::from([&ETCD.as_bytes()[..300]]);
    let (_, result) = parsed(Slow { bytes, end: Some(io::Error::other("reset")) }, "/");
    assert_eq!(result, Err(Misread::Broken("reset".to_owned())));
}

#[test]
fn what_is_no_listing_is_strange() {
    let in_root = |nodes: &str| format!(r#"{{"node":{{"dir":true,"nodes":[{nodes}]}}}}"#);
    let indexes = r#""modifiedIndex":4,"createdIndex":4"#;
    for (answer, why) in [
        ("<html>".to_owned(), "no JSON at byte 1"),
        ("[]".to_owned(), "of another type"),
        ("{}".to_owned(), "has no node"),
        (r#"{"node":7}"#.to_owned(), "of another type"),
        (r#"{"node":{}}"#.to_owned(), "a root that is a file"),
        (format!(r#"{{"node":{{"key":"/a","value":"1",{indexes}}}}}"#), r#""/a" in a wrong place"#),
        (format!("{} x", in_root("")), "no JSON at byte"),
        (in_root(&format!(r#"{{"key":"/a","value":"SECRET",{indexes},"dir":1}}"#)), "another type"),
        (in_root(&format!(r#"{{"key":"/a","value":{{"SECRET":1}},{indexes}}}"#)), "another type"),
        (in_root(r#"{"key":"/a","value":"1","createdIndex":"SECRET"}"#), "of another type"),
        (in_root(r#"{"key":"/a","value":"1","createdIndex":-4}"#), "of another type"),
        (in_root(r#"{"key":"/a","value":"1","createdIndex":4}"#), "or modifiedIndex of \"/a\""),
        (in_root(&format!(r#"{{"value":"1",{indexes}}}"#)), "a node without a key"),
        (in_root(&format!(r#"{{"key":"/a/b","value":"1",{indexes}}}"#)), "\"/a/b\" in a wrong"),
        (in_root(&format!(r#"{{"key":"/","dir":true,{indexes}}}"#)), "\"/\" in a wrong place"),
        (in_root(&format!(r#"{{"key":"/..","value":"1",{indexes}}}"#)), "\"/..\" in a wrong"),
        (in_root(&format!(r#"{{"key":"/a","key":"/b",{indexes}}}"#)), "a second key"),
        (in_root(r#"{"nodes":[],"key":"/a"}"#), "of a directory before its key"),
        (in_root(r#"{"key":"/a","nodes":[],"nodes":[]}"#), "a second nodes"),
        (in_root(&format!(r#"{{"key":"/a","nodes":[],{indexes}}}"#)), "a file \"/a\" with nodes"),
        (
            in_root(&format!(r#"{{"key":"/a","dir":true,"value":"SECRET",{indexes}}}"#)),
            "a directory \"/a\" with a value",
        ),
        (
            in_root(&format!(r#"{{"key":"/a","value":"1","expiration":"soon",{indexes}}}"#)),
            "no time of RFC 3339: \"soon\"",
        ),
    ] {
        let what = strange(&answer);
        assert!(what.contains(why), "{answer}: {what}");
        assert!(!what.contains("SECRET"), "{what}");
    }
}

/// A listing of a file in so many directories.
fn deep(directories: usize) -> String {
    let mut answer = r#"{"node":{"dir":true"#.to_owned();
    let mut key = String::new();
    for _ in 0..directories {
        key.push_str("/d");
        answer.push_str(&format!(r#","nodes":[{{"key":"{key}","dir":true"#));
    }
    answer.push_str(&format!(
        r#","nodes":[{{"key":"{key}/f","value":"","modifiedIndex":1,"createdIndex":1}}]"#
    ));
    for _ in 0..directories {
        answer.push_str(r#","modifiedIndex":1,"createdIndex":1}]"#);
    }
    answer.push_str("}}");
    answer
}

#[test]
fn deep_trees_are_read_and_bottomless_ones_are_refused() {
    let (nodes, result) = parsed(deep(DEEPEST - 1).as_bytes(), "/");
    assert_eq!((nodes.len(), result), (DEEPEST, Ok(())));
    assert_eq!(strange(&deep(DEEPEST)), "its answer has a node in more than 1000 directories");
    // What is left out is not followed.
    let (_, result) = parsed(
        format!(
            r#"{{"x":{}{},"node":{{"dir":true}}}}"#,
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        )
        .as_bytes(),
        "/",
    );
    assert_eq!(result, Ok(()));
}

#[test]
fn a_node_without_end_is_refused() {
    let begin = br#"{"node":{"dir":true,"nodes":[{"key":"/a","value":""#;
    let (_, result) = parsed(begin.chain(io::repeat(b'x')), "/");
    let Err(Misread::Broken(what)) = result else { panic!("{result:?}") };
    assert_eq!(what, "its answer has more than 67108864 bytes for one node");
}

#[test]
fn who_wants_no_more_gets_no_more() {
    let mut count = 0;
    let result = parse(ETCD.as_bytes(), "/", &mut |_| {
        count += 1;
        count < 3
    });
    assert_eq!((count, result), (3, Err(Misread::Stopped)));
}
