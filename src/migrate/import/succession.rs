//! The order in which the nodes of a directory were created, where a mirror has another one.
//!
//! A node that is created at the target is the last one of its directory. So from the first node on
//! that is missing, or that was created too early, all that the source created later has to be made
//! anew as well: files are set again, directories are removed and filled again, if they are not too
//! large for that.
//!
//! Not here: what is told of the order ([`super::super::compare`]). Invariant: a directory whose
//! order is right and of which only the last nodes are missing, as after most gaps, loses nothing.

use super::super::Node;
use super::super::node::parent;
use super::join::push_topmost;
use super::plan::{Plan, Todo};

/// A directory with more nodes below it is not made anew for the sake of order.
const LARGEST: usize = 10_000;

/// A node of the dump.
struct Child {
    key: String,
    is_dir: bool,
    /// Its place in the dump, and that of the first node below it, or its own.
    place: usize,
    first: usize,
    /// Its createdIndexes, at the source and at the target.
    created: u64,
    there: Option<u64>,
}

/// Nodes of one directory, which comes after them.
struct Family {
    directory: String,
    children: Vec<Child>,
}

/// The directories that nodes go by of.
#[derive(Default)]
pub(super) struct Families(Vec<Family>);

impl Families {
    /// The next node of the dump, and the one in its place at the target.
    pub(super) fn see(
        &mut self,
        place: usize,
        (node, there): (&Node, Option<&Node>),
        plan: &mut Plan,
        remove: &mut Vec<String>,
    ) {
        let mut first = place;
        if let Some(own) = self.0.pop_if(|family| family.directory == node.key) {
            first = own.children.first().map_or(place, |child| child.first);
            own.settle(plan, remove);
        }
        let child = Child {
            key: node.key.clone(),
            is_dir: node.is_dir(),
            place,
            first,
            created: node.created,
            there: there.map(|there| there.created),
        };
        let directory = parent(&node.key);
        match self.0.last_mut() {
            Some(last) if last.directory == directory => last.children.push(child),
            Some(_) | None => {
                self.0.push(Family { directory: directory.to_owned(), children: vec![child] });
            }
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(self, plan: &mut Plan, remove: &mut Vec<String>) {
        for family in self.0 {
            family.settle(plan, remove);
        }
    }
}

impl Family {
    fn settle(mut self, plan: &mut Plan, remove: &mut Vec<String>) {
        self.children.sort_by_key(|child| (child.created, child.place));
        let mut last = 0;
        let mut is_broken = false;
        for child in &self.children {
            let is_missing = plan.todo_at(child.place) == Todo::Make;
            is_broken |= is_missing || child.there.is_some_and(|there| there < last);
            last = last.max(child.there.unwrap_or(last));
            if !is_broken || is_missing {
                continue;
            }
            if !child.is_dir {
                plan.set_todo(child.place, Todo::Make);
            } else if child.place - child.first < LARGEST {
                push_topmost(remove, &child.key);
                for place in child.first..=child.place {
                    plan.set_todo(place, Todo::Make);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dump::{Header, Writer};
    use super::super::super::{Content, Scope};
    use super::*;

    /// A node: its key, its createdIndex at the source and at the target.
    type Known = (&'static str, bool, u64, Option<u64>);

    fn node(key: &str, is_dir: bool, created: u64) -> Node {
        let content = if is_dir { Content::Dir } else { Content::File(String::new()) };
        Node { key: key.to_owned(), content, created, modified: created, expiration: None }
    }

    /// What is to be made and what removed, with the trees in this order of creation.
    fn settled(nodes: &[Known]) -> (Vec<&'static str>, Vec<String>) {
        let header = Header {
            source: String::new(),
            server_version: None,
            scope: Scope::everything(),
            index: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let mut dump = Writer::begin(Vec::new(), &header).expect("memory");
        for (key, is_dir, created, _) in nodes {
            dump.node(&node(key, *is_dir, *created)).expect("in order");
        }
        let dump = dump.finish().expect("memory");
        let mut plan = Plan::read(dump.as_slice(), &mut |_| {}).expect("whole");
        let (mut families, mut remove) = (Families::default(), Vec::new());
        for (place, (key, is_dir, created, there)) in nodes.iter().enumerate() {
            let todo = if there.is_some() { Todo::Nothing } else { Todo::Make };
            plan.set_todo(place, todo);
            let there = there.map(|there| node(key, *is_dir, there));
            let wanted = node(key, *is_dir, *created);
            families.see(place, (&wanted, there.as_ref()), &mut plan, &mut remove);
        }
        families.end(&mut plan, &mut remove);
        let made = nodes.iter().enumerate();
        let made = made.filter(|(place, _)| plan.todo_at(*place) == Todo::Make);
        (made.map(|(_, (key, ..))| *key).collect(), remove)
    }

    #[test]
    fn an_order_that_is_right_stays() {
        let nodes =
            [("/a", false, 1, Some(10)), ("/b", false, 2, Some(20)), ("/c", false, 3, None)];
        assert_eq!(settled(&nodes), (vec!["/c"], vec![]));
        // The names are in another order than the creation.
        let nodes =
            [("/a", false, 3, Some(30)), ("/b", false, 2, Some(20)), ("/c", false, 4, None)];
        assert_eq!(settled(&nodes), (vec!["/c"], vec![]));
    }

    #[test]
    fn what_comes_after_a_node_that_is_missing_is_made_anew() {
        let nodes = [
            ("/a", false, 1, Some(10)),
            ("/b", false, 2, None),
            ("/c", false, 3, Some(30)),
            ("/d/e/f", false, 9, Some(90)),
            ("/d/e", true, 9, Some(90)),
            ("/d", true, 4, Some(40)),
        ];
        let all = vec!["/b", "/c", "/d/e/f", "/d/e", "/d"];
        assert_eq!(settled(&nodes), (all, vec!["/d".to_owned()]));
    }

    #[test]
    fn what_was_created_too_early_is_made_anew() {
        let nodes = [
            ("/d/a", false, 5, Some(10)),
            ("/d/b", false, 4, Some(20)),
            ("/d", true, 1, Some(10)),
            ("/e", false, 2, Some(15)),
        ];
        // `/d/a` was removed and created again at the source.
        assert_eq!(settled(&nodes), (vec!["/d/a"], vec![]));
    }
}
