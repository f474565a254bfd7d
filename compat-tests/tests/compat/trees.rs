//! `etcdynamo export`, `verify` and `info` against every server of v2.
//!
//! What is said of a server holds for a real etcd and for etcdynamo on each store alike. What
//! stands against a server that misbehaves does not depend on the target, and runs once.
//! Not here: the format of a dump and what damages it, which the program's own tests show.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use compat_tests::command::run;
use compat_tests::http::Request;
use compat_tests::json::Json;
use compat_tests::secure::{Authority, Secure};
use compat_tests::server::{Target, etcdynamo};
use compat_tests::wait;
use tempfile::TempDir;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_status, number, success, text,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The most memory that an export may take, however large the tree. The program without
/// optimization has some 35 MB by itself.
const MOST_MEMORY: u64 = 64 << 20;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = vec![
        Case::new("what is exported verifies", round_trip),
        Case::new("each difference is found", differences),
        Case::new("a damaged file is no tree", damaged),
        Case::new("info counts, and says what is not known", info),
        Case::alone("credentials are used and not shown", credentials),
    ];
    if matches!(target, Target::Etcd | Target::Embedded) {
        cases.push(Case::alone("a large tree does not need memory", memory));
        cases.push(Case::alone("trees are read by TLS", tls));
    }
    if target == Target::Embedded {
        cases.push(Case::new("very many nodes do not need memory", many_nodes));
        cases.push(Case::new("an answer that is cut leaves no file", cut));
        cases.push(Case::new("a signal leaves no file", signalled));
        cases.push(Case::new("flags that make no sense are refused", mistakes));
    }
    cases
}

/// Where files of a case go.
pub(crate) fn directory() -> Result<TempDir, String> {
    TempDir::with_prefix("compat-trees-").map_err(|error| error.to_string())
}

pub(crate) fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it wrote to its standard output, if its exit code is this.
pub(crate) fn ended(words: &[&str], code: i32) -> Result<String, String> {
    let ran = run(words)?;
    ran.expect(code, &[])?;
    Ok(ran.out)
}

/// What it complained of, if it failed.
pub(crate) fn refused(words: &[&str]) -> Result<String, String> {
    let ran = run(words)?;
    ran.expect(1, &[])?;
    Ok(ran.err)
}

/// Its flags make no sense, and it names the one, but no password.
pub(crate) fn misused(words: &[&str], flag: &str) -> Outcome {
    let ran = run(words)?;
    ran.expect(64, &[flag])?;
    expect(!ran.err.contains("SECRET"), || ran.err.clone())
}

pub(crate) fn name(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

pub(crate) fn url(context: &Context) -> String {
    format!("http://{}", context.client.address())
}

/// Everything that a tree can have, below the case's directory.
fn plant(context: &Context) -> Outcome {
    for (key, form) in [
        ("/a/b", "value=1"),
        // Siblings around the slash, whose order a server might get wrong.
        ("/a%21", "value=%C3%BC%0A%22%5C%00%3C"),
        ("/a-b/c", "value="),
        ("/a.b", "value=dot"),
        ("/a0", "value=0"),
        ("/%C3%A4%0A/x%2525", "value=odd"),
        ("/_hidden/f", "value=h"),
        ("/a/_lock", "value=l"),
        ("/empty", "dir=true"),
        ("/ttl", "value=t&ttl=600"),
        ("/dir/ttl", "dir=true&ttl=600"),
        ("/dir/ttl/f", "value=f"),
    ] {
        let put = context.put(key, form)?;
        expect(matches!(put.status(), 200 | 201), || put.describe())?;
    }
    for _ in 0..3 {
        expect_status(&context.post("/queue", "value=job")?, 201)?;
    }
    Ok(())
}

fn round_trip(context: &Context) -> Outcome {
    plant(context)?;
    let (directory, url) = (directory()?, url(context));
    let file = directory.path().join("dump");
    let (prefix, hidden) = (context.key(""), format!("{0},{0}/none", context.key("/_hidden")));
    let hidden = hidden.replace("/none", "/_none");
    let lock = context.key("/a/_lock");
    let from = ["--from", &url, "--prefix", &prefix, "--hidden", &hidden, "--hidden", &lock];
    ended(&[&["export", name(&file)], &from[..]].concat(), 0)?;
    let dump = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    // 13 files, 9 directories, among them the case's own.
    expect_equal("lines", dump.lines().count(), 22 + 2)?;
    let piped = ended(&[&["export"], &from[..]].concat(), 0)?;
    // But for the time in the first line, and so the checksum in the last one.
    let nodes = |dump: &str| dump.lines().skip(1).take(22).map(str::to_owned).collect::<Vec<_>>();
    expect_equal("nodes", nodes(&piped), nodes(&dump))?;
    let first = Json::parse(dump.lines().next().unwrap_or_default().as_bytes())?;
    expect_equal("source", text(&first, "source")?, url.clone())?;
    expect_equal("server version", text(&first, "serverVersion")?, "3.4.23".to_owned())?;
    expect(number(&first, "index")? > 0, || format!("{first:?}"))?;

    let equal = "equal: 22 nodes\n";
    let by_file = ended(&["verify", "--from", name(&file), "--to", &url], 0)?;
    expect_equal("file and server", by_file.as_str(), equal)?;
    let by_server = ended(&[&["verify", "--to", name(&file)], &from[..]].concat(), 0)?;
    expect_equal("server and file", by_server.as_str(), equal)?;
    let both = ended(&["verify", "--from", &url, "--to", &url, "--prefix", &prefix], 0)?;
    // Without what is hidden.
    expect_equal("server and server", both.as_str(), "equal: 19 nodes\n")
}

fn differences(context: &Context) -> Outcome {
    plant(context)?;
    for key in ["/order/x", "/order/y"] {
        context.put(key, "value=1")?;
    }
    let (directory, url, prefix) = (directory()?, url(context), context.key(""));
    let file = directory.path().join("dump");
    ended(&["export", "--from", &url, "--prefix", &prefix, name(&file)], 0)?;
    let verify = ["verify", "--from", name(&file), "--to", &url];
    ended(&verify, 0)?;

    context.delete("/a.b")?;
    context.put("/more/f", "value=SECRET")?;
    context.put("/a/b", "value=SECRET")?;
    context.delete("/a0")?;
    context.put("/a0", "dir=true")?;
    context.put("/a%21", "value=%C3%BC%0A%22%5C%00%3C&ttl=500")?;
    context.put("/ttl", "value=t&ttl=900")?;
    context.delete("/order/x")?;
    context.put("/order/x", "value=1")?;
    let out = ended(&verify, 1)?;
    let lines: Vec<&str> = out.lines().collect();
    for (key, what) in [
        ("/a.b", "missing"),
        ("/more/f", "only there"),
        ("/more", "only there"),
        ("/a/b", "the values differ"),
        ("/a0", "a file here and a directory there, or the other way round"),
        ("/a!", "expires never here, 20"),
        ("/ttl", "expires 20"),
        ("/order", "its nodes with createdIndex "),
    ] {
        let line = format!("{}: {what}", context.key(key));
        expect(lines.iter().any(|told| told.starts_with(&line)), || format!("no {line}\n{out}"))?;
    }
    // A PUT without a condition makes a node anew, so three of the directory come last as well.
    expect(lines.len() == 11, || format!("not 11 differences:\n{out}"))?;
    expect(!out.contains("SECRET"), || out.clone())?;
    let out = ended(&[&verify[..], &["--max-differences", "2"]].concat(), 1)?;
    expect(out.lines().count() == 3 && out.ends_with("and 9 more\n"), || out.clone())
}

fn damaged(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    let (directory, url, prefix) = (directory()?, url(context), context.key(""));
    let file = directory.path().join("dump");
    ended(&["export", "--from", &url, "--prefix", &prefix, name(&file)], 0)?;
    let dump = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let cut: String = dump.split_inclusive('\n').take(3).collect();
    for (damaged, why) in [
        (dump.replace(r#""value":"1""#, r#""value":"2""#), "line 4: the checksum is not that"),
        (cut, "line 4: the file ends before its last line: it is truncated"),
        (String::new(), "line 1: the file ends before its last line: it is truncated"),
    ] {
        fs::write(&file, damaged).map_err(|error| error.to_string())?;
        let complaint = refused(&["verify", "--from", name(&file), "--to", &url])?;
        expect(complaint.contains(why), || format!("no {why:?} in {complaint}"))?;
    }
    Ok(())
}

fn info(context: &Context) -> Outcome {
    plant(context)?;
    let (url, prefix) = (url(context), context.key(""));
    let words = ["info", &url, "--prefix", &prefix];
    let json = Json::parse(ended(&[&words[..], &["--json"]].concat(), 0)?.as_bytes())?;
    for (field, expected) in [("files", 11), ("directories", 8), ("withTtl", 2)] {
        expect_equal(field, number(&json, &format!("nodes.{field}"))?, expected)?;
    }
    expect(number(&json, "nodes.valueBytes")? >= 20, || format!("{json:?}"))?;
    expect(number(&json, "index")? > 0, || format!("{json:?}"))?;
    number(&json, "watchers")?;
    let member = context.send(&Request::new("GET", "/v2/stats/self"))?;
    expect_equal("member", text(&json, "memberId")?, text(&success(&member)?, "id")?)?;
    let people = ended(&words, 0)?;
    expect(people.contains("files                 11\n"), || people.clone())?;
    if !context.target.is_etcdynamo() {
        expect_equal("kind", text(&json, "kind")?.as_str(), "etcd")?;
        return expect_equal("etcdynamo", json.get("etcdynamo"), Some(&Json::Null));
    }
    expect_equal("kind", text(&json, "kind")?.as_str(), "etcdynamo")?;
    if !context.target.is_dynamodb() {
        expect_equal("store", text(&json, "etcdynamo.store")?.as_str(), "embedded")?;
        return expect_equal("units", json.at("etcdynamo.consumedMeanwhile"), Some(&Json::Null));
    }
    expect_equal("store", text(&json, "etcdynamo.store")?.as_str(), "dynamodb")?;
    expect_equal("keyspace", text(&json, "etcdynamo.keyspace")?.as_str(), "default")?;
    let read = json.at("etcdynamo.consumedMeanwhile.read");
    let is_some = matches!(read, Some(Json::Float(units)) if *units > 0.0);
    expect(is_some, || format!("{read:?}"))?;
    expect(people.contains("units meanwhile       "), || people.clone())
}

fn credentials(context: &Context) -> Outcome {
    // As root:p@ss.
    const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwQHNz");
    let (_server, own) = context.own_server()?;
    own.put("/f", "value=1")?;
    for (path, body) in [
        ("/v2/auth/users/root", r#"{"user":"root","password":"p@ss"}"#),
        ("/v2/auth/enable", ""),
        (
            "/v2/auth/roles/guest",
            r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#,
        ),
    ] {
        let request = Request::new("PUT", path).header(ROOT.0, ROOT.1).body(body);
        let answer = own.send(&request)?;
        expect(matches!(answer.status(), 200 | 201), || answer.describe())?;
    }
    let address = own.client.address();
    let (plain, with) = (url(&own), format!("http://root:p%40ss@{address}"));
    for words in [&["export", "--from", &plain][..], &["info", &plain]] {
        let complaint = refused(words)?;
        expect(complaint.contains("110: "), || complaint.clone())?;
    }
    let output = etcdynamo()
        .arg("export")
        .env("ETCDYNAMO_FROM", &with)
        .output()
        .map_err(|error| error.to_string())?;
    let (dump, said) = (told(&output.stdout), told(&output.stderr));
    expect(output.status.success() && dump.contains(r#""value":"1""#), || said.clone())?;
    expect(dump.contains(&format!(r#""source":"{plain}""#)), || dump.clone())?;
    expect(!dump.contains("p%40ss") && !said.contains("p%40ss"), || format!("{dump}{said}"))?;
    ended(&["verify", "--from", &with, "--to", &with], 0).map(drop)
}

/// Starts an export to its standard output, and looks at its memory when so much has come.
fn memory_of_export(url: &str, until_bytes: usize) -> Result<(u64, Vec<u8>), String> {
    let mut export = etcdynamo()
        .args(["export", "--from", url])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let looked = look_at_memory(&mut export, until_bytes);
    // It ended by itself, or is of no more use.
    let _ = export.kill();
    let _ = export.wait();
    looked
}

fn look_at_memory(export: &mut Child, until_bytes: usize) -> Result<(u64, Vec<u8>), String> {
    let mut out = export.stdout.take().ok_or("its output is not piped")?;
    let mut dump = vec![0; until_bytes];
    out.read_exact(&mut dump).map_err(|error| format!("it ended early: {error}"))?;
    // It waits now: nobody reads.
    let status = fs::read_to_string(format!("/proc/{}/status", export.id()));
    let status = status.map_err(|error| error.to_string())?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    out.read_to_end(&mut dump).map_err(|error| error.to_string())?;
    Ok((kib.ok_or(status)? << 10, dump))
}

fn last_line(dump: &[u8]) -> String {
    told(&dump[dump.len().saturating_sub(120)..]).lines().last().unwrap_or_default().to_owned()
}

fn memory(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    let form = format!("value={}", "x".repeat(64 << 10));
    for number in 0..2048 {
        expect_status(&own.put(&format!("/large/{number}"), &form)?, 201)?;
    }
    let (peak, dump) = memory_of_export(&url(&own), 120 << 20)?;
    expect(dump.len() > 128 << 20, || format!("{} bytes", dump.len()))?;
    let last = last_line(&dump);
    // The case's own directory, and the large one.
    expect(last.starts_with(r#"{"nodes":2050,"#), || last)?;
    expect(peak < MOST_MEMORY, || format!("it took {peak} bytes"))
}

/// A server that has one answer to all listings, made by `answer`, none to anything else, and
/// closes.
fn server(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                if head.starts_with(b"GET /v2/keys") {
                    answer(&mut stream);
                } else {
                    let _ = stream.write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
    });
    Ok(format!("http://{address}"))
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nConnection: close\r\n";

fn node(number: usize) -> String {
    let (indexes, value) = (r#""modifiedIndex":4,"createdIndex":4"#, "v".repeat(300));
    format!(r#"{{"key":"/d/{number:07}","value":"{value}",{indexes}}}"#)
}

const BEGIN: &str =
    r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/d","dir":true,"nodes":["#;
const END: &str = r#"],"modifiedIndex":4,"createdIndex":4}]}}"#;

fn many_nodes(_: &Context) -> Outcome {
    const NODES: usize = 300_000;
    let length = BEGIN.len() + NODES * (node(0).len() + 1) - 1 + END.len();
    let url = server(move |stream| {
        let mut out = std::io::BufWriter::new(stream);
        // Whoever is not there to read any more is the one who failed.
        let _ = write!(out, "{HEAD}Content-Length: {length}\r\n\r\n{BEGIN}{}", node(0));
        for number in 1..NODES {
            let _ = write!(out, ",{}", node(number));
        }
        let _ = out.write_all(END.as_bytes()).and_then(|()| out.flush());
    })?;
    let (peak, dump) = memory_of_export(&url, 100 << 20)?;
    let last = last_line(&dump);
    expect(last.starts_with(r#"{"nodes":300001,"#), || last)?;
    expect(peak < MOST_MEMORY, || format!("it took {peak} bytes"))
}

/// The names in a directory.
fn names(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

fn cut(_: &Context) -> Outcome {
    let url = server(|stream| {
        let _ = write!(stream, "{HEAD}Content-Length: 100000\r\n\r\n{BEGIN}{},", node(1));
    })?;
    let directory = directory()?;
    let file = directory.path().join("dump");
    let complaint = refused(&["export", "--from", &url, name(&file)])?;
    expect(complaint.contains("breaks off"), || complaint.clone())?;
    expect_equal("files", names(directory.path())?, Vec::new())?;
    // What was there before stays.
    fs::write(&file, "before").map_err(|error| error.to_string())?;
    refused(&["export", "--from", &url, name(&file)])?;
    let left = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    expect_equal("file", left.as_str(), "before")?;
    expect_equal("files", names(directory.path())?, vec![file])?;
    let complaint = refused(&["verify", "--from", &url, "--to", &url])?;
    expect(complaint.contains("breaks off"), || complaint.clone())?;
    let complaint = refused(&["info", &url])?;
    expect(complaint.contains("breaks off"), || complaint)
}

fn signalled(_: &Context) -> Outcome {
    for signal in ["-INT", "-TERM"] {
        let url = server(|stream| {
            let _ = write!(stream, "{HEAD}Content-Length: 100000\r\n\r\n{BEGIN}{},", node(1));
            // Until the client is gone.
            let _ = stream.read(&mut [0]);
        })?;
        let directory = directory()?;
        let file = directory.path().join("dump");
        let mut export = etcdynamo()
            .args(["export", "--from", &url, name(&file)])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let begun =
            wait::until(PATIENCE, || names(directory.path()).ok().filter(|names| names.len() == 1));
        let begun = begun.ok_or("it did not begin");
        let sent = Command::new("kill").args([signal, &export.id().to_string()]).status();
        let ended = wait::until(PATIENCE, || export.try_wait().ok().flatten());
        let _ = export.kill();
        let output = export.wait_with_output().map_err(|error| error.to_string())?;
        let begun = begun?;
        expect(sent.is_ok_and(|sent| sent.success()), || "no signal was sent".to_owned())?;
        expect(!begun.contains(&file), || "it wrote in place".to_owned())?;
        let ended = ended.ok_or("it did not end")?;
        let complaint = told(&output.stderr);
        expect_equal(&complaint, ended.code(), Some(1))?;
        expect(complaint.contains("no file was written"), || complaint.clone())?;
        expect_equal("files", names(directory.path())?, Vec::new())?;
    }
    Ok(())
}

fn tls(context: &Context) -> Outcome {
    let authority = Authority::new()?;
    let (shown, own) = (authority.sign("server")?, authority.sign("alice")?);
    let ca = authority.file();
    let flags = ["--trusted-ca-file", name(&ca), "--client-cert-auth"];
    let server = Secure::start(context.target, &shown, &flags)?;
    let plain = compat_tests::http::Client::new(&server.plain);
    let put = plain.send(&Request::new("PUT", "/v2/keys/f").form("value=1"));
    expect_status(&put.map_err(|error| error.to_string())?, 201)?;
    let port = server.secure.rsplit(':').next().unwrap_or_default();
    let url = format!("https://localhost:{port}");
    let trust = ["--trusted-ca-file", name(&ca)];
    let certificate = ["--cert-file", name(&own.cert), "--key-file", name(&own.key)];
    let flags = [&trust[..], &certificate[..]].concat();
    let dump = ended(&[&["export", "--from", &url], &flags[..]].concat(), 0)?;
    expect(dump.contains(r#"{"key":"/f","value":"1","#), || dump.clone())?;
    ended(&[&["verify", "--from", &url, "--to", &url], &flags[..]].concat(), 0)?;
    let people = ended(&[&["info", &url], &flags[..]].concat(), 0)?;
    expect(people.contains("files                 1\n"), || people.clone())?;
    let now = ["--retry-ms", "0"];
    refused(&[&["export", "--from", &url], &trust[..], &now].concat())?;
    refused(&[&["export", "--from", &url], &certificate[..], &now].concat()).map(drop)
}

fn mistakes(context: &Context) -> Outcome {
    let url = url(context);
    for (words, why) in [
        (&["export"][..], "--from"),
        (&["export", "--from", "nowhere"], "--from"),
        (&["export", "--from", &url, "--hidden", "/a"], "--hidden"),
        (&["verify", "--from", &url], "--to"),
        (&["verify", "--from", &url, "--to", &url, "--max-differences", "x"], "--max-differences"),
        (&["info", "http://u:SECRET@host/path"], "server"),
    ] {
        misused(words, why)?;
    }
    let nobody = refused(&["export", "--from", "http://127.0.0.1:1", "--retry-ms", "0"])?;
    expect(nobody.contains("http://127.0.0.1:1 cannot be asked"), || nobody.clone())
}
