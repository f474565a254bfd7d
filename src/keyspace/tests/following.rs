//! Several gateways on one table: what each tells of the others' writes, on an engine in this
//! process with a real stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::watches::{begin, keep_house, of, stream};
use super::*;
use crate::store::dynamodb::{DynamoDbStore, Meter};
use crate::store::{Fed, Feed};
use crate::v2::{Told, told};

pub(super) type OnTable = Keyspace<DynamoDbStore>;

pub(super) const FOLLOWS: Config =
    Config { watch_window: Some(1000), watch_reach: Reach::All, ..CONFIG };

/// A gateway by the machine's clock, which keeps house.
pub(super) async fn gateway(store: &DynamoDbStore) -> Arc<OnTable> {
    let wall: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
    let gateway = Keyspace::open(store.clone(), clock, FOLLOWS).await.expect("the keyspace opens");
    let gateway = Arc::new(gateway);
    drop(keep_house(&gateway));
    gateway
}

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes soon")
}

async fn next(watcher: &mut Watcher) -> Event {
    Event::clone(&*soon(watcher.next()).await.expect("an event"))
}

/// Reads anew and watches from there, as a client does that was refused or ended. It may be refused
/// once more right after the feed began.
async fn resume<S: Store>(gateway: &Keyspace<S>, dir: &str) -> Watcher {
    for _ in 0..2 {
        let index = get(gateway, dir).await.expect("there").index;
        let watch = of(&format!("{dir}/**"), index.next());
        if let Ok(watching) = soon(gateway.watch(watch)).await {
            return watching.watcher;
        }
    }
    panic!("refused again and again");
}

/// The same event by another gateway's clock.
fn timeless(event: Event) -> Event {
    let timeless = |node: Node| Node { ttl: 0, ..node };
    Event { node: timeless(event.node), prev_node: event.prev_node.map(timeless), ..event }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_gateway_writes_is_told_as_it_was_answered() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let (here, there) = (gateway(&store).await, gateway(&store).await);
    let mut watcher = soon(begin(&here, stream("/**"))).await;
    let compare = |value| Compare { prev_value: Some(Value::from(value)), prev_index: None };
    let ttl = crate::v2::expiration_after(here.now(), 500);
    let lasting = Draft { expiration: Some(ttl), ..Draft::default() };
    for (key, operation) in [
        ("/d/f", Operation::Set(file("1"))),
        ("/d/f", Operation::Set(Draft { expiration: Some(ttl), ..file("1") })),
        ("/d/f", Operation::Update(file("2"))),
        ("/d/f", Operation::CompareAndSwap(file("3"), compare("2"))),
        ("/d/f", Operation::CompareAndDelete(compare("3"))),
        ("/d/f", Operation::Create(file("4"))),
        ("/d", Operation::CreateInOrder(file("5"))),
        ("/d", Operation::Update(lasting.clone())),
        ("/e", Operation::Set(Draft { dir: true, ..lasting })),
        ("/e", Operation::Delete(Removal { dir: true, recursive: false })),
        ("/d", Operation::Delete(TREE)),
    ] {
        let answer = write(&there, key, operation).await.expect("it goes through");
        assert_eq!(timeless(next(&mut watcher).await), timeless(answer.event));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_go_with_a_directory_elsewhere_are_told_however_large_it_is() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let (here, there) = (gateway(&store).await, gateway(&store).await);
    for size in [3, 120] {
        for n in 0..size {
            put(&there, &format!("/d/a/{n}"), "v").await;
        }
        let mut inside = Vec::new();
        for key in ["/d", "/d/a", "/d/a/**", "/d/a/2", "/**"] {
            inside.push((key, soon(begin(&here, stream(key))).await));
        }
        let mut outside = soon(begin(&here, of("/d/never", None))).await;
        let answer = write(&there, "/d", Operation::Delete(TREE)).await.expect("a delete");
        for (key, watcher) in &mut inside {
            let mut told = next(watcher).await;
            while told.action == Action::Set {
                // Written before the watch began, and come here after it.
                told = next(watcher).await;
            }
            assert_eq!((told.action, &told.node), (Action::Delete, &answer.event.node), "{key}");
        }
        assert!(futures_util::poll!(std::pin::pin!(outside.next())).is_pending());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_and_a_watch_from_its_index_miss_nothing() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let (here, there) = (gateway(&store).await, gateway(&store).await);
    let written = put(&there, "/d/f", "0").await.index;
    // Nobody watched yet: the first index cannot be looked back to, the next one can.
    let index = get(&here, "/d").await.expect("there").index;
    // Nor is it one of the other gateway's, whose clock may be ahead: a listing is no snapshot, and
    // the feed may begin below such an index.
    assert!(index < written, "{index} covers {written}");
    let refused = soon(here.watch(of("/d/**", index.next()))).await.expect_err("asleep");
    assert_eq!(refused.code, ErrorCode::EventIndexCleared);
    for turn in 0..5 {
        let index = get(&here, "/d").await.expect("there").index;
        let answer = put(&there, "/d/f", &format!("{turn}")).await;
        let mut since = index.next();
        loop {
            let mut watcher = soon(begin(&here, of("/d/**", since))).await;
            let event = next(&mut watcher).await;
            since = event.node.modified.next();
            // What the read showed already may be told once more.
            if event == answer.event {
                break;
            }
            assert!(event.node.modified < answer.index, "nothing else comes");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_index_on_one_key_does_not_spin_after_a_start() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let old = put(&*gateway(&store).await, "/leader", "a").await.index;
    let here = gateway(&store).await;
    let mut watcher = soon(begin(&here, of("/leader", old.next()))).await;
    // An index that says nothing of the item: another gateway may have had a slower clock.
    let later = EtcdIndex(old.0 + 10);
    let refused = soon(here.watch(of("/leader", later))).await.expect_err("not proven");
    assert_eq!(refused.code, ErrorCode::EventIndexCleared);
    let there = gateway(&store).await;
    let answer = put(&there, "/leader", "b").await;
    assert_eq!(next(&mut watcher).await, answer.event);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_others_and_of_before_expire_while_somebody_watches() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let before = gateway(&store).await;
    let brief = |seconds| {
        let expiration = Some(crate::v2::expiration_after(before.now(), seconds));
        Operation::Set(Draft { expiration, ..file("v") })
    };
    write(&before, "/d/before", brief(2)).await.expect("a set");
    write(&before, "/other", brief(1)).await.expect("a set");
    let (here, there) = (gateway(&store).await, gateway(&store).await);
    let mut below = soon(begin(&here, stream("/d/**"))).await;
    let mut one = soon(begin(&there, of("/d/before", None))).await;
    write(&before, "/d/after", brief(1)).await.expect("a set");
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = next(&mut below).await;
        told.push((event.action, event.node.key.to_string()));
    }
    let expected =
        [(Action::Set, "/d/after"), (Action::Expire, "/d/after"), (Action::Expire, "/d/before")];
    assert_eq!(told, expected.map(|(action, key)| (action, key.to_owned())));
    assert_eq!(next(&mut one).await.action, Action::Expire);
    // Nobody watched this one, and nobody paid for its end.
    let left = store.get(&k("/other"), Consistency::Strong).await.expect("a read");
    assert!(left.is_some_and(|item| item.removed.is_none()));
}

/// What the feed tells of random writes is what their own gateway told its watchers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_tells_what_the_writing_gateway_tells() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let here = gateway(&store).await;
    let mut told_here = soon(begin(&here, stream("/**"))).await;
    let mut feed = store.feed().await.expect("a feed");
    let mut answers = BTreeMap::new();
    for _ in 0..150 {
        let part = |random: &mut fastrand::Rng| *random.choice(&["a", "b"]).expect("two");
        let depth = random.usize(1..4);
        let key: String = (0..depth).map(|_| format!("/{}", part(&mut random))).collect();
        let ttl = Some(crate::v2::expiration_after(here.now(), 1000)).filter(|_| random.bool());
        let draft = Draft { expiration: ttl, ..file(part(&mut random)) };
        let compare = Compare { prev_value: Some(Value::from("a")), prev_index: None };
        let operation = match random.u8(..9) {
            0 | 1 => Operation::Set(draft),
            2 => Operation::Create(Draft { dir: random.bool(), ..draft }),
            3 => Operation::CreateInOrder(draft),
            4 => Operation::Delete(Removal { dir: true, recursive: random.bool() }),
            5 => Operation::CompareAndSwap(draft, compare),
            6 => Operation::CompareAndDelete(compare),
            7 => Operation::Update(Draft { value: Value::default(), ..draft }),
            _ => Operation::Update(Draft { refresh: true, ..draft }),
        };
        if let Ok(answer) = write(&here, &key, operation).await {
            let place = (answer.event.node.modified, answer.event.node.key.clone());
            answers.insert(place, timeless(answer.event));
        }
    }
    let mut fed = BTreeMap::new();
    loop {
        match feed.next().await {
            Fed::Changes(changes) => {
                for change in changes {
                    let now = here.now();
                    match told(change.before.as_deref(), change.after.as_deref(), now) {
                        Told::Event(event, id) => {
                            let place = (id.index, event.node.key.clone());
                            assert_eq!(fed.insert(place, timeless(*event)), None, "told once");
                        }
                        Told::Nothing | Told::Went { .. } => {}
                    }
                }
            }
            Fed::Sign(_) => {}
            Fed::Round(_) => break,
            Fed::Gap(why) => panic!("{why}"),
        }
    }
    answers.retain(|_, event| !event.is_refresh);
    assert!(answers.len() > 30, "most goes through");
    assert_eq!(fed, answers, "seed {seed}");
    for event in answers.into_values() {
        // One that hears of its own node's removal is told twice, as in etcd; the root is not.
        assert_eq!(timeless(next(&mut told_here).await), event);
    }
}

/// A feed that a test can stop, or break.
#[derive(Clone)]
struct Unsteady {
    inner: DynamoDbStore,
    stands_still: Arc<AtomicBool>,
    has_gap: Arc<AtomicBool>,
}

struct UnsteadyFeed {
    inner: <DynamoDbStore as Store>::Feed,
    store: Unsteady,
}

impl Feed for UnsteadyFeed {
    async fn next(&mut self) -> Fed {
        if self.store.has_gap.swap(false, Ordering::SeqCst) {
            return Fed::Gap("injected".to_owned());
        }
        if self.store.stands_still.load(Ordering::SeqCst) {
            return Fed::Round(crate::store::Round::Broken { throttled: false });
        }
        self.inner.next().await
    }
}

impl Store for Unsteady {
    type Feed = UnsteadyFeed;

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn get(&self, key: &Key, how: Consistency) -> Result<Option<Arc<Item>>, StoreError> {
        self.inner.get(key, how).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Item>>>, StoreError> {
        self.inner.get_many(keys).await
    }

    async fn list(
        &self,
        level: crate::store::Level<'_>,
        how: Consistency,
    ) -> Result<crate::store::Page, StoreError> {
        self.inner.list(level, how).await
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        self.inner.records(kind).await
    }

    async fn feed(&self) -> Result<UnsteadyFeed, StoreError> {
        if self.stands_still.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("injected".to_owned()));
        }
        Ok(UnsteadyFeed { inner: self.inner.feed().await?, store: self.clone() })
    }

    async fn commit(
        &self,
        commit: &crate::v2::Commit,
    ) -> Result<crate::store::Committed, StoreError> {
        self.inner.commit(commit).await
    }
}

async fn unsteady() -> (Unsteady, Arc<Keyspace<Unsteady>>, Arc<OnTable>) {
    let inner = DynamoDbStore::in_process(Meter::none()).await;
    let there = gateway(&inner).await;
    let store = Unsteady { inner, stands_still: Arc::default(), has_gap: Arc::default() };
    let wall: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
    let here = Keyspace::open(store.clone(), clock, FOLLOWS).await.expect("the keyspace opens");
    let here = Arc::new(here);
    drop(keep_house(&here));
    (store, here, there)
}

/// Long before the next beat, and before it writes anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_is_known_at_once_to_one_that_follows() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let here = gateway(&store).await;
    soon(here.follow_from_the_start()).await;
    assert!(here.following.limit().is_none(), "it is alone, and waits for nobody");
    let _there = gateway(&store).await;
    soon(async {
        while here.following.limit().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_now_on_does_not_begin_with_what_was_written_before() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let (here, there) = (gateway(&store).await, gateway(&store).await);
    soon(here.follow_from_the_start()).await;
    for n in 0..5 {
        for (watched, key) in [("/d/**", "/d/f"), ("/d/f", "/d/f"), ("/**", "/e")] {
            put(&there, key, &format!("before {n}")).await;
            put(&there, "/d/gone", "v").await;
            let delete = Operation::Delete(Removal::default());
            write(&*there, "/d/gone", delete).await.expect("it is there");
            let mut watcher = soon(begin(&here, of(watched, None))).await;
            let after = put(&there, key, &format!("after {n}")).await;
            assert_eq!(next(&mut watcher).await, after.event, "{watched}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_clears_the_past_and_ends_the_watchers() {
    let (store, here, there) = unsteady().await;
    put(&there, "/f", "1").await;
    let mut watcher = soon(begin(&here, stream("/**"))).await;
    let first = put(&there, "/f", "2").await;
    assert_eq!(next(&mut watcher).await, first.event);
    store.has_gap.store(true, Ordering::SeqCst);
    assert_eq!(soon(watcher.next()).await, None);
    let refused = soon(here.watch(of("/**", first.index.next()))).await.expect_err("cleared");
    assert_eq!(refused.code, ErrorCode::EventIndexCleared);
    let mut watcher = resume(&here, "").await;
    let again = put(&there, "/f", "3").await;
    assert_eq!(next(&mut watcher).await, again.event);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_stands_still_holds_nobody_up_for_ever_and_is_owned_up_to() {
    let (store, here, there) = unsteady().await;
    put(&there, "/d/f", "1").await;
    let mut watcher = soon(begin(&here, stream("/d/**"))).await;
    put(&there, "/d/f", "2").await;
    next(&mut watcher).await;
    store.stands_still.store(true, Ordering::SeqCst);
    let missed = put(&there, "/d/f", "3").await;
    let own = put(&here, "/d/own", "1").await;
    assert!(missed.index != own.index);
    assert_eq!(next(&mut watcher).await, own.event, "after a while it is told");
    store.stands_still.store(false, Ordering::SeqCst);
    assert_eq!(soon(watcher.next()).await, None, "it missed one, and is told so");
    let mut watcher = resume(&here, "/d").await;
    let again = put(&there, "/d/f", "4").await;
    let mut event = next(&mut watcher).await;
    while event != again.event {
        // What the read showed already may be told once more.
        assert!(event.node.modified < again.index);
        let mut after = begin(&here, of("/d/**", event.node.modified.next())).await;
        event = next(&mut after).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_cannot_begin_is_a_clear_error() {
    let (store, here, _there) = unsteady().await;
    store.stands_still.store(true, Ordering::SeqCst);
    let error = soon(here.watch(of("/f", None))).await.expect_err("no feed");
    assert_eq!(error.code, ErrorCode::RaftInternal);
    store.stands_still.store(false, Ordering::SeqCst);
    soon(async {
        while here.watch(of("/f", None)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Writers and watchers on three gateways. Who is refused or ended reads anew. Every key's last
/// write is seen by everybody, and nobody sees a key go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_seen_or_covered_by_a_read() {
    const WRITES: u64 = 60;
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(gateway(&store).await);
    }
    put(&gateways[0], "/d/end", "not yet").await;
    let watchers: Vec<_> = gateways
        .iter()
        .map(|gateway| tokio::spawn(watch_to_the_end(Arc::clone(gateway))))
        .collect();
    let writers: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let gateway = Arc::clone(gateway);
            tokio::spawn(async move {
                for turn in 0..WRITES {
                    put(&gateway, &format!("/d/{}", turn % 5), &turn.to_string()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    // An event may come too late for its place, and is owned up to when it comes: the end comes
    // some moments after it.
    for turn in 0..10 {
        put(&gateways[0], "/d/end", &turn.to_string()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    put(&gateways[0], "/d/end", "now").await;
    let listed = tree(&gateways[0], "/d").await;
    let last: BTreeMap<String, u64> =
        listed.nodes.iter().map(|n| (n.item.key.to_string(), n.item.modified.0)).collect();
    for watcher in watchers {
        let seen = tokio::time::timeout(Duration::from_secs(60), watcher).await;
        assert_eq!(seen.expect("it comes to an end").expect("no panic"), last);
    }
}

async fn watch_to_the_end(gateway: Arc<OnTable>) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let read = Read { key: k("/d"), recursive: true, sorted: false, quorum: true };
        let read = gateway.read(read).await.expect("a listing");
        for node in &read.event.node.nodes {
            seen.insert(node.item.key.to_string(), node.item.modified.0);
        }
        if read
            .event
            .node
            .nodes
            .iter()
            .any(|n| n.item.node(gateway.now()).value == Some(Value::from("now")))
        {
            return seen;
        }
        let mut since = read.index.next();
        while let Ok(Watching { mut watcher, .. }) = gateway.watch(of("/d/**", since)).await {
            let Some(event) = watcher.next().await else { break };
            let last = seen.entry(event.node.key.to_string()).or_default();
            *last = event.node.modified.0.max(*last);
            since = event.node.modified.next();
            if event.node.value == Some(Value::from("now")) {
                return seen;
            }
        }
    }
}
