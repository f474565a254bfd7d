//! The scenario of histories: every workload, on a fleet of its own.

use std::time::{Duration, Instant};

use super::checks::Reach;
use super::fleet::Fleet;
use super::model::PrevNode;
use super::run::{Demands, Judged, run};
use super::workload::{WORKLOADS, Workload};
use super::{Budget, Row, Setting};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many histories are under way at once.
const LANES: usize = 3;

/// After how many violations a row ends: the rest would say the same.
const ENOUGH: usize = 5;

/// Every workload with nothing in its way.
///
/// # Errors
/// What kept it from running.
pub fn undisturbed(setting: &Setting) -> Result<Vec<Row>, String> {
    let demands = Demands { prev_node: PrevNode::Exact, reach: Reach::AnyGateway };
    let mut rows = Vec::new();
    for workload in &WORKLOADS {
        let fleet = Fleet::start(setting.engine)?;
        let time = match setting.budget {
            Budget::Short => Duration::from_secs(8),
            Budget::Time(time) => time / 20,
        };
        rows.push(row(&fleet, workload, "none", demands, setting.seed, time)?);
    }
    Ok(rows)
}

/// Histories of one workload, several at once, until the time is over.
pub(super) fn row(
    fleet: &Fleet,
    workload: &Workload,
    fault: &str,
    demands: Demands,
    seed: u64,
    time: Duration,
) -> Result<Row, String> {
    let (next, total) = (AtomicU64::new(0), Mutex::new(Judged::default()));
    let found_out_before = fleet.outcomes_found_out()?;
    let end = Instant::now() + time;
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let one = run(fleet, workload, demands, seed.wrapping_add(number), number);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.operations += one.operations;
                    total.unknown += one.unknown;
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
        workload: workload.name.to_owned(),
        fault: fault.to_owned(),
        operations: total.operations,
        unknown_resolved: total.unknown + found_out,
        violations: total.violations,
    })
}
