//! More requests than may be under way: refused at once and clearly, and over when it is over.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn too_many_requests_are_refused_at_once_and_watches_do_not_count() {
    let world = World::new();
    put(&world.gateway().await, "/a", "1").await;
    let store = Faults::new(world.store.clone(), |call, _| {
        if call < OPENING_CALLS { Fault::None } else { Fault::Slow(100) }
    });
    let config = Config { max_requests: 4, watch_window: Some(10), ..CONFIG };
    let gateway = world.gateway_as(store, config).await;
    let watch = || crate::v2::Watch { key: k("/a"), recursive: false, stream: true, since: None };
    let mut watching = Vec::new();
    for _ in 0..10 {
        watching.push(gateway.watch(watch()).await.expect("a watch"));
    }
    let began = tokio::time::Instant::now();
    let request = |n: u64| {
        let gateway = &gateway;
        async move {
            let answer = match n % 2 {
                0 => get(gateway, "/a").await,
                _ => write(gateway, &format!("/b{n}"), Operation::Set(file("2"))).await,
            };
            (n, answer, began.elapsed())
        }
    };
    for (n, answer, took) in join_all((0..50).map(request)).await {
        match answer {
            Ok(_) => assert!(n < 4, "{n}"),
            Err(error) => {
                assert!(n >= 4, "{n}: {error}");
                assert_eq!(error.code, ErrorCode::RaftInternal);
                assert_eq!(error.cause, b"etcdserver: too many requests");
                assert!(took < Duration::from_millis(100), "it waited for {took:?}");
            }
        }
    }
    get(&gateway, "/a").await.expect("it is over");
}

#[tokio::test]
async fn a_store_that_is_busy_is_a_healthy_one() {
    let world = World::new();
    put(&world.gateway().await, "/a", "1").await;
    let store = Faults::new(world.store.clone(), |call, _| {
        if call < OPENING_CALLS { Fault::None } else { Fault::Busy }
    });
    let gateway = world.gateway_on(store).await;
    let error = get(&gateway, "/a").await.expect_err("busy");
    assert_eq!(
        (error.code, &error.cause[..]),
        (ErrorCode::RaftInternal, &b"etcdserver: too many requests"[..])
    );
    assert!(gateway.healthy().await, "a restart would not help it");
}
