//! A client of etcd's v2 API: any server of it, etcd's (2.3, 3.4) or ours.
//!
//! The members of a cluster are asked in turn: one that does not answer, or that answers with a
//! server's error, is left for the next one. What is asked is repeated only where a repetition
//! comes out the same: reads, and writes that set a state whatever is there. A write with a
//! condition is sent again only if it is known not to have been carried out; else its caller gets
//! [`Error::Unanswered`] and has to look.
//!
//! Not here: what the answers are for. Invariants: a call ends in time (but the wait of a watch,
//! whose length its caller gives); nothing that is printed holds a password.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use tokio::time::{Instant, sleep};

mod answer;
mod endpoints;
pub mod error;
mod keys;
mod wire;

pub use answer::{Event, Head, Node, Raw, Watched};
pub use endpoints::Endpoints;
pub use error::{Error, Outcome, Refusal};
pub use keys::{Condition, Delete, Get, Put, State, Watch, key_path};
pub use wire::{Body, OwnCertificate, TlsFiles};

/// The longest answer that is taken into memory: two values of etcd's 10 MiB, escaped at worst.
const ANSWER_BYTES: usize = 160 << 20;

/// How long is waited between two attempts, at least and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The longest `Retry-After` that is followed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How long is waited for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the head of an answer, and for each next part of it.
    pub answer: Duration,
    /// How long a call is tried anew until it counts as failed.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { answer: Duration::from_secs(30), patience: Duration::from_secs(60) }
    }
}

/// Calls one cluster. Cheap to share by reference.
pub struct Client {
    endpoints: Endpoints,
    authorization: Option<HeaderValue>,
    wire: wire::Wire,
    limits: Limits,
    /// Who is asked first: who answered last.
    current: AtomicUsize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// A request, to whichever member.
#[derive(Debug)]
struct Ask {
    method: Method,
    /// From the slash on, percent-encoded, with its query.
    target: String,
    form: Option<Bytes>,
    /// Whether it may be carried out twice.
    is_repeatable: bool,
}

impl Ask {
    fn get(target: String) -> Ask {
        Ask { method: Method::GET, target, form: None, is_repeatable: true }
    }
}

/// A good answer, or one that says no.
struct Answer {
    status: StatusCode,
    head: Head,
    body: Body,
    member: String,
}

/// An attempt that brought nothing, and whether to make another one.
struct Failed {
    error: Error,
    again: Option<Pause>,
}

/// When the next attempt is due.
enum Pause {
    Usual,
    AsTold(Duration),
}

impl Client {
    /// A client of this cluster. What is wrong with the files of TLS is told by their flags' names.
    pub fn new(endpoints: Endpoints, tls: &TlsFiles, limits: Limits) -> Result<Client, String> {
        let wire = wire::Wire::new(endpoints.any_https().then_some(tls))?;
        let authorization = endpoints.authorization().map(|value| {
            let mut value = HeaderValue::try_from(value).expect("base64 fits in a header");
            value.set_sensitive(true);
            value
        });
        Ok(Client { endpoints, authorization, wire, limits, current: AtomicUsize::new(0) })
    }

    /// Where the cluster is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// GET of a path such as `/version`, whatever its status.
    pub async fn raw(&self, path: &str) -> Result<Raw, Error> {
        let ask = Ask::get(path.to_owned());
        let answer = self.call(&ask, Call::Any).await?;
        let status = answer.status.as_u16();
        Ok(Raw { status, head: answer.head, body: answer.body.collect(ANSWER_BYTES).await? })
    }

    /// `/version`: etcd says `{"etcdserver":...}`, and one before 2.1 a plain line.
    pub async fn version(&self) -> Result<String, Error> {
        let raw = self.raw("/version").await?;
        let text = String::from_utf8_lossy(&raw.body).into_owned();
        if raw.status == 200 {
            return Ok(text);
        }
        let detail = format!("/version has the status {}", raw.status);
        Err(Error::Strange { member: self.member(0).to_owned(), detail })
    }

    fn member(&self, turn: usize) -> &str {
        let members = self.endpoints.members();
        let at = self.current.load(Ordering::Relaxed).wrapping_add(turn) % members.len();
        &members[at]
    }

    /// Asks until there is an answer, or patience is at its end.
    async fn call(&self, ask: &Ask, call: Call) -> Result<Answer, Error> {
        self.call_within(ask, call, self.limits.patience).await
    }

    async fn call_within(
        &self,
        ask: &Ask,
        call: Call,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let deadline = Instant::now() + patience;
        let mut tries: u32 = 0;
        loop {
            let failed = match self.attempt(ask, call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Some(pause) = failed.again else { return Err(failed.error) };
            let pause = match pause {
                Pause::AsTold(pause) => pause.min(LONGEST_RETRY_AFTER),
                Pause::Usual => {
                    self.current.fetch_add(1, Ordering::Relaxed);
                    self.usual_pause(tries)
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(failed.error);
            }
            sleep(pause).await;
            tries = tries.saturating_add(1);
        }
    }

    /// No pause until every member was asked once; then longer ones, and at random.
    fn usual_pause(&self, tries: u32) -> Duration {
        let members = u32::try_from(self.endpoints.members().len()).unwrap_or(u32::MAX);
        let rounds = (tries + 1) / members;
        if rounds == 0 {
            return Duration::ZERO;
        }
        let most = PAUSE.saturating_mul(1 << rounds.min(8)).min(LONGEST_PAUSE);
        PAUSE + most.mul_f64(fastrand::f64())
    }

    async fn attempt(&self, ask: &Ask, call: Call) -> Result<Answer, Failed> {
        let member = self.member(0).to_owned();
        let sent = self.wire.send(self.request(ask, &member), self.limits.answer).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(cut) => {
                let again = ask.is_repeatable || cut.outcome == Outcome::NotDone;
                let error = Error::Unanswered { member, detail: cut.detail, outcome: cut.outcome };
                return Err(Failed { error, again: again.then_some(Pause::Usual) });
            }
        };
        let status = answer.status();
        let head = head(answer.headers());
        let told = retry_after(answer.headers());
        let body = Body::new(answer.into_body(), self.limits.answer, member.clone());
        let is_wanted = status == StatusCode::OK || status == StatusCode::CREATED;
        if is_wanted || (matches!(call, Call::Any) && told.is_none()) {
            return Ok(Answer { status, head, body, member });
        }
        let error = refusal(status, member, body).await;
        // 429 says that nothing was done.
        let is_early = status == StatusCode::TOO_MANY_REQUESTS;
        let passes = is_early || (status.is_server_error() && ask.is_repeatable);
        let pause = told.map_or(Pause::Usual, Pause::AsTold);
        Err(Failed { error, again: passes.then_some(pause) })
    }

    fn request(&self, ask: &Ask, member: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(&ask.method);
        request = request.uri(format!("{member}{}", ask.target));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = match &ask.form {
            None => Bytes::new(),
            Some(form) => {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                form.clone()
            }
        };
        request.body(Full::new(body)).expect("a URL that was read, and a target that is encoded")
    }
}

/// Which answers are wanted.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// An answer of `/v2/keys` that says yes.
    Keys,
    /// Any answer, whatever its status.
    Any,
}

fn head(headers: &HeaderMap) -> Head {
    let text = |name: &'static str| {
        headers.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok())
    };
    Head {
        index: text("x-etcd-index").and_then(|text| text.parse().ok()),
        cluster: text("x-etcd-cluster-id").map(str::to_owned),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What an answer that is not the wanted one says.
async fn refusal(status: StatusCode, member: String, body: Body) -> Error {
    let body = match body.collect(ANSWER_BYTES).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) {
        return Error::Refused(refusal);
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let detail = format!("status {}, {:?}", status.as_u16(), text.trim());
    Error::Strange { member, detail }
}

#[cfg(test)]
mod tests;
