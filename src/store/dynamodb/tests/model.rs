//! Random operations, one after the other, on the engine and on the rules' own functions: both
//! must agree on what applies and on every attribute of what is left.

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;

use super::*;
use crate::store::dynamodb::item::{PURGE, decode, encode};
use crate::v2::{Content, Dir, Removed, Writes};

/// Points in time and indexes are small, so that they meet.
fn time() -> impl Strategy<Value = UnixMs> {
    (0i64..6).prop_map(|step| UnixMs(NOW.0 + step * 700))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::from("")),
        Just(Value::from("x")),
        Just(Value::from("caf\u{e9}")),
        Just(Value::from(vec![0xff, 0x00])),
    ]
}

fn precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        Just(Precondition::Absent),
        time().prop_map(Precondition::LiveFile),
        time().prop_map(Precondition::LiveDir),
        Just(Precondition::File),
        Just(Precondition::Dir),
        value().prop_map(Precondition::Value),
        (1u64..40).prop_map(|i| Precondition::Modified(EtcdIndex(i))),
        time().prop_map(Precondition::Expiration),
        proptest::option::of((1u64..40).prop_map(EtcdIndex)).prop_map(Precondition::Stamp),
        (1u64..120).prop_map(|i| Precondition::Draining(EtcdIndex(i))),
    ]
}

/// A mutation with the least that must hold for it to have something to start from.
fn mutation() -> impl Strategy<Value = (Vec<Precondition>, Mutation)> {
    let expiration = || proptest::option::of(time());
    prop_oneof![
        (value(), expiration()).prop_map(|(value, expiration)| {
            let value = Some(value);
            (vec![], Mutation::WriteFile { value, creates: true, expiration })
        }),
        (proptest::option::of(value()), any::<bool>(), expiration()).prop_map(
            |(value, creates, expiration)| {
                let mutation = Mutation::WriteFile { value, creates, expiration };
                (vec![Precondition::File], mutation)
            }
        ),
        (any::<bool>(), expiration()).prop_map(|(stamped, expiration)| {
            (vec![], Mutation::MakeDir { stamped, expiration })
        }),
        expiration().prop_map(|expiration| {
            (vec![Precondition::Dir], Mutation::SetDirTtl { expiration })
        }),
        (1u64..40)
            .prop_map(|last| (vec![Precondition::Dir], Mutation::Stamp { last: EtcdIndex(last) })),
        (any::<bool>(), time()).prop_map(|(draining, now)| {
            (vec![Precondition::Dir], Mutation::Remove { draining, now })
        }),
        time()
            .prop_map(|now| (vec![Precondition::File], Mutation::Remove { draining: false, now })),
        Just((vec![Precondition::Item], Mutation::RuleOut)),
        time().prop_map(|now| (vec![Precondition::NoItem], Mutation::RuleOutNew { now })),
        (time(), 1u64..120).prop_map(|(now, index)| {
            (vec![Precondition::Draining(EtcdIndex(index))], Mutation::EndDrain { now })
        }),
    ]
}

#[derive(Debug, Clone)]
struct Turn {
    more: Vec<Precondition>,
    mutation: (Vec<Precondition>, Mutation),
    action: Option<Action>,
    index: u64,
}

fn turn() -> impl Strategy<Value = Turn> {
    let more = prop_oneof![
        4 => Just(Vec::new()),
        1 => proptest::collection::vec(precondition(), 1..3),
    ];
    let action = proptest::option::of(proptest::sample::select(&Action::ALL[..]));
    (more, mutation(), action, 1u64..40).prop_map(|(more, mutation, action, index)| Turn {
        more,
        mutation,
        action,
        index,
    })
}

/// One turn on the store and on the model.
async fn play(store: &DynamoDbStore, key: &Key, model: Option<Item>, turn: Turn) -> Option<Item> {
    let (mut expect, mutation) = turn.mutation;
    expect.extend(turn.more);
    let id = id(turn.index);
    let op = NodeOp { key: key.clone(), id, expect, mutation, action: turn.action };
    let result = store.commit(&Commit { id, ops: vec![Op::Node(op.clone())] }).await.unwrap();
    let next = match result {
        Committed::Applied { before } => {
            assert!(op.applies(model.as_ref()), "{op:?} applied over {model:?}");
            assert_eq!(before.expect("one part").as_deref(), model.as_ref());
            op.apply(model.as_ref())
        }
        Committed::Refused { found } => {
            assert!(!op.applies(model.as_ref()), "{op:?} refused over {model:?}");
            let [(0, found)] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(found.as_deref(), model.as_ref());
            model
        }
    };
    let held = store.client.get_item().table_name(store.table.as_str());
    let held = held.set_key(Some(store.layout.of(key).attributes())).consistent_read(true);
    let held = held.send().await.unwrap().item;
    let wanted = next.as_ref().map(|item| encode(item, store.layout.of(key)));
    assert_eq!(held, wanted, "after {op:?}");
    next
}

#[test]
fn the_store_does_what_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(async { Engine::new().store(Meter::none()).await });
    let mut keys = (0u64..).map(|number| key(&format!("/model/{number}")));
    let mut next_key = move || keys.next().expect("there is always one more");
    let next_key = std::cell::RefCell::new(&mut next_key);
    let config = ProptestConfig { cases: 150, ..ProptestConfig::default() };
    proptest!(config, |(turns in proptest::collection::vec(turn(), 1..12))| {
        let key = (next_key.borrow_mut())();
        runtime.block_on(async {
            let mut model = None;
            for (number, mut turn) in turns.into_iter().enumerate() {
                // Mostly forwards, now and then not.
                turn.index += u64::try_from(number).unwrap() * 10;
                model = play(&store, &key, model, turn).await;
            }
        });
    });
}

fn item() -> impl Strategy<Value = Item> {
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|v| Content::File(Value::from(v))),
        proptest::option::of(any::<u64>().prop_map(EtcdIndex))
            .prop_map(|stamp| Content::Dir(Dir { stamp })),
    ];
    let path = proptest::collection::vec("[^/.\u{0}]{1,4}", 1..4);
    let writes = proptest::array::uniform4((any::<u64>(), any::<u32>()));
    let removed = proptest::option::of((any::<bool>(), any::<u64>(), any::<i32>()));
    let action = proptest::option::of(proptest::sample::select(&Action::ALL[..]));
    let numbers = (any::<u64>(), any::<u64>(), proptest::option::of(any::<i64>()));
    (path, content, numbers, action, writes, removed).prop_map(
        |(path, content, (created, modified, expiration), action, writes, removed)| Item {
            key: key(&format!("/{}", path.join("/"))),
            content,
            created: EtcdIndex(created),
            modified: EtcdIndex(modified),
            expiration: expiration.map(UnixMs),
            action,
            writes: Writes::new(
                writes.map(|(index, gateway)| WriteId { index: EtcdIndex(index), gateway }),
            ),
            removed: removed.map(|(draining, before, at)| Removed {
                draining,
                before: EtcdIndex(before),
                purge_at: UnixMs(at.into()),
            }),
        },
    )
}

proptest! {
    #[test]
    fn items_are_read_as_they_were_written(item in item()) {
        let layout = Layout::new("ks").unwrap();
        let attributes = encode(&item, layout.of(&item.key));
        let read = decode(&attributes).unwrap();
        prop_assert_eq!(read.as_ref(), &item);
        prop_assert_eq!(attributes.contains_key(PURGE), item.purge_at().is_some());
    }

    #[test]
    fn what_is_not_whole_is_not_guessed(item in item(), at in any::<prop::sample::Index>()) {
        let layout = Layout::new("ks").unwrap();
        let mut attributes = encode(&item, layout.of(&item.key));
        let mut names: Vec<String> = attributes.keys().cloned().collect();
        names.retain(|name| name != "pk" && name != PURGE);
        let name = at.get(&names).clone();
        attributes.insert(name.clone(), AttributeValue::Null(true));
        prop_assert!(matches!(decode(&attributes), Err(StoreError::Corrupt(_))), "{}", name);
    }
}
