//! From a path to its handler, in the order in which Go's server and etcd's handlers look at a
//! request: the request line, CORS and OPTIONS, the clean path, the handler and its methods.
//!
//! Here every answer gets its CORS headers, and every request its one line in the log.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    HeaderMap, HeaderValue, ORIGIN,
};
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::body::RequestBody;
use super::reply::{self, Reply};
use super::request_log::Seen;
use super::socket::{self, Door, Peer};
use super::{Api, Cors, admin, auth, cluster, health, keys, path, stats};
use crate::keyspace::{Intent, Keys};
use crate::metrics;
use crate::units;

/// The paths that a metrics URL serves, as etcd's does (etcdhttp/metrics.go).
const FOR_OPERATORS: &[&[u8]] = &[b"/metrics", b"/health", b"/livez", b"/readyz"];

/// Answers one request, and says so in the log.
pub(super) async fn answer<K: Keys>(
    api: &Api<K>,
    mut request: Request<RequestBody>,
    peer: &Peer,
) -> Reply {
    let seen = Seen::of(&request, peer.address);
    if api.config.log.audit {
        request.extensions_mut().insert(seen.who());
    }
    let work = respond(api, request, peer, seen.uri());
    let reply = match seen.trace() {
        None => work.await,
        // In a place of its own: a connection is not to hold room for what there mostly is not.
        Some(parent) => Box::pin(units::traced(parent, work)).await,
    };
    let reply = seen.answered(&api.config.log, reply);
    // Soon it is over here: the client had better ask elsewhere, before its connection is closed.
    if api.shutdown.is_announced() { reply::closing(reply) } else { reply }
}

async fn respond<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    peer: &Peer,
    uri: &Uri,
) -> Reply {
    if let Some(complaint) = malformed(&request) {
        return reply::bad_request(complaint);
    }
    let Ok(path) = path::decode(uri.path()) else {
        return reply::bad_request("400 Bad Request");
    };
    let origin = allowed_origin(&api.config.cors, request.headers());
    let mut reply = dispatch(api, request, peer, &path, uri.query()).await;
    if let Some(origin) = origin {
        add_cors(reply.headers_mut(), origin);
    }
    reply
}

/// What Go's server refuses before a handler sees it.
fn malformed(request: &Request<RequestBody>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => {
            Some("400 Bad Request: missing required Host header")
        }
        (Some(_), Some(_)) => Some("400 Bad Request"),
        _ => None,
    }
}

async fn dispatch<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    peer: &Peer,
    path: &[u8],
    query: Option<&str>,
) -> Reply {
    let method = request.method();
    if let Some(refusal) = refuse_peer(api, peer, path) {
        return refusal;
    }
    if method == Method::OPTIONS {
        return reply::empty(StatusCode::OK);
    }
    if path == b"*" {
        return reply::closing(reply::empty(StatusCode::BAD_REQUEST));
    }
    // A CONNECT's path is not cleaned (net/http, `ServeMux.Handler`).
    if method != Method::CONNECT
        && let Some(clean) = path::cleaned(path)
    {
        let location = path::location(&clean, query);
        return reply::moved(&location, method == Method::GET, method == Method::HEAD);
    }
    if api.config.stands_still
        && below(path, b"/v2").is_some()
        && let Err(error) = Box::pin(api.keys.catch_up(intent(method))).await
    {
        return reply::error(&error.at_store(api.keys.index()), &api.cluster_id);
    }
    let credentials = || auth::credentials(request.headers(), peer.common_name.as_deref());
    if let Some(key) = below(path, b"/v2/keys") {
        let credentials = credentials();
        return keys::serve(api, request, key, &credentials).await;
    }
    if let Some(rest) = below(path, b"/v2/members") {
        let changes = [Method::POST, Method::PUT, Method::DELETE].contains(method);
        if changes && !api.keys.allows_administration(&credentials()).await {
            return auth::insufficient();
        }
        return cluster::serve_members(api, request, rest).await;
    }
    if let Some(rest) = path.strip_prefix(b"/v2/auth/") {
        let credentials = credentials();
        return auth::serve(api, request, rest, &credentials).await;
    }
    match path {
        b"/v2/machines" => cluster::serve_machines(api, &request),
        b"/v2/stats/self" => stats::serve_self(api, method),
        b"/v2/stats/leader" => stats::serve_leader(api, method),
        b"/v2/stats/store" => stats::serve_store(api, method),
        b"/version" => admin::serve_version(method),
        b"/health" => health::serve_health(api, method).await,
        b"/livez" => health::serve_live(method),
        b"/readyz" => health::serve_ready(method, api.ready()),
        b"/metrics" => admin::serve_metrics(),
        b"/config/local/log" => admin::serve_log_level(api, request).await,
        _ => reply::not_found(),
    }
}

/// What a request is going to do, by its method.
fn intent(method: &Method) -> Intent {
    if method.is_safe() { Intent::Reads } else { Intent::Writes }
}

/// What a client may not ask for where it came in, or not so often.
fn refuse_peer<K: Keys>(api: &Api<K>, peer: &Peer, path: &[u8]) -> Option<Reply> {
    if peer.door == Door::Metrics && !FOR_OPERATORS.contains(&path) {
        return Some(reply::not_found());
    }
    // Probes and metrics are not counted.
    let clients = api.clients.as_ref().filter(|_| below(path, b"/v2").is_some())?;
    let too_many = clients.admit(socket::address_of(peer.address), Instant::now()).err()?;
    metrics::request_limited();
    Some(reply::too_many(too_many.retry_after, &api.cluster_id))
}

/// The rest of a path at or below a prefix: nothing, or what begins with a slash.
fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The origin to name in the answer (embed/serve.go, `accessController`).
pub(super) fn allowed_origin(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    match cors {
        Cors::Any => Some(HeaderValue::from_static("*")),
        Cors::Origins(origins) => {
            let origin = headers.get(ORIGIN)?;
            origins
                .iter()
                .any(|allowed| allowed.as_bytes() == origin.as_bytes())
                .then(|| origin.clone())
        }
    }
}

pub(super) fn add_cors(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}
