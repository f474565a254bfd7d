//! What the log and the traces say of a request: one line when it is answered, and where it is
//! wanted one more for each write.
//!
//! ```text
//! DEBUG answered    status below 500
//! WARN  answered    5xx, with all that is behind it
//! WARN  answered    and slow=true, whatever the status, where it took too long
//! INFO  write       of the target etcdynamo::audit, whatever the level is
//! ```
//!
//! A request has an id: the client's `X-Request-Id`, which the answer then has too, or a random one.
//! Invariant: no line has a value, a query, a body, or a header but that id.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::time::Instant;

use super::reply::{Cause, Reply};
use crate::keyspace::Answer;
use crate::metrics::{self, WriteAction};
use crate::telemetry::AUDIT;
use crate::traces::{self, Incoming, Parent, RequestSpan};
use crate::v2::{Error, ErrorCode, Key};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a client's that is taken over.
const ID_BYTES: usize = 128;

/// What is logged beside one line at debug.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// From when on an answer is slow; `None`: never.
    pub slow_request: Option<Duration>,
    /// Whether each write has a line.
    pub audit: bool,
}

/// What a request is called.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RequestId {
    Given(HeaderValue),
    Made(u64),
}

impl RequestId {
    /// The client's, where it can stand in a log, or a new one.
    fn of<B>(request: &Request<B>) -> RequestId {
        let is_sane = |id: &&HeaderValue| {
            let is_allowed =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=~@".contains(byte);
            (1..=ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(is_allowed)
        };
        let given = request.headers().get(X_REQUEST_ID).filter(is_sane);
        given.map_or_else(|| RequestId::Made(fastrand::u64(..)), |id| RequestId::Given(id.clone()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            RequestId::Made(id) => write!(f, "{id:016x}"),
        }
    }
}

/// Who asks, for the audit line.
#[derive(Debug, Clone)]
pub(super) struct Who {
    id: RequestId,
    client: SocketAddr,
    /// As whom, whether or not that was proven: what may not be is refused.
    user: Option<String>,
}

impl Who {
    /// The same, as this user.
    pub(super) fn of(self, user: Option<&str>) -> Who {
        Who { user: user.map(str::to_owned), ..self }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Seen {
    id: RequestId,
    client: SocketAddr,
    method: Method,
    uri: Uri,
    began: Instant,
    span: RequestSpan,
}

impl Seen {
    pub(super) fn of<B>(request: &Request<B>, client: SocketAddr) -> Seen {
        let span = RequestSpan::begin(|| {
            let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
            let incoming =
                Incoming { traceparent: header("traceparent"), tracestate: header("tracestate") };
            let path = request.uri().path();
            traces::Request { method: known(request.method()), route: route(path), path, incoming }
        });
        Seen {
            id: RequestId::of(request),
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            began: Instant::now(),
            span,
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What the calls made for it are shown under; nothing where there are no traces.
    pub(super) fn trace(&self) -> Option<Parent> {
        self.span.parent()
    }

    pub(super) fn who(&self) -> Who {
        Who { id: self.id.clone(), client: self.client, user: None }
    }

    /// It is answered: says so, and names it in the answer if the client did.
    pub(super) fn answered(self, config: &LogConfig, mut reply: Reply) -> Reply {
        let Seen { id, client, method, uri, began, span } = self;
        let took = began.elapsed();
        let (status, path) = (reply.status().as_u16(), uri.path());
        let took_ms = took.as_secs_f64() * 1000.0;
        let slow = config.slow_request.is_some_and(|limit| took >= limit);
        if slow {
            metrics::request_was_slow();
        }
        if slow || reply.status().is_server_error() {
            let cause = reply.extensions().get::<Cause>().map(|cause| cause.0.chain());
            let cause = cause.unwrap_or_default();
            tracing::warn!(request_id = %id, %client, %method, path, status, took_ms, slow, cause, "answered");
        } else {
            tracing::debug!(request_id = %id, %client, %method, path, status, took_ms, "answered");
        }
        span.end(status, || id.to_string());
        if let RequestId::Given(id) = id {
            reply.headers_mut().insert(X_REQUEST_ID, id);
        }
        reply
    }
}

/// The method, as spans are named by it: only those that this server knows.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "HTTP",
    }
}

/// The part of the API, as spans are named by it: not the key, which would make a name of each.
fn route(path: &str) -> &'static str {
    const ROUTES: [&str; 12] = [
        "/v2/keys",
        "/v2/members",
        "/v2/machines",
        "/v2/stats",
        "/v2/auth",
        "/version",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/config/local/log",
        "",
    ];
    let is_at = |route: &&&str| {
        path.strip_prefix(**route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ROUTES.iter().find(|route| is_at(route)).copied().unwrap_or_default()
}

/// A write, as the audit shows it. It is told of when the write has come to its end, whether or
/// not its client is still there.
#[derive(Debug)]
pub(super) struct Audit {
    who: Who,
    method: Method,
    action: WriteAction,
    key: Key,
}

impl Audit {
    pub(super) fn new(who: Who, method: Method, action: WriteAction, key: &Key) -> Audit {
        Audit { who, method, action, key: key.clone() }
    }

    /// Says what became of it: `done`, `refused`, or `failed`, which may have happened.
    pub(super) fn end(self, answer: &Result<Answer, Error>) {
        let Audit { who: Who { id, client, user }, method, action, key } = self;
        let (outcome, code, index) = match answer {
            Ok(answer) => ("done", None, Some(answer.event.node.modified.0)),
            Err(error) if error.code == ErrorCode::RaftInternal => {
                ("failed", Some(error.code.number()), None)
            }
            Err(error) => ("refused", Some(error.code.number()), None),
        };
        // An in-order key is known only now.
        let key = answer.as_ref().map_or(&key, |answer| &answer.event.node.key);
        tracing::info!(
            target: AUDIT,
            request_id = %id,
            %client,
            user,
            %method,
            action = action.name(),
            %key,
            outcome,
            code,
            index,
            "write"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken_over() {
        let id = |given: &[u8]| {
            let value = HeaderValue::from_bytes(given).expect("a header's value");
            RequestId::of(&Request::builder().header(X_REQUEST_ID, value).body(()).expect("one"))
        };
        for given in ["a", "4bf92f35-77b3.4da6:a3ce_929d", "Root=1-67891233-abcdef012345"] {
            assert_eq!(id(given.as_bytes()).to_string(), given);
        }
        let long = "a".repeat(ID_BYTES + 1);
        for given in [&b""[..], b"a b", b"a\"b", b"caf\xc3\xa9", b"{}", long.as_bytes()] {
            let made = id(given);
            assert!(matches!(made, RequestId::Made(_)), "{given:?}");
            assert_eq!(made.to_string().len(), 16);
        }
    }

    #[test]
    fn routes_have_no_keys_in_them() {
        for (path, expected) in [
            ("/v2/keys", "/v2/keys"),
            ("/v2/keys/a/b", "/v2/keys"),
            ("/v2/keysx", ""),
            ("/v2/stats/self", "/v2/stats"),
            ("/health", "/health"),
            ("/secret", ""),
            ("*", ""),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
