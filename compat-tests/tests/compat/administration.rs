//! `etcdynamo table` and `etcdynamo keyspace`: what they do, what they say, how they end.
//!
//! They run under `deploy/iam/administrate.json`, gateways beside them under their own policies. Not
//! here: that keyspaces do not touch each other ([`super::keyspaces`]).

use std::sync::Arc;
use std::time::Duration;

use compat_tests::command::{self, Ran};
use compat_tests::dynamodb::client::{call, scan};
use compat_tests::dynamodb::policy::Guard;
use compat_tests::dynamodb::proxy::Proxy;
use compat_tests::engine::{Engine, new_table};
use compat_tests::http::Request;
use compat_tests::server::{Server, Target};
use compat_tests::wait;
use serde_json::{Value, json};

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, success,
};

/// How long a gateway may take to notice, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("a table is made, verified and deleted", table_life),
        Case::alone("a table that is not ours is left alone", foreign_tables),
        Case::alone("what makes no sense is refused with 64 and nothing is done", bad_flags),
        Case::alone("a keyspace is made, listed, emptied and deleted", keyspace_life),
        Case::alone("a keyspace is not deleted beside a gateway", beside_gateways),
        Case::alone("a deletion that was cut short is told and finished", cut_short),
        Case::alone("the policy for administration allows what it takes and no more", policy),
    ]
}

/// An engine with a way for administrators and one for gateways.
pub(super) struct Bench {
    pub(super) engine: Engine,
    admins: Proxy,
    gateways: Proxy,
    pub(super) table: String,
}

impl Bench {
    /// With no table in it.
    pub(super) fn new(target: Target) -> Result<Self, String> {
        let engine = Engine::start(target)?;
        let way = || Proxy::start(engine.address(), 0).map_err(|error| error.to_string());
        let (admins, gateways, table) = (way()?, way()?, new_table());
        admins.guard(Guard::new(&["administrate"], &table, "default")?);
        gateways.guard(Guard::new(&["serve"], &table, "default")?);
        Ok(Self { engine, admins, gateways, table })
    }

    /// A command on the table: `table verify`, say, with what else it is told.
    pub(super) fn run(&self, words: &[&str], more: &[&str]) -> Result<Ran, String> {
        let url = self.admins.url();
        let place = ["--table", &self.table, "--region", "us-east-1", "--endpoint-url", &url];
        command::run(&[words, &place, more].concat())
    }

    pub(super) fn keyspace(&self, verb: &str, name: &str) -> Result<Ran, String> {
        self.run(&["keyspace", verb], &[&format!("--keyspace={name}")])
    }

    /// The same, confirmed.
    pub(super) fn confirmed(&self, verb: &str, name: &str) -> Result<Ran, String> {
        let (keyspace, confirm) = (format!("--keyspace={name}"), format!("--confirm={name}"));
        self.run(&["keyspace", verb], &[&keyspace, &confirm])
    }

    pub(super) fn gateway(&self, keyspace: &str) -> Result<Server, String> {
        self.gateway_with(keyspace, &[])
    }

    fn gateway_with(&self, keyspace: &str, flags: &[&str]) -> Result<Server, String> {
        let keyspace = format!("--keyspace={keyspace}");
        let flags = [&[keyspace.as_str()], flags].concat();
        Server::gateway_on(self.engine.target(), &self.table, &self.gateways.url(), &flags)
    }

    fn call(&self, operation: &str, body: Value) -> Result<Value, String> {
        let mut body = body;
        body["TableName"] = json!(self.table);
        call(self.engine.address(), operation, &body)
    }

    fn is_there(&self) -> bool {
        self.call("DescribeTable", json!({})).is_ok()
    }

    pub(super) fn check_denied(&self) -> Outcome {
        for way in [&self.admins, &self.gateways] {
            let guard = way.guarded().ok_or("nothing is attached")?;
            expect_equal("what was denied", guard.denied(), Vec::new())?;
        }
        Ok(())
    }

    /// Each item's partition key.
    fn partitions(&self) -> Result<Vec<String>, String> {
        let items = scan(self.engine.address(), &self.table)?;
        let key = |item: &Value| item["pk"]["S"].as_str().unwrap_or_default().to_owned();
        Ok(items.iter().map(key).collect())
    }
}

fn here(server: &Server) -> Context {
    Context {
        target: server.target(),
        client: Arc::new(server.client()),
        prefix: "same".to_owned(),
    }
}

/// The line of a keyspace in a list, by words: its name, its state, nodes, bytes, auth, users, gateways.
pub(super) fn line_of<'a>(list: &'a Ran, name: &str) -> Option<Vec<&'a str>> {
    let lines = list.out.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.into_iter().find(|words| words.first() == Some(&name))
}

/// A table with these keys, and neither TTL nor stream.
fn make_bare(bench: &Bench, sort: &str) -> Outcome {
    let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let table = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute("pk"), attribute(sort)],
        "KeySchema": [key("pk", "HASH"), key(sort, "RANGE")],
    });
    bench.call("CreateTable", table).map(|_| ())
}

fn table_life(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let name = bench.table.as_str();
    let table = |verb: &str, more: &[&str]| bench.run(&["table", verb], more);
    table("verify", &[])?.expect(1, &["there is no table", "etcdynamo table create"])?;
    table("delete", &["--confirm", name])?.expect(1, &["there is no table"])?;
    expect(!bench.is_there(), || "it was made".to_owned())?;

    make_bare(&bench, "sk")?;
    let verified = table("verify", &[])?;
    verified.expect(1, &["cannot be used", "TTL on the attribute", "the stream NEW_AND_OLD"])?;
    expect(verified.out.contains("stream: off"), || format!("{verified:?}"))?;
    table("verify", &[])?.expect(1, &["cannot be used"])?;
    table("create", &[])?.expect(0, &["was there", "switched on"])?;
    table("verify", &[])?.expect(0, &["can be used"])?;

    table("delete", &[])?.expect(1, &["would delete", "Nothing was done", "--confirm"])?;
    table("delete", &["--confirm", "other"])?.expect(64, &["--confirm: 'other' is not"])?;
    expect(bench.is_there(), || "it was deleted".to_owned())?;
    table("delete", &["--confirm", name])?.expect(0, &["was deleted"])?;
    expect(!bench.is_there(), || "it is still there".to_owned())?;

    table("create", &[])?.expect(0, &["was made"])?;
    table("create", &[])?.expect(0, &["was there as it must be"])?;
    let verified = table("verify", &[])?;
    verified.expect(0, &["can be used"])?;
    for line in [
        "status: ACTIVE",
        "billing: on demand",
        "TTL: on, by the attribute \"t\"",
        "stream: NEW_AND_OLD_IMAGES",
        "deletion protection: off",
        "point-in-time recovery: ",
        "items: 0, 0 bytes",
    ] {
        expect(verified.out.contains(line), || format!("no {line:?} in {verified:?}"))?;
    }
    drop(bench.gateway("default")?);
    table("delete", &["--confirm", name])?.expect(0, &["was deleted"])?;
    bench.check_denied()
}

fn foreign_tables(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let confirm = ["--confirm", bench.table.as_str()];
    make_bare(&bench, "sort")?;
    let different = ["is not etcdynamo's", "\"sort\""];
    bench.run(&["table", "delete"], &confirm)?.expect(1, &different)?;
    bench.run(&["table", "create"], &[])?.expect(1, &["\"sort\""])?;
    bench.run(&["table", "verify"], &[])?.expect(1, &["\"sort\""])?;
    bench.run(&["keyspace", "list"], &[])?.expect(1, &different)?;
    expect(bench.is_there(), || "it was deleted".to_owned())?;

    // One with the same keys, of somebody else, as it is and with a keyspace in it.
    let bench = Bench::new(context.target)?;
    let confirm = ["--confirm", bench.table.as_str()];
    make_bare(&bench, "sk")?;
    let item = json!({ "pk": { "S": "user/17" }, "sk": { "S": "profile" } });
    bench.call("PutItem", json!({ "Item": item }))?;
    let refused = ["left alone", "1 of the first 1 items in it are not etcdynamo's"];
    bench.run(&["table", "delete"], &confirm)?.expect(1, &refused)?;
    bench.run(&["table", "create"], &[])?.expect(0, &["switched on"])?;
    bench.keyspace("create", "default")?.expect(0, &[])?;
    let refused = ["left alone", "1 of the first 3 items in it are not etcdynamo's"];
    bench.run(&["table", "delete"], &confirm)?.expect(1, &refused)?;
    let list = bench.run(&["keyspace", "list"], &[])?;
    list.expect(0, &["1 items of the table are not etcdynamo's"])?;
    expect_equal("keyspaces", list.out.lines().count(), 2)?;
    expect(bench.is_there(), || "it was deleted".to_owned())
}

fn bad_flags(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    bench.keyspace("create", "kept")?.expect(0, &[])?;
    let before = bench.partitions()?;
    for (words, says) in [
        (&["table"][..], "Usage"),
        (&["table", "drop"], "unrecognized subcommand"),
        (&["table", "create"], "--table: must be given"),
        (&["table", "create", "--table", "x"], "--table: must be a table's name"),
        (&["table", "verify", "--table", "xyz", "--region", ""], "--region: must not be empty"),
        (&["table", "verify", "--table", "xyz", "--endpoint-url", "ftp://x"], "--endpoint-url"),
        (&["table", "verify", "--table", "xyz", "--confirm", "xyz"], "--confirm"),
        (&["table", "create", "--data-dir", "d"], "--data-dir"),
        (&["keyspace"], "Usage"),
        (&["keyspace", "list"], "--table: must be given"),
        (&["keyspace", "list", "--table", "xyz", "--keyspace", "k"], "--keyspace"),
        (&["keyspace", "create", "--table", "xyz", "--keyspace", "a/b"], "--keyspace: must be"),
        (&["keyspace", "create", "--table", "xyz", "--keyspace", ""], "--keyspace: must be"),
        (&["keyspace", "delete", "--table", "xyz", "--confirm", "x"], "'x' is not 'default'"),
        (&["keyspace", "empty", "--table", "xyz", "--confirm", ""], "'' is not 'default'"),
    ] {
        command::run(words)?.expect(64, &[says])?;
    }
    let all = ["keyspace", "create", "--table", "x", "--keyspace", "a/b", "--region", ""];
    command::run(&all)?.expect(64, &["--table:", "--keyspace:", "--region:"])?;
    bench.run(&["keyspace", "delete"], &["--keyspace=kept", "--confirm=Kept"])?.expect(64, &[])?;
    for verb in ["empty", "delete"] {
        let unconfirmed = bench.keyspace(verb, "kept")?;
        unconfirmed.expect(1, &["this would", "Nothing was done", "--confirm kept"])?;
        bench.confirmed(verb, "missing")?.expect(1, &["has no keyspace \"missing\""])?;
        bench.keyspace(verb, "missing")?.expect(1, &["has no keyspace \"missing\""])?;
    }
    expect_equal("items", bench.partitions()?, before)?;
    bench.check_denied()
}

fn keyspace_life(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["keyspace", "list"], &[])?.expect(1, &["there is no table"])?;
    bench.keyspace("create", "a")?.expect(1, &["there is no table"])?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    bench.keyspace("create", "a")?.expect(0, &["the keyspace \"a\" was made"])?;
    let again = bench.keyspace("create", "a")?;
    again.expect(0, &["the keyspace \"a\" was there"])?;
    bench.keyspace("create", "a.b")?.expect(0, &["was made"])?;

    let server = bench.gateway("a")?;
    let here = here(&server);
    let put = here.put("/d/f", "value=1")?;
    let id = put.header("X-Etcd-Cluster-Id").unwrap_or_default().to_owned();
    expect(again.out.contains(&id), || format!("{id} is not in {again:?}"))?;
    for key in ["/d/g", "/_hidden/_x", "/e"] {
        success(&here.put(key, "value=1")?)?;
    }
    // More than one transaction can remove.
    for number in 0..110 {
        success(&here.put(&format!("/large/{number}"), "value=1")?)?;
    }
    let list = bench.run(&["keyspace", "list"], &[])?;
    list.expect(0, &["KEYSPACE", "consumed:", "read units"])?;
    let line = line_of(&list, "a").ok_or_else(|| format!("{list:?}"))?;
    expect_equal("of a", (line[1], line[2], line[4], line[6]), ("whole", "118", "off", "1"))?;
    let line = line_of(&list, "a.b").ok_or_else(|| format!("{list:?}"))?;
    expect_equal("of a.b", (line[1], line[2], line[6]), ("whole", "0", "0"))?;

    bench.confirmed("empty", "a")?.expect(0, &["\"a\" is empty: 1 nodes of / were removed"])?;
    bench.confirmed("empty", "a")?.expect(0, &["\"a\" is empty: 0 nodes of / were removed"])?;
    expect_error(&here.get("/_hidden/_x?quorum=true")?, 100, "/same")?;
    let anew = here.put("/d/f?prevExist=false", "value=2")?;
    expect_status(&anew, 201)?;
    expect(index(&anew)? > index(&put)?, || "the index went back".to_owned())?;
    expect_equal("cluster id", anew.header("X-Etcd-Cluster-Id"), Some(id.as_str()))?;
    bench.check_denied()
}

fn beside_gateways(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    let mut server = bench.gateway("a")?;
    let put = here(&server).put("/f", "value=1")?;
    let reads = bench.gateway_with("a", &["--read-only"])?;
    expect_status(&here(&reads).get("/f")?, 200)?;
    let before = bench.partitions()?;
    let refused = ["1 of its gateways may be alive", "stop them first"];
    bench.confirmed("delete", "a")?.expect(1, &refused)?;
    expect_equal("items", bench.partitions()?, before)?;
    expect_status(&here(&server).put("/f", "value=2")?, 200)?;
    // One that was killed leaves its sign.
    server.kill();
    bench.confirmed("delete", "a")?.expect(1, &refused)?;
    server.restart()?;
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    // The sign of the one that was killed is still fresh by its date: as if it were long ago.
    for item in scan(bench.engine.address(), &bench.table)? {
        if item["sk"]["S"].as_str().is_some_and(|sort| sort.starts_with("gateway/")) {
            let mut old = item.clone();
            old["seen"] = json!({ "N": "1000" });
            bench.call("PutItem", json!({ "Item": old }))?;
        }
    }
    bench.confirmed("delete", "a")?.expect(0, &["\"a\" was deleted"])?;
    expect_equal("items", bench.partitions()?, Vec::new())?;
    bench.confirmed("delete", "a")?.expect(1, &["has no keyspace \"a\""])?;
    let knows = || {
        let health = here(&reads).send(&Request::new("GET", "/health")).ok()?;
        (health.status() == 503).then_some(())
    };
    expect(wait::until(PATIENCE, knows).is_some(), || "it is healthy on nothing".to_owned())?;
    let told = here(&reads).get("/f")?;
    let says = [r#""errorCode":300"#, r#""cause":"the keyspace was deleted""#];
    expect(says.iter().all(|word| told.text().contains(word)), || told.describe())?;
    let server = bench.gateway("a")?;
    let anew = here(&server).put("/f", "value=3")?;
    expect_status(&anew, 201)?;
    let ids = [&put, &anew].map(|answer| answer.header("X-Etcd-Cluster-Id").map(str::to_owned));
    expect(ids[0] != ids[1], || "it is the same cluster".to_owned())
}

fn cut_short(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    let mut server = bench.gateway("a")?;
    expect_status(&here(&server).put("/d/f", "value=1")?, 201)?;
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    bench.keyspace("create", "a.b")?.expect(0, &[])?;
    // What a deletion does first.
    let identity = json!({ "pk": { "S": "a//records" }, "sk": { "S": "identity" } });
    bench.call("DeleteItem", json!({ "Key": identity }))?;
    let told = "`etcdynamo keyspace delete` finishes it";
    match bench.gateway("a") {
        Ok(_) => return Err("it started".to_owned()),
        Err(problem) => expect(problem.contains(told), || problem)?,
    }
    for ran in [bench.keyspace("create", "a")?, bench.confirmed("empty", "a")?] {
        ran.expect(1, &["its deletion was begun and is not finished", told])?;
    }
    let list = bench.run(&["keyspace", "list"], &[])?;
    list.expect(0, &["the deletion of \"a\" is not finished"])?;
    let line = line_of(&list, "a").ok_or_else(|| format!("{list:?}"))?;
    expect_equal("state", line[1], "half-deleted")?;
    bench.confirmed("delete", "a")?.expect(0, &["was deleted"])?;
    let list = bench.run(&["keyspace", "list"], &[])?;
    expect_equal("of a", line_of(&list, "a"), None)?;
    expect_equal("of a.b", line_of(&list, "a.b").map(|words| words[1]), Some("whole"))?;
    drop(bench.gateway("a")?);
    bench.check_denied()
}

fn policy(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    make_bare(&bench, "sk")?;
    bench.run(&["table", "create"], &[])?.expect(0, &["switched on"])?;
    bench.run(&["table", "delete"], &["--confirm", &bench.table])?.expect(0, &[])?;
    bench.run(&["table", "create"], &[])?.expect(0, &["was made"])?;
    bench.run(&["table", "verify"], &[])?.expect(0, &[])?;
    let mut server = bench.gateway("default")?;
    let here = here(&server);
    for number in 0..110 {
        success(&here.put(&format!("/large/{number}"), "value=1")?)?;
    }
    bench.confirmed("empty", "default")?.expect(0, &["1 nodes of / were removed"])?;
    bench.run(&["keyspace", "list"], &[])?.expect(0, &[])?;
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    bench.confirmed("delete", "default")?.expect(0, &["was deleted"])?;
    bench.check_denied()?;
    let guard = bench.admins.guarded().ok_or("nothing is attached")?;
    expect_equal("entries that nothing needs", guard.unused(), Vec::new())
}
