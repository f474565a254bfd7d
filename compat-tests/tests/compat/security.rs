//! TLS, certificates of clients, listeners for metrics, and clients that ask too much.
//!
//! What stands here does not depend on the store, so it runs on etcd and on the embedded store.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use compat_tests::http::{Client, Request};
use compat_tests::process::{Process, listening_line, program, tool};
use compat_tests::secure::{Authority, Pair, Secure};
use compat_tests::server::{Target, etcdynamo};
use compat_tests::wait;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status};
use super::lifecycle::ends_with;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !matches!(target, Target::Etcd | Target::Embedded) {
        return Vec::new();
    }
    let mut cases = vec![
        Case::alone("a CA lets only its clients in", only_clients_of_the_ca),
        Case::alone("a new certificate is shown without a restart", new_certificate),
        Case::alone("a watch waits under TLS", watch_under_tls),
        Case::alone("a metrics URL serves metrics and health", metrics_url),
        Case::alone("etcdctl speaks TLS", etcdctl_speaks_tls),
        Case::alone("python-etcd speaks TLS", python_etcd_speaks_tls),
    ];
    if target.is_etcdynamo() {
        cases.push(Case::alone("a broken certificate leaves the old one", broken_certificate));
        cases.push(Case::alone("a new CA lets its clients in", new_ca));
        cases.push(Case::alone("no start without certificates", no_start));
        cases.push(Case::alone("https is said where it is", https_is_said));
        cases.push(Case::alone("clients cope with 429", too_many_requests));
    }
    cases
}

/// A server that asks for certificates, with those it needs and one for its client.
struct Guarded {
    authority: Authority,
    server: Secure,
    shown: Pair,
    own: Pair,
}

fn guarded(context: &Context, flags: &[&str]) -> Result<Guarded, String> {
    let authority = Authority::new()?;
    let (shown, own) = (authority.sign("server")?, authority.sign("alice")?);
    let ca = authority.file().display().to_string();
    let flags = [&["--trusted-ca-file", &ca, "--client-cert-auth"], flags].concat();
    let server = Secure::start(context.target, &shown, &flags)?;
    Ok(Guarded { authority, server, shown, own })
}

impl Guarded {
    /// Asks for the version under TLS.
    fn ask(&self, own: Option<&Pair>) -> Result<(), String> {
        let mut connection = self.authority.connect(&self.server.secure, own)?;
        connection.get("/version")?;
        connection.read_until("3.4.23").map(drop)
    }
}

fn only_clients_of_the_ca(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let other = Authority::new()?;
    let stranger = other.sign("alice")?;
    guarded.ask(Some(&guarded.own))?;
    expect(guarded.ask(None).is_err(), || "it serves a client without a certificate".to_owned())?;
    expect(guarded.ask(Some(&stranger)).is_err(), || {
        "it serves a client with a certificate of another CA".to_owned()
    })?;
    let plain = Client::new(&guarded.server.plain);
    let members = plain.send(&Request::new("GET", "/v2/members")).map_err(|e| e.to_string())?;
    expect_status(&members, 200)?;
    let url = format!("https://{}", guarded.server.secure);
    expect(members.text().contains(&url), || format!("no {url} in {}", members.text()))
}

fn new_certificate(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let new = guarded.authority.sign("new")?;
    fs::copy(&new.cert, &guarded.shown.cert).map_err(|error| error.to_string())?;
    fs::copy(&new.key, &guarded.shown.key).map_err(|error| error.to_string())?;
    let shown = wait::until(PATIENCE, || {
        let mut connection =
            guarded.authority.connect(&guarded.server.secure, Some(&guarded.own)).ok()?;
        connection.get("/version").ok()?;
        connection.read_until("3.4.23").ok()?;
        connection.shows(&new).ok()?.then_some(())
    });
    shown.ok_or_else(|| "the old certificate is still shown".to_owned())
}

fn broken_certificate(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let reloads = |result: &str| -> Option<u64> {
        let answer = Client::new(&guarded.server.metrics).send(&Request::new("GET", "/metrics"));
        let text = answer.ok()?.text();
        let name = format!("etcdynamo_tls_reloads_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    };
    expect_equal("reloads", reloads("failed"), Some(0))?;
    fs::write(&guarded.shown.cert, "-----BEGIN CERTIFICATE-----\nMIIB")
        .map_err(|error| error.to_string())?;
    let is_seen = wait::until(PATIENCE, || (reloads("failed")? > 0).then_some(()));
    is_seen.ok_or("the broken certificate was not seen")?;
    guarded.ask(Some(&guarded.own))?;
    expect_equal("reloads", reloads("ok"), Some(0))
}

fn new_ca(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let other = Authority::new()?;
    let bob = other.sign("bob")?;
    expect(guarded.ask(Some(&bob)).is_err(), || "it serves anybody".to_owned())?;
    let both = [guarded.authority.file(), other.file()]
        .iter()
        .map(fs::read_to_string)
        .collect::<Result<String, _>>()
        .map_err(|error| error.to_string())?;
    fs::write(guarded.authority.file(), both).map_err(|error| error.to_string())?;
    let is_served = wait::until(PATIENCE, || guarded.ask(Some(&bob)).ok());
    is_served.ok_or("the new CA's client is not served")?;
    guarded.ask(Some(&guarded.own))
}

fn watch_under_tls(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let mut watch = guarded.authority.connect(&guarded.server.secure, Some(&guarded.own))?;
    let plain = Client::new(&guarded.server.plain);
    for value in ["one", "two"] {
        watch.get("/v2/keys/f?wait=true")?;
        watch.read_until("\r\n\r\n")?;
        let form = format!("value={value}");
        let put = plain.send(&Request::new("PUT", "/v2/keys/f").form(&form));
        expect(put.is_ok(), || format!("{put:?}"))?;
        let told = watch.read_until("\r\n0\r\n\r\n")?;
        expect(told.contains(&format!("\"value\":\"{value}\"")), || told)?;
    }
    Ok(())
}

fn metrics_url(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    for (address, path, status) in [
        (&guarded.server.metrics, "/metrics", 200),
        (&guarded.server.metrics, "/health", 200),
        (&guarded.server.metrics, "/version", 404),
        (&guarded.server.metrics, "/v2/keys", 404),
        (&guarded.server.plain, "/metrics", 200),
        (&guarded.server.plain, "/health", 200),
    ] {
        let answer = Client::new(address).send(&Request::new("GET", path));
        expect_status(&answer.map_err(|error| error.to_string())?, status)
            .map_err(|problem| format!("{path}: {problem}"))?;
    }
    Ok(())
}

fn etcdctl(guarded: &Guarded, own: Option<&Pair>, words: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program("ETCDCTL_BIN", Path::new("etcdctl")));
    command
        .env("ETCDCTL_API", "2")
        .args(["--no-sync", "--endpoints", &format!("https://{}", guarded.server.secure)])
        .arg("--ca-file")
        .arg(guarded.authority.file());
    if let Some(own) = own {
        command.arg("--cert-file").arg(&own.cert).arg("--key-file").arg(&own.key);
    }
    command.args(words).output().map_err(|error| error.to_string())
}

fn etcdctl_speaks_tls(context: &Context) -> Outcome {
    let guarded = guarded(context, &[])?;
    let set = etcdctl(&guarded, Some(&guarded.own), &["set", "/f", "value"])?;
    expect(set.status.success(), || format!("{set:?}"))?;
    let got = etcdctl(&guarded, Some(&guarded.own), &["get", "/f"])?;
    expect_equal("value", String::from_utf8_lossy(&got.stdout).trim(), "value")?;
    let refused = etcdctl(&guarded, None, &["get", "/f"])?;
    expect(!refused.status.success(), || format!("{refused:?}"))
}

fn python_etcd(script: &str, words: &[&Path]) -> Outcome {
    let output = Command::new(tool("venv/bin/python"))
        .args(["-c", script])
        .args(words)
        .output()
        .map_err(|error| error.to_string())?;
    expect(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())
}

fn python_etcd_speaks_tls(context: &Context) -> Outcome {
    const SCRIPT: &str = "
import sys, etcd
address, ca, cert, key = sys.argv[1:]
host, port = address.split(':')
client = etcd.Client(host=host, port=int(port), protocol='https', ca_cert=ca, cert=(cert, key))
client.write('/f', 'value')
assert client.read('/f').value == 'value'
stranger = etcd.Client(host=host, port=int(port), protocol='https', ca_cert=ca)
try:
    stranger.read('/f')
except etcd.EtcdConnectionFailed:
    sys.exit(0)
sys.exit('a client without a certificate was served')
";
    let guarded = guarded(context, &[])?;
    let address = Path::new(&guarded.server.secure);
    python_etcd(SCRIPT, &[address, &guarded.authority.file(), &guarded.own.cert, &guarded.own.key])
}

fn https_is_said(_: &Context) -> Outcome {
    let authority = Authority::new()?;
    let shown = authority.sign("server")?;
    let mut command = etcdynamo();
    command
        .args(["--listen-client-urls", "https://127.0.0.1:0,http://127.0.0.1:0"])
        .args(["--listen-metrics-urls", "https://127.0.0.1:0", "--data-dir"])
        .arg(authority.directory().join("data"))
        .arg("--cert-file")
        .arg(&shown.cert)
        .arg("--key-file")
        .arg(&shown.key)
        .stdout(Stdio::piped());
    let mut process = Process::spawn(&mut command, &authority.directory().join("log"))?;
    let line = listening_line(&mut process)?;
    let urls = line.strip_prefix("listening on ").unwrap_or_default();
    let (clients, metrics) = urls.split_once(", metrics on ").ok_or_else(|| line.clone())?;
    let secure = clients.split(' ').next().and_then(|url| url.strip_prefix("https://"));
    let mut connection = authority.connect(secure.ok_or_else(|| line.clone())?, None)?;
    connection.get("/v2/machines")?;
    connection.read_until(&clients.replace(' ', ", "))?;
    let metrics = metrics.strip_prefix("https://").ok_or_else(|| line.clone())?;
    let mut connection = authority.connect(metrics, None)?;
    connection.get("/health")?;
    connection.read_until(r#"{"health":"true"}"#).map(drop)
}

fn no_start(_: &Context) -> Outcome {
    let authority = Authority::new()?;
    let (one, other) = (authority.sign("one")?, authority.sign("other")?);
    let nowhere = authority.directory().join("nowhere");
    for (cert, key, flag) in [
        (&nowhere, &one.key, "--cert-file"),
        (&one.cert, &nowhere, "--key-file"),
        (&one.cert, &other.key, "--key-file"),
        (&one.key, &one.key, "--cert-file"),
    ] {
        let words =
            [&authority.directory().join("data"), cert, key].map(|p| p.display().to_string());
        let output = ends_with(&[
            "--listen-client-urls",
            "https://127.0.0.1:0",
            "--data-dir",
            &words[0],
            "--cert-file",
            &words[1],
            "--key-file",
            &words[2],
        ])?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        expect_equal("exit code", output.status.code(), Some(1))?;
        expect(complaint.contains(flag), || format!("it does not name {flag}: {complaint}"))?;
    }
    Ok(())
}

fn too_many_requests(context: &Context) -> Outcome {
    // urllib3 waits for what Retry-After says, so python-etcd does not notice.
    const SCRIPT: &str = "
import sys, etcd
host, port = sys.argv[1].split(':')
client = etcd.Client(host=host, port=int(port))
for number in range(8):
    client.write('/f', str(number))
assert client.read('/f').value == '7'
";
    let guarded = guarded(context, &["--max-requests-per-second-per-client", "5"])?;
    let plain = Client::new(&guarded.server.plain);
    let refused = wait::until(PATIENCE, || {
        let answer = plain.send(&Request::new("GET", "/v2/keys")).ok()?;
        (answer.status() != 200).then_some(answer)
    });
    let refused = refused.ok_or("nothing was refused")?;
    expect_status(&refused, 429)?;
    expect_equal("Retry-After", refused.header("Retry-After"), Some("1"))?;
    let cause = "etcdserver: too many requests from this client";
    expect(refused.text().contains(cause), || refused.describe())?;
    let told = wait::until(PATIENCE, || {
        for _ in 0..10 {
            plain.send(&Request::new("GET", "/v2/keys")).ok()?;
        }
        let output = etcdctl(&guarded, Some(&guarded.own), &["get", "/nope"]).ok()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.contains(cause).then_some(())
    });
    told.ok_or("etcdctl does not tell the cause")?;
    python_etcd(SCRIPT, &[Path::new(&guarded.server.plain)])
}
