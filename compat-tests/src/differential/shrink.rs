//! From a long sequence that differs to a short one.
//!
//! Drops ever smaller pieces of the sequence, then parameters of single requests, and keeps what
//! still differs, whatever the difference then is. Each attempt plays on a fresh directory.
//! Bounded by time; the best found so far is the result.

use std::time::{Duration, Instant};

use super::generate::Step;
use super::{Mismatch, Pair};

const PATIENCE: Duration = Duration::from_secs(60);

/// The smallest sequence found that differs, and how.
pub(super) fn shrink(pair: &Pair, steps: &[Step], first: &Mismatch) -> (Vec<Step>, Mismatch) {
    let mut search = Search {
        pair,
        best: steps[..=first.position].to_vec(),
        mismatch: first.clone(),
        deadline: Instant::now() + PATIENCE,
    };
    if !search.attempt(search.best.clone()) {
        search.mismatch.problem.insert_str(0, "(it did not happen again) ");
        return (search.best, search.mismatch);
    }
    while search.drop_steps() | search.drop_parameters() {}
    (search.best, search.mismatch)
}

struct Search<'a> {
    pair: &'a Pair,
    best: Vec<Step>,
    mismatch: Mismatch,
    deadline: Instant,
}

impl Search<'_> {
    fn attempt(&mut self, mut steps: Vec<Step>) -> bool {
        if Instant::now() > self.deadline {
            return false;
        }
        let Some(mismatch) = self.pair.replay(&steps) else {
            return false;
        };
        steps.truncate(mismatch.position + 1);
        self.best = steps;
        self.mismatch = mismatch;
        true
    }

    fn drop_steps(&mut self) -> bool {
        let mut dropped = false;
        let mut piece = self.best.len().div_ceil(2);
        while piece > 0 {
            let mut from = 0;
            while from < self.best.len() {
                let mut fewer = self.best.clone();
                fewer.drain(from..(from + piece).min(self.best.len()));
                if self.attempt(fewer) {
                    dropped = true;
                } else {
                    from += piece;
                }
            }
            piece /= 2;
        }
        dropped
    }

    fn drop_parameters(&mut self) -> bool {
        let mut dropped = false;
        for position in 0..self.best.len() {
            let mut parameter = 0;
            while let Some(simpler) =
                self.best.get(position).and_then(|step| step.without_parameter(parameter))
            {
                let mut steps = self.best.clone();
                steps[position] = simpler;
                if self.attempt(steps) {
                    dropped = true;
                } else {
                    parameter += 1;
                }
            }
        }
        dropped
    }
}
