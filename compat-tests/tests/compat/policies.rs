//! What a gateway does with AWS, held against the IAM policies of `deploy/iam`: no call that they do
//! not allow, and no entry that nothing needs.
//!
//! All gateways of the suite and of the proof have a guard before their engine who denies what the
//! policies do not allow, so a permission that lacks fails whatever needs it. Here each mode has its
//! own policies and no other, and each of their entries has to be used; of a gateway that only
//! reads, in [`super::read_only`]. The engines know no IAM:
//! what AWS makes of a policy beyond its wording is not shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use compat_tests::dynamodb::client::call;
use compat_tests::dynamodb::policy::Guard;
use compat_tests::dynamodb::proxy::Proxy;
use compat_tests::engine::{Engine, new_table};
use compat_tests::http::Request;
use compat_tests::server::{Server, Target};
use compat_tests::wait;
use serde_json::json;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status, success};
use super::watcher::Watch;

/// How long a directory may take to expire, and a busy machine to notice.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("the policies allow what a gateway does and nothing else", each_mode),
        Case::alone("without a permission a gateway does not start, and says so", denied),
        Case::alone("one keyspace of a table can be all that a gateway may touch", one_keyspace),
    ]
}

/// An engine, and an endpoint that lets pass what policies allow.
struct Bench {
    engine: Engine,
    endpoint: Proxy,
    table: String,
}

impl Bench {
    fn new(target: Target) -> Result<Self, String> {
        let engine = Engine::start(target)?;
        let endpoint = Proxy::start(engine.address(), 0).map_err(|error| error.to_string())?;
        Ok(Self { engine, endpoint, table: new_table() })
    }

    /// From now on, only these policies hold.
    fn attach(&self, policies: &[&str], keyspace: &str) -> Outcome {
        self.endpoint.guard(Guard::new(policies, &self.table, keyspace)?);
        Ok(())
    }

    fn guard(&self) -> Result<Guard, String> {
        self.endpoint.guarded().ok_or_else(|| "nothing is attached".to_owned())
    }

    /// A gateway that makes the table or what it lacks.
    fn creating(&self) -> Result<Server, String> {
        let url = self.endpoint.url();
        Server::gateway(self.engine.target(), &self.table, &url, &[])
    }

    /// A gateway on the table as it is.
    fn serving(&self, flags: &[&str]) -> Result<Server, String> {
        let url = self.endpoint.url();
        Server::gateway_on(self.engine.target(), &self.table, &url, flags)
    }
}

fn each_mode(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.attach(&["create-table", "serve"], "default")?;
    let mut creating = bench.creating()?;
    expect_equal("exit code", creating.stop()?.code(), Some(0))?;
    let mut unused: BTreeSet<String> = bench.guard()?.unused().into_iter().collect();

    let half = half_made(context.target)?;
    let mut creating = half.creating()?;
    expect_equal("exit code", creating.stop()?.code(), Some(0))?;
    expect_equal("what was denied", half.guard()?.denied(), Vec::new())?;
    let still = half.guard()?.unused();
    unused.retain(|entry| still.contains(entry) && entry.starts_with("create-table"));
    expect_equal("entries of create-table that nothing needs", unused, BTreeSet::new())?;

    bench.attach(&["serve"], "default")?;
    work_through(&bench, &[])?;
    let guard = bench.guard()?;
    expect_equal("what was denied", guard.denied(), Vec::new())?;
    expect_equal("entries of serve that nothing needs", guard.unused(), Vec::new())
}

/// A table that lacks what can be switched on.
fn half_made(target: Target) -> Result<Bench, String> {
    let bench = Bench::new(target)?;
    bench.attach(&["create-table", "serve"], "default")?;
    let names = ["pk", "sk"];
    let attributes = names.map(|name| json!({ "AttributeName": name, "AttributeType": "S" }));
    let keys = [("pk", "HASH"), ("sk", "RANGE")]
        .map(|(name, kind)| json!({ "AttributeName": name, "KeyType": kind }));
    let table = json!({
        "TableName": bench.table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": keys,
    });
    call(bench.engine.address(), "CreateTable", &table)?;
    Ok(bench)
}

/// Everything that a gateway does by itself or for its clients, from its start to its end.
fn work_through(bench: &Bench, flags: &[&str]) -> Outcome {
    let mut server = bench.serving(flags)?;
    let mut other = bench.serving(flags)?;
    let own = Context::new(bench.engine.target(), Arc::new(server.client()))?;
    let mut watch = Watch::open(&own, "/f?wait=true&stream=true")?;
    for (form, status) in [("value=1", 201), ("value=2&ttl=100", 200)] {
        expect_status(&own.put("/f", form)?, status)?;
        watch.event()?;
    }
    let at_the_other = Request::new("PUT", &own.path("/f")).form("value=3");
    let put = other.client().send(&at_the_other).map_err(|error| error.to_string())?;
    expect_status(&put, 200)?;
    watch.event()?;
    expect_status(&own.put("/f?prevValue=4", "value=5")?, 412)?;
    expect_status(&own.post("/queue/of/many", "value=1")?, 201)?;
    expect_status(&own.get("?recursive=true&quorum=true")?, 200)?;
    expect_status(&own.get("/not/here/at/all")?, 404)?;
    expect_status(&own.put("/d?dir=true", "ttl=1")?, 201)?;
    expect_status(&own.put("/d/e/f", "value=1")?, 201)?;
    let gone = wait::until(PATIENCE, || {
        own.get("/d?quorum=true").is_ok_and(|answer| answer.status() == 404).then_some(())
    });
    expect(gone.is_some(), || "the directory did not expire".to_owned())?;
    // More than one transaction can remove.
    for number in 0..110 {
        success(&own.put(&format!("/large/{number}"), "value=1")?)?;
    }
    expect_status(&own.delete("/large?recursive=true")?, 200)?;
    expect_status(&own.delete("/f")?, 200)?;
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    expect_equal("exit code", other.stop()?.code(), Some(0))
}

fn denied(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.attach(&["serve"], "default")?;
    refused(bench.creating(), "AccessDeniedException")?;
    expect(!bench.guard()?.denied().is_empty(), || "nothing was denied".to_owned())?;
    bench.attach(&["create-table"], "default")?;
    refused(bench.creating(), "AccessDeniedException")
}

/// Fails unless a gateway did not start, and said why.
fn refused(started: Result<Server, String>, why: &str) -> Outcome {
    match started {
        Ok(_) => Err("it started".to_owned()),
        Err(problem) if problem.contains(why) => Ok(()),
        Err(problem) => Err(format!("it does not say {why:?}: {problem}")),
    }
}

fn one_keyspace(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.attach(&["create-table", "serve"], "default")?;
    let mut creating = bench.creating()?;
    expect_equal("exit code", creating.stop()?.code(), Some(0))?;
    bench.attach(&["serve-one-keyspace"], "mine")?;
    work_through(&bench, &["--keyspace", "mine"])?;
    let guard = bench.guard()?;
    expect_equal("what was denied", guard.denied(), Vec::new())?;
    expect_equal("entries that nothing needs", guard.unused(), Vec::new())?;
    refused(bench.serving(&["--keyspace", "mine2"]), "AccessDeniedException")
}
