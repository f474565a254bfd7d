//! Ends and beginnings: kill -9, SIGTERM, restarts, wrong flags, a directory in use.
//!
//! Each case has servers of its own. What concerns data holds on a real etcd as well; what
//! concerns exit codes and messages is etcdynamo's own promise.

use std::fs;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use compat_tests::http::{Connection, Piece, Request};
use compat_tests::server::{Server, Target, etcdynamo};
use compat_tests::wait;
use fastrand::Rng;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, success, text,
};
use super::differential::setting;
use super::watcher::{PATIENCE, Watch};

const WRITERS: usize = 64;
const ROUNDS: usize = 3;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = Vec::new();
    if target != Target::Url {
        cases.push(Case::alone("acknowledged writes survive kill -9", kill_keeps_writes));
        cases.push(Case::alone("a restart changes nothing", restart_keeps_all));
    }
    if target == Target::Embedded {
        cases.push(Case::alone("a data directory has one user", one_user));
        cases.push(Case::new("wrong flags are all named at once", wrong_flags));
        cases.push(Case::alone("a command goes on though nobody reads what it says", nobody_reads));
        cases.push(Case::alone(
            "healthcheck tells a server that lives from one that does not",
            health_check,
        ));
    }
    if target.is_etcdynamo() && target != Target::Url {
        cases.push(Case::alone("SIGTERM ends it with 0", sigterm));
        cases.push(Case::alone(
            "it serves the network only with TLS or users or when told to",
            serves_the_network,
        ));
    }
    cases
}

/// What concerns ends and watches both.
pub(crate) fn watch_cases(target: Target) -> Vec<Case> {
    if !target.is_etcdynamo() {
        return Vec::new();
    }
    vec![Case::alone("SIGTERM ends watches", sigterm_ends_watches)]
}

/// The last value that a writer was told is stored, and one that it was never told about.
#[derive(Clone, Debug, Default)]
struct Written {
    acknowledged: Option<(String, u64)>,
    unknown: Option<String>,
    count: usize,
}

fn kill_keeps_writes(context: &Context) -> Outcome {
    let seed = setting("COMPAT_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let (mut server, _) = context.own_server()?;
    for round in 0..ROUNDS {
        // Transactions make the DynamoDB engines slower by far.
        let most = if context.target.is_dynamodb() { 800 } else { 3000 };
        let after = rng.usize(200..most);
        let written = write_and_kill(&mut server, round, after);
        server.restart()?;
        let total: usize = written.iter().map(|one| one.count).sum();
        check_written(&server, round, &written).map_err(|problem| {
            format!("COMPAT_SEED={seed}, round {round}, {total} writes: {problem}")
        })?;
        expect(total >= after, || format!("only {total} writes were acknowledged"))?;
    }
    Ok(())
}

/// Kills the server after about `after` acknowledged writes.
fn write_and_kill(server: &mut Server, round: usize, after: usize) -> Vec<Written> {
    let (count, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let address = server.address().to_owned();
    thread::scope(|scope| {
        let (address, count, stop) = (&address, &count, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(address, round, writer, count, stop)))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while count.load(Ordering::Relaxed) < after && Instant::now() < deadline {
            thread::yield_now();
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap_or_default()).collect()
    })
}

/// Writes one key over and over (create, set, compareAndSwap in turn) until the server is gone.
fn write(
    address: &str,
    round: usize,
    writer: usize,
    count: &AtomicUsize,
    stop: &AtomicBool,
) -> Written {
    let mut written = Written::default();
    let Ok(mut connection) = Connection::open(address) else {
        return written;
    };
    while !stop.load(Ordering::Relaxed) {
        let value = format!("{round}-{writer}-{}", written.count);
        let condition = match &written.acknowledged {
            None => "?prevExist=false".to_owned(),
            Some((_, index)) if written.count % 2 == 0 => format!("?prevIndex={index}"),
            Some(_) => String::new(),
        };
        let target = format!("/v2/keys/round{round}/d{}/k{writer}{condition}", writer % 5);
        let request = Request::new("PUT", &target).form(&format!("value={value}"));
        match connection.send(&request) {
            Ok(answer) if matches!(answer.status(), 200 | 201) => {
                let index = answer.head.number("X-Etcd-Index").unwrap_or_default();
                written.acknowledged = Some((value, index));
                written.count += 1;
                count.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                written.unknown = Some(value);
                return written;
            }
        }
    }
    written
}

fn check_written(server: &Server, round: usize, written: &[Written]) -> Outcome {
    let client = server.client();
    for (writer, one) in written.iter().enumerate() {
        let Some((acknowledged, index)) = &one.acknowledged else {
            continue;
        };
        let target = format!("/v2/keys/round{round}/d{}/k{writer}?quorum=true", writer % 5);
        let answer =
            client.send(&Request::new("GET", &target)).map_err(|error| error.to_string())?;
        let json =
            success(&answer).map_err(|problem| format!("{acknowledged} is lost: {problem}"))?;
        let value = text(&json, "node.value")?;
        let shown = json.number("node.modifiedIndex").unwrap_or_default();
        let kept = value == *acknowledged && shown == *index;
        let newer = one.unknown.as_ref() == Some(&value) && shown > *index;
        expect(kept || newer, || {
            format!("{acknowledged} at {index} was acknowledged, {value} at {shown} is there")
        })?;
    }
    Ok(())
}

fn restart_keeps_all(context: &Context) -> Outcome {
    let (mut server, own) = context.own_server()?;
    own.put("/a/f", "value=1&ttl=1000")?;
    own.put("/a/d?dir=true", "ttl=1000")?;
    own.put("/a/_h", "value=%FF")?;
    own.post("/a/q", "value=1")?;
    own.put("/gone", "value=1")?;
    let last = index(&own.delete("/gone")?)?;
    let before = own.get("/a?recursive=true&sorted=true")?;
    server.restart()?;
    let own = Context {
        target: own.target,
        client: std::sync::Arc::new(server.client()),
        prefix: own.prefix,
    };
    let after = own.get("/a?recursive=true&sorted=true")?;
    // The seconds left may be fewer by now; everything else is as it was.
    let without_ttl = |body: String| {
        body.replace("\"ttl\":999,", "\"ttl\":1000,").replace("\"ttl\":998,", "\"ttl\":1000,")
    };
    expect_equal("tree", without_ttl(after.text()), without_ttl(before.text()))?;
    let id =
        |answer: &compat_tests::http::Answer| answer.header("X-Etcd-Cluster-Id").map(str::to_owned);
    expect_equal("cluster id", id(&after), id(&before))?;
    expect_error(&own.get("/gone")?, 100, &own.key("/gone"))?;
    expect_status(&own.get("/a/_h")?, 200)?;
    let next = index(&own.put("/gone", "value=2")?)?;
    expect(next > last, || format!("index {next} after {last}"))
}

fn sigterm(context: &Context) -> Outcome {
    let (mut server, own) = context.own_server()?;
    own.put("/f", "value=1")?;
    let status = server.stop()?;
    expect_equal("exit code", status.code(), Some(0))?;
    server.restart()?;
    let target = own.path("/f?quorum=true");
    let answer =
        server.client().send(&Request::new("GET", &target)).map_err(|error| error.to_string())?;
    expect_status(&answer, 200)
}

fn sigterm_ends_watches(context: &Context) -> Outcome {
    let (mut server, own) = context.own_server()?;
    let mut watches = Vec::new();
    for query in ["/f?wait=true", "?wait=true&recursive=true&stream=true"] {
        watches.push(Watch::open(&own, query)?);
    }
    let status = server.stop()?;
    expect_equal("exit code", status.code(), Some(0))?;
    for mut watch in watches {
        // Whether the body ends well or breaks off: it must end, and no event may be made up.
        if let Ok(piece @ (Piece::Data(_) | Piece::Silence)) = watch.stream.next(PATIENCE) {
            return Err(format!("a watch got {piece:?}"));
        }
    }
    Ok(())
}

fn serves_the_network(context: &Context) -> Outcome {
    const EVERYWHERE: &str = "http://0.0.0.0:0";
    const ALLOWED: &[&str] = &["--allow-insecure-listen"];
    let (mut server, _) = context.own_server()?;
    let put = |server: &Server, target: &str, body: &str| {
        let request = Request::new("PUT", target);
        let request = request.header("Content-Type", "application/json").body(body);
        server.client().send(&request).map_err(|error| error.to_string())
    };
    let root = put(&server, "/v2/auth/users/root", r#"{"user":"root","password":"secret"}"#)?;
    expect_status(&root, 201)?;
    let refused = server.restart_at(EVERYWHERE, &[]).err().ok_or("it serves everybody")?;
    for word in ["--listen-client-urls", "http://0.0.0.0:", "--allow-insecure-listen"] {
        expect(refused.contains(word), || format!("no {word} in: {refused}"))?;
    }
    server.restart_at(EVERYWHERE, ALLOWED)?;
    expect_status(&put(&server, "/v2/auth/enable", "")?, 200)?;
    server.restart_at(EVERYWHERE, &[])?;
    let log = server.log_text();
    expect(log.contains("have no TLS"), || format!("it says nothing of passwords: {log}"))
}

/// Runs etcdynamo with flags that must end it by itself.
pub(crate) fn ends_with(arguments: &[&str]) -> Result<Output, String> {
    let mut child = etcdynamo()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let ended = wait::until(Duration::from_secs(20), || child.try_wait().transpose());
    if ended.is_none() {
        // Both fail only where it has ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{arguments:?} did not end it"));
    }
    child.wait_with_output().map_err(|error| error.to_string())
}

fn one_user(context: &Context) -> Outcome {
    let (server, _) = context.own_server()?;
    let data = server.data_dir().display().to_string();
    let output = ends_with(&["--listen-client-urls", "http://127.0.0.1:0", "--data-dir", &data])?;
    expect_equal("exit code", output.status.code(), Some(1))?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    expect(complaint.contains(&data), || format!("it does not name the directory: {complaint}"))?;
    let answer = server
        .client()
        .send(&Request::new("PUT", "/v2/keys/still").form("value=1"))
        .map_err(|error| error.to_string())?;
    expect_status(&answer, 201)
}

fn health_check(context: &Context) -> Outcome {
    let (mut server, _) = context.own_server()?;
    let url = format!("http://{}", server.address());
    let check = ["healthcheck", "--listen-client-urls", &url];
    expect_equal("exit code", ends_with(&check)?.status.code(), Some(0))?;
    let elsewhere = ends_with(&[&check[..], &["--path", "/v2/keys/none"]].concat())?;
    expect_equal("exit code", elsewhere.status.code(), Some(1))?;
    server.kill();
    let gone = ends_with(&check)?;
    expect_equal("exit code", gone.status.code(), Some(1))?;
    let complaint = String::from_utf8_lossy(&gone.stderr).into_owned();
    expect(complaint.contains(&url), || format!("it does not say whom it asked: {complaint}"))
}

/// As with `| head`, which leaves in the middle, or a terminal that was closed.
fn nobody_reads(context: &Context) -> Outcome {
    let (server, own) = context.own_server()?;
    own.put("/f", "value=1")?;
    let url = format!("http://{}", server.address());
    let file = server.data_dir().with_file_name("dump").display().to_string();
    let absent = format!("{file}.absent");
    for (command, code) in [
        (&["--help"][..], 0),
        (&["--no-such-flag"], 64),
        (&["healthcheck", "--listen-client-urls", &url], 0),
        (&["info", &url], 0),
        (&["export", "--from", &url, &file], 0),
        (&["verify", "--from", &url, "--to", &file], 0),
        (&["import", "--from", &file, "--to", &url, "--resume"], 0),
        (&["import", "--from", &file, "--to", &url], 1),
        (&["verify", "--from", &url, "--to", &absent], 1),
    ] {
        let mut child = etcdynamo()
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        drop((child.stdout.take(), child.stderr.take()));
        let ended = wait::until(PATIENCE, || child.try_wait().transpose());
        let ended = ended.ok_or("it does not end")?.map_err(|error| error.to_string())?;
        expect_equal(&format!("exit code of {command:?}"), ended.code(), Some(code))?;
    }
    Ok(())
}

fn wrong_flags(_: &Context) -> Outcome {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = directory.path().join("data").display().to_string();
    let output = ends_with(&[
        "--data-dir",
        &data,
        "--listen-client-urls",
        "ftp://x",
        "--read-consistency",
        "maybe",
    ])?;
    expect_equal("exit code", output.status.code(), Some(64))?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    for flag in ["--listen-client-urls", "--read-consistency"] {
        expect(complaint.contains(flag), || format!("it does not name {flag}: {complaint}"))?;
    }
    expect(fs::metadata(&data).is_err(), || "it made a data directory".to_owned())?;
    let unknown = ends_with(&["--no-such-flag"])?;
    expect_equal("exit code", unknown.status.code(), Some(64))
}
