//! Who pays: what a request consumes of DynamoDB's capacity, and what everything else does.
//!
//! ```text
//! v2http    bill.charge(…)              a request's bill, for its reply's headers
//! keyspace  Operation::Set.pays(…)      what a sum is for
//! store     spend(units)                in the task that made the call, when it ends
//! traces    traced(parent, …)           whose trace shows the calls
//! ```
//!
//! The two are kept by the task, not by its callers' arguments, so that no call in between can
//! forget to hand them on. Whoever spawns a task on somebody's behalf hands them on by
//! [`Payers::of_this_task`]. Invariant: every unit that the store is told of is in exactly one
//! operation's sum, and in the bills of those requests for which the call was made.
//!
//! Not here: prices, and what a call consumes. A call that gets no answer counts nothing, because
//! nobody can know.

use std::future::Future;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::traces::Parent;

tokio::task_local! {
    static PAYERS: Payers;
}

/// Request units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

impl AddAssign for Units {
    fn add_assign(&mut self, more: Units) {
        self.read += more.read;
        self.write += more.write;
    }
}

/// What units are spent on. Requests are named as etcd's metrics name them, and the rest is what
/// a gateway does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// GET, of a file or of one level of a directory: nobody knows which before the answer.
    Get,
    /// GET with recursive=true.
    GetRecursive,
    /// PUT without a condition.
    Set,
    /// PUT with prevExist=false, and POST.
    Create,
    /// PUT with prevExist=true, and so a refresh.
    Update,
    /// PUT with prevValue or prevIndex.
    CompareAndSwap,
    /// DELETE without a condition, of one node.
    Delete,
    /// DELETE with recursive=true, with the drain where it is one.
    DeleteRecursive,
    /// DELETE with prevValue or prevIndex.
    CompareAndDelete,
    /// Beginning a watch.
    Watch,
    /// `/health`.
    Health,
    /// Opening the keyspace.
    Open,
    /// Looking for directories that are overdue and for unfinished drains.
    Sweep,
    /// Removing what is overdue.
    Expire,
    /// Finishing a removal that its own gateway or request did not finish.
    Drain,
    /// Leaving a sign of life for other gateways, and looking for theirs.
    Heartbeat,
    /// Nobody said.
    Other,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 17] = [
        Operation::Get,
        Operation::GetRecursive,
        Operation::Set,
        Operation::Create,
        Operation::Update,
        Operation::CompareAndSwap,
        Operation::Delete,
        Operation::DeleteRecursive,
        Operation::CompareAndDelete,
        Operation::Watch,
        Operation::Health,
        Operation::Open,
        Operation::Sweep,
        Operation::Expire,
        Operation::Drain,
        Operation::Heartbeat,
        Operation::Other,
    ];

    /// Its name, in etcd's words where there are any.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::GetRecursive => "getRecursive",
            Operation::Set => "set",
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::CompareAndSwap => "compareAndSwap",
            Operation::Delete => "delete",
            Operation::DeleteRecursive => "deleteRecursive",
            Operation::CompareAndDelete => "compareAndDelete",
            Operation::Watch => "watch",
            Operation::Health => "health",
            Operation::Open => "open",
            Operation::Sweep => "sweep",
            Operation::Expire => "expire",
            Operation::Drain => "drain",
            Operation::Heartbeat => "heartbeat",
            Operation::Other => "other",
        }
    }

    /// Does some work whose units are spent on this, and are on the bill of the request that it is
    /// done for: those for whom this task works when this is called.
    // Not an async function: that would hold the work twice, and requests are large.
    pub fn pays<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        let payers = Payers::of_this_task().0;
        let payers = payers.iter().map(|payer| Payer { operation: self, ..payer.clone() });
        PAYERS.scope(Payers(payers.collect()), work)
    }
}

/// What a request has consumed so far. Clones are the same bill.
#[derive(Debug, Clone, Default)]
pub struct Bill(Arc<Mutex<Units>>);

impl Bill {
    /// Does some work whose units go on this bill.
    pub fn charge<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let outer = Payers::of_this_task().0.first().cloned().unwrap_or(Payer::NOBODY);
        let payer = Payer { bill: Some(self.clone()), ..outer };
        PAYERS.scope(Payers(Arc::new([payer])), work)
    }

    /// What is on it.
    pub fn total(&self) -> Units {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, units: Units) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += units;
    }
}

#[derive(Debug, Clone)]
struct Payer {
    operation: Operation,
    bill: Option<Bill>,
    trace: Option<Parent>,
}

impl Payer {
    const NOBODY: Payer = Payer { operation: Operation::Other, bill: None, trace: None };
}

/// Does some work whose calls are shown in the trace of the request that it is done for.
pub fn traced<F: Future>(parent: Parent, work: F) -> impl Future<Output = F::Output> {
    PAYERS.scope(Payers(Arc::new([Payer { trace: Some(parent), ..Payer::NOBODY }])), work)
}

/// Those for whom a task works: mostly one, and several where their requests share a call.
#[derive(Debug, Clone)]
pub struct Payers(Arc<[Payer]>);

impl Payers {
    /// Those for whom this task works.
    pub fn of_this_task() -> Payers {
        let nobody = || Payers(Arc::new([Payer::NOBODY]));
        PAYERS.try_with(Payers::clone).unwrap_or_else(|_| nobody())
    }

    /// All of these together: what they pay for is divided among them in equal parts. Somebody who is
    /// in it twice pays two parts.
    pub fn together(groups: impl IntoIterator<Item = Payers>) -> Payers {
        let all: Arc<[Payer]> = groups.into_iter().flat_map(|group| group.0.to_vec()).collect();
        if all.is_empty() { Payers::of_this_task() } else { Payers(all) }
    }

    /// The traces that this work is shown in.
    pub fn traces(&self) -> Vec<Parent> {
        self.0.iter().filter_map(|payer| payer.trace.clone()).collect()
    }

    /// Does some work for them, in whichever task.
    pub fn pay<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        PAYERS.scope(self, work)
    }
}

/// Notes that a call of this task consumed these units. Gives what they were spent on.
pub fn spend(units: Units) -> impl Iterator<Item = (Operation, Units)> {
    let payers = Payers::of_this_task().0;
    // As many as fit into one transaction.
    let parts = u32::try_from(payers.len()).map_or(f64::INFINITY, f64::from);
    let part = Units { read: units.read / parts, write: units.write / parts };
    for bill in payers.iter().filter_map(|payer| payer.bill.as_ref()) {
        bill.add(part);
    }
    (0..payers.len()).map(move |number| (payers[number].operation, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_READ: Units = Units { read: 1.0, write: 0.0 };
    const FOUR_WRITES: Units = Units { read: 0.0, write: 4.0 };

    #[tokio::test]
    async fn a_bill_has_what_its_request_consumed_in_every_task() {
        let (bill, other) = (Bill::default(), Bill::default());
        spend(ONE_READ).for_each(drop);
        let work = async {
            assert_eq!(spend(ONE_READ).collect::<Vec<_>>(), [(Operation::Set, ONE_READ)]);
            let spawned = Payers::of_this_task().pay(async { spend(FOUR_WRITES).for_each(drop) });
            tokio::spawn(spawned).await.expect("it ends well");
            // Within a request nothing but its own bill is meant.
            other.charge(async { spend(ONE_READ).for_each(drop) }).await;
        };
        bill.charge(async { Operation::Set.pays(work).await }).await;
        assert_eq!(bill.total(), Units { read: 1.0, write: 4.0 });
        assert_eq!(other.total(), ONE_READ);
    }

    #[tokio::test]
    async fn what_is_spent_together_is_divided() {
        let bills = [Bill::default(), Bill::default()];
        let operations = [Operation::Set, Operation::Create];
        let mut payers = Vec::new();
        for (bill, operation) in bills.iter().zip(operations) {
            let asked = async { operation.pays(async { Payers::of_this_task() }).await };
            payers.push(bill.charge(asked).await);
        }
        let spent = async { spend(FOUR_WRITES).collect::<Vec<_>>() };
        let shares = Payers::together(payers).pay(spent).await;
        let half = Units { read: 0.0, write: 2.0 };
        assert_eq!(shares, vec![(Operation::Set, half), (Operation::Create, half)]);
        assert!(bills.iter().all(|bill| bill.total() == half));
    }

    #[test]
    fn what_nobody_pays_for_is_still_counted() {
        assert_eq!(spend(ONE_READ).collect::<Vec<_>>(), [(Operation::Other, ONE_READ)]);
        let nobody = Payers::together([]);
        assert_eq!(nobody.0.len(), 1);
    }

    #[tokio::test]
    async fn a_call_is_shown_in_the_traces_of_all_whom_it_is_made_for() {
        let (one, two) = (Parent::numbered(1), Parent::numbered(2));
        let mut payers = Vec::new();
        for parent in [&one, &two] {
            // Whatever is done within a request on the way to its calls.
            let work = async { Payers::of_this_task() };
            let work = async { Bill::default().charge(Operation::Create.pays(work)).await };
            payers.push(traced(parent.clone(), work).await);
        }
        assert_eq!(payers[0].traces(), std::slice::from_ref(&one));
        assert_eq!(Payers::together(payers).traces(), [one, two]);
        assert_eq!(Payers::of_this_task().traces(), []);
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<_> = Operation::ALL.map(Operation::name).into();
        assert_eq!(names.len(), Operation::ALL.len());
        assert!(Operation::ALL.iter().enumerate().all(|(at, o)| *o as usize == at));
    }
}
