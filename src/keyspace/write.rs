//! Writes: plan, commit, and plan again with what the commit found.

use std::sync::Arc;

use super::drain::Drain;
use super::gather::{self, Joined, Seat};
use super::in_flight::{Flight, Landing};
use super::settle::{Found, pause, settle};
use super::{Answer, Keyspace, store_failed};
use crate::store::{Consistency, Level, Limits, Store};
use crate::v2::{
    Aftermath, Capacity, Commit, Detour, Error, ErrorCode, EtcdIndex, Event, Item, Key, Known,
    Moment, Op, Operation, Plan, Record, Seen, Step, Write, plan,
};

/// After how many refused commits a write pauses before it plans again, so that writers on one
/// key do not keep each other from it.
const EAGER_ATTEMPTS: u32 = 3;

impl<S: Store> Keyspace<S> {
    /// Carries out a client's write. `floor` is the index that was settled before it.
    pub(super) async fn carry_out(&self, write: &Write, floor: EtcdIndex) -> Result<Answer, Error> {
        self.refuse_gone()?;
        self.refuse_write()?;
        self.check_size(write)?;
        match self.run(write).await {
            Ok(Some(event)) => Ok(Answer { index: event.node.modified, event, room: None }),
            Ok(None) => Err(Error::new(ErrorCode::RaftInternal, "the write had no outcome")),
            Err(error) => Err(error.at_store(floor)),
        }
    }

    /// Carries out a write when its turn has come. `None`: there was nothing left to do.
    async fn run(&self, write: &Write) -> Result<Option<Event>, Error> {
        // An in-order key is new, and nobody else writes it.
        let is_new = matches!(write.operation, Operation::CreateInOrder(_));
        let takes_turns = self.store.limits().is_remote && !is_new;
        let _turn = if takes_turns { Some(self.turns.wait(&write.key).await) } else { None };
        self.run_in_turn(write).await
    }

    /// Carries out a write. It goes on until it has an outcome; the caller sets the time limit.
    async fn run_in_turn(&self, write: &Write) -> Result<Option<Event>, Error> {
        self.run_knowing(write, Known::default()).await
    }

    /// The same, where something is known to begin with.
    pub(super) async fn run_knowing(
        &self,
        write: &Write,
        mut known: Known,
    ) -> Result<Option<Event>, Error> {
        let mut refused: u32 = 0;
        let mut seat = None;
        loop {
            let mut begun = self.begin();
            let moment = self.moment(begun.index())?;
            let plan = match plan(write, &known, moment)? {
                Step::Commit(plan) => plan,
                Step::Moot => return Ok(None),
                Step::Detour(detour) => {
                    // Neither a later write nor a group waits for it.
                    drop((begun, seat.take()));
                    self.detour(detour, &mut known).await?;
                    continue;
                }
            };
            let joined = match self.join_group(&plan.commit, seat.take()) {
                Some(Joined::Later(later)) => {
                    drop(begun);
                    seat = later.await.ok();
                    continue;
                }
                Some(Joined::Now(seat)) => Some(seat),
                None => None,
            };
            let flight = match self.take_off(&plan.commit) {
                Ok(flight) => flight,
                Err(landing) => {
                    drop((begun, joined));
                    landing.wait().await;
                    continue;
                }
            };
            begun.may_happen(&plan);
            let outcome = match joined {
                None => Some(settle(&*self.store, &plan.commit).await),
                Some(seat) => seat.commit(&plan.commit).await,
            };
            drop(flight);
            let Some(outcome) = outcome else {
                begun.did_not_happen();
                continue;
            };
            match begun.decide(outcome)?.aftermath() {
                Ok(aftermath) => {
                    let event = event_of(&plan, &aftermath, moment)?;
                    begun.happened(&plan, &event);
                    return self.conclude(&plan, event).await.map(Some);
                }
                Err(found) => {
                    drop(begun);
                    self.take_in(&plan.commit, found, &mut known)?;
                    refused += 1;
                    if refused > EAGER_ATTEMPTS {
                        pause(refused - EAGER_ATTEMPTS).await;
                    }
                }
            }
        }
    }

    /// The group that a commit goes with. `None`: it goes alone. A store that costs nothing groups
    /// what it is given by itself.
    fn join_group(&self, commit: &Commit, seat: Option<Seat>) -> Option<Joined> {
        let dir = gather::directory(commit).filter(|_| self.store.limits().is_remote)?;
        Some(match seat.filter(|seat| seat.is_for(dir)) {
            Some(seat) => Joined::Now(seat),
            None => self.groups.join(dir, commit),
        })
    }

    /// Keeps other commits of this gateway from the items of this one, where the store's replies can
    /// be lost.
    pub(super) fn take_off(&self, commit: &Commit) -> Result<Option<Flight>, Landing> {
        let is_remote = self.store.limits().is_remote;
        is_remote.then(|| self.in_flight.take_off(commit)).transpose()
    }

    fn moment(&self, index: EtcdIndex) -> Result<Moment, Error> {
        let Limits { commit_ops, commit_bytes, .. } = self.store.limits();
        Ok(Moment {
            now: self.clock.now(),
            id: self.write_id(index)?,
            capacity: Capacity { ops: commit_ops, bytes: commit_bytes },
        })
    }

    /// Takes the step that a plan needs first.
    async fn detour(&self, detour: Detour, known: &mut Known) -> Result<(), Error> {
        match detour {
            Detour::Look(keys) => self.look(&keys, known).await,
            Detour::List { key, recursive, at_most } => {
                let nodes = self.nodes_below(&key, recursive, at_most).await?;
                known.see_listing(nodes);
                Ok(())
            }
            Detour::Expire(key, seen) => {
                self.expire(key.clone(), seen).await?;
                self.look(&[key], known).await
            }
            Detour::AwaitDrain(key) => {
                self.help_drain(&key).await?;
                self.look(&[key], known).await
            }
        }
    }

    /// Removes a node that was seen to be past its expiration, unless it changed since. It waits for
    /// no turn, since it may be done within one.
    pub(super) async fn expire(&self, key: Key, seen: Seen) -> Result<Option<Event>, Error> {
        let write = Write { key, operation: Operation::Expire(seen) };
        let event = Box::pin(self.run_in_turn(&write)).await?;
        if event.is_some() {
            self.counters.count_expired();
        }
        Ok(event)
    }

    /// What remains once a plan is committed.
    async fn conclude(&self, plan: &Plan, event: Event) -> Result<Event, Error> {
        if plan.commit.ops.iter().any(|op| matches!(op, Op::PutRecord(Record::DirTtl { .. }))) {
            self.sweep_wanted.notify_one();
        }
        if plan.drains {
            let (top, index) = (event.node.key.clone(), event.node.modified);
            let drain = Drain { top, index, action: plan.action };
            let unfinished = Unfinished::new(self, drain);
            self.drain(unfinished.drain()).await?;
            unfinished.done();
        }
        Ok(event)
    }

    /// Notes what a refused commit found.
    fn take_in(&self, commit: &Commit, found: Found, known: &mut Known) -> Result<(), Error> {
        for (part, item) in found {
            if let Some(item) = &item {
                self.observe(item)?;
            }
            if let Some(Op::Node(op)) = commit.ops.get(part) {
                known.see(op.key.clone(), item);
            }
        }
        Ok(())
    }

    /// The nodes below a directory that are not removed, expired ones among them, until there
    /// is one more than `at_most`.
    async fn nodes_below(
        &self,
        top: &Key,
        recursive: bool,
        at_most: usize,
    ) -> Result<Vec<Arc<Item>>, Error> {
        let mut nodes: Vec<Arc<Item>> = Vec::new();
        let mut depth = top.depth();
        loop {
            depth += 1;
            let mut has_dirs = false;
            let mut from = None;
            loop {
                let level = Level { below: top, depth, from };
                let page = self.store.list(level, Consistency::Strong).await;
                let page = page.map_err(|e| store_failed(&e))?;
                for item in page.items {
                    // Below a tombstone that drains there may still be nodes.
                    has_dirs |= item.is_dir() && (item.removed.is_none() || item.is_draining());
                    if item.removed.is_none() {
                        self.observe(&item)?;
                        nodes.push(item);
                    }
                }
                match page.next {
                    Some(next) if nodes.len() <= at_most => from = Some(next),
                    Some(_) | None => break,
                }
            }
            if !recursive || !has_dirs || nodes.len() > at_most {
                return Ok(nodes);
            }
        }
    }

    /// Refuses what the store cannot hold, before anything is sent.
    fn check_size(&self, write: &Write) -> Result<(), Error> {
        let key = &write.key;
        let limits = self.store.limits();
        let value = match &write.operation {
            Operation::CreateInOrder(draft) => {
                self.check_key(&key.child(EtcdIndex(0).in_order_name().as_bytes()))?;
                draft.value.as_bytes().len()
            }
            Operation::Set(draft)
            | Operation::Create(draft)
            | Operation::Update(draft)
            | Operation::CompareAndSwap(draft, _) => {
                self.check_key(key)?;
                draft.value.as_bytes().len()
            }
            Operation::Delete(_) | Operation::CompareAndDelete(_) | Operation::Expire(_) => {
                return self.check_key(key);
            }
        };
        let bytes = value + key.escaped_len();
        if bytes > limits.item_bytes {
            let cause = format!(
                "key and value of {bytes} bytes are over the limit of {} bytes of {}",
                limits.item_bytes, limits.name
            );
            return Err(Error::new(ErrorCode::InvalidField, cause));
        }
        Ok(())
    }
}

/// A drain that is under way for a request. Should the request end before it, the sweep goes on
/// with it at once.
pub(super) struct Unfinished<'a, S> {
    drain: Drain,
    keyspace: &'a Keyspace<S>,
    is_done: bool,
}

impl<'a, S> Unfinished<'a, S> {
    pub(super) fn new(keyspace: &'a Keyspace<S>, drain: Drain) -> Unfinished<'a, S> {
        Unfinished { drain, keyspace, is_done: false }
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl<S> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        if !self.is_done {
            self.keyspace.leave_drain(self.drain.clone());
        }
    }
}

/// The event of a plan that was committed.
fn event_of(plan: &Plan, aftermath: &Aftermath, moment: Moment) -> Result<Event, Error> {
    plan.event(aftermath, moment.now).ok_or_else(|| {
        tracing::error!(action = plan.action.name(), "an applied write left no event");
        Error::new(ErrorCode::RaftInternal, "the write left no event")
    })
}
