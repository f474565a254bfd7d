//! Users and roles with several gateways, and with outcomes that get lost.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::keyspace::Credentials;
use crate::v2::{Administration, Need, Permissions, PutRole, PutUser};

fn put_user(name: &str, grant: &[&str]) -> Administration {
    let grant = grant.iter().map(|role| (*role).to_owned()).collect();
    let (name, revoke) = (name.to_owned(), Vec::new());
    Administration::PutUser(PutUser { name, password: None, roles: None, grant, revoke })
}

fn put_role(name: &str, read: &str) -> Administration {
    let permissions = Permissions { read: Some(vec![read.to_owned()]), write: None };
    let name = name.to_owned();
    Administration::PutRole(PutRole { name, permissions, grant: None, revoke: None })
}

fn as_user(name: &str, password: &str) -> Credentials {
    Credentials::Password { name: name.to_owned(), password: password.to_owned() }
}

fn need(path: &str) -> Need<'_> {
    Need { path: path.as_bytes(), writes: false, recursive: false }
}

/// A cluster that is locked, but for what the user u may do with the password p.
async fn lock<S: Store>(gateway: &Keyspace<S>) {
    for (asked, password) in [
        (put_user("root", &[]), Some("pw")),
        (put_user("u", &[]), Some("p")),
        (put_role("r", "/r/*"), None),
        (put_role("guest", "/open"), None),
        (put_user("u", &["r"]), None),
        (Administration::Enable, None),
    ] {
        let done = gateway.administrate(asked, password.map(str::to_owned)).await;
        done.expect("it is allowed");
    }
}

#[tokio::test]
async fn a_locked_cluster_asks_everybody_on_every_gateway() {
    let world = World::new();
    let (first, second) = (world.gateway().await, world.gateway().await);
    assert!(second.allows(&Credentials::None, need("/x")).await);
    lock(&first).await;
    assert!(second.allows(&Credentials::None, need("/x")).await, "it has not looked yet");
    second.sweep().await.expect("a sweep");
    let third = world.gateway().await;
    third.sweep().await.expect("the sweep before it is ready");
    for gateway in [&first, &second, &third] {
        for (who, path, allowed) in [
            (Credentials::None, "/open", true),
            (Credentials::None, "/r/a", false),
            (Credentials::Malformed, "/open", false),
            (as_user("u", "p"), "/r/a", true),
            (as_user("u", "p"), "/r/a", true),
            (as_user("u", "p"), "/x", false),
            (as_user("u", "wrong"), "/r/a", false),
            (as_user("nobody", ""), "/open", false),
            (as_user("root", "pw"), "/x", true),
            (Credentials::Certificate("u".to_owned()), "/r/a", true),
            (Credentials::Certificate("nobody".to_owned()), "/open", false),
        ] {
            assert_eq!(gateway.allows(&who, need(path)).await, allowed, "{path}");
        }
        assert!(gateway.allows_administration(&as_user("root", "pw")).await);
        assert!(!gateway.allows_administration(&as_user("u", "p")).await);
        assert!(!gateway.allows_administration(&Credentials::None).await);
    }
    second.administrate(Administration::Disable, None).await.expect("it is on");
    first.sweep().await.expect("a sweep");
    assert!(first.allows(&Credentials::None, need("/x")).await);
}

/// A sweep that has its hands full for long keeps nobody out, and lets nobody in.
#[tokio::test]
async fn a_gateway_whose_sweep_hangs_is_locked_as_well() {
    let world = World::new();
    let hangs = Arc::new(AtomicBool::new(false));
    let store = Faults::new(world.store.clone(), {
        let hangs = Arc::clone(&hangs);
        move |_, is_commit| match hangs.load(Ordering::SeqCst) && is_commit {
            true => Fault::Killed,
            false => Fault::None,
        }
    });
    let gateway = Arc::new(world.gateway_on(store).await);
    let dir = until(&world, Draft { dir: true, ..Draft::default() }, 1);
    write(&*gateway, "/d", Operation::Set(dir)).await.expect("mkdir");
    hangs.store(true, Ordering::SeqCst);
    world.wall.advance_ms(2_000);
    let sweeping = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.keep_sweeping().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    lock(&world.gateway().await).await;
    let is_locked = async {
        while gateway.allows(&Credentials::None, need("/x")).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), is_locked).await;
    sweeping.abort();
    in_time.expect("it knows, though its sweep waits for a removal");
}

/// Administrators on several gateways grant one user a role each while requests and replies are lost:
/// each grant counts once, and none undoes another.
#[tokio::test]
async fn no_change_is_lost_or_made_twice() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let world = World::new();
    let setup = world.gateway().await;
    let made = setup.administrate(put_user("u", &[]), Some("p".to_owned())).await;
    made.expect("a new user");
    let mut tasks = Vec::new();
    for task in 0..3_u64 {
        let faults = Faults::seeded(world.store.clone(), seed.wrapping_add(task), 3);
        let gateway = world.gateway_on(faults).await;
        tasks.push(tokio::spawn(async move {
            for number in 0..4 {
                let granted = put_user("u", &[&format!("r{task}-{number}")]);
                let done = gateway.administrate(granted, None).await;
                done.unwrap_or_else(|error| panic!("{task}-{number}: {error:?}"));
            }
        }));
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
    let accounts = setup.read_accounts().await.expect("a store");
    assert_eq!(accounts.users["u"].roles.as_ref().map(Vec::len), Some(12), "seed {seed}");
    assert_eq!(accounts.changes, 13, "seed {seed}");
    let left = setup.store.records(RecordKind::Auth).await.expect("a store");
    assert_eq!(left, [accounts.record()], "seed {seed}: only the last number stays");
}
