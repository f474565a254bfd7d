//! The program as a function of AWS Lambda: the same router behind events, by one environment or several, beside a
//! gateway that listens, and standing still between requests, or in the middle of one.
//!
//! Its way to the engine has the guard of a gateway without the permission to make tables. What the table of paths and
//! queries of each sender is in detail, the server's own unit tests show; and what AWS makes of it all, nobody shows here.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use compat_tests::dynamodb::policy::Guard;
use compat_tests::dynamodb::proxy::{Hold, Moment, Proxy};
use compat_tests::engine::{Engine, new_table};
use compat_tests::http::{Client, Request};
use compat_tests::lambda::event::CLIENT;
use compat_tests::lambda::{Environment, Outcome as Told, Sender, Url};
use compat_tests::process::{program, tool};
use compat_tests::server::{Server, Target};
use compat_tests::wait;
use serde_json::{Value, json};

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, number,
    success, text,
};
use super::scripts;

/// As `root:pw`.
const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwdw==");

/// How long a write may take to get to the engine on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than a call to the engine may take, and shorter than a request.
const SHORT: Duration = Duration::from_secs(2);

/// Longer than users and roles may be out of date anywhere, and than a request may take.
const LONG: Duration = Duration::from_secs(6);

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("it answers as the server does and stands still between requests", exchanges),
        Case::alone("users and roles count as ever", users),
        Case::alone("every sender reaches the same keys", senders),
        Case::alone("etcdctl works with its URL", etcdctl),
        Case::alone("what does not fit or cannot be is refused with a word", refusals),
        Case::alone("environments and a gateway agree on one table", beside),
        Case::alone("after a long stillness nothing old is answered", stillness),
        Case::alone("a write that was frozen half-way breaks nothing", frozen_write),
        Case::alone("why it cannot start is told to Lambda", failed_starts),
    ]
}

/// An engine, a gateway that made its table, and the way of the environments, with a guard.
struct Bench {
    engine: Engine,
    way: Proxy,
    table: String,
    gateway: Server,
    target: Target,
}

impl Bench {
    fn new(target: Target) -> Result<Self, String> {
        let engine = Engine::start(target)?;
        let way = Proxy::start(engine.address(), 0).map_err(|error| error.to_string())?;
        let table = new_table();
        let gateway = Server::gateway(target, &table, &engine.url(), &[])?;
        way.guard(Guard::new(&["serve"], &table, "default")?);
        Ok(Self { engine, way, table, gateway, target })
    }

    /// An environment, and a URL of this sender in front of it.
    fn function(&self, sender: Sender, settings: &[(&str, &str)]) -> Result<Function, String> {
        let environment = Environment::on_table(&self.table, &self.way.url(), settings)?;
        Function::of(self.target, sender, environment, false)
    }

    fn gateway(&self) -> Result<Context, String> {
        Context::new(self.target, Arc::new(self.gateway.client()))
    }

    fn check_denied(&self) -> Outcome {
        let guard = self.way.guarded().ok_or("nothing is attached")?;
        expect_equal("what was denied", guard.denied(), Vec::new())
    }
}

/// An environment, and how it is asked.
struct Function {
    environment: Arc<Environment>,
    url: Url,
    target: Target,
}

impl Function {
    fn of(
        target: Target,
        sender: Sender,
        environment: Environment,
        freezes: bool,
    ) -> Result<Self, String> {
        let environment = Arc::new(environment);
        let url = Url::open(sender, &environment, freezes).map_err(|error| error.to_string())?;
        Ok(Self { environment, url, target })
    }

    fn client(&self) -> Client {
        Client::new(self.url.address())
    }

    /// Below the directory of another context.
    fn at(&self, prefix: &str) -> Context {
        let client = Arc::new(self.client());
        Context { target: self.target, client, prefix: prefix.to_owned() }
    }
}

/// The exchanges of the suite that are not about watches: the best proof that it is the same router.
fn exchanges(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let environment = Environment::on_table(&bench.table, &bench.way.url(), &[])?;
    let function = Function::of(context.target, Sender::FunctionUrl, environment, true)?;
    let client = Arc::new(function.client());
    let mut problems = Vec::new();
    let mut count = 0;
    for (area, cases) in scripts::areas() {
        for case in cases {
            let below = Context::new(context.target, Arc::clone(&client))?;
            count += 1;
            if let Err(problem) = (case.run)(&below) {
                problems.push(format!("{area}: {}: {problem}", case.name));
            }
        }
    }
    expect(count > 140, || format!("only {count} cases"))?;
    expect(problems.is_empty(), || problems.join("\n"))?;
    bench.check_denied()
}

/// The exchanges about users and roles, each on a keyspace of its own.
fn users(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    for (number, case) in scripts::auth_scripts()?.into_iter().enumerate() {
        let keyspace = format!("own-{number}");
        let settings = [("ETCDYNAMO_KEYSPACE", keyspace.as_str())];
        let environment = Environment::on_table(&bench.table, &bench.engine.url(), &settings)?;
        let function = Function::of(context.target, Sender::FunctionUrl, environment, false)?;
        let own = Context::new(context.target, Arc::new(function.client()))?;
        case.run(&own.client, &own.prefix)
            .map_err(|problem| format!("{}: {problem}", case.name))?;
    }
    Ok(())
}

fn senders(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let there = bench.gateway()?;
    for sender in [Sender::FunctionUrl, Sender::HttpApi, Sender::RestApi, Sender::Balancer] {
        reaches(&bench, &there, sender).map_err(|problem| format!("{sender:?}: {problem}"))?;
    }
    bench.check_denied()
}

/// What one sender tells arrives as it was meant, and its answers arrive whole.
fn reaches(bench: &Bench, there: &Context, sender: Sender) -> Outcome {
    let function = bench.function(sender, &[])?;
    let client = function.client();
    let ask = |method: &str, key: &str, form: Option<&str>| {
        let base = format!("{}{}", sender.prefix(), there.path(&format!("/{sender:?}")));
        let request = Request::new(method, &format!("{base}{key}"));
        let request = form.map_or(request.clone(), |form| request.form(form));
        client.send(&request).map_err(|error| error.to_string())
    };
    // The key as the client writes it, and as any other gateway shows it.
    for (written, shown) in [
        ("/plain", "/plain"),
        ("/a%2Fb", "/a/b"),
        ("/a%20b", "/a b"),
        ("/a+b", "/a+b"),
        ("/%C3%A9%E2%82%AC", "/\u{e9}\u{20ac}"),
        ("/100%25", "/100%"),
        ("/%2541", "/%41"),
        ("/hash%23;=@", "/hash#;=@"),
    ] {
        let put = ask("PUT", written, Some("value=a%20%2B+%25"))?;
        let node = success(&put)?;
        let key = there.key(&format!("/{sender:?}{shown}"));
        expect_equal("key", text(&node, "node.key")?, key)?;
        expect_equal("value", text(&node, "node.value")?, "a + %".to_owned())?;
        expect(put.header("X-Etcd-Index").is_some(), || put.describe())?;
        let got = ask("GET", &format!("{written}?quorum=true&sorted=true"), None)?;
        expect_equal(written, success(&got)?.get("node"), node.get("node"))?;
    }
    let swapped = ask("PUT", "/plain?prevValue=a+%2B%20%25&prevValue=x", Some("value=2"))?;
    expect_equal("action", text(&success(&swapped)?, "action")?, "compareAndSwap".to_owned())?;
    expect_error(&ask("PUT", "/plain?prevValue=no", Some("value=3"))?, 101, "[no != 2]")?;
    expect_status(&ask("HEAD", "/plain", None)?, 200)?;
    let listed = success(&ask("GET", "?recursive=true&sorted=true", None)?)?;
    expect(listed.list("node.nodes").len() >= 7, || format!("{listed:?}"))?;
    let moved = ask("GET", "//plain", None)?;
    expect_status(&moved, 301)?;
    let location = format!("{}{}", sender.prefix(), there.path(&format!("/{sender:?}/plain")));
    expect_equal("Location", moved.header("Location"), Some(location.as_str()))?;
    let target = format!("{}/v2/machines", sender.prefix());
    let machines = client.send(&Request::new("GET", &target)).map_err(|error| error.to_string())?;
    let scheme = if sender == Sender::Balancer { "http" } else { "https" };
    let url = format!("{scheme}://{}{}", sender.domain(), sender.prefix());
    expect_equal("machines", machines.text(), url)?;
    expect(function.environment.log_text().contains(CLIENT), || {
        "no address in its log".to_owned()
    })?;
    success(&ask("DELETE", "?recursive=true", None)?).map(|_| ())
}

/// Through a stage of an API; without asking for the members, whose URL is one of AWS's.
fn etcdctl(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let function = bench.function(Sender::HttpApi, &[])?;
    let endpoint = format!("http://{}/prod", function.url.address());
    let run = |arguments: &[&str], said: &str| -> Outcome {
        let mut command = Command::new(program("ETCDCTL_BIN", &tool("bin/etcdctl")));
        command.env("ETCDCTL_API", "2").args(["--no-sync", "--endpoints", &endpoint]);
        let done = command.args(arguments).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        expect(text.contains(said), || format!("{arguments:?}: {text}"))
    };
    run(&["set", "/app/a b", "50% \u{e9}"], "50% \u{e9}")?;
    run(&["get", "/app/a b"], "50% \u{e9}")?;
    run(&["mk", "/app/a b", "x"], "105: Key already exists (/app/a b)")?;
    run(&["set", "--swap-with-value", "no", "/app/a b", "x"], "101: Compare failed")?;
    run(&["mkdir", "/app/d"], "")?;
    run(&["ls", "-r", "--sort", "-p", "/"], "/app/\n/app/a b\n/app/d/\n")?;
    run(&["user", "add", "root:pw"], "User root created")?;
    run(&["role", "list"], "root")?;
    run(&["rm", "-r", "/app"], "")?;
    run(&["get", "/app/a b"], "100: Key not found (/app)")
}

fn refusals(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let there = bench.gateway()?;
    let function = bench.function(Sender::FunctionUrl, &[])?;
    let here = function.at(&there.prefix);
    for watch in ["?wait=true&recursive=true", "/f?wait=true&waitIndex=1", "?wait=true&stream=true"]
    {
        expect_error(&here.get(watch)?, 209, "watch is off on this gateway (--watch)")?;
    }
    expect_error(&here.put("/f", "ttl=soon")?, 202, r#"invalid value for "ttl""#)?;
    // Of escapes, most of what is told of a value grows in JSON that is in JSON.
    let value = "%22".repeat(300_000);
    for file in 0..10 {
        expect_status(&there.put(&format!("/large/{file}"), &format!("value={value}"))?, 201)?;
    }
    expect_status(&here.get("/large/1")?, 200)?;
    let error = here.get("/large")?;
    expect_status(&error, 400)?;
    let cause = text(&error.json()?, "cause")?;
    expect(cause.ends_with("over the limit of 6291456 bytes of AWS Lambda"), || cause.clone())?;
    // What is no HTTP is an error of the function, and the next event is answered.
    for event in [json!({}), json!([1]), json!({"Records": [{"eventSource": "aws:sqs"}]})] {
        match function.environment.invoke(&event)? {
            Told::Error(error) => expect(error["errorMessage"].is_string(), || error.to_string())?,
            Told::Answer(answer) => return Err(format!("{event} is answered with {answer}")),
        }
    }
    expect_status(&here.get("/large/1")?, 200)
}

fn beside(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let there = bench.gateway()?;
    let functions = [
        bench.function(Sender::FunctionUrl, &[])?,
        bench.function(Sender::HttpApi, &[("ETCDYNAMO_READ_CONSISTENCY", "strong")])?,
    ];
    let (first, second) = (functions[0].at(&there.prefix), functions[1].client());
    let base = format!("/prod{}", there.path("/d/f"));
    let ask = |request: &Request| second.send(request).map_err(|error| error.to_string());
    let mut last = 0;
    for round in 0..10 {
        let by = |who: &str| format!("value={who}{round}");
        for (who, answer) in [
            ("g", there.put("/d/f", &by("g"))?),
            ("a", first.put("/d/f", &by("a"))?),
            ("b", ask(&Request::new("PUT", &base).form(&by("b")))?),
        ] {
            success(&answer)?;
            expect(index(&answer)? > last, || format!("{who}: {} after {last}", answer.text()))?;
            last = index(&answer)?;
        }
        let stale = first.put(&format!("/d/f?prevValue=g{round}"), "value=x")?;
        expect_error(&stale, 101, &format!("[g{round} != b{round}]"))?;
        let shown = [there.get("/d/f")?, first.get("/d/f")?, ask(&Request::new("GET", &base))?];
        for answer in shown {
            expect_equal("index", number(&answer.json()?, "node.modifiedIndex")?, last)?;
        }
    }
    expect_equal("exit code", functions[0].environment.terminate()?, Some(0))?;
    bench.check_denied()
}

fn stillness(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let there = bench.gateway()?;
    let function = bench.function(Sender::FunctionUrl, &[])?;
    let here = function.at(&there.prefix);
    let administer = |method: &str, target: &str, body: &str| -> Outcome {
        let request = Request::new(method, target).body(body).header(ROOT.0, ROOT.1);
        let answer = there.send(&request)?;
        expect(answer.status() < 300, || answer.describe())
    };
    expect_status(&here.put("/open", "value=1")?, 201)?;
    expect_status(&here.put("/d?dir=true", "ttl=4")?, 201)?;
    expect_status(&here.put("/d/f", "value=1")?, 201)?;
    function.environment.freeze()?;
    administer("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#)?;
    administer("PUT", "/v2/auth/roles/guest", r#"{"role":"guest"}"#)?;
    administer("PUT", "/v2/auth/enable", "")?;
    // The connections that it had are gone when it goes on.
    bench.way.refuse_connections(Duration::from_millis(100));
    wait::pass(LONG);
    function.environment.thaw()?;
    expect_status(&here.get("/open")?, 401)?;
    // One that starts lets nobody through before it knows.
    let fresh = bench.function(Sender::FunctionUrl, &[])?;
    expect_status(&fresh.at(&there.prefix).get("/open")?, 401)?;
    let request = Request::new("GET", &here.path("/d/f")).header(ROOT.0, ROOT.1);
    expect_error(&here.send(&request)?, 100, &here.key("/d"))?;
    function.environment.freeze()?;
    administer("DELETE", "/v2/auth/enable", "")?;
    wait::pass(LONG);
    function.environment.thaw()?;
    expect_status(&here.get("/open")?, 200)?;
    // With nobody else there, it removes by itself what is overdue.
    let Bench { mut gateway, way, table, engine, target } = bench;
    expect_status(&there.put("/e?dir=true", "ttl=3")?, 201)?;
    expect_status(&there.put("/e/f", "value=1")?, 201)?;
    function.environment.freeze()?;
    gateway.stop()?;
    wait::pass(Duration::from_secs(4));
    function.environment.thaw()?;
    expect_error(&here.get("/e/f")?, 100, &here.key("/e"))?;
    drop((way, table, engine, target));
    Ok(())
}

/// Frozen with its commit on the way, which arrives late or never; others wrote meanwhile or did not.
fn frozen_write(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let there = bench.gateway()?;
    let environment = Environment::on_table(&bench.table, &bench.way.url(), &[])?;
    let event = |form: &str, query: &str| {
        json!({
            "version": "2.0",
            "rawPath": there.path("/f"),
            "rawQueryString": query,
            "headers": { "content-type": "application/x-www-form-urlencoded" },
            "requestContext": {
                "http": { "method": "PUT", "sourceIp": CLIENT },
                "stage": "$default",
                "domainName": Sender::FunctionUrl.domain()
            },
            "body": form
        })
    };
    success(&there.put("/f", "value=0")?)?;
    // Its sign of life is left before, so that the next write is that of the key.
    environment.invoke(&event("value=1", ""))?.answer()?;
    let mut known = 0;
    for (round, (moment, others_write, frozen)) in [
        (Moment::Before, true, SHORT),
        (Moment::After, true, SHORT),
        (Moment::Before, false, SHORT),
        // Its request has timed out when it goes on.
        (Moment::Before, true, LONG),
        (Moment::After, true, LONG),
    ]
    .into_iter()
    .enumerate()
    {
        let before = success(&there.get("/f")?)?;
        let (value, at) = (text(&before, "node.value")?, number(&before, "node.modifiedIndex")?);
        let about = format!("{}/f", there.prefix);
        let held = bench.way.hold(Hold { nth: 1, moment, about });
        let asked = environment.begin_invoke(&event("value=late", &format!("prevValue={value}")));
        held.wait(PATIENCE).ok_or("its write did not come")?;
        environment.stop()?;
        let between = if others_write {
            let put = there.put("/f", &format!("value=other-{round}"))?;
            Some(number(&success(&put)?, "node.modifiedIndex")?)
        } else {
            None
        };
        wait::pass(frozen);
        held.release();
        environment.thaw()?;
        let answer = asked.wait(PATIENCE).ok_or("no answer")?.answer()?;
        check_late(&answer, moment, between)?;
        let after = success(&there.get("/f?quorum=true")?)?;
        let now = number(&after, "node.modifiedIndex")?;
        expect(now > at && now >= between.unwrap_or(0), || format!("{now} after {between:?}"))?;
        let shown = text(&after, "node.value")?;
        let expected = if others_write { format!("other-{round}") } else { "late".to_owned() };
        // Without an answer it may have been either.
        if answer["statusCode"] != 500 {
            expect_equal("value", shown, expected)?;
            known += 1;
        }
    }
    // How many are found out in time depends on the machine; that none is would be a defect.
    expect(known > 0, || "no outcome was found out".to_owned())?;
    bench.check_denied()
}

/// A compareAndSwap was answered truthfully, however late.
fn check_late(answer: &Value, moment: Moment, between: Option<u64>) -> Outcome {
    let status = answer["statusCode"].as_u64().unwrap_or_default();
    let expected = match (moment, between) {
        // Another one came first, so the condition fails.
        (Moment::Before, Some(_)) => 412,
        // It happened, whatever was written over it.
        (Moment::After, _) | (Moment::Before, None) => 200,
    };
    expect(status == expected || status == 500, || format!("{expected} or 500, and not {answer}"))
}

fn failed_starts(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    let url = bench.engine.url();
    let table = [
        ("ETCDYNAMO_TABLE", bench.table.as_str()),
        ("ETCDYNAMO_ENDPOINT_URL", url.as_str()),
        ("ETCDYNAMO_REGION", "us-east-1"),
    ];
    let told = |settings: &[(&str, &str)], code: i32, words: &[&str]| -> Outcome {
        let (report, exit) = Environment::fail(settings)?;
        let message = report["errorMessage"].as_str().unwrap_or_default();
        for word in words {
            expect(message.contains(word), || format!("no {word:?} in {message:?}"))?;
        }
        expect_equal("exit code", exit, Some(code))
    };
    told(&[], 64, &["--store", "--table"])?;
    let wrong = [
        ("ETCDYNAMO_LISTEN_CLIENT_URLS", "http://0.0.0.0:2379"),
        ("ETCDYNAMO_CERT_FILE", "server.pem"),
        ("ETCDYNAMO_LISTEN_METRICS_URLS", "http://0.0.0.0:9102"),
        ("ETCDYNAMO_WATCH", "streams"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
    ];
    let named =
        ["--listen-client-urls", "--cert-file", "--listen-metrics-urls", "--watch", "SnapStart"];
    told(&[&table[..], &wrong].concat(), 64, &named)?;
    let missing = [("ETCDYNAMO_TABLE", "nobody-made-it"), table[1], table[2]];
    told(&missing, 1, &["--table nobody-made-it"])
}
