//! The figures of `docs/cost.md`: measured here, so that the page cannot say something else.
//!
//! Each workload is replayed against an engine that reports what DynamoDB would, for a part of an
//! hour of simulated time; what it consumes in a month at the page's prices makes the page's row.

use tokio::time::Instant;

use super::costs::{Cost, Metered};
use super::*;
use crate::store::dynamodb::DynamoDbStore;
use crate::v2::Watch;

const PAGE: &str = include_str!("../../../docs/cost.md");

/// Of one month.
const HOURS: f64 = 730.0;

/// Dollars for a read unit and for a write unit, on demand.
const ON_DEMAND: (f64, f64) = (0.125e-6, 0.625e-6);

/// Dollars for an hour of one read and one write capacity unit.
const PROVISIONED: (f64, f64) = (0.000_13, 0.000_65);

/// How much of a provisioned capacity is used.
const UTILISATION: f64 = 0.7;

/// The row of a workload that consumes this in an hour.
fn row(what: &str, hourly: Cost) -> String {
    let Cost { read_units, write_units, .. } = hourly;
    let on_demand = HOURS * (read_units * ON_DEMAND.0 + write_units * ON_DEMAND.1);
    let capacity = |units: f64| (units / 3600.0 / UTILISATION).ceil().max(1.0);
    let (reads, writes) = (capacity(read_units), capacity(write_units));
    let provisioned = HOURS * (reads * PROVISIONED.0 + writes * PROVISIONED.1);
    format!(
        "| {what} | {} | {} | ${} | ${} |",
        thousands(read_units),
        thousands(write_units),
        dollars(on_demand),
        dollars(provisioned)
    )
}

/// With a comma after each third digit, and without what is below one.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

fn dollars(amount: f64) -> String {
    if amount < 100.0 { format!("{amount:.2}") } else { thousands(amount) }
}

#[track_caller]
fn stands_on_the_page(line: &str) {
    assert!(PAGE.lines().any(|shown| shown == line), "docs/cost.md must have this line:\n{line}");
}

fn times(cost: Cost, factor: f64) -> Cost {
    Cost { read_units: cost.read_units * factor, write_units: cost.write_units * factor, ..cost }
}

/// How often a gateway leaves its sign of life in an hour, on average.
const USUAL_BEATS: f64 = 379.0;

/// A wall clock that goes as tokio's time does.
struct Simulated(Instant);

impl Clock for Simulated {
    fn now_us(&self) -> u64 {
        START_US + u64::try_from(self.0.elapsed().as_micros()).expect("not so long")
    }
}

async fn gateway(watch_window: Option<usize>) -> Metered {
    let config = Config { watch_window, ..CONFIG };
    Metered::open_as(config, Arc::new(Simulated(Instant::now())), |store| store).await
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_costs_what_the_page_says() {
    let idle = gateway(Some(1000)).await;
    idle.take();
    let hour = Duration::from_millis(3_599_999);
    let _ = tokio::time::timeout(hour, idle.gateway.keep_sweeping()).await;
    let cost = idle.take();
    // It looks every five seconds, and beats every nine to ten, by chance.
    let beats = cost.write_units;
    assert!((360.0..=400.0).contains(&beats), "{cost:?}");
    assert_eq!(cost.read_units, 720.0 + beats);
    let usual = Cost { read_units: 720.0 + USUAL_BEATS, write_units: USUAL_BEATS, ..cost };
    stands_on_the_page(&row("an idle gateway", usual));
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_without_writes_costs_what_the_page_says() {
    let table = gateway(None).await;
    let wall = Arc::new(Simulated(Instant::now()));
    let clock = Arc::new(IndexClock::new(wall, DRIFT_US, EtcdIndex(0)));
    let store = DynamoDbStore::clone(&table.gateway.store);
    let config = Config { access: Access::ReadOnly, watch_window: Some(1000), ..CONFIG };
    let reader = Keyspace::open(store, clock, config).await.expect("it is there");
    table.take();
    let hour = Duration::from_millis(3_599_999);
    let _ = tokio::time::timeout(hour, reader.keep_sweeping()).await;
    let cost = table.take();
    assert!((1080.0..=1120.0).contains(&cost.read_units), "{cost:?}");
    assert_eq!(cost.write_units, 0.0);
    let usual = Cost { read_units: 720.0 + USUAL_BEATS, ..cost };
    stands_on_the_page(&row("an idle gateway with `--read-only`", usual));
}

#[tokio::test(start_paused = true)]
async fn health_checks_cost_what_the_page_says() {
    let asked = gateway(None).await;
    asked.take();
    for _ in 0..36 {
        assert!(asked.gateway.healthy().await);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    stands_on_the_page(&row("health checks, one every 10 s", times(asked.take(), 10.0)));
    // However many ask however often, the store is asked once a second.
    for _ in 0..36 {
        let asking = (0..100).map(|_| asked.gateway.healthy());
        let answers = futures_util::future::join_all(asking).await;
        assert!(answers.iter().all(|is_healthy| *is_healthy));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let cost = asked.take();
    stands_on_the_page(&row("health checks, as often as can be", times(cost, 100.0)));
}

/// What a node of Patroni does in each turn of its loop (its etcd section, `loop_wait` 10 s): read
/// the cluster, renew its member key; the leader renews its lock and tells its WAL position, a
/// replica waits for the next change of the lock.
async fn patroni_turn(gateway: &Keyspace<crate::store::dynamodb::DynamoDbStore>, turn: u64) {
    let until = |seconds: i64| Some(gateway.now().plus_ms(seconds * 1000));
    for node in ["one", "two", "three"] {
        let read = Read { key: k("/service/main"), recursive: true, sorted: false, quorum: false };
        let seen = gateway.read(read).await.expect("the cluster").index;
        let member = Draft { expiration: until(30), ..file(&"m".repeat(280)) };
        let key = format!("/service/main/members/{node}");
        write(gateway, &key, Operation::Set(member)).await.expect("a member");
        if node == "one" {
            let lock = Draft { expiration: until(30), ..file("one") };
            let held = Compare { prev_value: Some(Value::from("one")), prev_index: None };
            let renewal = Operation::CompareAndSwap(lock, held);
            write(gateway, "/service/main/leader", renewal).await.expect("renewed");
            put(gateway, "/service/main/status", &format!(r#"{{"optime":{turn}}}"#)).await;
        } else {
            let (key, since) = (k("/service/main/leader"), Some(EtcdIndex(seen.0 + 1)));
            let watch = Watch { key, recursive: false, stream: false, since };
            gateway.watch(watch).await.expect("a watch");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn patroni_costs_what_the_page_says() {
    let cluster = gateway(Some(1000)).await;
    for key in ["config", "initialize", "history", "leader", "status"] {
        let value = if key == "leader" { "one" } else { "{\"ttl\":30}" };
        put(&cluster.gateway, &format!("/service/main/{key}"), value).await;
    }
    patroni_turn(&cluster.gateway, 0).await;
    cluster.take();
    for turn in 1..=36 {
        tokio::time::advance(Duration::from_secs(10)).await;
        patroni_turn(&cluster.gateway, turn).await;
    }
    stands_on_the_page(&row("Patroni, 3 nodes, `loop_wait` 10 s", times(cluster.take(), 10.0)));
}

#[tokio::test(start_paused = true)]
async fn confd_costs_what_the_page_says() {
    let config = gateway(None).await;
    for n in 0..20 {
        put(&config.gateway, &format!("/app/key-{n:02}"), &"v".repeat(100)).await;
    }
    config.take();
    for _ in 0..50 {
        let read = Read { key: k("/app"), recursive: true, sorted: true, quorum: true };
        config.gateway.read(read).await.expect("the keys");
    }
    let round = config.take();
    let row_of = |rounds, every: &str| {
        row(&format!("confd on 50 machines, 20 keys, every {every}"), times(round, rounds))
    };
    stands_on_the_page(&row_of(6.0, "10 min"));
    stands_on_the_page(&row_of(60.0, "60 s"));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_updates_a_second_cost_what_the_page_says() {
    let config = gateway(None).await;
    for n in 0..10 {
        put(&config.gateway, &format!("/conf/{n}"), "0").await;
    }
    config.take();
    for update in 0..200 {
        put(&config.gateway, &format!("/conf/{}", update % 10), &"v".repeat(200)).await;
    }
    let second = times(config.take(), 5.0);
    stands_on_the_page(&row("gosconf, 1,000 updates/s", times(second, 3600.0)));
}

#[test]
fn the_page_says_from_when_on_servers_are_cheaper() {
    let (server, disk) = (0.0168 * HOURS, 20.0 * 0.08);
    let servers = 3.0 * (server + disk);
    let gateways = 2.0 * HOURS * (0.25 * 0.032_38 + 0.5 * 0.003_56);
    let second_on_demand = HOURS * 3600.0 * ON_DEMAND.1;
    let second_provisioned = HOURS * PROVISIONED.1 / UTILISATION;
    for (what, budget) in
        [("the table alone", servers), ("with two gateways of their own", servers - gateways)]
    {
        stands_on_the_page(&format!(
            "| {what} | ${} | {:.0} writes/s | {:.0} writes/s |",
            dollars(budget),
            budget / second_on_demand,
            budget / second_provisioned
        ));
    }
}
