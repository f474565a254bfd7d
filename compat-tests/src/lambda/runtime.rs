//! The runtime API of one environment: next event, its answer, its error, and why a start failed.
//!
//! As AWS documents it (version 2018-06-01), for one event at a time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::listen::{Came, Goes, Listening};

const BASE: &str = "/2018-06-01/runtime/";

/// The function's timeout.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What became of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Answer(Value),
    /// The function says that it failed.
    Error(Value),
}

impl Outcome {
    /// The answer.
    ///
    /// # Errors
    /// The function failed.
    pub fn answer(self) -> Result<Value, String> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Error(error) => Err(format!("the function failed: {error}")),
        }
    }
}

/// An answer that will come.
#[derive(Debug)]
pub struct Pending(mpsc::Receiver<Outcome>);

impl Pending {
    /// Waits for it; `None`: it did not come in time.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<Outcome> {
        self.0.recv_timeout(patience).ok()
    }
}

/// The endpoint of one environment.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    listening: Listening,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(String, String)>,
    open: HashMap<String, mpsc::Sender<Outcome>>,
    count: u64,
    /// How many ask for the next event.
    asking: usize,
    init_error: Option<Value>,
}

impl RuntimeApi {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let asked = Arc::clone(&shared);
        let listening = Listening::start(move |came| asked.answer(&came))?;
        Ok(Self { listening, shared })
    }

    pub(super) fn address(&self) -> &str {
        self.listening.address()
    }

    /// Whether the environment asks for its next event, and there is none.
    pub(super) fn is_asked(&self) -> bool {
        self.shared.lock().asking > 0
    }

    pub(super) fn init_error(&self) -> Option<Value> {
        self.shared.lock().init_error.clone()
    }

    pub(super) fn begin(&self, event: &Value) -> Pending {
        let (sender, outcome) = mpsc::channel();
        let mut state = self.shared.lock();
        state.count += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", state.count);
        state.events.push_back((id.clone(), event.to_string()));
        state.open.insert(id, sender);
        drop(state);
        self.shared.changed.notify_all();
        Pending(outcome)
    }

    pub(super) fn invoke(&self, event: &Value, patience: Duration) -> Option<Outcome> {
        self.begin(event).wait(patience)
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, came: &Came) -> Goes {
        let path = came.target.strip_prefix(BASE).unwrap_or_default();
        let told = serde_json::from_slice(&came.body).unwrap_or(Value::Null);
        match (came.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => return self.next(),
            ("POST", ["invocation", id, "response"]) => self.end(id, Outcome::Answer(told)),
            ("POST", ["invocation", id, "error"]) => self.end(id, Outcome::Error(told)),
            ("POST", ["init", "error"]) => self.lock().init_error = Some(told),
            _ => return goes(404, Vec::new(), "no such page of the runtime API"),
        }
        goes(202, Vec::new(), r#"{"status":"OK"}"#)
    }

    fn end(&self, id: &str, outcome: Outcome) {
        if let Some(sender) = self.lock().open.remove(id) {
            // Nobody waits any more where the test is over.
            let _ = sender.send(outcome);
        }
    }

    fn next(&self) -> Goes {
        let mut state = self.lock();
        loop {
            if self.is_over.load(Ordering::Acquire) {
                return goes(500, Vec::new(), "it is over");
            }
            if let Some((id, event)) = state.events.pop_front() {
                return goes(200, headers(&id), &event);
            }
            state.asking += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asking -= 1;
        }
    }
}

fn headers(id: &str) -> Vec<(String, String)> {
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:etcdynamo";
    let given = [
        ("Lambda-Runtime-Aws-Request-Id", id.to_owned()),
        ("Lambda-Runtime-Deadline-Ms", deadline_ms().to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", arn.to_owned()),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[expect(clippy::disallowed_methods, reason = "the deadline is told by the wall clock")]
fn deadline_ms() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + TIMEOUT).as_millis()
}

fn goes(status: u16, headers: Vec<(String, String)>, body: &str) -> Goes {
    Goes { status, headers, body: body.as_bytes().to_vec() }
}
