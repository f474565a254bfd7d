//! `etcdynamo import` from a file and from servers, into servers.
//!
//! Between a real etcd and each target, both ways. Sources are etcds of the case's own, so that a
//! tree there and one here have the same keys below the case's directory. Held is what is there
//! afterwards, by `verify` and by looking. Not here: what changes meanwhile (`follows`).

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use compat_tests::http::{Answer, Client, Request};
use compat_tests::relay::Relay;
use compat_tests::secure::{Authority, Secure};
use compat_tests::server::{Server, Target, etcdynamo};
use compat_tests::wait;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, number, success,
    text,
};
use super::trees::{directory, ended, misused, name, refused, told, url};

/// The most memory that an import may take of a tree of 128 MiB.
const MOST_MEMORY: u64 = 112 << 20;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = vec![
        Case::new("a tree moves in from etcd", from_etcd),
        Case::new("a tree moves out to etcd", to_etcd),
        Case::new("a target that holds nodes is refused or completed", occupied),
        Case::new("a file that is not whole changes nothing", damaged),
        Case::new("an import that was killed is resumed", killed),
        Case::alone("wrong credentials change nothing", credentials),
    ];
    if target.is_dynamodb() {
        cases.push(Case::new("what the target does not take is told", limits));
    }
    if target == Target::Embedded {
        cases.push(Case::alone("a source is read by TLS", tls));
        cases.push(Case::alone("the target is killed and comes back", target_killed));
        cases.push(Case::alone("large values do not need memory", memory));
        cases.push(Case::new("a directory that expires takes its nodes along", mortal));
        cases.push(Case::new("flags that make no sense are refused", mistakes));
    }
    cases
}

/// An etcd with the case's directory, which is the one of the target as well.
pub(crate) fn etcd_beside(context: &Context) -> Result<(Server, Context), String> {
    let server = Server::start(Target::Etcd)?;
    let client = Arc::new(server.client());
    let beside = Context { target: Target::Etcd, client, prefix: context.prefix.clone() };
    Ok((server, beside))
}

/// Removes the case's directory, which every context has.
fn vacate(context: &Context) -> Outcome {
    let removed = context.send(&Request::new("DELETE", &context.path("?recursive=true")))?;
    expect_status(&removed, 200)
}

/// Everything that a tree can have, below the case's directory.
fn plant(context: &Context) -> Outcome {
    for (key, form) in [
        // In an order of creation that is not that of the names.
        ("/z", "value=first"),
        ("/a/b", "value=1"),
        ("/m/deep/er/f", "value=2"),
        ("/a/a", "value=3"),
        ("/%C3%BC%20%2B%25%26%3B%3F%23%0A%22%3Cx%3E", "value=a%3D1%26b%3D%25%2B%0A+%C3%BC%00%22"),
        ("/a%21", "value="),
        ("/empty", "dir=true"),
        ("/_hidden/f", "value=h"),
        ("/a/_lock/l", "value=l"),
        ("/ttl/f", "value=t&ttl=600"),
        ("/ttl/d", "dir=true&ttl=900"),
        ("/ttl/d/f", "value=f"),
        ("/ttl/soon", "value=s&ttl=1"),
        ("/ttl/soond", "dir=true&ttl=1"),
        ("/ttl/soond/f", "value=s"),
    ] {
        let put = context.put(key, form)?;
        expect(matches!(put.status(), 200 | 201), || put.describe())?;
    }
    let large = format!("value={}", "x".repeat(300_000));
    expect_status(&context.put("/large", &large)?, 201)?;
    for job in 0..3 {
        expect_status(&context.post("/queue", &format!("value=job{job}"))?, 201)?;
    }
    let changed = context.put("/a/b", "value=changed&prevExist=true")?;
    expect_status(&changed, 200)
}

/// The values of a directory in the order of createdIndex.
fn by_creation(context: &Context, key: &str) -> Result<Vec<String>, String> {
    let json = success(&context.get(key)?)?;
    let mut nodes = Vec::new();
    for node in json.list("node.nodes") {
        nodes.push((number(node, "createdIndex")?, text(node, "key")?));
    }
    nodes.sort();
    Ok(nodes.into_iter().map(|(_, key)| key).collect())
}

/// The flags that name both, the case's directory, and what is hidden in it.
fn both(from: &Context, to: &Context) -> Vec<String> {
    let hidden = format!("{},{}", from.key("/_hidden"), from.key("/a/_lock"));
    let words = ["--from", &url(from), "--to", &url(to), "--prefix", &from.key("")];
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.extend(["--hidden".to_owned(), hidden]);
    words
}

/// The words of a command.
pub(crate) fn words<'a>(command: &'a str, flags: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let flags = flags.iter().map(String::as_str);
    std::iter::once(command).chain(flags).chain(more.iter().copied()).collect()
}

fn move_over(from: &Context, to: &Context) -> Outcome {
    vacate(to)?;
    plant(from)?;
    let flags = both(from, to);
    let out = ended(&words("import", &flags, &[]), 0)?;
    expect(out.contains(" nodes imported") && out.ends_with(", verified\n"), || out.clone())?;
    ended(&words("verify", &flags, &[]), 0)?;
    let moved = success(&to.get("/%C3%BC%20%2B%25%26%3B%3F%23%0A%22%3Cx%3E")?)?;
    expect_equal("value", text(&moved, "node.value")?.as_str(), "a=1&b=%+\n ü\0\"")?;
    expect_equal("empty", text(&success(&to.get("/a%21")?)?, "node.value")?.as_str(), "")?;
    expect_equal("large", text(&success(&to.get("/large")?)?, "node.value")?.len(), 300_000)?;
    expect_equal("changed", text(&success(&to.get("/a/b")?)?, "node.value")?.as_str(), "changed")?;
    let empty = success(&to.get("/empty")?)?;
    expect(empty.at("node.nodes").is_none(), || format!("{empty:?}"))?;
    for hidden in ["/_hidden/f", "/a/_lock/l"] {
        success(&to.get(hidden)?)?;
    }
    // What is over there is over here.
    for context in [from, to] {
        let gone = wait::until(Duration::from_secs(10), || {
            let answers = [context.get("/ttl/soon"), context.get("/ttl/soond")];
            let is_gone =
                |got: &Result<Answer, String>| got.as_ref().is_ok_and(|got| got.status() == 404);
            answers.iter().all(is_gone).then_some(())
        });
        gone.ok_or("what had a TTL of a second is still there")?;
    }
    for key in ["", "/a", "/queue", "/ttl"] {
        expect_equal(key, by_creation(to, key)?, by_creation(from, key)?)?;
    }
    for (key, most) in [("/ttl/f", 600), ("/ttl/d", 900)] {
        let left = number(&success(&to.get(key)?)?, "node.ttl")?;
        expect(left <= most && left + 60 > most, || format!("{key} has {left} s"))?;
    }
    Ok(())
}

fn from_etcd(context: &Context) -> Outcome {
    let (_etcd, beside) = etcd_beside(context)?;
    move_over(&beside, context)
}

fn to_etcd(context: &Context) -> Outcome {
    let (_etcd, beside) = etcd_beside(context)?;
    expect_status(&beside.put("?dir=true", "")?, 201)?;
    move_over(context, &beside)
}

fn occupied(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    for (key, form) in [("/a", "value=1"), ("/b", "value=2"), ("/c/d", "value=3")] {
        expect_status(&from.put(key, form)?, 201)?;
    }
    context.put("/a", "value=other")?;
    context.put("/more", "value=SECRET")?;
    let flags = both(&from, context);
    let complaint = refused(&words("import", &flags, &[]))?;
    expect(complaint.contains("it has 3 nodes where these are to go"), || complaint.clone())?;
    expect_error(&context.get("/b")?, 100, &context.key("/b"))?;
    expect_equal("a", text(&success(&context.get("/a")?)?, "node.value")?.as_str(), "other")?;

    // What the source does not have stays, and is told.
    let complaint = refused(&words("import", &flags, &["--resume"]))?;
    expect(complaint.contains(&format!("{}: only there", context.key("/more"))), || {
        complaint.clone()
    })?;
    expect(complaint.contains("source and target differ: 1 only there"), || complaint.clone())?;
    expect(!complaint.contains("SECRET"), || complaint.clone())?;
    for (key, value) in [("/a", "1"), ("/b", "2"), ("/c/d", "3"), ("/more", "SECRET")] {
        expect_equal(key, text(&success(&context.get(key)?)?, "node.value")?.as_str(), value)?;
    }
    expect_status(&context.delete("/more")?, 200)?;
    let before = context.get("/b")?.text();
    let out = ended(&words("import", &flags, &["--resume"]), 0)?;
    expect(out.starts_with("0 of 5 nodes imported, 5 skipped"), || out.clone())?;
    expect_equal("b", context.get("/b")?.text(), before)
}

fn damaged(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    for number in 0..20 {
        expect_status(&from.put(&format!("/f{number:02}"), "value=value")?, 201)?;
    }
    vacate(context)?;
    let directory = directory()?;
    let file = directory.path().join("dump");
    ended(&["export", "--from", &url(&from), "--prefix", &from.key(""), name(&file)], 0)?;
    let dump = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let first: String = dump.split_inclusive('\n').take(12).collect();
    for (damaged, why) in [
        (dump.replacen("\"value\":\"value\"", "\"value\":\"valuf\"", 1), "the checksum is not"),
        (first, "truncated"),
        (dump[..dump.len() - 10].to_owned(), "truncated"),
        (dump.replacen("/f03", "/f02", 1), "comes twice"),
        (dump.replacen("/f03\"", "/gone/f\"", 1), "line"),
        (format!("{dump}{dump}"), "more comes after"),
        ("{\"key\":\"/a\"}\n".to_owned(), "this is no"),
    ] {
        fs::write(&file, damaged).map_err(|error| error.to_string())?;
        let complaint = refused(&["import", "--from", name(&file), "--to", &url(context)])?;
        expect(complaint.contains(why), || format!("no {why:?} in {complaint}"))?;
        expect_error(&context.get("")?, 100, &context.key(""))?;
    }
    fs::write(&file, dump).map_err(|error| error.to_string())?;
    let out = ended(&["import", "--from", name(&file), "--to", &url(context)], 0)?;
    expect_equal("import", out.as_str(), "21 of 21 nodes imported, verified\n")
}

/// Kills an import after some of its nodes are there, again and again, until one is through.
fn killed(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    vacate(context)?;
    const NODES: u64 = 300;
    for number in 0..NODES {
        let key = format!("/d{}/f{:03}", number % 3, NODES - number);
        expect_status(&from.put(&key, &format!("value={number}&ttl=3000"))?, 201)?;
    }
    expect_status(&from.put("/ttl?dir=true&ttl=3000", "")?, 201)?;
    expect_status(&from.put("/ttl/f", "value=f")?, 201)?;
    let flags = both(&from, context);
    let count = || {
        let listed = context.get("?recursive=true")?;
        Ok::<u64, String>(listed.text().matches("\"value\"").count() as u64)
    };
    let mut seen = 0;
    for at in [1, 20, 90, 150, 220] {
        let mut import = etcdynamo()
            .args(words("import", &flags, &["--resume", "--concurrency", "2"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let wanted = (at + fastrand::u64(0..20)).max(seen + 1);
        let reached = wait::until(Duration::from_secs(60), || {
            let is_over = !matches!(import.try_wait(), Ok(None));
            (is_over || count().is_ok_and(|count| count >= wanted)).then_some(())
        });
        // It may be through already.
        let _ = import.kill();
        let _ = import.wait();
        reached.ok_or_else(|| format!("{wanted} nodes did not come"))?;
        let now = count()?;
        expect(now >= seen, || format!("{now} of {seen} nodes are left"))?;
        seen = now;
    }
    let out = ended(&words("import", &flags, &["--resume"]), 0)?;
    expect(out.ends_with(", verified\n"), || out.clone())?;
    for directory in ["/d0", "/d1", "/d2"] {
        expect_equal(directory, by_creation(context, directory)?, by_creation(&from, directory)?)?;
    }
    ended(&words("verify", &flags, &[]), 0).map(drop)
}

/// What was acknowledged nowhere is sent again, and comes out the same.
fn target_killed(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    for number in 0..400 {
        expect_status(&from.put(&format!("/d{}/f{number}", number % 4), "value=1")?, 201)?;
    }
    let mut target = Server::start(Target::Embedded)?;
    let relay = Relay::start(target.address())?;
    let (source, to, prefix) = (url(&from), relay.url(), from.key(""));
    let flags = ["--from", &source, "--to", &to, "--prefix", &prefix].map(str::to_owned);
    let mut import = etcdynamo()
        .args(words("import", &flags, &["--concurrency", "2"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let listing = Request::new("GET", &format!("/v2/keys{prefix}?recursive=true"));
    let begun = wait::until(Duration::from_secs(60), || {
        let listed = target.client().send(&listing).ok()?;
        (listed.text().matches("\"value\"").count() >= 50).then_some(())
    });
    relay.point_at(None);
    target.kill();
    let restarted = target.restart();
    relay.point_at(Some(target.address()));
    let ended = wait::until(Duration::from_secs(60), || import.try_wait().transpose());
    // It may be through.
    let _ = import.kill();
    let _ = import.wait();
    begun.ok_or("it did not begin")?;
    restarted?;
    let ended = ended.ok_or("it did not end")?.map_err(|error| error.to_string())?;
    expect_equal("code", ended.code(), Some(0))?;
    super::trees::ended(&words("verify", &flags, &[]), 0).map(drop)
}

/// Large values, in more directories than are written to at once.
fn memory(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    vacate(context)?;
    let form = format!("value={}", "x".repeat(1 << 20));
    for number in 0..128 {
        expect_status(&from.put(&format!("/d{number}/f"), &form)?, 201)?;
    }
    let flags = both(&from, context);
    let mut import = etcdynamo()
        .args(words("import", &flags, &[]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut peak = 0;
    let ended = wait::until(Duration::from_secs(120), || {
        let status = fs::read_to_string(format!("/proc/{}/status", import.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        import.try_wait().transpose()
    });
    let _ = import.kill();
    let _ = import.wait();
    let ended = ended.ok_or("it did not end")?.map_err(|error| error.to_string())?;
    expect_equal("code", ended.code(), Some(0))?;
    expect(peak > 0 && peak < MOST_MEMORY, || format!("it took {peak} bytes"))
}

fn credentials(context: &Context) -> Outcome {
    // As root:p@ss.
    const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwQHNz");
    let (_etcd, from) = etcd_beside(context)?;
    expect_status(&from.put("/f", "value=1")?, 201)?;
    let (_server, own) = context.own_server()?;
    let guest = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    for (path, body) in [
        ("/v2/auth/users/root", r#"{"user":"root","password":"p@ss"}"#),
        ("/v2/auth/enable", ""),
        ("/v2/auth/roles/guest", guest),
    ] {
        let answer = own.send(&Request::new("PUT", path).header(ROOT.0, ROOT.1).body(body))?;
        expect(matches!(answer.status(), 200 | 201), || answer.describe())?;
    }
    let address = own.client.address();
    let import = |to: &str| {
        let (from, prefix) = (url(&from), from.key("/f"));
        let words = ["import", "--from", &from, "--prefix", &prefix];
        let output = etcdynamo().args(words).env("ETCDYNAMO_TO", to).output();
        output.map_err(|error| error.to_string())
    };
    for who in ["", "root:wrong%40@"] {
        let output = import(&format!("http://{who}{address}"))?;
        let said = told(&output.stderr);
        expect_equal(&said, output.status.code(), Some(1))?;
        expect(said.contains("110: ") && !said.contains("wrong"), || said.clone())?;
    }
    let output = import(&format!("http://root:p%40ss@{address}"))?;
    let said = told(&output.stderr);
    expect(output.status.success() && !said.contains("p%40ss"), || said.clone())?;
    let path = format!("/v2/keys{}", from.key("/f"));
    let moved = own.send(&Request::new("GET", &path).header(ROOT.0, ROOT.1))?;
    expect_equal("value", text(&success(&moved)?, "node.value")?.as_str(), "1")
}

/// What DynamoDB's item and its keys have no room for.
fn limits(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    vacate(context)?;
    let long = "k".repeat(1100);
    for (key, form) in [
        ("/a".to_owned(), "value=1".to_owned()),
        ("/large".to_owned(), format!("value=SECRET{}", "x".repeat(500_000))),
        (format!("/d/{long}"), "value=2".to_owned()),
        (format!("/d/{long}dir/f"), "value=3".to_owned()),
        ("/d/z".to_owned(), "value=4".to_owned()),
    ] {
        expect_status(&from.put(&key, &form)?, 201)?;
    }
    let flags = both(&from, context);
    let complaint = refused(&words("import", &flags, &[]))?;
    for key in ["/large", &format!("/d/{long}"), &format!("/d/{long}dir")] {
        let line = format!("{}: the target does not take it", from.key(key));
        expect(complaint.contains(&line), || format!("no {line} in {complaint}"))?;
    }
    expect(complaint.contains("4 refused by the target"), || complaint.clone())?;
    expect(complaint.contains("source and target differ: 4 missing"), || complaint.clone())?;
    expect(!complaint.contains("SECRET"), || "a value was told".to_owned())?;
    for (key, value) in [("/a", "1"), ("/d/z", "4")] {
        expect_equal(key, text(&success(&context.get(key)?)?, "node.value")?.as_str(), value)?;
    }
    Ok(())
}

fn tls(context: &Context) -> Outcome {
    let authority = Authority::new()?;
    let (shown, own) = (authority.sign("server")?, authority.sign("alice")?);
    let ca = authority.file();
    let flags = ["--trusted-ca-file", name(&ca), "--client-cert-auth"];
    let source = Secure::start(Target::Etcd, &shown, &flags)?;
    let path = format!("/v2/keys{}", context.key("/f"));
    let put = Client::new(&source.plain).send(&Request::new("PUT", &path).form("value=1"));
    expect_status(&put.map_err(|error| error.to_string())?, 201)?;
    vacate(context)?;
    let port = source.secure.rsplit(':').next().unwrap_or_default();
    let (from, to) = (format!("https://localhost:{port}"), url(context));
    let prefix = context.key("");
    let scope = ["--prefix", &prefix, "--retry-ms", "0"];
    let import = [&["import", "--from", &from, "--to", &to][..], &scope].concat();
    let trust = ["--trusted-ca-file", name(&ca)];
    let certificate = ["--cert-file", name(&own.cert), "--key-file", name(&own.key)];
    refused(&[&import[..], &trust].concat())?;
    refused(&[&import[..], &certificate].concat())?;
    expect_error(&context.get("")?, 100, &context.key(""))?;
    let out = ended(&[&import[..], &trust, &certificate].concat(), 0)?;
    expect_equal("import", out.as_str(), "2 of 2 nodes imported, verified\n")
}

/// A directory gets its TTL when all is in it; one that is over before is not left behind.
fn mortal(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    vacate(context)?;
    expect_status(&from.put("/d?dir=true&ttl=2", "")?, 201)?;
    for number in 0..50 {
        expect_status(&from.put(&format!("/d/e{number}/f"), "value=1")?, 201)?;
    }
    let directory = directory()?;
    let file = directory.path().join("dump");
    ended(&["export", "--from", &url(&from), "--prefix", &from.key(""), name(&file)], 0)?;
    let to = url(context);
    let import = ["import", "--from", name(&file), "--to", &to];
    // However far it comes before the two seconds are over, nothing stays.
    ended(&import, 0)?;
    // The directory is gone at once, and takes what is below it along within a second.
    let gone = wait::until(Duration::from_secs(10), || {
        let is_gone = |key| context.get(key).is_ok_and(|got| got.status() == 404);
        (is_gone("/d") && is_gone("/d/e0/f")).then_some(())
    });
    gone.ok_or("the directory outlived its TTL")?;
    // As an interrupted import leaves it: made, without its TTL yet.
    expect_status(&context.put("/d/e0/f", "value=1")?, 201)?;
    let out = ended(&[&import[..], &["--resume"]].concat(), 0)?;
    expect(out.contains("left out, their TTL being over, verified"), || out.clone())?;
    expect_error(&context.get("/d")?, 100, &context.key("/d"))
}

fn mistakes(context: &Context) -> Outcome {
    let url = url(context);
    let file = Path::new("no such file");
    for (words, why) in [
        (&["import", "--to", &url][..], "--from"),
        (&["import", "--from", &url], "--to"),
        (&["import", "--from", name(file), "--to", &url, "--follow"], "--follow"),
        (&["import", "--from", name(file), "--to", &url, "--prefix", "/a"], "--prefix"),
        (&["import", "--from", &url, "--to", "http://u:SECRET@host/path"], "--to"),
        (&["import", "--from", &url, "--to", &url, "--concurrency", "0"], "--concurrency"),
        (&["import", "--from", &url, "--to", &url, "--hidden", "/a"], "--hidden"),
        (&["import", "--from", &url, "--to", &url, "--cert-file", "x"], "--cert-file"),
    ] {
        misused(words, why)?;
    }
    let complaint = refused(&["import", "--from", name(file), "--to", &url])?;
    expect(complaint.contains("the file: No such file"), || complaint.clone())?;
    let nowhere = ["--to", "http://127.0.0.1:1", "--retry-ms", "0"];
    let prefix = ["--prefix", &context.key("")];
    let complaint = refused(&[&["import", "--from", &url], &nowhere[..], &prefix].concat())?;
    expect(complaint.contains("http://127.0.0.1:1 cannot be asked"), || complaint.clone())
}
