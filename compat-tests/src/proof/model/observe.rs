//! Whether an answer is the one that v2 gives, and what it tells of indexes and times unknown so far.

use super::apply::{Applied, Refusal};
use super::state::{Expires, Node, State, ancestors};
use super::{Numbered, PrevNode};
use crate::proof::history::{Call, Reply, Shown, Verb};

/// The state with all that an answer shows of what was there before the call. `None`: it shows
/// what can't be.
pub(super) fn learn(demand: PrevNode, state: &State, call: &Call) -> Option<State> {
    let mut state = state.clone();
    let operation = &call.operation;
    match &call.reply {
        Reply::Done { .. } if operation.verb == Verb::Sweep => {}
        Reply::Done { node, prev, .. } => {
            if !operation.writes() {
                learn_node(&mut state, node)?;
            }
            if let Some(prev) = prev {
                learn_node(&mut state, prev)?;
            }
            let found = state.nodes.get(&operation.key).cloned();
            if let (Some(found), Some(wanted)) = (&found, operation.prev_index) {
                state.bind(found.modified, wanted)?;
            }
            let keeps = keeps_created(operation.verb) && !is_partly_lost(demand, &call.reply);
            if let (Some(found), true) = (&found, keeps) {
                state.bind(found.created, node.created)?;
            }
        }
        Reply::Refused { code: 101, cause } => {
            let shown = cause.rsplit(" != ").next().and_then(|tail| tail.strip_suffix(']'));
            let shown = shown.and_then(|index| index.parse().ok());
            let found = state.nodes.get(&operation.key).map(|node| node.modified);
            if let (Some(shown), Some(found), Some(_)) = (shown, found, operation.prev_index) {
                state.bind(found, shown)?;
            }
        }
        Reply::Refused { .. } | Reply::NotListed | Reply::Unknown(_) => {}
    }
    Some(state)
}

/// Whether the answer is of a write that was found to have happened, and was written over by then:
/// neither the node before is known, nor what it left unchanged.
fn is_partly_lost(demand: PrevNode, reply: &Reply) -> bool {
    matches!(reply, Reply::Done { node, prev: None, .. }
        if demand == PrevNode::MayBeLost && node.created == node.modified)
}

fn keeps_created(verb: Verb) -> bool {
    !matches!(verb, Verb::Get | Verb::List | Verb::Set | Verb::Create | Verb::MakeDir | Verb::Post)
}

/// A node that was there, as it was shown.
fn learn_node(state: &mut State, shown: &Shown) -> Option<()> {
    let Some(node) = state.nodes.get(&shown.key).cloned() else {
        // The top is not in the model.
        return shown.key.is_empty().then_some(());
    };
    state.bind(node.modified, shown.modified)?;
    let created = state.nodes.get(&shown.key)?.created;
    state.bind(created, shown.created)?;
    let expires = exact(node.expires, shown.expires)?;
    let is_same = node.value == shown.value && node.value.is_none() == shown.dir;
    state.nodes.get_mut(&shown.key)?.expires = expires;
    is_same.then_some(())
}

/// The expiration, now that it was shown. `None`: it can't be.
fn exact(expected: Option<Expires>, shown: Option<i64>) -> Option<Option<Expires>> {
    match (expected, shown) {
        (None, None) => Some(None),
        (Some(expected), Some(at)) => (expected.earliest..=expected.latest)
            .contains(&at)
            .then_some(Some(Expires { earliest: at, latest: at })),
        (None, Some(_)) | (Some(_), None) => None,
    }
}

/// The state after a success, if it says what v2 says.
pub(super) fn done(prev_node: PrevNode, applied: Applied, numbered: &Numbered) -> Option<State> {
    let Numbered { number, call } = numbered;
    let Applied { mut state, key, written, before } = applied;
    let Reply::Done { status, node, prev, .. } = &call.reply else { return None };
    if call.operation.verb == Verb::Sweep {
        return Some(state);
    }
    if !call.operation.writes() {
        return (*status == 200 && (node.key == key)).then_some(state);
    }
    let was = before.as_ref();
    if node.key != key || !is_before(prev_node, was, prev.as_ref()) {
        return None;
    }
    if !is_status(call.operation.verb, *status, was, prev.as_ref()) {
        return None;
    }
    // Below a removed directory each node goes with an index of its own.
    for below in written.iter().filter(|below| **below != key) {
        let floor = state.floor(below).max(node.modified);
        state.floors.insert(below.clone(), floor);
    }
    state.raise(&key, node.modified)?;
    state.name(*number, node.modified);
    match state.nodes.get_mut(&key) {
        Some(after) => {
            after.expires = exact(after.expires, node.expires)?;
            let is_lost = is_partly_lost(prev_node, &call.reply);
            let is_found_out = prev_node == PrevNode::MayBeLost && prev.is_none();
            let is_kept = call.operation.verb == Verb::Refresh && is_found_out;
            let is_value =
                after.value == node.value || (is_kept && node.value.as_deref() == Some(""));
            let is_created = is_lost || after.created == super::Index::Known(node.created);
            (is_value && is_created && after.value.is_none() == node.dir).then_some(state)
        }
        None => {
            let was_dir = was.is_some_and(|was| was.value.is_none());
            (node.value.is_none() && node.dir == was_dir).then_some(state)
        }
    }
}

/// Whether `prevNode` is there where it has to be. What it shows was held against the state before.
fn is_before(demand: PrevNode, was: Option<&Node>, prev: Option<&Shown>) -> bool {
    match (was, prev) {
        (None, None) | (Some(_), Some(_)) => true,
        (Some(_), None) => demand == PrevNode::MayBeLost,
        (None, Some(_)) => false,
    }
}

fn is_status(verb: Verb, status: u16, was: Option<&Node>, prev: Option<&Shown>) -> bool {
    match verb {
        Verb::Create | Verb::MakeDir | Verb::Post => status == 201,
        Verb::Set if was.is_some() && prev.is_none() => matches!(status, 200 | 201),
        Verb::Set => status == if was.is_some() { 200 } else { 201 },
        Verb::Get
        | Verb::List
        | Verb::Update
        | Verb::Swap
        | Verb::Refresh
        | Verb::Delete
        | Verb::CompareAndDelete
        | Verb::RemoveDir
        | Verb::RemoveTree
        | Verb::Sweep => status == 200,
    }
}

/// Whether an error is the one that v2 gives.
pub(super) fn is_refusal(
    state: &State,
    call: &Call,
    refusal: &Refusal,
    code: u16,
    cause: &str,
) -> bool {
    let key = call.operation.key.as_str();
    match refusal {
        // The path is looked at part by part: which one is missing first may be older news than
        // that the node itself is.
        Refusal::Missing => code == 100 && (cause == key || ancestors(key).contains(&cause)),
        Refusal::Differs => code == 101 && cause == differs(state, call),
        Refusal::NotFile => code == 102 && cause == key,
        Refusal::NotDir(file) => code == 104 && cause == file,
        Refusal::Exists => code == 105 && cause == key,
        Refusal::NotEmpty => code == 108 && cause == key,
    }
}

/// The cause of a 101.
fn differs(state: &State, call: &Call) -> String {
    let operation = &call.operation;
    let Some(node) = state.nodes.get(&operation.key) else { return String::new() };
    let mut causes = Vec::new();
    let value = node.value.as_deref().unwrap_or_default();
    if let Some(wanted) = operation.prev_value.as_deref().filter(|wanted| *wanted != value) {
        causes.push(format!("[{wanted} != {value}]"));
    }
    if let (Some(wanted), super::Index::Known(index)) = (operation.prev_index, node.modified)
        && wanted != index
    {
        causes.push(format!("[{wanted} != {index}]"));
    }
    causes.join(" ")
}
