//! Workloads: what clients ask, at random, of a few keys that they all use.
//!
//! Conditions are mostly taken from what was seen lately, so that most compares could succeed and
//! many race. Values are unique within a history. It sends nothing and judges nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

use super::history::{Call, Operation, Verb};

/// How a history is cut for the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// No operation is about more than one key.
    ByKey,
    /// The keys are one small tree.
    Tree,
    /// Keys made by POST, with a check of their own.
    InOrder,
    /// The first key is a large directory, the others are files in it. Its removal takes the files one
    /// by one, each at some time until it is acknowledged.
    Drained,
}

/// A kind of history.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What the table calls it.
    pub name: &'static str,
    /// What is asked, each as often as its weight says.
    pub verbs: &'static [(Verb, usize)],
    /// Of which keys.
    pub keys: &'static [&'static str],
    /// How many clients each gateway has.
    pub clients: usize,
    /// How much each of them asks.
    pub calls: usize,
    /// The longest pause before a request.
    pub pause_ms: u64,
    /// How many such histories are under way at once.
    pub lanes: usize,
    /// How many files are put below the first key before the clients begin.
    pub prepared: usize,
    /// How the checker takes it.
    pub partition: Partition,
}

/// Conditional writes on one file by all.
const FILE: &[(Verb, usize)] = &[
    (Verb::Get, 4),
    (Verb::Set, 3),
    (Verb::Swap, 8),
    (Verb::Create, 2),
    (Verb::Update, 2),
    (Verb::Delete, 1),
    (Verb::CompareAndDelete, 2),
];

/// The same, and files that expire.
const EXPIRING: &[(Verb, usize)] = &[
    (Verb::Get, 8),
    (Verb::Set, 4),
    (Verb::Create, 4),
    (Verb::Refresh, 3),
    (Verb::Swap, 2),
    (Verb::Update, 2),
    (Verb::Delete, 1),
];

/// Directories that come and go while files are made in them.
const TREE: &[(Verb, usize)] = &[
    (Verb::Get, 3),
    (Verb::List, 2),
    (Verb::Set, 4),
    (Verb::Create, 4),
    (Verb::MakeDir, 4),
    (Verb::RemoveDir, 4),
    (Verb::RemoveTree, 2),
    (Verb::Delete, 2),
    (Verb::Swap, 1),
];

/// Keys named by their index.
const IN_ORDER: &[(Verb, usize)] = &[(Verb::Post, 6), (Verb::List, 1)];

/// A directory too large for one transaction, removed while files are made in it.
const DRAINED: &[(Verb, usize)] =
    &[(Verb::Get, 4), (Verb::Set, 6), (Verb::Create, 4), (Verb::Delete, 1), (Verb::RemoveTree, 1)];

/// The workloads, in the order of the table.
pub const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "set, CAS, create, update, delete of one key",
        verbs: FILE,
        keys: &["k"],
        clients: 3,
        calls: 5,
        pause_ms: 0,
        lanes: 3,
        prepared: 0,
        partition: Partition::ByKey,
    },
    Workload {
        name: "the same of many keys",
        verbs: FILE,
        keys: &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
        clients: 4,
        calls: 8,
        pause_ms: 0,
        lanes: 3,
        prepared: 0,
        partition: Partition::ByKey,
    },
    Workload {
        name: "TTL and refresh",
        verbs: EXPIRING,
        keys: &["a", "b"],
        clients: 2,
        calls: 8,
        pause_ms: 700,
        lanes: 12,
        prepared: 0,
        partition: Partition::ByKey,
    },
    Workload {
        name: "mkdir, rmdir, recursive delete, create in them",
        verbs: TREE,
        keys: &["d", "d/a", "d/e", "d/e/b", "d/e/c"],
        clients: 2,
        calls: 7,
        pause_ms: 0,
        lanes: 3,
        prepared: 0,
        partition: Partition::Tree,
    },
    Workload {
        name: "in-order POST",
        verbs: IN_ORDER,
        keys: &["q"],
        clients: 3,
        calls: 6,
        pause_ms: 0,
        lanes: 3,
        prepared: 0,
        partition: Partition::InOrder,
    },
    Workload {
        name: "recursive delete of 100 files, writes into them",
        verbs: DRAINED,
        keys: &["d", "d/f000", "d/f050", "d/f099", "d/new"],
        clients: 3,
        calls: 6,
        pause_ms: 0,
        lanes: 3,
        prepared: 100,
        partition: Partition::Drained,
    },
];

/// What was seen lately of each key, by all clients of a history.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<HashMap<String, (Option<String>, u64)>>);

impl Sightings {
    /// Takes note of what an answer shows.
    pub fn note(&self, call: &Call) {
        let Some(node) = call.node() else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(node.key.clone(), (node.value.clone(), node.modified));
    }

    fn of(&self, key: &str) -> Option<(Option<String>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

impl Workload {
    /// The next operation of a client. `name` is a value that nobody else writes.
    pub fn next(&self, rng: &mut Rng, seen: &Sightings, name: &str) -> Operation {
        let total = self.verbs.iter().map(|(_, weight)| weight).sum();
        let mut pick = rng.usize(0..total);
        let mut verb = Verb::Get;
        for (candidate, weight) in self.verbs {
            if pick < *weight {
                verb = *candidate;
                break;
            }
            pick -= weight;
        }
        let key = self.key_for(verb, rng);
        let operation = Operation::new(verb, key);
        match verb {
            Verb::Set | Verb::Create | Verb::Update | Verb::Post => {
                Operation { ttl: self.ttl(verb, rng), ..operation.value(name) }
            }
            Verb::Swap => {
                let operation = Operation { ttl: self.ttl(verb, rng), ..operation.value(name) };
                with_condition(operation, rng, seen)
            }
            Verb::CompareAndDelete => with_condition(operation, rng, seen),
            Verb::Refresh => Operation { ttl: Some(rng.u64(1..=2)), ..operation },
            Verb::Get
            | Verb::List
            | Verb::MakeDir
            | Verb::Delete
            | Verb::RemoveDir
            | Verb::RemoveTree
            | Verb::Sweep => operation,
        }
    }

    fn key_for(&self, verb: Verb, rng: &mut Rng) -> &'static str {
        // Directories are the keys that others are below.
        let is_dir =
            |key: &str| self.keys.iter().any(|other| other.starts_with(&format!("{key}/")));
        let about_dirs =
            matches!(verb, Verb::MakeDir | Verb::RemoveDir | Verb::RemoveTree | Verb::List);
        let mut key = self.keys[rng.usize(0..self.keys.len())];
        for _ in 0..100 {
            let is_usual = match self.partition {
                // Now and then a directory where a file is usual, and the other way round.
                Partition::Tree => is_dir(key) == about_dirs || rng.u8(0..12) == 0,
                Partition::Drained => is_dir(key) == about_dirs,
                Partition::ByKey | Partition::InOrder => true,
            };
            if is_usual {
                break;
            }
            key = self.keys[rng.usize(0..self.keys.len())];
        }
        key
    }

    fn ttl(&self, verb: Verb, rng: &mut Rng) -> Option<u64> {
        let expires = self.pause_ms > 0 && verb != Verb::Post && rng.u8(0..4) > 0;
        expires.then(|| rng.u64(1..=2))
    }
}

fn with_condition(operation: Operation, rng: &mut Rng, seen: &Sightings) -> Operation {
    let (value, index) = match seen.of(&operation.key) {
        Some((value, index)) => (value.unwrap_or_else(|| "gone".to_owned()), index),
        None => ("never".to_owned(), 1),
    };
    match rng.u8(0..5) {
        0 => Operation { prev_value: Some("never".to_owned()), ..operation },
        1 | 2 => Operation { prev_value: Some(value), ..operation },
        3 => Operation { prev_index: Some(index), ..operation },
        _ => Operation { prev_value: Some(value), prev_index: Some(index), ..operation },
    }
}
