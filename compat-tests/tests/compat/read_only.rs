//! A gateway with `--read-only` beside one that writes: it shows and tells what the other writes,
//! refuses to write itself, and needs no permission to.
//!
//! Its way to the engine has a guard who lets pass what `deploy/iam/read-only.json` allows. Not
//! here: what it leaves undone while nobody writes at all, which the keyspace's own tests show.

use std::sync::Arc;
use std::time::Duration;

use compat_tests::dynamodb::policy::Guard;
use compat_tests::dynamodb::proxy::Proxy;
use compat_tests::engine::{Engine, new_table};
use compat_tests::http::{Answer, Request};
use compat_tests::server::{Server, Target};
use compat_tests::wait;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, number, success,
};
use super::watcher::Watch;

const CAUSE: &str = "this gateway does not write (--read-only)";

/// How long users may take to be known, and a directory to expire, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// As `root:pw`.
const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwdw==");

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("beside a gateway that writes it needs no more than its policy", beside),
        Case::alone("it makes neither a table nor a keyspace, and says so", makes_nothing),
    ]
}

/// An engine with two ways to it.
struct Bench {
    engine: Engine,
    /// The way of who writes.
    open: Proxy,
    /// The way of who only reads, with a guard.
    guarded: Proxy,
    table: String,
}

impl Bench {
    fn new(target: Target) -> Result<Self, String> {
        let engine = Engine::start(target)?;
        let way = || Proxy::start(engine.address(), 0).map_err(|error| error.to_string());
        let (open, guarded, table) = (way()?, way()?, new_table());
        guarded.guard(Guard::new(&["read-only"], &table, "default")?);
        Ok(Self { engine, open, guarded, table })
    }

    fn writer(&self) -> Result<Server, String> {
        Server::gateway(self.engine.target(), &self.table, &self.open.url(), &[])
    }

    fn reader(&self, flags: &[&str]) -> Result<Server, String> {
        let flags = [&["--read-only"], flags].concat();
        Server::gateway_on(self.engine.target(), &self.table, &self.guarded.url(), &flags)
    }

    fn check_denied(&self) -> Outcome {
        let guard = self.guarded.guarded().ok_or("nothing is attached")?;
        expect_equal("what was denied", guard.denied(), Vec::new())
    }
}

fn beside(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let writer = bench.writer()?;
    let there = Context::new(context.target, Arc::new(writer.client()))?;
    expect_status(&there.put("/d/f", "value=0")?, 201)?;
    let mut reader = bench.reader(&[])?;
    let here = Context {
        target: context.target,
        client: Arc::new(reader.client()),
        prefix: there.prefix.clone(),
    };
    sees_and_hears(&there, &here)?;
    refuses(&here)?;
    follows_users(&there, &here)?;
    let health = here.send(&Request::new("GET", "/health"))?;
    expect_equal("health", health.text().as_str(), r#"{"health":"true"}"#)?;
    expect_equal("exit code", reader.stop()?.code(), Some(0))?;
    bench.check_denied()?;
    let guard = bench.guarded.guarded().ok_or("nothing is attached")?;
    expect_equal("entries of read-only that nothing needs", guard.unused(), Vec::new())
}

/// What is written there is read and told here, as it was answered there.
fn sees_and_hears(there: &Context, here: &Context) -> Outcome {
    let mut watch = Watch::open(here, "?wait=true&recursive=true&stream=true")?;
    let mut tell = |answer: &Answer| -> Outcome {
        success(answer)?;
        expect_equal("event", watch.event()?, answer.text())
    };
    for round in 1..4 {
        let put = there.put("/d/f", &format!("value={round}"))?;
        tell(&put)?;
        let got = success(&here.get("/d/f")?)?;
        expect_equal("node", got.get("node"), put.json()?.get("node"))?;
    }
    tell(&there.post("/queue", "value=1")?)?;
    tell(&there.delete("/queue?recursive=true")?)?;
    expect_error(&here.get("/queue/of/many")?, 100, &here.key("/queue"))?;
    let listed = success(&here.get("?recursive=true&quorum=true")?)?;
    expect_equal("nodes", listed.list("node.nodes").len(), 1)?;
    // Who writes removes what is overdue, and this one tells of it.
    tell(&there.put("/e?dir=true", "ttl=1")?)?;
    let expired = watch.event()?;
    expect(expired.contains(r#""action":"expire""#), || expired.clone())?;
    expect_error(&here.get("/e")?, 100, &here.key("/e"))
}

fn refuses(here: &Context) -> Outcome {
    let refused = [
        here.put("/d/f", "value=x")?,
        here.put("/new?prevExist=false", "value=x")?,
        here.put("/d/f?prevValue=3", "value=x")?,
        here.put("/dir?dir=true", "ttl=9")?,
        here.post("/queue", "value=x")?,
        here.delete("/d/f?prevValue=3")?,
        here.delete("/d?recursive=true")?,
    ];
    for answer in &refused {
        expect_error(answer, 107, CAUSE)?;
        expect(number(&answer.json()?, "index")? > 0, || answer.describe())?;
    }
    // What is wrong with a request is told first, as ever.
    expect_error(&here.put("/d/f", "ttl=soon")?, 202, r#"invalid value for "ttl""#)?;
    for (method, target, body) in [
        ("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#),
        ("PUT", "/v2/auth/enable", ""),
        ("DELETE", "/v2/auth/roles/guest", ""),
    ] {
        let answer = here.send(&Request::new(method, target).body(body))?;
        expect_equal(target, answer.text(), format!(r#"{{"message":"{CAUSE}"}}"#))?;
        expect_status(&answer, 403)?;
    }
    let users = here.send(&Request::new("GET", "/v2/auth/users"))?;
    expect_equal("users", users.text().trim(), r#"{"users":null}"#)?;
    let member = Request::new("POST", "/v2/members").header("Content-Type", "application/json");
    let member = here.send(&member.body(r#"{"peerURLs":["http://127.0.0.1:1"]}"#))?;
    expect_status(&member, 409)?;
    let got = success(&here.get("/d/f")?)?;
    expect_equal("value", got.text("node.value"), Some("3"))
}

fn follows_users(there: &Context, here: &Context) -> Outcome {
    let administer = |method: &str, target: &str, body: &str| {
        let answer = there.send(&Request::new(method, target).body(body).header(ROOT.0, ROOT.1))?;
        expect(answer.status() < 300, || answer.describe())
    };
    administer("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#)?;
    administer("PUT", "/v2/auth/roles/guest", r#"{"role":"guest"}"#)?;
    administer("PUT", "/v2/auth/enable", "")?;
    let is_locked = || here.get("/d/f").is_ok_and(|answer| answer.status() == 401).then_some(());
    expect(wait::until(PATIENCE, is_locked).is_some(), || "guests are let in".to_owned())?;
    let as_root = |method| Request::new(method, &here.path("/d/f")).header(ROOT.0, ROOT.1);
    expect_status(&here.send(&as_root("GET"))?, 200)?;
    // Who may not write learns no more than that.
    expect_error(&here.put("/d/f", "value=x")?, 110, "Insufficient credentials")?;
    expect_error(&here.send(&as_root("PUT").form("value=x"))?, 107, CAUSE)
}

fn makes_nothing(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let starts = |flags: &[&str], why: &str| match bench.reader(flags) {
        Ok(_) => Err("it started".to_owned()),
        Err(problem) => expect(problem.contains(why), || format!("not {why:?}: {problem}")),
    };
    starts(&[], "there is no table")?;
    let mut writer = bench.writer()?;
    expect_equal("exit code", writer.stop()?.code(), Some(0))?;
    starts(&["--keyspace", "other"], "a gateway that only reads makes none")?;
    starts(&["--create-table"], "--create-table: writes")?;
    // Nobody need be there who writes.
    let mut reader = bench.reader(&["--watch", "off"])?;
    let answer = Request::new("GET", "/v2/keys/?recursive=true");
    let answer = reader.client().send(&answer).map_err(|error| error.to_string())?;
    expect_status(&answer, 200)?;
    expect_equal("exit code", reader.stop()?.code(), Some(0))?;
    bench.check_denied()
}
