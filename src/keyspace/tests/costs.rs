//! The table of costs: what each operation consumes on DynamoDB, by `ReturnConsumedCapacity`.
//!
//! Each row is a ceiling of the design; a test below holds it for items up to 1 KB with nothing
//! else running. The engine reports what DynamoDB would.

use std::sync::Mutex;

use super::*;
use crate::clock::SystemClock;
use crate::store::dynamodb::{Consumed, DynamoDbStore, Meter};

/// What a request consumed.
#[derive(Debug, PartialEq)]
struct Cost {
    calls: usize,
    read_units: f64,
    write_units: f64,
}

struct Bill {
    gateway: Keyspace<DynamoDbStore>,
    consumed: Arc<Mutex<Vec<Consumed>>>,
}

impl Bill {
    async fn open(read_consistency: Consistency) -> Bill {
        let consumed: Arc<Mutex<Vec<Consumed>>> = Arc::default();
        let told = Arc::clone(&consumed);
        let meter = Meter::new(move |call| told.lock().expect("no test panics here").push(call));
        let store = DynamoDbStore::in_process(meter).await;
        let clock = Arc::new(IndexClock::new(Arc::new(SystemClock), DRIFT_US, EtcdIndex(0)));
        let config = Config {
            read_consistency,
            request_timeout: Duration::from_secs(30),
            watch_window: None,
            watch_reach: Reach::Own,
            scan_for_ttl: false,
        };
        let gateway = Keyspace::open(store, clock, config).await.expect("the keyspace opens");
        Bill { gateway, consumed }
    }

    /// What was consumed since this was asked last.
    fn take(&self) -> Cost {
        let calls = std::mem::take(&mut *self.consumed.lock().expect("no test panics here"));
        Cost {
            calls: calls.len(),
            read_units: calls.iter().map(|call| call.read_units).sum(),
            write_units: calls.iter().map(|call| call.write_units).sum(),
        }
    }

    async fn write(&self, key: &str, operation: Operation) -> Cost {
        self.take();
        let _ = write(&self.gateway, key, operation).await;
        self.take()
    }

    async fn read(&self, key: &str, recursive: bool, quorum: bool) -> Cost {
        self.take();
        let read = Read { key: k(key), recursive, sorted: false, quorum };
        let _ = self.gateway.read(read).await;
        self.take()
    }
}

fn reads(calls: usize, read_units: f64) -> Cost {
    Cost { calls, read_units, write_units: 0.0 }
}

fn writes(calls: usize, write_units: f64) -> Cost {
    Cost { calls, read_units: 0.0, write_units }
}

fn compare(value: &str) -> Compare {
    Compare { prev_value: Some(Value::from(value)), prev_index: None }
}

#[tokio::test]
async fn reads_cost_what_the_table_says() {
    let bill = Bill::open(Consistency::Strong).await;
    for key in ["/d/a", "/d/b", "/d/s/c", "/d/s/t/e", "/e/f/g"] {
        put(&bill.gateway, key, &"v".repeat(300)).await;
    }
    assert_eq!(bill.read("/d/a", false, false).await, reads(1, 1.0), "a file");
    assert_eq!(bill.read("/d", false, false).await, reads(2, 2.0), "a directory");
    assert_eq!(bill.read("/d/missing", false, false).await, reads(2, 2.0), "a missing key");
    assert_eq!(bill.read("/d/s/missing", false, false).await, reads(2, 3.0), "a deeper one");
    assert_eq!(bill.read("/missing", false, false).await, reads(1, 1.0), "one under the root");
    assert_eq!(bill.read("/d", true, false).await, reads(4, 4.0), "a subtree of three levels");
    // One query of the top level, then for /d three levels and for /e two.
    assert_eq!(bill.read("/", true, false).await, reads(6, 6.0), "the whole tree");
}

#[tokio::test]
async fn eventual_reads_cost_half_and_quorum_reads_do_not() {
    let bill = Bill::open(Consistency::Eventual).await;
    put(&bill.gateway, "/d/a", "1").await;
    assert_eq!(bill.read("/d/a", false, false).await, reads(1, 0.5));
    assert_eq!(bill.read("/d", false, false).await, reads(2, 1.0));
    assert_eq!(bill.read("/d/a", false, true).await, reads(1, 1.0));
}

#[tokio::test]
async fn writes_of_a_file_cost_one_unit_also_when_refused() {
    let bill = Bill::open(Consistency::Strong).await;
    put(&bill.gateway, "/d/a", "1").await;
    let refresh =
        Draft { refresh: true, expiration: Some(bill.gateway.now().plus_ms(60_000)), ..file("") };
    for (what, operation) in [
        ("set", Operation::Set(file("2"))),
        ("compareAndSwap", Operation::CompareAndSwap(file("3"), compare("2"))),
        ("a failed compareAndSwap", Operation::CompareAndSwap(file("4"), compare("2"))),
        ("update", Operation::Update(file("5"))),
        ("refresh", Operation::Update(refresh)),
        ("a failed compareAndDelete", Operation::CompareAndDelete(compare("2"))),
        ("compareAndDelete", Operation::CompareAndDelete(compare("5"))),
    ] {
        assert_eq!(bill.write("/d/a", operation).await, writes(1, 1.0), "{what}");
    }
    put(&bill.gateway, "/d/a", "1").await;
    assert_eq!(bill.write("/d/a", Operation::Delete(Removal::default())).await, writes(1, 1.0));
}

#[tokio::test]
async fn creations_cost_four_units_and_a_wrong_guess_one_more() {
    let bill = Bill::open(Consistency::Strong).await;
    put(&bill.gateway, "/d/a", "1").await;
    assert_eq!(bill.write("/d/b", Operation::Create(file("1"))).await, writes(1, 4.0), "create");
    assert_eq!(bill.write("/d/c", Operation::Set(file("1"))).await, writes(2, 5.0), "set");
    assert_eq!(bill.write("/d", Operation::CreateInOrder(file("1"))).await, writes(1, 4.0));
    assert_eq!(bill.write("/t", Operation::Create(file("1"))).await, writes(1, 1.0), "at the top");
}

#[tokio::test]
async fn a_recursive_delete_is_a_call_a_level_and_one_transaction() {
    let bill = Bill::open(Consistency::Strong).await;
    for n in 0..40 {
        put(&bill.gateway, &format!("/d/s/{n}"), "v").await;
    }
    // The top, two levels below it, and the transaction over 42 nodes.
    let cost = bill.write("/d", Operation::Delete(TREE)).await;
    assert_eq!(cost, Cost { calls: 4, read_units: 3.0, write_units: 84.0 });
}

#[tokio::test]
async fn an_idle_gateway_looks_at_one_partition() {
    let bill = Bill::open(Consistency::Strong).await;
    bill.take();
    bill.gateway.sweep().await.expect("a sweep");
    assert_eq!(bill.take(), reads(1, 1.0));
}
