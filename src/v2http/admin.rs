//! What operators and probes ask: version, metrics, and the log level.

use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use tracing::Level;

use super::Api;
use super::body::{self, RequestBody};
use super::reply::{self, Reply};
use crate::keyspace::Keys;
use crate::metrics;

/// The etcd that this server behaves as; v2 clients read both fields.
const VERSION: &str = r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#;

/// The longest request for a log level that is looked at.
const LOG_LEVEL_BYTES: usize = 4 << 10;

/// `/version`.
pub(super) fn serve_version(method: &Method) -> Reply {
    if method != Method::GET {
        return reply::method_not_allowed(Some("GET"));
    }
    reply::json_document(VERSION)
}

/// `/metrics`, for any method.
pub(super) fn serve_metrics() -> Reply {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply::typed(content_type, metrics::text())
}

#[derive(Deserialize)]
struct LogLevel {
    #[serde(default, rename = "Level", alias = "level", alias = "LEVEL")]
    level: String,
}

/// `/config/local/log` (etcdhttp/base.go, `logHandleFunc`).
pub(super) async fn serve_log_level<K: Keys>(api: &Api<K>, request: Request<RequestBody>) -> Reply {
    if request.method() != Method::PUT {
        return reply::method_not_allowed(Some("PUT"));
    }
    let bad = |text: &str| reply::message(StatusCode::BAD_REQUEST, text);
    let Ok(body) = body::read(request.into_body(), LOG_LEVEL_BYTES, &api.bodies).await else {
        return reply::closing(bad("Invalid json body"));
    };
    // Like Go's decoder, this looks at the first document and not at what follows.
    let mut documents = serde_json::Deserializer::from_slice(&body.bytes).into_iter::<LogLevel>();
    let Some(Ok(LogLevel { level })) = documents.next() else {
        return bad("Invalid json body");
    };
    let Some(parsed) = level_named(&level) else {
        return bad(&format!("Invalid log level {level}"));
    };
    (api.config.set_log_level)(parsed);
    tracing::info!(level = %parsed, "log level changed");
    reply::empty(StatusCode::NO_CONTENT)
}

/// The names of capnslog's levels, in any case.
fn level_named(name: &str) -> Option<Level> {
    Some(match name.to_ascii_uppercase().as_str() {
        "CRITICAL" | "C" | "ERROR" | "E" | "0" => Level::ERROR,
        "WARNING" | "W" | "1" => Level::WARN,
        "NOTICE" | "N" | "2" | "INFO" | "I" | "3" => Level::INFO,
        "DEBUG" | "D" | "4" => Level::DEBUG,
        "TRACE" | "T" | "5" => Level::TRACE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_levels_have_capnslogs_names() {
        for (name, level) in [
            ("critical", Some(Level::ERROR)),
            ("E", Some(Level::ERROR)),
            ("Warning", Some(Level::WARN)),
            ("NOTICE", Some(Level::INFO)),
            ("info", Some(Level::INFO)),
            ("4", Some(Level::DEBUG)),
            ("trace", Some(Level::TRACE)),
            ("", None),
            ("xx", None),
        ] {
            assert_eq!(level_named(name), level, "{name}");
        }
    }
}
