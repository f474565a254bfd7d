//! The order of keys, scopes, and what is no tree.

use proptest::prelude::*;

use super::*;
use crate::migrate::Content;

fn file(key: &str) -> Node {
    let content = Content::File(String::new());
    Node { key: key.to_owned(), content, created: 1, modified: 1, expiration: None }
}

fn dir(key: &str) -> Node {
    Node { content: Content::Dir, ..file(key) }
}

fn scope(prefix: &str, hidden: &[&str]) -> Result<Scope, String> {
    Scope::new(prefix.to_owned(), hidden.iter().map(|key| (*key).to_owned()).collect())
}

fn checked(scope: Scope, nodes: &[Node]) -> Result<(), String> {
    let mut check = Check::new(scope);
    nodes.iter().try_for_each(|node| check.see(node))?;
    check.end()
}

#[test]
fn directories_come_after_what_is_below_them_and_siblings_by_name() {
    let keys =
        ["/!", "/_h", "/a/b", "/a/c/d", "/a/c", "/a", "/a!", "/a-b/q", "/a-b", "/a.b", "/a0", "/b"];
    for (at, key) in keys.iter().enumerate() {
        for (other_at, other) in keys.iter().enumerate() {
            // '_' is above the digits and capitals, and below the small letters.
            assert_eq!(compare(key, other), at.cmp(&other_at), "{key} {other}");
        }
    }
}

/// The order as it is defined, slowly.
fn slowly(a: &str, b: &str) -> Ordering {
    let names = |key: &str| key.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (names(a), names(b));
    match (a.starts_with(&b), b.starts_with(&a)) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(&b),
    }
}

proptest! {
    #[test]
    fn the_order_is_by_names_and_the_deeper_first(
        a in "(/[!a0\u{fc}]{1,3}){1,4}",
        b in "(/[!a0\u{fc}]{1,3}){1,4}",
    ) {
        prop_assert_eq!(compare(&a, &b), slowly(&a, &b));
    }
}

#[test]
fn scopes_that_make_no_sense_are_refused() {
    for (prefix, hidden, why) in [
        ("a", &[][..], "'a' is no key like /a/b"),
        ("/a/", &[], "'/a/' is no key like /a/b"),
        ("/", &["_a"], "'_a' is no key like /a/_b"),
        ("/a", &["/b/_c"], "/b/_c is not below /a"),
        ("/_a", &["/_a/b"], "/_a/b is not hidden: no name in it begins with _"),
        ("/", &["/_a/b", "/_a"], "/_a/b comes with /_a already"),
        ("/", &["/_a", "/_a"], "a hidden node is named twice"),
    ] {
        assert_eq!(scope(prefix, hidden), Err(why.to_owned()));
    }
    let nested = scope("/", &["/_b", "/_a/_b/c", "/_a", "/_a-b"]).expect("it makes sense");
    assert_eq!(nested.hidden, ["/_a", "/_a/_b/c", "/_a-b", "/_b"]);
    assert_eq!(nested.to_string(), "/ with /_a, /_a/_b/c, /_a-b, /_b");
}

#[test]
fn trees_pass() {
    let all = || scope("/", &[]).expect("a scope");
    assert_eq!(checked(all(), &[]), Ok(()));
    let tree = [file("/a/b"), dir("/a/c"), dir("/a"), file("/a-b"), file("/b/c/d"), dir("/b/c")];
    assert_eq!(checked(all(), &[&tree[..], &[dir("/b")]].concat()), Ok(()));
    let below = scope("/x/y", &["/x/y/_z", "/x/y/_p/q"]).expect("a scope");
    let tree = [file("/x/y/_p/q"), file("/x/y/_z/1"), dir("/x/y/_z"), file("/x/y/a"), dir("/x/y")];
    assert_eq!(checked(below, &tree), Ok(()));
    assert_eq!(checked(scope("/x/y", &[]).expect("a scope"), &[file("/x/y")]), Ok(()));
}

#[test]
fn what_is_no_tree_does_not_pass() {
    for (nodes, why) in [
        (vec![file("/")], r#""/" is no key of a node"#),
        (vec![file("/a/../b")], r#""/a/../b" is no key of a node"#),
        (vec![file("/b"), file("/a")], r#""/a" comes after "/b": this is not sorted"#),
        (vec![file("/a"), file("/a")], r#""/a" comes twice"#),
        (vec![dir("/a"), file("/a/b")], r#""/a/b" comes after "/a": this is not sorted"#),
        (vec![file("/a/b"), file("/a")], r#""/a" is a file, and "/a/b" is below it"#),
        (vec![file("/a/b"), file("/c")], r#""/a/b" is there, and its directory is not"#),
        (vec![file("/a/b/c"), dir("/a")], r#""/a/b/c" is there, and its directory is not"#),
        (vec![file("/a/b")], r#""/a/b" is there, and its directory is not"#),
        (vec![file("/_a")], r#""/_a" is no part of /"#),
    ] {
        assert_eq!(checked(scope("/", &[]).expect("a scope"), &nodes), Err(why.to_owned()));
    }
    let below = scope("/x", &["/x/_h"]).expect("a scope");
    for (key, why) in [
        ("/y", r#""/y" is no part of /x with /x/_h"#),
        ("/x/_h/_i", r#""/x/_h/_i" is no part of /x with /x/_h"#),
    ] {
        assert_eq!(checked(below.clone(), &[file(key)]), Err(why.to_owned()));
    }
}
