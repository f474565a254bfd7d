//! What is counted, each metric by a documented function.
//!
//! Names are etcd's where the meaning is equal, `etcdynamo_…` otherwise. The registry is the
//! process's own, like its memory; whoever counts calls a function here and holds nothing.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    Counter, CounterVec, Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, exponential_buckets,
};

use crate::units::{Operation, Units};

mod front;
use front::FrontMetrics;
pub use front::{handshake_failed, head_late, request_limited, tls_files_changed};

/// A request's method, as etcd's metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET and HEAD.
    Get,
    /// GET with quorum=true.
    QGet,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Method {
    const ALL: [Method; 5] = [Method::Get, Method::QGet, Method::Put, Method::Post, Method::Delete];

    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::QGet => "QGET",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// What a write did to the store, as etcd's metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteAction {
    /// PUT without a condition.
    Set,
    /// PUT with prevExist=false, or POST.
    Create,
    /// PUT with prevExist=true.
    Update,
    /// PUT with prevValue or prevIndex.
    CompareAndSwap,
    /// DELETE without a condition.
    Delete,
    /// DELETE with prevValue or prevIndex.
    CompareAndDelete,
}

impl WriteAction {
    const ALL: [WriteAction; 6] = [
        WriteAction::Set,
        WriteAction::Create,
        WriteAction::Update,
        WriteAction::CompareAndSwap,
        WriteAction::Delete,
        WriteAction::CompareAndDelete,
    ];

    fn name(self) -> &'static str {
        match self {
            WriteAction::Set => "set",
            WriteAction::Create => "create",
            WriteAction::Update => "update",
            WriteAction::CompareAndSwap => "compareAndSwap",
            WriteAction::Delete => "delete",
            WriteAction::CompareAndDelete => "compareAndDelete",
        }
    }
}

/// `etcd_http_received_total{method}`: requests to `/v2/keys` that were understood, without
/// watches.
pub fn http_received(method: Method) {
    METRICS.received[method as usize].inc();
}

/// `etcd_http_successful_duration_seconds{method}`: how long those took that went through.
pub fn http_succeeded(method: Method, took: Duration) {
    METRICS.succeeded[method as usize].observe(took.as_secs_f64());
}

/// `etcd_http_failed_total{method,code}`: those that were answered with an error, by status.
pub fn http_failed(method: Method, status: u16) {
    let mut buffer = itoa::Buffer::new();
    METRICS.failed.with_label_values(&[method.name(), buffer.format(status)]).inc();
}

/// `etcd_debugging_store_reads_total{action}` and `…_reads_failed_total`: reads by
/// get/getRecursive.
pub fn store_read(recursive: bool, went_through: bool) {
    let counters = &METRICS.reads[usize::from(recursive)];
    counters.total.inc();
    if !went_through {
        counters.failed.inc();
    }
}

/// `etcd_debugging_store_writes_total{action}` and `…_writes_failed_total`: writes by what they
/// were to do.
pub fn store_write(action: WriteAction, went_through: bool) {
    let counters = &METRICS.writes[action as usize];
    counters.total.inc();
    if !went_through {
        counters.failed.inc();
    }
}

/// `etcd_debugging_store_expires_total`: nodes removed because their TTL ran out.
pub fn store_expired(nodes: u64) {
    METRICS.expires.inc_by(nodes);
}

/// `etcdynamo_index_refused_total`: indexes that were refused because they were further ahead of
/// this gateway's clock than gateways' clocks may drift.
pub fn index_refused() {
    METRICS.indexes_refused.inc();
}

/// `etcdynamo_unknown_outcomes_total`: commits whose outcome was not known at first and was found
/// out by sending them again.
pub fn outcome_found_out() {
    METRICS.outcomes_found_out.inc();
}

/// `etcdynamo_gathered_creations_total`: creations that went to the store together with others of
/// their directory.
pub fn creations_gathered(creations: u64) {
    METRICS.creations_gathered.inc_by(creations);
}

/// `etcdynamo_dynamodb_calls_total{operation}`, `…_read_request_units_total`,
/// `…_write_request_units_total` and `…_turned_away_total`: calls to DynamoDB, what they consumed,
/// and how many were throttled or in conflict.
pub fn dynamodb_called(operation: &'static str, units: Units, turned_away: bool) {
    let table = &METRICS.table;
    table.calls.with_label_values(&[operation]).inc();
    table.read_units.with_label_values(&[operation]).inc_by(units.read);
    table.write_units.with_label_values(&[operation]).inc_by(units.write);
    if turned_away {
        table.turned_away.with_label_values(&[operation]).inc();
    }
}

/// `etcdynamo_read_request_units_total{operation}` and `etcdynamo_write_request_units_total`: the
/// same units by what they were spent on: the requests of clients, and what a gateway does by itself.
pub fn units_spent(operation: Operation, units: Units) {
    let spent = &METRICS.spent[operation as usize];
    spent.read.inc_by(units.read);
    spent.write.inc_by(units.write);
}

/// `etcd_debugging_store_watch_requests_total`: watches that began.
pub fn watch_requested() {
    METRICS.watch_requests.inc();
}

/// `etcd_debugging_store_watchers`: watchers that wait, for as long as the guard lives.
pub fn watcher_waits() -> Held {
    Held::one(&METRICS.watchers)
}

/// `etcdynamo_watchers_dropped_total`: watchers that were too slow, and hear nothing more.
pub fn watcher_dropped() {
    METRICS.watch.dropped.inc();
}

/// `etcdynamo_watch_window_events`: events that are kept for watches that begin in the past.
pub fn window_holds(events: usize) {
    METRICS.watch.window.set(i64::try_from(events).unwrap_or(i64::MAX));
}

/// `etcdynamo_watch_doubts_total`: keys whose watchers were ended, because an event about them came
/// too late or may be missing.
pub fn key_doubted() {
    METRICS.watch.doubts.inc();
}

/// `etcdynamo_stream_gaps_total`: how often the window was cleared because records of the table's
/// stream were missing.
pub fn stream_gap() {
    METRICS.watch.gaps.inc();
}

/// `etcdynamo_stream_lag_ms`: for how long no round through the table's stream was whole; 0 while
/// nobody watches. And `etcdynamo_stream_hold_ms`: how long events wait for those of others.
pub fn stream_lags(lag: Duration, hold: Duration) {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    METRICS.watch.lag_ms.set(ms(lag));
    METRICS.watch.hold_ms.set(ms(hold));
}

/// `etcdynamo_gateways`: how many gateways are on the table, this one among them.
pub fn gateways_seen(gateways: usize) {
    METRICS.gateways.set(i64::try_from(gateways).unwrap_or(i64::MAX));
}

/// `etcdynamo_http_connections`: open connections, for as long as the guard lives.
pub fn connection_opened() -> Held {
    Held::one(&METRICS.connections)
}

/// One more in a gauge, until it is dropped.
#[derive(Debug)]
pub struct Held(IntGauge);

impl Held {
    fn one(gauge: &IntGauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All metrics in Prometheus's text format, version 0.0.4.
pub fn text() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&METRICS.registry.gather(), &mut text) {
        tracing::error!(%error, "cannot write the metrics");
    }
    text
}

struct Tried {
    total: IntCounter,
    failed: IntCounter,
}

struct Metrics {
    registry: Registry,
    received: [IntCounter; Method::ALL.len()],
    succeeded: [Histogram; Method::ALL.len()],
    failed: IntCounterVec,
    reads: [Tried; 2],
    writes: [Tried; WriteAction::ALL.len()],
    expires: IntCounter,
    watch_requests: IntCounter,
    watchers: IntGauge,
    connections: IntGauge,
    gateways: IntGauge,
    indexes_refused: IntCounter,
    outcomes_found_out: IntCounter,
    creations_gathered: IntCounter,
    table: TableMetrics,
    watch: WatchMetrics,
    front: FrontMetrics,
    spent: [Spent; Operation::ALL.len()],
}

struct Spent {
    read: Counter,
    write: Counter,
}

impl Spent {
    fn registered(own: &Family<'_>) -> prometheus::Result<[Spent; Operation::ALL.len()]> {
        let by = &["operation"];
        let read = "Read request units by what they were spent on.";
        let read = own.sums("read_request_units_total", read, by)?;
        let write = "Write request units by what they were spent on.";
        let write = own.sums("write_request_units_total", write, by)?;
        Ok(Operation::ALL.map(|operation| Spent {
            read: read.with_label_values(&[operation.name()]),
            write: write.with_label_values(&[operation.name()]),
        }))
    }
}

struct TableMetrics {
    calls: IntCounterVec,
    read_units: CounterVec,
    write_units: CounterVec,
    turned_away: IntCounterVec,
}

impl TableMetrics {
    fn registered(registry: &Registry) -> prometheus::Result<TableMetrics> {
        let family = Family { registry, prefix: "etcdynamo_dynamodb" };
        let by = &["operation"];
        Ok(TableMetrics {
            calls: family.counters("calls_total", "Calls to DynamoDB.", by)?,
            read_units: family.sums(
                "read_request_units_total",
                "Read request units consumed.",
                by,
            )?,
            write_units: family.sums(
                "write_request_units_total",
                "Write request units consumed.",
                by,
            )?,
            turned_away: family.counters(
                "turned_away_total",
                "Calls that were throttled or in conflict.",
                by,
            )?,
        })
    }
}

struct WatchMetrics {
    dropped: IntCounter,
    window: IntGauge,
    doubts: IntCounter,
    gaps: IntCounter,
    lag_ms: IntGauge,
    hold_ms: IntGauge,
}

impl WatchMetrics {
    fn registered(own: &Family<'_>) -> prometheus::Result<WatchMetrics> {
        let lag = "Milliseconds since the stream was last read as a whole.";
        Ok(WatchMetrics {
            dropped: own.counter("watchers_dropped_total", "Watchers that were too slow.")?,
            window: own.gauge("watch_window_events", "Events kept for watches in the past.")?,
            doubts: own.counter("watch_doubts_total", "Keys whose watchers had to start anew.")?,
            gaps: own.counter("stream_gaps_total", "Clears for missing stream records.")?,
            lag_ms: own.gauge("stream_lag_ms", lag)?,
            hold_ms: own.gauge("stream_hold_ms", "Milliseconds that events wait for others'.")?,
        })
    }
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    Metrics::registered().expect("the names are distinct and well formed, which a test holds")
});

impl Metrics {
    fn registered() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let own = Family { registry: &registry, prefix: "etcdynamo" };
        let http = Family { registry: &registry, prefix: "etcd_http" };
        let store = Family { registry: &registry, prefix: "etcd_debugging_store" };
        let received =
            http.counters("received_total", "Requests that were understood.", &["method"])?;
        let succeeded = http.histograms(
            "successful_duration_seconds",
            "How long requests took that went through (without watches).",
            "method",
        )?;
        let reads = store.counters("reads_total", "Reads by get/getRecursive.", &["action"])?;
        let reads_failed = store.counters(
            "reads_failed_total",
            "Failed reads by get/getRecursive.",
            &["action"],
        )?;
        let writes = store.counters("writes_total", "Writes by action.", &["action"])?;
        let writes_failed =
            store.counters("writes_failed_total", "Failed writes by action.", &["action"])?;
        let tried = |total: &IntCounterVec, failed: &IntCounterVec, action: &str| Tried {
            total: total.with_label_values(&[action]),
            failed: failed.with_label_values(&[action]),
        };
        own.build_info()?;
        Ok(Metrics {
            received: Method::ALL.map(|method| received.with_label_values(&[method.name()])),
            succeeded: Method::ALL.map(|method| succeeded.with_label_values(&[method.name()])),
            failed: http.counters(
                "failed_total",
                "Requests that were answered with an error.",
                &["method", "code"],
            )?,
            reads: ["get", "getRecursive"].map(|action| tried(&reads, &reads_failed, action)),
            writes: WriteAction::ALL.map(|action| tried(&writes, &writes_failed, action.name())),
            expires: store.counter("expires_total", "Nodes whose TTL ran out.")?,
            watch_requests: store.counter("watch_requests_total", "Watches that began.")?,
            watchers: store.gauge("watchers", "Watchers that wait.")?,
            connections: own.gauge("http_connections", "Open client connections.")?,
            gateways: own.gauge("gateways", "Gateways on the table.")?,
            indexes_refused: own
                .counter("index_refused_total", "Indexes too far ahead of this clock.")?,
            outcomes_found_out: own
                .counter("unknown_outcomes_total", "Commits whose outcome had to be found out.")?,
            creations_gathered: own.counter(
                "gathered_creations_total",
                "Creations that went together with others of their directory.",
            )?,
            table: TableMetrics::registered(&registry)?,
            spent: Spent::registered(&own)?,
            watch: WatchMetrics::registered(&own)?,
            front: FrontMetrics::registered(&own)?,
            registry,
        })
    }
}

/// Metrics with a prefix in common.
struct Family<'a> {
    registry: &'a Registry,
    prefix: &'static str,
}

impl Family<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("{}_{name}", self.prefix), help)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(self.opts(name, help), labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn sums(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<CounterVec> {
        let sums = CounterVec::new(self.opts(name, help), labels)?;
        self.registry.register(Box::new(sums.clone()))?;
        Ok(sums)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// With etcd's buckets: 0.5 ms, doubled twelve times.
    fn histograms(&self, name: &str, help: &str, label: &str) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(self.opts(name, help));
        let buckets = exponential_buckets(0.0005, 2.0, 13)?;
        let histograms = HistogramVec::new(opts.buckets(buckets), &[label])?;
        self.registry.register(Box::new(histograms.clone()))?;
        Ok(histograms)
    }

    /// `etcdynamo_build_info{version}`: always 1.
    fn build_info(&self) -> prometheus::Result<()> {
        let info =
            IntGaugeVec::new(self.opts("build_info", "The version, as a label."), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(info))
    }
}

#[cfg(test)]
mod tests;
