//! The rules of etcd v2, pure: no I/O, no async, no clock.
//!
//! A request and what is known of the tree go in; what has to be looked at, a change with its
//! preconditions, or the protocol's error comes out ([`plan()`]). A store carries the change out
//! without knowing why; where it finds something else than was assumed, the plan is made again
//! with what it found.

mod auth;
mod change;
mod error;
mod index;
mod item;
mod key;
mod node;
mod plan;
mod request;
mod told;

pub use auth::{
    Accounts, AccountsChange, Administered, Administration, AuthError, GUEST, Need, PasswordHash,
    Permissions, PutRole, PutUser, ROOT, Role, User,
};
pub use change::{Commit, Mutation, NodeOp, Op, Precondition, Record, RecordKind, purge_at};
pub use error::{Error, ErrorCode};
pub use index::{EtcdIndex, UnixMs, expiration_after, ttl_left};
pub use item::{
    Action, Content, Dir, GATEWAYS, Item, Removed, TOMBSTONE_LIFETIME_MS, Value, WRITER_SLOTS,
    WriteId, Writes, writer_slot,
};
pub use key::{Key, KeyError};
pub use node::{Event, Listed, Node};
pub use plan::{Aftermath, Capacity, Detour, Known, Moment, Plan, Prior, Step, missing, plan};
pub use request::{Compare, Draft, Operation, Read, Removal, Seen, Watch, Write};
pub use told::{Told, told};
