//! Outcomes that get lost on the way: each is found out, and what is told stays true.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::Committed;
use crate::v2::Seen;

/// Tasks on two gateways add to one counter by compareAndSwap while requests and replies are lost.
/// Each success counts once: nothing is applied twice, and no task is told "compare failed"
/// because of its own write.
#[tokio::test]
async fn lost_replies_are_found_out() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let world = World::new();
    let setup = world.gateway().await;
    put(&setup, "/d/counter", "0").await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let store = narrow(Faults::seeded(world.store.clone(), seed.wrapping_add(task), 3));
        let gateway = world.gateway_on(store).await;
        tasks.push(tokio::spawn(async move {
            let mut added = 0;
            while added < 25 {
                let seen = get(&gateway, "/d/counter").await.expect("there").event.node.value;
                let seen = seen.expect("a file");
                let number: u32 = String::from_utf8_lossy(seen.as_bytes()).parse().expect("digits");
                let compare = Compare { prev_value: Some(seen), prev_index: None };
                let swap = Operation::CompareAndSwap(file(&(number + 1).to_string()), compare);
                match write(&gateway, "/d/counter", swap).await {
                    Ok(answer) => {
                        added += 1;
                        assert_eq!(answer.event.action, Action::CompareAndSwap);
                    }
                    Err(error) => assert_eq!(error.code, ErrorCode::TestFailed, "{error}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
    let end = get(&setup, "/d/counter").await.expect("there").event.node.value;
    assert_eq!(end, Some(Value::from("100")), "seed {seed}");
}

#[tokio::test]
async fn a_removal_whose_reply_is_lost_still_shows_what_was_removed() {
    let world = World::new();
    let setup = world.gateway().await;
    let created = put(&setup, "/a", "v").await;
    let store = Faults::new(world.store.clone(), |call, is_commit| {
        if is_commit && call == OPENING_CALLS { Fault::LostReply } else { Fault::None }
    });
    let gateway = world.gateway_on(store).await;
    let delete = Operation::Delete(Removal::default());
    let event = write(&gateway, "/a", delete).await.expect("it happened").event;
    assert_eq!(event.action, Action::Delete);
    let before = event.prev_node.expect("what was removed");
    assert_eq!((before.value, before.modified), (Some(Value::from("v")), created.index));
}

/// A write is refused, but its first attempt is still on its way, and a gateway with a slower clock
/// changes the key so that only the index could keep it from applying.
#[tokio::test]
async fn a_write_that_was_refused_does_not_happen_later() {
    let delete = || Operation::Delete(Removal::default());
    for (is_there, refused, code, change) in [
        (true, Operation::Create(file("new")), ErrorCode::NodeExist, delete()),
        (
            false,
            Operation::Update(file("new")),
            ErrorCode::KeyNotFound,
            Operation::Set(file("old")),
        ),
    ] {
        let world = World::new();
        let slow = world.gateway().await;
        if is_there {
            put(&slow, "/a", "old").await;
        }
        let store = Faults::new(world.store.clone(), |call, is_commit| {
            if is_commit && call == OPENING_CALLS { Fault::HeldBack } else { Fault::None }
        });
        let held_back = store.held_back();
        let wall: Arc<dyn Clock> = Arc::new(FakeClock::at_us(START_US + 3_000_000));
        let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
        let fast = Keyspace::open(store, clock, CONFIG).await.expect("the keyspace opens");
        assert_eq!(write(&fast, "/a", refused).await.expect_err("refused").code, code);

        write(&slow, "/a", change).await.expect("nothing is in its way");
        let before = get(&slow, "/a").await.ok().map(|answer| answer.event.node);
        let held_back = std::mem::take(&mut *held_back.lock().expect("nobody panicked"));
        assert_eq!(held_back.len(), 1);
        for commit in &held_back {
            let late = world.store.commit(commit).await.expect("the store is there");
            assert!(matches!(late, Committed::Refused { .. }), "{late:?}");
        }
        let after = get(&slow, "/a").await.ok().map(|answer| answer.event.node);
        assert_eq!(after, before);
    }
}

/// A creation is delivered twice, and between the two its own gateway removes the file by another way
/// than a request of the key: the trace of the first must be there when the second is refused.
#[tokio::test]
async fn a_creation_delivered_twice_is_made_once_whatever_removes_it_in_between() {
    for expires in [true, false] {
        let world = World::new();
        put(&world.gateway().await, "/d/other", "v").await;
        world.wall.advance_ms(1);
        let is_next = Arc::new(AtomicBool::new(false));
        let is_creation = Arc::clone(&is_next);
        let store = Faults::new(world.store.clone(), move |_, is_commit| {
            let is_hit = is_commit && is_creation.swap(false, Ordering::SeqCst);
            if is_hit { Fault::TwiceApart(200) } else { Fault::None }
        });
        let gateway = world.gateway_on(narrow(store)).await;
        is_next.store(true, Ordering::SeqCst);
        let create = write(&gateway, "/d/t", Operation::Create(until(&world, file("v"), 5)));
        let remove = async {
            let first = loop {
                match world.store.get(&k("/d/t"), Consistency::Strong).await.expect("a store") {
                    Some(item) => break item,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let removed = if expires {
                world.wall.advance_ms(5_000);
                let expiration = first.expiration.expect("it has a TTL");
                let seen = Seen { modified: first.modified, expiration };
                gateway.expire(k("/d/t"), seen).await.map(|event| event.is_some())
            } else {
                write(&gateway, "/d", Operation::Delete(TREE)).await.map(|_| true)
            };
            assert_eq!(removed, Ok(true));
            first.modified
        };
        let (created, first) = tokio::join!(create, remove);
        assert_eq!(created.expect("it happened").index, first, "expires: {expires}");
        assert_eq!(get(&gateway, "/d/t").await.expect_err("gone").code, ErrorCode::KeyNotFound);
    }
}
