//! Several gateways on one table, each behind an endpoint of its own, with a clock of its own, in
//! front of a fresh engine.
//!
//! Another clock is libfaketime's: it is preloaded, and moves the wall clock alone. Invariant:
//! everything that was started ends with the fleet, and no two histories of a fleet share a key.

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::model::Clocks;
use crate::dynamodb::fault::Odds;
use crate::dynamodb::policy::Guard;
use crate::dynamodb::proxy::Proxy;
use crate::dynamodb::table;
use crate::engine::{Engine, new_table};
use crate::http::Request;
use crate::server::{Server, Target};
use crate::wait;

/// How many gateways a fleet has.
pub const GATEWAYS: usize = 3;

/// How long a gateway may take for a request (its default), and what noise may add.
pub const DEADLINE: Duration = Duration::from_millis(5000 + 3000);

/// Rounding, and what passes between two looks at the clock on a busy machine.
const SLACK_MS: i64 = 60;

/// How long what was begun may take to end once nothing is in its way.
const REST: Duration = Duration::from_secs(30);

/// Gateways on one table.
#[derive(Debug)]
pub struct Fleet {
    gateways: Vec<Server>,
    proxies: Vec<Proxy>,
    engine: Engine,
    table: String,
    ahead_s: [i64; GATEWAYS],
    histories: AtomicU64,
}

impl Fleet {
    /// Starts an engine and gateways on it, with these flags, whose clocks are so many seconds ahead.
    ///
    /// # Errors
    /// Why one of them did not start.
    pub fn start(
        engine: Target,
        seed: u64,
        ahead_s: [i64; GATEWAYS],
        flags: &[&str],
    ) -> Result<Self, String> {
        let (engine, table) = (Engine::start(engine)?, new_table());
        let (mut gateways, mut proxies) = (Vec::new(), Vec::new());
        for (ahead, number) in ahead_s.into_iter().zip(0_u64..) {
            let proxy = Proxy::start(engine.address(), seed.wrapping_add(number))
                .map_err(|error| format!("no endpoint: {error}"))?;
            proxy.guard(Guard::of_gateway(&table)?);
            let clock = clock(ahead)?;
            gateways.push(Server::gateway_in(
                &clock,
                engine.target(),
                &table,
                &proxy.url(),
                flags,
            )?);
            proxies.push(proxy);
        }
        Ok(Self { gateways, proxies, engine, table, ahead_s, histories: AtomicU64::new(0) })
    }

    /// The addresses of the gateways.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.gateways.iter().map(Server::address).collect()
    }

    /// Kills a gateway with -9. Its endpoint stays.
    pub fn kill(&mut self, gateway: usize) {
        self.gateways[gateway].kill();
    }

    /// Starts a gateway again that was killed, and gives its new address.
    ///
    /// # Errors
    /// Why it did not become ready.
    pub fn revive(&mut self, gateway: usize) -> Result<&str, String> {
        self.gateways[gateway].restart()?;
        Ok(self.gateways[gateway].address())
    }

    /// A number that no history of this fleet had.
    pub fn next_history(&self) -> u64 {
        self.histories.fetch_add(1, Ordering::Relaxed)
    }

    /// The clocks of the gateways.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        let ahead_ms = self.ahead_s.iter().map(|seconds| seconds * 1000).collect();
        Clocks { ahead_ms, slack_ms: SLACK_MS }
    }

    /// From now on, each gateway meets faults with these odds.
    pub fn set(&self, odds: Odds) {
        self.proxies.iter().for_each(|proxy| proxy.set(odds));
    }

    /// Nothing is in the way of any gateway from now on.
    pub fn heal(&self) {
        self.proxies.iter().for_each(Proxy::heal);
    }

    /// How many faults were injected so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.proxies.iter().map(|proxy| proxy.counts().injected()).sum()
    }

    /// How many outcomes the gateways had to find out so far.
    ///
    /// # Errors
    /// A gateway does not show its metrics.
    pub fn outcomes_found_out(&self) -> Result<u64, String> {
        let of = |server: &Server| counter(server, "etcdynamo_unknown_outcomes_total");
        self.gateways.iter().map(of).sum()
    }

    /// What is wrong with the table when all has come to rest, which it has to in time; and what the
    /// gateways asked for that they may not do.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn wrong_in_table(&self) -> Result<Vec<String>, String> {
        let mut found = Ok(Vec::new());
        wait::until(REST, || {
            found = table::violations(self.engine.address(), &self.table, true);
            found.as_ref().is_ok_and(Vec::is_empty).then_some(())
        });
        let guards = self.proxies.iter().filter_map(Proxy::guarded);
        let denied = guards.flat_map(|guard| guard.violations());
        found.map(|found| found.into_iter().chain(denied).collect())
    }
}

/// The environment of a process whose clock is so many seconds ahead; nothing for one that is right.
///
/// # Errors
/// libfaketime is not there.
pub fn clock(ahead_s: i64) -> Result<Vec<(String, String)>, String> {
    if ahead_s == 0 {
        return Ok(Vec::new());
    }
    let library = env::var_os("FAKETIME_LIBRARY")
        .map(PathBuf::from)
        .filter(|library| library.is_file())
        .ok_or("FAKETIME_LIBRARY must name libfaketime's libfaketimeMT.so.1")?;
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("{ahead_s:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ];
    Ok(variables.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// A counter among a gateway's metrics.
///
/// # Errors
/// It is not there.
pub fn counter(server: &Server, name: &str) -> Result<u64, String> {
    let answer = server
        .client()
        .send(&Request::new("GET", "/metrics"))
        .map_err(|error| error.to_string())?;
    let text = answer.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| format!("no {name} among the metrics"))
}
