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
    /// Where the line of each node is, and where the last one ends.
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
        offsets.push(reader.bytes());
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
        self.todo.len() as u64
    }

    /// The bytes of all keys and values.
    pub(in crate::migrate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the line of a node is.
    pub(in crate::migrate) fn offset(&self, node: NodeId) -> u64 {
        self.offsets[node.at()]
    }

    /// The bytes of the line of a node, with those of its key and value.
    pub(in crate::migrate) fn line_bytes(&self, node: NodeId) -> u64 {
        self.offsets[node.at() + 1] - self.offsets[node.at()]
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
            Group::Roots => self.todo.len(),
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

#[cfg(test)]
mod tests {
    use super::super::super::dump::Writer;
    use super::super::super::{Content, Scope};
    use super::*;

    /// A dump of these nodes: key, createdIndex, and whether it is a directory.
    fn dump(nodes: &[(&str, u64, bool)]) -> Vec<u8> {
        let header = Header {
            source: "http://a:1".to_owned(),
            server_version: None,
            scope: Scope::new("/".to_owned(), vec!["/_h/x".to_owned()]).expect("a scope"),
            index: 9,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let mut writer = Writer::begin(Vec::new(), &header).expect("memory");
        for (key, created, is_dir) in nodes {
            let content = if *is_dir { Content::Dir } else { Content::File((*key).to_owned()) };
            let key = (*key).to_owned();
            let node = Node { key, content, created: *created, modified: 1, expiration: None };
            writer.node(&node).expect("in order");
        }
        writer.finish().expect("memory")
    }

    const TREE: &[(&str, u64, bool)] = &[
        ("/_h/x", 3, false),
        ("/a/b/f", 8, false),
        ("/a/b/g", 7, false),
        ("/a/b", 6, true),
        ("/a/c", 5, false),
        ("/a", 5, true),
        ("/d", 2, true),
        ("/e", 4, false),
    ];

    fn key(plan: &Plan, bytes: &[u8], node: NodeId) -> String {
        let mut file = std::io::Cursor::new(bytes);
        super::super::super::dump::node_at(&mut file, plan.offset(node)).expect("a node").key
    }

    fn keys(plan: &Plan, bytes: &[u8], group: Group) -> Vec<String> {
        plan.group(group).iter().map(|node| key(plan, bytes, *node)).collect()
    }

    #[test]
    fn the_nodes_of_a_directory_come_as_they_were_created() {
        let bytes = dump(TREE);
        let plan = Plan::read(bytes.as_slice(), &mut |_| {}).expect("a whole dump");
        assert_eq!((plan.len(), plan.header().index), (8, 9));
        assert_eq!(keys(&plan, &bytes, Group::Roots), ["/d", "/_h/x", "/e", "/a"]);
        let a = *plan.group(Group::Roots).last().expect("there is one");
        assert_eq!(keys(&plan, &bytes, Group::Of(a)), ["/a/c", "/a/b"]);
        let b = *plan.group(Group::Of(a)).last().expect("there is one");
        assert_eq!(keys(&plan, &bytes, Group::Of(b)), ["/a/b/g", "/a/b/f"]);
        let d = plan.group(Group::Roots)[0];
        assert!(plan.group(Group::Of(d)).is_empty());
        assert_eq!((plan.size(a), plan.size(b), plan.size(d)), (5, 3, 1));
        let line = r#"{"key":"/d","dir":true,"createdIndex":2,"modifiedIndex":1}"#;
        assert_eq!(plan.line_bytes(d), line.len() as u64 + 1);
    }

    #[test]
    fn every_node_is_in_one_group() {
        let bytes = dump(TREE);
        let plan = Plan::read(bytes.as_slice(), &mut |_| {}).expect("a whole dump");
        let mut all = keys(&plan, &bytes, Group::Roots);
        for node in &plan.grouped {
            all.extend(keys(&plan, &bytes, Group::Of(*node)));
        }
        all.sort();
        let mut expected: Vec<&str> = TREE.iter().map(|(key, ..)| *key).collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_tree_without_nodes_has_a_plan_as_well() {
        let plan = Plan::read(dump(&[]).as_slice(), &mut |_| {}).expect("a whole dump");
        assert_eq!((plan.len(), plan.group(Group::Roots).len()), (0, 0));
    }

    #[test]
    fn of_a_dump_that_is_not_whole_there_is_no_plan() {
        let bytes = dump(TREE);
        for length in 0..bytes.len() {
            assert!(Plan::read(&bytes[..length], &mut |_| {}).is_err(), "{length}");
        }
    }
}
