//! The feed of changes: what happened to items, whichever gateway did it.
//!
//! A store that others write to can tell of it afterwards, some moments later. Not here: what a
//! change means to a watcher ([`crate::v2::told`](fn@crate::v2::told)).

use std::sync::Arc;

use crate::v2::{Item, Record};

/// One change of one node's item. At least one of both is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The item before it; `None`: there was none.
    pub before: Option<Arc<Item>>,
    /// The item after it; `None`: it was purged.
    pub after: Option<Arc<Item>>,
}

/// What a feed says next.
#[derive(Debug, Clone, PartialEq)]
pub enum Fed {
    /// These changes. Never empty.
    Changes(Vec<Change>),
    /// A gateway left this sign of life.
    Sign(Record),
    /// A round through all parts of the feed is over.
    Round(Round),
    /// Changes are missing, for this reason. Nothing more will come: begin a new feed.
    Gap(String),
}

/// How a round through all parts of a feed went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Every part was read: what the store had ready when the round began was fed by now.
    Whole,
    /// Some part could not be read, and is read on in the next round.
    Broken {
        /// Because there are too many readers.
        throttled: bool,
    },
}

/// A feed of the changes since it began.
///
/// Contract: every change from then on is fed once, those of one item in their order; or there is a
/// [`Fed::Gap`]. A call that is dropped before its end loses nothing.
pub trait Feed: Send + 'static {
    /// What comes next. It does not wait for changes: a round without any ends at once.
    fn next(&mut self) -> impl Future<Output = Fed> + Send;
}

/// The feed of a store that has none.
#[derive(Debug)]
pub enum NoFeed {}

impl Feed for NoFeed {
    async fn next(&mut self) -> Fed {
        match *self {}
    }
}
