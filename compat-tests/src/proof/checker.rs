//! A linearizability checker: is there one order of the calls, in agreement with real time, in
//! which a sequential model would have given the same answers?
//!
//! The search is Wing and Gong's with Lowe's memory of configurations already seen, iterative and
//! bounded. A pending call (no answer, or an answer that says nothing) may take effect at any later
//! time or never. A call that by its answer changed nothing may go first wherever it fits, so reads
//! and refusals cost no search. It knows nothing of v2: that is the model's.
//! Invariant: [`Verdict::Linearizable`] is only said with an order at hand.

use std::collections::HashSet;
use std::hash::Hash;

/// What is checked against: a sequential object whose steps may be several.
pub trait Model {
    /// A state of it.
    type State: Clone + Eq + Hash;
    /// A call with its answer.
    type Call;

    /// The states in which a call may leave it, the call's answer being what it was. Empty: the
    /// answer is not possible in this state. Of a pending call: the states after it happened.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Vec<Self::State>;

    /// Whether a call, with this answer, changed nothing, in whichever state it was.
    fn is_pure(&self, call: &Self::Call) -> bool;
}

/// A call and the time in which it took effect.
#[derive(Clone, Debug)]
pub struct Entry<C> {
    /// When it began.
    pub invoked: u64,
    /// When it was answered; `None`: it is pending.
    pub returned: Option<u64>,
    /// The call.
    pub call: C,
}

/// What became of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This order explains every answer. Pending calls that are not in it never happened.
    Linearizable(Vec<usize>),
    /// No order does. The longest that was found, after which no call with an answer fits.
    Violated(Vec<usize>),
    /// There was more to search than allowed.
    Undecided,
}

/// More calls than this are too many for one check: partition them by key.
pub const MOST_CALLS: usize = 128;

/// A configuration on the way: what was ordered so far, and what can come next.
struct Frame<S> {
    done: u128,
    next: Vec<(usize, S)>,
}

/// Searches for an order, through at most `limit` configurations.
pub fn check<M: Model>(
    model: &M,
    start: M::State,
    entries: &[Entry<M::Call>],
    limit: usize,
) -> Verdict {
    if entries.len() > MOST_CALLS {
        return Verdict::Undecided;
    }
    let search = Search { model, entries };
    let mut seen: HashSet<(u128, M::State)> = HashSet::new();
    let mut order: Vec<usize> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut stack = vec![search.frame(0, start)];
    while let Some(frame) = stack.last_mut() {
        if search.is_complete(frame.done) {
            return Verdict::Linearizable(order);
        }
        let Some((call, state)) = frame.next.pop() else {
            stack.pop();
            order.pop();
            continue;
        };
        let done = frame.done | bit(call);
        if !seen.insert((done, state.clone())) {
            continue;
        }
        if seen.len() > limit {
            return Verdict::Undecided;
        }
        order.push(call);
        if order.len() > longest.len() {
            longest.clone_from(&order);
        }
        stack.push(search.frame(done, state));
    }
    Verdict::Violated(longest)
}

fn bit(call: usize) -> u128 {
    1 << call
}

struct Search<'a, M: Model> {
    model: &'a M,
    entries: &'a [Entry<M::Call>],
}

impl<M: Model> Search<'_, M> {
    fn is_complete(&self, done: u128) -> bool {
        let is_left = |(call, entry): (usize, &Entry<M::Call>)| {
            entry.returned.is_some() && done & bit(call) == 0
        };
        !self.entries.iter().enumerate().any(is_left)
    }

    /// What can come next after `done`: calls that began before any call that is left was
    /// answered. The likeliest is last, where it is taken from.
    fn frame(&self, done: u128, state: M::State) -> Frame<M::State> {
        let left =
            || self.entries.iter().enumerate().filter(move |(call, _)| done & bit(*call) == 0);
        let first_return = left().filter_map(|(_, entry)| entry.returned).min();
        let may_be_next =
            |entry: &Entry<M::Call>| first_return.is_none_or(|first| entry.invoked <= first);
        let mut candidates: Vec<usize> =
            left().filter(|(_, entry)| may_be_next(entry)).map(|(call, _)| call).collect();
        candidates.sort_by_key(|call| {
            std::cmp::Reverse(self.entries[*call].returned.unwrap_or(u64::MAX))
        });
        let mut next = Vec::new();
        for call in candidates {
            let entry = &self.entries[call];
            for after in self.model.step(&state, &entry.call) {
                if after == state && self.model.is_pure(&entry.call) {
                    return Frame { done, next: vec![(call, state)] };
                }
                if after != state || entry.returned.is_some() {
                    next.push((call, after));
                }
            }
        }
        Frame { done, next }
    }
}

#[cfg(test)]
mod tests;
