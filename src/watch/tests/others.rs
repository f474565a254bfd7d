//! What other gateways did: nodes that went with a directory, in any order; what came too late; and
//! the past after a clear.

use super::*;

fn went(path: &str, created: u64, index: u64) -> Went {
    Went { key: key(path), created: at(created), index: at(index) }
}

async fn told(watcher: &mut Watcher) -> Option<EtcdIndex> {
    match poll!(std::pin::pin!(watcher.next())) {
        Poll::Ready(Some(event)) => Some(event.node.modified),
        Poll::Ready(None) => panic!("it was ended"),
        Poll::Pending => None,
    }
}

async fn is_ended(watcher: &mut Watcher) -> bool {
    matches!(poll!(std::pin::pin!(watcher.next())), Poll::Ready(None))
}

#[tokio::test]
async fn a_node_that_went_with_a_directory_hears_of_it_in_whatever_order_it_is_told_of() {
    for (name, steps) in [
        ("the node first", ["went", "offer", "release"]),
        ("the directory first", ["offer", "went", "release"]),
        ("the node after all was told", ["offer", "release", "went"]),
    ] {
        let hub = hub(10);
        let mut inside = hub.watch(&watch("/d/a/f")).expect("a watch");
        let mut never_there = hub.watch(&watch("/d/a/g")).expect("a watch");
        for step in steps {
            match step {
                // In a drain it goes under an index of its own.
                "went" => hub.went(&went("/d/a/f", 90, 120)),
                "offer" => {
                    assert_eq!(hub.offer_apart(delete_dir("/d", 110)), Offered::InTime);
                }
                _ => hub.release(at(115)),
            }
        }
        assert_eq!(told(&mut inside).await, Some(at(110)), "{name}");
        assert_eq!(told(&mut never_there).await, None, "{name}");
    }
}

#[tokio::test]
async fn a_node_goes_with_the_first_removal_after_its_creation() {
    let hub = hub(10);
    assert_eq!(hub.offer_apart(delete_dir("/d", 110)), Offered::InTime);
    hub.release(at(110));
    let mut inside = hub.watch(&watch("/d/f@111")).expect("a watch");
    // It was created after that removal; the one that it went with comes later.
    hub.went(&went("/d/f", 112, 120));
    assert_eq!(told(&mut inside).await, None);
    assert_eq!(hub.offer_apart(delete_dir("/d", 120)), Offered::InTime);
    hub.release(at(120));
    assert_eq!(told(&mut inside).await, Some(at(120)));
}

#[tokio::test]
async fn a_node_whose_directory_nobody_tells_of_is_in_doubt() {
    let hub = hub(10);
    let mut inside = hub.watch(&watch("/d/f")).expect("a watch");
    let mut beside = hub.watch(&watch("/e")).expect("a watch");
    hub.went(&went("/d/f", 90, 120));
    hub.release(at(119));
    assert_eq!(told(&mut inside).await, None, "it may still come");
    hub.release(at(120));
    assert!(is_ended(&mut inside).await);
    assert_eq!(told(&mut beside).await, None);
    assert!(hub.watch(&watch("/d/f@120")).is_err());
    assert!(hub.watch(&watch("/d/f@121")).is_ok());
}

#[tokio::test]
async fn nodes_of_an_own_removal_were_told_with_it() {
    let hub = hub(10);
    let mut inside = hub.watch(&watch("/d/f+")).expect("a watch");
    happen(&hub, delete_dir("/d", 110), &["/d/f"]);
    assert_eq!(told(&mut inside).await, Some(at(110)));
    hub.went(&went("/d/f", 90, 120));
    hub.release(at(130));
    assert_eq!(told(&mut inside).await, None, "not once more, and not in doubt");
}

#[tokio::test]
async fn what_came_too_late_costs_one_refusal() {
    let hub = hub(10);
    hub.release(at(200));
    let mut watcher = hub.watch(&watch("/d/**@201")).expect("a watch");
    assert_eq!(hub.offer_apart(set("/d/f", 150)), Offered::Late);
    assert_eq!(hub.doubt_released(&key("/d/f")), at(201));
    assert!(is_ended(&mut watcher).await);
    assert!(hub.watch(&watch("/d/**@201")).is_err(), "the read before it may not have shown it");
    let next = format!("/d/**@{}", hub.released().next());
    assert!(hub.watch(&watch(&next)).is_ok(), "the next read has");
}

#[tokio::test]
async fn who_looks_back_before_a_clear_waits_until_the_next_read_is_past_it() {
    let hub = hub(10);
    hub.clear(at(300));
    let mut caught_up = std::pin::pin!(hub.catch_up(at(250)));
    hub.release(at(299));
    assert!(poll!(caught_up.as_mut()).is_pending());
    hub.release(at(300));
    caught_up.await;
    assert!(hub.watch(&watch("/f@250")).is_err());
    assert!(hub.watch(&watch("/f@301")).is_ok());
    hub.catch_up(at(301)).await;
}
