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
