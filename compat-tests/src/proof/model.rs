//! The sequential model: one small tree with etcd v2's rules, as far as the workloads use them.
//!
//! An index is whatever the answer said it was, so long as it is above every index that its key
//! ever had; that of a write without an answer is unknown until something shows it. A node with
//! a TTL is judged by the clock of the gateway that was asked, which the model knows: near the
//! expiration both may be, and a gateway with a clock further ahead may have removed it already.
//! It is written from etcd's contract, not from the server. Invariant: [`Model::step`] accepts an
//! answer only if some v2 server could have given it in that state.

mod apply;
mod observe;
mod state;

use super::checker::Model;
use super::history::{Call, Reply};

use apply::{Refusal, apply};
pub use state::{Expires, Index, Node, State};

/// What `prevNode` is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrevNode {
    /// It is the node before, always.
    Exact,
    /// It may be absent: where a reply from the store was lost, nobody knows the node before.
    MayBeLost,
}

/// The clocks of the gateways.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// How far each gateway's wall clock is ahead of ours, in milliseconds.
    pub ahead_ms: Vec<i64>,
    /// How far a time may be off: rounding, and what passes between clock readings.
    pub slack_ms: i64,
}

impl Clocks {
    fn of(&self, gateway: usize) -> i64 {
        self.ahead_ms.get(gateway).copied().unwrap_or(0)
    }

    fn furthest(&self) -> i64 {
        self.ahead_ms.iter().copied().max().unwrap_or(0)
    }
}

/// A small v2 tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The gateways' clocks.
    pub clocks: Clocks,
    /// What is demanded of `prevNode`.
    pub prev_node: PrevNode,
}

/// A call of a history, with a number that no other call has.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// The number, by which an unknown index is told from others.
    pub number: usize,
    /// The call.
    pub call: Call,
}

impl Model for Tree {
    type State = State;
    type Call = Numbered;

    fn step(&self, state: &State, call: &Numbered) -> Vec<State> {
        let mut after = Vec::new();
        for view in self.views(state, &call.call) {
            if let Some(next) = self.step_in(&view, call) {
                after.push(view.put_back(next));
            }
        }
        after
    }

    fn is_pure(&self, call: &Numbered) -> bool {
        let Call { operation, reply, .. } = &call.call;
        match reply {
            Reply::Done { .. } => !operation.writes(),
            Reply::Refused { .. } | Reply::NotListed => true,
            Reply::Unknown(_) => false,
        }
    }
}

/// The tree as one call may have met it: without some of the nodes that may be past their time.
struct View {
    state: State,
    /// Expired by this gateway's clock, though still in the table: others may see them yet.
    hidden: Vec<(String, Node)>,
}

impl View {
    /// What the call did not touch of the hidden is there as before.
    fn put_back(&self, mut state: State) -> State {
        for (key, node) in &self.hidden {
            let untouched = !state.nodes.contains_key(key)
                && state.floor(key) == self.state.floor(key)
                && state.has_parent(key);
            if untouched {
                state.nodes.insert(key.clone(), node.clone());
            }
        }
        state
    }
}

impl Tree {
    /// The ways in which a call may have met the tree.
    fn views(&self, state: &State, call: &Call) -> Vec<View> {
        let mut views = vec![View { state: state.clone(), hidden: Vec::new() }];
        for (key, node) in &state.nodes {
            let Some(expires) = node.expires else { continue };
            let (own, furthest) = (self.clocks.of(call.gateway), self.clocks.furthest());
            let slack = self.clocks.slack_ms;
            let (from, to) = (ms(call.invoked), self.latest(call));
            let may_be_live = from.saturating_add(own) < expires.latest.saturating_add(slack);
            let may_be_expired = to.saturating_add(own) >= expires.earliest.saturating_sub(slack);
            let may_be_removed =
                to.saturating_add(furthest) >= expires.earliest.saturating_sub(slack);
            let mut next = Vec::new();
            for view in views {
                if may_be_expired || may_be_removed {
                    let mut without =
                        View { state: view.state.clone(), hidden: view.hidden.clone() };
                    without.state.nodes.remove(key);
                    if may_be_expired {
                        without.hidden.push((key.clone(), node.clone()));
                    }
                    next.push(without);
                }
                if may_be_live {
                    next.push(view);
                }
            }
            views = next;
        }
        views
    }

    /// The latest time at which a call may have looked at the clock.
    fn latest(&self, call: &Call) -> i64 {
        if call.is_known() { ms(call.answered) } else { i64::MAX / 2 }
    }

    fn step_in(&self, view: &View, numbered: &Numbered) -> Option<State> {
        let Numbered { number, call } = numbered;
        let state = observe::learn(self.prev_node, &view.state, call)?;
        let expires = self.expires(call);
        match (&call.reply, apply(&state, call, *number, expires)) {
            (Reply::Unknown(_), applied) => applied.ok().map(|applied| applied.state),
            (Reply::NotListed, Err(Refusal::Missing | Refusal::NotDir(_))) => Some(state),
            (Reply::Done { .. }, Ok(applied)) => observe::done(self.prev_node, applied, numbered),
            (Reply::Refused { code, cause }, Err(refusal)) => {
                observe::is_refusal(&state, call, &refusal, *code, cause).then_some(state)
            }
            (Reply::Done { .. } | Reply::NotListed, _) | (Reply::Refused { .. }, Ok(_)) => None,
        }
    }

    /// When what a call writes expires, before its answer is looked at: it counts from the time at
    /// which the gateway read the request.
    fn expires(&self, call: &Call) -> Option<Expires> {
        let ttl_ms =
            i64::try_from(call.operation.ttl?.saturating_mul(1000)).unwrap_or(i64::MAX / 4);
        let (own, slack) = (self.clocks.of(call.gateway), self.clocks.slack_ms);
        // A client that gave up may have been read later.
        let grace = if call.is_known() { slack } else { slack.saturating_add(1000) };
        let earliest = ms(call.invoked) + own + ttl_ms - slack;
        Some(Expires { earliest, latest: ms(call.answered) + own + ttl_ms + grace })
    }
}

fn ms(microseconds: u64) -> i64 {
    i64::try_from(microseconds / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
