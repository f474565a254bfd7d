//! A gateway that only reads: whatever it is asked for and whatever there is to be done, its store
//! never gets a commit from it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::following::{FOLLOWS, soon};
use super::watches::{begin, keep_house, of, pass, stop_time, stream};
use super::*;
use crate::keyspace::{Credentials, NotAdministered, OpenError};
use crate::store::dynamodb::{DynamoDbStore, Meter};
use crate::v2::{Administration, AuthError, PutUser, Seen};

const READS: Config = Config { access: Access::ReadOnly, ..CONFIG };
const CAUSE: &str = "this gateway does not write (--read-only)";

/// A store that fails whoever commits. What fails in the background is counted, too.
fn guarded<S: Store>(store: S) -> (Faults<S>, Arc<AtomicU64>) {
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let store = Faults::new(store, move |_, is_commit| {
        counted.fetch_add(u64::from(is_commit), Ordering::SeqCst);
        assert!(!is_commit, "a commit by a gateway that only reads");
        Fault::None
    });
    (store, commits)
}

/// Every write is refused, and every change of an administrator, by the words that name the flag.
async fn check_refusals<S: Store>(gateway: &Keyspace<S>) {
    let compare = || Compare { prev_value: Some(Value::from("1")), prev_index: None };
    for (key, operation) in [
        ("/d/f", Operation::Set(file("2"))),
        ("/new", Operation::Create(file("2"))),
        ("/d", Operation::CreateInOrder(file("2"))),
        ("/d/f", Operation::Update(file("2"))),
        ("/d/f", Operation::CompareAndSwap(file("2"), compare())),
        ("/d/f", Operation::CompareAndDelete(compare())),
        ("/d", Operation::Delete(TREE)),
    ] {
        let error = write(gateway, key, operation).await.expect_err("it never writes");
        assert_eq!(
            (error.code, error.cause.as_slice()),
            (ErrorCode::RootReadOnly, CAUSE.as_bytes())
        );
        assert_eq!(error.index, gateway.index());
    }
    let user = PutUser {
        name: "u".to_owned(),
        password: None,
        roles: None,
        grant: Vec::new(),
        revoke: Vec::new(),
    };
    for asked in [Administration::PutUser(user), Administration::Enable, Administration::Disable] {
        let refused = gateway.administrate(asked, Some("p".to_owned())).await;
        let Err(NotAdministered::Refused(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error, AuthError { status: 403, message: CAUSE.to_owned() });
    }
}

/// What others leave overdue or half done stays, for as long as nobody comes who writes.
#[tokio::test]
async fn nothing_is_ever_committed_whatever_there_is_to_do() {
    let _stopped = stop_time();
    let world = World::new();
    let setup =
        world.gateway_on(narrow(Faults::new(world.store.clone(), |_, _| Fault::None))).await;
    let soon_gone = |draft: Draft| Draft { expiration: Some(setup.now().plus_ms(500)), ..draft };
    put(&setup, "/d/f", "1").await;
    write(&setup, "/ttl", Operation::Set(soon_gone(file("1")))).await.expect("a file");
    let dir = soon_gone(Draft { dir: true, ..Draft::default() });
    write(&setup, "/e", Operation::Create(dir)).await.expect("a directory");
    put(&setup, "/e/f", "1").await;
    let overdue = get(&setup, "/ttl").await.expect("there").event.node;
    for node in 0..30 {
        put(&setup, &format!("/large/{node}"), "v").await;
    }
    // Killed when the removal is decided and nothing is removed yet.
    let victim = Faults::new(world.store.clone(), |call, is_commit| {
        if is_commit && call > OPENING_CALLS + 4 { Fault::Killed } else { Fault::None }
    });
    let victim = world.gateway_on(narrow(victim)).await;
    let doomed = write(&victim, "/large", Operation::Delete(TREE));
    futures_util::future::select(Box::pin(doomed), Box::pin(pass(Duration::from_millis(300))))
        .await;
    let records = || async {
        let sweep = world.store.records(RecordKind::Sweep).await.expect("records");
        let gateways = world.store.records(RecordKind::Gateway).await.expect("records");
        format!("{sweep:?} {gateways:?}")
    };
    let before = (records().await, format!("{:?}", world.raw_nodes().await));
    assert!(before.0.contains("Drain") && before.0.contains("DirTtl"), "{}", before.0);

    let (store, commits) = guarded(world.store.clone());
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let config = Config { watch_window: Some(1000), scan_for_ttl: true, ..READS };
    let reader = Arc::new(world.gateway_as(store.with_limits(limits), config).await);
    reader.sweep().await.expect("the sweep before it is ready");
    let house = keep_house(&reader);
    let mut watchers = Vec::new();
    for key in ["/**", "/ttl", "/e"] {
        watchers.push(begin(&reader, stream(key)).await);
    }
    for _ in 0..20 {
        world.wall.advance_ms(1000);
        pass(Duration::from_secs(1)).await;
    }
    for gone in ["/ttl", "/e", "/large"] {
        let error = get(&reader, gone).await.expect_err("it is over");
        assert_eq!(error.code, ErrorCode::KeyNotFound, "{gone}");
    }
    assert_eq!(outline(&tree(&reader, "/").await), ["/d", "/d/f"]);
    // As the README says: what was below is there for who knows its path.
    for left in ["/e/f", "/large/7"] {
        get(&reader, left).await.expect("nobody removed it");
    }
    check_refusals(&reader).await;
    let seen =
        Seen { modified: overdue.modified, expiration: overdue.expiration.expect("it has a TTL") };
    let expired = reader.expire(k("/ttl"), seen).await.expect_err("it has no id for a write");
    assert_eq!(expired.code, ErrorCode::RootReadOnly);
    let helped = reader.help_drain(&k("/large")).await.expect_err("nor for a drain");
    assert_eq!(helped.code, ErrorCode::RootReadOnly);
    assert!(reader.healthy().await);
    assert!(!reader.accounts().await.expect("they can be read").enabled);
    reader.end_watches();
    house.abort();
    assert!(house.await.is_err());
    reader.leave().await;
    assert_eq!(commits.load(Ordering::SeqCst), 0);
    assert_eq!(before, (records().await, format!("{:?}", world.raw_nodes().await)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_what_others_write_and_knows_their_users() {
    let table = DynamoDbStore::in_process(Meter::none()).await;
    let writer = super::following::gateway(&table).await;
    put(&writer, "/d/f", "0").await;
    let (store, commits) = guarded(table.clone());
    let wall: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
    let config = Config { access: Access::ReadOnly, ..FOLLOWS };
    let reader = Arc::new(Keyspace::open(store, clock, config).await.expect("it is there"));
    assert_eq!(reader.identity(), writer.identity());
    let house = keep_house(&reader);
    let mut watcher = soon(begin(&reader, stream("/d/**"))).await;
    let ttl = crate::v2::expiration_after(writer.now(), 1);
    for operation in [
        Operation::Set(file("1")),
        Operation::Delete(Removal { dir: false, recursive: false }),
        Operation::Set(Draft { expiration: Some(ttl), ..file("2") }),
    ] {
        let answer = write(&writer, "/d/f", operation).await.expect("it goes through");
        let told = soon(watcher.next()).await.expect("an event");
        assert_eq!((told.action, told.node.modified), (answer.event.action, answer.index));
    }
    // It expires where somebody watches who removes it.
    let _there = soon(begin(&writer, of("/d/f", None))).await;
    let told = soon(watcher.next()).await.expect("an event");
    assert_eq!(told.action, Action::Expire);
    let index = get(&reader, "/d").await.expect("there").index;
    let put = put(&writer, "/d/g", "1").await;
    let mut resumed = soon(begin(&reader, of("/d/**", index.next()))).await;
    let mut told = soon(resumed.next()).await.expect("an event");
    while told.node.modified < put.index {
        // An index of a read may be behind what it showed.
        resumed = soon(begin(&reader, of("/d/**", told.node.modified.next()))).await;
        told = soon(resumed.next()).await.expect("an event");
    }
    assert_eq!(told.node, put.event.node);

    let root = PutUser {
        name: "root".to_owned(),
        password: None,
        roles: None,
        grant: Vec::new(),
        revoke: Vec::new(),
    };
    for asked in [Administration::PutUser(root), Administration::Enable] {
        writer.administrate(asked, Some("pw".to_owned())).await.expect("it is allowed");
    }
    assert!(reader.allows_administration(&Credentials::None).await, "it has not looked yet");
    reader.sweep().await.expect("a look");
    assert!(!reader.allows_administration(&Credentials::None).await);
    check_refusals(&reader).await;
    let signs = table.records(RecordKind::Gateway).await.expect("records").len();
    assert_eq!(signs, 1, "it leaves none");
    house.abort();
    assert!(house.await.is_err());
    reader.leave().await;
    assert_eq!(commits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_keyspace_that_is_not_there_is_not_made() {
    let world = World::new();
    let (store, commits) = guarded(world.store.clone());
    let wall = Arc::clone(&world.wall) as Arc<dyn Clock>;
    let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
    let opened = Keyspace::open(store, clock, READS).await.map(drop);
    let refused = opened.expect_err("there is none");
    assert!(matches!(refused, OpenError::Missing), "{refused}");
    assert!(refused.to_string().contains("--read-only"), "{refused}");
    assert_eq!(commits.load(Ordering::SeqCst), 0);
}
