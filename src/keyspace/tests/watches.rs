//! What watchers hear of a keyspace: of its writes, in order, of what expires, and of what nobody
//! can know.

use std::collections::BTreeSet;
use std::task::Poll;

use futures_util::poll;
use tokio::task::JoinHandle;

use super::*;
use crate::watch::HOLD_LIMIT;

pub(super) const WATCHED: Config = Config {
    access: Access::ReadWrite,
    read_consistency: Consistency::Strong,
    max_requests: 1000,
    request_timeout: Duration::from_secs(30),
    watch_window: Some(1000),
    watch_reach: Reach::Own,
    scan_for_ttl: true,
};

async fn watched(world: &World) -> Arc<Keyspace<Embedded>> {
    Arc::new(world.gateway_as(world.store.clone(), WATCHED).await)
}

/// A gateway whose n-th commit after it was opened meets a fault.
async fn faulty(
    world: &World,
    request_timeout: Duration,
    choose: impl Fn(u64) -> Fault + Send + Sync + 'static,
) -> Arc<Keyspace<Faults<Embedded>>> {
    drop(world.gateway().await);
    let commits = std::sync::atomic::AtomicU64::new(0);
    let store = Faults::new(world.store.clone(), move |call, is_commit| match is_commit {
        true if call >= OPENING_CALLS => {
            choose(commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        }
        true | false => Fault::None,
    });
    let config = Config { request_timeout, scan_for_ttl: false, ..WATCHED };
    Arc::new(world.gateway_as(store, config).await)
}

/// Tokio's time stands still until it is moved by [`pass`]: a blocking task keeps it from running
/// ahead while the store's own thread works.
pub(super) struct Stopped {
    _until: std::sync::mpsc::Sender<()>,
}

pub(super) fn stop_time() -> Stopped {
    let (until, ended) = std::sync::mpsc::channel();
    tokio::time::pause();
    tokio::task::spawn_blocking(move || ended.recv());
    Stopped { _until: until }
}

#[allow(clippy::disallowed_methods)] // the store's thread needs real time, whatever it does
pub(super) async fn pass(time: Duration) {
    const STEP: Duration = Duration::from_millis(20);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        tokio::time::advance(STEP).await;
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Keeps house in the background, as the program does.
pub(super) fn keep_house<S: Store>(gateway: &Arc<Keyspace<S>>) -> JoinHandle<()> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move { gateway.keep_sweeping().await })
}

pub(super) fn of(key: &str, since: impl Into<Option<EtcdIndex>>) -> Watch {
    let recursive = key.ends_with("/**");
    let key = k(key.trim_end_matches("/**"));
    Watch { key, recursive, stream: false, since: since.into() }
}

pub(super) fn stream(key: &str) -> Watch {
    Watch { stream: true, ..of(key, None) }
}

pub(super) async fn begin<S: Store>(gateway: &Keyspace<S>, watch: Watch) -> Watcher {
    gateway.watch(watch).await.expect("a watch").watcher
}

async fn next(watcher: &mut Watcher) -> Arc<Event> {
    watcher.next().await.expect("an event")
}

async fn is_silent(watcher: &mut Watcher) -> bool {
    poll!(std::pin::pin!(watcher.next())).is_pending()
}

async fn refused<S: Store>(gateway: &Keyspace<S>, watch: Watch) -> Error {
    let error = gateway.watch(watch).await.expect_err("the past is not known");
    assert_eq!(error.code, ErrorCode::EventIndexCleared);
    error
}

#[tokio::test]
async fn every_write_is_told_as_it_was_answered() {
    let world = World::new();
    let gateway = watched(&world).await;
    let mut watcher = begin(&gateway, stream("/**")).await;
    let compare = |value| Compare { prev_value: Some(Value::from(value)), prev_index: None };
    for (key, operation) in [
        ("/d/f", Operation::Set(file("1"))),
        ("/d/f", Operation::Update(file("2"))),
        ("/d/f", Operation::CompareAndSwap(file("3"), compare("2"))),
        ("/d/f", Operation::CompareAndDelete(compare("3"))),
        ("/d/f", Operation::Create(file("4"))),
        ("/d", Operation::CreateInOrder(file("5"))),
        ("/d", Operation::Delete(TREE)),
    ] {
        let answer = write(&gateway, key, operation).await.expect("it goes through");
        assert_eq!(*next(&mut watcher).await, answer.event);
    }
    let refresh = Draft { refresh: true, ..until(&world, file(""), 60) };
    put(&gateway, "/r", "1").await;
    next(&mut watcher).await;
    write(&gateway, "/r", Operation::Update(refresh)).await.expect("a refresh");
    assert!(write(&gateway, "/r", Operation::Create(file("2"))).await.is_err());
    assert!(is_silent(&mut watcher).await);
    assert_eq!(gateway.statistics().watchers, 1);
}

#[tokio::test]
async fn a_removed_directory_is_told_to_the_nodes_inside_however_large_it_is() {
    for (name, commit_ops) in [("one commit", 100), ("a drain", 4)] {
        let world = World::new();
        let limits = Limits { commit_ops, ..world.store.limits() };
        let store = Faults::new(world.store.clone(), |_, _| Fault::None).with_limits(limits);
        let gateway = world.gateway_as(store, WATCHED).await;
        for key in ["/d/a/x", "/d/a/_h", "/d/b", "/d/c", "/d/e/f/g", "/dd"] {
            put(&gateway, key, "v").await;
        }
        let mut inside = Vec::new();
        for key in ["/d", "/d/a", "/d/a/**", "/d/a/x", "/d/a/_h", "/d/e/f/g", "/**"] {
            inside.push((key, begin(&gateway, of(key, None)).await));
        }
        let mut outside = Vec::new();
        for key in ["/d/never", "/d/a/never/**", "/dd"] {
            outside.push((key, begin(&gateway, of(key, None)).await));
        }
        let answer = write(&gateway, "/d", Operation::Delete(TREE)).await.expect("a delete");
        for (key, watcher) in &mut inside {
            assert_eq!(*next(watcher).await, answer.event, "{name}: {key}");
        }
        for (key, watcher) in &mut outside {
            assert!(is_silent(watcher).await, "{name}: {key}");
        }
    }
}

/// The node is still there when the watch begins, below a directory whose removal somebody else
/// began and did not tell of.
#[tokio::test]
async fn a_watch_that_begins_while_its_node_is_about_to_go_does_not_wait_for_ever() {
    let world = World::new();
    let limits = Limits { commit_ops: 4, ..world.store.limits() };
    let on_table = |choose: fn(u64, bool) -> Fault| {
        Faults::new(world.store.clone(), choose).with_limits(limits)
    };
    let witness = world.gateway_on(on_table(|_, _| Fault::None)).await;
    for n in 0..6 {
        put(&witness, &format!("/d/{n}"), "v").await;
    }
    let victim = world
        .gateway_on(on_table(|call, is_commit| match call {
            OPENING_CALLS.. if is_commit => Fault::KilledAfter,
            _ => Fault::None,
        }))
        .await;
    let doomed = write(&victim, "/d", Operation::Delete(TREE));
    assert!(tokio::time::timeout(Duration::from_millis(60), doomed).await.is_err());
    let gateway = world.gateway_as(on_table(|_, _| Fault::None), WATCHED).await;
    let mut watcher = begin(&gateway, of("/d/3", None)).await;
    assert!(get(&gateway, "/d").await.is_err(), "the directory is gone already");
    gateway.sweep().await.expect("it finishes what it finds");
    put(&gateway, "/other", "v").await;
    let ended = tokio::time::timeout(Duration::from_secs(20), watcher.next()).await;
    assert_eq!(ended.expect("it does not wait for ever"), None);
}

#[tokio::test]
async fn the_past_is_told_within_the_window() {
    let world = World::new();
    let gateway = watched(&world).await;
    let first = put(&gateway, "/d/f", "1").await;
    let second = put(&gateway, "/d/f", "2").await;
    let mut watcher = begin(&gateway, of("/d/**", first.index)).await;
    assert_eq!(*next(&mut watcher).await, first.event);
    let mut watcher = begin(&gateway, of("/d/f", first.index.next())).await;
    assert_eq!(*next(&mut watcher).await, second.event);
    let watching = gateway.watch(of("/d/f", second.index.next())).await.expect("a watch");
    assert_eq!(watching.index, second.index);
}

#[tokio::test]
async fn an_old_index_on_one_key_is_proven_by_the_item() {
    let world = World::new();
    let before = world.gateway().await;
    let old = put(&before, "/f", "1").await.index;
    let dir = put(&before, "/d/f", "1").await.index;
    let gone = put(&before, "/gone", "1").await.index;
    write(&before, "/gone", Operation::Delete(Removal::default())).await.expect("a delete");
    world.wall.advance_ms(60_000);
    let gateway = watched(&world).await;
    let start = gateway.index();

    let mut waits = begin(&gateway, of("/f", old.next())).await;
    let mut waits_for_long = begin(&gateway, of("/never", start)).await;
    let _dir = begin(&gateway, of("/d", dir.next())).await;
    let _root = begin(&gateway, of("/", EtcdIndex(1))).await;
    let _gone = begin(&gateway, of("/gone", start)).await;
    for watch in [
        of("/f", old),
        of("/f/**", old.next()),
        of("/gone", gone.next()),
        of("/d", dir),
        of("/never", EtcdIndex(1)),
        of("/**", start),
    ] {
        let error = refused(&gateway, watch).await;
        assert_eq!(error.index, start);
    }
    let asked = refused(&gateway, of("/f", old)).await;
    let cause = format!("the requested history has been cleared [{}/{old}]", start.next());
    assert_eq!(asked.cause, cause.into_bytes());

    assert_eq!(gateway.statistics().watchers, 5, "refused ones do not wait");
    let now = put(&gateway, "/f", "2").await;
    assert_eq!(*next(&mut waits).await, now.event);
    let now = put(&gateway, "/never", "2").await;
    assert_eq!(*next(&mut waits_for_long).await, now.event);
}

#[tokio::test]
async fn without_watches_there_is_a_clear_refusal() {
    let world = World::new();
    let gateway = world.gateway().await;
    let error = gateway.watch(of("/f", None)).await.expect_err("watch is off");
    assert_eq!(error.code, ErrorCode::InvalidField);
    assert!(String::from_utf8_lossy(&error.cause).contains("--watch"));
}

#[tokio::test]
async fn files_expire_in_the_order_of_their_expirations() {
    let _stopped = stop_time();
    let world = World::new();
    // Some were there before this gateway, deep in the tree.
    let before = world.gateway().await;
    for (key, seconds) in [("/a/b/c", 30), ("/late", 50)] {
        let draft = until(&world, file("v"), seconds);
        write(&before, key, Operation::Set(draft)).await.expect("a set");
    }
    let gateway = watched(&world).await;
    for (key, seconds) in [("/x", 20), ("/y", 10), ("/z", 40), ("/kept", 15), ("/gone", 16)] {
        let draft = until(&world, file("v"), seconds);
        write(&gateway, key, Operation::Set(draft)).await.expect("a set");
    }
    put(&gateway, "/kept", "for ever").await;
    write(&gateway, "/gone", Operation::Delete(Removal::default())).await.expect("a delete");
    let refresh = Draft { refresh: true, ..until(&world, file(""), 25) };
    write(&gateway, "/y", Operation::Update(refresh)).await.expect("a refresh");
    let mut watcher = begin(&gateway, stream("/**")).await;
    let _house = keep_house(&gateway);
    for passed in [19_999, 1, 20_000, 20_000] {
        world.wall.advance_ms(passed);
        pass(Duration::from_millis(1100)).await;
        match passed {
            19_999 => assert!(is_silent(&mut watcher).await),
            1 => {
                let event = next(&mut watcher).await;
                assert_eq!((event.action, &event.node.key), (Action::Expire, &k("/x")));
                let prev = event.prev_node.as_ref().expect("the file");
                assert_eq!((prev.ttl, prev.value.clone()), (0, Some(Value::from("v"))));
                assert_eq!(event.node.expiration, None);
            }
            _ => {}
        }
    }
    let mut told = Vec::new();
    // The store's thread may be slow; the wall clock stands still, so nothing more expires.
    for _ in 0..500 {
        while let Poll::Ready(event) = poll!(std::pin::pin!(watcher.next())) {
            let event = event.expect("it goes on");
            assert_eq!(event.action, Action::Expire);
            told.push((event.node.key.to_string(), event.node.modified));
        }
        if told.len() >= 4 {
            break;
        }
        pass(Duration::from_millis(20)).await;
    }
    let keys: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["/y", "/a/b/c", "/z", "/late"]);
    assert!(told.is_sorted_by_key(|(_, index)| *index));
    assert_eq!(gateway.statistics().expired, 5);
    assert_eq!(get(&gateway, "/kept").await.expect("there").event.node.ttl, 0);
}

#[tokio::test]
async fn a_directory_that_expires_is_told_inside() {
    let _stopped = stop_time();
    let world = World::new();
    let gateway = watched(&world).await;
    let dir = until(&world, Draft { dir: true, ..Draft::default() }, 5);
    write(&gateway, "/d", Operation::Set(dir)).await.expect("mkdir");
    put(&gateway, "/d/a/x", "v").await;
    let mut inside = begin(&gateway, of("/d/a/x", None)).await;
    let _house = keep_house(&gateway);
    world.wall.advance_ms(5_000);
    pass(Duration::from_millis(5_500)).await;
    let event = next(&mut inside).await;
    assert_eq!((event.action, &event.node.key), (Action::Expire, &k("/d")));
}

#[tokio::test]
async fn expiries_go_on_after_the_store_failed() {
    let _stopped = stop_time();
    let world = World::new();
    let gateway = faulty(&world, Duration::from_secs(5), |n| match n {
        2 | 3 => Fault::Unavailable,
        _ => Fault::None,
    });
    let gateway = gateway.await;
    let gateway = Arc::into_inner(gateway).expect("nobody else has it");
    let config = Config { scan_for_ttl: true, ..gateway.config };
    let gateway = Arc::new(Keyspace { config, ..gateway });
    write(&gateway, "/t", Operation::Set(until(&world, file("v"), 5))).await.expect("a set");
    let mut watcher = begin(&gateway, of("/t", None)).await;
    world.wall.advance_ms(5_000);
    let _house = keep_house(&gateway);
    for _ in 0..3 {
        pass(Duration::from_millis(1100)).await;
        world.wall.advance_ms(1100);
    }
    pass(Duration::from_millis(1100)).await;
    assert_eq!(next(&mut watcher).await.action, Action::Expire);
}

#[tokio::test]
async fn a_stuck_write_holds_the_others_only_for_a_while_and_is_owned_up_to() {
    let _stopped = stop_time();
    let world = World::new();
    let gateway = faulty(&world, Duration::from_secs(60), |n| match n {
        3 => Fault::Slow(10_000),
        _ => Fault::None,
    });
    let gateway = gateway.await;
    put(&gateway, "/first", "1").await;
    let _house = keep_house(&gateway);
    let mut all = begin(&gateway, stream("/**")).await;
    let mut other = begin(&gateway, stream("/other")).await;
    let stuck = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { put(&gateway, "/stuck", "1").await }
    });
    pass(Duration::from_millis(100)).await;
    let quick = put(&gateway, "/other", "1").await;
    assert!(gateway.index() < quick.index, "an answer's index waits for it");
    assert!(is_silent(&mut other).await, "it is held");
    pass(HOLD_LIMIT * 3 / 2).await;
    assert_eq!(*next(&mut other).await, quick.event);
    assert_eq!(*next(&mut all).await, quick.event);
    // From now on the stuck one is not waited for.
    let again = put(&gateway, "/other", "2").await;
    assert_eq!(*next(&mut other).await, again.event);
    assert_eq!(*next(&mut all).await, again.event);

    pass(Duration::from_secs(10)).await;
    let late = stuck.await.expect("it goes through in the end");
    assert!(late.index < quick.index);
    assert_eq!(all.next().await, None, "it missed one, and is told so");
    assert!(is_silent(&mut other).await, "it missed nothing");
    refused(&gateway, of("/**", again.index.next())).await;
    refused(&gateway, of("/stuck/**", again.index.next())).await;
    let current = gateway.index();
    assert!(current > again.index);
    begin(&gateway, of("/**", current.next())).await;
    // The item of one key proves what it is.
    begin(&gateway, of("/stuck", late.index.next())).await;
    refused(&gateway, of("/stuck", late.index)).await;
}

#[tokio::test]
async fn a_write_that_is_cut_off_is_in_doubt_now_and_when_it_may_have_happened() {
    let _stopped = stop_time();
    let world = World::new();
    let gateway = faulty(&world, Duration::from_secs(5), |n| match n {
        2 => Fault::KilledAfter,
        _ => Fault::None,
    });
    let gateway = gateway.await;
    let before = put(&gateway, "/f", "1").await;
    let _house = keep_house(&gateway);
    let mut watcher = begin(&gateway, of("/**", None)).await;
    let cut_off = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { write(&gateway, "/f", Operation::Set(file("2"))).await }
    });
    pass(Duration::from_secs(6)).await;
    let cut_off = cut_off.await.expect("it ends");
    assert_eq!(cut_off.expect_err("it took too long").code, ErrorCode::RaftInternal);
    assert_eq!(watcher.next().await, None);
    refused(&gateway, of("/**", before.index.next())).await;
    let current = gateway.index();
    let mut again = begin(&gateway, of("/**", current.next())).await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(again.next().await, None, "it may have happened after the first doubt");
    assert!(gateway.index() > current);
}

#[tokio::test]
async fn a_write_that_was_refused_holds_nobody_up() {
    let world = World::new();
    let gateway = watched(&world).await;
    let mut watcher = begin(&gateway, of("/f", None)).await;
    let refused = gateway.begin();
    let written = put(&gateway, "/f", "1").await;
    assert!(is_silent(&mut watcher).await);
    drop(refused);
    assert_eq!(*next(&mut watcher).await, written.event);
}

/// Many writers side by side: a watcher sees each write once, in the order of the indexes, however
/// their ends were ordered; a loop of long polls sees the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_are_told_once_and_in_order() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 50;
    let world = World::new();
    let gateway = watched(&world).await;
    let start = put(&gateway, "/d/start", "0").await.index;
    let writers: Vec<JoinHandle<Vec<u64>>> = (0..WRITERS)
        .map(|writer| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let mut indexes = Vec::new();
                for turn in 0..EACH {
                    let key = format!("/d/{}", (writer + turn) % 5);
                    indexes.push(put(&gateway, &key, &turn.to_string()).await.index.0);
                }
                indexes
            })
        })
        .collect();
    let mut seen = Vec::new();
    let mut since = start.next();
    while (seen.len() as u64) < WRITERS * EACH {
        let mut watcher = begin(&gateway, of("/d/**", since)).await;
        let event = next(&mut watcher).await;
        seen.push(event.node.modified.0);
        since = event.node.modified.next();
    }
    let mut written = BTreeSet::new();
    for writer in writers {
        written.extend(writer.await.expect("a writer ends"));
    }
    assert_eq!(seen, written.into_iter().collect::<Vec<u64>>());
    assert_eq!(gateway.statistics().watchers, 0);
}

#[tokio::test]
async fn the_end_of_watches_is_an_end_without_an_event() {
    let world = World::new();
    let gateway = watched(&world).await;
    let mut watcher = begin(&gateway, stream("/f")).await;
    gateway.end_watches();
    assert_eq!(watcher.next().await, None);
    assert_eq!(begin(&gateway, of("/f", None)).await.next().await, None);
}
