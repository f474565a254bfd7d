//! `/v2/keys`: reads, writes, removals and watches.
//!
//! Invariant: a key is percent-encoded part by part, so that nothing in it is taken for anything
//! else; what is written goes in the form, as a new connection to etcd takes only short heads.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

use super::wire::Next;
use super::{ANSWER_BYTES, Answer, Ask, Body, Call, Client, Error, Event, Head, Watched};
use crate::v2::Key;

/// What is encoded: all but the unreserved characters of URLs, and the slashes between parts.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The longest form that etcd and etcdynamo take.
const FORM_BYTES: usize = 10 << 20;

/// How a node is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Get {
    /// All that is below it, not only its children.
    pub recursive: bool,
    /// Children in the order of their keys.
    pub sorted: bool,
    /// What is acknowledged anywhere is seen.
    pub quorum: bool,
}

/// The state that a write sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State<'value> {
    /// A file with this value.
    File(&'value str),
    /// A file's value as it is, and a new TTL. No watcher is told.
    Refresh,
    /// A directory.
    Dir,
}

/// What has to hold for a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The node is there.
    Exists,
    /// The node is not there.
    Absent,
    /// The node's modifiedIndex is this.
    Index(u64),
}

/// A write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put<'value> {
    /// What the node is to be.
    pub state: State<'value>,
    /// The seconds that it is to live; `None`: for ever.
    pub ttl: Option<u64>,
    /// What has to hold.
    pub condition: Condition,
}

/// A removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    /// Of a file.
    File,
    /// Of a directory that is empty.
    EmptyDir,
    /// Of a node and all that is below it.
    Tree,
}

/// Which event is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The first one at or after this index.
    pub from: u64,
    /// Also of nodes below the key.
    pub recursive: bool,
    /// How long at most.
    pub longest: Duration,
}

/// The path of a key in a URL.
pub fn key_path(key: &Key) -> String {
    if key.is_root() {
        // With the slash, as etcd's own tools ask: patterns of roles see it.
        return "/v2/keys/".to_owned();
    }
    format!("/v2/keys{}", percent_encode(key.as_bytes(), ENCODED))
}

impl Get {
    fn target(self, key: &Key) -> String {
        let Get { recursive, sorted, quorum } = self;
        let path = key_path(key);
        format!("{path}?recursive={recursive}&sorted={sorted}&quorum={quorum}")
    }
}

/// A value of a form with no more encoded than has to be: a server takes what is not ASCII as it is,
/// and a value that came so may otherwise be too large to go on.
fn sparingly_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len() + 64);
    for character in value.chars() {
        match character {
            '%' | '&' | '+' | ';' | '\0'..=' ' | '\x7f' => {
                encoded.push_str(&format!("%{:02X}", u32::from(character)));
            }
            _ => encoded.push(character),
        }
    }
    encoded
}

impl Put<'_> {
    fn form(&self) -> String {
        let bytes = match self.state {
            State::File(value) => value.len(),
            State::Refresh | State::Dir => 0,
        };
        let mut form = Serializer::new(String::with_capacity(bytes + 128));
        match self.state {
            State::File(value) => form.append_pair("value", value),
            State::Refresh => form.append_pair("refresh", "true"),
            State::Dir => form.append_pair("dir", "true"),
        };
        if let Some(ttl) = self.ttl {
            form.append_pair("ttl", &ttl.to_string());
        }
        match self.condition {
            Condition::None => &mut form,
            Condition::Exists => form.append_pair("prevExist", "true"),
            Condition::Absent => form.append_pair("prevExist", "false"),
            Condition::Index(index) => form.append_pair("prevIndex", &index.to_string()),
        };
        let form = form.finish();
        match self.state {
            State::File(value) if form.len() > FORM_BYTES => {
                let rest = Put { state: State::File(""), ..*self }.form();
                rest.replacen("value=", &format!("value={}", sparingly_encoded(value)), 1)
            }
            State::File(_) | State::Refresh | State::Dir => form,
        }
    }
}

impl Client {
    /// Reads a node; a directory with its children.
    pub async fn get(&self, key: &Key, get: Get) -> Result<(Event, Head), Error> {
        let answer = self.call(&Ask::get(get.target(key)), Call::Keys).await?;
        read(answer).await
    }

    /// The head of an answer to a read, and its body as it comes.
    pub async fn get_stream(&self, key: &Key, get: Get) -> Result<(Head, Body), Error> {
        self.get_stream_within(key, get, self.limits.patience).await
    }

    /// The same, tried anew for so long at most.
    pub async fn get_stream_within(
        &self,
        key: &Key,
        get: Get,
        patience: Duration,
    ) -> Result<(Head, Body), Error> {
        let patience = patience.min(self.limits.patience);
        let ask = Ask::get(get.target(key));
        let answer = self.call_within(&ask, Call::Keys, patience).await?;
        Ok((answer.head, answer.body))
    }

    /// Writes a node. Without a condition it is repeated until it is acknowledged.
    pub async fn put(&self, key: &Key, put: Put<'_>) -> Result<Head, Error> {
        let ask = Ask {
            method: Method::PUT,
            // The value need not come back; etcd 2.3 does not know this and sends it.
            target: format!("{}?noValueOnSuccess=true", key_path(key)),
            form: Some(Bytes::from(put.form())),
            is_repeatable: matches!(put.condition, Condition::None | Condition::Exists),
        };
        self.acknowledged(&ask).await
    }

    /// Removes a node. A repetition finds nothing: to the caller 100 means that it is gone.
    pub async fn delete(&self, key: &Key, delete: Delete) -> Result<Head, Error> {
        let query = match delete {
            Delete::File => "",
            Delete::EmptyDir => "?dir=true",
            Delete::Tree => "?recursive=true",
        };
        let target = format!("{}{query}", key_path(key));
        let ask = Ask { method: Method::DELETE, target, form: None, is_repeatable: true };
        self.acknowledged(&ask).await
    }

    /// Waits for an event.
    pub async fn watch(&self, key: &Key, watch: Watch) -> Result<Watched, Error> {
        let Watch { from, recursive, longest } = watch;
        let path = key_path(key);
        let target = format!("{path}?wait=true&waitIndex={from}&recursive={recursive}");
        let Answer { head, mut body, member, .. } =
            self.call(&Ask::get(target), Call::Keys).await?;
        let first = match body.next_within(longest).await? {
            Next::Bytes(first) => first,
            Next::Silence | Next::End => return Ok(Watched::Silence { index: head.index }),
        };
        let mut text = first.to_vec();
        text.extend_from_slice(&body.collect(ANSWER_BYTES).await?);
        Ok(Watched::Event(Box::new(parse(&text, &member)?)))
    }

    async fn acknowledged(&self, ask: &Ask) -> Result<Head, Error> {
        let answer = self.call(ask, Call::Keys).await?;
        // Read to the end, so that the connection serves the next call. That the write is
        // acknowledged is said by the status.
        let _rest = answer.body.collect(ANSWER_BYTES).await;
        Ok(answer.head)
    }
}

async fn read(answer: Answer) -> Result<(Event, Head), Error> {
    let Answer { head, body, member, .. } = answer;
    let text = body.collect(ANSWER_BYTES).await?;
    Ok((parse(&text, &member)?, head))
}

fn parse<T: DeserializeOwned>(text: &[u8], member: &str) -> Result<T, Error> {
    serde_json::from_slice(text)
        .map_err(|error| Error::Strange { member: member.to_owned(), detail: error.to_string() })
}
