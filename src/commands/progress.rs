//! How far a command is, on standard error: a line now and then.

use std::time::{Duration, Instant};

use crate::console;

/// How often there is a line at most.
const PACE: Duration = Duration::from_secs(2);

/// How many steps are taken between two looks at the clock.
const STEPS: u32 = 64;

/// Tells how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    told: Instant,
    steps: u32,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let now = Instant::now();
        Progress { began: now, told: now, steps: 0 }
    }

    /// One step more, so many nodes and bytes in all.
    pub(super) fn step(&mut self, nodes: u64, bytes: u64) {
        self.steps += 1;
        if self.steps < STEPS {
            return;
        }
        self.steps = 0;
        if self.told.elapsed() >= PACE {
            self.told = Instant::now();
            console::remark(format_args!("{} ...", self.describe(nodes, bytes)));
        }
    }

    /// So far, in words.
    pub(super) fn describe(&self, nodes: u64, bytes: u64) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        format!("{nodes} nodes, {}, {seconds:.1} s", size(bytes))
    }
}

/// So many bytes, for a person.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{}.{} KB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (9_999, "9999 bytes"),
            (10_040, "10.0 KB"),
            (999_999, "999.9 KB"),
            (1_250_000, "1.2 MB"),
            (12_345_678_901, "12345.6 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
