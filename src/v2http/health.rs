//! What load balancers and probes ask: `/health`, `/livez`, `/readyz`.
//!
//! | path | says no | whom it is for |
//! |---|---|---|
//! | `/livez` | never, while the process answers at all | what restarts a container |
//! | `/readyz` | before the first sweep is done, and from the signal to end on | load balancers |
//! | `/health` | while the store does not answer | etcd's clients, and alarms |
//!
//! `/readyz` does not ask the store: all gateways share it, and taking all of them out of a load
//! balancer would only hide the error that they could answer with.

use hyper::{Method, StatusCode};
use tokio::time::timeout;

use super::Api;
use super::reply::{self, Reply};
use crate::keyspace::Keys;
use crate::metrics;

/// `/health`: the string `"true"`, as plain text, or a 503.
pub(super) async fn serve_health<K: Keys>(api: &Api<K>, method: &Method) -> Reply {
    if method != Method::GET {
        return reply::method_not_allowed(Some("GET"));
    }
    let healthy = timeout(api.config.request_timeout, api.keys.healthy()).await;
    health(healthy.unwrap_or(false))
}

/// The answer of `/health`.
pub(super) fn health(is_healthy: bool) -> Reply {
    metrics::health_told(is_healthy);
    match is_healthy {
        true => reply::text(StatusCode::OK, r#"{"health":"true"}"#),
        // The newline is etcd's: this one goes through http.Error (etcdhttp/metrics.go).
        false => reply::text(StatusCode::SERVICE_UNAVAILABLE, "{\"health\":\"false\"}\n"),
    }
}

/// `/livez`.
pub(super) fn serve_live(method: &Method) -> Reply {
    probe(method, Ok(()))
}

/// `/readyz`, or why it is not ready.
pub(super) fn serve_ready(method: &Method, ready: Result<(), &'static str>) -> Reply {
    probe(method, ready)
}

fn probe(method: &Method, state: Result<(), &'static str>) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return reply::method_not_allowed(Some("GET,HEAD"));
    }
    match state {
        Ok(()) => reply::text(StatusCode::OK, "ok\n"),
        Err(why) => reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}
