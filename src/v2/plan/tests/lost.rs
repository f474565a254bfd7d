//! Answers to writes whose replies were lost, and which others wrote over before that was found out.

use super::*;

/// What each kind of write answers when its item is found as `found`, the write being number 20 of
/// a file that was created as 10.
fn answer(operation: Operation, found: Item) -> Event {
    let write = Write { key: k("/f"), operation };
    let moment = Moment { now: START, id: id(20), capacity: CAPACITY };
    let step = plan(&write, &Known::default(), moment).expect("a guess");
    let Step::Commit(plan) = step else { panic!("a commit, not {step:?}") };
    plan.event(&Aftermath::Found(Arc::new(found)), START).expect("an event")
}

fn item(value: &str, created: u64, modified: u64) -> Item {
    Item {
        key: k("/f"),
        content: Content::File(Value::from(value)),
        created: EtcdIndex(created),
        modified: EtcdIndex(modified),
        expiration: None,
        action: None,
        writes: Writes::new([id(20)]),
        removed: None,
    }
}

fn removed(before: u64, item: Item) -> Item {
    let removed = Removed { draining: false, before: EtcdIndex(before), purge_at: START };
    Item { removed: Some(removed), ..item }
}

fn shown(event: &Event) -> (Option<&str>, u64, u64) {
    let value = event.node.value.as_ref();
    let text = value.map(|value| std::str::from_utf8(value.as_bytes()).expect("text"));
    (text, event.node.created.0, event.node.modified.0)
}

#[test]
fn a_write_shows_its_own_value_whatever_was_written_since() {
    let set = || Operation::Set(file("own"));
    let update = || Operation::Update(file("own"));
    let swap = || Operation::CompareAndSwap(file("own"), if_value("v"));
    for (name, operation, found, created) in [
        ("set, nothing since", set(), item("own", 20, 20), 20),
        ("set, then updated", set(), item("other", 20, 30), 20),
        ("set, then set", set(), item("other", 30, 30), 20),
        ("set, then removed", set(), removed(20, item("own", 20, 30)), 20),
        ("update, nothing since", update(), item("own", 10, 20), 10),
        ("update, then updated", update(), item("other", 10, 30), 10),
        ("update, then set", update(), item("other", 30, 30), 20),
        ("update, then removed", update(), removed(20, item("own", 10, 30)), 10),
        ("swap, nothing since", swap(), item("own", 10, 20), 10),
        ("swap, then swapped", swap(), item("other", 10, 30), 10),
        ("swap, then created", swap(), item("other", 30, 30), 20),
    ] {
        let event = answer(operation, found);
        assert_eq!(shown(&event), (Some("own"), created, 20), "{name}");
        assert!(event.prev_node.is_none(), "{name}: the node before is not known");
    }
}

#[test]
fn a_refresh_shows_no_value_of_others() {
    let event = answer(Operation::Update(refresh(9)), item("v", 10, 20));
    assert_eq!(shown(&event), (Some("v"), 10, 20));
    let event = answer(Operation::Update(refresh(9)), removed(20, item("v", 10, 30)));
    assert_eq!(shown(&event), (Some("v"), 10, 20), "the tombstone keeps what it left");
    let event = answer(Operation::Update(refresh(9)), item("other", 10, 30));
    assert_eq!(shown(&event), (Some(""), 10, 20));
    assert_eq!(event.node.expiration, Some(START.plus_ms(9000)), "its own");
}

#[test]
fn a_removal_shows_what_it_removed_and_nothing_that_came_since() {
    for operation in [Operation::Delete(PLAIN), Operation::CompareAndDelete(if_value("v"))] {
        let event = answer(operation.clone(), removed(15, item("v", 10, 20)));
        assert_eq!(shown(&event), (None, 10, 20));
        let prev = event.prev_node.expect("its tombstone tells");
        assert_eq!((prev.created, prev.modified), (EtcdIndex(10), EtcdIndex(15)));
        for (name, found) in [
            ("then created", item("other", 30, 30)),
            ("then created and removed", removed(30, item("other", 30, 40))),
        ] {
            let event = answer(operation.clone(), found);
            assert_eq!(shown(&event), (None, 20, 20), "{name}");
            assert!(event.prev_node.is_none(), "{name}: it removed another node");
        }
    }
}

/// Another gateway wrote the key again before it was found out that this write had happened: the
/// answer shows what this one did.
#[test]
fn what_was_written_over_since_is_shown_as_it_was_written() {
    let compare = || if_value("1");
    for (operation, action, value, keeps_created) in [
        (Operation::Set(file("2")), Action::Set, Some("2"), false),
        (Operation::Update(file("2")), Action::Update, Some("2"), true),
        (Operation::CompareAndSwap(file("2"), compare()), Action::CompareAndSwap, Some("2"), true),
        (Operation::CompareAndDelete(compare()), Action::CompareAndDelete, None, true),
    ] {
        let mut model = Model::new();
        model.write("/a", Operation::Set(file("1"))).unwrap();
        let created = model.item(&k("/a")).unwrap().created;
        let at = id(model.index + 1);
        let moment = Moment { now: START, id: at, capacity: CAPACITY };
        let write = Write { key: k("/a"), operation };
        let Ok(Step::Commit(planned)) = plan(&write, &Known::default(), moment) else {
            panic!("a guess")
        };
        assert!(model.commit(&planned.commit).is_empty());
        model.index = at.index.0;
        for later in [Operation::Set(file("3")), Operation::Delete(Removal::default())] {
            model.write("/a", later).unwrap();
            let found = Aftermath::Found(model.item(&k("/a")).unwrap());
            let event = planned.event(&found, START).unwrap();
            assert_eq!((event.action, event.node.modified), (action, at.index));
            assert_eq!(event.node.value, value.map(Value::from), "{action:?}");
            let made = event.node.created;
            assert!(made <= at.index, "{action:?}: created {made} after {}", at.index);
            assert!(keeps_created || made == at.index, "{action:?}: {made}, not {created}");
            assert_eq!(event.prev_node, None, "it is not known any more");
        }
    }
}
