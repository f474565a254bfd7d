//! Where spans go: in batches, from a thread of its own, to a collector that takes OTLP over HTTP.
//!
//! OpenTelemetry's own variables hold for what is not a flag: `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_…`.
//! Invariant: a collector that is slow, broken or gone costs spans and nothing else.

use std::env;
use std::fmt;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithHttpConfig as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::TRACER;
use super::client::CollectorClient;

/// The name under which spans are found where the environment names no other.
const SERVICE: &str = "etcdynamo";

/// Why there can be no traces.
#[derive(Debug)]
pub enum StartError {
    /// There is no way to call a collector by TLS.
    Tls(std::io::Error),
    /// What the environment says of the exporter makes no sense.
    Exporter(ExporterBuildError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Tls(error) => write!(f, "no certificates to trust: {error}"),
            StartError::Exporter(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Tls(error) => Some(error),
            StartError::Exporter(error) => Some(error),
        }
    }
}

/// Spans that are on their way.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

/// Begins to send spans to this URL. To be called within the runtime, once.
pub fn start(url: &str) -> Result<Exporting, StartError> {
    let client = CollectorClient::new(url.starts_with("https:")).map_err(StartError::Tls)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .map_err(StartError::Exporter)?;
    let resource = Resource::builder();
    let resource = match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name(SERVICE).build(),
    };
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    if TRACER.set(provider.tracer(SERVICE)).is_err() {
        tracing::error!("traces were started before");
    }
    Ok(Exporting(provider))
}

impl Exporting {
    /// Sends what there is, and waits so long for it.
    pub async fn flush(&self, within: Duration) {
        let provider = self.0.clone();
        let flushed = tokio::task::spawn_blocking(move || provider.force_flush());
        match tokio::time::timeout(within, flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(%error, "spans were not sent"),
            Ok(Err(failed)) => tracing::error!(%failed, "spans were not sent"),
            Err(_) => tracing::debug!("spans are still on their way"),
        }
    }

    /// Sends what is left, within this time.
    pub async fn finish(self, within: Duration) {
        // It waits for its thread.
        let finished = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(within));
        match finished.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
            Err(failed) => tracing::error!(%failed, "the last spans were not sent"),
        }
    }
}
