//! What a case is given: a target, a directory of its own there, and short words to ask.
//!
//! Every answer to a request made here is held against [`check_answer`], so no case repeats
//! what is true of all answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use compat_tests::http::{Answer, Client, Connection, Request};
use compat_tests::json::Json;
use compat_tests::script::{check_answer, errors};
use compat_tests::server::{Server, Target};

/// How a case ends.
pub(crate) type Outcome = Result<(), String>;

/// One case: a name and what to do.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnOnce(&Context) -> Outcome + Send>,
    /// Whether it needs a server of its own, which a server at `COMPAT_URL` cannot give.
    pub(crate) alone: bool,
}

impl Case {
    pub(crate) fn new(name: &str, run: impl FnOnce(&Context) -> Outcome + Send + 'static) -> Self {
        Self { name: name.to_owned(), run: Box::new(run), alone: false }
    }

    /// A case that needs a server of its own.
    pub(crate) fn alone(
        name: &str,
        run: impl FnOnce(&Context) -> Outcome + Send + 'static,
    ) -> Self {
        Self { alone: true, ..Self::new(name, run) }
    }
}

/// The shared servers, one a target, started when first wanted.
#[derive(Default)]
pub(crate) struct Fleet {
    slots: Mutex<BTreeMap<Target, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    server: OnceLock<Result<Shared, String>>,
}

struct Shared {
    client: Arc<Client>,
    server: Mutex<Option<Server>>,
}

impl Fleet {
    /// A context on the shared server of a target.
    pub(crate) fn context(&self, target: Target) -> Result<Context, String> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(target).or_default())
        };
        let started = slot.server.get_or_init(|| {
            let server = Server::start(target)?;
            Ok(Shared { client: Arc::new(server.client()), server: Mutex::new(Some(server)) })
        });
        match started {
            Ok(shared) => Context::new(target, Arc::clone(&shared.client)),
            Err(problem) => Err(format!("{} did not start: {problem}", target.name())),
        }
    }

    /// Ends every shared server.
    pub(crate) fn stop(&self) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.values() {
            if let Some(Ok(shared)) = slot.server.get() {
                *shared.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }
}

static PREFIXES: AtomicU64 = AtomicU64::new(1);

/// A target and a directory there that no other case uses.
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) client: Arc<Client>,
    pub(crate) prefix: String,
}

impl Context {
    /// Makes the directory, empty.
    pub(crate) fn new(target: Target, client: Arc<Client>) -> Result<Self, String> {
        let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
        // A server that was here before this run may have directories of earlier runs.
        let run = if target == Target::Url { std::process::id() } else { 0 };
        let context = Self { target, client, prefix: format!("case{run}-{number:04}") };
        let made = context.send(&Request::new("PUT", &context.path("?dir=true")))?;
        expect_status(&made, 201)?;
        Ok(context)
    }

    /// The request target of a key below the case's directory, perhaps with a query.
    pub(crate) fn path(&self, key: &str) -> String {
        format!("/v2/keys/{}{key}", self.prefix)
    }

    /// The key itself.
    pub(crate) fn key(&self, key: &str) -> String {
        format!("/{}{key}", self.prefix)
    }

    /// Any request, held against what is true of all answers.
    pub(crate) fn send(&self, request: &Request) -> Result<Answer, String> {
        let answer = self
            .client
            .send(request)
            .map_err(|error| format!("{} {}: {error}", request.method, request.target))?;
        check_answer(request, &answer).map_err(|problem| {
            let Request { method, target, .. } = request;
            format!("{problem}\n  {method} {target}\n    {}", answer.describe())
        })?;
        Ok(answer)
    }

    pub(crate) fn get(&self, key: &str) -> Result<Answer, String> {
        self.send(&Request::new("GET", &self.path(key)))
    }

    pub(crate) fn put(&self, key: &str, form: &str) -> Result<Answer, String> {
        self.send(&Request::new("PUT", &self.path(key)).form(form))
    }

    pub(crate) fn post(&self, key: &str, form: &str) -> Result<Answer, String> {
        self.send(&Request::new("POST", &self.path(key)).form(form))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<Answer, String> {
        self.send(&Request::new("DELETE", &self.path(key)))
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Result<Connection, String> {
        self.client.connect().map_err(|error| error.to_string())
    }

    /// A server of the same kind with nothing in it and nobody else on it.
    pub(crate) fn own_server(&self) -> Result<(Server, Self), String> {
        self.own_server_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn own_server_with(&self, flags: &[&str]) -> Result<(Server, Self), String> {
        if self.target == Target::Url {
            return Err("a server at COMPAT_URL cannot be had for oneself".to_owned());
        }
        let server = Server::start_with(self.target, flags)?;
        let context = Self::new(self.target, Arc::new(server.client()))?;
        Ok((server, context))
    }
}

/// Fails with what was got unless the status is as expected.
pub(crate) fn expect_status(answer: &Answer, status: u16) -> Outcome {
    if answer.status() == status {
        return Ok(());
    }
    Err(format!("expected status {status}, got {}", answer.describe()))
}

/// The body of an answer that must be a success.
pub(crate) fn success(answer: &Answer) -> Result<Json, String> {
    if matches!(answer.status(), 200 | 201) {
        return answer.json();
    }
    Err(format!("expected a success, got {}", answer.describe()))
}

/// Fails unless the answer is the error of that code and cause.
pub(crate) fn expect_error(answer: &Answer, code: u16, cause: &str) -> Outcome {
    let line = errors::find(code)?;
    expect_status(answer, line.status)?;
    let json = answer.json()?;
    let matches = json.number("errorCode") == Some(u64::from(code))
        && json.text("message") == Some(line.message)
        && json.text("cause").unwrap_or_default() == cause;
    expect(matches, || format!("expected error {code} {cause:?}, got {}", answer.describe()))
}

/// Fails with a message unless something holds.
pub(crate) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Fails unless two things are equal.
pub(crate) fn expect_equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: T,
    wanted: T,
) -> Outcome {
    expect(got == wanted, || format!("{what}: expected {wanted:?}, got {got:?}"))
}

/// A number that an answer must have.
pub(crate) fn number(json: &Json, path: &str) -> Result<u64, String> {
    json.number(path).ok_or_else(|| format!("no number {path} in {json:?}"))
}

/// A string that an answer must have.
pub(crate) fn text(json: &Json, path: &str) -> Result<String, String> {
    json.text(path).map(str::to_owned).ok_or_else(|| format!("no string {path} in {json:?}"))
}

/// The `X-Etcd-Index` of an answer.
pub(crate) fn index(answer: &Answer) -> Result<u64, String> {
    answer
        .head
        .number("X-Etcd-Index")
        .ok_or_else(|| format!("no X-Etcd-Index in {}", answer.describe()))
}
