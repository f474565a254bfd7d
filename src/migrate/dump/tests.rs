//! What is written is read again, and nothing else is.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header {
        source: "http://127.0.0.1:2379".to_owned(),
        server_version: Some("3.4.23".to_owned()),
        scope: Scope::new("/".to_owned(), vec!["/_h".to_owned()]).expect("a scope"),
        index: 17,
        time: "2026-11-22T11:49:18Z".parse().expect("a time"),
    }
}

fn file(key: &str, value: &str) -> Node {
    let content = Content::File(value.to_owned());
    Node { key: key.to_owned(), content, created: 4, modified: 9, expiration: None }
}

fn dir(key: &str) -> Node {
    Node { content: Content::Dir, ..file(key, "") }
}

fn small() -> Vec<Node> {
    let expiration = Some("2026-11-22T12:00:00.5Z".parse().expect("a time"));
    vec![
        file("/_h", "\u{0}\n\"\\ü\u{fffd}"),
        file("/a/b", ""),
        Node { expiration, ..dir("/a/c") },
        dir("/a"),
    ]
}

fn written(header: &Header, nodes: &[Node]) -> Result<Vec<u8>, DumpError> {
    let mut writer = Writer::begin(Vec::new(), header)?;
    nodes.iter().try_for_each(|node| writer.node(node))?;
    assert_eq!(writer.nodes(), nodes.len() as u64);
    let bytes = writer.bytes();
    let out = writer.finish()?;
    assert!((out.len() as u64) > bytes, "the last line comes on top");
    Ok(out)
}

fn read(dump: &[u8]) -> Result<(Header, Vec<Entry>), DumpError> {
    let mut reader = Reader::begin(dump)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry);
    }
    assert_eq!(reader.next(), Ok(None), "and it stays at its end");
    assert_eq!(reader.bytes(), dump.len() as u64);
    Ok((reader.header().clone(), entries))
}

fn refused(dump: &[u8]) -> String {
    read(dump).expect_err("it is refused").to_string()
}

#[test]
fn the_format_is_as_documented() {
    let text = written(&header(), &small()).expect("written");
    let text = String::from_utf8(text).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            concat!(
                r#"{"format":"etcdynamo dump","version":1,"source":"http://127.0.0.1:2379","#,
                r#""serverVersion":"3.4.23","prefix":"/","hidden":["/_h"],"index":17,"#,
                r#""time":"2026-11-22T11:49:18Z"}"#
            ),
            concat!(
                r#"{"key":"/_h","value":"\u0000\n\"\\ü"#,
                "\u{fffd}",
                r#"","createdIndex":4,"modifiedIndex":9}"#
            ),
            r#"{"key":"/a/b","value":"","createdIndex":4,"modifiedIndex":9}"#,
            concat!(
                r#"{"key":"/a/c","dir":true,"createdIndex":4,"modifiedIndex":9,"#,
                r#""expiration":"2026-11-22T12:00:00.5Z"}"#
            ),
            r#"{"key":"/a","dir":true,"createdIndex":4,"modifiedIndex":9}"#,
        ]
    );
    assert!(lines[5].starts_with(r#"{"nodes":4,"sha256":""#), "{}", lines[5]);
    assert_eq!((lines.len(), lines[5].len()), (6, 87));
    assert!(text.ends_with("\"}\n"));
}

#[test]
fn nodes_are_found_again_by_their_offsets() {
    let dump = written(&header(), &small()).expect("written");
    let (read_header, entries) = read(&dump).expect("it is whole");
    assert_eq!(read_header, header());
    let mut file = Cursor::new(&dump);
    for (entry, node) in entries.iter().zip(small()).rev() {
        assert_eq!(entry.node, node);
        assert_eq!(node_at(&mut file, entry.at), Ok(node));
    }
    let error = node_at(&mut file, 3).expect_err("no line begins there");
    assert!(error.to_string().contains("byte 3"), "{error}");
}

#[test]
fn every_flipped_byte_is_refused() {
    let dump = written(&header(), &small()).expect("written");
    for at in 0..dump.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut damaged = dump.clone();
            damaged[at] ^= flip;
            assert!(read(&damaged).is_err(), "byte {at} xor {flip}");
        }
    }
}

#[test]
fn every_truncation_is_refused_as_one() {
    let dump = written(&header(), &small()).expect("written");
    for length in 0..dump.len() {
        let why = refused(&dump[..length]);
        assert!(why.ends_with("it is truncated"), "{length}: {why}");
        let line = dump[..length].iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(why.starts_with(&format!("line {line}: ")), "{length}: {why}");
    }
}

#[test]
fn lines_that_are_gone_moved_or_doubled_are_refused() {
    let dump = written(&header(), &small()).expect("written");
    let lines: Vec<&[u8]> = dump.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        let (mut gone, mut doubled) = (lines.clone(), lines.clone());
        gone.remove(at);
        doubled.insert(at, lines[at]);
        assert!(read(&gone.concat()).is_err(), "without line {at}");
        assert!(read(&doubled.concat()).is_err(), "line {at} twice");
        for other in 0..at {
            let mut moved = lines.clone();
            moved.swap(at, other);
            assert!(read(&moved.concat()).is_err(), "{at} and {other}");
        }
    }
}

/// A dump of these lines, its checksum right.
fn sealed(lines: &[&str]) -> Vec<u8> {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    text.push_str(&last_line(lines.len() as u64 - 1, digest.as_ref()));
    text.into_bytes()
}

const FIRST: &str = concat!(
    r#"{"format":"etcdynamo dump","version":1,"source":"x","prefix":"/","index":17,"#,
    r#""time":"2026-11-22T11:49:18Z"}"#
);

#[test]
fn what_makes_no_sense_is_refused_though_its_checksum_is_right() {
    for (line, why) in [
        ("", "line 2: it is damaged"),
        ("[]", "line 2: it is damaged"),
        (r#"{"key":"/a","value":1,"createdIndex":1,"modifiedIndex":1}"#, "line 2: it is damaged"),
        (r#"{"key":"/a","value":"","createdIndex":-1,"modifiedIndex":1}"#, "it is damaged"),
        (r#"{"key":"/a","value":"","createdIndex":1}"#, "it is damaged"),
        (r#"{"key":"/a","createdIndex":1,"modifiedIndex":1}"#, "no file and no directory"),
        (
            r#"{"key":"/a","value":"","dir":true,"createdIndex":1,"modifiedIndex":1}"#,
            "it is a file and a directory",
        ),
        (
            r#"{"key":"/a","value":"","createdIndex":1,"modifiedIndex":1,"expiration":"soon"}"#,
            "\"soon\" is no time of RFC 3339",
        ),
        (r#"{"key":"/a/b","value":"","createdIndex":1,"modifiedIndex":1}"#, "directory is not"),
        (r#"{"key":"a","value":"","createdIndex":1,"modifiedIndex":1}"#, "is no key of a node"),
        (r#"{"key":"/_a","value":"","createdIndex":1,"modifiedIndex":1}"#, "is no part of /"),
    ] {
        let refusal = refused(&sealed(&[FIRST, line]));
        assert!(refusal.contains(why), "{line}: {refusal}");
        assert!(!refusal.contains("\"value\""), "{refusal}");
    }
}

#[test]
fn only_this_format_in_this_version_is_read() {
    let (_, entries) = read(&sealed(&[FIRST])).expect("an empty tree");
    assert_eq!(entries, []);
    for (first, why) in [
        (FIRST.replace("\"version\":1", "\"version\":2"), "version 2, and only 1 is known"),
        (FIRST.replace("\"version\":1", "\"version\":\"1\""), "does not say the version"),
        (FIRST.replace("etcdynamo dump", "other"), "this is no \"etcdynamo dump\""),
        ("key,value".to_owned(), "this is no \"etcdynamo dump\""),
        (FIRST.replace("\"/\"", "\"/a/\""), "'/a/' is no key"),
        (FIRST.replace("2026-", "20-"), "no time of RFC 3339"),
        (FIRST.replace("\"index\":17,", ""), "it is damaged"),
    ] {
        let refusal = refused(&sealed(&[&first]));
        assert!(refusal.starts_with("line 1: ") && refusal.contains(why), "{refusal}");
    }
}

#[test]
fn fields_of_later_writers_are_left_out() {
    let first = FIRST.replace("{\"format\"", "{\"keyspace\":\"x\",\"format\"");
    let line = r#"{"key":"/a","value":"1","createdIndex":4,"modifiedIndex":9,"acl":{"x":[1]}}"#;
    let (_, entries) = read(&sealed(&[&first, line])).expect("it is read");
    assert_eq!(entries[0].node, file("/a", "1"));
}

#[test]
fn garbage_behind_the_end_is_refused() {
    let dump = written(&header(), &small()).expect("written");
    for garbage in ["\n", " ", "x", "{\"nodes\":0}\n"] {
        let refusal = refused(&[&dump, garbage.as_bytes()].concat());
        assert_eq!(refusal, "line 6: more comes after what should be the last line");
    }
}

/// Bytes that nobody has to store.
struct Endless;

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn an_endless_line_is_refused() {
    let input = std::io::BufReader::with_capacity(1 << 20, Endless);
    let error = Reader::begin(input).err().expect("it is refused");
    assert!(error.to_string().contains("no dump has such a line"), "{error}");
}

#[test]
fn what_would_be_refused_is_not_written() {
    for (nodes, why) in [
        (vec![file("/b", ""), file("/a", "")], "this is not sorted"),
        (vec![file("/a/b", "")], "its directory is not"),
        (vec![file("/a", &"\u{1}".repeat(LINE_BYTES / 6))], "a node of more than"),
    ] {
        let error = written(&header(), &nodes).expect_err("it is refused");
        assert!(error.to_string().contains(why), "{error}");
    }
}

prop_compose! {
    fn any_file()(
        name in "[^/]{1,9}",
        value in ".*",
        created in any::<u64>(),
        modified in any::<u64>(),
        at in proptest::option::of(-1_000_000_000_000_i64..9_000_000_000_000),
    ) -> Node {
        let expiration = at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        Node { key: format!("/k{name}"), content: Content::File(value), created, modified, expiration }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(nodes in proptest::collection::vec(any_file(), 0..20)) {
        let mut nodes = nodes;
        nodes.sort_by(|a, b| a.key.cmp(&b.key));
        nodes.dedup_by(|a, b| a.key == b.key);
        let dump = written(&header(), &nodes).expect("written");
        let (_, entries) = read(&dump).expect("it is whole");
        prop_assert_eq!(entries.into_iter().map(|entry| entry.node).collect::<Vec<_>>(), nodes);
    }
}
