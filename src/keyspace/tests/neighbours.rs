//! Gateways that know of each other: one that tells only of its own writes must be alone.

use std::sync::atomic::{AtomicBool, Ordering};

use super::watches::{WATCHED, begin, keep_house, of, pass, stop_time, stream};
use super::*;
use crate::keyspace::neighbours::{Company, Neighbours};

type Remote = Keyspace<Faults<Embedded>>;

/// A gateway on a store that others can reach too.
async fn local_on_table(world: &World) -> Arc<Remote> {
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let store = Faults::new(world.store.clone(), |_, _| Fault::None).with_limits(limits);
    Arc::new(world.gateway_as(store, WATCHED).await)
}

async fn refusal(gateway: &Remote) -> String {
    let error = gateway.watch(of("/f", None)).await.expect_err("it is refused");
    assert_eq!(error.code, ErrorCode::InvalidField);
    String::from_utf8_lossy(&error.cause).into_owned()
}

/// Both clocks go on.
async fn let_pass(world: &World, time: Duration) {
    for _ in 0..time.as_secs() {
        world.wall.advance_ms(1000);
        pass(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_second_gateway_ends_the_watches_of_both_until_it_is_gone() {
    let _stopped = stop_time();
    let world = World::new();
    let first = local_on_table(&world).await;
    let _house = keep_house(&first);
    let before = put(&first, "/f", "1").await;
    let mut told = begin(&first, stream("/**")).await;
    let_pass(&world, Duration::from_secs(30)).await;
    assert_eq!(put(&first, "/f", "2").await.event, *told.next().await.expect("alone, it is told"));

    let second = local_on_table(&world).await;
    assert!(refusal(&second).await.contains("--watch streams"), "it sees the first at once");
    let other_house = keep_house(&second);
    let_pass(&world, Duration::from_secs(11)).await;
    assert_eq!(told.next().await, None, "it is not left to miss what the second one writes");
    assert!(refusal(&first).await.contains("--watch streams"));

    // Stopped as by SIGTERM, the second leaves at once.
    other_house.abort();
    assert!(other_house.await.is_err());
    second.leave().await;
    let_pass(&world, Duration::from_secs(11)).await;
    let error = first.watch(of("/**", before.index)).await.expect_err("the window is cleared");
    assert_eq!(error.code, ErrorCode::EventIndexCleared);
    let index = get(&first, "/f").await.expect("there").index;
    let mut told = begin(&first, of("/**", index.next())).await;
    let again = put(&first, "/f", "3").await;
    assert_eq!(*told.next().await.expect("told"), again.event);
}

#[tokio::test]
async fn one_that_was_killed_is_waited_for_until_its_sign_is_old() {
    let _stopped = stop_time();
    let world = World::new();
    drop(local_on_table(&world).await);
    let next = local_on_table(&world).await;
    refusal(&next).await;
    let _house = keep_house(&next);
    let_pass(&world, Duration::from_secs(30)).await;
    refusal(&next).await;
    let_pass(&world, Duration::from_secs(20)).await;
    begin(&next, of("/f", None)).await;
    // One that comes much later does not wait for it at all.
    world.wall.advance_ms(60_000);
    drop(next);
    let_pass(&world, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn one_that_cannot_look_does_not_claim_to_be_alone() {
    let _stopped = stop_time();
    let world = World::new();
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let store = Faults::new(world.store.clone(), {
        let fails = Arc::clone(&fails);
        move |_, _| match fails.load(std::sync::atomic::Ordering::SeqCst) {
            true => Fault::Unavailable,
            false => Fault::None,
        }
    });
    let gateway = Arc::new(world.gateway_as(store.with_limits(limits), WATCHED).await);
    let mut told = begin(&gateway, stream("/f")).await;
    let _house = keep_house(&gateway);
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let_pass(&world, Duration::from_secs(60)).await;
    assert_eq!(told.next().await, None);
    refusal(&gateway).await;
    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    let_pass(&world, Duration::from_secs(11)).await;
    begin(&gateway, of("/f", None)).await;
}

#[tokio::test]
async fn signs_are_kept_apart_from_clocks() {
    let neighbours = Neighbours::default();
    let record = |gateway, seen| Record::Gateway { gateway, seen: UnixMs(seen) };
    assert_eq!(neighbours.company(), Company::Unknown);
    // At the first look an old sign is nobody's.
    neighbours.take_in(vec![record(1, 0), record(2, 5)], Some(1), UnixMs(1_000_000));
    assert_eq!(neighbours.company(), Company::Alone);
    // It changed since, whatever it is dated: a clock that is far behind.
    neighbours.take_in(vec![record(2, 6)], Some(1), UnixMs(1_000_010));
    assert_eq!(neighbours.company(), Company::Others(1));
    neighbours.wrote(3);
    assert_eq!(neighbours.company(), Company::Others(2));
    neighbours.take_in(vec![], Some(1), UnixMs(1_000_020));
    assert_eq!(neighbours.company(), Company::Others(1), "one left, one was seen");
}

/// An answer's index is not below that of a write that was answered before, whatever else is under way.
#[tokio::test]
async fn a_sign_of_life_under_way_holds_no_index_back() {
    let _stopped = stop_time();
    let world = World::new();
    let limits = Limits { is_remote: true, ..world.store.limits() };
    let hangs = Arc::new(AtomicBool::new(false));
    let is_next = Arc::clone(&hangs);
    let store = Faults::new(world.store.clone(), move |_, is_commit| {
        let is_hit = is_commit && is_next.swap(false, Ordering::SeqCst);
        if is_hit { Fault::Killed } else { Fault::None }
    });
    let gateway = Arc::new(world.gateway_as(store.with_limits(limits), WATCHED).await);
    put(&gateway, "/f", "1").await;
    hangs.store(true, Ordering::SeqCst);
    let _house = keep_house(&gateway);
    let_pass(&world, Duration::from_secs(11)).await;
    assert!(!hangs.load(Ordering::SeqCst), "the sign is under way");
    let answered = async {
        let written = put(&gateway, "/f", "2").await.index;
        assert!(get(&gateway, "/f").await.expect("there").index >= written);
        assert!(get(&gateway, "/nope").await.expect_err("missing").index >= written);
    };
    tokio::select! {
        () = answered => {}
        () = pass(Duration::from_secs(20)) => panic!("answers wait for the sign"),
    }
}
