//! A reply, as the senders of events want it told.
//!
//! Invariant: it fits. Lambda takes 6 MB and a load balancer 1 MB, as JSON; what is larger is told as an error
//! of v2 that names the limit, for Lambda itself would fail the request without a word on why.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde::Serialize;

use super::super::reply::{self, Payload, Reply};
use super::super::route;
use super::event::Sender;
use crate::v2::{Error, ErrorCode};

/// The largest answer that Lambda takes ("6 MB", as it is enforced).
const LAMBDA_BYTES: usize = 6 << 20;

/// The largest that a load balancer takes.
const BALANCER_BYTES: usize = 1 << 20;

/// An answer to an event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    pub(super) body: String,
    pub(super) is_base64_encoded: bool,
}

/// What an answer depends on beside the reply.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) sender: Sender,
    pub(super) prefix: &'a str,
    pub(super) is_head: bool,
    /// It changed nothing.
    pub(super) is_read: bool,
    pub(super) cluster_id: &'a HeaderValue,
    /// The origin that a browser is told.
    pub(super) origin: Option<HeaderValue>,
}

impl Asking<'_> {
    fn limit(&self) -> (usize, &'static str) {
        match self.sender {
            Sender::Version1 | Sender::Version2 => (LAMBDA_BYTES, "AWS Lambda"),
            Sender::Balancer | Sender::BalancerMulti => {
                (BALANCER_BYTES, "a load balancer in front of AWS Lambda")
            }
        }
    }

    /// What is told in the place of an answer that is too large.
    fn too_large(&self, bytes: usize) -> Reply {
        let (limit, whose) = self.limit();
        let over = format!("answer of {bytes} bytes is over the limit of {limit} bytes of {whose}");
        let error = match self.is_read {
            true => Error::new(ErrorCode::InvalidField, over),
            // What became of it has to be looked up, as after a timeout.
            false => Error::new(
                ErrorCode::RaftInternal,
                format!("the request was carried out; its {over}"),
            ),
        };
        self.refusal(&error)
    }

    /// A reply that the router did not make.
    pub(super) fn refusal(&self, error: &Error) -> Reply {
        let mut reply = reply::error(error, self.cluster_id);
        if let Some(origin) = &self.origin {
            route::add_cors(reply.headers_mut(), origin.clone());
        }
        reply
    }
}

/// Tells a reply.
pub(super) async fn tell(reply: Reply, asking: &Asking<'_>) -> Told {
    let told = put(reply, asking).await;
    let (limit, _) = asking.limit();
    match size(&told) {
        bytes if bytes > limit => put(asking.too_large(bytes), asking).await,
        _ => told,
    }
}

async fn put(reply: Reply, asking: &Asking<'_>) -> Told {
    let (mut head, payload) = reply.into_parts();
    // These are about a connection, and about the bytes on it; whoever holds it says them.
    head.headers.remove(CONNECTION);
    head.headers.remove(CONTENT_LENGTH);
    if let Some(location) = moved_below(head.headers.get(LOCATION), asking.prefix) {
        head.headers.insert(LOCATION, location);
    }
    let bytes = if asking.is_head { Bytes::new() } else { whole(payload).await };
    let (body, is_base64_encoded) = match String::from_utf8(bytes.into()) {
        Ok(text) => (text, false),
        Err(binary) => (STANDARD.encode(binary.as_bytes()), true),
    };
    let all = by_name(&head.headers);
    let (headers, multi_value_headers) = match asking.sender {
        Sender::Version2 | Sender::Balancer => {
            let joined = all.into_iter().map(|(name, values)| (name, values.join(", ")));
            (Some(joined.collect()), None)
        }
        Sender::Version1 | Sender::BalancerMulti => (None, Some(all)),
    };
    let status_description = match asking.sender {
        Sender::Version1 | Sender::Version2 => None,
        Sender::Balancer | Sender::BalancerMulti => Some(described(head.status)),
    };
    let status_code = head.status.as_u16();
    Told { status_code, status_description, headers, multi_value_headers, body, is_base64_encoded }
}

fn described(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

/// All of a body. Where nothing can be watched no other has a beginning and no end.
async fn whole(payload: Payload) -> Bytes {
    match payload {
        Payload::Whole(whole) => {
            let Ok(collected) = whole.collect().await;
            collected.to_bytes()
        }
        Payload::Events(_) | Payload::Elsewhere(_) => Bytes::new(),
    }
}

/// A redirect of the router's, for a client whose path has something in front.
fn moved_below(location: Option<&HeaderValue>, prefix: &str) -> Option<HeaderValue> {
    let location = location?.to_str().ok().filter(|location| location.starts_with('/'))?;
    HeaderValue::from_str(&format!("{prefix}{location}")).ok()
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(title_case(name)).or_default().push(value);
    }
    all
}

/// etcd's spelling, which scripts look for: `X-Etcd-Index`.
fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    });
    words.collect::<Vec<_>>().join("-")
}

/// How many bytes an answer has as JSON; a small one is not counted exactly.
fn size(told: &Told) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // No byte takes more than six in JSON.
    if told.body.len() < BALANCER_BYTES / 8 {
        return told.body.len();
    }
    let mut counted = Counted(0);
    match serde_json::to_writer(&mut counted, told) {
        Ok(()) => counted.0,
        Err(_) => usize::MAX,
    }
}
