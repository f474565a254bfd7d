//! What a dump asks for, and in which order: top down, and within a directory as its source made
//! its nodes.
//!
//! Of each node it keeps where its line is, its createdIndex, its directory and what is left to do:
//! some thirty bytes. Keys and values stay in the dump.
//!
//! Invariant: the plan is of a dump that was read to its end; every node is in one group.

use std::io::BufRead;

use super::super::Node;
use super::super::dump::{DumpError, Header, Reader};
use super::super::node::parent;

/// The number of a node: its place in the dump, where a directory comes after what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::migrate) struct NodeId(u32);

impl NodeId {
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// What is to be done with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::migrate) enum Todo {
    /// It is not at the target: make it.
    Make,
    /// It is, and differs: write it.
    Change,
    /// It is there as it should be.
    Nothing,
}

/// The nodes of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::migrate) enum Group {
    /// Those whose directory is not in the dump: what was asked for, or below the root.
    Roots,
    /// Those in this one.
    Of(NodeId),
}

/// A dump in the order in which it is written to a server.
#[derive(Debug)]
pub(in crate::migrate) struct Plan {
    header: Header,
    /// Where the line of each node is.
    offsets: Vec<u64>,
    todo: Vec<Todo>,
    /// All nodes, group by group, each in the order of createdIndex. The last group is the roots.
    grouped: Vec<NodeId>,
    /// Where the group of each node begins in `grouped`, then that of the roots, then its end.
    begins: Vec<u32>,
    /// The bytes of all keys and values.
    bytes: u64,
}

/// Nodes that wait for their directory, which comes after them.
struct Waiting {
    directory: String,
    nodes: Vec<NodeId>,
}

/// What is known of a node while the dump is read.
struct Seen {
    parent: u32,
    created: u64,
}

impl Plan {
    /// Reads a dump to its end, which proves that it is whole. `mortal` sees those that expire.
    pub(in crate::migrate) fn read(
        input: impl BufRead,
        mortal: &mut dyn FnMut(&Node),
    ) -> Result<Plan, DumpError> {
        let mut reader = Reader::begin(input)?;
        let mut offsets = Vec::new();
        let mut seen: Vec<Seen> = Vec::new();
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = reader.next()? {
            let number = u32::try_from(seen.len()).ok().filter(|number| *number < u32::MAX - 1);
            let too_many = || DumpError { line: None, what: "has too many nodes".to_owned() };
            let id = NodeId(number.ok_or_else(too_many)?);
            let node = entry.node;
            if waiting.last().is_some_and(|last| last.directory == node.key) {
                for child in waiting.pop().into_iter().flat_map(|own| own.nodes) {
                    seen[child.at()].parent = id.0;
                }
            }
            if node.expiration.is_some() {
                mortal(&node);
            }
            let directory = parent(&node.key);
            match waiting.last_mut() {
                Some(last) if last.directory == directory => last.nodes.push(id),
                Some(_) | None => {
                    waiting.push(Waiting { directory: directory.to_owned(), nodes: vec![id] });
                }
            }
            bytes += node.bytes();
            offsets.push(entry.at);
            seen.push(Seen { parent: u32::MAX, created: node.created });
        }
        let header = reader.header().clone();
        let (grouped, begins) = group(&seen);
        let todo = vec![Todo::Make; seen.len()];
        Ok(Plan { header, offsets, todo, grouped, begins, bytes })
    }

    /// What the dump says of itself.
    pub(in crate::migrate) fn header(&self) -> &Header {
        &self.header
    }

    /// How many nodes it has.
    pub(in crate::migrate) fn len(&self) -> u64 {
        self.offsets.len() as u64
    }

    /// The bytes of all keys and values.
    pub(in crate::migrate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the line of a node is.
    pub(in crate::migrate) fn offset(&self, node: NodeId) -> u64 {
        self.offsets[node.at()]
    }

    /// What is left to do with a node.
    pub(in crate::migrate) fn todo(&self, node: NodeId) -> Todo {
        self.todo[node.at()]
    }

    /// What is left to do with the node at this place of the dump.
    pub(in crate::migrate) fn todo_at(&self, place: usize) -> Todo {
        self.todo[place]
    }

    /// Takes down what is to be done with the node at this place of the dump.
    pub(in crate::migrate) fn set_todo(&mut self, place: usize, todo: Todo) {
        self.todo[place] = todo;
    }

    /// The nodes of a group in the order in which they are made.
    pub(in crate::migrate) fn group(&self, group: Group) -> &[NodeId] {
        let number = match group {
            Group::Roots => self.offsets.len(),
            Group::Of(directory) => directory.at(),
        };
        &self.grouped[self.begins[number] as usize..self.begins[number + 1] as usize]
    }

    /// How many nodes are below this one, and it itself.
    pub(in crate::migrate) fn size(&self, top: NodeId) -> u64 {
        let mut size = 0;
        let mut open = vec![top];
        while let Some(node) = open.pop() {
            size += 1;
            open.extend_from_slice(self.group(Group::Of(node)));
        }
        size
    }
}

/// Sorts nodes by directory, and then by createdIndex. What two made in one write, such as the
/// directories above a file, are in different directories.
fn group(seen: &[Seen]) -> (Vec<NodeId>, Vec<u32>) {
    let number = |parent: u32| if parent == u32::MAX { seen.len() } else { parent as usize };
    let count = u32::try_from(seen.len()).expect("counted when they were read");
    let mut grouped: Vec<NodeId> = (0..count).map(NodeId).collect();
    grouped.sort_unstable_by_key(|node| {
        let Seen { parent, created } = seen[node.at()];
        (parent, created, *node)
    });
    let mut begins = vec![0; seen.len() + 2];
    for node in seen {
        begins[number(node.parent) + 1] += 1;
    }
    for at in 1..begins.len() {
        begins[at] += begins[at - 1];
    }
    (grouped, begins)
}
