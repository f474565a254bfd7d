//! The service on a store in memory, with a wall clock that stands still until it is moved: what
//! it answers, and what is left when it is killed.

mod accounts;
mod costs;
mod drains;
mod empty;
mod gather;
mod outcomes;
mod overload;
mod retire;

use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::clock::fake::FakeClock;
use crate::store::embedded::Embedded;
use crate::store::faults::{Fault, Faults};
use crate::v2::{Action, Compare, Draft, Listed, Node, Operation, Removal, Value};
use crate::v2::{Record, RecordKind};

mod following;
mod neighbours;
mod read_only;
mod waking;
mod watches;
mod workloads;

const START_US: u64 = 1_790_000_000_000_000;
const DRIFT_US: u64 = 300_000_000;
/// How many store calls it takes to open a keyspace that exists.
const OPENING_CALLS: u64 = 4;
const TREE: Removal = Removal { dir: false, recursive: true };

const CONFIG: Config = Config {
    access: Access::ReadWrite,
    read_consistency: Consistency::Strong,
    max_requests: 1000,
    request_timeout: Duration::from_secs(30),
    watch_window: None,
    watch_reach: Reach::Own,
    scan_for_ttl: false,
};

/// A store, and the wall clock that all gateways on it share.
struct World {
    store: Embedded,
    wall: Arc<FakeClock>,
}

impl World {
    fn new() -> World {
        let wall = Arc::new(FakeClock::at_us(START_US));
        let clock = Arc::clone(&wall);
        let store = Embedded::in_memory(Arc::new(move || crate::clock::unix_ms(&*clock)));
        World { store, wall }
    }

    async fn gateway(&self) -> Keyspace<Embedded> {
        self.gateway_on(self.store.clone()).await
    }

    async fn gateway_on<S: Store>(&self, store: S) -> Keyspace<S> {
        self.gateway_as(store, CONFIG).await
    }

    async fn gateway_as<S: Store>(&self, store: S, config: Config) -> Keyspace<S> {
        let wall = Arc::clone(&self.wall) as Arc<dyn Clock>;
        let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
        Keyspace::open(store, clock, config).await.expect("the keyspace opens")
    }

    /// Every node that is not removed, from the raw store.
    async fn raw_nodes(&self) -> Vec<Arc<Item>> {
        let mut nodes = Vec::new();
        let mut depth = 1;
        loop {
            let root = Key::root();
            let level = crate::store::Level { below: &root, depth, from: None };
            let page = self.store.list(level, Consistency::Strong).await.expect("a page");
            assert!(page.next.is_none(), "these trees are small");
            if page.items.is_empty() {
                return nodes;
            }
            nodes.extend(page.items.into_iter().filter(|item| item.removed.is_none()));
            depth += 1;
        }
    }

    async fn check_tree(&self) {
        let nodes = self.raw_nodes().await;
        for node in &nodes {
            let parent = node.key.parent().expect("not the root");
            let whole = parent.is_root() || nodes.iter().any(|n| n.key == parent && n.is_dir());
            assert!(whole, "{} has no directory", node.key);
        }
    }
}

fn k(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a clean path")
}

fn file(value: &str) -> Draft {
    Draft { value: Value::from(value), ..Draft::default() }
}

async fn put<S: Store>(gateway: &Keyspace<S>, key: &str, value: &str) -> Answer {
    write(gateway, key, Operation::Set(file(value))).await.expect("a set goes through")
}

async fn write<S: Store>(
    gateway: &Keyspace<S>,
    key: &str,
    operation: Operation,
) -> Result<Answer, Error> {
    gateway.write(Write { key: k(key), operation }).await
}

async fn get<S: Store>(gateway: &Keyspace<S>, key: &str) -> Result<Answer, Error> {
    gateway.read(Read { key: k(key), recursive: false, sorted: true, quorum: false }).await
}

async fn tree<S: Store>(gateway: &Keyspace<S>, key: &str) -> Node {
    let read = Read { key: k(key), recursive: true, sorted: true, quorum: false };
    gateway.read(read).await.expect("a listing").event.node
}

/// The keys of a listing, indented by depth.
fn outline(node: &Node) -> Vec<String> {
    fn lines(nodes: &[Listed]) -> Vec<String> {
        let below = |node: &Listed| [vec![node.item.key.to_string()], lines(&node.nodes)].concat();
        nodes.iter().flat_map(below).collect()
    }
    lines(&node.nodes)
}

fn until(world: &World, draft: Draft, seconds: i64) -> Draft {
    let now = crate::clock::unix_ms(&*world.wall);
    Draft { expiration: Some(now.plus_ms(seconds * 1000)), ..draft }
}

#[tokio::test]
async fn listings_show_what_etcd_shows() {
    let world = World::new();
    let gateway = world.gateway().await;
    for key in ["/b/y", "/b/x/1", "/a", "/_h/z", "/b/_i/w", "/c/_only"] {
        put(&gateway, key, "v").await;
    }
    let root = tree(&gateway, "/").await;
    assert_eq!(outline(&root), ["/a", "/b", "/b/x", "/b/x/1", "/b/y", "/c"]);
    assert_eq!(outline(&tree(&gateway, "/b").await), ["/b/x", "/b/x/1", "/b/y"]);
    assert_eq!(outline(&tree(&gateway, "/_h").await), ["/_h/z"]);
    let level = get(&gateway, "/").await.expect("the root").event.node;
    assert_eq!(outline(&level), ["/a", "/b", "/c"]);
    assert!(tree(&gateway, "/c").await.nodes.is_empty(), "only a hidden node is in it");
}

#[tokio::test]
async fn a_missing_key_names_the_first_part_that_is_missing() {
    let world = World::new();
    let gateway = world.gateway().await;
    put(&gateway, "/d/f", "v").await;
    for (key, code, cause) in [
        ("/x", ErrorCode::KeyNotFound, "/x"),
        ("/x/y/z", ErrorCode::KeyNotFound, "/x"),
        ("/d/x/y", ErrorCode::KeyNotFound, "/d/x"),
        ("/d/f/x/y", ErrorCode::NotDir, "/d/f"),
    ] {
        let error = get(&gateway, key).await.expect_err("not there");
        assert_eq!((error.code, error.cause), (code, cause.as_bytes().to_vec()), "{key}");
    }
}

#[tokio::test]
async fn answers_carry_the_index_of_the_last_write_and_refusals_take_none() {
    let world = World::new();
    let gateway = world.gateway().await;
    let written = put(&gateway, "/a", "1").await;
    assert_eq!(written.index, written.event.node.modified);
    assert_eq!(get(&gateway, "/a").await.expect("there").index, written.index);
    let error = write(&gateway, "/a", Operation::Create(file("2"))).await.expect_err("exists");
    assert_eq!((error.code, error.index), (ErrorCode::NodeExist, written.index));
    assert_eq!(get(&gateway, "/nope").await.expect_err("missing").index, written.index);
    assert_eq!(gateway.index(), written.index);
}

#[tokio::test]
async fn a_second_gateway_is_the_same_cluster_and_goes_on_from_what_it_reads() {
    let world = World::new();
    let first = world.gateway().await;
    world.wall.advance_ms(2_000);
    let written = put(&first, "/a", "1").await;
    world.wall.set_us(START_US);
    let second = world.gateway().await;
    assert_eq!(first.identity(), second.identity());
    let overwritten = put(&second, "/a", "2").await;
    assert!(overwritten.index > written.index, "though the second clock is behind");
}

#[tokio::test]
async fn an_answer_covers_what_another_gateway_wrote() {
    let world = World::new();
    let idle = world.gateway_on(narrow(Faults::new(world.store.clone(), |_, _| Fault::None))).await;
    let other = world.gateway().await;
    world.wall.advance_ms(1_000);
    let written = put(&other, "/d/a", "1").await;
    for key in ["/d/a", "/d", "/"] {
        let answer = get(&idle, key).await.expect("there");
        assert_eq!(answer.index, written.index, "{key}");
    }
}

#[tokio::test]
async fn an_index_from_the_far_future_is_refused_and_does_not_spread() {
    let world = World::new();
    world.wall.advance_ms(3_600_000);
    put(&world.gateway().await, "/poisoned", "1").await;
    world.wall.set_us(START_US);
    let gateway = world.gateway().await;
    let error = write(&gateway, "/poisoned", Operation::Set(file("2"))).await.expect_err("refused");
    assert_eq!(error.code, ErrorCode::RaftInternal);
    assert!(String::from_utf8_lossy(&error.cause).contains("clock"), "{error}");
    assert!(put(&gateway, "/fine", "1").await.index < EtcdIndex(START_US + DRIFT_US));
}

#[tokio::test]
async fn an_expired_file_is_gone_to_the_millisecond_and_can_be_made_anew() {
    let world = World::new();
    let gateway = world.gateway().await;
    write(&gateway, "/t", Operation::Set(until(&world, file("v"), 5))).await.expect("set");
    world.wall.advance_ms(4_999);
    assert_eq!(get(&gateway, "/t").await.expect("there").event.node.ttl, 1);
    world.wall.advance_ms(1);
    assert_eq!(get(&gateway, "/t").await.expect_err("gone").code, ErrorCode::KeyNotFound);
    assert!(tree(&gateway, "/").await.nodes.is_empty());
    let compare = Compare { prev_value: Some(Value::from("v")), prev_index: None };
    let swap = Operation::CompareAndSwap(file("w"), compare);
    assert_eq!(write(&gateway, "/t", swap).await.expect_err("gone").code, ErrorCode::KeyNotFound);
    let made = write(&gateway, "/t", Operation::Create(file("w"))).await.expect("anew");
    assert!(made.event.is_created);
    assert_eq!(gateway.statistics().expired, 1);
}

#[tokio::test]
async fn the_sweep_takes_a_directory_whose_ttl_ran_out_with_all_in_it() {
    let world = World::new();
    let gateway = world.gateway().await;
    let dir = until(&world, Draft { dir: true, ..Draft::default() }, 5);
    write(&gateway, "/d", Operation::Set(dir.clone())).await.expect("mkdir");
    put(&gateway, "/d/s/x", "v").await;
    write(&gateway, "/kept", Operation::Set(dir)).await.expect("mkdir");
    let forever = Draft { dir: true, ..Draft::default() };
    write(&gateway, "/kept", Operation::Update(forever)).await.expect("its TTL is removed");
    put(&gateway, "/kept/x", "v").await;
    world.wall.advance_ms(5_000);
    gateway.sweep().await.expect("a sweep");
    assert_eq!(outline(&tree(&gateway, "/").await), ["/kept", "/kept/x"]);
    assert_eq!(get(&gateway, "/d/s/x").await.expect_err("gone").cause, b"/d");
    world.check_tree().await;
    assert_eq!(gateway.store.records(RecordKind::Sweep).await.expect("records"), []);
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_the_name_of_the_limit() {
    let world = World::new();
    let limits = Limits {
        key_bytes: 20,
        item_bytes: 50,
        commit_ops: 100,
        commit_bytes: 1000,
        is_remote: false,
        name: "a small store",
    };
    let store = Faults::new(world.store.clone(), |_, _| Fault::None).with_limits(limits);
    let gateway = world.gateway_on(store).await;
    let long_key = format!("/{}", "k".repeat(30));
    for (key, value) in [(long_key.as_str(), "v"), ("/k", &"v".repeat(60))] {
        let error = write(&gateway, key, Operation::Set(file(value))).await.expect_err("too large");
        let cause = String::from_utf8_lossy(&error.cause).into_owned();
        assert!(cause.contains("a small store"), "{cause}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_reported_and_nothing_is_lost() {
    let world = World::new();
    put(&world.gateway().await, "/a", "1").await;
    let store = Faults::new(world.store.clone(), |call, _| {
        if call < OPENING_CALLS { Fault::None } else { Fault::Unavailable }
    });
    let gateway = world.gateway_on(store).await;
    for error in [
        write(&gateway, "/a", Operation::Set(file("2"))).await.expect_err("unavailable"),
        get(&gateway, "/a").await.expect_err("unavailable"),
    ] {
        assert_eq!((error.code, error.index), (ErrorCode::RaftInternal, EtcdIndex(0)));
    }
    assert!(!gateway.healthy().await);
    let value = get(&world.gateway().await, "/a").await.expect("there").event.node.value;
    assert_eq!(value, Some(Value::from("1")));
}

/// The limits of a store in which three nodes need more than one commit.
fn narrow(store: Faults<Embedded>) -> Faults<Embedded> {
    let limits = Limits { commit_ops: 4, is_remote: true, ..store.limits() };
    store.with_limits(limits)
}

/// Kills a gateway before and after each of its store calls while it removes a large subtree, or
/// while such a subtree expires. Another one finishes the work, or finds it not begun.
async fn kill_at_every_step(expires: bool) {
    for call in 0..200 {
        for fault in [Fault::Killed, Fault::KilledAfter] {
            let world = World::new();
            let witness = world
                .gateway_on(narrow(Faults::new(world.store.clone(), |_, _| Fault::None)))
                .await;
            for key in ["/d/a", "/d/s/b", "/d/s/t/c", "/d/s/t/d", "/other/x"] {
                put(&witness, key, "v").await;
            }
            if expires {
                let ttl = until(&world, Draft { dir: true, ..Draft::default() }, 1);
                write(&witness, "/d", Operation::Update(ttl)).await.expect("a TTL");
                world.wall.advance_ms(1_000);
            }
            let reached = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let flag = Arc::clone(&reached);
            let store = Faults::new(world.store.clone(), move |at, _| {
                if at == call + OPENING_CALLS {
                    flag.store(true, std::sync::atomic::Ordering::SeqCst);
                    return fault;
                }
                Fault::None
            });
            let victim = world.gateway_on(narrow(store)).await;
            let doomed = async {
                if expires {
                    victim.sweep().await
                } else {
                    write(&victim, "/d", Operation::Delete(TREE)).await.map(|_| ())
                }
            };
            // However slow the machine is, it only hangs once it was killed.
            let killed = async {
                while !reached.load(std::sync::atomic::Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                tokio::time::sleep(Duration::from_millis(60)).await;
            };
            let outcome = tokio::select! {
                outcome = doomed => Some(outcome),
                () = killed => None,
            };
            if !reached.load(std::sync::atomic::Ordering::SeqCst) {
                outcome.expect("nothing hung").expect("the work was done");
                assert!(call > 10, "the work takes many steps");
                return;
            }
            witness.sweep().await.expect("the other gateway sweeps");
            world.check_tree().await;
            let left = outline(&tree(&witness, "/").await);
            let whole = left.len() == 9 && !expires;
            assert!(whole || left == ["/other", "/other/x"], "call {call} {fault:?}: {left:?}");
            put(&witness, "/d/new", "v").await;
            assert_eq!(outline(&tree(&witness, "/d").await).contains(&"/d/a".to_owned()), whole);
        }
    }
    panic!("the work never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recursive_delete_survives_a_kill_at_every_step() {
    kill_at_every_step(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expiry_of_a_directory_survives_a_kill_at_every_step() {
    kill_at_every_step(true).await;
}

/// Writers on two gateways create, remove and list in the same few directories; nothing is ever
/// left without its directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_keep_the_tree_whole() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let world = World::new();
    let mut tasks = Vec::new();
    for task in 0..6u64 {
        let store = narrow(Faults::seeded(world.store.clone(), seed ^ task, 10));
        let gateway = world.gateway_on(store).await;
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(task));
        tasks.push(tokio::spawn(async move {
            for _ in 0..150 {
                let part = |random: &mut fastrand::Rng| *random.choice(&["a", "b"]).expect("two");
                let depth = random.usize(1..4);
                let key: String = (0..depth).map(|_| format!("/{}", part(&mut random))).collect();
                let operation = match random.u8(..6) {
                    0 => Operation::Set(file("v")),
                    1 => Operation::Create(Draft { dir: true, ..Draft::default() }),
                    2 => Operation::CreateInOrder(file("v")),
                    3 => Operation::Delete(Removal { dir: true, recursive: false }),
                    4 => Operation::Delete(TREE),
                    _ => Operation::Update(file("w")),
                };
                if let Err(error) = write(&gateway, &key, operation).await {
                    assert_ne!(error.code, ErrorCode::RaftInternal, "{error}");
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
    world.check_tree().await;
}
