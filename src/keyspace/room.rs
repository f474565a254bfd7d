//! Room for listings: what all those under way hold in memory together is bounded.
//!
//! A small listing asks for nothing. A larger one takes room as it grows, and keeps it until its
//! answer is sent, so that many large ones at a time, or slow readers of them, cannot use up the
//! machine. Nobody waits for room, since whoever waits holds some: a listing that finds none is
//! refused and may come again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::too_many_requests;
use crate::v2::{Content, Error, ErrorCode, Item};

/// What all listings under way may hold together, in bytes.
pub(super) const LISTING_BYTES: usize = 512 << 20;

/// A listing takes room by this much; the last of it, or all of a small one, is not counted.
const UNIT_BYTES: usize = 64 << 10;

/// About what a node takes beside its key and value: as an item, in the tree and in the answer.
const NODE_BYTES: usize = 512;

/// The room for listings.
#[derive(Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    units: usize,
}

/// Room that is held until every copy of this is dropped.
#[derive(Debug, Clone)]
pub struct Room {
    _held: Arc<OwnedSemaphorePermit>,
}

/// One listing, which may grow in several places at once.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    rooms: &'a Rooms,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    pub(super) fn new(bytes: usize) -> Rooms {
        let units = bytes / UNIT_BYTES;
        Rooms { free: Arc::new(Semaphore::new(units)), units }
    }

    pub(super) fn begin(&self) -> Listing<'_> {
        Listing { rooms: self, state: Mutex::default() }
    }
}

impl Listing<'_> {
    /// Takes room for more nodes.
    pub(super) fn grow(&self, items: &[Arc<Item>]) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.bytes / UNIT_BYTES;
        state.bytes += items.iter().map(|item| item_bytes(item)).sum::<usize>();
        let units = state.bytes / UNIT_BYTES;
        if units > self.rooms.units {
            let limit = self.rooms.units * UNIT_BYTES;
            let cause = format!("the listing is over the limit of {limit} bytes of this gateway");
            return Err(Error::new(ErrorCode::InvalidField, cause));
        }
        let more = u32::try_from(units - before).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.rooms.free).try_acquire_many_owned(more);
        let more = more.map_err(|_| too_many_requests())?;
        match &mut state.held {
            Some(held) => held.merge(more),
            None => state.held = Some(more),
        }
        Ok(())
    }

    /// The room that was taken, for the answer to keep.
    pub(super) fn end(self) -> Option<Room> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.held.map(|held| Room { _held: Arc::new(held) })
    }
}

/// A value is held once by the store and once in the answer.
fn item_bytes(item: &Item) -> usize {
    let value = match &item.content {
        Content::File(value) => value.as_bytes().len(),
        Content::Dir(_) => 0,
    };
    NODE_BYTES + 2 * (item.key.as_bytes().len() + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::{EtcdIndex, Key, Value, Writes};

    fn nodes(count: usize, value_bytes: usize) -> Vec<Arc<Item>> {
        let item = Item {
            key: Key::root().child(b"a"),
            content: Content::File(Value::from(vec![0; value_bytes])),
            created: EtcdIndex(1),
            modified: EtcdIndex(1),
            expiration: None,
            action: None,
            writes: Writes::default(),
            removed: None,
        };
        std::iter::repeat_n(Arc::new(item), count).collect()
    }

    #[test]
    fn small_listings_take_nothing() {
        let rooms = Rooms::new(0);
        let listing = rooms.begin();
        listing.grow(&nodes(50, 100)).expect("it is small");
        assert!(listing.end().is_none());
    }

    #[test]
    fn large_listings_share_the_room_and_give_it_back() {
        let rooms = Rooms::new(1 << 20);
        let first = rooms.begin();
        for _ in 0..6 {
            first.grow(&nodes(1, 50_000)).expect("there is room");
        }
        let first = first.end();
        assert!(first.is_some(), "the answer keeps it");
        let second = rooms.begin();
        let error = second.grow(&nodes(1, 300_000)).expect_err("there is none");
        assert_eq!(error.cause, b"etcdserver: too many requests");
        drop((second, first));
        let third = rooms.begin();
        third.grow(&nodes(1, 300_000)).expect("there is again");
        drop(third);
        assert_eq!(rooms.free.available_permits(), rooms.units);
    }

    #[test]
    fn a_listing_beyond_all_room_is_refused_by_the_name_of_the_limit() {
        let rooms = Rooms::new(1 << 20);
        let error = rooms.begin().grow(&nodes(10, 100_000)).expect_err("too large");
        assert_eq!(error.code, ErrorCode::InvalidField);
        let cause = String::from_utf8_lossy(&error.cause).into_owned();
        assert!(cause.contains("1048576 bytes"), "{cause}");
    }
}
