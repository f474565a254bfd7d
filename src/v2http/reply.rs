//! Answers: status, headers and body, as etcd's handlers write them.
//!
//! Every body but a watch's is whole and has a Content-Length. The headers that all answers share (CORS) are
//! added in one place, by the router.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::head::Telling;
use super::waiting::Handover;
use super::watch::Lines;
use super::{json, path};
use crate::keyspace::{Answer, Room};
use crate::units::Units;
use crate::v2::{Action, Error, ErrorCode, EtcdIndex};

/// What a handler returns.
pub(super) type Reply = Response<Payload>;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Payload {
    /// All of it.
    Whole(Full<Bytes>),
    /// Events, as they happen.
    Events(Lines),
    /// Events that somebody else will write.
    Elsewhere(Arc<Handover>),
}

impl Payload {
    /// Keeps this until all of the answer is with hyper, or with whoever writes it.
    pub(super) fn keep(&mut self, telling: Telling) {
        match self {
            Payload::Events(lines) => lines.keep(telling),
            Payload::Whole(_) | Payload::Elsewhere(_) => drop(telling),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Payload::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Payload::Events(lines) => Pin::new(lines).poll_frame(cx),
            Payload::Elsewhere(handover) => {
                handover.asked_for();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Whole(whole) => whole.is_end_stream(),
            Payload::Events(lines) => lines.is_end_stream(),
            Payload::Elsewhere(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(whole) => whole.size_hint(),
            Payload::Events(lines) => lines.size_hint(),
            Payload::Elsewhere(_) => SizeHint::default(),
        }
    }
}

fn whole(body: impl Into<Bytes>) -> Payload {
    Payload::Whole(Full::new(body.into()))
}

/// A protocol error that the completion line shall name; kept beside a 5xx answer.
#[derive(Debug, Clone)]
pub(super) struct Cause(pub(super) Arc<Error>);

const X_ETCD_CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const X_ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const X_RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const X_ETCDYNAMO_READ_UNITS: HeaderName = HeaderName::from_static("x-etcdynamo-read-units");
const X_ETCDYNAMO_WRITE_UNITS: HeaderName = HeaderName::from_static("x-etcdynamo-write-units");
const X_RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// There is no Raft here, but clients want a term that never falls, on any gateway: a constant.
const RAFT_TERM: HeaderValue = HeaderValue::from_static("2");

/// The answer to a read or a write of `/v2/keys` that went through.
pub(super) fn event(answer: &Answer, no_value: bool, cluster_id: &HeaderValue) -> Reply {
    let event = &answer.event;
    let mut body = Vec::with_capacity(json::event_size(event));
    if no_value && may_drop_nodes(event.action) {
        json::write_event_without_nodes(&mut body, event);
    } else {
        json::write_event(&mut body, event);
    }
    let status = if event.is_created { StatusCode::CREATED } else { StatusCode::OK };
    let body = match &answer.room {
        Some(room) => Bytes::from_owner(Roomy { body, _room: room.clone() }),
        None => Bytes::from(body),
    };
    at_index(of(status, JSON, body), answer.index, cluster_id)
}

/// The body of a large listing, which holds its room until it is sent or its client has left.
struct Roomy {
    body: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Roomy {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The answer to a watch that began at this index.
pub(super) fn events(lines: Lines, index: EtcdIndex, cluster_id: &HeaderValue) -> Reply {
    let mut reply = of(StatusCode::OK, JSON, Bytes::new());
    *reply.body_mut() = Payload::Events(lines);
    at_index(reply, index, cluster_id)
}

/// The same answer, naming the cluster and its index.
fn at_index(mut reply: Reply, index: EtcdIndex, cluster_id: &HeaderValue) -> Reply {
    let headers = reply.headers_mut();
    headers.insert(X_ETCD_CLUSTER_ID, cluster_id.clone());
    let index = index_value(index);
    headers.insert(X_ETCD_INDEX, index.clone());
    headers.insert(X_RAFT_INDEX, index);
    headers.insert(X_RAFT_TERM, RAFT_TERM);
    reply
}

/// The same answer, with what its request consumed until now.
pub(super) fn with_units(mut reply: Reply, units: Units) -> Reply {
    let headers = reply.headers_mut();
    headers.insert(X_ETCDYNAMO_READ_UNITS, units_value(units.read));
    headers.insert(X_ETCDYNAMO_WRITE_UNITS, units_value(units.write));
    reply
}

/// A number of units; what several requests shared, to the thousandth.
fn units_value(units: f64) -> HeaderValue {
    let text = format!("{}", (units * 1000.0).round() / 1000.0);
    HeaderValue::try_from(text).expect("digits and a point can stand in a header")
}

fn may_drop_nodes(action: Action) -> bool {
    match action {
        Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => true,
        Action::Get | Action::Delete | Action::CompareAndDelete | Action::Expire => false,
    }
}

/// The answer to a request to `/v2/keys` that was refused. It has no Raft headers.
pub(super) fn error(error: &Error, cluster_id: &HeaderValue) -> Reply {
    let mut body = Vec::with_capacity(128 + error.cause.len());
    json::write_error(&mut body, error);
    let status =
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = of(status, JSON, body);
    reply.headers_mut().insert(X_ETCD_CLUSTER_ID, cluster_id.clone());
    reply.headers_mut().insert(X_ETCD_INDEX, index_value(error.index));
    if error.code == ErrorCode::RaftInternal {
        // Whatever it was, it may be over by then.
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status.is_server_error() {
        reply.extensions_mut().insert(Cause(Arc::new(error.clone())));
    }
    reply
}

/// The answer to a client that sends too many requests.
///
/// Not a 503 or a 500, at which etcdctl and the Go client ask the next endpoint at once and then
/// hide the reason; a 4xx with a v2 error they show. A `Retry-After` beside it is what urllib3
/// (python-etcd) waits for by itself.
pub(super) fn too_many(retry_after: Duration, cluster_id: &HeaderValue) -> Reply {
    let cause = "etcdserver: too many requests from this client";
    let mut reply = error(&Error::new(ErrorCode::RaftInternal, cause), cluster_id);
    *reply.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    reply.extensions_mut().remove::<Cause>();
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}

fn index_value(index: EtcdIndex) -> HeaderValue {
    HeaderValue::from(index.0)
}

/// A JSON document.
pub(super) fn json_document(body: impl Into<Bytes>) -> Reply {
    of(StatusCode::OK, JSON, body)
}

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    of(status, TEXT, body)
}

/// A body of another type.
pub(super) fn typed(content_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    of(StatusCode::OK, content_type, body)
}

/// What etcd calls an HTTPError: `{"message":"…"}` without a newline (v2http/httptypes/errors.go).
pub(super) fn message(status: StatusCode, message: &str) -> Reply {
    let mut body = b"{\"message\":".to_vec();
    json::write_string(&mut body, message.as_bytes());
    body.push(b'}');
    of(status, JSON, body)
}

/// The same answer, naming the cluster.
pub(super) fn of_cluster(mut reply: Reply, cluster_id: &HeaderValue) -> Reply {
    reply.headers_mut().insert(X_ETCD_CLUSTER_ID, cluster_id.clone());
    reply
}

/// An answer without a body. 204 has no Content-Length either.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    reply
}

/// Go's page for a path that leads nowhere.
pub(super) fn not_found() -> Reply {
    sniff_nothing(text(StatusCode::NOT_FOUND, "404 page not found\n"))
}

/// Go's page for a method that a path does not know.
pub(super) fn method_not_allowed(allow: Option<&'static str>) -> Reply {
    let page = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    let mut reply = sniff_nothing(page);
    if let Some(allow) = allow {
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    reply
}

fn sniff_nothing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What Go's server says before any handler sees a request; it closes the connection.
pub(super) fn bad_request(body: &'static str) -> Reply {
    closing(text(StatusCode::BAD_REQUEST, body))
}

/// The same answer, and the connection ends with it.
pub(super) fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// The redirect from a path to its clean form. Only a GET is shown a page (net/http, `Redirect`).
pub(super) fn moved(location: &str, is_get: bool, is_head: bool) -> Reply {
    let mut reply = if is_get || is_head {
        let shown = path::html_escaped(location);
        let page = format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n");
        of(StatusCode::MOVED_PERMANENTLY, HTML, page)
    } else {
        empty(StatusCode::MOVED_PERMANENTLY)
    };
    *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
    // A path is escaped and a query came as a header's text would, so this is always a value.
    if let Ok(location) = HeaderValue::from_str(location) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

fn of(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(whole(body));
    *reply.status_mut() = status;
    // One table for all headers that will come: seven here and in the router, and hyper's two.
    reply.headers_mut().reserve(12);
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}
