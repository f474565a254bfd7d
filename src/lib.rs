//! etcdynamo: an etcd v2 server whose memory is an Amazon DynamoDB table.
//!
//! # The map
//!
//! ```text
//! main -> app -> v2http -> keyspace -> store (trait) -> v2
//!           |                      \-> watch -> v2
//!           \-> config, telemetry, store::{embedded, dynamodb}
//! main -> commands -> v2http      what the program does beside serving
//!                  \-> migrate -> v2client -> v2
//! main -> app::administration     the same, of what is done to a table and its keyspaces
//! leaves that anyone may use: clock, console, metrics, shutdown, tls, traces, units
//! ```
//!
//! - [`v2`]: the rules of etcd v2, pure. What is known of the tree goes in; the next step comes
//!   out.
//! - [`store`]: keeps items and records, reads them, and carries out conditional commits. Knows no
//!   rule. One store is a DynamoDB table, one a local directory.
//! - [`keyspace`]: the service. Plans, commits, finds out lost outcomes, sweeps what is overdue.
//! - [`watch`]: recent events in the order of their indexes, and who waits for more.
//! - [`v2http`]: etcd's wire. hyper lives there, and in the client beside it; with the feature `lambda`, AWS Lambda's runtime too.
//! - [`v2client`]: a client of any server of etcd's v2 API, for moving trees.
//! - [`migrate`]: trees of any such server into files, from one to another, and held to each other.
//! - [`tls`]: certificates from their files, and again when these change.
//! - [`telemetry`], [`metrics`], [`traces`]: what operators see, as `docs/operations.md` tells it.
//! - [`app`]: the only place that names a store; starts and stops everything in order, and
//!   administers tables and keyspaces ([`app::administration`]).
//!
//! # One request
//!
//! `PUT /v2/keys/a/b -d value=1` is cleaned, routed and checked by `v2http` into a
//! [`v2::Write`]. The keyspace gives it an index from its hybrid clock and asks
//! [`v2::plan`](fn@v2::plan). Nothing is known yet, so the plan guesses: there is a file, replace
//! it. The store evaluates that as one conditional write. If it applied, the item before it comes
//! back with it and the answer goes out: one call, one write unit. If not, the refusal shows what
//! is really there, and the plan is made again with it: a creation (child, and a stamp in the
//! parent, in one transaction), a wait, or etcd's error. Creations in one directory that come while
//! another is under way go together, in one transaction with one stamp.
//!
//! # What always holds
//!
//! - A decision is made by the store's conditions, never by a read before a write.
//! - A key's modifiedIndex rises for ever, also across delete and re-create: a removed node leaves
//!   a tombstone, and every write requires an index above what is there.
//! - A node has its parent directories: a creation stamps its parent in the same commit, and a
//!   directory goes only if its stamp has not moved.
//! - A write whose outcome is not known is sent again as it was; its id in the item tells. One that
//!   is refused then is ruled out, so that its first attempt cannot happen later.
//! - An event that may have been missed is owned up to: its watchers are ended, and whoever looks
//!   back over it is refused. What other gateways write comes from the table's stream.
//! - No state of a gateway matters: another one finishes what it left.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod clock;
pub mod commands;
pub mod config;
pub mod console;
pub mod keyspace;
pub mod metrics;
pub mod migrate;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod units;
pub mod v2;
pub mod v2client;
pub mod v2http;
pub mod watch;

#[cfg(test)]
mod arrows;
