//! Carries out one history and judges it.
//!
//! All clients begin at once; when they are done, every key is read through every gateway, so that a
//! write that was lost or that shows up late is seen. Invariant: a history that could not be judged
//! (unreadable at the end, too much to search) is a violation.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use fastrand::Rng;

use super::checker::{self, Entry, MOST_CALLS, Verdict};
use super::checks::{self, Reach};
use super::client::{Client, Stopwatch};
use super::cut;
use super::fleet::{DEADLINE, Fleet};
use super::history::{Call, Operation, Reply, Verb, render};
use super::model::{Numbered, PrevNode, State, Tree};
use super::workload::{Partition, Sightings, Workload};
use crate::wait;

/// How much of a history the checker may search.
const SEARCH_LIMIT: usize = 400_000;

/// How many clients put what has to be there before.
const PREPARING: usize = 12;

/// How often a read after the end is tried.
const LAST_READS: usize = 20;

/// What one history came to.
#[derive(Debug, Default)]
pub struct Judged {
    /// How many histories it is the sum of.
    pub histories: u64,
    /// How many calls it had.
    pub operations: u64,
    /// How many of them had an unknown outcome.
    pub unknown: u64,
    /// What was wrong, with the history.
    pub violations: Vec<String>,
}

/// How fresh a plain read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It shows every write that was answered before.
    Strong,
    /// It may be of any age. Clients act on it, and nothing is concluded from it.
    Eventual,
}

/// What a fleet can be held to.
#[derive(Clone, Copy, Debug)]
pub struct Demands {
    /// Whether `prevNode` is always there.
    pub prev_node: PrevNode,
    /// Which writes are above an index that was read.
    pub reach: Reach,
    /// What reads are worth that do not say `quorum=true`.
    pub reads: Reads,
}

/// Carries out a history below a directory of its own, and judges it.
#[must_use]
pub fn run(fleet: &Fleet, workload: &Workload, demands: Demands, seed: u64, number: u64) -> Judged {
    let top = format!("/h{number}");
    let mut recorded = match record(fleet, workload, &top, seed.wrapping_add(number)) {
        Ok(recorded) => recorded,
        Err(problem) => {
            let violations = vec![format!("history {number} could not be carried out: {problem}")];
            return Judged { violations, ..Judged::default() };
        }
    };
    let mut problems = std::mem::take(&mut recorded.problems);
    if demands.reads == Reads::Eventual {
        recorded.calls.retain(|call| call.operation.writes() || call.operation.quorum);
    }
    let calls = &recorded.calls;
    problems.extend(checks::all(calls, demands.reach, DEADLINE));
    let model = Tree { clocks: fleet.clocks(), prev_node: demands.prev_node };
    problems.extend(match workload.partition {
        Partition::ByKey => workload
            .keys
            .iter()
            .filter_map(|key| unexplained(&model, &cut::of_key(calls, key)))
            .collect(),
        Partition::Tree => {
            unexplained(&model, &cut::expand(calls, workload.keys)).into_iter().collect()
        }
        Partition::InOrder => checks::in_order(calls),
        Partition::Drained => {
            let flat = cut::drained(calls, workload.keys[0]);
            flat.iter().filter_map(|calls| unexplained(&model, calls)).collect()
        }
    });
    let unknown = calls.iter().filter(|call| !call.is_known()).count();
    let describe = |problem: String| {
        format!("{problem}\n  history {number} ({}):\n{}", workload.name, render(calls))
    };
    Judged {
        histories: 1,
        operations: u64::try_from(calls.len()).unwrap_or(u64::MAX),
        unknown: u64::try_from(unknown).unwrap_or(u64::MAX),
        violations: problems.into_iter().map(describe).collect(),
    }
}

/// What happened.
struct Recorded {
    calls: Vec<Call>,
    problems: Vec<String>,
}

fn record(fleet: &Fleet, workload: &Workload, top: &str, seed: u64) -> Result<Recorded, String> {
    let addresses = fleet.addresses();
    let watch = Stopwatch::start();
    make_top(addresses[0], top, watch)?;
    let prepared = prepare(&addresses, workload, top, watch);
    let (seen, calls, problems) =
        (Sightings::default(), Mutex::new(prepared), Mutex::new(Vec::new()));
    let clients = addresses.len() * workload.clients;
    let start = Barrier::new(clients);
    thread::scope(|scope| {
        let (seen, calls, problems, start) = (&seen, &calls, &problems, &start);
        for number in 0..clients {
            let gateway = number % addresses.len();
            let mut client = Client::new(number, gateway, addresses[gateway], top, watch);
            scope.spawn(move || {
                let mut rng =
                    Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                start.wait();
                for count in 0..workload.calls {
                    if workload.pause_ms > 0 {
                        wait::pass(std::time::Duration::from_millis(rng.u64(0..workload.pause_ms)));
                    }
                    let operation = workload.next(&mut rng, seen, &format!("{number}-{count}"));
                    let call = client.call(&operation);
                    seen.note(&call);
                    calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
                }
                problems
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(&mut client.problems);
            });
        }
    });
    let mut calls = calls.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (gateway, address) in addresses.iter().enumerate() {
        let mut last = Client::new(clients + gateway, gateway, address, top, watch);
        for key in workload.keys {
            let verb =
                if workload.partition == Partition::InOrder { Verb::List } else { Verb::Get };
            let operation = Operation { quorum: true, ..Operation::new(verb, key) };
            calls.push(last_read(&mut last, &operation)?);
        }
        problems.append(&mut last.problems);
    }
    Ok(Recorded { calls, problems })
}

/// Puts the files that have to be there before the clients begin. A put whose outcome is unknown
/// is one call of the history like any other.
fn prepare(addresses: &[&str], workload: &Workload, top: &str, watch: Stopwatch) -> Vec<Call> {
    let calls = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for lane in 0..PREPARING.min(workload.prepared) {
            let gateway = lane % addresses.len();
            let mut client = Client::new(100 + lane, gateway, addresses[gateway], top, watch);
            let calls = &calls;
            scope.spawn(move || {
                for number in (lane..workload.prepared).step_by(PREPARING) {
                    let key = format!("{}/f{number:03}", workload.keys[0]);
                    let call =
                        client.call(&Operation::new(Verb::Set, &key).value(&format!("p{number}")));
                    calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
                }
            });
        }
    });
    calls.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The history's directory is there before it begins, and is none of its keys.
pub(super) fn make_top(address: &str, top: &str, watch: Stopwatch) -> Result<(), String> {
    let mut client = Client::new(0, 0, address, top, watch);
    let mut last = String::new();
    for _ in 0..LAST_READS {
        let reply = client.call(&Operation::new(Verb::MakeDir, "")).reply;
        if matches!(reply, Reply::Done { .. } | Reply::Refused { code: 105, .. }) {
            return Ok(());
        }
        last = reply.to_string();
    }
    Err(format!("its directory could not be made: {last}"))
}

fn last_read(client: &mut Client, operation: &Operation) -> Result<Call, String> {
    let mut last = String::new();
    for _ in 0..LAST_READS {
        let call = client.call(operation);
        if call.is_known() {
            return Ok(call);
        }
        last = call.reply.to_string();
    }
    Err(format!("{operation} was not answered at the end: {last}"))
}

/// Why there is no order that explains the calls; nothing if there is one.
fn unexplained(model: &Tree, calls: &[Call]) -> Option<String> {
    if calls.len() > MOST_CALLS {
        return Some(format!("{} calls are too many for the checker", calls.len()));
    }
    let entry = |(number, call): (usize, &Call)| Entry {
        invoked: call.invoked,
        returned: call.is_known().then_some(call.answered),
        call: Numbered { number, call: call.clone() },
    };
    let entries: Vec<Entry<Numbered>> = calls.iter().enumerate().map(entry).collect();
    match checker::check(model, State::default(), &entries, SEARCH_LIMIT) {
        Verdict::Linearizable(_) => None,
        Verdict::Undecided => Some(format!("undecided after {SEARCH_LIMIT} configurations")),
        Verdict::Violated(order) => {
            let ordered: Vec<Call> = order.iter().map(|call| calls[*call].clone()).collect();
            let rest: Vec<Call> = (0..calls.len())
                .filter(|call| !order.contains(call))
                .map(|call| calls[call].clone())
                .collect();
            let lines = |calls: &[Call]| {
                let line = |call: &Call| format!("    {}  ->  {}\n", call.operation, call.reply);
                calls.iter().map(line).collect::<String>()
            };
            Some(format!(
                "not linearizable. The longest order that explains the answers:\n{}  and then none of these fits:\n{}",
                lines(&ordered),
                render(&rest)
            ))
        }
    }
}
