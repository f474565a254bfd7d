//! What a change of an item tells: the event that the gateway which made it told its own watchers.
//!
//! A feed of changes shows items before and after, whichever gateway wrote. What is in the item
//! is enough: the action, and the id of the last write of each gateway. Invariant: a change that
//! is no write of a node (a stamp, the end of a drain, a purge, the same item once more) tells
//! nothing, and no write tells more than one thing.

use super::index::{EtcdIndex, UnixMs};
use super::item::{Item, WriteId};
use super::key::Key;
use super::node::Event;

/// What a change of one item tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Nothing to anybody.
    Nothing,
    /// An event, and which write it was.
    Event(Box<Event>, WriteId),
    /// The node went with a directory above it, whose removal is the event.
    Went {
        /// The node's key.
        key: Key,
        /// Its createdIndex.
        created: EtcdIndex,
        /// The write that removed it: the directory's, or a later one.
        id: WriteId,
    },
}

/// What the change from `before` to `after` tells, at this time.
pub fn told(before: Option<&Item>, after: Option<&Item>, now: UnixMs) -> Told {
    // An item that vanishes was purged: its node went before, and was told of then.
    let Some(after) = after else { return Told::Nothing };
    let Some(id) = last_write(before, after) else { return Told::Nothing };
    let live_before = before.filter(|item| item.removed.is_none());
    match after.action {
        Some(action) => {
            let prev_node = live_before.map(|item| item.node(now));
            let is_new = prev_node.is_none();
            let event = Event::of_write(action, id.index, after.node(now), prev_node, is_new);
            Told::Event(Box::new(event), id)
        }
        None if after.removed.is_some() => {
            Told::Went { key: after.key.clone(), created: after.created, id }
        }
        // A refresh, or a directory that was made for the sake of what is below it.
        None => Told::Nothing,
    }
}

/// The write that made the difference. Stamps and ends of drains leave no id, and what rules out a
/// write is none.
fn last_write(before: Option<&Item>, after: &Item) -> Option<WriteId> {
    let known = before.map_or(&[][..], |item| item.writes.ids());
    let new = after.writes.ids().iter().filter(|id| !known.contains(id) && !id.is_ruling());
    new.max_by_key(|id| id.index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::{Action, Content, Removed};
    use crate::v2::{Dir, Mutation, NodeOp, Precondition, Value};

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn id(index: u64) -> WriteId {
        WriteId { index: EtcdIndex(index), gateway: 3 }
    }

    fn apply(before: Option<&Item>, mutation: Mutation, action: Option<Action>, at: u64) -> Item {
        let key = Key::parse(b"/d/f").expect("clean");
        let expect = Vec::<Precondition>::new();
        let op = NodeOp { key, id: id(at), expect, mutation, action };
        op.apply(before).expect("it applies")
    }

    fn file(value: &str) -> Mutation {
        let value = Some(Value::from(value));
        Mutation::WriteFile { value, creates: true, expiration: None }
    }

    fn remove(draining: bool) -> Mutation {
        Mutation::Remove { draining, now: NOW }
    }

    fn what(told: &Told) -> (Action, u64, bool) {
        match told {
            Told::Event(event, id) => {
                assert_eq!(event.node.modified, id.index);
                (event.action, id.index.0, event.prev_node.is_some())
            }
            Told::Nothing | Told::Went { .. } => panic!("no event: {told:?}"),
        }
    }

    #[test]
    fn writes_of_a_file_are_told() {
        let first = apply(None, file("1"), Some(Action::Create), 10);
        assert_eq!(what(&told(None, Some(&first), NOW)), (Action::Create, 10, false));
        let second = apply(Some(&first), file("2"), Some(Action::Set), 20);
        assert_eq!(what(&told(Some(&first), Some(&second), NOW)), (Action::Set, 20, true));
        let gone = apply(Some(&second), remove(false), Some(Action::Expire), 30);
        let expired = told(Some(&second), Some(&gone), NOW);
        assert_eq!(what(&expired), (Action::Expire, 30, true));
        let again = apply(Some(&gone), file("3"), Some(Action::Set), 40);
        let Told::Event(event, _) = told(Some(&gone), Some(&again), NOW) else { panic!() };
        assert!(event.is_created && event.prev_node.is_none(), "a tombstone is no node");
    }

    #[test]
    fn what_is_no_write_of_a_node_tells_nothing() {
        let made = apply(None, Mutation::MakeDir { stamped: true, expiration: None }, None, 10);
        assert_eq!(told(None, Some(&made), NOW), Told::Nothing, "an implicit parent");
        let set = apply(
            None,
            Mutation::MakeDir { stamped: false, expiration: None },
            Some(Action::Set),
            10,
        );
        let stamped = apply(Some(&set), Mutation::Stamp { last: EtcdIndex(20) }, None, 20);
        assert_eq!(told(Some(&set), Some(&stamped), NOW), Told::Nothing, "a stamp");
        assert_eq!(told(Some(&set), Some(&set), NOW), Told::Nothing, "the same once more");
        let drains = apply(Some(&stamped), remove(true), Some(Action::Delete), 30);
        assert_eq!(what(&told(Some(&stamped), Some(&drains), NOW)), (Action::Delete, 30, true));
        let drained = apply(Some(&drains), Mutation::EndDrain { now: NOW }, None, 40);
        assert_eq!(told(Some(&drains), Some(&drained), NOW), Told::Nothing, "the end of a drain");
        assert_eq!(told(Some(&drained), None, NOW), Told::Nothing, "a purge");
        let keeps = Mutation::WriteFile { value: None, creates: false, expiration: Some(NOW) };
        let there = apply(None, file("1"), Some(Action::Set), 10);
        let refreshed = apply(Some(&there), keeps, None, 20);
        assert_eq!(told(Some(&there), Some(&refreshed), NOW), Told::Nothing, "a refresh");
        let rules = |mutation, before| {
            let key = Key::parse(b"/d/f").expect("clean");
            let id = id(30).ruled_out();
            NodeOp { key, id, expect: Vec::new(), mutation, action: None }.apply(before)
        };
        let ruled_out = rules(Mutation::RuleOut, Some(&there));
        assert_eq!(told(Some(&there), ruled_out.as_ref(), NOW), Told::Nothing, "what was refused");
        let ruled_out = rules(Mutation::RuleOutNew { now: NOW }, None);
        assert_eq!(told(None, ruled_out.as_ref(), NOW), Told::Nothing, "refused where nothing is");
    }

    #[test]
    fn a_node_that_goes_with_its_directory_says_so() {
        let there = apply(None, file("1"), Some(Action::Set), 10);
        let gone = apply(Some(&there), remove(false), None, 20);
        let key = Key::parse(b"/d/f").expect("clean");
        let expected = Told::Went { key, created: EtcdIndex(10), id: id(20) };
        assert_eq!(told(Some(&there), Some(&gone), NOW), expected);
    }

    #[test]
    fn a_directory_s_ttl_is_told_with_the_index_of_the_change() {
        let made = apply(
            None,
            Mutation::MakeDir { stamped: false, expiration: None },
            Some(Action::Set),
            10,
        );
        let set = Mutation::SetDirTtl { expiration: Some(NOW.plus_ms(9_000)) };
        let set = apply(Some(&made), set, Some(Action::Update), 20);
        assert_eq!(
            (set.modified, &set.content),
            (EtcdIndex(10), &Content::Dir(Dir { stamp: Some(EtcdIndex(20)) }))
        );
        let Told::Event(event, _) = told(Some(&made), Some(&set), NOW) else { panic!() };
        assert_eq!((event.node.modified, event.node.ttl), (EtcdIndex(20), 9));
        assert_eq!(event.prev_node.map(|prev| prev.modified), Some(EtcdIndex(10)));
        assert!(set.removed.is_none_or(|_: Removed| false));
    }
}
