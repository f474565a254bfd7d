//! A gateway that never writes to its store.
//!
//! It reads, answers watches, and follows users and roles. It claims no slot, leaves no sign of
//! life, and removes nothing that is overdue: other gateways do. Invariant: a commit carries the id
//! of its write, an id carries the number of its gateway, and this one has none; so nothing here
//! can be committed, whatever asks for it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Keyspace, NotAdministered};
use crate::v2::{AuthError, Error, ErrorCode, EtcdIndex, WriteId};

/// Why writes are refused, for a client to read.
const REFUSAL: &str = "this gateway does not write (--read-only)";

/// What a gateway does with its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads and writes, and makes the keyspace where there is none yet.
    ReadWrite,
    /// It only reads what is there.
    ReadOnly,
}

/// The number by which a gateway's writes are known; none where it never writes. It is another one
/// from the moment on that it finds its slot taken over ([`Keyspace::be_present`]).
#[derive(Debug)]
pub(super) struct Number(Option<AtomicU32>);

impl Number {
    pub(super) fn new(number: Option<u32>) -> Number {
        Number(number.map(AtomicU32::new))
    }

    pub(super) fn get(&self) -> Option<u32> {
        self.0.as_ref().map(|number| number.load(Ordering::Acquire))
    }

    pub(super) fn change(&self, number: u32) {
        if let Some(held) = &self.0 {
            held.store(number, Ordering::Release);
        }
    }
}

impl<S> Keyspace<S> {
    /// The id of this gateway's write at an index. There is none where it does not write.
    pub(super) fn write_id(&self, index: EtcdIndex) -> Result<WriteId, Error> {
        let gateway = self.gateway.get().ok_or_else(refusal)?;
        Ok(WriteId { index, gateway })
    }

    /// Whether this gateway carried out that write.
    pub(super) fn is_own(&self, id: WriteId) -> bool {
        self.gateway.get() == Some(id.gateway)
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.gateway.get().is_none()
    }

    /// Refuses a client's write before anything is read for it.
    pub(super) fn refuse_write(&self) -> Result<(), Error> {
        if self.is_read_only() { Err(refusal().at_store(self.told_index())) } else { Ok(()) }
    }

    /// Refuses an administrator's change. The status is one that clients take for an answer and
    /// show the message of; after one of 500 and above they would ask the next gateway the same.
    pub(super) fn refuse_administration(&self) -> Result<(), NotAdministered> {
        if !self.is_read_only() {
            return Ok(());
        }
        Err(AuthError { status: 403, message: REFUSAL.to_owned() }.into())
    }
}

/// The answer to a write: 107, etcd's only code that says "read only", with its status 400.
///
/// For the clients that know codes it is final, as it should be: nothing was written, and nothing
/// will be however often they ask. With 300 (status 500) the Go client and etcdctl would ask one
/// member after the other and tell only that the cluster is unavailable; 110 (status 401) would
/// send people looking for a password. The cause names what has to change.
fn refusal() -> Error {
    Error::new(ErrorCode::RootReadOnly, REFUSAL)
}
