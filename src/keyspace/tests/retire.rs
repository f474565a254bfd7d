//! Taking a keyspace out of use: never beside a gateway, however the two meet.

use std::sync::atomic::{AtomicBool, Ordering};

use super::watches::{WATCHED, begin, keep_house, pass, stop_time, stream};
use super::*;
use crate::clock::SystemClock;
use crate::keyspace::retire::{NotRetired, Sign, retire};
use crate::keyspace::{Founded, Identity, OpenError, Presence, found, look};
use crate::store::StoreError;
use crate::store::dynamodb::{DynamoDbStore, Meter};
use crate::v2::{Commit, Op, WriteId};

const DEFAULT: fn(u64, bool) -> Fault = |_, _| Fault::None;

fn clock(world: &World) -> IndexClock {
    let wall = Arc::clone(&world.wall) as Arc<dyn Clock>;
    IndexClock::new(wall, DRIFT_US, EtcdIndex(0))
}

async fn make(world: &World) -> Identity {
    let Founded { identity, is_new } =
        found(&world.store, &clock(world)).await.expect("it is made");
    assert!(is_new);
    identity
}

async fn leave_sign(world: &World, gateway: u32, seen: UnixMs) {
    let id = WriteId { index: EtcdIndex(1), gateway };
    let op = Op::PutRecord(Record::Gateway { gateway, seen });
    world.store.commit(&Commit { id, ops: vec![op] }).await.expect("it is left");
}

async fn retire_now(world: &World) -> Result<(), NotRetired> {
    retire(&world.store, &clock(world), |_| panic!("there is nothing to wait for")).await
}

/// Takes the keyspace out of use, which nobody is seen to use, and erases the signs of those who did.
pub(super) async fn delete(world: &World) {
    retire_now(world).await.expect("nobody can be seen");
    let signs = world.store.records(RecordKind::Gateway).await.expect("signs");
    let ops = signs.into_iter().map(|sign| Op::DropRecord(sign.name())).collect();
    let id = WriteId { index: EtcdIndex(1), gateway: 1 };
    world.store.commit(&Commit { id, ops }).await.expect("they are erased");
}

fn remote(world: &World, choose: impl Fn(u64, bool) -> Fault + Send + Sync + 'static) -> Remote {
    let limits = Limits { is_remote: true, ..world.store.limits() };
    Faults::new(world.store.clone(), choose).with_limits(limits)
}

type Remote = Faults<Embedded>;

async fn open(world: &World, store: Remote) -> Result<Keyspace<Remote>, OpenError> {
    Keyspace::open(store, Arc::new(clock(world)), CONFIG).await
}

#[tokio::test]
async fn one_is_made_once() {
    let world = World::new();
    assert_eq!(look(&world.store).await.expect("a look"), Presence::Nothing);
    let identity = make(&world).await;
    let again = found(&world.store, &clock(&world)).await.expect("it is there");
    assert_eq!(again, Founded { identity, is_new: false });
    assert_eq!(look(&world.store).await.expect("a look"), Presence::Whole(identity));
    assert_eq!(world.gateway().await.identity(), identity);
}

#[tokio::test]
async fn whoever_starts_on_what_is_left_of_one_is_told_what_helps() {
    let world = World::new();
    make(&world).await;
    retire_now(&world).await.expect("nobody is there");
    assert_eq!(look(&world.store).await.expect("a look"), Presence::HalfDeleted);
    for refused in [
        open(&world, remote(&world, DEFAULT)).await.map(|_| ()),
        found(&world.store, &clock(&world)).await.map(|_| ()),
    ] {
        let error = refused.expect_err("it is no keyspace any more");
        assert!(matches!(error, OpenError::HalfDeleted), "{error}");
        assert!(error.to_string().contains("etcdynamo keyspace delete"), "{error}");
    }
    retire_now(&world).await.expect("again");
}

#[tokio::test]
async fn a_gateway_that_lives_is_named() {
    let world = World::new();
    let gateway = open(&world, remote(&world, DEFAULT)).await.expect("it opens");
    world.wall.advance_ms(34_000);
    let error = retire_now(&world).await.expect_err("it lives");
    let NotRetired::Lived(signs) = &error else { panic!("{error}") };
    let [(Sign { gateway: number, .. }, ago)] = signs.as_slice() else { panic!("{signs:?}") };
    assert_eq!((Some(*number), ago.as_secs()), (gateway.gateway.get(), 34));
    assert!(error.to_string().contains(&number.to_string()), "{error}");
    gateway.leave().await;
    retire_now(&world).await.expect("it left");
}

#[tokio::test]
async fn a_sign_of_long_ago_is_nobodys() {
    let world = World::new();
    make(&world).await;
    let now = clock(&world).now();
    leave_sign(&world, 3, now.plus_ms(-35_000 - 300_000)).await;
    retire_now(&world).await.expect("older than clocks may be apart");
}

/// A gateway whose clock is minutes behind leaves signs that are old when they are new, and one
/// whose clock is ahead leaves signs that stay new.
#[tokio::test]
async fn a_sign_that_may_be_a_wrong_clocks_is_watched() {
    for (lives, off_ms) in
        [(true, -100_000), (false, -100_000), (true, 3_600_000), (false, 3_600_000)]
    {
        let _stopped = stop_time();
        let world = Arc::new(World::new());
        make(&world).await;
        let then = clock(&world).now().plus_ms(off_ms);
        leave_sign(&world, 3, then).await;
        let deleting = tokio::spawn({
            let world = Arc::clone(&world);
            async move {
                let mut told = None;
                let retired = retire(&world.store, &clock(&world), |time| told = Some(time)).await;
                (retired, told)
            }
        });
        for second in 1..=50 {
            pass(Duration::from_secs(1)).await;
            if lives && second % 10 == 0 {
                leave_sign(&world, 3, then.plus_ms(second * 1000)).await;
            }
        }
        let (retired, told) = deleting.await.expect("no panic");
        assert_eq!(told, Some(Duration::from_secs(35)));
        assert_eq!(retired.is_err(), lives, "{retired:?}");
        assert_eq!(matches!(look(&world.store).await, Ok(Presence::Whole(_))), lives);
        tokio::time::resume();
    }
}

/// A start and a deletion, of which one stands still before its n-th call until the other one is
/// through. At most one of the two comes to its end; and what is left says which.
#[tokio::test]
async fn a_gateway_that_starts_and_a_deletion_never_both_get_through() {
    let (mut opened, mut retired) = (0, 0);
    for still in 0..6 {
        for start_waits in [true, false] {
            let _stopped = stop_time();
            let world = Arc::new(World::new());
            let identity = make(&world).await;
            let slow = move |call, _| if call == still { Fault::Slow(1000) } else { Fault::None };
            let quick: fn(u64, bool) -> Fault = |_, _| Fault::None;
            let (starts, deletes) = match start_waits {
                true => (remote(&world, slow), remote(&world, quick)),
                false => (remote(&world, quick), remote(&world, slow)),
            };
            let start = {
                let world = Arc::clone(&world);
                async move { open(&world, starts).await }
            };
            let delete = {
                let world = Arc::clone(&world);
                async move { retire(&deletes, &clock(&world), |_| ()).await }
            };
            let (start, delete) = match start_waits {
                true => {
                    let start = tokio::spawn(start);
                    pass(Duration::from_millis(200)).await;
                    let delete = delete.await;
                    pass(Duration::from_millis(1500)).await;
                    (start.await.expect("no panic"), delete)
                }
                false => {
                    let delete = tokio::spawn(delete);
                    pass(Duration::from_millis(200)).await;
                    let start = start.await;
                    pass(Duration::from_millis(1500)).await;
                    (start, delete.await.expect("no panic"))
                }
            };
            let context = format!("call {still}, the start waits: {start_waits}");
            assert!(start.is_err() || delete.is_err(), "{context}");
            let left = look(&world.store).await.expect("a look");
            match delete {
                Ok(()) => assert_eq!(left, Presence::HalfDeleted, "{context}"),
                Err(NotRetired::Lived(_)) => {
                    assert_eq!(left, Presence::Whole(identity), "{context}");
                }
                Err(other) => panic!("{context}: {other}"),
            }
            match start {
                Ok(gateway) => assert_eq!(gateway.identity(), identity, "{context}"),
                Err(OpenError::HalfDeleted | OpenError::Deleted) => {
                    let signs = world.store.records(RecordKind::Gateway).await.expect("signs");
                    assert_eq!(signs, [], "{context}");
                }
                Err(other) => panic!("{context}: {other}"),
            }
            opened += u32::from(left != Presence::HalfDeleted);
            retired += u32::from(left == Presence::HalfDeleted);
            tokio::time::resume();
        }
    }
    assert!(opened > 2 && retired > 2, "{opened} opened, {retired} retired");
}

#[tokio::test]
async fn an_outcome_that_gets_lost_is_found_out() {
    for fault in [Fault::LostRequest, Fault::LostReply, Fault::Twice, Fault::Unavailable] {
        let world = World::new();
        make(&world).await;
        let store = remote(&world, move |call, _| if call == 2 { fault } else { Fault::None });
        retire(&store, &clock(&world), |_| ()).await.expect("it is found out");
        assert_eq!(look(&world.store).await.expect("a look"), Presence::HalfDeleted, "{fault:?}");
    }
    let world = World::new();
    let identity = make(&world).await;
    let store = remote(&world, |call, _| if call > 1 { Fault::Busy } else { Fault::None });
    let error = retire(&store, &clock(&world), |_| ()).await.expect_err("nothing is taken");
    assert!(matches!(error, NotRetired::Store(StoreError::Busy)), "{error}");
    assert_eq!(look(&world.store).await.expect("a look"), Presence::Whole(identity));
}

/// A gateway that was cut off while its keyspace was deleted knows when it is back, and does not
/// live on a keyspace of the same name.
#[tokio::test]
async fn a_gateway_that_was_cut_off_meanwhile_answers_nothing_any_more() {
    let _stopped = stop_time();
    let world = World::new();
    let is_cut = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&is_cut);
    let store = remote(&world, move |_, _| match cut.load(Ordering::SeqCst) {
        true => Fault::Unavailable,
        false => Fault::None,
    });
    let gateway = Arc::new(world.gateway_as(store, WATCHED).await);
    let _house = keep_house(&gateway);
    put(&gateway, "/f", "1").await;
    let mut told = begin(&gateway, stream("/**")).await;
    is_cut.store(true, Ordering::SeqCst);
    for _ in 0..400 {
        world.wall.advance_ms(1000);
    }
    pass(Duration::from_secs(40)).await;
    delete(&world).await;
    is_cut.store(false, Ordering::SeqCst);
    pass(Duration::from_secs(11)).await;
    assert_eq!(told.next().await, None, "the watch is ended");
    for refused in [
        write(&gateway, "/f", Operation::Set(file("2"))).await.map(|_| ()),
        get(&gateway, "/f").await.map(|_| ()),
        gateway.watch(stream("/f")).await.map(|_| ()),
    ] {
        assert_eq!(refused.expect_err("it is gone").cause, b"the keyspace was deleted");
    }
    assert!(!gateway.healthy().await);
    pass(Duration::from_secs(11)).await;
    assert_eq!(world.store.records(RecordKind::Gateway).await.expect("signs"), []);
}

/// Whoever leaves no sign learns of it where `/health` is asked for.
#[tokio::test]
async fn a_gateway_that_only_reads_learns_of_it_when_it_is_asked_how_it_is() {
    let store = DynamoDbStore::in_process(Meter::none()).await;
    let clock = || Arc::new(IndexClock::new(Arc::new(SystemClock), DRIFT_US, EtcdIndex(0)));
    found(&store, &clock()).await.expect("it is made");
    let config = Config { access: Access::ReadOnly, ..CONFIG };
    let gateway = Keyspace::open(store.clone(), clock(), config).await.expect("it opens");
    assert!(gateway.healthy().await);
    retire(&store, &clock(), |_| ()).await.expect("nobody writes");
    store.erase(|_| ()).await.expect("it is erased");
    let learns = async {
        while gateway.healthy().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learns).await.expect("it asks again in time");
    let error = get(&gateway, "/").await.expect_err("there is nothing");
    assert_eq!(error.cause, b"the keyspace was deleted");
}
