//! What a person at a terminal, or a script, is told: lines on standard output and standard error.
//!
//! Not here: the log of a server ([`crate::telemetry`]), and data that goes to standard output, whose
//! writer wants to know whether it arrived. Invariant: nobody who stops listening stops what goes
//! on: a deletion is not cut short because its progress was piped to `head`. That is why `println!` and
//! `eprintln!`, which panic then, are not used.

use std::fmt::Display;
use std::io::{self, Write as _};

/// A line on standard output: what was asked for.
pub fn answer(line: impl Display) {
    // Whoever reads no further does so on purpose; the exit code tells in any case.
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on standard error: how it goes, or what is wrong.
pub fn remark(line: impl Display) {
    // Nobody is left to be told.
    let _ = writeln!(io::stderr(), "{line}");
}
