//! Watches within one gateway: recent events, and who waits for more.
//!
//! Events go in as writes are done, in any order; they come out in the order of their indexes.
//! A watch begins with a look back into the window of recent events. Where it finds one
//! it is answered; else it waits at its path until the [`Hub`] releases an event that concerns it.
//!
//! Not here: stores, HTTP, the clock that says what may be released. Whoever feeds the hub (a
//! keyspace with its own writes; a reader of other gateways' writes) says so by
//! [`Hub::release`], and what cannot be told in order is owned up to by [`Hub::doubt`].
//!
//! Invariant: a watcher is told every event from its start on that concerns it, once and in
//! order; or it is ended and its next look back is refused, so that the client reads anew. (Where
//! etcd falls silent instead, with a slow stream, or tells a stream of its node's removal twice,
//! so does this.)

mod hub;
mod inbox;
mod removals;
mod watchers;
mod window;

#[cfg(test)]
mod tests;

pub use hub::{HOLD_LIMIT, Hub, Offered, Watcher};
pub use removals::Went;
pub use watchers::Known;
pub use window::Cleared;
