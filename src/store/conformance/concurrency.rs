//! Commits at the same time, through two handles.

use futures_util::future::join_all;

use super::*;
use crate::v2::Content;

/// How many commits are made side by side.
const AT_ONCE: usize = 16;

fn alternate<'a, S: Store>(n: usize, one: &'a S, two: &'a S) -> &'a S {
    if n.is_multiple_of(2) { one } else { two }
}

pub(crate) async fn of_concurrent_creations_one_applies<S: Store>(store: &S, second: &S) {
    let mut ids = Ids::new();
    for round in 0..10 {
        let key = key(&format!("/race/{round}"));
        let commits: Vec<Commit> = (0..AT_ONCE)
            .map(|n| one(ids.next(), op(&key, vec![Precondition::Absent], file(&n.to_string()))))
            .collect();
        let outcomes = join_all(
            commits.iter().enumerate().map(|(n, c)| commit(alternate(n, store, second), c)),
        )
        .await;
        let item = get(store, &key).await.expect("one of them applied");
        for (outcome, wanted) in outcomes.iter().zip(&commits) {
            match outcome {
                Committed::Applied { before } => {
                    assert_eq!(item.writes.contains(wanted.id), Some(true));
                    assert!(before.as_ref().is_none_or(Option::is_none));
                }
                Committed::Refused { found } => assert_eq!(found, &[(0, Some(item.clone()))]),
            }
        }
        let applied = outcomes.iter().filter(|o| matches!(o, Committed::Applied { .. }));
        assert_eq!(applied.count(), 1);
    }
}

pub(crate) async fn concurrent_changes_of_one_item_lose_nothing<S: Store>(store: &S, second: &S) {
    let counter = key("/counter");
    let mut ids = Ids::new();
    apply(store, &one(ids.next(), op(&counter, vec![], file("0")))).await;
    let count = |store, n: u32| {
        let counter = &counter;
        async move {
            let mut added = 0;
            while added < 5 {
                let item = get(store, counter).await.expect("it is there");
                let Content::File(value) = &item.content else { panic!("no file") };
                let so_far: u32 = std::str::from_utf8(value.as_bytes()).unwrap().parse().unwrap();
                let index = EtcdIndex(item.highest_index().0 + 1 + u64::from(n));
                let expect = vec![Precondition::File, Precondition::Modified(item.modified)];
                let next = op(counter, expect, file(&(so_far + 1).to_string()));
                let next = one(WriteId { index, gateway: n }, next);
                match commit(store, &next).await {
                    Committed::Applied { before } => {
                        assert!(before.is_none_or(|before| before == Some(item)));
                        added += 1;
                    }
                    Committed::Refused { found } => assert_eq!(found.len(), 1),
                }
            }
        }
    };
    join_all((0..8).map(|n| count(alternate(n as usize, store, second), n))).await;
    let item = get(store, &counter).await.expect("it is there");
    assert_eq!(item.content, Content::File(Value::from("40")));
}

pub(crate) async fn concurrent_commits_that_share_an_item_are_serialised<S: Store>(
    store: &S,
    second: &S,
) {
    let mut ids = Ids::new();
    let dir = key("/shared");
    let make = Mutation::MakeDir { stamped: false, expiration: None };
    apply(store, &one(ids.next(), op(&dir, vec![Precondition::Absent], make))).await;
    let commits: Vec<Commit> = (0..AT_ONCE)
        .map(|n| {
            let child = dir.child(format!("{n:02}").as_bytes());
            let child = op(&child, vec![Precondition::Absent], file("child"));
            let stamp = op(&dir, vec![Precondition::LiveDir(NOW)], STAMP);
            several(ids.next(), vec![Op::Node(child), Op::Node(stamp)])
        })
        .collect();
    let outcomes =
        join_all(commits.iter().enumerate().map(|(n, c)| commit(alternate(n, store, second), c)))
            .await;
    let mut highest = EtcdIndex(0);
    for (outcome, wanted) in outcomes.iter().zip(&commits) {
        let Op::Node(child) = &wanted.ops[0] else { unreachable!() };
        let there = get(store, &child.key).await;
        match outcome {
            Committed::Applied { .. } => {
                let writes = &there.expect("its commit applied").writes;
                assert_eq!(writes.contains(wanted.id), Some(true));
                highest = highest.max(wanted.id.index);
            }
            Committed::Refused { found } => {
                assert_eq!(there, None, "its commit was refused");
                let [(1, Some(dir))] = &found[..] else { panic!("found {found:?}") };
                assert!(dir.highest_index() >= wanted.id.index, "it would have matched");
            }
        }
    }
    assert_ne!(highest, EtcdIndex(0), "not one applied");
    assert_eq!(get(store, &dir).await.unwrap().stamp(), Some(highest));
}
