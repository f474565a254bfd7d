//! A subtree of a server, by one listing or by as many as the server makes necessary.
//!
//! A server may refuse a listing that is too large for it (etcdynamo: 209), or have no room or no
//! time for it (300, for [`PATIENCE`]). Then the directory is listed alone, and what is in
//! it is asked for in the same way: recursively, and where that is too much, alone again.
//!
//! Invariant: no directory that is still there is left out. Held in memory are the directories on
//! the way down that had to be listed alone.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::super::Node;
use super::super::listing::Misread;
use super::super::node::parent;
use super::TreeError;
use super::stream::Stream;
use crate::v2::Key;
use crate::v2client::error::{KEY_NOT_FOUND, LEADER_ELECT, NOT_DIR, RAFT_INTERNAL};
use crate::v2client::{Client, Get, Head};

/// etcd's 209, by which a server says that it gives no listing of this size.
const INVALID_FIELD: u32 = 209;

/// How long a whole subtree is asked for from a server that has too much to do. Each attempt may
/// read all of it from a table, so this is less than the patience for small calls.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a directory is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Whole,
    Alone,
}

/// A server that is being read, and what was seen of it.
pub(super) struct Place<'c> {
    pub(super) client: &'c Client,
    /// Of the first listing that was answered.
    pub(super) head: Option<Head>,
    pub(super) listings: u64,
    pub(super) bytes: Arc<AtomicU64>,
}

impl Place<'_> {
    async fn list(&mut self, key: &str, depth: Depth) -> Result<Stream, TreeError> {
        let path = Key::parse(key.as_bytes()).map_err(|_| {
            TreeError::Strange(format!("{} has a key that is none: {key:?}", self.name()))
        })?;
        let get = Get { recursive: depth == Depth::Whole, sorted: true, quorum: true };
        let answer = match depth {
            Depth::Whole => match self.client.get_stream_within(&path, get, PATIENCE).await {
                // Whoever does not answer at all would not answer a smaller question either.
                Err(error) if error.code().is_none() => self.client.get_stream(&path, get).await,
                answer => answer,
            },
            Depth::Alone => self.client.get_stream(&path, get).await,
        };
        let (head, body) = answer.map_err(TreeError::Call)?;
        self.head.get_or_insert(head);
        self.listings += 1;
        Stream::begin(body, key.to_owned(), Arc::clone(&self.bytes))
            .map_err(|error| TreeError::Strange(format!("no thread to read a listing: {error}")))
    }

    pub(super) fn misread(&self, problem: Misread) -> TreeError {
        match problem {
            Misread::Broken(what) => TreeError::Broken(format!("{}: {what}", self.name())),
            Misread::Strange(what) => TreeError::Strange(format!("{}: {what}", self.name())),
            Misread::Stopped => TreeError::Strange("the reading was stopped".to_owned()),
        }
    }

    pub(super) fn name(&self) -> String {
        self.client.endpoints().to_string()
    }
}

/// What is still to come, the deepest last.
#[derive(Default)]
pub(super) struct Walk {
    parts: Vec<Part>,
    next: Option<Node>,
}

enum Part {
    /// A listing of a whole subtree.
    Whole(Stream),
    /// A directory that was listed alone, itself last.
    Alone { directory: String, nodes: std::vec::IntoIter<Node> },
}

impl Walk {
    /// Begins at this key; false if nothing is there.
    pub(super) async fn begin(place: &mut Place<'_>, key: &str) -> Result<Walk, TreeError> {
        let part = part(place, key).await?;
        let part = part.ok_or_else(|| TreeError::NotThere(key.to_owned()))?;
        let mut walk = Walk { parts: vec![part], next: None };
        walk.next = walk.advance(place).await?;
        Ok(walk)
    }

    /// What [`Walk::take`] will give.
    pub(super) fn peek(&self) -> Option<&Node> {
        self.next.as_ref()
    }

    /// The next node.
    pub(super) async fn take(&mut self, place: &mut Place<'_>) -> Result<Option<Node>, TreeError> {
        let following = match self.next {
            Some(_) => self.advance(place).await?,
            None => None,
        };
        Ok(std::mem::replace(&mut self.next, following))
    }

    async fn advance(&mut self, place: &mut Place<'_>) -> Result<Option<Node>, TreeError> {
        while let Some(last) = self.parts.last_mut() {
            let below = match last {
                Part::Whole(stream) => {
                    let next = stream.next().await.map_err(|problem| place.misread(problem))?;
                    if next.is_some() {
                        return Ok(next);
                    }
                    None
                }
                Part::Alone { directory, nodes } => match nodes.next() {
                    Some(node) if node.is_dir() && node.key != *directory => Some(node.key),
                    Some(node) => return Ok(Some(node)),
                    None => None,
                },
            };
            match below {
                // One that is gone by now was removed after the first listing, whose index comes
                // before that.
                Some(key) => self.parts.extend(part(place, &key).await?),
                None => drop(self.parts.pop()),
            }
        }
        Ok(None)
    }
}

/// A subtree, however it can be had; `None`: nothing is there.
async fn part(place: &mut Place<'_>, key: &str) -> Result<Option<Part>, TreeError> {
    let refusal = match place.list(key, Depth::Whole).await {
        Ok(stream) => return Ok(Some(Part::Whole(stream))),
        Err(error) => error,
    };
    match refusal.code() {
        Some(KEY_NOT_FOUND | NOT_DIR) => return Ok(None),
        Some(INVALID_FIELD | RAFT_INTERNAL | LEADER_ELECT) => {}
        Some(_) | None => return Err(refusal),
    }
    let mut stream = match place.list(key, Depth::Alone).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.code(), Some(KEY_NOT_FOUND | NOT_DIR)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut nodes = Vec::new();
    while let Some(node) = stream.next().await.map_err(|problem| place.misread(problem))? {
        if node.key != key && parent(&node.key) != key {
            let what = format!("{} lists {:?} as a child of {key:?}", place.name(), node.key);
            return Err(TreeError::Strange(what));
        }
        nodes.push(node);
    }
    Ok(Some(Part::Alone { directory: key.to_owned(), nodes: nodes.into_iter() }))
}
