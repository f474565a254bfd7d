//! Writes into a large subtree while it is removed, by gateways that all live.
//!
//! Once a reader sees that the subtree is gone, a write to its place comes after its removal: it
//! waits for the drain, helps it, and what it wrote stays. Also when the gateway that removes is
//! held in the middle, and its write arrives after all.

use std::collections::BTreeSet;
use std::thread;

use super::stage::{RECOVERY, Stage, send};
use super::{PATIENCE, join};
use crate::dynamodb::plant::Tree;
use crate::dynamodb::proxy::{Hold, Moment};
use crate::http::Request;
use crate::json::Json;
use crate::proof::{Row, Setting};
use crate::wait;

/// How many clients of each gateway write.
const CLIENTS: usize = 4;
/// How many keys each of them writes.
const KEYS: usize = 10;

/// How often a key is written until it is acknowledged.
const ATTEMPTS: usize = 8;

/// At which write the removal is held, where it is.
const HELD_AT: [Option<u64>; 4] = [None, Some(2), Some(60), Some(400)];

/// Writes into a subtree that drains.
///
/// # Errors
/// Never: what goes wrong is in the row.
pub fn draining(setting: &Setting) -> Result<Vec<Row>, String> {
    let mut row = Row {
        workload: "writes into a subtree that drains".to_owned(),
        fault: "none; its removal held at a write".to_owned(),
        ..Row::default()
    };
    if let Err(problem) = rounds(setting, &mut row) {
        row.violations.push(format!("it could not go on: {problem}"));
    }
    Ok(vec![row])
}

fn rounds(setting: &Setting, row: &mut Row) -> Result<(), String> {
    let stage = Stage::start(setting.engine, setting.seed)?;
    for (number, held_at) in HELD_AT.into_iter().enumerate() {
        let top = format!("t{number}");
        let problems = round(&stage, &top, held_at, row)?;
        let describe = |problem| format!("below /{top}, held at {held_at:?}: {problem}");
        row.violations.extend(problems.into_iter().map(describe));
    }
    row.violations.extend(stage.panics());
    row.unknown_resolved += stage.found_out()?;
    Ok(())
}

fn round(
    stage: &Stage,
    top: &str,
    held_at: Option<u64>,
    row: &mut Row,
) -> Result<Vec<String>, String> {
    let tree = Tree { top: top.to_owned(), name: "d".to_owned(), dirs: 20, files: 49 };
    tree.plant(stage.engine(), stage.table())?;
    let held = held_at.map(|nth| {
        let about = format!("/{top}");
        stage.doomed_proxy.hold(Hold { nth, moment: Moment::Before, about })
    });
    let target = format!("/v2/keys/{top}/d");
    let delete = Request::new("DELETE", &format!("{target}?recursive=true"));
    let address = stage.doomed.address().to_owned();
    let remover = thread::spawn(move || send(&address, &delete));
    if let Some(held) = &held {
        held.wait(PATIENCE).ok_or("no write was held")?;
    }
    wait::until(RECOVERY, || {
        let seen = stage.ask(&Request::new("GET", &format!("{target}?quorum=true")));
        seen.is_ok_and(|answer| answer.status() == 404).then_some(())
    })
    .ok_or("the subtree does not go")?;
    let (written, mut problems) = write_there(stage, &target);
    row.operations += 1 + u64::try_from(written.len()).unwrap_or_default();
    if let Some(held) = held {
        held.release();
    }
    let removed = join(remover)?.map_err(|problem| format!("the removal: {problem}"))?;
    match removed.status() {
        200 => {}
        // It took longer than a request may; its end shows in the table.
        500 => row.unknown_resolved += 1,
        _ => problems.push(format!("the removal: {}", removed.describe())),
    }
    problems.extend(stage.violations());
    for address in [stage.doomed.address(), stage.other.address()] {
        let list = send(address, &Request::new("GET", &format!("{target}?quorum=true")))?;
        let json = list.json()?;
        let key = |node: &Json| node.text("key").map(str::to_owned);
        let found: BTreeSet<String> = json.list("node.nodes").iter().filter_map(key).collect();
        let expected: BTreeSet<String> =
            written.iter().map(|name| format!("/{top}/d/{name}")).collect();
        problems.extend(expected.difference(&found).map(|key| format!("{key} is lost")));
        problems.extend(found.difference(&expected).map(|key| format!("{key} is there")));
    }
    Ok(problems)
}

/// Writes new keys through both gateways; gives those that were acknowledged, and complaints
/// about all others.
fn write_there(stage: &Stage, target: &str) -> (Vec<String>, Vec<String>) {
    let addresses = [stage.doomed.address(), stage.other.address()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS * addresses.len())
            .map(|client| {
                let address = addresses[client % addresses.len()];
                scope.spawn(move || {
                    let (mut written, mut problems) = (Vec::new(), Vec::new());
                    for number in 0..KEYS {
                        let name = format!("w{client}-{number}");
                        let request =
                            Request::new("PUT", &format!("{target}/{name}")).form("value=new");
                        match write(address, &request) {
                            Ok(()) => written.push(name),
                            Err(problem) => problems.push(problem),
                        }
                    }
                    (written, problems)
                })
            })
            .collect();
        let mut all = (Vec::new(), Vec::new());
        for client in clients {
            match client.join() {
                Ok((written, problems)) => {
                    all.0.extend(written);
                    all.1.extend(problems);
                }
                Err(_) => all.1.push("a client panicked".to_owned()),
            }
        }
        all
    })
}

/// Writes until it is acknowledged: while a slow engine drains, a request may run out of time.
fn write(address: &str, request: &Request) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let answer = send(address, request)?;
        match answer.status() {
            200 | 201 => return Ok(()),
            500 => last = answer.describe(),
            _ => return Err(format!("PUT {}: {}", request.target, answer.describe())),
        }
    }
    Err(format!("PUT {} is never acknowledged: {last}", request.target))
}
