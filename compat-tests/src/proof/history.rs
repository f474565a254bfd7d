//! A history: what clients asked, when, and what they were told.
//!
//! Times are microseconds since the Unix epoch, taken from one monotonic clock, so that "answered
//! before it was asked" is never an accident of the wall clock. Keys are relative to the history's
//! own directory. It knows the words of v2 and judges nothing.

use std::fmt::{self, Write as _};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET of one node.
    Get,
    /// GET of a directory with what is directly in it.
    List,
    /// PUT without a condition.
    Set,
    /// PUT with prevExist=false.
    Create,
    /// PUT with prevExist=true.
    Update,
    /// PUT with prevValue or prevIndex.
    Swap,
    /// PUT with prevExist=true and refresh=true.
    Refresh,
    /// DELETE.
    Delete,
    /// DELETE with prevValue or prevIndex.
    CompareAndDelete,
    /// PUT with dir=true and prevExist=false.
    MakeDir,
    /// DELETE with dir=true.
    RemoveDir,
    /// DELETE with recursive=true.
    RemoveTree,
    /// POST.
    Post,
    /// Asked by nobody: what the removal of a directory is for one key in it, where it takes the
    /// keys one by one.
    Sweep,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What is asked.
    pub verb: Verb,
    /// Of which key, without a slash at its start.
    pub key: String,
    /// The value that is written.
    pub value: Option<String>,
    /// The seconds that it is to live.
    pub ttl: Option<u64>,
    /// What the value has to be.
    pub prev_value: Option<String>,
    /// What the modifiedIndex has to be.
    pub prev_index: Option<u64>,
    /// Whether a read says that it has to be fresh.
    pub quorum: bool,
}

impl Operation {
    /// One with neither value nor condition.
    #[must_use]
    pub fn new(verb: Verb, key: &str) -> Self {
        let key = key.to_owned();
        Self {
            verb,
            key,
            value: None,
            ttl: None,
            prev_value: None,
            prev_index: None,
            quorum: false,
        }
    }

    /// With a value.
    #[must_use]
    pub fn value(self, value: &str) -> Self {
        Self { value: Some(value.to_owned()), ..self }
    }

    /// Whether it can change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List)
    }
}

/// A node as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// Its key, relative to the history's directory.
    pub key: String,
    /// Its value; a directory and what is gone have none.
    pub value: Option<String>,
    /// Whether it is a directory.
    pub dir: bool,
    /// Its createdIndex.
    pub created: u64,
    /// Its modifiedIndex.
    pub modified: u64,
    /// Its expiration, in milliseconds since the epoch.
    pub expires: Option<i64>,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// A success.
    Done {
        /// 200 or 201.
        status: u16,
        /// The node.
        node: Shown,
        /// The node before.
        prev: Option<Shown>,
        /// What is in the directory that was listed.
        nodes: Vec<Shown>,
    },
    /// An error that says that nothing happened.
    Refused {
        /// etcd's code.
        code: u16,
        /// Its cause, with keys relative to the history's directory.
        cause: String,
    },
    /// Only ever part of a listing: the node is not in it.
    NotListed,
    /// Nobody can say: error 300, a broken connection, no answer.
    Unknown(String),
}

/// One request, when it was under way, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Who asked.
    pub client: usize,
    /// Through which gateway.
    pub gateway: usize,
    /// What was asked.
    pub operation: Operation,
    /// When it was sent.
    pub invoked: u64,
    /// When its answer was there, or the client gave up.
    pub answered: u64,
    /// What it was told.
    pub reply: Reply,
}

impl Call {
    /// Whether the client was told what came of it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.reply, Reply::Unknown(_))
    }

    /// The node of a success.
    #[must_use]
    pub fn node(&self) -> Option<&Shown> {
        match &self.reply {
            Reply::Done { node, .. } => Some(node),
            Reply::Refused { .. } | Reply::NotListed | Reply::Unknown(_) => None,
        }
    }

    /// Every node that its answer shows.
    #[must_use]
    pub fn shown(&self) -> Vec<&Shown> {
        match &self.reply {
            Reply::Done { node, prev, nodes, .. } => {
                [node].into_iter().chain(prev).chain(nodes).collect()
            }
            Reply::Refused { .. } | Reply::NotListed | Reply::Unknown(_) => Vec::new(),
        }
    }

    /// The index of an acknowledged write.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        self.node().filter(|_| self.operation.writes()).map(|node| node.modified)
    }
}

/// A history in readable form: a line a call in the order of their beginnings.
#[must_use]
pub fn render(calls: &[Call]) -> String {
    let mut sorted: Vec<&Call> = calls.iter().collect();
    sorted.sort_by_key(|call| (call.invoked, call.answered));
    let start = sorted.first().map_or(0, |call| call.invoked);
    let mut text = String::new();
    for call in sorted {
        let from = call.invoked.saturating_sub(start);
        let to = call.answered.saturating_sub(start);
        let Call { client, gateway, operation, reply, .. } = call;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "    {:>6}.{:03}..{:>6}.{:03} ms  client {client:>2} gateway {gateway}  {operation}  ->  {reply}",
            from / 1000,
            from % 1000,
            to / 1000,
            to % 1000
        );
    }
    text
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.verb, self.key)?;
        if let Some(value) = &self.value {
            write!(f, " value={value}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, " ttl={ttl}")?;
        }
        if let Some(value) = &self.prev_value {
            write!(f, " prevValue={value}")?;
        }
        self.prev_index.map_or(Ok(()), |index| write!(f, " prevIndex={index}"))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        match &self.value {
            Some(value) => write!(f, "={value}")?,
            None if self.dir => write!(f, "/")?,
            None => {}
        }
        write!(f, "@{}", self.modified)?;
        if self.created != self.modified {
            write!(f, "(created {})", self.created)?;
        }
        self.expires.map_or(Ok(()), |at| write!(f, "(expires {at})"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { status, node, prev, nodes } => {
                write!(f, "{status} {node}")?;
                if let Some(prev) = prev {
                    write!(f, " was {prev}")?;
                }
                nodes.iter().try_for_each(|child| write!(f, " has {child}"))
            }
            Self::Refused { code, cause } => write!(f, "error {code} {cause}"),
            Self::NotListed => write!(f, "not listed"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}
