//! Random writes: whatever the order, the tree stays whole, indexes rise, and a refusal changes
//! nothing.

use proptest::prelude::*;

use super::*;

fn any_draft() -> impl Strategy<Value = Draft> {
    (0..3u8, any::<bool>(), prop::bool::weighted(0.2), prop::option::of(1..40i64)).prop_map(
        |(value, dir, refresh, ttl)| {
            let value = if refresh || value == 0 { String::new() } else { value.to_string() };
            let draft = Draft { value: Value::from(value), dir, refresh, expiration: None };
            ttl.map_or(draft.clone(), |seconds| until(draft, seconds))
        },
    )
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let compare = (1..3u8, prop::option::weighted(0.2, 1..50u64)).prop_map(|(value, index)| {
        let prev_value = Some(Value::from(value.to_string()));
        Compare { prev_value, prev_index: index.map(EtcdIndex) }
    });
    let removal =
        (any::<bool>(), any::<bool>()).prop_map(|(dir, recursive)| Removal { dir, recursive });
    prop_oneof![
        4 => any_draft().prop_map(Operation::Set),
        3 => any_draft().prop_map(Operation::Create),
        1 => any_draft().prop_map(Operation::CreateInOrder),
        2 => any_draft().prop_map(Operation::Update),
        2 => (any_draft(), compare.clone()).prop_map(|(d, c)| Operation::CompareAndSwap(d, c)),
        3 => removal.prop_map(Operation::Delete),
        1 => compare.prop_map(Operation::CompareAndDelete),
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["a", "b", "_c"], 0..4)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

/// No node without its directory, no file with children, and no live node whose directory was
/// removed. (A directory that is past its expiration may still have children until the sweep.)
fn check_tree(model: &Model) {
    for item in model.items.values().filter(|item| item.removed.is_none()) {
        let Some(parent) = item.key.parent() else { continue };
        let parent = model.items.get(&parent).expect("a node has a directory");
        assert!(parent.removed.is_none() && parent.is_dir(), "{} under {parent:?}", item.key);
        assert!(parent.key.is_root() || parent.stamp().is_some(), "{} is not stamped", parent.key);
    }
}

proptest! {
    #[test]
    fn random_writes_keep_the_tree_whole(
        steps in prop::collection::vec((any_key(), any_operation(), 0..3000i64), 1..60),
        small in any::<bool>(),
    ) {
        let mut model = Model::new();
        if small {
            model.capacity = Capacity { ops: 6, bytes: 1 << 20 };
        }
        let mut highest = EtcdIndex(0);
        for (key, operation, passed_ms) in steps {
            model.now = model.now.plus_ms(passed_ms);
            let before: Vec<Item> = model.live().cloned().collect();
            let was: BTreeMap<Key, EtcdIndex> =
                model.items.iter().map(|(key, item)| (key.clone(), item.modified)).collect();
            match model.write(&key, operation) {
                Ok(Some(event)) => {
                    prop_assert!(event.node.modified > highest);
                    highest = event.node.modified;
                    prop_assert!(event.prev_node.is_none() || !event.is_created);
                }
                Ok(None) => prop_assert!(false, "only an expiry has nothing to do"),
                Err(_) => {
                    let after: Vec<Item> = model.live().cloned().collect();
                    prop_assert_eq!(before, after, "a refusal changes nothing");
                }
            }
            for (key, modified) in was {
                prop_assert!(model.items[&key].modified >= modified, "{} went back", key);
            }
            check_tree(&model);
        }
    }
}
