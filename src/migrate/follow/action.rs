//! What an event of the source means for the target: pure.
//!
//! An event says what a node is, not by how much it changed, so what comes of it is "set this path
//! to this state". Told apart are only writes that give a new createdIndex (`set`, `create`) and
//! those that keep it (`update`, `compareAndSwap`), as the order of creation is kept.
//!
//! Invariant: what is not for the tree that is followed comes to nothing; what is not understood
//! leads to reading the node again.

use jiff::Timestamp;

use super::super::node::{is_below, is_hidden_below};
use crate::v2client::Event;

/// What to do at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Make a node anew, whatever is there.
    Make(Written),
    /// Change a node that is there.
    Change(Written),
    /// Remove a file.
    RemoveFile(String),
    /// Remove a node with all that is below it.
    RemoveTree(String),
    /// Read this node of the source again.
    Reread(String),
    /// Nothing.
    Nothing,
}

/// A node as an event shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) key: String,
    /// `None`: it is a directory.
    pub(super) value: Option<String>,
    pub(super) created: u64,
    pub(super) expiration: Option<Timestamp>,
}

/// What an event means that the watch of `root` brought.
///
/// Beside what is below it, a watch is told of the removal of directories above it. When etcd looks
/// back, it also tells of hidden nodes, and of the removal of what only begins like `root`.
pub(super) fn action(event: Event, root: &str) -> Action {
    let Event { action, node, prev_node } = event;
    let Some(key) = node.key else { return Action::Nothing };
    let is_removal = matches!(action.as_str(), "delete" | "compareAndDelete" | "expire");
    if key != root && is_below(root, &key) {
        return if is_removal { Action::RemoveTree(root.to_owned()) } else { Action::Nothing };
    }
    let is_inside = key == root || (is_below(&key, root) && !is_hidden_below(&key, root));
    if !is_inside {
        return Action::Nothing;
    }
    if is_removal {
        // The node of an expiry says at etcd 2.3 not what it was.
        let was_dir = node.dir || prev_node.is_some_and(|node| node.dir);
        return if was_dir { Action::RemoveTree(key) } else { Action::RemoveFile(key) };
    }
    let value = match (node.dir, node.value) {
        (true, _) => None,
        (false, Some(value)) => Some(value),
        (false, None) => return Action::Reread(key),
    };
    let (created, expiration) = (node.created_index, node.expiration);
    let written = Written { key, value, created, expiration };
    match action.as_str() {
        "set" | "create" => Action::Make(written),
        "update" | "compareAndSwap" => Action::Change(written),
        _ => Action::Reread(written.key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2client::Node;

    fn event(action: &str, node: Node, before: Option<Node>) -> Event {
        Event { action: action.to_owned(), node, prev_node: before }
    }

    fn file(key: &str) -> Node {
        Node { key: Some(key.to_owned()), value: Some("v".to_owned()), ..Node::default() }
    }

    fn dir(key: &str) -> Node {
        Node { key: Some(key.to_owned()), dir: true, ..Node::default() }
    }

    fn gone(key: &str) -> Node {
        Node { key: Some(key.to_owned()), ..Node::default() }
    }

    fn written(key: &str, value: Option<&str>) -> Written {
        let value = value.map(str::to_owned);
        Written { key: key.to_owned(), value, created: 0, expiration: None }
    }

    #[test]
    fn every_action_of_v2() {
        let (make, change) = (Action::Make, Action::Change);
        let remove_file = |key: &str| Action::RemoveFile(key.to_owned());
        let remove_tree = |key: &str| Action::RemoveTree(key.to_owned());
        for (name, node, before, expected) in [
            ("set", file("/a/f"), None, make(written("/a/f", Some("v")))),
            ("set", file("/a/f"), Some(file("/a/f")), make(written("/a/f", Some("v")))),
            ("set", dir("/a/d"), Some(file("/a/d")), make(written("/a/d", None))),
            ("create", file("/a/f"), None, make(written("/a/f", Some("v")))),
            ("create", dir("/a/d"), None, make(written("/a/d", None))),
            ("update", file("/a/f"), None, change(written("/a/f", Some("v")))),
            ("update", dir("/a/d"), None, change(written("/a/d", None))),
            ("compareAndSwap", file("/a/f"), None, change(written("/a/f", Some("v")))),
            ("delete", gone("/a/f"), Some(file("/a/f")), remove_file("/a/f")),
            ("delete", dir("/a/d"), Some(dir("/a/d")), remove_tree("/a/d")),
            ("compareAndDelete", gone("/a/f"), Some(file("/a/f")), remove_file("/a/f")),
            ("expire", gone("/a/f"), Some(file("/a/f")), remove_file("/a/f")),
            ("expire", gone("/a/d"), Some(dir("/a/d")), remove_tree("/a/d")),
            ("delete", dir("/a"), Some(dir("/a")), remove_tree("/a")),
            ("something", file("/a/f"), None, Action::Reread("/a/f".to_owned())),
            ("set", gone("/a/f"), None, Action::Reread("/a/f".to_owned())),
        ] {
            assert_eq!(action(event(name, node, before), "/a"), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_of_this_tree() {
        let removed = Action::RemoveTree("/a/b".to_owned());
        for (event, expected) in [
            (event("delete", dir("/a"), Some(dir("/a"))), removed.clone()),
            (event("expire", dir("/a"), Some(dir("/a"))), removed),
            (event("delete", dir("/a/bc"), Some(dir("/a/bc"))), Action::Nothing),
            (event("update", dir("/a"), Some(dir("/a"))), Action::Nothing),
            (event("set", file("/a/b/_h"), None), Action::Nothing),
            (event("set", file("/a/b/_h/x"), None), Action::Nothing),
            (event("set", file("/a/bc"), None), Action::Nothing),
        ] {
            let name = format!("{event:?}");
            assert_eq!(action(event, "/a/b"), expected, "{name}");
        }
    }

    #[test]
    fn a_hidden_subtree_is_followed_by_its_own_watch() {
        let made = |key| Action::Make(written(key, Some("v")));
        assert_eq!(action(event("set", file("/_h/x"), None), "/"), Action::Nothing);
        assert_eq!(action(event("set", file("/_h/x"), None), "/_h"), made("/_h/x"));
        assert_eq!(action(event("set", file("/_h/_i/x"), None), "/_h"), Action::Nothing);
    }
}
