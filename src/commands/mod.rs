//! What the program does beside serving, one file a command.
//!
//! Their flags are in [`crate::config`]; the server is [`crate::app`]. Invariant: a command ends by
//! itself, says in one line how it went, and does nothing that it was not asked for.

pub mod export;
pub mod healthcheck;
pub mod import;
pub mod info;
mod progress;
pub mod verify;
