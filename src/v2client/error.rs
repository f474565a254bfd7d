//! Why a call has no good answer.
//!
//! Invariant: no credentials in any of it.

use std::fmt;

use serde::Deserialize;

/// Why a call has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The server refused, by the rules of v2.
    Refused(Refusal),
    /// No answer came.
    Unanswered {
        /// Who was asked last.
        member: String,
        /// Why there is none, for a person to read.
        detail: String,
        /// What is known of the request.
        outcome: Outcome,
    },
    /// What came is no answer of a v2 server.
    Strange {
        /// Who answered.
        member: String,
        /// What is wrong with it, for a person to read.
        detail: String,
    },
}

/// Whether a request that got no answer was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It never left.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// An error of v2, as its body tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The number of the error, such as 100.
    pub error_code: u32,
    /// Its name.
    pub message: String,
    /// What it is about: a key, or a condition.
    #[serde(default)]
    pub cause: String,
    /// The server's index.
    #[serde(default)]
    pub index: u64,
}

/// The node is not there.
pub const KEY_NOT_FOUND: u32 = 100;
/// A condition does not hold.
pub const TEST_FAILED: u32 = 101;
/// The node is a directory.
pub const NOT_FILE: u32 = 102;
/// A part of the path is a file.
pub const NOT_DIR: u32 = 104;
/// The node is there already.
pub const NODE_EXIST: u32 = 105;
/// The root, or a server that does not write.
pub const ROOT_READ_ONLY: u32 = 107;
/// The credentials do not allow it.
pub const UNAUTHORIZED: u32 = 110;
/// What is behind the server does not answer, or it has too much to do.
pub const RAFT_INTERNAL: u32 = 300;
/// The same while there is no leader.
pub const LEADER_ELECT: u32 = 301;
/// The window of events does not reach back so far.
pub const EVENT_INDEX_CLEARED: u32 = 401;

impl Error {
    /// The code of v2, if the server refused.
    pub fn code(&self) -> Option<u32> {
        match self {
            Error::Refused(refusal) => Some(refusal.error_code),
            Error::Unanswered { .. } | Error::Strange { .. } => None,
        }
    }

    /// Whether the same request may be answered well a moment later: nothing about it is wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Refused(refusal) => {
                matches!(refusal.error_code, RAFT_INTERNAL | LEADER_ELECT)
            }
            Error::Unanswered { .. } | Error::Strange { .. } => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Unanswered { member, detail, outcome: Outcome::NotDone } => {
                write!(f, "{member} cannot be asked: {detail}")
            }
            Error::Unanswered { member, detail, outcome: Outcome::Unknown } => {
                write!(f, "{member} did not answer: {detail}")
            }
            Error::Strange { member, detail } => {
                write!(f, "{member} does not answer like a server of etcd v2: {detail}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_code, self.message)?;
        // A key may hold what would break the line, or a terminal.
        if self.cause.is_empty() { Ok(()) } else { write!(f, " ({})", self.cause.escape_debug()) }
    }
}
