//! The scenarios of histories: every workload with nothing in its way, with clocks apart, and under
//! each fault.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::checks::Reach;
use super::fleet::Fleet;
use super::model::PrevNode;
use super::run::{Demands, Judged, Reads, run};
use super::workload::{WORKLOADS, Workload};
use super::{Row, Setting};
use crate::dynamodb::fault::{Fault, Odds};

/// After how many violations a row ends: the rest would say the same.
const ENOUGH: usize = 4;

/// Clocks in one fleet that are seconds apart.
const APART_S: [i64; 3] = [0, 3, -2];

/// What is in the way of a fleet.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    odds: Odds,
    demands: Demands,
}

/// Every workload with nothing in its way.
///
/// # Errors
/// What kept it from running.
pub fn undisturbed(setting: &Setting) -> Result<Vec<Row>, String> {
    let demands =
        Demands { prev_node: PrevNode::Exact, reach: Reach::AnyGateway, reads: Reads::Strong };
    let way = Way { name: "none", odds: Odds::fair(), demands };
    rows(setting, [0; 3], way, &WORKLOADS, 5000)
}

/// Every workload with the gateways' clocks seconds apart.
///
/// # Errors
/// What kept it from running.
pub fn clocks_apart(setting: &Setting) -> Result<Vec<Row>, String> {
    let demands = Demands {
        prev_node: PrevNode::Exact,
        reach: Reach::SameGatewayOrKey,
        reads: Reads::Strong,
    };
    let way = Way { name: "clocks 3 s ahead and 2 s behind", odds: Odds::fair(), demands };
    rows(setting, APART_S, way, &WORKLOADS, 3000)
}

/// All faults together, clocks apart, every workload.
///
/// # Errors
/// What kept it from running.
pub fn weather(setting: &Setting) -> Result<Vec<Row>, String> {
    let demands = Demands {
        prev_node: PrevNode::MayBeLost,
        reach: Reach::SameGatewayOrKey,
        reads: Reads::Strong,
    };
    let way = Way { name: "all of them, clocks apart", odds: Odds::weather(), demands };
    rows(setting, APART_S, way, &WORKLOADS, 4000)
}

/// One fault after the other, on the workloads that write the most differently.
///
/// # Errors
/// What kept it from running.
pub fn faults(setting: &Setting) -> Result<Vec<Row>, String> {
    let workloads = [WORKLOADS[0], WORKLOADS[3], WORKLOADS[4]];
    let mut found = Vec::new();
    for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_of_streams()) {
        let prev_node = if loses_replies(fault) { PrevNode::MayBeLost } else { PrevNode::Exact };
        // Only a gateway that was told so reads what may be stale.
        let reads = if fault == Fault::Stale { Reads::Eventual } else { Reads::Strong };
        let demands = Demands { prev_node, reach: Reach::AnyGateway, reads };
        let way = Way { name: fault.name(), odds: Odds::only(fault, probability(fault)), demands };
        found.extend(rows(setting, [0; 3], way, &workloads, 1000)?);
    }
    Ok(found)
}

/// How likely a fault is for one call: as often as still lets most requests through.
fn probability(fault: Fault) -> f64 {
    match fault {
        // A window that concerns all calls for a while.
        Fault::BlackHole | Fault::Outage => 0.004,
        // More than a second each.
        Fault::Late => 0.03,
        Fault::Stale | Fault::Partial => 0.5,
        Fault::Throttled
        | Fault::Conflict
        | Fault::InProgress
        | Fault::ServerError
        | Fault::ErrorAfter
        | Fault::Slow
        | Fault::CutBefore
        | Fault::CutAfter
        | Fault::HalfReply
        | Fault::Twice
        | Fault::LateTwin
        | Fault::StreamThrottled
        | Fault::IteratorExpired
        | Fault::RecordsTrimmed => 0.15,
    }
}

/// Whether a gateway may have to find out what became of a write.
fn loses_replies(fault: Fault) -> bool {
    !matches!(
        fault,
        Fault::Throttled | Fault::Conflict | Fault::Slow | Fault::Stale | Fault::Partial
    )
}

/// Workloads on a fresh fleet, each for so many milliseconds in the short run.
fn rows(
    setting: &Setting,
    ahead_s: [i64; 3],
    way: Way,
    workloads: &[Workload],
    short_ms: u64,
) -> Result<Vec<Row>, String> {
    let flags: &[&str] = match way.demands.reads {
        Reads::Strong => &[],
        Reads::Eventual => &["--read-consistency", "eventual"],
    };
    let began = Instant::now();
    let fleet = Fleet::start(setting.engine, setting.seed, ahead_s, flags)?;
    let mut rows = Vec::new();
    for workload in workloads {
        fleet.set(way.odds);
        let mut row = row(&fleet, workload, way, setting.seed, setting.budget.of_ms(short_ms))?;
        fleet.heal();
        let wrong = fleet.wrong_in_table()?;
        let in_table = |problem: String| format!("in the table, when all was at rest: {problem}");
        row.violations.extend(wrong.into_iter().map(in_table));
        rows.push(row);
    }
    eprintln!("{} fault {}: {} ms", setting.engine.name(), way.name, began.elapsed().as_millis());
    if way.odds != Odds::fair() && fleet.injected() == 0 {
        let violations = vec!["the fault was never injected".to_owned()];
        let (workload, fault) = ("all".to_owned(), way.name.to_owned());
        rows.push(Row { workload, fault, violations, ..Row::default() });
    }
    Ok(rows)
}

/// Histories of one workload, several at once, until the time is over.
fn row(
    fleet: &Fleet,
    workload: &Workload,
    way: Way,
    seed: u64,
    time: Duration,
) -> Result<Row, String> {
    let total = Mutex::new(Judged::default());
    let found_out_before = fleet.outcomes_found_out()?;
    let end = Instant::now() + time;
    thread::scope(|scope| {
        for _ in 0..workload.lanes {
            scope.spawn(|| {
                loop {
                    let number = fleet.next_history();
                    let one = run(fleet, workload, way.demands, seed, number);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.operations += one.operations;
                    total.unknown += one.unknown;
                    total.histories += 1;
                    total.violations.extend(one.violations);
                    if Instant::now() > end || total.violations.len() > ENOUGH {
                        return;
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found_out = fleet.outcomes_found_out()?.saturating_sub(found_out_before);
    Ok(Row {
        workload: format!("{} ({} histories)", workload.name, total.histories),
        fault: way.name.to_owned(),
        operations: total.operations,
        unknown_resolved: total.unknown + found_out,
        violations: total.violations,
    })
}
