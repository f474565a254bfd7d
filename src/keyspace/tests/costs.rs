//! The table of costs: what each operation consumes on DynamoDB, by `ReturnConsumedCapacity`.
//!
//! Each row is a ceiling of the design; a test below holds it for items up to 1 KB with nothing
//! else running. The engine reports what DynamoDB would.

use std::sync::Mutex;

use super::*;
use crate::clock::SystemClock;
use crate::store::dynamodb::{Consumed, DynamoDbStore, Meter};
use crate::store::{Level, Page};
use crate::units::{Bill, Operation as Spent, Units};
use crate::v2::{Commit, Mutation, NodeOp, Op, WriteId};

/// What was consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) calls: usize,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
}

/// A gateway whose calls to DynamoDB are counted.
pub(super) struct Metered<S = DynamoDbStore> {
    pub(super) gateway: Keyspace<S>,
    consumed: Arc<Mutex<Vec<Consumed>>>,
    engine_reported: Box<dyn Fn() -> f64>,
}

impl Metered {
    pub(super) async fn open(read_consistency: Consistency) -> Metered {
        let config = Config { read_consistency, ..CONFIG };
        Metered::open_as(config, Arc::new(SystemClock), |store| store).await
    }
}

impl<S: Store> Metered<S> {
    pub(super) async fn open_as(
        config: Config,
        wall: Arc<dyn Clock>,
        wrap: impl FnOnce(DynamoDbStore) -> S,
    ) -> Metered<S> {
        let consumed: Arc<Mutex<Vec<Consumed>>> = Arc::default();
        let told = Arc::clone(&consumed);
        let meter = Meter::new(move |call| told.lock().expect("no test panics here").push(call));
        let (store, reported) = DynamoDbStore::in_process_reporting(meter).await;
        let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
        let gateway = Keyspace::open(wrap(store), clock, config).await.expect("the keyspace opens");
        Metered { gateway, consumed, engine_reported: Box::new(reported) }
    }

    /// The calls since this was asked last.
    fn take_calls(&self) -> Vec<Consumed> {
        std::mem::take(&mut *self.consumed.lock().expect("no test panics here"))
    }

    /// What was consumed since this was asked last.
    pub(super) fn take(&self) -> Cost {
        let calls = self.take_calls();
        Cost {
            calls: calls.len(),
            read_units: calls.iter().map(|call| call.units.read).sum(),
            write_units: calls.iter().map(|call| call.units.write).sum(),
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
    let bill = Metered::open(Consistency::Strong).await;
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
    let bill = Metered::open(Consistency::Eventual).await;
    put(&bill.gateway, "/d/a", "1").await;
    assert_eq!(bill.read("/d/a", false, false).await, reads(1, 0.5));
    assert_eq!(bill.read("/d", false, false).await, reads(2, 1.0));
    assert_eq!(bill.read("/d/a", false, true).await, reads(1, 1.0));
}

#[tokio::test]
async fn writes_of_a_file_cost_one_unit_also_when_refused() {
    let bill = Metered::open(Consistency::Strong).await;
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
async fn a_listing_of_a_thousand_children_is_two_calls_and_their_size() {
    let bill = Metered::open(Consistency::Strong).await;
    put(&bill.gateway, "/d/first", "v").await;
    let children: Vec<String> = (0..999).map(|n| format!("/d/child-{n:04}")).collect();
    for (n, paths) in (0..).zip(children.chunks(100)) {
        let id = WriteId { index: EtcdIndex(START_US + n), gateway: 1 };
        let ops = paths.iter().map(|path| new_file(path, id)).collect();
        bill.gateway.store.commit(&Commit { id, ops }).await.expect("made");
    }
    let cost = bill.read("/d", false, false).await;
    let page: Page = {
        let level = Level { below: &k("/d"), depth: 2, from: None };
        bill.gateway.store.list(level, Consistency::Strong).await.expect("a page")
    };
    assert_eq!((cost.calls, page.items.len()), (2, 1000));
    let whole = bill.take().read_units;
    assert_eq!(cost.read_units, 1.0 + whole, "the directory, and the query's own size");
    // Each item has about 210 bytes: a value of 150, its key, its indexes and marks.
    assert!((50.0..=55.0).contains(&whole), "{whole} units");
}

/// A file of 150 bytes, where there is none.
fn new_file(path: &str, id: WriteId) -> Op {
    let value = Some(Value::from("v".repeat(150).as_str()));
    let mutation = Mutation::WriteFile { value, creates: true, expiration: None };
    Op::Node(NodeOp { key: k(path), id, expect: Vec::new(), mutation, action: None })
}

#[tokio::test]
async fn creations_cost_four_units_and_a_wrong_guess_one_more() {
    let bill = Metered::open(Consistency::Strong).await;
    put(&bill.gateway, "/d/a", "1").await;
    assert_eq!(bill.write("/d/b", Operation::Create(file("1"))).await, writes(1, 4.0), "create");
    assert_eq!(bill.write("/d/c", Operation::Set(file("1"))).await, writes(2, 5.0), "set");
    assert_eq!(bill.write("/d", Operation::CreateInOrder(file("1"))).await, writes(1, 4.0));
    assert_eq!(bill.write("/t", Operation::Create(file("1"))).await, writes(1, 1.0), "at the top");
    assert_eq!(bill.write("/d/b", Operation::Create(file("1"))).await, writes(1, 4.0), "refused");
    let with_parent = Cost { calls: 4, read_units: 1.0, write_units: 11.0 };
    assert_eq!(bill.write("/d/n/f", Operation::Set(file("1"))).await, with_parent, "a parent too");
}

#[tokio::test]
async fn a_recursive_delete_is_a_call_a_level_and_one_transaction() {
    let bill = Metered::open(Consistency::Strong).await;
    for n in 0..40 {
        put(&bill.gateway, &format!("/d/s/{n}"), "v").await;
    }
    // The top, two levels below it, and the transaction over 42 nodes.
    let cost = bill.write("/d", Operation::Delete(TREE)).await;
    assert_eq!(cost, Cost { calls: 4, read_units: 3.0, write_units: 84.0 });
}

#[tokio::test]
async fn a_recursive_delete_of_98_nodes_is_still_one_transaction() {
    let bill = Metered::open(Consistency::Strong).await;
    for n in 0..97 {
        put(&bill.gateway, &format!("/d/{n}"), "v").await;
    }
    let cost = bill.write("/d", Operation::Delete(TREE)).await;
    // The top, one level whose 97 items have more than 4 KB, and the transaction.
    assert_eq!(cost, Cost { calls: 3, read_units: 3.0, write_units: 196.0 });
}

#[tokio::test]
async fn a_large_recursive_delete_is_paid_by_its_request() {
    let bill = Metered::open(Consistency::Strong).await;
    for n in 0..110 {
        put(&bill.gateway, &format!("/d/{n}"), "v").await;
    }
    bill.take();
    let paid = Bill::default();
    let removal = write(&bill.gateway, "/d", Operation::Delete(TREE));
    paid.charge(removal).await.expect("removed");
    let calls = bill.take_calls();
    assert!(calls.len() > 110, "a call for each node");
    assert!(calls.iter().all(|c| c.spent_on == [(Spent::DeleteRecursive, c.units)]));
    // The mark and the record together, one for each node, the mark and the record together.
    assert_eq!(paid.total().write, 4.0 + 110.0 + 4.0);
}

/// Every second commit is sent twice, because its first reply is lost.
fn forgetful(store: DynamoDbStore) -> Faults<DynamoDbStore> {
    let commits = std::sync::atomic::AtomicU64::new(0);
    Faults::new(store, move |_, is_commit| {
        let lost = is_commit && commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1;
        if lost { Fault::LostReply } else { Fault::None }
    })
}

#[tokio::test]
async fn a_request_pays_for_finding_out_what_became_of_it() {
    let bill = Metered::open_as(CONFIG, Arc::new(SystemClock), forgetful).await;
    put(&bill.gateway, "/a", "1").await;
    let mut paid_twice = 0;
    for _ in 0..4 {
        bill.take();
        let paid = Bill::default();
        paid.charge(put(&bill.gateway, "/a", "2")).await;
        let cost = bill.take();
        assert_eq!(paid.total(), Units { read: cost.read_units, write: cost.write_units });
        paid_twice += usize::from(cost.write_units == 2.0);
    }
    assert!(paid_twice > 0, "replies were lost");
}

#[tokio::test]
async fn the_sums_by_operation_are_what_the_engine_reported() {
    let bill = Metered::open(Consistency::Eventual).await;
    let gateway = &bill.gateway;
    let dir = Draft { dir: true, ..Draft::default() };
    write(gateway, "/d", Operation::Create(dir)).await.expect("made");
    for n in 0..5 {
        write(gateway, &format!("/d/{n}"), Operation::Create(file("1"))).await.expect("made");
    }
    put(gateway, "/d/1", "2").await;
    let swap = Operation::CompareAndSwap(file("3"), compare("2"));
    write(gateway, "/d/1", swap).await.expect("swapped");
    write(gateway, "/d/1", Operation::Update(file("4"))).await.expect("updated");
    write(gateway, "/d/1", Operation::CompareAndDelete(compare("4"))).await.expect("deleted");
    write(gateway, "/d/2", Operation::Delete(Removal::default())).await.expect("deleted");
    get(gateway, "/d/missing").await.expect_err("missing");
    tree(gateway, "/").await;
    assert!(gateway.healthy().await);
    let ttl = Some(gateway.now().plus_ms(-1));
    let overdue = Draft { dir: true, expiration: ttl, ..Draft::default() };
    write(gateway, "/t", Operation::Create(overdue)).await.expect("made");
    gateway.sweep().await.expect("a sweep");
    write(gateway, "/d", Operation::Delete(TREE)).await.expect("deleted");

    let calls = bill.take_calls();
    let mut sums = std::collections::BTreeMap::<Spent, Units>::new();
    for (operation, units) in calls.iter().flat_map(|call| call.spent_on.iter()) {
        *sums.entry(*operation).or_default() += *units;
    }
    let all: f64 = sums.values().map(|units| units.read + units.write).sum();
    // No condition failed, so there is nothing that only we count.
    assert_eq!(all, (bill.engine_reported)());
    let spent: Vec<Spent> = sums.keys().copied().collect();
    assert_eq!(
        spent,
        [
            Spent::Get,
            Spent::GetRecursive,
            Spent::Set,
            Spent::Create,
            Spent::Update,
            Spent::CompareAndSwap,
            Spent::Delete,
            Spent::DeleteRecursive,
            Spent::CompareAndDelete,
            Spent::Health,
            Spent::Open,
            Spent::Sweep,
            Spent::Expire,
        ]
    );
}

#[tokio::test]
async fn opening_a_keyspace_costs_three_reads_and_a_write() {
    let bill = Metered::open(Consistency::Strong).await;
    bill.take();
    let clock = IndexClock::new(Arc::new(SystemClock), DRIFT_US, EtcdIndex(0));
    let store = DynamoDbStore::clone(&bill.gateway.store);
    let again = Keyspace::open(store, Arc::new(clock), CONFIG).await;
    assert!(again.is_ok());
    assert_eq!(bill.take(), Cost { calls: 4, read_units: 3.0, write_units: 1.0 });
}

#[tokio::test]
async fn an_idle_gateway_looks_at_one_partition() {
    let bill = Metered::open(Consistency::Strong).await;
    bill.take();
    bill.gateway.sweep().await.expect("a sweep");
    assert_eq!(bill.take(), reads(1, 1.0));
}

/// Whoever waits for a request holds it: a client's connection, and the task of a write.
#[tokio::test]
async fn a_request_takes_little_room() {
    let bill = Metered::open(Consistency::Strong).await;
    let read = Read { key: k("/d"), recursive: true, sorted: false, quorum: false };
    let write = Write { key: k("/d"), operation: Operation::Set(file("1")) };
    let bytes = [
        std::mem::size_of_val(&bill.gateway.read(read)),
        std::mem::size_of_val(&bill.gateway.write(write)),
    ];
    assert!(bytes.iter().all(|bytes| *bytes < 8 << 10), "{bytes:?}");
}
