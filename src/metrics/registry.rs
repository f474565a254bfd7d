//! The registry: every metric under its name, with the labels and buckets that it has.
//!
//! Not here: when something is counted, which [`super`]'s functions are called for. Invariant: names
//! are distinct, and [`Metrics::names`] has them all.

use std::cell::RefCell;
use std::sync::{LazyLock, OnceLock};

use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use super::front::FrontMetrics;
use super::{Method, WriteAction};
use crate::units::{Operation, Units};

pub(super) struct Tried {
    pub(super) total: IntCounter,
    pub(super) failed: IntCounter,
}

pub(super) struct Metrics {
    pub(super) registry: Registry,
    pub(super) received: [IntCounter; Method::ALL.len()],
    pub(super) succeeded: [Histogram; Method::ALL.len()],
    pub(super) failed: IntCounterVec,
    pub(super) reads: [Tried; 2],
    pub(super) writes: [Tried; WriteAction::ALL.len()],
    pub(super) expires: IntCounter,
    pub(super) watch_requests: IntCounter,
    pub(super) watchers: IntGauge,
    pub(super) connections: IntGauge,
    pub(super) gateways: IntGauge,
    pub(super) indexes_refused: IntCounter,
    pub(super) outcomes_found_out: IntCounter,
    pub(super) creations_gathered: IntCounter,
    pub(super) table: TableMetrics,
    pub(super) watch: WatchMetrics,
    pub(super) front: FrontMetrics,
    pub(super) spent: SpentMetrics,
    pub(super) health: HealthMetrics,
    pub(super) clock_ahead_ms: IntGauge,
    pub(super) slow_requests: IntCounter,
    /// Of each metric above, and of the process's.
    pub(super) names: Vec<String>,
}

pub(super) struct HealthMetrics {
    pub(super) success: IntCounter,
    pub(super) failures: IntCounter,
}

/// Units by what they were spent on, in the keyspace that is open.
pub(super) struct SpentMetrics {
    read: CounterVec,
    write: CounterVec,
    by_operation: OnceLock<[Spent; Operation::ALL.len()]>,
}

pub(super) struct Spent {
    read: Counter,
    write: Counter,
}

impl SpentMetrics {
    fn registered(own: &Family<'_>) -> prometheus::Result<SpentMetrics> {
        let by = &["operation", "keyspace"];
        let read = "Read request units by what they were spent on.";
        let read = own.sums("read_request_units_total", read, by)?;
        let write = "Write request units by what they were spent on.";
        let write = own.sums("write_request_units_total", write, by)?;
        Ok(SpentMetrics { read, write, by_operation: OnceLock::new() })
    }

    /// Every operation has its sum from the beginning, so that rates begin at 0.
    pub(super) fn of_keyspace(&self, keyspace: &str) -> &[Spent; Operation::ALL.len()] {
        self.by_operation.get_or_init(|| {
            Operation::ALL.map(|operation| Spent {
                read: self.read.with_label_values(&[operation.name(), keyspace]),
                write: self.write.with_label_values(&[operation.name(), keyspace]),
            })
        })
    }

    pub(super) fn add(&self, operation: Operation, units: Units) {
        let spent = &self.of_keyspace("default")[operation as usize];
        spent.read.inc_by(units.read);
        spent.write.inc_by(units.write);
    }
}

pub(super) struct TableMetrics {
    pub(super) calls: IntCounterVec,
    pub(super) read_units: CounterVec,
    pub(super) write_units: CounterVec,
    pub(super) took: HistogramVec,
    pub(super) retries: IntCounter,
}

impl TableMetrics {
    fn registered(family: &Family<'_>) -> prometheus::Result<TableMetrics> {
        let by = &["operation"];
        Ok(TableMetrics {
            calls: family.counters(
                "calls_total",
                "Calls to DynamoDB by what became of them.",
                &["operation", "outcome"],
            )?,
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
            // From 1 ms to 2 s; after 1.5 s a call is given up.
            took: family.histograms_with(
                exponential_buckets(0.001, 2.0, 12)?,
                "call_duration_seconds",
                "How long calls to DynamoDB took.",
                "operation",
            )?,
            retries: family.counter("retries_total", "Calls that were made again.")?,
        })
    }
}

pub(super) struct WatchMetrics {
    pub(super) dropped: IntCounter,
    pub(super) window: IntGauge,
    pub(super) doubts: IntCounter,
    pub(super) gaps: IntCounter,
    pub(super) lag_ms: IntGauge,
    pub(super) hold_ms: IntGauge,
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

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    Metrics::registered().expect("the names are distinct and well formed, which a test holds")
});

impl Metrics {
    fn registered() -> prometheus::Result<Metrics> {
        let (registry, names) = (Registry::new(), RefCell::default());
        let family = |prefix| Family { registry: &registry, names: &names, prefix };
        let (own, table) = (family("etcdynamo"), family("etcdynamo_dynamodb"));
        let (http, store) = (family("etcd_http"), family("etcd_debugging_store"));
        let server = family("etcd_server");
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
        own.process()?;
        let metrics = Metrics {
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
            table: TableMetrics::registered(&table)?,
            spent: SpentMetrics::registered(&own)?,
            watch: WatchMetrics::registered(&own)?,
            front: FrontMetrics::registered(&own)?,
            health: HealthMetrics {
                success: server.counter("health_success", "Answers that it is healthy.")?,
                failures: server.counter("health_failures", "Answers that it is not.")?,
            },
            clock_ahead_ms: own
                .gauge("clock_ahead_ms", "How far indexes are ahead of this clock.")?,
            slow_requests: own.counter("slow_requests_total", "Answers that took long.")?,
            names: Vec::new(),
            registry: registry.clone(),
        };
        Ok(Metrics { names: names.take(), ..metrics })
    }
}

/// Metrics with a prefix in common.
pub(super) struct Family<'a> {
    registry: &'a Registry,
    names: &'a RefCell<Vec<String>>,
    prefix: &'static str,
}

impl Family<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        let name = format!("{}_{name}", self.prefix);
        self.names.borrow_mut().push(name.clone());
        Opts::new(name, help)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::with_opts(self.opts(name, help))?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    pub(super) fn counters(
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
        self.histograms_with(exponential_buckets(0.0005, 2.0, 13)?, name, help, label)
    }

    fn histograms_with(
        &self,
        buckets: Vec<f64>,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(self.opts(name, help));
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

    /// `process_…`, as Go's client and so etcd has it; the kernel tells them on Linux only.
    fn process(&self) -> prometheus::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            let described = prometheus::core::Collector::desc(&process);
            self.names.borrow_mut().extend(described.iter().map(|desc| desc.fq_name.clone()));
            self.registry.register(Box::new(process))?;
        }
        Ok(())
    }
}
