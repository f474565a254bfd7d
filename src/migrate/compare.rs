//! Whether two trees are equal, and if not, where.
//!
//! Both come in the order of [`super::order`], so one pass over both is enough. Compared are which
//! nodes there are, what they are, values, expirations (which a copy keeps within
//! [`TOLERANCE`]), and the order in which the nodes of one directory were created. Indexes are
//! each server's own.
//!
//! A node that one side has no more, because its time came, or that of a directory above it, is
//! no difference. Not here: reading either tree. Invariants: in memory are the createdIndexes of
//! one directory and of those above it, and the first differences; nothing that is said holds a
//! value.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::node::{is_below, parent};
use super::order;
use super::tree::{Tree, Unread};
use super::{Content, Node};
use crate::clock::{Clock, unix_ms};

/// How far apart two expirations may be: a TTL is given in whole seconds.
pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// Whether both mean the same time.
pub(super) fn is_same_expiration(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.duration_since(b).abs() <= TOLERANCE,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The node, or the directory whose nodes it is about.
    pub key: String,
    /// What differs.
    pub what: What,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Only the first tree has it.
    Missing,
    /// Only the second tree has it.
    Extra,
    /// The one has a file and the other a directory.
    Kind,
    /// The values.
    Value,
    /// When it expires.
    Expiration(Option<Timestamp>, Option<Timestamp>),
    /// Two nodes of the directory, by their createdIndexes in the first tree.
    Order(u64, u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may hold what would break the line, or a terminal.
        write!(f, "{}: ", self.key.escape_debug())?;
        let when = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        match self.what {
            What::Missing => f.write_str("missing"),
            What::Extra => f.write_str("only there"),
            What::Kind => f.write_str("a file here and a directory there, or the other way round"),
            What::Value => f.write_str("the values differ"),
            What::Expiration(from, to) => {
                write!(f, "expires {} here, {} there", when(from), when(to))
            }
            What::Order(first, second) => write!(
                f,
                "its nodes with createdIndex {first} and {second} were created in the other order"
            ),
        }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Nodes of the first tree.
    pub from: u64,
    /// Nodes of the second tree.
    pub to: u64,
    /// Nodes that only the first one has.
    pub missing: u64,
    /// Nodes that only the second one has.
    pub extra: u64,
    /// Nodes that are a file in one and a directory in the other.
    pub kinds: u64,
    /// Files whose values differ.
    pub values: u64,
    /// Nodes that expire at other times, or only in one of both.
    pub expirations: u64,
    /// Nodes that were created before their neighbour in the first tree, and after it in the second.
    pub orders: u64,
    /// Nodes that only one side has, because their time came. They are no difference.
    pub expired: u64,
    /// The first differences.
    pub first: Vec<Difference>,
}

impl Comparison {
    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        let Comparison { missing, extra, kinds, values, expirations, orders, .. } = self;
        missing + extra + kinds + values + expirations + orders
    }

    /// What there is of which kind, in words.
    pub fn summary(&self) -> String {
        let counts = [
            (self.missing, "missing"),
            (self.extra, "only there"),
            (self.kinds, "of another kind"),
            (self.values, "with another value"),
            (self.expirations, "with another expiration"),
            (self.orders, "created in another order"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        counts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// How to compare.
pub struct Comparing<'a> {
    /// How many differences are kept.
    pub most: usize,
    /// By which nodes expire.
    pub clock: &'a dyn Clock,
}

impl Comparing<'_> {
    /// Compares two trees of one scope. `progress` is called with each node's number of bytes.
    pub async fn compare(
        &self,
        from: &mut Tree<'_>,
        to: &mut Tree<'_>,
        mut progress: impl FnMut(u64),
    ) -> Result<Comparison, Unread> {
        let mut found = Found { most: self.most, frames: Vec::new(), is: Comparison::default() };
        let (mut a, mut b) = (from.next().await?, to.next().await?);
        loop {
            let side = match (&a, &b) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => order::compare(&a.key, &b.key),
            };
            progress(a.as_ref().or(b.as_ref()).map_or(0, Node::bytes));
            let (mut only_a, mut only_b) = (None, None);
            if side.is_le() {
                only_a = std::mem::replace(&mut a, from.next().await?);
            }
            if side.is_ge() {
                only_b = std::mem::replace(&mut b, to.next().await?);
            }
            match (only_a, only_b) {
                (Some(a), Some(b)) => found.both(&a, &b),
                (Some(a), None) => found.only(&a, What::Missing, self.is_expired(&a)),
                (None, Some(b)) => found.only(&b, What::Extra, self.is_expired(&b)),
                (None, None) => {}
            }
        }
        Ok(found.end())
    }

    /// Whether a node may be gone by now because of its TTL.
    fn is_expired(&self, node: &Node) -> bool {
        let now = Timestamp::from_millisecond(unix_ms(self.clock).0).unwrap_or(Timestamp::MAX);
        node.expiration.is_some_and(|at| at.duration_since(now) <= TOLERANCE)
    }
}

/// A directory some of whose nodes were seen.
#[derive(Default)]
struct Frame {
    directory: String,
    /// createdIndexes of the nodes that both have.
    siblings: Vec<(u64, u64)>,
    lone: Lone,
}

/// Nodes at any depth that only one side has.
#[derive(Debug, Clone, Copy, Default)]
struct Lone {
    missing: u64,
    extra: u64,
}

impl Lone {
    fn add(&mut self, other: Lone) {
        self.missing += other.missing;
        self.extra += other.extra;
    }
}

struct Found {
    most: usize,
    /// From the top down.
    frames: Vec<Frame>,
    is: Comparison,
}

impl Found {
    fn tell(&mut self, key: &str, what: What) {
        if self.is.first.len() < self.most {
            self.is.first.push(Difference { key: key.to_owned(), what });
        }
    }

    /// Ends the directories that this node is not in, and gives what was lone below the node.
    fn arrive(&mut self, key: &str) -> Lone {
        let directory = parent(key);
        let (mut below, mut beside) = (Lone::default(), Lone::default());
        let is_over = |frame: &mut Frame| {
            frame.directory != directory && !is_below(directory, &frame.directory)
        };
        while let Some(frame) = self.frames.pop_if(is_over) {
            let is_ours = frame.directory == key || is_below(&frame.directory, key);
            if is_ours { &mut below } else { &mut beside }.add(frame.lone);
            self.check_order(frame);
        }
        if self.frames.last().is_none_or(|frame| frame.directory != directory) {
            self.frames.push(Frame { directory: directory.to_owned(), ..Frame::default() });
        }
        self.note(beside);
        below
    }

    /// Lone nodes in the directory of the node that arrived.
    fn note(&mut self, lone: Lone) {
        if let Some(frame) = self.frames.last_mut() {
            frame.lone.add(lone);
        }
    }

    fn both(&mut self, a: &Node, b: &Node) {
        let below = self.arrive(&a.key);
        self.note(below);
        self.is.from += 1;
        self.is.to += 1;
        if let Some(frame) = self.frames.last_mut() {
            frame.siblings.push((a.created, b.created));
        }
        match (&a.content, &b.content) {
            (Content::File(a_value), Content::File(b_value)) if a_value != b_value => {
                self.is.values += 1;
                self.tell(&a.key, What::Value);
            }
            (Content::File(_), Content::File(_)) | (Content::Dir, Content::Dir) => {}
            (Content::File(_), Content::Dir) | (Content::Dir, Content::File(_)) => {
                self.is.kinds += 1;
                self.tell(&a.key, What::Kind);
            }
        }
        if !is_same_expiration(a.expiration, b.expiration) {
            self.is.expirations += 1;
            self.tell(&a.key, What::Expiration(a.expiration, b.expiration));
        }
    }

    /// A node that one side has. `what` is [`What::Missing`] or [`What::Extra`].
    fn only(&mut self, node: &Node, what: What, is_expired: bool) {
        let mut below = self.arrive(&node.key);
        let is_missing = what == What::Missing;
        let seen = if is_missing { &mut self.is.from } else { &mut self.is.to };
        *seen += 1;
        let Comparison { missing, extra, expired, .. } = &mut self.is;
        let (count, of_below) =
            if is_missing { (missing, &mut below.missing) } else { (extra, &mut below.extra) };
        if is_expired {
            // What is below it went with it.
            *expired += 1 + *of_below;
            *count -= *of_below;
            *of_below = 0;
            let is_kept = |told: &Difference| told.what != what || !is_below(&told.key, &node.key);
            self.is.first.retain(is_kept);
        } else {
            *count += 1;
            *of_below += 1;
            self.tell(&node.key, what);
        }
        self.note(below);
    }

    /// Neighbours by creation in the first tree that are the other way round in the second.
    fn check_order(&mut self, frame: Frame) {
        let Frame { directory, mut siblings, .. } = frame;
        siblings.sort_unstable();
        for pair in siblings.windows(2) {
            if let [(first, first_there), (second, second_there)] = pair
                && first_there > second_there
                && first < second
            {
                self.is.orders += 1;
                self.tell(&directory, What::Order(*first, *second));
            }
        }
    }

    fn end(mut self) -> Comparison {
        while let Some(frame) = self.frames.pop() {
            self.check_order(frame);
        }
        self.is
    }
}

#[cfg(test)]
mod tests;
