//! Large removals that several tasks meet at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::keyspace::drain::Drain;

/// Each of them would otherwise try to remove every node, at a write unit each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_drain_do_its_work_once() {
    const NODES: u64 = 30;
    const WRITERS: u64 = 12;
    let world = World::new();
    let witness =
        world.gateway_on(narrow(Faults::new(world.store.clone(), |_, _| Fault::None))).await;
    for node in 0..NODES {
        put(&witness, &format!("/d/{node}"), "v").await;
    }
    // Killed when the removal is decided and nothing is removed yet.
    let victim = Faults::new(world.store.clone(), |call, is_commit| {
        if is_commit && call > OPENING_CALLS + 4 { Fault::Killed } else { Fault::None }
    });
    let victim = world.gateway_on(narrow(victim)).await;
    let doomed = write(&victim, "/d", Operation::Delete(TREE));
    tokio::time::timeout(Duration::from_millis(300), doomed).await.expect_err("it was killed");
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let store = Faults::new(world.store.clone(), move |_, is_commit| {
        counted.fetch_add(u64::from(is_commit), Ordering::SeqCst);
        Fault::Slow(2)
    });
    let helper = Arc::new(world.gateway_on(narrow(store)).await);
    commits.store(0, Ordering::SeqCst);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let helper = Arc::clone(&helper);
        writers.push(tokio::spawn(async move {
            put(&helper, &format!("/d/new{writer}"), "v").await;
        }));
    }
    for writer in writers {
        writer.await.expect("every write goes through");
    }
    world.check_tree().await;
    assert_eq!(outline(&tree(&helper, "/d").await).len(), usize::try_from(WRITERS).expect("few"));
    let commits = commits.load(Ordering::SeqCst);
    assert!(commits < 2 * NODES + 6 * WRITERS, "{commits} commits");
}

/// Nothing but the table would know of the second one then, which takes a look more to be found.
#[tokio::test]
async fn a_drain_that_fails_keeps_none_from_being_tried_again() {
    let world = World::new();
    drop(world.gateway().await);
    let store = Faults::new(world.store.clone(), |call, _| match call < OPENING_CALLS {
        true => Fault::None,
        false => Fault::Unavailable,
    });
    let gateway = world.gateway_on(narrow(store)).await;
    for top in ["/a", "/b", "/c"] {
        let (top, index) = (k(top), EtcdIndex(1));
        gateway.leave_drain(Drain { top, index, action: Action::Delete });
    }
    gateway.finish_left_drains().await.expect_err("the store is gone");
    let left = gateway.left_drains.lock().expect("no test panics with it").clone();
    let mut tops: Vec<String> = left.iter().map(|drain| drain.top.to_string()).collect();
    tops.sort();
    assert_eq!(tops, ["/a", "/b", "/c"]);
}
