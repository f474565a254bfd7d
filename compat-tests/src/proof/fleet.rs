//! Several gateways on one table, in front of a fresh engine.
//!
//! Invariant: everything that was started ends with the fleet.

use std::time::Duration;

use crate::http::Request;
use crate::server::{Server, Target};

use super::model::Clocks;

/// How many gateways a fleet has.
pub const GATEWAYS: usize = 3;

/// How long a gateway may take for a request (its default), and what noise may add.
pub const DEADLINE: Duration = Duration::from_millis(5000 + 3000);

/// Rounding, and what passes between two looks at the clock on a busy machine.
const SLACK_MS: i64 = 60;

/// Gateways on one table.
#[derive(Debug)]
pub struct Fleet {
    gateways: Vec<Server>,
    ahead_ms: Vec<i64>,
}

impl Fleet {
    /// Starts an engine and gateways on it.
    ///
    /// # Errors
    /// Why one of them did not start.
    pub fn start(engine: Target) -> Result<Self, String> {
        let mut gateways = vec![Server::start(engine)?];
        while gateways.len() < GATEWAYS {
            let next = gateways[0].second_gateway()?;
            gateways.push(next);
        }
        Ok(Self { gateways, ahead_ms: vec![0; GATEWAYS] })
    }

    /// The addresses of the gateways.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.gateways.iter().map(Server::address).collect()
    }

    /// The clocks of the gateways.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        Clocks { ahead_ms: self.ahead_ms.clone(), slack_ms: SLACK_MS }
    }

    /// How many outcomes the gateways had to find out so far.
    ///
    /// # Errors
    /// A gateway does not show its metrics.
    pub fn outcomes_found_out(&self) -> Result<u64, String> {
        let of = |server: &Server| counter(server, "etcdynamo_unknown_outcomes_total");
        self.gateways.iter().map(of).sum()
    }
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
