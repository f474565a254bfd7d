//! The flags about what operators see of a running server, and of its end.

use std::time::Duration;

use clap::Args;
use url::Url;

use super::Mistakes;
use super::typed::Typed;

#[derive(Debug, Args)]
pub(super) struct ObserveFlags {
    /// From how many milliseconds on an answered request gets a warning in the log. 0: never.
    #[arg(long, env = "ETCDYNAMO_SLOW_REQUEST_MS", value_name = "MS", default_value = "1000")]
    slow_request_ms: Typed<u64>,

    /// Log a line for each write: who, what and its outcome, never its value.
    #[arg(long, env = "ETCDYNAMO_AUDIT_LOG")]
    audit_log: bool,

    /// Send traces to this OpenTelemetry collector by OTLP over HTTP; /v1/traces is added
    /// [default: OTEL_EXPORTER_OTLP_ENDPOINT of the environment, or no traces]
    #[arg(long, env = "ETCDYNAMO_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,

    /// OpenTelemetry's own name of the variable.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide = true)]
    otel_exporter_otlp_endpoint: Option<String>,

    /// How long new connections are still served at the end while /readyz says no already, so that
    /// a load balancer sends no more of them.
    #[arg(long, env = "ETCDYNAMO_SHUTDOWN_DELAY_MS", value_name = "MS", default_value = "0")]
    shutdown_delay_ms: Typed<u64>,
}

/// What operators see of a running server, and of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserveConfig {
    /// From when on a request is slow; `None`: never.
    pub slow_request: Option<Duration>,
    /// Whether each write is logged.
    pub audit_log: bool,
    /// Where spans are sent to; `None`: there are none.
    pub traces_url: Option<Url>,
    /// How long the end is only announced.
    pub shutdown_delay: Duration,
}

impl ObserveFlags {
    /// What is meant.
    pub(super) fn meaning(self, mistakes: &mut Mistakes) -> ObserveConfig {
        let slow_request_ms = self.slow_request_ms.or(0, "slow-request-ms", mistakes);
        let shutdown_delay_ms = self.shutdown_delay_ms.or(0, "shutdown-delay-ms", mistakes);
        let endpoint = self.otlp_endpoint.or(self.otel_exporter_otlp_endpoint);
        // An empty variable is one that is not set, as OpenTelemetry has it.
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
        let traces_url =
            endpoint.and_then(|endpoint| mistakes.check("otlp-endpoint", traces_url(&endpoint)));
        ObserveConfig {
            slow_request: (slow_request_ms > 0).then(|| Duration::from_millis(slow_request_ms)),
            audit_log: self.audit_log,
            traces_url,
            shutdown_delay: Duration::from_millis(shutdown_delay_ms),
        }
    }
}

/// Where a collector takes traces.
fn traces_url(endpoint: &str) -> Result<Option<Url>, String> {
    // What was given is not shown: it may have a password in it.
    let no_url = || "is no URL like http://127.0.0.1:4318".to_owned();
    let mut url = Url::parse(endpoint).map_err(|_| no_url())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(no_url());
    }
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(Some(url))
}
