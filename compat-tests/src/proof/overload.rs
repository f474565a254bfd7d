//! More clients than the store can serve: what they are told, what the gateway takes, and how it is
//! when it is over.
//!
//! Every call to the table is slow, and hundreds of clients write and read without a pause. Each has
//! to be answered within its deadline, with success or with a clear error; some early, as there is
//! no room for all; memory has to stay bounded; and nothing acknowledged may be lost.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::fleet::DEADLINE;
use super::{Row, Setting};
use crate::dynamodb::fault::{Fault, Odds};
use crate::dynamodb::policy::Guard;
use crate::dynamodb::proxy::Proxy;
use crate::engine::{Engine, new_table};
use crate::http::{Answer, Connection, Request};
use crate::server::Server;
use crate::wait;

/// Far more than may be at the table at once.
const CLIENTS: usize = 600;

/// How long they go on.
const MILLISECONDS: u64 = 8_000;

/// What the gateway may take at its peak.
const MOST_MIB: u64 = 256;

/// How long it may take until all is as usual once nothing is in the way.
const RECOVERY: Duration = Duration::from_secs(10);

/// What is said to those for whom there is no room.
const TOO_MANY: &str = "too many requests";

#[derive(Debug, Default)]
struct Seen {
    operations: u64,
    refused: u64,
    acknowledged: Vec<String>,
    violations: Vec<String>,
}

/// Hundreds of clients against a slow table.
///
/// # Errors
/// What kept it from running.
pub fn sustained(setting: &Setting) -> Result<Vec<Row>, String> {
    let (engine, table) = (Engine::start(setting.engine)?, new_table());
    let proxy = Proxy::start(engine.address(), setting.seed)
        .map_err(|error| format!("no endpoint: {error}"))?;
    proxy.guard(Guard::of_gateway(&table)?);
    let gateway = Server::gateway(engine.target(), &table, &proxy.url(), &[])?;
    put(gateway.address(), "/v2/keys/first")?;
    proxy.set(Odds::only(Fault::Slow, 1.0));
    let seen = Mutex::new(Seen::default());
    let until = Instant::now() + setting.budget.of_ms(MILLISECONDS);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (seen, address) = (&seen, gateway.address());
            scope.spawn(move || work(client, address, until, seen));
        }
    });
    let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    proxy.heal();
    if seen.refused == 0 {
        seen.violations.push("nobody was refused: there was no overload".to_owned());
    }
    if seen.acknowledged.is_empty() {
        seen.violations.push("not one write went through".to_owned());
    }
    seen.violations.extend(proxy.guarded().iter().flat_map(Guard::violations));
    let address = gateway.address();
    if wait::until(RECOVERY, || put(address, "/v2/keys/after").ok()).is_none() {
        seen.violations.push(format!("it does not recover within {RECOVERY:?}"));
    }
    let client = gateway.client();
    for target in &seen.acknowledged {
        match client.send(&Request::new("GET", target)) {
            Ok(answer) if answer.status() == 200 => {}
            Ok(answer) => seen.violations.push(format!("lost {target}: {}", answer.describe())),
            Err(error) => seen.violations.push(format!("lost {target}: {error}")),
        }
    }
    match peak_mib(&gateway) {
        Some(peak) if peak <= MOST_MIB => {}
        peak => seen.violations.push(format!("at its peak it took {peak:?} MiB")),
    }
    Ok(vec![Row {
        workload: format!("{CLIENTS} clients that set and get without a pause"),
        fault: "every call slow".to_owned(),
        operations: seen.operations,
        unknown_resolved: 0,
        violations: seen.violations,
    }])
}

/// What one client does, and what it is told.
fn work(client: usize, address: &str, until: Instant, seen: &Mutex<Seen>) {
    let mut connection = None;
    for count in 0.. {
        if Instant::now() >= until {
            return;
        }
        // Under the root, where no two creations share anything, so each is a call of its own.
        let target = format!("/v2/keys/{client}-{count}");
        let request = match count % 2 {
            0 => Request::new("PUT", &target).form("value=1"),
            _ => Request::new("GET", "/v2/keys/first"),
        };
        let began = Instant::now();
        let answer = send(&mut connection, address, &request);
        let took = began.elapsed();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.operations += 1;
        if took > DEADLINE {
            seen.violations.push(format!("{} {target} took {took:?}", request.method));
        }
        match answer {
            Ok(answer) if answer.status() < 300 => {
                if request.method == "PUT" {
                    seen.acknowledged.push(target);
                }
            }
            Ok(answer) if answer.status() == 500 && answer.text().contains("\"errorCode\":300") => {
                seen.refused += u64::from(answer.text().contains(TOO_MANY));
                if answer.header("Retry-After").is_none() {
                    seen.violations.push("a refusal does not say when to come again".to_owned());
                }
            }
            Ok(answer) => {
                seen.violations.push(format!("{} {target}: {}", request.method, answer.describe()));
            }
            Err(error) => seen.violations.push(format!("{} {target}: {error}", request.method)),
        }
    }
}

fn send(
    connection: &mut Option<Connection>,
    address: &str,
    request: &Request,
) -> std::io::Result<Answer> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address)?,
    };
    let answer = open.send(request)?;
    *connection = Some(open);
    Ok(answer)
}

fn put(address: &str, target: &str) -> Result<(), String> {
    let request = Request::new("PUT", target).form("value=1");
    let answer = Connection::open(address).and_then(|mut connection| connection.send(&request));
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() < 300 { Ok(()) } else { Err(answer.describe()) }
}

/// The most memory that a gateway has had so far.
pub(super) fn peak_mib(gateway: &Server) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
