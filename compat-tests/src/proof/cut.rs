//! Cuts a history into parts that can be checked each for itself.
//!
//! What is linearizable key by key is linearizable as a whole, where no operation is about several
//! keys. Listings are about several, and are consistent key by key only: they are cut up as well.

use std::collections::BTreeSet;

use super::history::{Call, Operation, Reply, Shown, Verb};

/// The calls about one key.
pub(super) fn of_key(calls: &[Call], key: &str) -> Vec<Call> {
    calls.iter().filter(|call| call.operation.key == key).cloned().collect()
}

/// A listing is consistent key by key: each of its nodes, and each that it does not show, is a read
/// of its own.
pub(super) fn expand(calls: &[Call], keys: &[&str]) -> Vec<Call> {
    let mut expanded = Vec::new();
    for call in calls {
        let nodes = match &call.reply {
            Reply::Done { nodes, .. } if call.operation.verb == Verb::List => nodes.clone(),
            _ => Vec::new(),
        };
        let is_dir = call.node().is_some_and(|node| node.dir);
        expanded.push(call.clone());
        if call.operation.verb != Verb::List || !is_dir {
            continue;
        }
        let dir = &call.operation.key;
        let direct =
            keys.iter().filter(|key| key.rsplit_once('/').is_some_and(|(above, _)| above == dir));
        for key in direct {
            let shown: Option<&Shown> = nodes.iter().find(|node| node.key == **key);
            let reply = match shown {
                Some(node) => {
                    Reply::Done { status: 200, node: node.clone(), prev: None, nodes: Vec::new() }
                }
                None => Reply::NotListed,
            };
            expanded.push(Call {
                operation: Operation::new(Verb::Get, key),
                reply,
                ..call.clone()
            });
        }
    }
    expanded
}

/// The calls about each key below a large directory, as keys of their own, with the directory's
/// removals as removals of each.
pub(super) fn drained(calls: &[Call], dir: &str) -> Vec<Vec<Call>> {
    let prefix = format!("{dir}/");
    let keys: BTreeSet<&str> = calls
        .iter()
        .map(|call| call.operation.key.as_str())
        .filter(|key| key.starts_with(&prefix))
        .collect();
    let listed: Vec<&str> = keys.iter().copied().collect();
    let calls = expand(calls, &listed);
    let of_key = |key: &&str| calls.iter().filter_map(|call| below(call, dir, key)).collect();
    keys.iter().map(of_key).collect()
}

/// What a call is for one key of a large directory, if it is anything.
fn below(call: &Call, dir: &str, key: &str) -> Option<Call> {
    let name = key.strip_prefix(dir)?.strip_prefix('/')?;
    let own = |operation: &Operation| Operation { key: name.to_owned(), ..operation.clone() };
    if call.operation.verb == Verb::RemoveTree && call.operation.key == dir {
        // One that was refused took nothing.
        let took = !matches!(call.reply, Reply::Refused { .. });
        let operation = Operation::new(Verb::Sweep, name);
        return took.then(|| Call { operation, ..call.clone() });
    }
    if call.operation.key != key {
        return None;
    }
    let own_node = |node: &Shown| Shown { key: name.to_owned(), ..node.clone() };
    let reply = match &call.reply {
        Reply::Done { status, node, prev, .. } => Reply::Done {
            status: *status,
            node: own_node(node),
            prev: prev.as_ref().map(own_node),
            nodes: Vec::new(),
        },
        // That the directory is missing is one way to say that the file is.
        Reply::Refused { code, cause } if cause == key || (*code == 100 && cause == dir) => {
            Reply::Refused { code: *code, cause: name.to_owned() }
        }
        other @ (Reply::Refused { .. } | Reply::NotListed | Reply::Unknown(_)) => other.clone(),
    };
    Some(Call { operation: own(&call.operation), reply, ..call.clone() })
}
