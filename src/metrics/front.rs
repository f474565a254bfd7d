//! What is counted before a request is understood: handshakes, certificates, limits.

use prometheus::{IntCounter, IntCounterVec};

use super::registry::{Family, METRICS};

/// `etcdynamo_tls_handshakes_failed_total`: connections whose TLS handshake failed, or took too
/// long.
pub fn handshake_failed() {
    METRICS.front.handshakes_failed.inc();
}

/// `etcdynamo_tls_reloads_total{result}`: changes of the certificate files that were taken (`ok`),
/// and that made no sense (`failed`).
pub fn tls_files_changed(were_taken: bool) {
    let result = if were_taken { "ok" } else { "failed" };
    METRICS.front.tls_reloads.with_label_values(&[result]).inc();
}

/// `etcdynamo_requests_limited_total`: requests that were refused because their client sent more
/// than it may.
pub fn request_limited() {
    METRICS.front.limited.inc();
}

/// `etcdynamo_heads_late_total`: connections that ended because a request's head came too slowly.
pub fn head_late() {
    METRICS.front.heads_late.inc();
}

pub(super) struct FrontMetrics {
    handshakes_failed: IntCounter,
    tls_reloads: IntCounterVec,
    limited: IntCounter,
    heads_late: IntCounter,
}

impl FrontMetrics {
    pub(super) fn registered(own: &Family<'_>) -> prometheus::Result<FrontMetrics> {
        let reloads = "Changes of the certificate files, by whether they were taken.";
        let tls_reloads = own.counters("tls_reloads_total", reloads, &["result"])?;
        for result in ["ok", "failed"] {
            tls_reloads.with_label_values(&[result]);
        }
        let failed = "TLS handshakes that failed or took too long.";
        let limited = "Requests of clients that sent more than they may.";
        let late = "Connections whose request's head came too slowly.";
        Ok(FrontMetrics {
            handshakes_failed: own.counter("tls_handshakes_failed_total", failed)?,
            tls_reloads,
            limited: own.counter("requests_limited_total", limited)?,
            heads_late: own.counter("heads_late_total", late)?,
        })
    }
}
