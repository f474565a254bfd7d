//! `/v2/members` and `/v2/machines`: one member, which every gateway shows itself as.
//!
//! The member's client URLs are what etcdctl and the Go client use after their first request, so
//! they are the advertised ones. It has no peer URLs, for there are no peers. Changes are checked
//! as etcd checks them and then refused: 409 is what the Go client shows the message of.

use std::slice;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::Api;
use super::body::{self, RequestBody};
use super::reply::{self, Reply};
use crate::keyspace::Keys;

const UNCHANGEABLE: &str = "membership cannot be changed: etcdynamo has one member";

/// The longest list of peer URLs that is looked at.
const REQUEST_BYTES: usize = 64 << 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: [&'a str; 0],
    #[serde(rename = "clientURLs")]
    client_urls: &'a [String],
}

#[derive(Serialize)]
struct Members<'a> {
    members: [Member<'a>; 1],
}

#[derive(Deserialize)]
struct MemberRequest {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
}

/// The URL by which a client reached a server that listens nowhere itself.
#[derive(Debug, Clone)]
pub(super) struct ReachedAt(pub(super) String);

/// What clients are told to use: what is configured, or what this one used.
fn client_urls<'a, K>(api: &'a Api<K>, request: &'a Request<RequestBody>) -> &'a [String] {
    match request.extensions().get::<ReachedAt>() {
        Some(ReachedAt(url)) if api.config.client_urls.is_empty() => slice::from_ref(url),
        Some(_) | None => &api.config.client_urls,
    }
}

/// `/v2/machines`: the client URLs in plain text.
pub(super) fn serve_machines<K>(api: &Api<K>, request: &Request<RequestBody>) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::method_not_allowed(Some("GET,HEAD"));
    }
    reply::text(StatusCode::OK, client_urls(api, request).join(", "))
}

/// `/v2/members` and what is below it.
pub(super) async fn serve_members<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    rest: &[u8],
) -> Reply {
    let name = rest.strip_prefix(b"/").unwrap_or(rest);
    let reply = match *request.method() {
        Method::GET => show(api, client_urls(api, &request), name),
        Method::POST => match refuse_urls(api, request).await {
            Ok(()) => reply::message(StatusCode::CONFLICT, UNCHANGEABLE),
            Err(refusal) => refusal,
        },
        Method::PUT | Method::DELETE => change(api, request, name).await,
        _ => return reply::method_not_allowed(Some("GET,POST,DELETE,PUT")),
    };
    reply::of_cluster(reply, &api.cluster_id)
}

fn show<K>(api: &Api<K>, client_urls: &[String], name: &[u8]) -> Reply {
    let member = Member { id: &api.member_id, name: &api.config.name, peer_urls: [], client_urls };
    match name {
        b"" => document(&Members { members: [member] }),
        b"leader" => document(&member),
        _ => reply::message(StatusCode::NOT_FOUND, "Not found"),
    }
}

/// A JSON document and the newline of Go's encoder.
fn document(value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    reply::json_document(text)
}

async fn change<K: Keys>(api: &Api<K>, request: Request<RequestBody>, name: &[u8]) -> Reply {
    if name.is_empty() {
        return reply::method_not_allowed(None);
    }
    let id = str::from_utf8(name).ok().and_then(|name| u64::from_str_radix(name, 16).ok());
    let shown = id.map(|id| format!("{id:x}"));
    let is_update = request.method() == Method::PUT;
    if shown.is_some()
        && is_update
        && let Err(refusal) = refuse_urls(api, request).await
    {
        return refusal;
    }
    if shown.as_deref() == Some(api.member_id.as_str()) {
        return reply::message(StatusCode::CONFLICT, UNCHANGEABLE);
    }
    let shown = shown.unwrap_or_else(|| String::from_utf8_lossy(name).into_owned());
    reply::message(StatusCode::NOT_FOUND, &format!("No such member: {shown}"))
}

/// Looks at the peer URLs of a request as etcd does (v2http/client.go, `unmarshalRequest`).
async fn refuse_urls<K: Keys>(api: &Api<K>, request: Request<RequestBody>) -> Result<(), Reply> {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&[][..], |v| v.as_bytes());
    let content_type = String::from_utf8_lossy(content_type).into_owned();
    // Only a type with parameters is trimmed and lowered.
    let content_type = match content_type.split_once(';') {
        Some((media_type, _)) => media_type.to_ascii_lowercase().trim().to_owned(),
        None => content_type,
    };
    if content_type != "application/json" {
        let text = format!("Bad Content-Type {content_type}, accept application/json");
        return Err(reply::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let bad = |text: &str| reply::message(StatusCode::BAD_REQUEST, text);
    let Ok(body) = body::read(request.into_body(), REQUEST_BYTES, &api.bodies).await else {
        return Err(reply::closing(bad("the list of peer URLs is too long or broken")));
    };
    let request: MemberRequest =
        serde_json::from_slice(&body.bytes).map_err(|error| match error.is_eof() {
            true => bad("unexpected end of JSON input"),
            false => bad(&error.to_string()),
        })?;
    if request.peer_urls.is_empty() {
        return Err(bad("no valid URLs given"));
    }
    Ok(())
}
