//! Tables of trees and what differs.

use std::collections::BTreeMap;
use std::io::{BufRead, Cursor};

use proptest::prelude::*;

use super::*;
use crate::migrate::dump::{Header, Reader, Writer};
use crate::migrate::{DumpReader, Scope};

/// 2026-11-22T12:00:00Z.
struct Noon;

impl Clock for Noon {
    fn now_us(&self) -> u64 {
        1_795_348_800_000_000
    }
}

fn file(key: &str, value: &str, created: u64) -> Node {
    let content = Content::File(value.to_owned());
    Node { key: key.to_owned(), content, created, modified: created, expiration: None }
}

fn dir(key: &str, created: u64) -> Node {
    Node { content: Content::Dir, ..file(key, "", created) }
}

/// The same, to expire at this time of that day.
fn until(time: &str, node: Node) -> Node {
    let at = format!("2026-11-22T{time}Z").parse().expect("a time");
    Node { expiration: Some(at), ..node }
}

fn header() -> Header {
    Header {
        source: String::new(),
        server_version: None,
        scope: Scope::new("/".to_owned(), vec!["/_h/x".to_owned()]).expect("a scope"),
        index: 1,
        time: Timestamp::UNIX_EPOCH,
    }
}

fn dump(nodes: &[Node]) -> DumpReader {
    let mut writer = Writer::begin(Vec::new(), &header()).expect("begun");
    nodes.iter().for_each(|node| writer.node(node).expect("written"));
    read(writer.finish().expect("written"))
}

fn read(dump: Vec<u8>) -> DumpReader {
    Reader::begin(Box::new(Cursor::new(dump)) as Box<dyn BufRead + Send>).expect("begun")
}

fn tree(dump: &mut DumpReader) -> Tree<'_> {
    Tree::Dump(dump, "FILE".to_owned())
}

async fn compared_at_most(most: usize, from: &[Node], to: &[Node]) -> Comparison {
    let comparing = Comparing { most, clock: &Noon };
    let (mut from, mut to) = (dump(from), dump(to));
    let compared = comparing.compare(&mut tree(&mut from), &mut tree(&mut to), |_| ()).await;
    compared.expect("both are whole")
}

async fn compared(from: &[Node], to: &[Node]) -> Vec<String> {
    let found = compared_at_most(100, from, to).await;
    assert_eq!(found.differences(), found.first.len() as u64, "{found:?}");
    assert_eq!((found.from, found.to), (from.len() as u64, to.len() as u64));
    found.first.iter().map(Difference::to_string).collect()
}

#[tokio::test]
async fn equal_trees_are_equal_whatever_their_indexes() {
    let from = [file("/_h/x", "0", 9), file("/a/b", "1", 4), dir("/a", 3), file("/b", "2", 7)];
    let to = [file("/_h/x", "0", 1), file("/a/b", "1", 400), dir("/a", 20), file("/b", "2", 30)];
    assert_eq!(compared(&from, &to).await, [""; 0]);
    assert_eq!(compared(&[], &[]).await, [""; 0]);
}

#[tokio::test]
async fn every_kind_of_difference_is_told_without_values() {
    let from = [
        file("/a/b", "SECRET", 4),
        file("/a/gone", "", 6),
        dir("/a", 3),
        file("/kind", "", 8),
        until("13:00:00", file("/never", "", 10)),
        until("13:00:00", file("/other", "", 11)),
        until("13:00:00", file("/same", "", 12)),
        file("/sometime", "", 13),
    ];
    let to = [
        file("/a/b", "OTHER SECRET", 4),
        dir("/a", 3),
        file("/extra\u{1b}", "", 7),
        file("/kind/f", "", 8),
        dir("/kind", 8),
        file("/never", "", 10),
        until("13:00:02.001", file("/other", "", 11)),
        until("12:59:58", file("/same", "", 12)),
        until("13:00:00.25", file("/sometime", "", 13)),
    ];
    let expected = [
        "/a/b: the values differ",
        "/a/gone: missing",
        "/extra\\u{1b}: only there",
        "/kind/f: only there",
        "/kind: a file here and a directory there, or the other way round",
        "/never: expires 2026-11-22T13:00:00Z here, never there",
        "/other: expires 2026-11-22T13:00:00Z here, 2026-11-22T13:00:02.001Z there",
        "/sometime: expires never here, 2026-11-22T13:00:00.25Z there",
    ];
    assert_eq!(compared(&from, &to).await, expected);
    let found = compared_at_most(2, &from, &to).await;
    assert_eq!((found.differences(), found.first.len()), (8, 2));
    assert_eq!(
        found.summary(),
        "1 missing, 2 only there, 1 of another kind, 1 with another value, 3 with another expiration"
    );
}

#[tokio::test]
async fn the_order_of_creation_counts_within_a_directory() {
    let from = [file("/q/a", "", 3), file("/q/b", "", 4), file("/q/c", "", 5), dir("/q", 2)];
    let same = [file("/q/a", "", 30), file("/q/b", "", 31), file("/q/c", "", 99), dir("/q", 98)];
    assert_eq!(compared(&from, &same).await, [""; 0]);
    let other = [file("/q/a", "", 3), file("/q/b", "", 5), file("/q/c", "", 4), dir("/q", 2)];
    assert_eq!(
        compared(&from, &other).await,
        ["/q: its nodes with createdIndex 4 and 5 were created in the other order"]
    );
    // One that is gone has no order, and one index of two nodes says nothing of theirs.
    let fewer = [file("/q/c", "", 1), dir("/q", 2)];
    assert_eq!(compared(&from, &fewer).await, ["/q/a: missing", "/q/b: missing"]);
    let at_once = [file("/q/a", "", 3), file("/q/b", "", 3), file("/q/c", "", 3), dir("/q", 3)];
    assert_eq!(compared(&from, &at_once).await, [""; 0]);
    assert_eq!(compared(&at_once, &other).await, [""; 0]);
    // Nodes of two directories have none either, but the directories do.
    let from = [file("/a/f", "", 1), dir("/a", 2), file("/b/f", "", 3), dir("/b", 4)];
    let to = [file("/a/f", "", 3), dir("/a", 4), file("/b/f", "", 1), dir("/b", 2)];
    assert_eq!(
        compared(&from, &to).await,
        ["/: its nodes with createdIndex 2 and 4 were created in the other order"]
    );
}

#[tokio::test]
async fn what_expired_meanwhile_is_no_difference() {
    let gone = [
        file("/d/e/f", "", 3),
        dir("/d/e", 3),
        until("11:00:00", file("/d/g", "", 3)),
        until("11:59:59", dir("/d", 2)),
        until("12:00:02", file("/soon", "", 4)),
    ];
    for (from, to) in [(&gone[..], &[][..]), (&[][..], &gone[..])] {
        let found = compared_at_most(1, from, to).await;
        assert_eq!((found.differences(), found.expired), (0, 5), "{found:?}");
        assert_eq!(found.first, []);
    }
    let later = [file("/d/f", "", 3), until("12:00:02.001", dir("/d", 2))];
    assert_eq!(compared(&later, &[]).await, ["/d/f: missing", "/d: missing"]);
    // Only what is below it went with it.
    let from = [file("/a", "", 1), file("/d/f", "", 3), until("11:00:00", dir("/d", 2))];
    let found = compared_at_most(9, &from, &[file("/b", "", 1)]).await;
    assert_eq!((found.missing, found.extra, found.expired), (1, 1, 2));
    assert_eq!(found.first.len(), 2);
}

#[tokio::test]
async fn a_tree_that_is_not_whole_is_no_result() {
    let mut writer = Writer::begin(Vec::new(), &header()).expect("begun");
    writer.node(&file("/a", "1", 1)).expect("written");
    let mut cut = writer.finish().expect("written");
    cut.truncate(cut.len() - 10);
    let (mut whole, mut cut) = (dump(&[file("/a", "1", 1)]), read(cut));
    let comparing = Comparing { most: 9, clock: &Noon };
    let error = comparing.compare(&mut tree(&mut whole), &mut tree(&mut cut), |_| ()).await;
    let error = error.expect_err("it is refused").to_string();
    assert!(error.starts_with("FILE: line 3: ") && error.ends_with("it is truncated"), "{error}");
}

/// The tree of these files, each with its value and createdIndex; what cannot be is left out.
fn grown(files: &[(String, u8, u64)]) -> BTreeMap<String, Node> {
    let mut tree = BTreeMap::<String, Node>::new();
    for (key, value, created) in files {
        let above: Vec<&str> = key.match_indices('/').skip(1).map(|(at, _)| &key[..at]).collect();
        let is_file = |key: &&str| tree.get(*key).is_some_and(|node| !node.is_dir());
        if tree.contains_key(key) || above.iter().any(is_file) {
            continue;
        }
        for above in above {
            tree.entry(above.to_owned()).or_insert_with(|| dir(above, *created));
        }
        tree.insert(key.clone(), file(key, &value.to_string(), *created));
    }
    tree
}

fn sorted(tree: &BTreeMap<String, Node>) -> Vec<Node> {
    let mut nodes: Vec<Node> = tree.values().cloned().collect();
    nodes.sort_by(|a, b| order::compare(&a.key, &b.key));
    nodes
}

/// Whether two nodes of one directory were created in one order here, and in the other there.
fn any_swap(a: &BTreeMap<String, Node>, b: &BTreeMap<String, Node>) -> bool {
    let both: Vec<_> = a.values().filter_map(|node| Some((node, b.get(&node.key)?))).collect();
    both.iter().any(|(one, one_there)| {
        both.iter().any(|(other, other_there)| {
            parent(&one.key) == parent(&other.key)
                && one.created < other.created
                && one_there.created > other_there.created
        })
    })
}

prop_compose! {
    fn any_files()(
        files in proptest::collection::vec(("(/(a|a!|b)){1,4}", 0..3_u8, 1..20_u64), 0..12)
    ) -> Vec<(String, u8, u64)> {
        files
    }
}

proptest! {
    #[test]
    fn what_is_found_is_what_looking_at_every_pair_finds(from in any_files(), to in any_files()) {
        let (a, b) = (grown(&from), grown(&to));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let found = runtime.block_on(compared_at_most(1000, &sorted(&a), &sorted(&b)));
        let both = || a.values().filter_map(|node| Some((node, b.get(&node.key)?)));
        let count = |all: usize| all as u64;
        prop_assert_eq!(found.missing, count(a.keys().filter(|key| !b.contains_key(*key)).count()));
        prop_assert_eq!(found.extra, count(b.keys().filter(|key| !a.contains_key(*key)).count()));
        let kinds = both().filter(|(a, b)| a.is_dir() != b.is_dir()).count();
        prop_assert_eq!(found.kinds, count(kinds));
        let is_other = |(a, b): &(&Node, &Node)| {
            a.is_dir() == b.is_dir() && a.content != b.content
        };
        prop_assert_eq!(found.values, count(both().filter(is_other).count()));
        prop_assert_eq!(found.orders > 0, any_swap(&a, &b));
        prop_assert_eq!(found.differences(), count(found.first.len()));
    }
}
