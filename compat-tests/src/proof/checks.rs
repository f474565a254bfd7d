//! What must hold of a history beside its order: indexes, values, in-order keys, deadlines.
//!
//! Each of these follows from promises that can be said without a model, so what they find is said
//! in one line. Each gives its violations in words, none where all is well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Call, Reply, Verb};

/// Indexes are whole numbers that JavaScript reads exactly.
const INDEX_LIMIT: u64 = 1 << 53;

/// How far an index that was read reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A write through any gateway comes after it: the clocks agree.
    AnyGateway,
    /// Only one through the same gateway, or of the same key: the clocks are apart, and nothing
    /// carries what was read from one gateway to another.
    SameGatewayOrKey,
}

/// Everything of this file.
#[must_use]
pub fn all(calls: &[Call], reach: Reach, deadline: Duration) -> Vec<String> {
    let mut found = indexes_in_range(calls);
    found.extend(indexes_of_keys_rise(calls));
    found.extend(indexes_of_gateways_rise(calls));
    found.extend(indexes_follow_reads(calls, reach));
    found.extend(values_were_written(calls));
    found.extend(own_writes_do_not_refuse(calls));
    found.extend(answered_in_time(calls, deadline));
    found
}

fn indexes_in_range(calls: &[Call]) -> Vec<String> {
    let is_wrong = |index: u64| index == 0 || index >= INDEX_LIMIT;
    let of = |call: &Call| {
        let wrong = call.shown().into_iter().find(|node| {
            !node.key.is_empty() && (is_wrong(node.modified) || node.created > node.modified)
        })?;
        Some(format!("an index out of range: {wrong}"))
    };
    calls.iter().filter_map(of).collect()
}

/// Acknowledged writes in the order of their answers, with the highest index answered before each
/// began: it must be below the write's own.
fn rising<'a>(calls: impl Iterator<Item = &'a Call> + Clone, what: &str) -> Vec<String> {
    let writes: Vec<(&Call, u64)> =
        calls.filter_map(|call| call.written().map(|index| (call, index))).collect();
    let mut by_answer = writes.clone();
    by_answer.sort_by_key(|(call, _)| call.answered);
    let mut by_begin = writes;
    by_begin.sort_by_key(|(call, _)| call.invoked);
    let mut earlier = by_answer.into_iter().peekable();
    let mut highest: Option<(&Call, u64)> = None;
    let mut found = Vec::new();
    for (call, index) in by_begin {
        while let Some((before, seen)) =
            earlier.next_if(|(before, _)| before.answered < call.invoked)
        {
            if highest.is_none_or(|(_, highest)| seen > highest) {
                highest = Some((before, seen));
            }
        }
        if let Some((before, above)) = highest.filter(|(_, highest)| *highest >= index) {
            found.push(format!(
                "indexes of {what} do not rise: {} got {index} after {} had got {above}",
                call.operation, before.operation
            ));
        }
    }
    found
}

fn indexes_of_keys_rise(calls: &[Call]) -> Vec<String> {
    let keys: BTreeSet<&str> =
        calls.iter().filter_map(Call::node).map(|node| node.key.as_str()).collect();
    let of = |key: &&str| {
        let is_about = |call: &&Call| call.node().is_some_and(|node| node.key == *key);
        rising(calls.iter().filter(is_about), key)
    };
    keys.iter().flat_map(of).collect()
}

fn indexes_of_gateways_rise(calls: &[Call]) -> Vec<String> {
    let gateways: BTreeSet<usize> = calls.iter().map(|call| call.gateway).collect();
    let of = |gateway: &usize| {
        let is_here = |call: &&Call| call.gateway == *gateway;
        rising(calls.iter().filter(is_here), &format!("gateway {gateway}"))
    };
    gateways.iter().flat_map(of).collect()
}

/// What a client saw before it wrote is below what it wrote.
fn indexes_follow_reads(calls: &[Call], reach: Reach) -> Vec<String> {
    let mut by_client: BTreeMap<usize, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_client.entry(call.client).or_default().push(call);
    }
    let mut found = Vec::new();
    for mut own in by_client.into_values() {
        own.sort_by_key(|call| call.invoked);
        for (position, write) in own.iter().enumerate() {
            let Some(index) = write.written() else { continue };
            let is_above = |before: &&&Call| {
                before.shown().iter().any(|node| {
                    let reaches = reach == Reach::AnyGateway
                        || before.gateway == write.gateway
                        || node.key == write.operation.key;
                    reaches && node.modified >= index
                })
            };
            if let Some(before) = own[..position].iter().find(is_above) {
                found.push(format!(
                    "{} got {index}, and its client had seen a higher one before, by {} -> {}",
                    write.operation, before.operation, before.reply
                ));
            }
        }
    }
    found
}

/// Nothing shows a value of a write that was refused.
fn values_were_written(calls: &[Call]) -> Vec<String> {
    let mut refused: BTreeMap<&str, &Call> = BTreeMap::new();
    for call in calls.iter().filter(|call| matches!(call.reply, Reply::Refused { .. })) {
        if let Some(value) = &call.operation.value {
            refused.insert(value, call);
        }
    }
    let mut found = Vec::new();
    for call in calls {
        for node in call.shown() {
            let Some(writer) = node.value.as_deref().and_then(|value| refused.get(value)) else {
                continue;
            };
            found.push(format!(
                "{} was refused ({}), and yet {} shows {node}",
                writer.operation, writer.reply, call.operation
            ));
        }
    }
    found
}

/// No write is refused because of itself.
fn own_writes_do_not_refuse(calls: &[Call]) -> Vec<String> {
    let of = |call: &Call| {
        let (Reply::Refused { code: 101, cause }, Some(value)) =
            (&call.reply, &call.operation.value)
        else {
            return None;
        };
        let is_own = cause.contains(&format!("!= {value}]"));
        is_own.then(|| format!("{} was refused because of itself: {cause}", call.operation))
    };
    calls.iter().filter_map(of).collect()
}

fn answered_in_time(calls: &[Call], deadline: Duration) -> Vec<String> {
    let limit = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
    let of = |call: &Call| {
        let took = call.answered.saturating_sub(call.invoked);
        let is_late = took > limit;
        is_late.then(|| format!("{} took {} ms -> {}", call.operation, took / 1000, call.reply))
    };
    calls.iter().filter_map(of).collect()
}

/// Keys made by POST: their names sort as they were acknowledged, each is there once with its value,
/// and no other. The last call is a list of the directory after all else was answered.
#[must_use]
pub fn in_order(calls: &[Call]) -> Vec<String> {
    let mut found = names_rise(calls);
    let Some(Reply::Done { nodes, .. }) = calls.last().map(|call| &call.reply) else {
        found.push("the directory of in-order keys could not be listed at the end".to_owned());
        return found;
    };
    let mut by_value: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        by_value.entry(node.value.as_deref().unwrap_or_default()).or_default().push(&node.key);
    }
    for call in calls.iter().filter(|call| call.operation.verb == Verb::Post) {
        let value = call.operation.value.as_deref().unwrap_or_default();
        let keys = by_value.remove(value).unwrap_or_default();
        let is_right = match &call.reply {
            Reply::Done { node, .. } => keys == [node.key.as_str()],
            Reply::Unknown(_) => keys.len() <= 1,
            Reply::Refused { .. } | Reply::NotListed => keys.is_empty(),
        };
        if !is_right {
            found.push(format!(
                "{} -> {}, and at the end there is {keys:?}",
                call.operation, call.reply
            ));
        }
    }
    found
        .extend(by_value.keys().map(|value| format!("nobody made an in-order key with {value:?}")));
    found
}

fn names_rise(calls: &[Call]) -> Vec<String> {
    let mut made: Vec<(&Call, &str)> = Vec::new();
    for call in calls.iter().filter(|call| call.operation.verb == Verb::Post) {
        made.extend(call.node().map(|node| (call, node.key.as_str())));
    }
    let mut found = Vec::new();
    for (first, key) in &made {
        let after =
            |(second, other): &&(&Call, &str)| first.answered < second.invoked && *other <= *key;
        if let Some((_, other)) = made.iter().find(after) {
            found.push(format!("{key} was acknowledged before {other} was asked for"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
