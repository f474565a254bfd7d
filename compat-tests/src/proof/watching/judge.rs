//! What is wrong with what watchers saw, given what was written.
//!
//! - **Complete.** From a read to the next one a watcher sees every acknowledged write that the read
//!   does not cover, as an event with the write's index, value and action. One that it passes over
//!   has to be owned up to: a 401, and so another read, follows within [`OWN_UP_US`].
//! - **In order.** Between two reads indexes rise, and nothing comes twice.
//! - **True.** Each event is a write that somebody asked for and nobody was refused, with one index
//!   for all watchers; and what it says was there before was.
//!
//! A read covers a write that was answered before the read began, or that it shows, or whose index
//! it has passed where it shows that the key is gone as it may be. Not here: whether the views are
//! right at the end. Invariant: pure, so that it can be held to what is known to be bad.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::sight::{Event, Manner, Note, Read, Scope, Seen, is_at_or_below};
use crate::proof::history::{Call, Operation, Reply, Verb};

/// For how long a watcher may go on past a write that it was not told of.
const OWN_UP_US: u64 = 15_000_000;

/// How many 401s in one round are too many for any fault: a watcher that spins.
const MOST_CLEARED: usize = 300;

/// How many notes before a violation are shown with it.
const SHOWN_NOTES: usize = 12;

/// An acknowledged write.
#[derive(Debug)]
struct Write<'a> {
    key: &'a str,
    index: u64,
    action: &'static str,
    call: &'a Call,
}

/// What was written, in the ways in which it is asked for.
struct Written<'a> {
    calls: &'a [Call],
    acknowledged: Vec<Write<'a>>,
    at: HashMap<(&'a str, u64), usize>,
    by_value: HashMap<&'a str, &'a Call>,
    /// What went, as far as anybody was told: answers, and events of any watcher.
    removals: Vec<(&'a str, u64)>,
}

/// All that is wrong.
pub(super) fn all(calls: &[Call], seen: &[Seen]) -> Vec<String> {
    let written = Written::new(calls, seen);
    let mut problems = Vec::new();
    let mut indexes: HashMap<&str, u64> = HashMap::new();
    for watcher in seen {
        let mut told: Vec<(usize, String)> = Vec::new();
        told.extend(in_order(watcher));
        told.extend(complete(watcher, &written));
        for (position, event) in events(watcher) {
            let wrong = written.untrue(event).or_else(|| written.wrong_before(event));
            told.extend(wrong.map(|problem| (position, problem)));
            let Some(value) = event.node.value.as_deref().filter(|_| !event.removes()) else {
                continue;
            };
            let index = event.node.modified;
            if *indexes.entry(value).or_insert(index) != index {
                told.push((position, format!("{event}: its value was told with another index")));
            }
        }
        let cleared = watcher.notes.iter().filter(|n| matches!(n, Note::Cleared { .. })).count();
        if cleared > MOST_CLEARED {
            told.push((watcher.notes.len(), format!("{cleared} times 401: it spins")));
        }
        problems.extend(told.into_iter().map(|(at, problem)| describe(watcher, at, &problem)));
        problems.extend(watcher.problems.iter().cloned());
    }
    problems
}

/// How many events watchers were told of.
pub(super) fn count_events(seen: &[Seen]) -> usize {
    seen.iter().map(|watcher| events(watcher).count()).sum()
}

fn events(watcher: &Seen) -> impl Iterator<Item = (usize, &Event)> {
    watcher.notes.iter().enumerate().filter_map(|(position, note)| match note {
        Note::Event { event, .. } => Some((position, event)),
        Note::Read(_) | Note::Cleared { .. } | Note::Moved { .. } => None,
    })
}

fn describe(watcher: &Seen, at: usize, problem: &str) -> String {
    let Seen { number, scope, manner, notes, .. } = watcher;
    let from = at.saturating_sub(SHOWN_NOTES);
    let until = notes.len().min(at + 3);
    let lines: Vec<String> =
        notes[from.min(until)..until].iter().map(|note| format!("    {note}")).collect();
    format!("watcher {number} ({scope:?}, {manner:?}): {problem}\n{}", lines.join("\n"))
}

/// Indexes that do not rise from event to event.
fn in_order(watcher: &Seen) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    let mut last: Option<(u64, Option<&Event>)> = None;
    for (position, note) in watcher.notes.iter().enumerate() {
        match note {
            Note::Read(read) => last = Some((read.index, None)),
            Note::Cleared { .. } | Note::Moved { .. } => {}
            Note::Event { event, .. } => {
                let index = event.node.modified;
                // A stream on exactly the node that goes is told twice, as etcd does it.
                let is_quirk = watcher.manner == Manner::Stream
                    && event.removes()
                    && watcher.scope == Scope::Key(event.node.key.clone())
                    && last.is_some_and(|(_, before)| before == Some(event));
                // Two gateways may give one index to two keys; a stream is told of both.
                let is_twin = watcher.manner == Manner::Stream
                    && last.is_some_and(|(before, told)| {
                        before == index && told.is_some_and(|told| told.node.key != event.node.key)
                    });
                if !is_quirk && !is_twin && last.is_none_or(|(before, _)| index <= before) {
                    let before = last.map_or(0, |(before, _)| before);
                    problems.push((position, format!("{event} came after index {before}")));
                }
                last = Some((index, Some(event)));
            }
        }
    }
    problems
}

/// What happened from one read to the next.
struct Stretch<'a> {
    position: usize,
    read: &'a Read,
    told: HashSet<(&'a str, u64)>,
    /// Index, time and position of each event.
    passed: Vec<(u64, u64, usize)>,
    /// When the next read began; none: there is none.
    until: Option<u64>,
}

fn stretches(watcher: &Seen) -> Vec<Stretch<'_>> {
    let mut found: Vec<Stretch<'_>> = Vec::new();
    for (position, note) in watcher.notes.iter().enumerate() {
        match note {
            Note::Read(read) => {
                if let Some(last) = found.last_mut() {
                    last.until = Some(read.began);
                }
                let (told, passed) = (HashSet::new(), vec![(read.index, read.ended, position)]);
                found.push(Stretch { position, read, told, passed, until: None });
            }
            Note::Event { at, event } => {
                if let Some(last) = found.last_mut() {
                    last.told.insert((&event.node.key, event.node.modified));
                    last.passed.push((event.node.modified, *at, position));
                    last.position = position;
                }
            }
            Note::Cleared { .. } | Note::Moved { .. } => {}
        }
    }
    found
}

/// Acknowledged writes that a watcher passed over, and nobody owned up to.
fn complete(watcher: &Seen, written: &Written<'_>) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    for stretch in stretches(watcher) {
        for write in written.acknowledged.iter().filter(|w| watcher.scope.covers(w.key)) {
            let is_told = stretch.told.contains(&(write.key, write.index));
            if is_told || written.is_covered(write, stretch.read) {
                continue;
            }
            let passed_at = stretch.passed.iter().find(|(index, ..)| *index > write.index);
            let missed = match (passed_at, stretch.until) {
                (_, None) => "missed",
                (Some((_, at, _)), Some(until)) if until.saturating_sub(*at) > OWN_UP_US => {
                    "passed over for long"
                }
                (_, Some(_)) => continue,
            };
            let Write { key, index, action, call } = write;
            let Read { began, ended, index: read_at, view } = stretch.read;
            let held = view.0.get(*key).map(|held| held.modified);
            let was = format!(
                "{missed}: {action} {key}@{index} ({}), under way {}..{}; read {began}..{ended} at index {read_at}, which had {held:?}",
                call.operation, call.invoked, call.answered
            );
            let after = stretch.passed.iter().find(|(passed, ..)| passed > index);
            let next = after.map_or(stretch.position, |(_, _, position)| *position);
            problems.push((next, was));
        }
    }
    problems
}

impl<'a> Written<'a> {
    fn new(calls: &'a [Call], seen: &'a [Seen]) -> Self {
        let acknowledged: Vec<Write<'a>> = calls.iter().filter_map(write).collect();
        let at = acknowledged.iter().enumerate();
        let at = at.map(|(position, write)| ((write.key, write.index), position)).collect();
        let by_value = calls.iter().filter(|call| call.operation.writes());
        let by_value = by_value.filter_map(|call| Some((call.operation.value.as_deref()?, call)));
        let told = seen.iter().flat_map(|watcher| events(watcher).map(|(_, event)| event));
        let told = told.filter(|event| event.removes());
        let told = told.map(|event| (event.node.key.as_str(), event.node.modified));
        let known = acknowledged.iter().filter(|w| w.call.removes()).map(|w| (w.key, w.index));
        let removals: HashSet<(&str, u64)> = told.chain(known).collect();
        let removals = removals.into_iter().collect();
        Self { calls, by_value: by_value.collect(), at, removals, acknowledged }
    }

    /// Whether a watcher that goes on from this read need not be told of a write.
    fn is_covered(&self, write: &Write<'_>, read: &Read) -> bool {
        if read.began >= write.call.answered {
            return true;
        }
        let mut held = read.view.0.iter().filter(|(key, _)| is_at_or_below(key, write.key));
        if write.call.removes() {
            let mut older = held.filter(|(_, held)| held.modified < write.index);
            return write.index <= read.index && older.next().is_none();
        }
        match held.next() {
            Some((_, held)) => held.modified >= write.index,
            None => write.index <= read.index && self.may_be_gone(write),
        }
    }

    /// Whether a key may be gone after this write, as far as is known.
    fn may_be_gone(&self, write: &Write<'_>) -> bool {
        let went =
            |(key, index): &(&str, u64)| *index > write.index && is_at_or_below(write.key, key);
        write.call.operation.ttl.is_some()
            || self.removals.iter().any(went)
            || self.removes_unknown(write.key)
    }

    /// Whether a removal of the key may have happened that nobody was told of.
    fn removes_unknown(&self, key: &str) -> bool {
        let unknown = |call: &&Call| !call.is_known() && call.removes();
        let mut found = self.calls.iter().filter(unknown);
        found.any(|call| is_at_or_below(key, &call.operation.key))
    }

    /// Why an event is none that can have happened.
    fn untrue(&self, event: &Event) -> Option<String> {
        let node = &event.node;
        if node.key.is_empty() {
            // The directory of the round, which was made before it began.
            return None;
        }
        if let Some(position) = self.at.get(&(node.key.as_str(), node.modified)) {
            let write = &self.acknowledged[*position];
            let value = write.call.operation.value.as_deref();
            let is_same =
                write.action == event.action && (event.removes() || node.value.as_deref() == value);
            let was = || format!("{event} was {} ({})", write.action, write.call.operation);
            return (!is_same).then(was);
        }
        if event.removes() {
            return self.unasked_removal(event);
        }
        let call = node.value.as_deref().and_then(|value| self.by_value.get(value));
        let Some(call) = call else { return Some(format!("nobody wrote {event}")) };
        match &call.reply {
            Reply::Unknown(_) => {
                let key = &call.operation.key;
                let is_place = *key == node.key
                    || (call.operation.verb == Verb::Post && is_at_or_below(&node.key, key));
                let is_same = is_place && action(&call.operation) == Some(event.action.as_str());
                (!is_same).then(|| format!("{event} was asked for as {}", call.operation))
            }
            reply @ (Reply::Done { .. } | Reply::Refused { .. } | Reply::NotListed) => {
                Some(format!("{event}, and {} was answered with {reply}", call.operation))
            }
        }
    }

    fn unasked_removal(&self, event: &Event) -> Option<String> {
        let key = &event.node.key;
        let asked = |call: &Call| {
            let operation = &call.operation;
            operation.key == *key
                && match event.action.as_str() {
                    "expire" => operation.ttl.is_some(),
                    asked => !call.is_known() && action(operation) == Some(asked),
                }
        };
        (!self.calls.iter().any(asked)).then(|| format!("nobody asked for {event}"))
    }

    /// Why what an event says was there before cannot have been.
    fn wrong_before(&self, event: &Event) -> Option<String> {
        let prev = event.prev.as_ref().filter(|prev| !prev.dir)?;
        if prev.modified >= event.node.modified {
            return Some(format!("{event}: what was before is not older"));
        }
        if let Some(position) = self.at.get(&(prev.key.as_str(), prev.modified)) {
            let write = &self.acknowledged[*position];
            if write.call.removes() || write.call.operation.value != prev.value {
                return Some(format!("{event}: before it was {}", write.call.operation));
            }
        }
        let between = |write: &&Write<'_>| {
            write.key == prev.key
                && write.index > prev.modified
                && write.index < event.node.modified
        };
        let skipped = self.acknowledged.iter().find(between)?;
        Some(format!("{event}: before it was {} @{}", skipped.call.operation, skipped.index))
    }
}

/// A call that was acknowledged as a write.
fn write(call: &Call) -> Option<Write<'_>> {
    let index = call.written()?;
    let key = call.node()?.key.as_str();
    Some(Write { key, index, action: action(&call.operation)?, call })
}

/// The action of the event of a write.
fn action(operation: &Operation) -> Option<&'static str> {
    match operation.verb {
        Verb::Set => Some("set"),
        Verb::Create | Verb::Post => Some("create"),
        Verb::Update => Some("update"),
        Verb::Swap => Some("compareAndSwap"),
        Verb::Delete | Verb::RemoveDir | Verb::RemoveTree => Some("delete"),
        Verb::CompareAndDelete => Some("compareAndDelete"),
        Verb::Get | Verb::List | Verb::Refresh | Verb::MakeDir | Verb::Sweep => None,
    }
}

impl Call {
    /// Whether it asks for something to be gone.
    fn removes(&self) -> bool {
        matches!(
            self.operation.verb,
            Verb::Delete | Verb::CompareAndDelete | Verb::RemoveDir | Verb::RemoveTree
        )
    }
}

/// How often watchers had to read anew, by a 401.
pub(super) fn count_cleared(seen: &[Seen]) -> BTreeMap<usize, usize> {
    let cleared = |watcher: &Seen| {
        watcher.notes.iter().filter(|note| matches!(note, Note::Cleared { .. })).count()
    };
    seen.iter().map(|watcher| (watcher.number, cleared(watcher))).collect()
}

#[cfg(test)]
mod tests;
