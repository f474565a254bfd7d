//! Earlier answers to reads that need not be strong.
//!
//! Invariant: it keeps a bounded number of answers, and none longer than [`AGE`]: DynamoDB's
//! copies are seldom further behind.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::reply::Reply;

/// How old an answer may be.
const AGE: Duration = Duration::from_secs(2);
/// For how many different requests answers are kept.
const REQUESTS: usize = 2048;
/// How many answers to one request are kept.
const ANSWERS: usize = 4;

/// The answers of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Memory(HashMap<u64, Vec<(Instant, Reply)>>);

impl Memory {
    /// Notes an answer.
    pub(crate) fn keep(&mut self, request: u64, reply: &Reply) {
        if self.0.len() >= REQUESTS && !self.0.contains_key(&request) {
            self.0.clear();
        }
        let answers = self.0.entry(request).or_default();
        answers.retain(|(at, _)| at.elapsed() < AGE);
        if answers.len() == ANSWERS {
            answers.remove(0);
        }
        answers.push((Instant::now(), reply.clone()));
    }

    /// The oldest answer that may still be given.
    pub(crate) fn recall(&self, request: u64) -> Option<Reply> {
        let answers = self.0.get(&request)?;
        answers.iter().find(|(at, _)| at.elapsed() < AGE).map(|(_, reply)| reply.clone())
    }
}
