//! The contract of [`Store`] as tests, to be run on every store and every wrapper around one.
//!
//! Each clause is an async function over a store that holds nothing yet, and
//! [`conformance!`](conformance) makes a test of each. What a store must answer is never
//! written down here: it is what [`Precondition::holds`] and [`Mutation::apply`] say.
//!
//! Times lie in the future, because a store may forget what is past its time. All keys lie in
//! directories of the clause's own, but nothing makes those: a store knows no v2 rule.

mod commits;
mod concurrency;
mod listings;
mod matrix;
mod random;

use std::sync::Arc;

pub(crate) use self::commits::*;
pub(crate) use self::concurrency::*;
pub(crate) use self::listings::*;
pub(crate) use self::matrix::*;
pub(crate) use self::random::*;
use super::{Committed, Consistency, Cursor, Level, Store, StoreError};
use crate::v2::{
    Action, Commit, EtcdIndex, Item, Key, Mutation, NodeOp, Op, Precondition, UnixMs, Value,
    WriteId,
};

/// What a test is run on: a store, or what keeps one alive.
pub(crate) trait Subject {
    /// The store.
    type Store: Store;

    /// A handle to it.
    fn store(&self) -> &Self::Store;

    /// Another handle to the same data, as from another gateway if there can be one.
    fn second(&self) -> &Self::Store;
}

impl<S: Store> Subject for S {
    type Store = S;

    fn store(&self) -> &S {
        self
    }

    fn second(&self) -> &S {
        self
    }
}

/// Makes a test of each clause. The expression is a future of a fresh, empty [`Subject`].
macro_rules! conformance {
    ($make:expr) => {
        $crate::store::conformance::conformance! { @tests $make;
            every_precondition_holds_as_its_definition_says
            every_precondition_holds_alike_in_company
            every_mutation_gives_what_its_definition_says
            every_mutation_gives_the_same_in_company
            a_commit_needs_a_higher_index_than_every_item_it_changes
            a_commit_applies_whole_or_not_at_all
            a_refusal_gives_every_item_that_does_not_match
            a_large_commit_is_one_commit
            a_commit_that_comes_again_is_not_applied_again
            a_commit_that_was_ruled_out_never_applies
            writes_that_go_together_keep_their_ids
            records_are_put_added_and_dropped
            records_and_items_go_together
            records_are_found_by_kind
            a_level_holds_the_items_of_its_depth_and_nothing_else
            keys_are_bytes
            a_long_level_comes_in_pages
            a_level_of_large_items_comes_in_pages
            an_item_that_stays_is_listed_once_whatever_changes_beside_it
            many_items_come_in_the_order_of_their_keys
            the_largest_item_is_taken
            of_concurrent_creations_one_applies
            concurrent_changes_of_one_item_lose_nothing
            concurrent_commits_that_share_an_item_are_serialised
            random_commits_do_what_the_model_does
        }
    };
    (@tests $make:expr; $($clause:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                use $crate::store::conformance::Subject as _;
                let subject = $make.await;
                $crate::store::conformance::$clause(subject.store(), subject.second()).await;
            }
        )*
    };
}
pub(crate) use conformance;

/// The time at which the clauses play: the year 2100.
const NOW: UnixMs = UnixMs(4_102_444_800_000);

/// How often a commit is tried that the store was too busy for.
const ATTEMPTS: usize = 50;

/// Rising indexes, each of another gateway than the last ones.
struct Ids(u64);

impl Ids {
    fn new() -> Ids {
        Ids(1_700_000_000_000_000)
    }

    fn next(&mut self) -> WriteId {
        self.0 += 10;
        let gateway = u32::try_from(self.0 / 10 % 23).expect("it is below 23");
        WriteId { index: EtcdIndex(self.0), gateway }
    }
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).unwrap()
}

/// An operation that is not yet part of a write.
fn op(key: &Key, expect: Vec<Precondition>, mutation: Mutation) -> NodeOp {
    let id = WriteId { index: EtcdIndex(0), gateway: 0 };
    NodeOp { key: key.clone(), id, expect, mutation, action: Some(Action::Set) }
}

/// A stamp of the write that it becomes a part of.
const STAMP: Mutation = Mutation::Stamp { last: EtcdIndex(0) };

/// The operation as a part of this write.
fn part_of(id: WriteId, op: NodeOp) -> NodeOp {
    let mutation =
        if op.mutation == STAMP { Mutation::Stamp { last: id.index } } else { op.mutation };
    NodeOp { id, mutation, ..op }
}

/// A commit of one write.
fn several(id: WriteId, ops: Vec<Op>) -> Commit {
    let ops = ops.into_iter().map(|op| match op {
        Op::Node(op) => Op::Node(part_of(id, op)),
        Op::PutRecord(_) | Op::AddRecord(_) | Op::DropRecord(_) | Op::DropSameRecord(_) => op,
    });
    Commit { id, ops: ops.collect() }
}

fn one(id: WriteId, op: NodeOp) -> Commit {
    several(id, vec![Op::Node(op)])
}

fn file(value: &str) -> Mutation {
    Mutation::WriteFile { value: Some(Value::from(value)), creates: true, expiration: None }
}

/// What there is at a key, as far as it decides which mutations go with it.
enum Kind {
    Nothing,
    File,
    Dir,
    Draining,
}

fn kind(item: Option<&Item>) -> Kind {
    match item {
        Some(item) if item.is_draining() => Kind::Draining,
        Some(item) if item.removed.is_some() => Kind::Nothing,
        Some(item) if item.is_dir() => Kind::Dir,
        Some(_) => Kind::File,
        None => Kind::Nothing,
    }
}

/// The precondition that every operation on an item in this state carries.
fn as_it_is(item: Option<&Item>) -> Precondition {
    match kind(item) {
        Kind::Nothing => Precondition::Absent,
        Kind::File => Precondition::File,
        Kind::Dir => Precondition::Dir,
        Kind::Draining => draining(item),
    }
}

/// The precondition that a tombstone in this state drains.
fn draining(item: Option<&Item>) -> Precondition {
    Precondition::Draining(item.map_or(EtcdIndex(1), |item| item.modified))
}

/// Commits; once more where the store was only too busy.
async fn commit<S: Store>(store: &S, commit: &Commit) -> Committed {
    for _ in 0..ATTEMPTS {
        match store.commit(commit).await {
            Ok(committed) => return committed,
            Err(StoreError::Unavailable(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(1..10))).await;
            }
            Err(error) => panic!("{error}: {commit:?}"),
        }
    }
    panic!("not available for {ATTEMPTS} times: {commit:?}")
}

/// Commits what has to apply; gives the item before it, of a commit with one part.
async fn apply<S: Store>(store: &S, wanted: &Commit) -> Option<Option<Arc<Item>>> {
    match commit(store, wanted).await {
        Committed::Applied { before } => before,
        Committed::Refused { found } => panic!("refused with {found:?}: {wanted:?}"),
    }
}

/// Commits what has to be refused; gives the items that were found.
async fn refuse<S: Store>(store: &S, wanted: &Commit) -> Vec<(usize, Option<Arc<Item>>)> {
    match commit(store, wanted).await {
        Committed::Applied { .. } => panic!("applied: {wanted:?}"),
        Committed::Refused { found } => found,
    }
}

async fn get<S: Store>(store: &S, key: &Key) -> Option<Arc<Item>> {
    store.get(key, Consistency::Strong).await.unwrap()
}

/// All pages of a level, and how many there were.
async fn list<S: Store>(store: &S, below: &Key, depth: u16) -> (Vec<Arc<Item>>, usize) {
    let mut items = Vec::new();
    let mut from: Option<Cursor> = None;
    for pages in 1.. {
        let page = store.list(Level { below, depth, from }, Consistency::Strong).await.unwrap();
        items.extend(page.items);
        match page.next {
            Some(next) => from = Some(next),
            None => return (items, pages),
        }
    }
    unreachable!("an endless range")
}

/// The names of a level in the order of keys; no item twice.
async fn listed<S: Store>(store: &S, below: &Key, depth: u16) -> Vec<Key> {
    let mut keys: Vec<Key> =
        list(store, below, depth).await.0.iter().map(|item| item.key.clone()).collect();
    keys.sort();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "an item is listed twice");
    keys
}

/// Files with these values, many commits side by side.
async fn fill<S: Store>(store: &S, ids: &mut Ids, files: Vec<(Key, Value)>) {
    use futures_util::stream::{self, StreamExt};
    let commits = files.into_iter().map(|(key, value)| {
        let mutation = Mutation::WriteFile { value: Some(value), creates: true, expiration: None };
        one(ids.next(), op(&key, vec![Precondition::Absent], mutation))
    });
    let commits: Vec<Commit> = commits.collect();
    stream::iter(&commits)
        .for_each_concurrent(32, |c| async move { drop(apply(store, c).await) })
        .await;
}
