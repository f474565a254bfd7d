//! Gateways that nobody runs between requests: what they make up for, when, and at what price.

use std::sync::atomic::{AtomicBool, Ordering};

use super::costs::{Cost, Metered};
use super::*;
use crate::keyspace::Intent::{Reads, Writes};
use crate::keyspace::{Credentials, Intent};
use crate::v2::{Administration, Need, PutRole, PutUser, WRITER_SLOTS, writer_slot};

const NOTHING: Cost = Cost { calls: 0, read_units: 0.0, write_units: 0.0 };
const A_LOOK: Cost = Cost { calls: 1, read_units: 1.0, write_units: 0.0 };
const A_SIGN: Cost = Cost { calls: 2, read_units: 1.0, write_units: 1.0 };
const BOTH: Cost = Cost { calls: 3, read_units: 2.0, write_units: 1.0 };

type Remote = Keyspace<Faults<Embedded>>;

/// A gateway on a store that others can reach too.
async fn remote(world: &World) -> Remote {
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let store = Faults::new(world.store.clone(), |_, _| Fault::None).with_limits(limits);
    world.gateway_on(store).await
}

async fn wake<S: Store>(gateway: &Keyspace<S>, intent: Intent) {
    gateway.catch_up(intent).await.expect("it catches up");
}

async fn make_dir<S: Store>(world: &World, gateway: &Keyspace<S>, key: &str, seconds: i64) {
    let draft = until(world, Draft { dir: true, ..Draft::default() }, seconds);
    write(gateway, key, Operation::Set(draft)).await.expect("a directory");
    put(gateway, &format!("{key}/f"), "1").await;
}

#[tokio::test]
async fn it_looks_once_a_second_and_signs_every_ten_and_costs_nothing_beside_requests() {
    let wall = Arc::new(FakeClock::at_us(START_US));
    let clock = Arc::clone(&wall) as Arc<dyn Clock>;
    let bill = Metered::open_as(CONFIG, clock, |store| store).await;
    bill.take();
    for (passed_ms, intent, cost) in [
        (0, Reads, A_LOOK),
        (0, Reads, NOTHING),
        (0, Writes, NOTHING),
        (900, Reads, NOTHING),
        (100, Reads, A_LOOK),
        (8_000, Writes, A_LOOK),
        (3_000, Reads, A_LOOK),
        (0, Writes, A_SIGN),
        (0, Writes, NOTHING),
        (3_600_000, Reads, A_LOOK),
        (3_600_000, Writes, BOTH),
        (0, Writes, NOTHING),
    ] {
        wall.advance_ms(passed_ms);
        assert_eq!(bill.take(), NOTHING, "by itself it does nothing");
        wake(&bill.gateway, intent).await;
        assert_eq!(bill.take(), cost, "{intent:?} after {passed_ms} ms");
    }
}

#[tokio::test]
async fn one_that_only_reads_leaves_no_sign() {
    let world = World::new();
    drop(remote(&world).await);
    let config = Config { access: Access::ReadOnly, ..CONFIG };
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let store = Faults::new(world.store.clone(), |_, is_commit| {
        assert!(!is_commit, "it never writes");
        Fault::None
    });
    let reader = world.gateway_as(store.with_limits(limits), config).await;
    for _ in 0..3 {
        world.wall.advance_ms(60_000);
        wake(&reader, Writes).await;
    }
}

#[tokio::test]
async fn users_and_roles_are_known_before_the_next_request() {
    let world = World::new();
    let (other, gateway) = (remote(&world).await, remote(&world).await);
    wake(&gateway, Reads).await;
    let user = PutUser {
        name: "root".to_owned(),
        password: None,
        roles: None,
        grant: vec![],
        revoke: vec![],
    };
    let role = PutRole {
        name: "guest".to_owned(),
        permissions: Default::default(),
        grant: None,
        revoke: None,
    };
    for (asked, password) in [
        (Administration::PutUser(user), Some("pw".to_owned())),
        (Administration::PutRole(role), None),
        (Administration::Enable, None),
    ] {
        other.administrate(asked, password).await.expect("it is allowed");
    }
    let need = Need { path: b"/x", writes: false, recursive: false };
    world.wall.advance_ms(1_000);
    wake(&gateway, Reads).await;
    assert!(!gateway.allows(&Credentials::None, need).await);
}

#[tokio::test]
async fn what_a_ttl_took_along_is_gone_before_the_next_request() {
    let world = World::new();
    let (other, gateway) = (remote(&world).await, remote(&world).await);
    make_dir(&world, &other, "/d", 100).await;
    wake(&gateway, Reads).await;
    world.wall.advance_ms(99_900);
    wake(&gateway, Reads).await;
    get(&gateway, "/d/f").await.expect("it is still there");
    // On the millisecond, though the last look is younger than a second.
    world.wall.advance_ms(100);
    wake(&gateway, Reads).await;
    let error = get(&gateway, "/d/f").await.expect_err("it went with its directory");
    assert_eq!(error.code, ErrorCode::KeyNotFound);
    // Its own are known at once.
    make_dir(&world, &gateway, "/e", 1).await;
    wake(&gateway, Reads).await;
    world.wall.advance_ms(1_000);
    wake(&gateway, Reads).await;
    get(&gateway, "/e/f").await.expect_err("it went with its directory");
    world.check_tree().await;
}

#[tokio::test]
async fn without_a_look_there_is_no_answer() {
    let world = World::new();
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_gone);
    let store = Faults::new(world.store.clone(), move |_, _| {
        if gone.load(Ordering::SeqCst) { Fault::Unavailable } else { Fault::None }
    });
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let gateway = world.gateway_on(store.with_limits(limits)).await;
    wake(&gateway, Writes).await;
    is_gone.store(true, Ordering::SeqCst);
    wake(&gateway, Writes).await;
    world.wall.advance_ms(60_000);
    for intent in [Reads, Writes] {
        let error = gateway.catch_up(intent).await.expect_err("it may know too little");
        assert_eq!(error.code, ErrorCode::RaftInternal);
    }
    is_gone.store(false, Ordering::SeqCst);
    wake(&gateway, Writes).await;
}

#[tokio::test]
async fn a_removal_that_somebody_left_goes_on_with_requests() {
    let world = World::new();
    let gateway = remote(&world).await;
    for node in 0..20 {
        put(&gateway, &format!("/d/{node}"), "v").await;
    }
    let limits = Limits { is_remote: true, commit_ops: 5, ..world.store.limits() };
    let commits = std::sync::atomic::AtomicU64::new(0);
    let victim = Faults::new(world.store.clone(), move |call, is_commit| {
        let is_later =
            is_commit && call >= OPENING_CALLS && commits.fetch_add(1, Ordering::SeqCst) > 0;
        if is_later { Fault::Killed } else { Fault::None }
    });
    let victim = world.gateway_on(victim.with_limits(limits)).await;
    let doomed = write(&victim, "/d", Operation::Delete(TREE));
    tokio::time::timeout(Duration::from_millis(300), doomed).await.expect_err("it was killed");
    assert!(!world.raw_nodes().await.is_empty(), "it is half done");
    // Who removes it may be at work, so it is helped only when it is seen a second time.
    wake(&gateway, Reads).await;
    assert!(!world.raw_nodes().await.is_empty());
    world.wall.advance_ms(1_000);
    wake(&gateway, Reads).await;
    assert!(world.raw_nodes().await.is_empty());
    assert!(world.store.records(RecordKind::Drain).await.expect("records").is_empty());
}

#[tokio::test]
async fn who_lost_its_slot_while_it_stood_still_writes_from_another_one() {
    let world = World::new();
    let sleeper = remote(&world).await;
    let before = sleeper.gateway.get().expect("it writes");
    let mut others = Vec::new();
    for _ in 0..WRITER_SLOTS {
        world.wall.advance_ms(60_000);
        others.push(remote(&world).await);
    }
    let taker = others.last().and_then(|last| last.gateway.get()).expect("it writes");
    assert_eq!(writer_slot(taker), writer_slot(before), "the oldest sign is taken over");
    wake(&sleeper, Reads).await;
    assert_eq!(sleeper.gateway.get(), Some(before), "who reads needs no slot");
    wake(&sleeper, Writes).await;
    let after = sleeper.gateway.get().expect("it writes");
    assert_ne!(writer_slot(after), writer_slot(taker));
    let signs = world.store.records(RecordKind::Gateway).await.expect("records");
    let is_there = |number: u32| {
        signs
            .iter()
            .any(|sign| matches!(sign, Record::Gateway { gateway, .. } if *gateway == number))
    };
    assert!(is_there(after) && is_there(taker) && !is_there(before));
    put(&sleeper, "/f", "1").await;
    let item = world.store.get(&k("/f"), Consistency::Strong).await.expect("an item");
    let ids = item.expect("it is there").writes.clone();
    assert!(ids.ids().iter().all(|id| id.gateway == after), "{ids:?}");
    // It leaves as who it is now.
    sleeper.leave().await;
    let signs = world.store.records(RecordKind::Gateway).await.expect("records");
    assert_eq!(signs.len(), usize::try_from(WRITER_SLOTS).expect("few") - 1);
}

#[tokio::test]
async fn one_whose_keyspace_was_deleted_while_it_stood_still_writes_nothing_more() {
    let world = World::new();
    let sleeper = remote(&world).await;
    wake(&sleeper, Writes).await;
    put(&sleeper, "/f", "1").await;
    world.wall.advance_ms(400_000);
    retire::delete(&world).await;
    for _ in 0..2 {
        let refused = sleeper.catch_up(Writes).await.expect_err("it is gone");
        assert_eq!(refused.cause, b"the keyspace was deleted");
    }
    write(&sleeper, "/f", Operation::Set(file("2"))).await.expect_err("it is gone");
    let signs = world.store.records(RecordKind::Gateway).await.expect("records");
    assert_eq!(signs, []);
}

/// The clock of the machine stood still with it, or was set back: the other one tells.
#[tokio::test]
async fn time_passes_by_either_clock() {
    let _stopped = watches::stop_time();
    let world = World::new();
    let looks = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let store = Faults::new(world.store.clone(), move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Fault::None
    });
    let gateway = world.gateway_on(store).await;
    let costs = |name| {
        let before = looks.load(Ordering::SeqCst);
        let (gateway, looks) = (&gateway, &looks);
        async move {
            wake(gateway, Reads).await;
            (name, looks.load(Ordering::SeqCst) - before)
        }
    };
    assert_eq!(costs("the first").await, ("the first", 1));
    assert_eq!(costs("at once").await, ("at once", 0));
    watches::pass(Duration::from_secs(1)).await;
    assert_eq!(costs("monotonic").await, ("monotonic", 1));
    world.wall.advance_ms(1_000);
    assert_eq!(costs("wall").await, ("wall", 1));
    world.wall.set_us(START_US - 1_000_000);
    assert_eq!(costs("back").await, ("back", 0));
}
