//! What a fetcher makes of what its watches bring.

use super::*;
use crate::v2client::{Endpoints, Limits, Node, Refusal, TlsFiles};

/// A fetcher from index 100 on, and where its messages go. It calls nobody.
fn fetcher() -> (Fetcher, mpsc::Receiver<Message>, watch::Sender<Option<Goal>>) {
    let endpoints = Endpoints::parse("http://127.0.0.1:9").expect("a URL");
    let limits = Limits { answer: Duration::from_secs(1), patience: Duration::ZERO };
    let client = Client::new(endpoints, &TlsFiles::default(), limits).expect("a client");
    let (messages, receiver) = mpsc::channel(16);
    let (goals, goal) = watch::channel(None);
    let fetcher = Fetcher {
        client: Arc::new(client),
        key: Key::root(),
        root: 0,
        messages,
        room: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
        goal,
        from: 100,
        silent: None,
        passed: 0,
        trouble: None,
    };
    (fetcher, receiver, goals)
}

fn event(index: u64) -> Result<Watched, Error> {
    let node = Node { modified_index: index, ..Node::default() };
    Ok(Watched::Event(Box::new(Event { action: "set".to_owned(), node, prev_node: None })))
}

fn silence(index: u64) -> Result<Watched, Error> {
    Ok(Watched::Silence { index: Some(index) })
}

async fn hear(fetcher: &mut Fetcher, watched: Result<Watched, Error>) {
    assert!(fetcher.heard(watched, true).await.is_ok(), "somebody listens");
}

fn told(messages: &mut mpsc::Receiver<Message>) -> Told {
    messages.try_recv().expect("something was told").told
}

#[tokio::test]
async fn an_event_is_told_and_the_next_one_asked_for() {
    let (mut fetcher, mut messages, _goals) = fetcher();
    hear(&mut fetcher, event(107)).await;
    assert_eq!(fetcher.from, 108);
    assert!(matches!(told(&mut messages), Told::Event(event) if event.node.modified_index == 107));
}

#[tokio::test]
async fn it_takes_two_silences_to_go_on() {
    let (mut fetcher, mut messages, _goals) = fetcher();
    hear(&mut fetcher, silence(150)).await;
    assert_eq!((fetcher.from, fetcher.passed), (100, 0), "an event may be under way");
    hear(&mut fetcher, silence(170)).await;
    assert_eq!((fetcher.from, fetcher.passed), (151, 150), "not beyond the first one");
    hear(&mut fetcher, event(160)).await;
    assert_eq!((fetcher.from, fetcher.silent), (161, None));
    hear(&mut fetcher, silence(180)).await;
    assert_eq!(fetcher.from, 161);
    assert!(matches!(told(&mut messages), Told::Event(_)));
    assert!(messages.try_recv().is_err(), "silence is not told");
}

#[tokio::test]
async fn a_short_silence_shows_that_a_goal_is_reached_and_no_more() {
    let (mut fetcher, _messages, _goals) = fetcher();
    let goal = Goal { index: 150, is_last: false };
    let now = Instant::now();
    for _ in 0..2 {
        assert!(!fetcher.has_reached(goal, now));
        assert!(fetcher.heard(silence(150), false).await.is_ok());
    }
    assert!(fetcher.has_reached(goal, now));
    assert!(!fetcher.has_reached(Goal { index: 151, ..goal }, now));
    assert_eq!(fetcher.from, 100);
    hear(&mut fetcher, event(160)).await;
    assert!(fetcher.has_reached(Goal { index: 160, ..goal }, now), "events come in order");
}

#[tokio::test]
async fn what_the_window_has_lost_is_a_gap() {
    let (mut fetcher, mut messages, _goals) = fetcher();
    let refusal = Refusal {
        error_code: EVENT_INDEX_CLEARED,
        message: "cleared".to_owned(),
        cause: "[2000/100]".to_owned(),
        index: 3000,
    };
    hear(&mut fetcher, Err(Error::Refused(refusal))).await;
    assert_eq!(fetcher.from, 3001);
    assert!(matches!(told(&mut messages), Told::Gap { why, .. } if why.contains("[2000/100]")));
}

#[tokio::test]
async fn an_index_that_falls_is_a_gap() {
    let (mut fetcher, mut messages, _goals) = fetcher();
    // A member that is behind catches up.
    hear(&mut fetcher, silence(90)).await;
    hear(&mut fetcher, event(101)).await;
    assert!(matches!(told(&mut messages), Told::Event(_)));
    hear(&mut fetcher, silence(7)).await;
    hear(&mut fetcher, silence(8)).await;
    assert!(matches!(told(&mut messages), Told::Gap { .. }));
    assert_eq!((fetcher.from, fetcher.passed), (8, 0));
}
