//! What servers of v2 answer: the head, nodes and events.
//!
//! Fields are optional where etcd 2.3, etcd 3.4 and etcdynamo leave any of them out.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What the headers of an answer tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `X-Etcd-Index`.
    pub index: Option<u64>,
    /// `X-Etcd-Cluster-Id`.
    pub cluster: Option<String>,
}

/// A node, as an answer shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// The path; absent for the root.
    pub key: Option<String>,
    /// The value of a file; absent in the node of a removal.
    pub value: Option<String>,
    /// Whether it is a directory.
    pub dir: bool,
    /// When it goes.
    #[serde(deserialize_with = "rfc3339")]
    pub expiration: Option<Timestamp>,
    /// The seconds that are left until then.
    pub ttl: Option<i64>,
    /// The children of a directory that was listed.
    pub nodes: Vec<Node>,
    /// The index of the last change.
    pub modified_index: u64,
    /// The index of its creation.
    pub created_index: u64,
}

fn rfc3339<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// The answer to a read, or an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `get`, `set`, `delete`, ...
    pub action: String,
    /// The node after it.
    pub node: Node,
    /// The node before it.
    #[serde(default)]
    pub prev_node: Option<Node>,
}

/// What a watch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// The first event at or after the index.
    Event(Box<Event>),
    /// None for as long as the watch lasted. No event up to this index concerns it.
    Silence {
        /// `X-Etcd-Index` of when the watch began.
        index: Option<u64>,
    },
}

/// An answer to a plain GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The HTTP status.
    pub status: u16,
    /// What the headers tell.
    pub head: Head,
    /// The body.
    pub body: bytes::Bytes,
}
