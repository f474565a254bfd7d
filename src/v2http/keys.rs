//! `/v2/keys`: reads, writes and watches.
//!
//! A read is answered on the connection's own task. A write runs on a task of its own and to its
//! end, though its client has left. Nobody waits longer than the request timeout, except for what
//! a watch is to tell.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::body::{self, Body, RequestBody, Unread};
use super::params::{self, Parsed, Source, Verb, invalid_form};
use super::reply::{self, Reply};
use super::request_log::{Audit, Who};
use super::{Api, media_type, watch};
use crate::keyspace::{Answer, Credentials, Keys, RequestLimits};
use crate::metrics;
use crate::units::{Bill, Payers};
use crate::v2::{Error, ErrorCode, Need, Operation, Read, Value, Write};

const ALLOW: &str = "HEAD,GET,PUT,POST,DELETE";

/// What etcd says when no answer came in time; the outcome of a write is then open.
pub(super) const TIMED_OUT: &str = "etcdserver: request timed out";

/// Answers a request whose decoded, clean path is `/v2/keys` and `key`; with what it cost, where
/// clients are to be told.
pub(super) async fn serve<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    key: &[u8],
    credentials: &Credentials,
) -> Reply {
    if !api.config.expose_request_units {
        return answer(api, request, key, credentials).await;
    }
    let bill = Bill::default();
    let reply = bill.charge(answer(api, request, key, credentials)).await;
    reply::with_units(reply, bill.total())
}

async fn answer<K: Keys>(
    api: &Api<K>,
    request: Request<RequestBody>,
    key: &[u8],
    credentials: &Credentials,
) -> Reply {
    let Some(verb) = Verb::of(request.method()) else {
        return reply::method_not_allowed(Some(ALLOW));
    };
    let (mut head, incoming) = request.into_parts();
    let who = head.extensions.remove::<Who>();
    let form = if verb.has_form() {
        let content_type = head.headers.get(CONTENT_TYPE).map_or(&[][..], |v| v.as_bytes());
        form_of(api, content_type, incoming).await
    } else {
        Ok(Body { bytes: Bytes::new(), share: None })
    };
    let Body { bytes, share } = match form {
        Ok(body) => body,
        Err(Refusal { error, closes }) => {
            let reply = reply::error(&error, &api.cluster_id);
            return if closes { reply::closing(reply) } else { reply };
        }
    };
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let source = Source { verb, path: key, query, body: &bytes };
    let parsed = params::parse(source, api.keys.now());
    // The values are copied out: a body is not held while the store works on it.
    drop(bytes);
    let Parsed { request, is_recursive } = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return reply::error(&error, &api.cluster_id),
    };
    let audit = who.zip(request.write()).map(|(who, write)| {
        Audit::new(who.of(credentials.user()), head.method, action_of(write), &write.key)
    });
    let writes = !matches!(verb, Verb::Get | Verb::Head);
    let need = Need { path: key, writes, recursive: is_recursive };
    if !api.keys.allows(credentials, need).await {
        let refusal = Error::new(ErrorCode::Unauthorized, "Insufficient credentials");
        return refused(api, audit, refusal);
    }
    match request {
        params::Request::Read(read) => answer_read(api, read).await,
        params::Request::Write(write, no_value) => {
            answer_write(api, verb, Accepted { write, no_value, share, audit }).await
        }
        params::Request::Watch(watch) => watch::serve(api, watch).await,
    }
}

/// The answer to a write, or to something else, that is refused before it is begun.
fn refused<K>(api: &Api<K>, audit: Option<Audit>, refusal: Error) -> Reply {
    let reply = reply::error(&refusal, &api.cluster_id);
    if let Some(audit) = audit {
        audit.end(&Err(refusal));
    }
    reply
}

/// A body that is not read, or not to its end.
struct Refusal {
    error: Error,
    /// What is left of the body makes the connection useless.
    closes: bool,
}

/// The form in the body; empty if the body is none.
async fn form_of<K: Keys>(
    api: &Api<K>,
    content_type: &[u8],
    incoming: RequestBody,
) -> Result<Body, Refusal> {
    match media_type::is_form(content_type) {
        Ok(true) => {}
        Ok(false) => return Ok(Body { bytes: Bytes::new(), share: None }),
        Err(cause) => return Err(Refusal { error: invalid_form(cause), closes: false }),
    }
    let limits = api.keys.limits();
    let limit = form_bytes(&limits);
    let refusal = |error| Refusal { error, closes: true };
    body::read(incoming, limit, &api.bodies).await.map_err(|unread| match unread {
        Unread::TooLarge if limit == body::FORM_BYTES => {
            refusal(invalid_form("http: POST too large"))
        }
        Unread::TooLarge => {
            let cause = format!("form of more than {limit} bytes cannot fit {}", limits.name);
            refusal(invalid_form(cause))
        }
        Unread::Broken => refusal(invalid_form("unexpected EOF")),
        Unread::NoRoom => {
            refusal(Error::new(ErrorCode::RaftInternal, "etcdserver: too many requests"))
        }
    })
}

/// The longest form that may hold a value which fits: every byte of it may be percent-encoded.
fn form_bytes(limits: &RequestLimits) -> usize {
    let encoded = limits.value_bytes.saturating_mul(3).saturating_add(64 << 10);
    encoded.min(body::FORM_BYTES)
}

async fn answer_read<K: Keys>(api: &Api<K>, read: Read) -> Reply {
    let method = if read.quorum { metrics::Method::QGet } else { metrics::Method::Get };
    let recursive = read.recursive;
    let call = Call::begin(method);
    let answer = in_time(api, api.keys.read(read)).await;
    metrics::store_read(recursive, answer.is_ok());
    call.reply(api, answer, false)
}

/// A write that was understood.
struct Accepted {
    write: Write,
    /// The answer is to leave out the nodes.
    no_value: bool,
    /// Of the budget for bodies.
    share: Option<OwnedSemaphorePermit>,
    /// Where writes are logged.
    audit: Option<Audit>,
}

async fn answer_write<K: Keys>(api: &Api<K>, verb: Verb, accepted: Accepted) -> Reply {
    let Accepted { write, no_value, share, audit } = accepted;
    let limits = api.keys.limits();
    if let Some(value) = value_of(&write).filter(|v| v.as_bytes().len() > limits.value_bytes) {
        let (given, limit) = (value.as_bytes().len(), limits.value_bytes);
        let cause =
            format!("value of {given} bytes is over the limit of {limit} bytes of {}", limits.name);
        return refused(api, audit, invalid_form(cause));
    }
    let call = Call::begin(match verb {
        Verb::Delete => metrics::Method::Delete,
        Verb::Post => metrics::Method::Post,
        Verb::Put | Verb::Get | Verb::Head => metrics::Method::Put,
    });
    let action = action_of(&write);
    let keys = Arc::clone(&api.keys);
    // The value lives as long as the write, and so does its share of the budget for bodies.
    let task = api.writes.spawn(Payers::of_this_task().pay(async move {
        let answer = keys.write(write).await;
        drop(share);
        if let Some(audit) = audit {
            audit.end(&answer);
        }
        answer
    }));
    let answer = in_time(api, async {
        task.await.unwrap_or_else(|failed| {
            tracing::error!(%failed, "a write did not come to its end");
            Err(Error::new(ErrorCode::RaftInternal, "etcdserver: internal error"))
        })
    });
    let answer = answer.await;
    metrics::store_write(action, answer.is_ok());
    call.reply(api, answer, no_value)
}

async fn in_time<K: Keys>(
    api: &Api<K>,
    answer: impl Future<Output = Result<Answer, Error>>,
) -> Result<Answer, Error> {
    let timed_out = |_| Err(Error::new(ErrorCode::RaftInternal, TIMED_OUT));
    timeout(api.config.request_timeout, answer).await.unwrap_or_else(timed_out)
}

/// A request that was understood, as the metrics count it (v2http/metrics.go).
struct Call {
    method: metrics::Method,
    began: Instant,
}

impl Call {
    fn begin(method: metrics::Method) -> Call {
        metrics::http_received(method);
        Call { method, began: Instant::now() }
    }

    fn reply<K>(self, api: &Api<K>, answer: Result<Answer, Error>, no_value: bool) -> Reply {
        match answer {
            Ok(answer) => {
                metrics::http_succeeded(self.method, self.began.elapsed());
                reply::event(&answer, no_value, &api.cluster_id)
            }
            Err(error) => {
                metrics::http_failed(self.method, error.code.status());
                reply::error(&error, &api.cluster_id)
            }
        }
    }
}

fn value_of(write: &Write) -> Option<&Value> {
    match &write.operation {
        Operation::Set(draft)
        | Operation::Create(draft)
        | Operation::CreateInOrder(draft)
        | Operation::Update(draft)
        | Operation::CompareAndSwap(draft, _) => Some(&draft.value),
        Operation::Delete(_) | Operation::CompareAndDelete(_) | Operation::Expire(_) => None,
    }
}

fn action_of(write: &Write) -> metrics::WriteAction {
    match &write.operation {
        Operation::Set(_) => metrics::WriteAction::Set,
        Operation::Create(_) | Operation::CreateInOrder(_) => metrics::WriteAction::Create,
        Operation::Update(_) => metrics::WriteAction::Update,
        Operation::CompareAndSwap(..) => metrics::WriteAction::CompareAndSwap,
        Operation::CompareAndDelete(_) => metrics::WriteAction::CompareAndDelete,
        Operation::Delete(_) | Operation::Expire(_) => metrics::WriteAction::Delete,
    }
}
