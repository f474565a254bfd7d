//! Beginnings and ends as load balancers and supervisors see them: probes, the delay before the
//! end, a second signal, a start that takes long. etcdynamo's own promises; etcd has none of them.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use compat_tests::http::{Client, Connection, Request};
use compat_tests::process::Process;
use compat_tests::server::{Target, etcdynamo};
use compat_tests::wait;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status};
use super::watcher::PATIENCE;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = Vec::new();
    if target.is_etcdynamo() {
        cases.push(Case::new("a server that serves is live and ready", probes));
    }
    if target.is_etcdynamo() && target != Target::Url {
        cases.push(Case::alone("it serves on while load balancers take notice", delay));
        cases.push(Case::alone("the delay ends by itself, and the exit code is 0", short_delay));
        cases.push(Case::alone("a second signal ends it at once", second_signal));
    }
    if target == Target::Embedded {
        cases.push(Case::new(
            "probes are answered while it starts, and it can be stopped",
            starting,
        ));
    }
    if target.is_dynamodb() {
        cases.push(Case::alone("metrics name the keyspace and time calls", metrics));
    }
    cases
}

fn get(client: &Client, path: &str) -> Result<compat_tests::http::Answer, String> {
    client.send(&Request::new("GET", path)).map_err(|error| format!("{path}: {error}"))
}

fn probes(context: &Context) -> Outcome {
    for path in ["/livez", "/readyz"] {
        let answer = get(&context.client, path)?;
        expect_status(&answer, 200)?;
        expect_equal(path, answer.text().as_str(), "ok\n")?;
    }
    Ok(())
}

/// Waits until a server on which the end was announced says so.
fn wait_until_not_ready(client: &Client) -> Outcome {
    let noticed = wait::until(PATIENCE, || {
        get(client, "/readyz").ok().filter(|answer| answer.status() == 503)
    });
    let answer = noticed.ok_or("it stayed ready")?;
    expect_equal("why", answer.text().as_str(), "not ready: the server is shutting down\n")
}

fn delay(context: &Context) -> Outcome {
    let (mut server, own) = context.own_server_with(&["--shutdown-delay-ms", "600000"])?;
    let mut open = Connection::open(server.address()).map_err(|error| error.to_string())?;
    let first = Request::new("GET", &own.path("?quorum=true"));
    expect_status(&open.send(&first).map_err(|error| error.to_string())?, 200)?;
    server.terminate()?;
    // New connections, each.
    wait_until_not_ready(&Client::new(server.address()))?;
    expect_status(&get(&Client::new(server.address()), "/livez")?, 200)?;
    let new = Client::new(server.address());
    let written = new.send(&Request::new("PUT", &own.path("/late")).form("value=1"));
    let written = written.map_err(|error| error.to_string())?;
    expect_status(&written, 201)?;
    expect_equal("Connection", written.header("Connection"), Some("close"))?;
    // One that was open before hears it too, and is closed with that.
    let ready = open.send(&Request::new("GET", "/readyz")).map_err(|error| error.to_string())?;
    expect_status(&ready, 503)?;
    expect(open.is_closed_within(PATIENCE), || "it was not closed".to_owned())?;
    server.kill();
    Ok(())
}

fn short_delay(context: &Context) -> Outcome {
    let (mut server, own) = context.own_server_with(&["--shutdown-delay-ms", "300"])?;
    own.put("/f", "value=1")?;
    let began = Instant::now();
    let status = server.stop()?;
    expect_equal("exit code", status.code(), Some(0))?;
    let took = began.elapsed();
    expect(took >= Duration::from_millis(300), || format!("it ended after {took:?}"))?;
    let log = server.log_text();
    expect(log.contains("shutting down") && log.contains("stopped"), || log.clone())
}

fn second_signal(context: &Context) -> Outcome {
    let (mut server, _) = context.own_server_with(&["--shutdown-delay-ms", "600000"])?;
    server.terminate()?;
    wait_until_not_ready(&server.client())?;
    server.terminate()?;
    let status = server.wait(PATIENCE)?;
    expect_equal("exit code", status.code(), Some(143))
}

/// An endpoint that takes connections and never says anything.
fn silent_endpoint() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    thread::spawn(move || {
        let mut taken = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            taken.push(stream);
        }
    });
    Ok(format!("http://{address}"))
}

/// A port that nobody listens at by now.
fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

fn starting(_: &Context) -> Outcome {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (address, endpoint) = (free_address()?, silent_endpoint()?);
    let mut command = etcdynamo();
    command
        .args(["--listen-client-urls", &format!("http://{address}"), "--table", "silent"])
        .args(["--region", "us-east-1", "--endpoint-url", &endpoint])
        .args(["--request-timeout-ms", "100"])
        .stdout(Stdio::null());
    let mut gateway = Process::spawn(&mut command, &directory.path().join("log"))?;
    let client = Client::new(&address);
    let live = wait::until(PATIENCE, || get(&client, "/livez").ok());
    expect_status(&live.ok_or_else(|| gateway.complaints())?, 200)?;
    let ready = get(&client, "/readyz")?;
    expect_status(&ready, 503)?;
    expect_equal("why", ready.text().as_str(), "not ready: the server is starting\n")?;
    expect_status(&get(&client, "/health")?, 503)?;
    let early = get(&client, "/v2/keys/a")?;
    expect_status(&early, 503)?;
    expect_equal("Retry-After", early.header("Retry-After"), Some("1"))?;
    gateway.terminate()?;
    let status = gateway.wait(PATIENCE)?;
    let mut log = String::new();
    let file = std::fs::File::open(directory.path().join("log"));
    file.and_then(|mut file| file.read_to_string(&mut log)).map_err(|error| error.to_string())?;
    expect_equal("exit code", status.code(), Some(0)).map_err(|problem| format!("{problem}\n{log}"))
}

fn metrics(context: &Context) -> Outcome {
    let (_server, own) = context.own_server_with(&["--keyspace", "mine"])?;
    own.put("/f", "value=1")?;
    own.get("/f")?;
    let text = get(&own.client, "/metrics")?.text();
    for line in [
        r#"etcdynamo_write_request_units_total{keyspace="mine",operation="set"} "#,
        r#"etcdynamo_read_request_units_total{keyspace="mine",operation="get"} 1"#,
        r#"etcdynamo_dynamodb_calls_total{operation="UpdateItem",outcome="conditionFailed"} "#,
        r#"etcdynamo_dynamodb_calls_total{operation="GetItem",outcome="done"} "#,
        r#"etcdynamo_dynamodb_call_duration_seconds_count{operation="GetItem"} "#,
        "etcdynamo_clock_ahead_ms ",
        "process_resident_memory_bytes ",
    ] {
        expect(text.lines().any(|shown| shown.starts_with(line)), || format!("no {line}"))?;
    }
    Ok(())
}
