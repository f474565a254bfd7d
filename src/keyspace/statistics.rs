//! The counters behind `/v2/stats/store`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Statistics, Tally};
use crate::units::Operation as Spent;
use crate::v2::Operation;

/// What the units of a client's write are spent on.
pub(super) fn paid_as(operation: &Operation) -> Spent {
    match operation {
        Operation::Set(_) => Spent::Set,
        Operation::Create(_) | Operation::CreateInOrder(_) => Spent::Create,
        Operation::Update(_) => Spent::Update,
        Operation::CompareAndSwap(..) => Spent::CompareAndSwap,
        Operation::Delete(removal) if removal.recursive => Spent::DeleteRecursive,
        Operation::Delete(_) => Spent::Delete,
        Operation::CompareAndDelete(_) => Spent::CompareAndDelete,
        Operation::Expire(_) => Spent::Expire,
    }
}

/// Counts what this gateway did since it started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    gets: Counter,
    sets: Counter,
    deletes: Counter,
    updates: Counter,
    creates: Counter,
    compare_and_swaps: Counter,
    compare_and_deletes: Counter,
    expired: AtomicU64,
}

#[derive(Debug, Default)]
struct Counter {
    success: AtomicU64,
    fail: AtomicU64,
}

impl Counter {
    fn count(&self, ok: bool) {
        let which = if ok { &self.success } else { &self.fail };
        which.fetch_add(1, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally {
            success: self.success.load(Ordering::Relaxed),
            fail: self.fail.load(Ordering::Relaxed),
        }
    }
}

impl Counters {
    pub(super) fn count_read(&self, ok: bool) {
        self.gets.count(ok);
    }

    pub(super) fn count_write(&self, operation: &Operation, ok: bool) {
        match operation {
            Operation::Set(_) => self.sets.count(ok),
            Operation::Create(_) | Operation::CreateInOrder(_) => self.creates.count(ok),
            Operation::Update(_) => self.updates.count(ok),
            Operation::CompareAndSwap(..) => self.compare_and_swaps.count(ok),
            Operation::Delete(_) => self.deletes.count(ok),
            Operation::CompareAndDelete(_) => self.compare_and_deletes.count(ok),
            Operation::Expire(_) => {}
        }
    }

    pub(super) fn count_expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
        crate::metrics::store_expired(1);
    }

    pub(super) fn snapshot(&self) -> Statistics {
        Statistics {
            gets: self.gets.tally(),
            sets: self.sets.tally(),
            deletes: self.deletes.tally(),
            updates: self.updates.tally(),
            creates: self.creates.tally(),
            compare_and_swaps: self.compare_and_swaps.tally(),
            compare_and_deletes: self.compare_and_deletes.tally(),
            expired: self.expired.load(Ordering::Relaxed),
            watchers: 0,
        }
    }
}
