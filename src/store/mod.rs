//! What the service asks of a store, and what a store promises.
//!
//! A store keeps items and records, reads them, and carries out commits. It knows no rule of
//! v2: preconditions and mutations reach it as values. Every store, and every wrapper around
//! one, passes the same conformance suite.

#[cfg(test)]
pub(crate) mod conformance;
pub mod dynamodb;
pub mod embedded;
#[cfg(test)]
pub(crate) mod faults;
pub mod feed;

use std::fmt;
use std::sync::Arc;

pub use feed::{Change, Fed, Feed, NoFeed, Round};

use crate::v2::{Commit, Item, Key, Record, RecordKind};

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// It shows every write that was acknowledged before it began.
    Strong,
    /// It may be behind by a moment; cheaper on DynamoDB.
    Eventual,
}

/// The largest things a store takes. Whatever is larger is refused before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest key, counted as [`Key::escaped`] writes it, in bytes.
    pub key_bytes: usize,
    /// What a key and its value may measure together, in bytes.
    pub item_bytes: usize,
    /// How many parts one commit may have.
    pub commit_ops: usize,
    /// What the items of one commit may measure together, in bytes.
    pub commit_bytes: usize,
    /// Whether calls go over a network: they cost, and the outcome of a commit can get lost on
    /// the way, so that at most one write of a key may be under way at a time.
    pub is_remote: bool,
    /// What the limits are called, for the errors that name them.
    pub name: &'static str,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The items, tombstones and expired ones among them.
    pub items: Vec<Arc<Item>>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<Cursor>,
}

/// One level of a subtree, or the rest of one.
#[derive(Debug, Clone)]
pub struct Level<'a> {
    /// The directory at the top of the subtree.
    pub below: &'a Key,
    /// The depth of the items, more than that of `below`; below the root only 1.
    pub depth: u16,
    /// Where to go on; `None`: at the beginning.
    pub from: Option<Cursor>,
}

/// What became of a commit that was decided.
#[derive(Debug, Clone)]
pub enum Committed {
    /// It applied, whole.
    Applied {
        /// Of a commit with one part, the item before it (`Some(None)`: there was none). `None`
        /// where the store cannot tell any more.
        before: Option<Option<Arc<Item>>>,
    },
    /// It did not apply, and nothing changed.
    Refused {
        /// The items (`None`: there is none) of the parts which did not match, by the part's
        /// number. Records that did not match are not in the list.
        found: Vec<(usize, Option<Arc<Item>>)>,
    },
}

/// Why a store has no answer, by what the caller must do about it.
#[derive(Debug, Clone)]
pub enum StoreError {
    /// It did not happen: throttled, in conflict, not reachable. The same call may be tried again.
    Unavailable(String),
    /// It was not begun, because too many calls are under way. The same call may be tried again,
    /// but not at once.
    Busy,
    /// It may have happened. The same commit must be sent again to find out.
    Indeterminate(String),
    /// The store does not take something of this size. It did not happen.
    TooLarge(String),
    /// What the store holds cannot be read. A person must look.
    Corrupt(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(why) => write!(f, "the store is not available: {why}"),
            StoreError::Busy => f.write_str("too many calls to the store are under way"),
            StoreError::Indeterminate(why) => write!(f, "the outcome is not known: {why}"),
            StoreError::TooLarge(why) => write!(f, "too large for the store: {why}"),
            StoreError::Corrupt(why) => write!(f, "the store's data cannot be read: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A store of items and records.
///
/// Contract, held by the conformance suite:
/// - A commit applies at once and whole, or not at all. It applies where each of its parts
///   [applies](crate::v2::NodeOp::applies). Commits on one item are serialised. The parts of one
///   commit may belong to several writes, each with an id of its own.
/// - An acknowledged commit is durable, and every strong read that begins later shows it.
/// - A refused commit gives the items found for every node part that was seen not to match, as of
///   one moment at which the commit was refused.
/// - A commit that comes again as it was, because its outcome was not known, is never applied
///   twice. The answer to the repetition is `Applied` or is `Refused` with items whose
///   [writes](crate::v2::Writes) tell.
/// - A page of a level holds every item of that level that was there throughout the listing,
///   each once, in no promised order. Tombstones and expired items are among them.
/// - An item whose [`purge_at`](Item::purge_at) is past may vanish at any time; no other may.
pub trait Store: Send + Sync + 'static {
    /// Its feed of changes.
    type Feed: Feed;

    /// The largest things this store takes.
    fn limits(&self) -> Limits;

    /// The item of a key.
    fn get(
        &self,
        key: &Key,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Option<Arc<Item>>, StoreError>> + Send;

    /// The items of several keys, in their order, each as of some moment during the call. Strong.
    fn get_many(
        &self,
        keys: &[Key],
    ) -> impl Future<Output = Result<Vec<Option<Arc<Item>>>, StoreError>> + Send;

    /// One page of one level of a subtree.
    fn list(
        &self,
        level: Level<'_>,
        consistency: Consistency,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Every record of a kind. Strong.
    fn records(
        &self,
        kind: RecordKind,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Begins a feed of the changes of items: of all that are made after this returns.
    fn feed(&self) -> impl Future<Output = Result<Self::Feed, StoreError>> + Send;

    /// Carries out a commit.
    fn commit(&self, commit: &Commit)
    -> impl Future<Output = Result<Committed, StoreError>> + Send;
}
