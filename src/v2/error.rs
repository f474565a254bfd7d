//! The protocol's error answers: code, message, status, cause and index.

use std::fmt;
use std::sync::Arc;

use super::index::EtcdIndex;
use super::key::Key;

/// The codes that this server sends. etcd's table (v2error/error.go) has more; nothing sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 100: the node does not exist.
    KeyNotFound,
    /// 101: prevValue or prevIndex differ.
    TestFailed,
    /// 102: the operation needs a file and the node is a directory.
    NotFile,
    /// 104: a part of the path above is a file.
    NotDir,
    /// 105: create on an existing node.
    NodeExist,
    /// 107: a write to the root.
    RootReadOnly,
    /// 108: removal of a directory that has children.
    DirNotEmpty,
    /// 110: the credentials do not allow this.
    Unauthorized,
    /// 201: an empty prevValue.
    PrevValueRequired,
    /// 202: the ttl is not a number.
    TtlNaN,
    /// 203: prevIndex or waitIndex is not a number.
    IndexNaN,
    /// 209: a field has a value that it cannot have.
    InvalidField,
    /// 210: the query or the form cannot be read.
    InvalidForm,
    /// 211: a refresh that carries a value.
    RefreshValue,
    /// 212: a refresh without a TTL.
    RefreshTtlRequired,
    /// 300: the store behind the server did not answer.
    RaftInternal,
    /// 401: the window of recent events no longer reaches back so far.
    EventIndexCleared,
}

impl ErrorCode {
    /// Every code, in the order of its number.
    pub const ALL: [ErrorCode; 17] = [
        ErrorCode::KeyNotFound,
        ErrorCode::TestFailed,
        ErrorCode::NotFile,
        ErrorCode::NotDir,
        ErrorCode::NodeExist,
        ErrorCode::RootReadOnly,
        ErrorCode::DirNotEmpty,
        ErrorCode::Unauthorized,
        ErrorCode::PrevValueRequired,
        ErrorCode::TtlNaN,
        ErrorCode::IndexNaN,
        ErrorCode::InvalidField,
        ErrorCode::InvalidForm,
        ErrorCode::RefreshValue,
        ErrorCode::RefreshTtlRequired,
        ErrorCode::RaftInternal,
        ErrorCode::EventIndexCleared,
    ];

    /// The `errorCode` of the body.
    pub fn number(self) -> u16 {
        match self {
            ErrorCode::KeyNotFound => 100,
            ErrorCode::TestFailed => 101,
            ErrorCode::NotFile => 102,
            ErrorCode::NotDir => 104,
            ErrorCode::NodeExist => 105,
            ErrorCode::RootReadOnly => 107,
            ErrorCode::DirNotEmpty => 108,
            ErrorCode::Unauthorized => 110,
            ErrorCode::PrevValueRequired => 201,
            ErrorCode::TtlNaN => 202,
            ErrorCode::IndexNaN => 203,
            ErrorCode::InvalidField => 209,
            ErrorCode::InvalidForm => 210,
            ErrorCode::RefreshValue => 211,
            ErrorCode::RefreshTtlRequired => 212,
            ErrorCode::RaftInternal => 300,
            ErrorCode::EventIndexCleared => 401,
        }
    }

    /// The `message` of the body.
    pub fn message(self) -> &'static str {
        match self {
            ErrorCode::KeyNotFound => "Key not found",
            ErrorCode::TestFailed => "Compare failed",
            ErrorCode::NotFile => "Not a file",
            ErrorCode::NotDir => "Not a directory",
            ErrorCode::NodeExist => "Key already exists",
            ErrorCode::RootReadOnly => "Root is read only",
            ErrorCode::DirNotEmpty => "Directory not empty",
            ErrorCode::Unauthorized => "The request requires user authentication",
            ErrorCode::PrevValueRequired => "PrevValue is Required in POST form",
            ErrorCode::TtlNaN => "The given TTL in POST form is not a number",
            ErrorCode::IndexNaN => "The given index in POST form is not a number",
            ErrorCode::InvalidField => "Invalid field",
            ErrorCode::InvalidForm => "Invalid POST form",
            ErrorCode::RefreshValue => "Value provided on refresh",
            ErrorCode::RefreshTtlRequired => "A TTL must be provided on refresh",
            ErrorCode::RaftInternal => "Raft Internal Error",
            ErrorCode::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::KeyNotFound => 404,
            ErrorCode::NotFile | ErrorCode::DirNotEmpty => 403,
            ErrorCode::Unauthorized => 401,
            ErrorCode::TestFailed | ErrorCode::NodeExist => 412,
            ErrorCode::RaftInternal => 500,
            ErrorCode::NotDir
            | ErrorCode::RootReadOnly
            | ErrorCode::PrevValueRequired
            | ErrorCode::TtlNaN
            | ErrorCode::IndexNaN
            | ErrorCode::InvalidField
            | ErrorCode::InvalidForm
            | ErrorCode::RefreshValue
            | ErrorCode::RefreshTtlRequired
            | ErrorCode::EventIndexCleared => 400,
        }
    }
}

/// A protocol answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What went wrong.
    pub code: ErrorCode,
    /// The `cause`, as bytes because keys and values are; left out of the body when empty.
    pub cause: Vec<u8>,
    /// The index of the answer: the store's current one, 0 for what never reached the store.
    pub index: EtcdIndex,
    /// What is behind it, for the log.
    pub source: Source,
}

/// What is behind an error. It makes no other answer of it, so any two are equal.
#[derive(Debug, Clone, Default)]
pub struct Source(Option<Arc<dyn std::error::Error + Send + Sync>>);

impl PartialEq for Source {
    fn eq(&self, _: &Source) -> bool {
        true
    }
}

impl Eq for Source {}

impl Error {
    /// An answer with index 0. Store errors get theirs by [`Error::at_store`].
    pub fn new(code: ErrorCode, cause: impl Into<Vec<u8>>) -> Error {
        Error { code, cause: cause.into(), index: EtcdIndex(0), source: Source::default() }
    }

    /// The same answer, because of this.
    pub fn because(self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error { source: Source(Some(Arc::new(source))), ..self }
    }

    /// The error and all that is behind it, for the log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        text
    }

    /// An answer whose cause is a key.
    pub fn about(code: ErrorCode, key: &Key) -> Error {
        Error::new(code, key.as_bytes())
    }

    /// The same answer at the store's index, if it is one that the store gives: what is wrong
    /// with the request itself, or with the server, has index 0.
    pub fn at_store(self, index: EtcdIndex) -> Error {
        match self.code {
            ErrorCode::InvalidField | ErrorCode::RaftInternal => self,
            ErrorCode::KeyNotFound
            | ErrorCode::TestFailed
            | ErrorCode::NotFile
            | ErrorCode::NotDir
            | ErrorCode::NodeExist
            | ErrorCode::RootReadOnly
            | ErrorCode::DirNotEmpty
            | ErrorCode::Unauthorized
            | ErrorCode::PrevValueRequired
            | ErrorCode::TtlNaN
            | ErrorCode::IndexNaN
            | ErrorCode::InvalidForm
            | ErrorCode::RefreshValue
            | ErrorCode::RefreshTtlRequired
            | ErrorCode::EventIndexCleared => Error { index, ..self },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, message) = (self.code.number(), self.code.message());
        // The cause of a comparison shows values, which are for its client alone.
        if self.code == ErrorCode::TestFailed {
            return write!(f, "{number}: {message} [{}]", self.index);
        }
        let cause = String::from_utf8_lossy(&self.cause);
        write!(f, "{number}: {message} ({cause}) [{}]", self.index)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.source.0 {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_etcds_number_and_status() {
        let table: Vec<(u16, u16)> =
            ErrorCode::ALL.iter().map(|code| (code.number(), code.status())).collect();
        let etcd = [
            (100, 404),
            (101, 412),
            (102, 403),
            (104, 400),
            (105, 412),
            (107, 400),
            (108, 403),
            (110, 401),
            (201, 400),
            (202, 400),
            (203, 400),
            (209, 400),
            (210, 400),
            (211, 400),
            (212, 400),
            (300, 500),
            (401, 400),
        ];
        assert_eq!(table, etcd);
    }

    #[test]
    fn the_log_is_told_what_is_behind_an_error_and_no_value() {
        let behind = Error::new(ErrorCode::RaftInternal, "inner").because(fmt::Error);
        let error = Error::new(ErrorCode::RaftInternal, "outer").because(behind);
        let chain = format!(
            "300: Raft Internal Error (outer) [0]: 300: Raft Internal Error (inner) [0]: {}",
            fmt::Error
        );
        assert_eq!(error.chain(), chain);
        assert_eq!(error, Error::new(ErrorCode::RaftInternal, "outer"));
        let compared = Error::new(ErrorCode::TestFailed, "[mine != secret]");
        assert_eq!(compared.chain(), "101: Compare failed [0]");
    }

    #[test]
    fn messages_are_distinct() {
        let mut messages: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.message()).collect();
        messages.sort_unstable();
        messages.dedup();
        assert_eq!(messages.len(), ErrorCode::ALL.len());
    }
}
