//! The hub: who is told what, what a look back finds, and what is owned up to.

use std::sync::Arc;
use std::task::Poll;

use futures_util::poll;
use tokio::time::advance;

use super::inbox::INBOX_EVENTS;
use super::*;
use crate::v2::{Action, Error, ErrorCode, EtcdIndex, Event, Key, Node, UnixMs, Value, Watch};

mod others;

const START: EtcdIndex = EtcdIndex(100);

fn hub(events: usize) -> Arc<Hub> {
    Arc::new(Hub::new(events, START))
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a clean path")
}

fn at(index: u64) -> EtcdIndex {
    EtcdIndex(index)
}

/// What is watched, as a client writes it: `/a`, `/a/**` for recursive, a `+` for a stream, and
/// `@5` for a waitIndex.
fn watch(text: &str) -> Watch {
    let (text, since) = match text.split_once('@') {
        Some((text, since)) => (text, Some(EtcdIndex(since.parse().expect("an index")))),
        None => (text, None),
    };
    let stream = text.ends_with('+');
    let text = text.trim_end_matches('+');
    let recursive = text.ends_with("/**");
    Watch { key: key(text.trim_end_matches("/**")), recursive, stream, since }
}

fn event(action: Action, path: &str, index: u64) -> Event {
    let node = Node { dir: false, modified: at(index), created: at(index), ..Node::root() };
    Event { action, ..Event::get(Node { key: key(path), ..node }) }
}

fn set(path: &str, index: u64) -> Arc<Event> {
    Arc::new(event(Action::Set, path, index))
}

fn refresh(path: &str, index: u64) -> Arc<Event> {
    Arc::new(Event { is_refresh: true, ..event(Action::Update, path, index) })
}

fn delete_dir(path: &str, index: u64) -> Arc<Event> {
    let mut event = event(Action::Delete, path, index);
    event.node.dir = true;
    event.prev_node = Some(event.node.clone());
    Arc::new(event)
}

fn delete_file(path: &str, index: u64) -> Arc<Event> {
    let event = event(Action::Delete, path, index);
    Arc::new(Event { prev_node: Some(event.node.clone()), ..event })
}

/// Offers an event and releases it.
fn happen(hub: &Hub, event: Arc<Event>, removed: &[&str]) {
    let index = event.node.modified;
    let removed = removed.iter().map(|path| key(path)).collect();
    assert_eq!(hub.offer(event, removed), Offered::InTime);
    hub.release(index);
}

fn begin(hub: &Arc<Hub>, text: &str) -> Watcher {
    hub.watch(&watch(text)).unwrap_or_else(|cleared| panic!("{text}: {cleared}"))
}

/// What a watcher has been told, as indexes; then whether it is over.
async fn told(watcher: &mut Watcher) -> (Vec<u64>, bool) {
    let mut indexes = Vec::new();
    loop {
        match poll!(std::pin::pin!(watcher.next())) {
            Poll::Ready(Some(event)) => indexes.push(event.node.modified.0),
            Poll::Ready(None) => return (indexes, true),
            Poll::Pending => return (indexes, false),
        }
    }
}

#[tokio::test]
async fn who_is_told_of_what_happens() {
    // Watched; what happens, with the nodes that went; how often it is told.
    let cases = [
        ("/a/b", set("/a/b", 101), &[][..], 1),
        ("/a", set("/a/b", 101), &[], 0),
        ("/a/**", set("/a/b", 101), &[], 1),
        ("/a/**", set("/a", 101), &[], 1),
        ("/a/**", set("/ab", 101), &[], 0),
        ("/a/b/**", set("/a", 101), &[], 0),
        ("/", set("/a", 101), &[], 0),
        ("/**", set("/a/b/c", 101), &[], 1),
        ("/**", set("/_a/b", 101), &[], 0),
        ("/a/**", set("/a/_b", 101), &[], 0),
        ("/a/**", set("/a/_b/c", 101), &[], 0),
        ("/a/**", set("/a/b_c", 101), &[], 1),
        ("/a/_b", set("/a/_b", 101), &[], 1),
        ("/a/_b/**", set("/a/_b/c", 101), &[], 1),
        ("/a/_b/**", set("/a/_b/_c", 101), &[], 0),
        ("/a", refresh("/a", 101), &[], 0),
        ("/a", delete_dir("/a", 101), &["/a/b"], 1),
        ("/a/b", delete_dir("/a", 101), &["/a/b"], 1),
        ("/a/b/**", delete_dir("/a", 101), &["/a/b"], 1),
        ("/a/_b", delete_dir("/a", 101), &["/a/_b"], 1),
        ("/a/c", delete_dir("/a", 101), &["/a/b"], 0),
        ("/aa", delete_dir("/a", 101), &["/a/b"], 0),
        ("/**", delete_dir("/a", 101), &["/a/b"], 1),
        // etcd tells a stream at the removed node twice.
        ("/a+", delete_dir("/a", 101), &["/a/b"], 2),
        ("/a/**+", delete_dir("/a", 101), &["/a/b"], 2),
        ("/a+", delete_file("/a", 101), &[], 2),
        ("/a/b+", delete_dir("/a", 101), &["/a/b"], 1),
        ("/**+", delete_dir("/a", 101), &["/a/b"], 1),
        ("/a@101", set("/a", 101), &[], 1),
        ("/a@102", set("/a", 101), &[], 0),
    ];
    for (watched, event, removed, times) in cases {
        let hub = hub(10);
        let mut watcher = begin(&hub, watched);
        happen(&hub, Arc::clone(&event), removed);
        let (indexes, over) = told(&mut watcher).await;
        let what = format!("{watched} of {:?} {}", event.action, event.node.key);
        assert_eq!(indexes.len(), times, "{what}");
        assert_eq!(over, times > 0 && !watched.contains('+'), "{what}");
        assert_eq!(hub.waiting(), u64::from(!over), "{what}");
    }
}

#[tokio::test]
async fn what_a_look_back_finds() {
    let hub = hub(10);
    for event in [
        set("/a/b", 101),
        set("/a/_h", 105),
        refresh("/r", 110),
        set("/r", 115),
        delete_dir("/a", 120),
        delete_file("/f", 125),
    ] {
        happen(&hub, event, &[]);
    }
    for (watched, index) in [
        ("/a/b@101", Some(101)),
        ("/a/**@101", Some(101)),
        ("/a/**@102", Some(105)),
        ("/**@121", Some(125)),
        ("/a@101", Some(120)),
        ("/r@101", Some(115)),
        ("/r@116", None),
        // A removed directory concerns whatever begins with its name, there or not.
        ("/a/b@102", Some(120)),
        ("/a/never@101", Some(120)),
        ("/abc@101", Some(120)),
        ("/ff@101", None),
        ("/f@125", Some(125)),
        ("/f@126", None),
        ("/f@999", None),
    ] {
        let mut watcher = begin(&hub, watched);
        let expected = (index.into_iter().collect(), index.is_some());
        assert_eq!(told(&mut watcher).await, expected, "{watched}");
        assert_eq!(hub.waiting(), u64::from(index.is_none()), "{watched}");
    }
}

#[tokio::test]
async fn a_stream_that_is_answered_by_the_past_hears_nothing_more() {
    let hub = hub(10);
    happen(&hub, set("/a", 101), &[]);
    let mut hit = begin(&hub, "/a+@101");
    let mut none = begin(&hub, "/a+@102");
    happen(&hub, set("/a", 102), &[]);
    happen(&hub, set("/a", 103), &[]);
    assert_eq!(told(&mut hit).await, (vec![101], false));
    assert_eq!(told(&mut none).await, (vec![102, 103], false));
    hub.end();
    assert_eq!(told(&mut hit).await, (vec![], true));
    assert_eq!(told(&mut none).await, (vec![], true));
    assert_eq!(told(&mut begin(&hub, "/a")).await, (vec![], true), "who comes later too");
}

#[tokio::test]
async fn the_window_is_bounded_and_owns_up_to_it() {
    let hub = hub(3);
    for index in 101..=105 {
        happen(&hub, set("/a", index), &[]);
    }
    let refused = hub.watch(&watch("/never@102")).expect_err("it is cleared, whatever the key");
    assert_eq!(refused, Cleared { oldest: at(103), asked: at(102) });
    let error = Error::from(refused);
    assert_eq!(error.code, ErrorCode::EventIndexCleared);
    assert_eq!(error.cause, b"the requested history has been cleared [103/102]");
    assert_eq!(told(&mut begin(&hub, "/a@103")).await, (vec![103], true));
}

#[tokio::test]
async fn what_was_before_the_start_is_not_known() {
    let hub = hub(3);
    assert_eq!(
        hub.watch(&watch("/a@100")).expect_err("too old"),
        Cleared { oldest: at(101), asked: START }
    );
    let _first = begin(&hub, "/a@101");
    // Somebody proved otherwise that nothing was missed.
    let mut proven = hub.watch_from_now(&watch("/a@50"));
    happen(&hub, set("/a", 101), &[]);
    assert_eq!(told(&mut proven).await, (vec![101], true));
}

#[tokio::test]
async fn large_values_leave_the_window_early() {
    let hub = hub(1000);
    let value = Value::from(vec![0; 50 << 20]);
    for index in 101..=104 {
        let mut event = event(Action::Set, "/a", index);
        event.node.value = Some(value.clone());
        happen(&hub, Arc::new(event), &[]);
    }
    assert!(hub.watch(&watch("/a@102")).is_err());
    assert_eq!(told(&mut begin(&hub, "/a@103")).await, (vec![103], true));
}

#[tokio::test]
async fn events_come_in_order_whatever_the_order_of_their_ends() {
    let hub = hub(10);
    let mut watcher = begin(&hub, "/**+");
    for index in [103, 101, 104] {
        assert_eq!(hub.offer(set("/a", index), Vec::new()), Offered::InTime);
    }
    hub.release(at(101));
    assert_eq!(told(&mut watcher).await, (vec![101], false));
    assert_eq!(hub.offer(set("/a", 102), Vec::new()), Offered::InTime);
    hub.release(at(104));
    assert_eq!(told(&mut watcher).await, (vec![102, 103, 104], false));
}

#[tokio::test]
async fn a_watch_without_an_index_is_told_what_ends_after_it_began() {
    let hub = hub(10);
    assert_eq!(hub.offer(set("/a", 105), Vec::new()), Offered::InTime);
    let mut watcher = begin(&hub, "/a+");
    // This one has the lower index, but was still under way.
    assert_eq!(hub.offer(set("/a", 103), Vec::new()), Offered::InTime);
    hub.release(at(105));
    assert_eq!(told(&mut watcher).await, (vec![103], false));
}

#[tokio::test]
async fn a_look_back_waits_for_what_is_held() {
    let hub = hub(10);
    assert_eq!(hub.offer(set("/a", 105), Vec::new()), Offered::InTime);
    hub.catch_up(at(106)).await;
    let mut waits = Box::pin(hub.catch_up(at(105)));
    assert!(poll!(&mut waits).is_pending());
    hub.release(at(104));
    assert!(poll!(&mut waits).is_pending());
    hub.release(at(105));
    waits.await;
}

#[tokio::test]
async fn an_event_that_comes_again_is_told_once() {
    let hub = hub(10);
    let mut watcher = begin(&hub, "/**+");
    assert_eq!(hub.offer(set("/a", 101), Vec::new()), Offered::InTime);
    assert_eq!(hub.offer(set("/a", 101), Vec::new()), Offered::InTime);
    assert_eq!(hub.offer(set("/b", 101), Vec::new()), Offered::InTime, "another one");
    hub.release(at(110));
    assert_eq!(hub.offer(set("/b", 101), Vec::new()), Offered::InTime);
    assert_eq!(told(&mut watcher).await, (vec![101, 101], false));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_write_does_not_silence_the_others() {
    let hub = hub(10);
    let mut watcher = begin(&hub, "/**+");
    assert_eq!(hub.offer(set("/a", 105), Vec::new()), Offered::InTime);
    assert_eq!(hub.release_overdue(HOLD_LIMIT), None);
    advance(HOLD_LIMIT / 2).await;
    assert_eq!(hub.offer(set("/a", 103), Vec::new()), Offered::InTime);
    assert_eq!(hub.offer(set("/a", 106), Vec::new()), Offered::InTime);
    advance(HOLD_LIMIT / 2).await;
    assert_eq!(hub.release_overdue(HOLD_LIMIT), Some(at(105)));
    assert_eq!(told(&mut watcher).await, (vec![103, 105], false));
    assert_eq!(hub.released(), at(105));
    // It happened after all.
    assert_eq!(hub.offer(set("/b", 102), Vec::new()), Offered::Late);
}

#[tokio::test]
async fn what_is_in_doubt_is_refused_and_its_watchers_are_ended() {
    let hub = hub(10);
    happen(&hub, set("/a/x", 101), &[]);
    happen(&hub, set("/b", 102), &[]);
    let concerned = ["/a/b", "/a/**", "/**", "/a/b/c", "/a/b/c/**", "/a/bc"];
    let others = ["/a", "/b", "/b/**", "/a/c"];
    let mut ended: Vec<Watcher> = concerned.iter().map(|watched| begin(&hub, watched)).collect();
    let mut go_on: Vec<Watcher> = others.iter().map(|watched| begin(&hub, watched)).collect();
    hub.doubt(&key("/a/b"), at(110));
    for (watcher, watched) in ended.iter_mut().zip(concerned) {
        assert_eq!(told(watcher).await, (vec![], true), "{watched}");
        for since in [101, 103, 110] {
            let refused = hub.watch(&watch(&format!("{watched}@{since}"))).expect_err(watched);
            assert_eq!(refused, Cleared { oldest: at(111), asked: at(since) });
        }
        let _allowed = begin(&hub, &format!("{watched}@111"));
    }
    for (watcher, watched) in go_on.iter_mut().zip(others) {
        assert_eq!(told(watcher).await, (vec![], false), "{watched}");
        let _allowed = begin(&hub, &format!("{watched}@103"));
    }
    assert_eq!(told(&mut begin(&hub, "/b@102")).await, (vec![102], true));
}

#[tokio::test]
async fn too_many_doubts_are_one() {
    let hub = hub(10);
    happen(&hub, set("/a", 101), &[]);
    let mut watcher = begin(&hub, "/a");
    for number in 0..100 {
        hub.doubt(&key(&format!("/d/{number}")), at(200 + number));
    }
    assert_eq!(told(&mut watcher).await, (vec![], false), "it was told all");
    assert!(hub.watch(&watch("/a@101")).is_err());
    assert!(hub.watch(&watch("/d/99@299")).is_err());
    let _allowed = begin(&hub, "/d/99@300");
    hub.clear(at(300));
    assert_eq!(told(&mut watcher).await, (vec![], true));
    assert!(hub.watch(&watch("/never@300")).is_err());
    let _allowed = begin(&hub, "/never@301");
}

#[tokio::test]
async fn a_slow_stream_gets_what_it_was_told_and_then_nothing() {
    let hub = hub(1000);
    let mut slow = begin(&hub, "/a+");
    let mut quick = begin(&hub, "/a+");
    for index in 101..101 + INBOX_EVENTS as u64 + 5 {
        happen(&hub, set("/a", index), &[]);
        assert_eq!(told(&mut quick).await, (vec![index], false));
    }
    assert_eq!(hub.waiting(), 1);
    let (indexes, over) = told(&mut slow).await;
    assert_eq!((indexes.len(), indexes[0], over), (INBOX_EVENTS, 101, false));
    happen(&hub, set("/a", 300), &[]);
    assert_eq!(told(&mut slow).await, (vec![], false), "etcd never takes it up again");
    hub.end();
    assert_eq!(told(&mut slow).await, (vec![], true));
}

#[tokio::test]
async fn a_watcher_that_is_dropped_frees_its_place() {
    let hub = hub(10);
    let many: Vec<Watcher> = (0..50).map(|n| begin(&hub, &format!("/a/{}", n % 7))).collect();
    let streams = [begin(&hub, "/a+"), begin(&hub, "/**+")];
    assert_eq!(hub.waiting(), 52);
    happen(&hub, set("/a/1", 101), &[]);
    assert_eq!(hub.waiting(), 45, "the long polls on it have their event");
    let mut below = hub.watched_below(&key("/a"));
    below.sort();
    assert_eq!(below, ["/a/0", "/a/2", "/a/3", "/a/4", "/a/5", "/a/6"].map(key));
    drop(many);
    assert_eq!(hub.waiting(), 2);
    drop(streams);
    assert_eq!(hub.waiting(), 0);
    assert!(hub.watched_below(&Key::root()).is_empty());
}

/// Watchers that begin while events come: none misses its first one, none hears one twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_races_with_publishing() {
    const EVENTS: u64 = 2000;
    let hub = hub(2000);
    let writer = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move {
            for index in 101..101 + EVENTS {
                happen(&hub, set("/a", index), &[]);
                if index % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut next = 101;
    while next < 101 + EVENTS {
        let mut watcher = begin(&hub, &format!("/a@{next}"));
        let event = watcher.next().await.expect("an event");
        assert_eq!(event.node.modified, at(next));
        assert!(watcher.next().await.is_none());
        next += 1;
    }
    writer.await.expect("the writer ends");
    assert_eq!(hub.waiting(), 0);
}

#[tokio::test]
async fn an_expiry_of_a_directory_is_a_removal_like_a_delete() {
    let hub = hub(10);
    let expire = Event { action: Action::Expire, ..Event::clone(&delete_dir("/a", 101)) };
    let mut inside = begin(&hub, "/a/b");
    happen(&hub, Arc::new(expire), &["/a/b"]);
    let event = inside.next().await.expect("the directory's event");
    assert_eq!((event.action, event.node.key.clone()), (Action::Expire, key("/a")));
    assert_eq!(event.node.expiration, None::<UnixMs>);
    assert_eq!(told(&mut begin(&hub, "/ab@101")).await, (vec![101], true));
}

#[tokio::test]
async fn who_was_told_one_of_two_events_with_one_index_reads_anew_once() {
    let hub = hub(10);
    let mut poll = begin(&hub, "/d/**");
    for path in ["/d/a", "/d/b"] {
        assert_eq!(hub.offer(set(path, 101), vec![]), Offered::InTime);
    }
    hub.release(at(101));
    assert_eq!(told(&mut poll).await, (vec![101], true));
    let cleared = hub.watch(&watch("/d/**@102")).expect_err("/d/b was not told");
    assert_eq!(cleared.asked, at(102));
    // A read carries what is released, and that is past it.
    assert_eq!(hub.released(), at(102));
    let after_reading = hub.released().next();
    assert!(begin(&hub, &format!("/d/**@{after_reading}")).is_waiting());
    // Who was told all that concerns it goes on.
    assert!(begin(&hub, "/d/b@102").is_waiting());
    let mut from_the_first = begin(&hub, "/d/**@101");
    assert_eq!(told(&mut from_the_first).await, (vec![101], true));
}

#[tokio::test]
async fn two_events_with_one_index_are_owned_up_to_also_when_they_leave_the_window() {
    let hub = hub(2);
    for path in ["/d/a", "/d/b"] {
        assert_eq!(hub.offer(set(path, 101), vec![]), Offered::InTime);
    }
    hub.release(at(101));
    for index in [105, 106] {
        happen(&hub, set("/e", index), &[]);
        assert!(hub.watch(&watch("/d/**@102")).is_err(), "at {index}");
    }
    assert!(begin(&hub, "/d/**@103").is_waiting());
}
