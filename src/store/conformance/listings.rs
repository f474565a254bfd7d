//! Reading several items: levels, pages, keys of any bytes, sizes.

use super::*;

fn small(keys: &[Key]) -> Vec<(Key, Value)> {
    keys.iter().map(|key| (key.clone(), Value::from("v"))).collect()
}

pub(crate) async fn a_level_holds_the_items_of_its_depth_and_nothing_else<S: Store>(
    store: &S,
    second: &S,
) {
    let mut ids = Ids::new();
    let dir = Mutation::MakeDir { stamped: true, expiration: None };
    for root_or_dir in [Key::root(), key("/a")] {
        let made = op(&root_or_dir, vec![Precondition::Absent], dir.clone());
        apply(store, &one(ids.next(), made)).await;
    }
    let paths = [
        "/a-",
        "/a.b",
        "/ab",
        "/_h",
        "/a/x",
        "/a/_h",
        "/a/x-y",
        "/a0",
        "/a/b/1",
        "/a/b/2",
        "/a/bb/1",
        "/ab/b/1",
        "/a/b/c/d",
        "/a/\u{7f}/z",
        "/b/a/b",
        "/a-/x/y",
        "/a/\u{10ffff}",
    ];
    fill(store, &mut ids, small(&paths.map(key))).await;
    let remove = Mutation::Remove { draining: false, now: NOW };
    apply(store, &one(ids.next(), op(&key("/a/x-y"), vec![Precondition::File], remove))).await;

    let keys = |paths: &[&str]| {
        let mut keys: Vec<Key> = paths.iter().map(|path| key(path)).collect();
        keys.sort();
        keys
    };
    let top = ["/_h", "/a", "/a-", "/a.b", "/a0", "/ab"];
    assert_eq!(listed(second, &Key::root(), 1).await, keys(&top));
    let in_a = ["/a/_h", "/a/x", "/a/x-y", "/a/\u{10ffff}"];
    assert_eq!(listed(second, &key("/a"), 2).await, keys(&in_a), "with its tombstones");
    let below_a = ["/a/b/1", "/a/b/2", "/a/bb/1", "/a/\u{7f}/z"];
    assert_eq!(listed(second, &key("/a"), 3).await, keys(&below_a));
    assert_eq!(listed(second, &key("/a/b"), 3).await, keys(&["/a/b/1", "/a/b/2"]));
    assert_eq!(listed(second, &key("/a"), 4).await, keys(&["/a/b/c/d"]));
    assert_eq!(listed(second, &key("/a"), 9).await, []);
    assert_eq!(listed(second, &key("/a/x"), 3).await, []);
    assert_eq!(listed(second, &key("/nowhere"), 2).await, []);
}

pub(crate) async fn keys_are_bytes<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let mut keys: Vec<Key> = [
        &b"/k/\xff"[..],
        b"/k/\xfe",
        b"/k/%FF",
        b"/k/%ff",
        b"/k/%",
        b"/k/%25",
        b"/k/\xc3\xa9",
        b"/k/\xc3",
        b"/k/e\xcc\x81",
        b"/k/ ",
        b"/k/\0",
        b"/k/\n",
        b"/k/a\\",
        b"/k/'\"",
        b"/k/+",
        b"/k/...",
        b"/k/\xef\xbf\xbd",
    ]
    .map(|path| Key::parse(path).unwrap())
    .into();
    keys.sort();
    let value = |key: &Key| Value::from(key.as_bytes());
    fill(store, &mut ids, keys.iter().map(|key| (key.clone(), value(key))).collect()).await;
    assert_eq!(listed(second, &key("/k"), 2).await, keys);
    for key in &keys {
        let item = get(second, key).await.expect("it was written");
        assert_eq!((&item.key, &item.content), (key, &crate::v2::Content::File(value(key))));
    }
    let deep = Key::parse(format!("/\u{20ac}%{}", "/x".repeat(60)).as_bytes()).unwrap();
    fill(store, &mut ids, small(std::slice::from_ref(&deep))).await;
    assert_eq!(listed(second, &deep.parent().unwrap(), 61).await, std::slice::from_ref(&deep));
    assert_eq!(listed(second, &deep.ancestors()[0], 61).await, [deep]);
}

pub(crate) async fn a_long_level_comes_in_pages<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let keys: Vec<Key> = (0..1500).map(|n| key(&format!("/long/{n:04}"))).collect();
    fill(store, &mut ids, small(&keys)).await;
    fill(store, &mut ids, small(&[key("/long-"), key("/long/0000/below"), key("/longer")])).await;
    assert_eq!(listed(second, &key("/long"), 2).await, keys);
}

pub(crate) async fn a_level_of_large_items_comes_in_pages<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let keys: Vec<Key> = (0..30).map(|n| key(&format!("/heavy/{n:02}"))).collect();
    let heavy = Value::from(vec![b'h'; 100 * 1024]);
    fill(store, &mut ids, keys.iter().map(|key| (key.clone(), heavy.clone())).collect()).await;
    assert_eq!(listed(second, &key("/heavy"), 2).await, keys);
    let items = second.get_many(&keys).await.unwrap();
    assert!(items.iter().flatten().map(|item| &item.key).eq(&keys));
}

pub(crate) async fn an_item_that_stays_is_listed_once_whatever_changes_beside_it<S: Store>(
    store: &S,
    second: &S,
) {
    let mut ids = Ids::new();
    let keys: Vec<Key> = (0..40).map(|n| key(&format!("/busy/{n:02}"))).collect();
    let heavy = Value::from(vec![b'h'; 60 * 1024]);
    fill(store, &mut ids, keys.iter().map(|key| (key.clone(), heavy.clone())).collect()).await;
    let small_ones: Vec<Key> = (0..1100).map(|n| key(&format!("/busy/15-{n:04}"))).collect();
    fill(store, &mut ids, small(&small_ones)).await;

    let below = key("/busy");
    let (mut seen, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = second.list(Level { below: &below, depth: 2, from }, Consistency::Strong);
        let page = page.await.unwrap();
        seen.extend(page.items.iter().map(|item| item.key.clone()));
        let Some(next) = page.next else { break };
        from = Some(next);
        pages += 1;
        // The last item of the page among them: where the next one begins must not depend on it.
        let last = page.items.last().map_or(&keys[0], |item| &item.key);
        let write = op(last, vec![Precondition::File], file("changed"));
        apply(store, &one(ids.next(), write)).await;
        let new = [key(&format!("/busy/00-{pages}")), key(&format!("/busy/39-{pages}"))];
        fill(store, &mut ids, small(&new)).await;
    }
    let mut stayed: Vec<Key> =
        seen.into_iter().filter(|k| keys.contains(k) || small_ones.contains(k)).collect();
    stayed.sort();
    let mut all: Vec<Key> = keys.into_iter().chain(small_ones).collect();
    all.sort();
    assert_eq!(stayed, all);
}

pub(crate) async fn many_items_come_in_the_order_of_their_keys<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let mut keys: Vec<Key> = (0..230).map(|n| key(&format!("/many/{n:03}"))).collect();
    let (there, _): (Vec<_>, Vec<_>) = (0..230).partition(|n| n % 3 > 0);
    fill(store, &mut ids, small(&there.iter().map(|n| keys[*n].clone()).collect::<Vec<_>>())).await;
    fastrand::shuffle(&mut keys);
    let items = second.get_many(&keys).await.unwrap();
    assert_eq!(items.len(), keys.len());
    for (item, wanted) in items.iter().zip(&keys) {
        assert_eq!(item, &get(store, wanted).await, "{wanted}");
    }
    assert_eq!(items.iter().flatten().count(), there.len());
    assert_eq!(second.get_many(&[]).await.unwrap(), []);
}

pub(crate) async fn the_largest_item_is_taken<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    let limits = store.limits();
    let longest = format!("/{}", "k".repeat(limits.key_bytes - 1));
    fill(store, &mut ids, small(&[key(&longest)])).await;
    assert!(get(second, &key(&longest)).await.is_some());

    let largest = key("/largest");
    let room = (limits.item_bytes - largest.as_bytes().len()).min(10 * 1024 * 1024);
    fill(store, &mut ids, vec![(largest.clone(), Value::from(vec![0xff; room]))]).await;
    let item = get(second, &largest).await.expect("it was written");
    let crate::v2::Content::File(value) = &item.content else { panic!("no file") };
    assert_eq!(value.as_bytes().len(), room);
    let remove = Mutation::Remove { draining: false, now: NOW };
    let removed = one(ids.next(), op(&largest, vec![Precondition::File], remove));
    let before = apply(store, &removed).await;
    assert!(before.is_none_or(|before| before == Some(item)));
}
