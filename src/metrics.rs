//! What is counted, each metric by a documented function.
//!
//! Names are etcd's where the meaning is equal, `etcdynamo_…` otherwise. The registry is the
//! process's own, like its memory; whoever counts calls a function here and holds nothing. The page
//! for operators, `docs/operations.md`, has a line for each; a test holds that.

mod front;
mod registry;

use std::time::Duration;

use prometheus::{Encoder as _, IntGauge, TextEncoder};

pub use front::{handshake_failed, head_late, request_limited, tls_files_changed};
use registry::METRICS;

use crate::units::{Operation, Units};

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

    /// Its name, as etcd spells it.
    pub fn name(self) -> &'static str {
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

/// A call to DynamoDB that has ended.
#[derive(Debug, Clone, Copy)]
pub struct DynamodbCall {
    /// DynamoDB's name of the operation.
    pub operation: &'static str,
    /// What became of it.
    pub outcome: &'static str,
    /// What it consumed.
    pub units: Units,
    /// How long it took.
    pub took: Duration,
}

/// `etcdynamo_dynamodb_calls_total{operation,outcome}`, `…_call_duration_seconds{operation}`,
/// `…_read_request_units_total{operation}` and `…_write_request_units_total{operation}`: calls to
/// DynamoDB, what became of them (among it throttles and conflicts), how long they took and what
/// they consumed.
pub fn dynamodb_called(call: DynamodbCall) {
    let DynamodbCall { operation, outcome, units, took } = call;
    let table = &METRICS.table;
    table.calls.with_label_values(&[operation, outcome]).inc();
    table.took.with_label_values(&[operation]).observe(took.as_secs_f64());
    table.read_units.with_label_values(&[operation]).inc_by(units.read);
    table.write_units.with_label_values(&[operation]).inc_by(units.write);
}

/// `etcdynamo_dynamodb_retries_total`: calls to DynamoDB that were made again, because the one
/// before did not happen or its reply was lost.
pub fn dynamodb_retried() {
    METRICS.table.retries.inc();
}

/// The keyspace that units are spent in, from now on.
pub fn keyspace_opened(name: &str) {
    METRICS.spent.of_keyspace(name);
}

/// `etcdynamo_read_request_units_total{operation,keyspace}` and `etcdynamo_write_request_units_total`:
/// the same units by what they were spent on: the requests of clients, and what a gateway does by
/// itself.
pub fn units_spent(operation: Operation, units: Units) {
    METRICS.spent.add(operation, units);
}

/// `etcd_server_health_success` and `etcd_server_health_failures`: answers of `/health`.
pub fn health_told(is_healthy: bool) {
    if is_healthy { METRICS.health.success.inc() } else { METRICS.health.failures.inc() }
}

/// `etcdynamo_clock_ahead_ms`: how far the indexes of this gateway are ahead of its clock, because
/// other gateways' clocks are.
pub fn clock_ahead(ahead: Duration) {
    METRICS.clock_ahead_ms.set(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX));
}

/// `etcdynamo_slow_requests_total`: answers that took longer than `--slow-request-ms`.
pub fn request_was_slow() {
    METRICS.slow_requests.inc();
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

/// `etcdynamo_gateways`: how many gateways are on the table that write, and this one.
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

/// The name of every metric.
pub fn names() -> &'static [String] {
    &METRICS.names
}

/// All metrics in Prometheus's text format, version 0.0.4.
pub fn text() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&METRICS.registry.gather(), &mut text) {
        tracing::error!(%error, "cannot write the metrics");
    }
    text
}

#[cfg(test)]
mod tests;
