//! Emptying a keyspace: all nodes go by the rules, and nothing else goes.

use super::watches::{WATCHED, begin, stream};
use super::*;
use crate::keyspace::Credentials;
use crate::v2::{Administration, Need, PutUser};

async fn fill<S: Store>(gateway: &Keyspace<S>) {
    for key in ["/d/a", "/d/s/b", "/d/s/t/c", "/_hidden/_x/y", "/d/_h", "/file", "/other/x"] {
        put(gateway, key, "v").await;
    }
    write(gateway, "/bare", Operation::Create(Draft { dir: true, ..Draft::default() }))
        .await
        .expect("a directory");
    write(gateway, "/queue", Operation::CreateInOrder(file("v"))).await.expect("an in-order key");
}

async fn expiring<S: Store>(world: &World, gateway: &Keyspace<S>) {
    for (key, dir) in [("/ttl", false), ("/dir-ttl", true)] {
        let draft = until(world, Draft { dir, ..Draft::default() }, 1);
        write(gateway, key, Operation::Create(draft)).await.expect("it is made");
    }
    put(gateway, "/dir-ttl/x", "v").await;
}

#[tokio::test]
async fn every_node_goes_and_indexes_rise() {
    let world = World::new();
    let store = narrow(Faults::new(world.store.clone(), |_, _| Fault::None));
    let gateway = world.gateway_on(store).await;
    let last = put(&gateway, "/file", "0").await.index;
    fill(&gateway).await;
    expiring(&world, &gateway).await;
    world.wall.advance_ms(1_000);
    let mut told = Vec::new();
    let removed = gateway.empty(|removed| told.push(removed)).await.expect("it is emptied");
    assert_eq!(removed, 8);
    assert_eq!(told.last(), Some(&8));
    assert_eq!(world.raw_nodes().await, []);
    assert_eq!(gateway.store.records(RecordKind::Sweep).await.expect("records"), []);
    assert_eq!(gateway.empty(|_| ()).await.expect("again"), 0);
    let again = write(&gateway, "/file", Operation::Create(file("1"))).await.expect("created");
    assert!(again.event.node.modified > last);
}

#[tokio::test]
async fn users_and_ids_stay() {
    let world = World::new();
    let gateway = world.gateway().await;
    fill(&gateway).await;
    let root = PutUser {
        name: "root".to_owned(),
        password: None,
        roles: None,
        grant: Vec::new(),
        revoke: Vec::new(),
    };
    for (asked, password) in
        [(Administration::PutUser(root), Some("pw".to_owned())), (Administration::Enable, None)]
    {
        gateway.administrate(asked, password).await.expect("it is allowed");
    }
    gateway.empty(|_| ()).await.expect("it is emptied");
    let next = world.gateway().await;
    next.sweep().await.expect("a sweep");
    assert_eq!(next.identity(), gateway.identity());
    let wrong = Credentials::Password { name: "root".to_owned(), password: "no".to_owned() };
    let need = Need { path: b"/x", writes: true, recursive: false };
    assert!(!next.allows(&wrong, need).await, "it still asks");
}

#[tokio::test]
async fn watchers_hear_of_each() {
    let world = World::new();
    let gateway = world.gateway_as(world.store.clone(), WATCHED).await;
    for key in ["/a/x", "/b", "/_hidden"] {
        put(&gateway, key, "v").await;
    }
    let mut below = begin(&gateway, stream("/a/x")).await;
    let mut all = begin(&gateway, stream("/**")).await;
    gateway.empty(|_| ()).await.expect("it is emptied");
    let event = below.next().await.expect("told");
    assert_eq!((event.action, event.node.key.clone()), (Action::Delete, k("/a")));
    let mut heard = Vec::new();
    for _ in 0..2 {
        let event = all.next().await.expect("told");
        assert_eq!(event.action, Action::Delete);
        heard.push(event.node.key.to_string());
    }
    heard.sort();
    assert_eq!(heard, ["/a", "/b"], "who watches from above does not see what is hidden");
}

/// Killed before and after each of its calls, it can be done again and comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_cut_short() {
    for call in 0..200 {
        for fault in [Fault::Killed, Fault::KilledAfter] {
            let world = World::new();
            fill(&world.gateway().await).await;
            let reached = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&reached);
            let store = Faults::new(world.store.clone(), move |at, _| {
                if at == call + OPENING_CALLS {
                    flag.store(true, Ordering::SeqCst);
                    return fault;
                }
                Fault::None
            });
            let victim = world.gateway_on(narrow(store)).await;
            let killed = async {
                while !reached.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            tokio::select! {
                emptied = victim.empty(|_| ()) => {
                    emptied.expect("it is emptied");
                }
                () = killed => {}
            }
            let next = world.gateway().await;
            next.sweep().await.expect("a sweep");
            world.check_tree().await;
            next.empty(|_| ()).await.expect("again");
            assert_eq!(world.raw_nodes().await, [], "call {call} {fault:?}");
            if !reached.load(Ordering::SeqCst) {
                assert!(call > 10, "the work takes many steps");
                return;
            }
        }
    }
    panic!("the work never ended");
}
