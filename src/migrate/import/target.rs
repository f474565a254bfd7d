//! The server that is written to: writes that set a state, and what of their refusals matters.
//!
//! Invariant: every write may be repeated, so whatever interrupts an import, the next one ends the
//! same.

use super::Fatal;
use super::plan::Todo;
use crate::v2::Key;
use crate::v2client::error::{KEY_NOT_FOUND, NODE_EXIST, NOT_DIR, NOT_FILE, TEST_FAILED};
use crate::v2client::{Client, Condition, Delete, Error, Get, Put, State};

/// The last code of those that complain of what is sent: keys and values beyond a limit.
const FORM_CODES: std::ops::RangeInclusive<u32> = 200..=212;

/// Why a node was not written.
#[derive(Debug)]
pub(in crate::migrate) enum Refused {
    /// The server does not take this node, and may well take others.
    Node(Error),
    /// It will take no other either.
    All(Fatal),
}

/// A server that is written to.
#[derive(Debug)]
pub(in crate::migrate) struct Target {
    client: Client,
}

impl Target {
    pub(in crate::migrate) fn new(client: Client) -> Target {
        Target { client }
    }

    pub(in crate::migrate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a file, or changes one and keeps its createdIndex.
    pub(in crate::migrate) async fn write_file(
        &self,
        key: &str,
        value: &str,
        ttl: Option<u64>,
        todo: Todo,
    ) -> Result<(), Refused> {
        let key = parsed(key)?;
        let mut put = Put { state: State::File(value), ttl, condition: Condition::None };
        if todo == Todo::Change {
            put.condition = Condition::Exists;
            match self.client.put(&key, put).await {
                // It went meanwhile.
                Err(error) if error.code() == Some(KEY_NOT_FOUND) => {}
                other => return self.judged(other).await,
            }
        }
        put.condition = Condition::None;
        self.judged(self.client.put(&key, put).await).await
    }

    /// Makes a directory, or changes the TTL of one.
    pub(in crate::migrate) async fn write_dir(
        &self,
        key: &str,
        ttl: Option<u64>,
        todo: Todo,
    ) -> Result<(), Refused> {
        let key = parsed(key)?;
        let mut put = Put { state: State::Dir, ttl, condition: Condition::None };
        if todo == Todo::Change {
            put.condition = Condition::Exists;
            return self.judged(self.client.put(&key, put).await).await;
        }
        match self.client.put(&key, put).await {
            // It is there: this was sent twice.
            Err(error) if error.code() == Some(NOT_FILE) => Ok(()),
            other => self.judged(other).await,
        }
    }

    /// Removes a node and all below it.
    pub(in crate::migrate) async fn remove_tree(&self, key: &str) -> Result<(), Refused> {
        let removed = self.client.delete(&parsed(key)?, Delete::Tree).await;
        match removed {
            Err(error) if matches!(error.code(), Some(KEY_NOT_FOUND | NOT_DIR)) => Ok(()),
            other => self.judged(other).await,
        }
    }

    async fn judged<T>(&self, result: Result<T, Error>) -> Result<(), Refused> {
        match result {
            Ok(_) => Ok(()),
            Err(error) => Err(self.judge(error).await),
        }
    }

    /// What an error means for the next write.
    pub(in crate::migrate) async fn judge(&self, error: Error) -> Refused {
        let is_of_node = match &error {
            Error::Refused(refusal) => match refusal.error_code {
                KEY_NOT_FOUND | TEST_FAILED | NOT_FILE | NOT_DIR | NODE_EXIST => true,
                code => FORM_CODES.contains(&code),
            },
            // Some servers hang up on what is too long for them, without a word; and something in
            // between may have a limit of its own. Whoever answers otherwise is well.
            Error::Unanswered { .. } | Error::Strange { .. } => self.answers().await,
        };
        if is_of_node { Refused::Node(error) } else { Refused::All(Fatal::Target(error)) }
    }

    async fn answers(&self) -> bool {
        let probe = Key::root().child(b"_etcdynamo");
        match self.client.get(&probe, Get { quorum: true, ..Get::default() }).await {
            Ok(_) => true,
            Err(error) => error.code() == Some(KEY_NOT_FOUND),
        }
    }
}

/// A key of a dump. They are clean, but one may have more parts than a key can have.
pub(in crate::migrate) fn parsed(key: &str) -> Result<Key, Refused> {
    Key::parse(key.as_bytes()).map_err(|_| {
        let detail = "its key is none of etcd's".to_owned();
        Refused::Node(Error::Strange { member: key.to_owned(), detail })
    })
}
