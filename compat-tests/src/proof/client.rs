//! One client of one gateway: sends an operation and writes down what came of it.
//!
//! A request is sent once. A connection that breaks makes the outcome unknown, and the next request
//! takes a new one: a client that quietly asked again would hide what the proof is about.

use std::time::Instant;

use super::history::{Call, Operation, Reply, Shown, Verb};
use crate::http::{Answer, Connection, Request};
use crate::json::Json;
use crate::script::check_answer;
use crate::timestamp;

/// Times of a history: microseconds since the epoch that never step back.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    base_us: u64,
    since: Instant,
}

impl Stopwatch {
    /// Starts at the present time.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "now is after 1970"
    )]
    pub fn start() -> Self {
        Self { base_us: (timestamp::now() * 1e6) as u64, since: Instant::now() }
    }

    /// The present time.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.base_us.saturating_add(passed)
    }
}

/// A client with a connection of its own.
#[derive(Debug)]
pub struct Client {
    number: usize,
    gateway: usize,
    address: String,
    top: String,
    watch: Stopwatch,
    connection: Option<Connection>,
    /// Answers that no v2 server gives, whatever the state.
    pub problems: Vec<String>,
}

impl Client {
    /// A client of the gateway at `address`; `top` is the history's directory, with a slash before it.
    #[must_use]
    pub fn new(number: usize, gateway: usize, address: &str, top: &str, watch: Stopwatch) -> Self {
        let (address, top) = (address.to_owned(), top.to_owned());
        Self { number, gateway, address, top, watch, connection: None, problems: Vec::new() }
    }

    /// Asks, and waits for the answer.
    pub fn call(&mut self, operation: &Operation) -> Call {
        let request = self.request(operation);
        let invoked = self.watch.now_us();
        let answer = self.send(&request);
        let answered = self.watch.now_us();
        let reply = match answer {
            Ok(answer) => self.read(&request, &answer),
            Err(problem) => Reply::Unknown(problem.to_string()),
        };
        let (client, gateway, operation) = (self.number, self.gateway, operation.clone());
        Call { client, gateway, operation, invoked, answered, reply }
    }

    fn send(&mut self, request: &Request) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address)?,
        };
        let answer = connection.send(request)?;
        let closes =
            answer.header("connection").is_some_and(|word| word.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        Ok(answer)
    }

    fn request(&self, operation: &Operation) -> Request {
        let Operation { verb, key, value, ttl, prev_value, prev_index, quorum } = operation;
        let slash = if key.is_empty() { "" } else { "/" };
        let target = format!("/v2/keys{}{slash}{key}", self.top);
        let mut query: Vec<String> = Vec::new();
        let fixed = match verb {
            Verb::Get | Verb::List | Verb::Set | Verb::Swap => "",
            Verb::Delete | Verb::CompareAndDelete | Verb::Post | Verb::Sweep => "",
            Verb::Create => "prevExist=false",
            Verb::Update => "prevExist=true",
            Verb::Refresh => "prevExist=true&refresh=true",
            Verb::MakeDir => "dir=true&prevExist=false",
            Verb::RemoveDir => "dir=true",
            Verb::RemoveTree => "recursive=true",
        };
        query.extend((!fixed.is_empty()).then(|| fixed.to_owned()));
        query.extend(quorum.then(|| "quorum=true".to_owned()));
        query.extend(prev_value.iter().map(|value| format!("prevValue={value}")));
        query.extend(prev_index.iter().map(|index| format!("prevIndex={index}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let method = match verb {
            Verb::Get | Verb::List => "GET",
            Verb::Set
            | Verb::Create
            | Verb::Update
            | Verb::Swap
            | Verb::Refresh
            | Verb::MakeDir => "PUT",
            Verb::Delete | Verb::CompareAndDelete | Verb::RemoveDir | Verb::RemoveTree => "DELETE",
            Verb::Post => "POST",
            // Nobody asks it; should somebody, it is refused.
            Verb::Sweep => "SWEEP",
        };
        let request = Request::new(method, &format!("{target}{query}"));
        let value = value.iter().map(|value| format!("value={value}"));
        let form: Vec<String> = value.chain(ttl.iter().map(|ttl| format!("ttl={ttl}"))).collect();
        if form.is_empty() { request } else { request.form(&form.join("&")) }
    }

    fn read(&mut self, request: &Request, answer: &Answer) -> Reply {
        if answer.status() >= 500 {
            return Reply::Unknown(format!("{} {}", answer.status(), answer.text().trim()));
        }
        let read = check_answer(request, answer).and_then(|()| self.parse(answer));
        read.unwrap_or_else(|problem| {
            let Request { method, target, .. } = request;
            self.problems
                .push(format!("{problem}\n  {method} {target}\n    {}", answer.describe()));
            Reply::Unknown("an answer that is none".to_owned())
        })
    }

    fn parse(&self, answer: &Answer) -> Result<Reply, String> {
        let json = answer.json()?;
        if let Some(code) = json.number("errorCode") {
            let code = u16::try_from(code).map_err(|error| error.to_string())?;
            let cause = self.relative(json.text("cause").unwrap_or_default());
            return Ok(Reply::Refused { code, cause });
        }
        let node = self.shown(json.get("node").ok_or("no node")?)?;
        let prev = json.get("prevNode").map(|prev| self.shown(prev)).transpose()?;
        let nodes = json.list("node.nodes").iter().map(|child| self.shown(child));
        let nodes = nodes.collect::<Result<Vec<Shown>, String>>()?;
        Ok(Reply::Done { status: answer.status(), node, prev, nodes })
    }

    fn shown(&self, node: &Json) -> Result<Shown, String> {
        let number = |name: &str| node.number(name).ok_or_else(|| format!("no {name} in {node:?}"));
        Ok(Shown {
            key: self.relative(node.text("key").unwrap_or_default()),
            value: node.text("value").map(str::to_owned),
            dir: node.get("dir") == Some(&Json::Bool(true)),
            created: number("createdIndex")?,
            modified: number("modifiedIndex")?,
            expires: node.text("expiration").map(milliseconds).transpose()?,
        })
    }

    fn relative(&self, text: &str) -> String {
        let below = text.strip_prefix(&self.top).and_then(|rest| match rest {
            "" => Some(""),
            _ => rest.strip_prefix('/'),
        });
        below.unwrap_or(text).to_owned()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a year in milliseconds fits")]
fn milliseconds(expiration: &str) -> Result<i64, String> {
    timestamp::parse(expiration).map(|seconds| (seconds * 1000.0).round() as i64)
}
