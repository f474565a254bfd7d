//! The same random requests to a real etcd and to a target, compared field for field.
//!
//! A run is made of rounds; a round is a sequence of [`Step`]s below a fresh directory, made from
//! the run's seed and the round's number alone. Requests go out one after another, first to the
//! reference. The first difference ends the run: the sequence is shrunk to a small one that still
//! differs and printed as curl lines.
//!
//! It does not know what a right answer is (etcd knows), waits for nothing to expire and never
//! watches. Invariant: nothing else writes to the two servers while it runs, because every index
//! of the one is held to correspond to exactly one of the other.

pub mod compare;
pub mod generate;
pub mod indexes;
mod shrink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::http::{Answer, Client, Request};
use generate::Step;
use indexes::Indexes;

/// Requests in one round.
const ROUND: usize = 250;

/// The two servers that are compared.
#[derive(Debug)]
pub struct Pair {
    /// The oracle.
    pub reference: Client,
    /// Who must answer the same.
    pub target: Client,
    prefixes: AtomicU64,
    kinds: Mutex<BTreeMap<String, usize>>,
}

/// Where two servers first differed.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The position of the step in its sequence.
    pub position: usize,
    /// What differs, and both answers.
    pub problem: String,
}

impl Pair {
    /// Two servers with nobody else on them.
    #[must_use]
    pub fn new(reference: Client, target: Client) -> Self {
        Self { reference, target, prefixes: AtomicU64::new(1), kinds: Mutex::default() }
    }

    /// Makes about `requests` requests of both.
    ///
    /// # Errors
    /// The smallest sequence found after which they differ, as curl lines, with the seed.
    pub fn run(&self, seed: u64, requests: usize) -> Result<(), String> {
        for round in 0..requests.div_ceil(ROUND) {
            let steps = generate::steps(seed, round, ROUND.min(requests));
            if let Some(mismatch) = self.replay(&steps) {
                let (smallest, last) = shrink::shrink(self, &steps, &mismatch);
                return Err(self.report(seed, round, &smallest, &last));
            }
        }
        Ok(())
    }

    /// How often each action and each error code was answered so far.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, answer: &Answer) {
        let Ok(json) = answer.json() else { return };
        let code = json.number("errorCode").map(|code| code.to_string());
        if let Some(kind) = json.text("action").map(str::to_owned).or(code) {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            *kinds.entry(kind).or_default() += 1;
        }
    }

    /// Plays a sequence below a fresh directory; the first difference, if there is one.
    #[must_use]
    pub fn replay(&self, steps: &[Step]) -> Option<Mismatch> {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("r{number}");
        let mut indexes = Indexes::default();
        let mut seen: [BTreeMap<usize, u64>; 2] = Default::default();
        for (position, step) in steps.iter().enumerate() {
            let requests = [step.request(&prefix, &seen[0]), step.request(&prefix, &seen[1])];
            let problem = match self.exchange(&requests) {
                Ok([reference, target]) => {
                    self.count(&reference);
                    remember(step, &reference, &mut seen[0]);
                    remember(step, &target, &mut seen[1]);
                    compare::answers(step, [&reference, &target], &mut indexes)
                        .err()
                        .map(|problem| describe(&problem, &requests, &reference, &target))
                }
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                return Some(Mismatch { position, problem });
            }
        }
        None
    }

    fn exchange(&self, requests: &[Request; 2]) -> Result<[Answer; 2], String> {
        let reference = self.reference.send(&requests[0]);
        let target = self.target.send(&requests[1]);
        match (reference, target) {
            (Ok(reference), Ok(target)) => Ok([reference, target]),
            (reference, target) => Err(format!(
                "a request went unanswered: reference {:?}, target {:?}",
                reference.map(|answer| answer.status()),
                target.map(|answer| answer.status())
            )),
        }
    }

    fn report(&self, seed: u64, round: usize, steps: &[Step], last: &Mismatch) -> String {
        let mut text = format!(
            "the servers differ: COMPAT_SEED={seed}, round {round}, {} steps left after shrinking\n",
            steps.len()
        );
        for step in steps {
            text.push_str(&step.curl(self.target.address()));
            text.push('\n');
        }
        text.push_str(&last.problem);
        text
    }
}

/// Keeps the index that a write got, for later steps that name it.
fn remember(step: &Step, answer: &Answer, seen: &mut BTreeMap<usize, u64>) {
    let succeeded = matches!(answer.status(), 200 | 201);
    if let Some(index) = answer.head.number("X-Etcd-Index")
        && step.is_write()
        && succeeded
    {
        seen.insert(step.id, index);
    }
}

fn describe(problem: &str, requests: &[Request; 2], reference: &Answer, target: &Answer) -> String {
    format!(
        "{problem}\n  asked the reference: {} {}\n  asked the target:    {} {}\n  reference: {}\n  target:    {}",
        requests[0].method,
        requests[0].target,
        requests[1].method,
        requests[1].target,
        reference.describe(),
        target.describe()
    )
}
