//! What a commit and a read come to when DynamoDB, or the way to it, fails.

use std::time::Duration;

use super::*;
use crate::store::dynamodb::calls::LINES;
use crate::store::dynamodb::engine::Fault;
use crate::v2::Record;

/// An error reply. Real ones have the namespace in front of the code.
fn error(status: u16, code: &str, rest: &str) -> Fault {
    let name = format!("com.amazonaws.dynamodb.v20120810#{code}");
    Fault::Reply(status, format!(r#"{{"__type":"{name}","message":"as scripted"{rest}}}"#))
}

fn cancelled(reasons: &[&str]) -> Fault {
    let reasons: Vec<String> =
        reasons.iter().map(|code| format!(r#"{{"Code":"{code}","Message":"why"}}"#)).collect();
    let rest = format!(r#","CancellationReasons":[{}]"#, reasons.join(","));
    error(400, "TransactionCanceledException", &rest)
}

const PASSING: [&str; 4] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TransactionConflictException",
];

/// One commit of one part, of one record, and of several parts.
fn commits() -> [Commit; 3] {
    let record = Record::DirTtl { key: key("/a"), expiration: NOW };
    [
        commit(1, vec![put("/a", "1", vec![])]),
        commit(1, vec![Op::AddRecord(record)]),
        commit(1, vec![put("/a", "1", vec![]), put("/b", "1", vec![])]),
    ]
}

async fn store() -> (Engine, DynamoDbStore) {
    let engine = Engine::new();
    let store = engine.impatient_store().await;
    engine.take_calls();
    (engine, store)
}

#[tokio::test(start_paused = true)]
async fn what_did_not_happen_is_tried_again() {
    for code in PASSING {
        for commit in commits() {
            let (engine, store) = store().await;
            engine.script([error(400, code, ""), error(400, code, ""), Fault::Refuse]);
            applied(store.commit(&commit).await);
            // The order of the fields in a body is any.
            let parsed = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap();
            let calls = engine.take_calls().into_iter().map(|(name, body)| (name, parsed(&body)));
            let calls: Vec<_> = calls.collect();
            assert_eq!(calls.len(), 4, "{code}");
            assert!(calls.iter().all(|call| *call == calls[0]), "the same call, token and all");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_happen_for_long_is_unavailable_in_bounded_time() {
    let turned_away = PASSING.map(|code| error(400, code, ""));
    for fault in turned_away.into_iter().chain([Fault::Refuse]) {
        for commit in commits() {
            let (engine, store) = store().await;
            engine.script(vec![fault.clone(); 1000]);
            let before = tokio::time::Instant::now();
            let result = store.commit(&commit).await;
            assert!(matches!(result, Err(StoreError::Unavailable(_))), "{fault:?}: {result:?}");
            assert!(before.elapsed() <= Timing::default().commit);
            assert!(engine.take_calls().len() < 60, "it pauses");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_never_tried_again_here() {
    let faults = [
        Fault::Cut,
        Fault::LoseReply,
        Fault::Hang,
        Fault::Reply(200, "{".to_owned()),
        Fault::Reply(502, "<html>bad gateway</html>".to_owned()),
        error(500, "InternalServerError", ""),
        error(503, "ThrottlingException", ""),
        error(400, "SomethingNewException", ""),
        Fault::Reply(400, String::new()),
    ];
    for fault in faults {
        for commit in commits() {
            let (engine, store) = store().await;
            engine.script([fault.clone()]);
            let result = store.commit(&commit).await;
            assert!(matches!(result, Err(StoreError::Indeterminate(_))), "{fault:?}: {result:?}");
            assert_eq!(engine.take_calls().len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_out_by_sending_the_commit_again() {
    let (engine, store) = store().await;
    let [one, _, several] = commits();
    engine.script([Fault::LoseReply]);
    assert!(store.commit(&one).await.is_err());
    let Ok(Committed::Refused { found }) = store.commit(&one).await else { panic!("it happened") };
    let item = found[0].1.as_ref().unwrap();
    assert_eq!(item.writes.contains(one.id), Some(true));

    let several = commit(2, several.ops);
    engine.script([Fault::LoseReply]);
    assert!(store.commit(&several).await.is_err());
    applied(store.commit(&several).await);
    let again = commit(2, vec![put("/a", "other", vec![]), put("/b", "other", vec![])]);
    let Ok(Committed::Refused { found }) = store.commit(&again).await else {
        panic!("another commit of the same id is not the same commit")
    };
    assert_eq!(found.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_under_way_is_unknown_whatever_another_attempt_is_told() {
    let (engine, store) = store().await;
    let [_, _, several] = commits();
    // It may still apply, so that the refusal that would follow here proves nothing.
    let refused = cancelled(&["ConditionalCheckFailed", "None"]);
    engine.script([error(400, "TransactionInProgressException", ""), refused]);
    let result = store.commit(&several).await;
    assert!(matches!(result, Err(StoreError::Indeterminate(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn cancelled_transactions_are_judged_by_each_reason() {
    let [_, _, several] = commits();
    for passing in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
        let (engine, store) = store().await;
        engine.script([cancelled(&[passing, "None"]), cancelled(&["None", passing])]);
        applied(store.commit(&several).await);

        engine.script([cancelled(&[passing, "ConditionalCheckFailed"])]);
        let result = store.commit(&several).await;
        let Ok(Committed::Refused { found }) = result else { panic!("{result:?}") };
        assert!(matches!(found.as_slice(), [(1, None)]), "{found:?}");

        engine.script(vec![cancelled(&["None", passing]); 1000]);
        let result = store.commit(&several).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    let (engine, store) = store().await;
    engine.script([cancelled(&["None", "ItemCollectionSizeLimitExceeded"])]);
    let result = store.commit(&several).await;
    assert!(matches!(result, Err(StoreError::TooLarge(_))), "{result:?}");
    engine.script([cancelled(&["ValidationError", "TransactionConflict"])]);
    let result = store.commit(&several).await;
    assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}");
    engine.script([cancelled(&["AccessDenied", "None"])]);
    let result = store.commit(&several).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    // A message that names another code is no code.
    engine.script([error(400, "TransactionCanceledException", ""), cancelled(&["None", "None"])]);
    applied(store.commit(&several).await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_condition_gives_its_item_or_none() {
    let (engine, store) = store().await;
    let [one, record, _] = commits();
    engine.script([error(400, "ConditionalCheckFailedException", "")]);
    let Ok(Committed::Refused { found }) = store.commit(&one).await else { panic!("refused") };
    assert!(matches!(found.as_slice(), [(0, None)]));
    engine.script([error(400, "ConditionalCheckFailedException", "")]);
    let Ok(Committed::Refused { found }) = store.commit(&record).await else { panic!("refused") };
    assert!(found.is_empty());

    let torn = r#","Item":{"pk":{"S":"ks/"},"sk":{"S":"001/a"},"m":{"N":"1"}}"#;
    engine.script([error(400, "ConditionalCheckFailedException", torn)]);
    let result = store.commit(&one).await;
    assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn refusals_that_stay_are_not_tried_again() {
    let idempotent = "IdempotentParameterMismatchException";
    for (code, lasting) in [
        ("AccessDeniedException", true),
        ("ResourceNotFoundException", true),
        ("ValidationException", false),
        (idempotent, false),
    ] {
        for commit in commits() {
            let (engine, store) = store().await;
            engine.script([error(400, code, "")]);
            let result = store.commit(&commit).await;
            match lasting {
                true => assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}"),
                false => assert!(matches!(result, Err(StoreError::Corrupt(_))), "{result:?}"),
            }
            assert_eq!(engine.take_calls().len(), 1, "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_are_tried_again_on_whatever_may_pass() {
    let (engine, store) = store().await;
    applied(store.commit(&commits()[0]).await);
    let faults = [
        Fault::Cut,
        Fault::Hang,
        error(500, "InternalServerError", ""),
        error(400, "ThrottlingException", ""),
    ];
    for fault in faults {
        engine.script([fault]);
        assert!(store.get(&key("/a"), Consistency::Strong).await.unwrap().is_some());
    }
    engine.script(vec![Fault::Hang; 1000]);
    let before = tokio::time::Instant::now();
    let result = store.get_many(&[key("/a"), key("/b")]).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    let Timing { read, attempt, .. } = Timing::default();
    assert!(before.elapsed() <= read + attempt + Duration::from_millis(1));
    let (engine, store) = self::store().await;
    engine.script([error(400, "AccessDeniedException", "")]);
    let result = store.get(&key("/a"), Consistency::Strong).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_those_that_may_be_under_way_are_told_so_early() {
    let (engine, store) = store().await;
    engine.script(vec![Fault::Hang; LINES]);
    let (one, a) = (&commits()[0], key("/a"));
    let mut stuck = Vec::new();
    for _ in 0..LINES {
        let (store, one) = (store.clone(), one.clone());
        stuck.push(tokio::spawn(async move { store.commit(&one).await }));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = tokio::time::Instant::now();
    let result = store.get(&a, Consistency::Strong).await;
    assert!(matches!(result, Err(StoreError::Busy)), "{result:?}");
    let result = store.commit(one).await;
    assert!(matches!(result, Err(StoreError::Busy)), "{result:?}");
    let Timing { turn, attempt, .. } = Timing::default();
    assert!(before.elapsed() <= turn * 2 + Duration::from_millis(2));
    assert_eq!(engine.take_calls().len(), LINES, "they were not sent");
    for stuck in stuck {
        let result = stuck.await.unwrap();
        assert!(matches!(result, Err(StoreError::Indeterminate(_))), "{result:?}");
    }
    assert!(before.elapsed() <= attempt);
    applied(store.commit(one).await);
}

/// How often calls were made again so far, by whichever test.
fn retries() -> u64 {
    let text = String::from_utf8(crate::metrics::text()).expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix("etcdynamo_dynamodb_retries_total "));
    line.and_then(|count| count.parse().ok()).expect("it is counted")
}

#[tokio::test(start_paused = true)]
async fn each_call_is_told_of_with_what_became_of_it() {
    let engine = Engine::new();
    let told = Arc::<std::sync::Mutex<Vec<_>>>::default();
    let tell = Arc::clone(&told);
    let meter = Meter::new(move |call| tell.lock().unwrap().push((call.operation, call.outcome)));
    let store = engine.store(meter).await;
    let before = retries();
    engine.script([
        error(400, "ThrottlingException", ""),
        error(400, "TransactionConflictException", ""),
        Fault::Refuse,
    ]);
    applied(store.commit(&commit(1, vec![put("/a", "1", vec![])])).await);
    engine.script([cancelled(&["None", "TransactionConflict"]), cancelled(&["ThrottlingError"])]);
    let both = vec![put("/a", "2", vec![]), put("/b", "1", vec![])];
    applied(store.commit(&commit(2, both)).await);
    assert!(retries() >= before + 5, "from {before} to {}", retries());
    let missing = vec![Precondition::Value(Value::from("other"))];
    let refused = store.commit(&commit(3, vec![put("/a", "3", missing)])).await;
    assert!(matches!(refused, Ok(Committed::Refused { .. })));
    engine.script([error(400, "AccessDeniedException", ""), Fault::LoseReply]);
    assert!(store.commit(&commit(4, vec![put("/a", "4", vec![])])).await.is_err());
    assert!(store.commit(&commit(4, vec![put("/a", "4", vec![])])).await.is_err());
    engine.script([error(500, "InternalServerError", "")]);
    store.get(&key("/a"), Consistency::Strong).await.expect("the second time");
    let told = told.lock().unwrap();
    assert_eq!(
        told.as_slice(),
        [
            ("UpdateItem", Outcome::Throttled),
            ("UpdateItem", Outcome::Conflict),
            ("UpdateItem", Outcome::Unreachable),
            ("UpdateItem", Outcome::Done),
            ("TransactWriteItems", Outcome::Conflict),
            ("TransactWriteItems", Outcome::Throttled),
            ("TransactWriteItems", Outcome::Done),
            ("UpdateItem", Outcome::ConditionFailed),
            ("UpdateItem", Outcome::Refused),
            ("UpdateItem", Outcome::Unknown),
            ("GetItem", Outcome::Unknown),
            ("GetItem", Outcome::Done),
        ]
    );
}
