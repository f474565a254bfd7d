//! The proof: what several gateways on one table promise under concurrency, fault and crash.
//!
//! A [`Scenario`] is a function from a [`Setting`] (engine, seed, budget) to [`Row`]s; [`SCENARIOS`]
//! is the registry, and `src/bin/proof.rs` runs all of it and prints one table. A row is one
//! workload under one fault, with what was wrong in words. Not a benchmark: rates are not asserted.
//! Invariant: whatever a scenario could not find out is a violation, never left out.

pub mod checker;
pub mod checks;
pub mod client;
pub mod command;
mod cut;
pub mod drift;
pub mod fleet;
pub mod histories;
pub mod history;
pub mod kills;
pub mod limits;
pub mod model;
pub mod overload;
pub mod run;
pub mod watching;
pub mod workload;

use std::time::Duration;

use crate::server::Target;

/// What a scenario is given.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The DynamoDB engine behind the gateways.
    pub engine: Target,
    /// What everything random is derived from.
    pub seed: u64,
    /// How much to do.
    pub budget: Budget,
}

/// How much a run does: the short one of CI, or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// What CI has time for.
    Short,
    /// So many times as long.
    Times(u32),
}

impl Budget {
    /// How long something is done that takes so many seconds in the short run.
    #[must_use]
    pub fn of(self, seconds: u64) -> Duration {
        self.of_ms(seconds.saturating_mul(1000))
    }

    /// How long something is done that takes so many milliseconds in the short run.
    #[must_use]
    pub fn of_ms(self, short_ms: u64) -> Duration {
        let short = Duration::from_millis(short_ms);
        match self {
            Self::Short => short,
            Self::Times(factor) => short.saturating_mul(factor),
        }
    }
}

/// One line of the table: a workload under a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What the clients did.
    pub workload: String,
    /// What was done to the gateways, or between them and the table.
    pub fault: String,
    /// How many operations were carried out.
    pub operations: u64,
    /// How many outcomes a client was not told, or the gateways had to find out, and were.
    pub unknown_resolved: u64,
    /// What was wrong, each in words that suffice to look into it.
    pub violations: Vec<String>,
}

/// One part of the proof. An error is what kept it from running, and counts as a violation.
pub type Scenario = fn(&Setting) -> Result<Vec<Row>, String>;

/// All scenarios by name, in the order in which they run.
pub const SCENARIOS: &[(&str, Scenario)] = &[
    ("histories", histories::undisturbed),
    ("clocks", histories::clocks_apart),
    ("drift", drift::too_far_ahead),
    ("faults", histories::faults),
    ("weather", histories::weather),
    ("kills", kills::kills),
    ("draining", kills::draining),
    ("overload", overload::sustained),
    ("watching", watching::watches),
    ("limits", limits::around),
];
