//! Holds a dump against a server, node by node, and takes down in the plan what is left to do.
//!
//! Both come in one order ([`super::super::order`]), so nothing is kept but the keys at the server
//! that the dump does not have, of those only the topmost, and for a mirror the keys of one directory
//! and of those above it.
//!
//! Not here: what `verify` tells ([`super::super::compare`]). Invariant: nothing is changed.

use std::cmp::Ordering;

use super::super::compare::is_same_expiration;
use super::super::dump::Reader;
use super::super::node::is_below;
use super::super::snapshot::Snapshot;
use super::super::ttl::{Left, left, now};
use super::super::{Content, Node, order};
use super::Fatal;
use super::plan::{Plan, Todo};
use super::spool::Spool;
use super::succession::Families;
use super::target::Target;

/// What becomes of nodes at the target that the source does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::migrate) enum Extra {
    /// They stay.
    Stay,
    /// They go: the target is a mirror.
    Go,
}

/// What a look at the target showed, beside what is in the plan.
#[derive(Debug, Default)]
pub(in crate::migrate) struct Joined {
    /// Nodes to remove with all below them, before anything is written.
    pub(in crate::migrate) remove: Vec<String>,
}

/// Takes down in `plan` what has to be done to make the target equal.
pub(in crate::migrate) async fn join(
    plan: &mut Plan,
    spool: &Spool,
    target: &Target,
    extra: Extra,
) -> Result<Joined, Fatal> {
    let scope = plan.header().scope.clone();
    let there = Snapshot::open_if_there(target.client(), &scope).await;
    let mut there = there.map_err(Fatal::TargetTree)?;
    let mut dump = Reader::begin(spool.read()).map_err(Fatal::Dump)?;
    let mut joined = Joined::default();
    let mut wanted = dump.next().map_err(Fatal::Dump)?;
    let mut found = next(&mut there).await?;
    let mut families = Families::default();
    let mut place = 0;
    while wanted.is_some() || found.is_some() {
        let order = match (&wanted, &found) {
            (Some(wanted), Some(found)) => order::compare(&wanted.node.key, &found.key),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        if let (Some(wanted), true) = (&wanted, order.is_le()) {
            let beside = found.as_ref().filter(|_| order.is_eq());
            let todo = judge(&wanted.node, beside, extra, &mut joined.remove);
            plan.set_todo(place, todo);
            if extra == Extra::Go && left(wanted.node.expiration, now()) != Left::Nothing {
                families.see(place, (&wanted.node, beside), plan, &mut joined.remove);
            }
        } else if let Some(found) = &found {
            joined.remove_tree(&found.key);
        }
        if order.is_le() {
            place += 1;
            wanted = dump.next().map_err(Fatal::Dump)?;
        }
        if order.is_ge() {
            found = next(&mut there).await?;
        }
    }
    families.end(plan, &mut joined.remove);
    if extra == Extra::Stay {
        joined.remove.clear();
    }
    Ok(joined)
}

async fn next(snapshot: &mut Option<Snapshot<'_>>) -> Result<Option<Node>, Fatal> {
    match snapshot {
        None => Ok(None),
        Some(snapshot) => snapshot.next().await.map_err(Fatal::TargetTree),
    }
}

impl Joined {
    /// A node with all below it, which came before it.
    fn remove_tree(&mut self, key: &str) {
        push_topmost(&mut self.remove, key);
    }
}

pub(super) fn push_topmost(keys: &mut Vec<String>, key: &str) {
    while keys.pop_if(|last| is_below(last, key)).is_some() {}
    keys.push(key.to_owned());
}

/// What is to be done for a node, with what is in its place.
fn judge(wanted: &Node, found: Option<&Node>, extra: Extra, remove: &mut Vec<String>) -> Todo {
    let Some(found) = found else { return Todo::Make };
    let is_over = left(wanted.expiration, now()) == Left::Nothing;
    if extra == Extra::Go && is_over {
        push_topmost(remove, &found.key);
        return Todo::Make;
    }
    match (&wanted.content, &found.content) {
        (Content::File(_), Content::Dir) => {
            push_topmost(remove, &found.key);
            Todo::Make
        }
        (Content::Dir, Content::File(_)) => Todo::Make,
        (wanted_content, found_content) => {
            let is_same = wanted_content == found_content
                && is_same_expiration(wanted.expiration, found.expiration);
            if is_same { Todo::Nothing } else { Todo::Change }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn node(key: &str, content: Content, seconds: Option<i64>) -> Node {
        let expiration = seconds.map(|seconds| {
            now().checked_add(SignedDuration::from_secs(seconds)).expect("in this century")
        });
        Node { key: key.to_owned(), content, created: 1, modified: 1, expiration }
    }

    fn file(value: &str, seconds: Option<i64>) -> Node {
        node("/a", Content::File(value.to_owned()), seconds)
    }

    fn dir(seconds: Option<i64>) -> Node {
        node("/a", Content::Dir, seconds)
    }

    #[test]
    fn what_is_to_be_done_for_a_node() {
        for (wanted, found, expected, removed) in [
            (file("v", None), None, Todo::Make, false),
            (file("v", None), Some(file("v", None)), Todo::Nothing, false),
            (file("v", None), Some(file("w", None)), Todo::Change, false),
            (file("v", None), Some(file("v", Some(60))), Todo::Change, false),
            (file("v", Some(60)), Some(file("v", None)), Todo::Change, false),
            (file("v", Some(60)), Some(file("v", Some(61))), Todo::Nothing, false),
            (file("v", Some(60)), Some(file("v", Some(70))), Todo::Change, false),
            (file("v", None), Some(dir(None)), Todo::Make, true),
            (dir(None), Some(file("v", None)), Todo::Make, false),
            (dir(None), Some(dir(None)), Todo::Nothing, false),
            (dir(Some(60)), Some(dir(None)), Todo::Change, false),
            (file("v", Some(-1)), Some(file("v", None)), Todo::Make, true),
            (dir(Some(-1)), Some(dir(None)), Todo::Make, true),
        ] {
            let mut remove = Vec::new();
            let todo = judge(&wanted, found.as_ref(), Extra::Go, &mut remove);
            assert_eq!((todo, !remove.is_empty()), (expected, removed), "{wanted:?} {found:?}");
        }
    }

    #[test]
    fn where_nothing_is_removed_what_is_over_is_ended_by_its_own_time() {
        let mut remove = Vec::new();
        let todo = judge(&dir(Some(-1)), Some(&dir(None)), Extra::Stay, &mut remove);
        assert_eq!((todo, remove.len()), (Todo::Change, 0));
    }

    #[test]
    fn only_the_topmost_of_what_goes_is_named() {
        let mut joined = Joined::default();
        for key in ["/a/b/c", "/a/b/d", "/a/b", "/a", "/a-b", "/b/c"] {
            joined.remove_tree(key);
        }
        assert_eq!(joined.remove, ["/a", "/a-b", "/b/c"]);
    }
}
