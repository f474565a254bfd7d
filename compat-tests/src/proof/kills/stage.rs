//! Two gateways on one table, each with its own endpoint, so that one can be stopped at a write.
//!
//! Invariant: what is done to one gateway's endpoint the other one does not notice.

use std::time::Duration;

use crate::dynamodb::policy::Guard;
use crate::dynamodb::proxy::Proxy;
use crate::dynamodb::table;
use crate::engine::{Engine, new_table};
use crate::http::{Answer, Connection, Request};
use crate::proof::fleet::{DEADLINE, counter};
use crate::server::{Server, Target};
use crate::wait;

/// How long another gateway may take to finish or undo what a dead one left. It looks at the
/// records of work every five seconds, and helps where it sees one twice.
pub(super) const RECOVERY: Duration = Duration::from_secs(25);

/// The engine, and what stands in front of it.
pub(super) struct Stage {
    /// The gateway that is killed.
    pub(super) doomed: Server,
    /// Its endpoint.
    pub(super) doomed_proxy: Proxy,
    /// The gateway that goes on.
    pub(super) other: Server,
    /// Its endpoint.
    pub(super) other_proxy: Proxy,
    engine: Engine,
    table: String,
}

impl Stage {
    pub(super) fn start(target: Target, seed: u64) -> Result<Self, String> {
        let engine = Engine::start(target)?;
        let table = new_table();
        let proxy = |seed| {
            let proxy = Proxy::start(engine.address(), seed).map_err(|error| error.to_string())?;
            proxy.guard(Guard::of_gateway(&table)?);
            Ok::<_, String>(proxy)
        };
        let (doomed_proxy, other_proxy) = (proxy(seed)?, proxy(seed.wrapping_add(1))?);
        let other = Server::gateway(target, &table, &other_proxy.url(), &[])?;
        let doomed = Server::gateway(target, &table, &doomed_proxy.url(), &[])?;
        Ok(Self { doomed, doomed_proxy, other, other_proxy, engine, table })
    }

    pub(super) fn engine(&self) -> &str {
        self.engine.address()
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Asks the gateway that goes on. The request is sent once, and answered in time.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, String> {
        send(self.other.address(), request)
    }

    /// What is wrong with the table, once all that was under way had the time to end; and what the
    /// gateways asked for that they may not do.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut last = Vec::new();
        let sound = wait::until(RECOVERY, || {
            last = table::violations(self.engine(), &self.table, true)
                .unwrap_or_else(|problem| vec![problem]);
            last.is_empty().then_some(())
        });
        let guards = [&self.doomed_proxy, &self.other_proxy].map(Proxy::guarded);
        let denied = guards.iter().flatten().flat_map(Guard::violations);
        if sound.is_some() { denied.collect() } else { last.into_iter().chain(denied).collect() }
    }

    /// How many outcomes the gateway that goes on had to find out so far.
    pub(super) fn found_out(&self) -> Result<u64, String> {
        counter(&self.other, "etcdynamo_unknown_outcomes_total")
    }

    /// Panics in the logs.
    pub(super) fn panics(&self) -> Vec<String> {
        let logs = [self.doomed.log_text(), self.other.log_text()];
        let lines = logs.iter().flat_map(|log| log.lines());
        lines.filter(|line| line.contains("panicked")).map(str::to_owned).collect()
    }
}

/// Sends a request once.
pub(super) fn send(address: &str, request: &Request) -> Result<Answer, String> {
    let began = std::time::Instant::now();
    let answer = Connection::open(address).and_then(|mut connection| connection.send(request));
    let Request { method, target, .. } = request;
    let answer = answer.map_err(|error| format!("{method} {target}: {error}"))?;
    if began.elapsed() > DEADLINE {
        return Err(format!("{method} {target} took {:?}", began.elapsed()));
    }
    Ok(answer)
}

/// Writes until it is acknowledged: on a slow engine a request may run out of time while it helps
/// to finish what was under way. Any other refusal is an error.
pub(super) fn write(address: &str, request: &Request) -> Result<(), String> {
    let mut outcome = Err("it was not tried".to_owned());
    let decided = wait::until(RECOVERY, || {
        let answer = match send(address, request) {
            Ok(answer) => answer,
            Err(problem) => {
                outcome = Err(problem);
                return Some(());
            }
        };
        let Request { method, target, .. } = request;
        let is_written = matches!(answer.status(), 200 | 201);
        let refused = || Err(format!("{method} {target}: {}", answer.describe()));
        outcome = if is_written { Ok(()) } else { refused() };
        (answer.status() < 500).then_some(())
    });
    if decided.is_none() {
        return outcome.map_err(|last| format!("not acknowledged in {RECOVERY:?}: {last}"));
    }
    outcome
}
