//! What is written is read back; what is not ours is named, not guessed at.

use proptest::prelude::*;

use super::*;

fn key() -> impl Strategy<Value = Key> {
    let part = prop::collection::vec(any::<u8>(), 1..6)
        .prop_filter("a clean part", |part| !part.contains(&b'/') && part != b"." && part != b"..");
    prop::collection::vec(part, 0..4)
        .prop_map(|parts| parts.iter().fold(Key::root(), |key, part| key.child(part)))
}

fn index() -> impl Strategy<Value = EtcdIndex> {
    (0..1_u64 << 53).prop_map(EtcdIndex)
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(&Action::ALL[..])
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| Content::File(Value::from(bytes))),
        prop::option::of(index()).prop_map(|stamp| Content::Dir(Dir { stamp })),
    ]
}

fn writes() -> impl Strategy<Value = Writes> {
    let id = (0..9_u64, any::<u32>())
        .prop_map(|(index, nonce)| WriteId { index: EtcdIndex(index), nonce: nonce % 3 });
    prop::collection::vec(id, 1..9).prop_map(|ids| {
        ids.iter().skip(1).fold(Writes::first(ids[0]), |writes, id| writes.then(*id))
    })
}

fn item() -> impl Strategy<Value = Item> {
    let removed = (any::<bool>(), any::<i64>())
        .prop_map(|(draining, at)| Removed { draining, purge_at: UnixMs(at) });
    (
        (key(), content(), index(), index()),
        prop::option::of(any::<i64>().prop_map(UnixMs)),
        prop::option::of(action()),
        writes(),
        prop::option::of(removed),
    )
        .prop_map(
            |((key, content, created, modified), expiration, action, writes, removed)| Item {
                key,
                content,
                created,
                modified,
                expiration,
                action,
                writes,
                removed,
            },
        )
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(schema, cluster_id, member_id)| {
            Record::Identity { schema, cluster_id, member_id }
        }),
        (key(), any::<i64>()).prop_map(|(key, at)| Record::DirTtl { key, expiration: UnixMs(at) }),
        (key(), index(), action()).prop_map(|(key, index, action)| Record::Drain {
            key,
            index,
            action
        }),
    ]
}

proptest! {
    #[test]
    fn an_item_is_read_back(item in item()) {
        let bytes = item_to_bytes(&item);
        prop_assert_eq!(item_from_bytes(item.key.clone(), &bytes), Ok(item));
    }

    #[test]
    fn a_record_is_read_back(record in record()) {
        prop_assert_eq!(record_from_bytes(&record_to_bytes(&record)), Ok(record));
    }

    #[test]
    fn a_cut_or_longer_item_is_unreadable(item in item(), at in any::<prop::sample::Index>()) {
        let mut bytes = item_to_bytes(&item);
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(item_from_bytes(item.key.clone(), cut).is_err());
        bytes.push(0);
        prop_assert!(item_from_bytes(item.key.clone(), &bytes).is_err());
    }

    #[test]
    fn any_bytes_are_an_item_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = item_from_bytes(Key::root(), &bytes);
        let _ = record_from_bytes(&bytes);
    }
}

#[test]
fn the_layout_does_not_change() {
    let item = Item {
        key: Key::parse(b"/a").unwrap(),
        content: Content::File(Value::from("hi")),
        created: EtcdIndex(1),
        modified: EtcdIndex(300),
        expiration: Some(UnixMs(-2)),
        action: Some(Action::Update),
        writes: Writes::first(WriteId { index: EtcdIndex(1), nonce: 9 })
            .then(WriteId { index: EtcdIndex(300), nonce: 8 }),
        removed: None,
    };
    let bytes = [1, 0, 2, b'h', b'i', 1, 0xac, 2, 1, 3, 1, 3, 2, 0xac, 2, 8, 1, 9, 0];
    assert_eq!(item_to_bytes(&item), bytes);
    assert_eq!(item_from_bytes(item.key.clone(), &bytes), Ok(item));
}

#[test]
fn a_later_layout_is_named() {
    let error = item_from_bytes(Key::root(), &[2, 0]).unwrap_err();
    assert_eq!(error.to_string(), "its layout is 2, known is 1");
    assert!(record_from_bytes(&[]).is_err());
}
