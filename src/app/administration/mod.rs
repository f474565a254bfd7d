//! `etcdynamo table` and `etcdynamo keyspace`: what administrators do to a table and to the
//! keyspaces in it.
//!
//! Here is what the two have in common: how they reach a table, and how they tell what they do. The
//! answer of a command goes to standard output; progress, and what it consumed, to standard error.
//! Invariant: nothing is destroyed that was not named twice, and whatever is cut short can be done
//! again.

mod census;
mod keyspaces;
mod tables;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;

pub use keyspaces::keyspace;
pub use tables::table;

use crate::config::TablePlace;
use crate::console;
use crate::store::dynamodb::{DynamoDbConfig, Meter, Timing};
use crate::telemetry::{self, LogFormat};
use crate::units::Units;

/// An administrator waits rather than begins anew: longer for each call, and much longer where
/// DynamoDB has too many of them.
const PATIENT: Duration = Duration::from_secs(60);
const ATTEMPT: Duration = Duration::from_secs(10);

/// How often progress is told.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Why a command did not do what it was asked for, for a person to read.
#[derive(Debug)]
pub struct Failed(String);

impl Failed {
    fn because(what: impl fmt::Display) -> Failed {
        Failed(what.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// What goes wrong and is tried again is told on standard error, too.
fn begin_log() -> Result<(), Failed> {
    let begun = telemetry::start(LogFormat::Text, Level::WARN);
    begun.map(|_set_level| ()).map_err(Failed::because)
}

fn store_config(place: &TablePlace, keyspace: &str) -> DynamoDbConfig {
    DynamoDbConfig {
        table: place.table.clone(),
        keyspace: keyspace.to_owned(),
        region: place.region.clone(),
        endpoint_url: place.endpoint_url.clone(),
        create_table: false,
        timing: Timing { attempt: ATTEMPT, read: PATIENT, commit: PATIENT, ..Timing::default() },
    }
}

/// What a command has consumed so far.
#[derive(Debug, Clone, Default)]
struct Bill(Arc<Mutex<Units>>);

impl Bill {
    fn meter(&self) -> Meter {
        let bill = Arc::clone(&self.0);
        Meter::new(move |call| {
            *bill.lock().unwrap_or_else(PoisonError::into_inner) += call.units;
        })
    }

    /// Says it on standard error.
    fn tell(&self) {
        let Units { read, write } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        console::remark(format_args!("consumed: {read} read units, {write} write units"));
    }
}

/// Says how far something is, now and then.
#[derive(Debug)]
struct Progress {
    what: &'static str,
    told: Instant,
}

impl Progress {
    /// Of what is counted, in words.
    fn of(what: &'static str) -> Progress {
        Progress { what, told: Instant::now() }
    }

    fn tell(&mut self, count: u64) {
        if self.told.elapsed() >= TELL_INTERVAL {
            self.told = Instant::now();
            console::remark(format_args!("{count} {} so far", self.what));
        }
    }
}
