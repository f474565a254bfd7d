//! Creations in one directory: that they go together, and that each is answered for itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;

use super::costs::Metered;
use super::*;
use crate::units::Bill;

const CLIENTS: u64 = 64;

/// How long a request may take here. Long for those that come through, short for those that hang.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A store that costs, whose commits meet the fault that is chosen by their number, from 0 on once
/// the directory is made; and the number of commits so far.
fn remote(
    world: &World,
    choose: impl Fn(u64) -> Fault + Send + Sync + 'static,
) -> (Faults<Embedded>, Arc<AtomicU64>) {
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let limits = Limits { is_remote: true, commit_ops: 100, ..world.store.limits() };
    let store = Faults::new(world.store.clone(), move |call, is_commit| {
        if call < OPENING_CALLS || !is_commit {
            return Fault::None;
        }
        choose(counted.fetch_add(1, Ordering::SeqCst))
    });
    (store.with_limits(limits), commits)
}

async fn gateway(
    world: &World,
    choose: impl Fn(u64) -> Fault + Send + Sync + 'static,
) -> (Arc<Keyspace<Faults<Embedded>>>, Arc<AtomicU64>) {
    put(&world.gateway().await, "/d/first", "v").await;
    let (store, commits) = remote(world, choose);
    let config = Config { request_timeout: TIMEOUT, ..CONFIG };
    (Arc::new(world.gateway_as(store, config).await), commits)
}

/// The n-th client's creation: of every kind in turn.
fn creation(n: u64) -> Write {
    let (key, operation) = match n % 4 {
        0 => (format!("/d/file-{n}"), Operation::Create(file("v"))),
        1 => ("/d".to_owned(), Operation::CreateInOrder(file("v"))),
        2 => {
            let dir = Draft { dir: true, ..Draft::default() };
            (format!("/d/dir-{n}"), Operation::Set(dir))
        }
        _ => (format!("/d/new-{n}/file"), Operation::Create(file("v"))),
    };
    Write { key: k(&key), operation }
}

/// All clients at once, each on a task of its own.
async fn create_all<S: Store>(gateway: &Arc<Keyspace<S>>) -> Vec<Result<Answer, Error>> {
    let tasks = (0..CLIENTS).map(|n| {
        let gateway = Arc::clone(gateway);
        tokio::spawn(async move { gateway.write(creation(n)).await })
    });
    let ended = join_all(tasks).await;
    ended.into_iter().map(|task| task.expect("no task panics")).collect()
}

/// Every answer has an index of its own, and what it says is there.
async fn check_answers<S: Store>(gateway: &Keyspace<S>, answers: &[Result<Answer, Error>]) {
    let mut indexes = BTreeSet::new();
    for answer in answers.iter().flatten() {
        let node = &answer.event.node;
        assert!(indexes.insert(node.modified), "two writes have index {}", node.modified);
        assert_eq!((node.created, answer.index), (node.modified, node.modified));
        let found = get(gateway, &node.key.to_string()).await.expect("it was acknowledged");
        assert_eq!(found.event.node.modified, node.modified, "{}", node.key);
    }
    let dir = gateway.store.get(&k("/d"), Consistency::Strong).await.expect("an answer");
    let stamp = dir.expect("the directory").stamp();
    assert!(stamp >= indexes.last().copied(), "{stamp:?} is behind {:?}", indexes.last());
}

#[tokio::test]
async fn creations_in_one_directory_go_together() {
    let world = World::new();
    let (gateway, commits) = gateway(&world, |_| Fault::Slow(10)).await;
    let answers = create_all(&gateway).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    check_answers(&*gateway, &answers).await;
    world.check_tree().await;
    // A quarter is for directories that are not there yet: each of those guesses wrong at first, in
    // a commit of its own. Then there is the first one, and a few for all others together; more on a
    // machine so busy that clients come late.
    let commits = commits.load(Ordering::SeqCst) - CLIENTS / 4;
    assert!(commits <= CLIENTS / 2, "{commits} commits for {CLIENTS} creations");
    assert!(gateway.groups.is_idle(), "nothing is left behind");
}

#[tokio::test]
async fn gathered_creations_cost_less_than_each_alone_and_each_pays_its_part() {
    let metered = Metered::open(Consistency::Strong).await;
    let gateway = &metered.gateway;
    put(gateway, "/d/first", "v").await;
    metered.take();
    let bills: Vec<Bill> = (0..CLIENTS).map(|_| Bill::default()).collect();
    let create = |n: u64, bill: &Bill| {
        let key = format!("/d/{n}");
        bill.charge(async move { write(gateway, &key, Operation::Create(file("v"))).await })
    };
    let answers = join_all((0..).zip(&bills).map(|(n, bill)| create(n, bill))).await;
    // Each creation costs two units, and so does the stamp of each group: of the first one, which goes
    // alone, and of mostly one other. Who comes while the first one ends is in a third.
    let cost = metered.take();
    assert!(cost.calls <= 32, "{cost:?} for {CLIENTS} creations");
    let stamps = 2.0 * f64::from(u32::try_from(cost.calls).expect("a few"));
    assert_eq!(cost.write_units, 2.0 * 64.0 + stamps);
    let billed: Vec<f64> = bills.iter().map(|bill| bill.total().write).collect();
    assert_eq!(billed[0], 4.0);
    assert!(billed[1..].iter().all(|part| *part > 2.0 && *part <= 4.0), "{billed:?}");
    assert!((billed.iter().sum::<f64>() - cost.write_units).abs() < 1e-9, "{billed:?}");
    check_answers(gateway, &answers).await;
}

#[tokio::test]
async fn who_is_refused_does_not_keep_the_others_back() {
    let world = World::new();
    let (gateway, commits) = gateway(&world, |_| Fault::Slow(10)).await;
    let create = |n: u64| {
        let gateway = Arc::clone(&gateway);
        async move {
            let key = if n % 5 == 4 { "/d/first".to_owned() } else { format!("/d/{n}") };
            (n, write(&*gateway, &key, Operation::Create(file("v"))).await)
        }
    };
    for (n, answer) in join_all((0..CLIENTS).map(create)).await {
        match answer {
            Ok(_) => assert_ne!(n % 5, 4),
            Err(error) => {
                assert_eq!((error.code, n % 5), (ErrorCode::NodeExist, 4), "{error}");
                assert_eq!(error.cause, b"/d/first");
            }
        }
    }
    // The same key is written by one at a time: each of those who fail may spoil one group.
    let commits = commits.load(Ordering::SeqCst);
    assert!(commits <= 30, "{commits}");
}

#[tokio::test]
async fn a_directory_may_go_while_things_are_created_in_it() {
    let world = World::new();
    let (gateway, _) = gateway(&world, |_| Fault::Slow(10)).await;
    let removal = {
        let gateway = Arc::clone(&gateway);
        async move { write(&*gateway, "/d", Operation::Delete(TREE)).await }
    };
    let (answers, removed) = tokio::join!(create_all(&gateway), removal);
    removed.expect("it goes");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    world.check_tree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_creations_with_lost_outcomes_are_found_out() {
    for round in 0..20 {
        let seed = fastrand::u64(..);
        println!("round {round}, seed {seed}");
        let world = World::new();
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let (gateway, _) = gateway(&world, move |_| {
            let mut random = random.lock().expect("no test panics while it chooses");
            match random.u8(..10) {
                0 => Fault::LostRequest,
                1 | 2 => Fault::LostReply,
                3 => Fault::Twice,
                _ => Fault::Slow(random.u64(..3)),
            }
        })
        .await;
        let answers = create_all(&gateway).await;
        for answer in &answers {
            assert!(answer.is_ok(), "seed {seed}: {answer:?}");
        }
        check_answers(&*gateway, &answers).await;
        world.check_tree().await;
        assert!(gateway.groups.is_idle(), "nothing is left behind");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be_so_to_each() {
    let world = World::new();
    let (gateway, _) =
        gateway(&world, |call| if call < 3 { Fault::Unavailable } else { Fault::None }).await;
    let answers = create_all(&gateway).await;
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.code, ErrorCode::RaftInternal, "{error}");
    }
    check_answers(&*gateway, &answers).await;
    world.check_tree().await;
    assert!(create_all(&gateway).await.iter().any(Result::is_ok), "it is back");
}

#[tokio::test]
async fn nobody_waits_for_somebody_who_left() {
    let world = World::new();
    // The first commit never comes back.
    let (gateway, _) =
        gateway(&world, |call| if call == 0 { Fault::Killed } else { Fault::Slow(10) }).await;
    let stuck = {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(
            async move { write(&*gateway, "/d/stuck", Operation::Create(file("v"))).await },
        )
    };
    tokio::time::sleep(Duration::from_millis(1)).await;
    let create = |n: u64| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.write(creation(n)).await })
    };
    let (staying, leaving): (Vec<_>, Vec<_>) =
        (0..CLIENTS).map(|n| (n, create(n))).partition(|(n, _)| n % 2 == 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    leaving.iter().for_each(|(_, task)| task.abort());
    stuck.abort();
    for (_, task) in staying {
        task.await.expect("no task panics").expect("it goes on");
    }
    world.check_tree().await;
    assert!(gateway.groups.is_idle(), "nothing is left behind");
}

#[tokio::test]
async fn a_stuck_directory_ends_with_the_requests_deadline_and_others_are_free() {
    let world = World::new();
    let (gateway, _) =
        gateway(&world, |call| if call == 0 { Fault::KilledAfter } else { Fault::Slow(10) }).await;
    let all = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { create_all(&gateway).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    write(&*gateway, "/other/x", Operation::Create(file("v"))).await.expect("not in its way");
    for error in all.await.expect("no task panics").into_iter().filter_map(Result::err) {
        assert_eq!(error.code, ErrorCode::RaftInternal, "{error}");
    }
    let again = write(&*gateway, "/d/after", Operation::Create(file("v"))).await;
    again.expect("the directory is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_on_the_way_to_the_store_holds_nobody_up() {
    let world = World::new();
    let (gateway, _) = gateway(&world, |call| {
        assert_ne!(call, 1, "a panic that the test wants");
        Fault::Slow(5)
    })
    .await;
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { gateway.write(creation(n)).await })
        })
        .collect();
    // Those of the group that panicked panic with it; all others go through.
    let ended = join_all(tasks).await;
    assert!(ended.iter().any(Result::is_err), "nobody met the panic");
    assert!(ended.iter().flatten().all(Result::is_ok));
    write(&*gateway, "/d/after", Operation::Create(file("v"))).await.expect("it goes on");
    assert!(gateway.groups.is_idle(), "nothing is left behind");
}

/// In-order keys made through two gateways at once sort in the order in which each was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_order_keys_of_two_gateways_sort_as_they_were_acknowledged() {
    let world = World::new();
    put(&world.gateway().await, "/d/first", "v").await;
    let slow = |_| Fault::Slow(1);
    let one = Arc::new(world.gateway_on(remote(&world, slow).0).await);
    let two = Arc::new(world.gateway_on(remote(&world, slow).0).await);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..16).map(|n| {
        let gateway = Arc::clone(if n % 2 == 0 { &one } else { &two });
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(async move {
            for _ in 0..10 {
                let before = acknowledged.lock().expect("no panic here").last().cloned();
                let made = write(&*gateway, "/d", Operation::CreateInOrder(file("v"))).await;
                let key = made.expect("made").event.node.key;
                assert!(before < Some(key.clone()), "{key} is not after {before:?}");
                acknowledged.lock().expect("no panic here").push(key);
            }
        })
    });
    for ended in join_all(clients).await {
        ended.expect("they sort");
    }
    assert_eq!(acknowledged.lock().expect("no panic here").len(), 160);
}
