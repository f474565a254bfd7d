//! Each fault does to the engine what it says, and tells its caller what it says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Hold, Moment, Proxy};
use crate::dynamodb::client;
use crate::dynamodb::fault::{Fault, Odds};
use crate::engine::{Engine, new_table};
use crate::http::Answer;
use crate::server::Target;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(10);

/// An engine with a table, and an endpoint in front of it.
struct Bench {
    engine: Engine,
    proxy: Proxy,
    table: String,
}

impl Bench {
    fn new() -> Self {
        let engine = Engine::start(Target::Dynoxide).expect("the engine starts");
        let proxy = Proxy::start(engine.address(), 1).expect("a port is free");
        let table = new_table();
        let body = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        });
        client::call(&proxy.address(), "CreateTable", &body).expect("the table is made");
        Self { engine, proxy, table }
    }

    /// One more in a counter, through the endpoint.
    fn add(&self) -> Result<Answer, String> {
        client::send(&self.proxy.address(), "UpdateItem", &self.addition())
    }

    fn addition(&self) -> Value {
        let mut update = self.key();
        update["UpdateExpression"] = "ADD n :one".into();
        update["ExpressionAttributeValues"] = json!({ ":one": { "N": "1" } });
        update["ReturnValues"] = "ALL_NEW".into();
        update
    }

    /// The same in a transaction.
    fn transact(&self) -> Result<Answer, String> {
        let mut update = self.addition();
        update.as_object_mut().expect("it is an object").remove("ReturnValues");
        let other = json!({ "Put": { "TableName": self.table, "Item": { "pk": { "S": "b" } } } });
        let body = json!({ "TransactItems": [{ "Update": update }, other] });
        client::send(&self.proxy.address(), "TransactWriteItems", &body)
    }

    fn key(&self) -> Value {
        json!({ "TableName": self.table, "Key": { "pk": { "S": "a" } } })
    }

    /// The counter, asked of the engine itself.
    fn count(&self) -> u64 {
        counter(&self.get(self.engine.address(), true))
    }

    fn get(&self, address: &str, strong: bool) -> Value {
        let mut get = self.key();
        get["ConsistentRead"] = strong.into();
        client::call(address, "GetItem", &get).expect("a read goes through")
    }

    fn set(&self, fault: Fault) {
        self.proxy.set(Odds::only(fault, 1.0));
    }
}

fn counter(answer: &Value) -> u64 {
    let digits = answer["Item"]["n"]["N"].as_str().unwrap_or("0");
    digits.parse().expect("it is a number")
}

fn kind(answer: &Answer) -> String {
    let json: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    let name = json["__type"].as_str().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().to_owned()
}

#[test]
fn without_faults_it_only_passes_on() {
    let bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.add().expect("it is answered").status(), 200);
    }
    assert_eq!(bench.count(), 3);
    assert_eq!(counter(&bench.get(&bench.proxy.address(), true)), 3);
    let counts = bench.proxy.counts();
    assert_eq!((counts.calls, counts.writes, counts.injected()), (4, 3, 0));
}

#[test]
fn what_is_turned_away_is_not_applied() {
    let bench = Bench::new();
    for fault in [Fault::Throttled, Fault::Conflict] {
        bench.set(fault);
        for _ in 0..8 {
            let single = bench.add().expect("it is answered");
            let both = bench.transact().expect("it is answered");
            assert_eq!((single.status(), both.status()), (400, 400), "{fault}");
            if fault == Fault::Conflict {
                assert_eq!(kind(&single), "TransactionConflictException");
                assert_eq!(kind(&both), "TransactionCanceledException");
            }
        }
        assert_eq!(bench.proxy.counts().of(fault), 16);
    }
    bench.set(Fault::ServerError);
    assert!(bench.add().expect("it is answered").status() >= 500);
    bench.set(Fault::CutBefore);
    bench.add().expect_err("the connection is cut");
    assert_eq!(bench.count(), 0);
}

#[test]
fn what_is_applied_is_applied_once_whatever_is_told() {
    let bench = Bench::new();
    bench.set(Fault::ErrorAfter);
    assert!(bench.add().expect("it is answered").status() >= 500);
    assert_eq!(bench.count(), 1);
    bench.set(Fault::CutAfter);
    bench.add().expect_err("the connection is cut");
    assert_eq!(bench.count(), 2);
    bench.set(Fault::HalfReply);
    let half = bench.add().expect_err("half a reply is none");
    assert!(half.contains("unexpected end of file"), "{half}");
    assert_eq!(bench.count(), 3);
    bench.set(Fault::Slow);
    assert_eq!(bench.add().expect("it is answered").status(), 200);
    assert_eq!(bench.count(), 4);
}

#[test]
fn what_is_late_is_applied_after_its_sender_gave_up() {
    let bench = Bench::new();
    bench.set(Fault::Late);
    let began = Instant::now();
    let (address, addition) = (bench.proxy.address(), bench.addition());
    let sender = std::thread::spawn(move || client::send(&address, "UpdateItem", &addition));
    assert!(wait::until(PATIENCE, || (bench.count() == 1).then_some(())).is_some());
    assert!(began.elapsed() > Duration::from_millis(1500));
    sender.join().expect("it does not panic").expect("whoever waited is answered");
}

#[test]
fn a_second_delivery_happens() {
    let bench = Bench::new();
    bench.set(Fault::Twice);
    assert_eq!(bench.add().expect("it is answered").status(), 200);
    assert_eq!(bench.count(), 2);
    bench.set(Fault::LateTwin);
    let first: Value = bench.add().expect("it is answered").body_json();
    assert_eq!(first["Attributes"]["n"]["N"], "3");
    assert!(wait::until(PATIENCE, || (bench.count() == 4).then_some(())).is_some());
}

#[test]
fn a_transaction_in_progress_is_applied_later() {
    let bench = Bench::new();
    bench.set(Fault::InProgress);
    let answer = bench.transact().expect("it is answered");
    assert_eq!((answer.status(), kind(&answer).as_str()), (400, "TransactionInProgressException"));
    assert!(wait::until(PATIENCE, || (bench.count() == 1).then_some(())).is_some());
}

#[test]
fn only_eventual_reads_are_stale() {
    let bench = Bench::new();
    let address = bench.proxy.address();
    bench.set(Fault::Stale);
    assert_eq!(counter(&bench.get(&address, false)), 0);
    assert_eq!(bench.add().expect("it is answered").status(), 200);
    assert_eq!(counter(&bench.get(&address, false)), 0);
    assert_eq!(counter(&bench.get(&address, true)), 1);
    assert_eq!(bench.proxy.counts().of(Fault::Stale), 1);
}

#[test]
fn a_part_of_a_batch_is_left_over() {
    let bench = Bench::new();
    assert_eq!(bench.transact().expect("it is answered").status(), 200);
    bench.set(Fault::Partial);
    let keys = json!([{ "pk": { "S": "a" } }, { "pk": { "S": "b" } }]);
    let batch = json!({ "RequestItems": { bench.table.as_str(): { "Keys": keys } } });
    let answer = client::call(&bench.proxy.address(), "BatchGetItem", &batch).expect("a batch");
    let length = |list: &Value| list.as_array().map_or(0, Vec::len);
    assert_eq!(length(&answer["Responses"][&bench.table]), 1);
    assert_eq!(length(&answer["UnprocessedKeys"][&bench.table]["Keys"]), 1);
}

#[test]
fn silence_and_refusals_last_for_a_while() {
    let bench = Bench::new();
    bench.proxy.fall_silent(Duration::from_millis(300));
    let began = Instant::now();
    bench.add().expect_err("it is cut in the end");
    assert!(began.elapsed() >= Duration::from_millis(300));
    bench.proxy.refuse_connections(Duration::from_secs(60));
    let refused = || bench.add().err().filter(|why| why.contains("refused"));
    assert!(wait::until(PATIENCE, refused).is_some());
    assert_eq!(bench.count(), 0);
    bench.proxy.heal();
    assert!(wait::until(PATIENCE, || bench.add().ok()).is_some());
    assert_eq!(bench.count(), 1);
}

#[test]
fn a_write_is_held_where_it_was_asked_for() {
    let bench = Bench::new();
    for (moment, while_held, abandoned) in [(Moment::Before, 0, 0), (Moment::After, 1, 1)] {
        let before = bench.count();
        let held = bench.proxy.hold(Hold { nth: 2, moment, about: "ADD".to_owned() });
        assert_eq!(bench.add().expect("the first goes through").status(), 200);
        let (address, addition) = (bench.proxy.address(), bench.addition());
        let sender = std::thread::spawn(move || client::send(&address, "UpdateItem", &addition));
        assert_eq!(held.wait(PATIENCE).as_deref(), Some("UpdateItem"));
        assert_eq!(bench.count(), before + 1 + while_held);
        held.abandon();
        sender.join().expect("it does not panic").expect_err("its connection is cut");
        assert_eq!(bench.count(), before + 1 + abandoned);
    }
    let before = bench.count();
    let moment = Moment::Before;
    let held = bench.proxy.hold(Hold { nth: 1, moment, about: String::new() });
    let (address, addition) = (bench.proxy.address(), bench.addition());
    let sender = std::thread::spawn(move || client::send(&address, "UpdateItem", &addition));
    assert!(held.wait(PATIENCE).is_some());
    held.release();
    sender.join().expect("it does not panic").expect("it goes on");
    assert_eq!(bench.count(), before + 1);
}

#[test]
fn hundreds_of_calls_at_once_are_served() {
    let bench = Bench::new();
    bench.proxy.set(Odds::only(Fault::Slow, 0.2));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| bench.add().expect("it is answered"));
        }
    });
    assert_eq!(bench.count(), 200);
}

trait Body {
    fn body_json(&self) -> Value;
}

impl Body for Answer {
    fn body_json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("it is JSON")
    }
}
