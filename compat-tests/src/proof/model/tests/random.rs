//! Random histories of a small server that is linearizable by construction, and of the same server
//! with one defect: the first must all pass, the second must all be found.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::proof::checks;
use crate::proof::workload::{Sightings, WORKLOADS, Workload};

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    /// A write is acknowledged and not done.
    LosesWrite,
    /// A write is refused and done all the same.
    RefusesAndWrites,
    /// A condition is not looked at.
    IgnoresCondition,
    /// A removal is acknowledged and not done.
    KeepsRemoved,
    /// An index does not rise.
    RepeatsIndex,
    /// A read answers from before the last write.
    ReadsStale,
}

/// Files by key, and all that ever was of each.
struct Server {
    files: BTreeMap<String, Shown>,
    old: Vec<Shown>,
    index: u64,
    defect: Defect,
    /// How many operations go well until the defect shows.
    until: usize,
    has_erred: bool,
}

impl Server {
    fn new(defect: Defect, until: usize) -> Self {
        Server {
            files: BTreeMap::new(),
            old: Vec::new(),
            index: 100,
            defect,
            until,
            has_erred: false,
        }
    }

    fn errs(&mut self, defect: Defect, could: bool) -> bool {
        let errs = self.defect == defect && could && !self.has_erred && self.until == 0;
        self.has_erred |= errs;
        errs
    }

    fn answer(&mut self, operation: &Operation) -> Reply {
        self.until = self.until.saturating_sub(1);
        let before = self.files.get(&operation.key).cloned();
        let missing = || refused(100, &operation.key);
        match (operation.verb, before) {
            (Verb::Get, Some(file)) => {
                let stale = self.old.iter().rev().find(|old| old.key == file.key).cloned();
                match stale {
                    Some(stale) if self.errs(Defect::ReadsStale, true) => done(stale, None),
                    _ => done(file, None),
                }
            }
            (Verb::Get | Verb::Delete | Verb::CompareAndDelete, None) => missing(),
            (Verb::Update | Verb::Swap, None) => missing(),
            (Verb::Create, Some(_)) => {
                if self.errs(Defect::RefusesAndWrites, true) {
                    self.write(operation, None);
                }
                refused(105, &operation.key)
            }
            (Verb::Swap | Verb::CompareAndDelete, Some(file)) => self.compare(operation, file),
            (Verb::Delete, Some(file)) => self.remove(operation, file),
            (_, before) => self.write(operation, before),
        }
    }

    fn compare(&mut self, operation: &Operation, file: Shown) -> Reply {
        let mut causes = Vec::new();
        let value = file.value.clone().unwrap_or_default();
        if let Some(wanted) = operation.prev_value.as_ref().filter(|wanted| **wanted != value) {
            causes.push(format!("[{wanted} != {value}]"));
        }
        if let Some(wanted) = operation.prev_index.filter(|wanted| *wanted != file.modified) {
            causes.push(format!("[{wanted} != {}]", file.modified));
        }
        if !causes.is_empty() && !self.errs(Defect::IgnoresCondition, true) {
            if operation.verb == Verb::Swap && self.errs(Defect::RefusesAndWrites, true) {
                self.write(operation, Some(file));
            }
            return refused(101, &causes.join(" "));
        }
        if operation.verb == Verb::Swap {
            return self.write(operation, Some(file));
        }
        self.remove(operation, file)
    }

    fn write(&mut self, operation: &Operation, before: Option<Shown>) -> Reply {
        if !self.errs(Defect::RepeatsIndex, before.is_some()) {
            self.index += 1;
        } else if let Some(before) = &before {
            self.index = before.modified;
        }
        let keeps = matches!(operation.verb, Verb::Update | Verb::Swap);
        let created = before.as_ref().filter(|_| keeps).map_or(self.index, |file| file.created);
        let value = operation.value.clone().unwrap_or_default();
        let node = file(&operation.key, &value, created, self.index);
        if !self.errs(Defect::LosesWrite, true) {
            self.old.extend(before.clone());
            self.files.insert(operation.key.clone(), node.clone());
        }
        match before {
            Some(before) => done(node, Some(before)),
            None => made(node),
        }
    }

    fn remove(&mut self, operation: &Operation, before: Shown) -> Reply {
        self.index += 1;
        if !self.errs(Defect::KeepsRemoved, true) {
            self.files.remove(&operation.key);
            self.old.push(before.clone());
        }
        done(gone(&operation.key, before.created, self.index), Some(before))
    }
}

/// A history in which each call takes effect at a time between its beginning and its end, up to
/// `wide` microseconds from either, and without a defect some answers are lost.
fn simulate(seed: u64, defect: Defect, wide: u64) -> (Vec<Call>, bool) {
    let mut rng = Rng::with_seed(seed);
    let workload: &Workload = &WORKLOADS[0];
    let (seen, mut server) = (Sightings::default(), Server::new(defect, rng.usize(3..12)));
    let (mut calls, clients) = (Vec::new(), 8);
    let mut free_at = vec![0_u64; clients];
    let mut effect = 10_u64;
    for number in 0..50 {
        let client = rng.usize(0..clients);
        effect = (effect + rng.u64(1..20)).max(free_at[client] + 2);
        let invoked = (effect - rng.u64(0..=wide.min(effect - free_at[client] - 1))).max(1);
        let answered = effect + rng.u64(0..=wide);
        free_at[client] = answered;
        let operation = workload.next(&mut rng, &seen, &format!("v{number}"));
        let mut reply = server.answer(&operation);
        if defect == Defect::None && operation.writes() && rng.u8(0..10) == 0 {
            reply = unknown();
        }
        let call = Call { client, gateway: client % 2, operation, invoked, answered, reply };
        seen.note(&call);
        calls.push(call);
    }
    let end = free_at.into_iter().max().unwrap_or(0) + 100;
    let last = ask(Verb::Get, "k");
    let reply = server.answer(&last);
    calls.push(Call {
        client: 99,
        gateway: 0,
        operation: last,
        invoked: end,
        answered: end + 1,
        reply,
    });
    (calls, server.has_erred)
}

#[test]
fn what_is_linearizable_passes() {
    for seed in 0..300 {
        let (calls, _) = simulate(seed, Defect::None, 40);
        assert!(is_good(&calls), "seed {seed}:\n{}", crate::proof::history::render(&calls));
        let unknown = |call: &Call| !call.is_known();
        // What an unknown write left is not known to the checks, which go by what was answered.
        if !calls.iter().any(unknown) {
            let found =
                checks::all(&calls, checks::Reach::AnyGateway, std::time::Duration::from_secs(9));
            assert!(found.is_empty(), "seed {seed}: {found:?}");
        }
    }
}

/// Every history in which the defect showed is found to be bad, and it shows often enough.
fn is_found(defect: Defect, wide: u64) {
    let mut count = 0;
    for seed in 0..100 {
        let (calls, has_erred) = simulate(seed, defect, wide);
        if has_erred {
            count += 1;
            assert!(
                is_bad(&calls),
                "{defect:?}, seed {seed}:\n{}",
                crate::proof::history::render(&calls)
            );
        }
    }
    assert!(count > 50, "{defect:?} showed only {count} times");
}

#[test]
fn a_write_that_is_lost_or_done_though_refused_is_found_among_calls_that_overlap() {
    for defect in [Defect::LosesWrite, Defect::RefusesAndWrites, Defect::KeepsRemoved] {
        is_found(defect, 15);
    }
}

#[test]
fn every_defect_is_found() {
    let defects = [
        Defect::LosesWrite,
        Defect::RefusesAndWrites,
        Defect::IgnoresCondition,
        Defect::KeepsRemoved,
        Defect::RepeatsIndex,
        Defect::ReadsStale,
    ];
    for defect in defects {
        is_found(defect, 0);
    }
}
