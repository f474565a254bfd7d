//! `etcdynamo import --follow`: a target that stays what its source is, whatever happens to both.
//!
//! Each case has servers of its own, lets somebody write at the source while it is followed, stops
//! and asks for the exit code, which is 0 only where both trees were found equal; `verify` then says
//! the same. Not here: the import at its beginning (`imports`).

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use compat_tests::command::run;
use compat_tests::http::{Client, Request};
use compat_tests::relay::Relay;
use compat_tests::server::{Server, Target, etcdynamo};
use compat_tests::wait;
use fastrand::Rng;
use tempfile::TempDir;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status, success, text};
use super::imports::{etcd_beside, words};
use super::trees::{directory, ended, url};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = vec![
        Case::alone("an etcd that changes is followed", from_etcd),
        Case::alone("a TTL that is refreshed stays", refreshed),
    ];
    if target.is_etcdynamo() {
        cases.push(Case::alone("etcd follows it", to_etcd));
    }
    if target == Target::Embedded {
        cases.push(Case::alone("one follows another", to_itself));
        cases.push(Case::alone("the target is a mirror", mirror));
        cases.push(Case::alone("the target is killed and comes back", target_killed));
        cases.push(Case::alone("the source is lost and found", source_lost));
        cases.push(Case::alone("more happens than the source remembers", outrun));
        cases.push(Case::alone("the source begins anew", anew));
        cases.push(Case::alone("what is over before it comes leaves what it left there", late));
        cases.push(Case::alone("a directory that ran out at the target alone comes back", lapsed));
        cases.push(Case::alone("a source that cannot be watched is read at the end", unwatchable));
        cases.push(Case::alone("a second signal stops at once", second_signal));
    }
    cases
}

/// A follower that runs.
struct Follower {
    child: Child,
    output: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Follower {
    /// Starts it, and waits until it has caught up.
    fn start(flags: &[String], more: &[&str]) -> Result<Self, String> {
        let mut follower = Self::begin(flags, more)?;
        let line = follower.line()?;
        expect(line.starts_with("following http://"), || {
            format!("not {line:?} was expected\n{}", follower.log())
        })?;
        Ok(follower)
    }

    fn begin(flags: &[String], more: &[&str]) -> Result<Self, String> {
        let directory = directory()?;
        let log = File::create(directory.path().join("log")).map_err(|error| error.to_string())?;
        let mut child = etcdynamo()
            .args(words("import", flags, &[&["--follow"], more].concat()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let output = BufReader::new(child.stdout.take().ok_or("its output is not piped")?);
        Ok(Self { child, output, directory })
    }

    /// The next line of its output.
    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: &str) -> Outcome {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        expect(sent.is_ok_and(|sent| sent.success()), || format!("no {signal} was sent"))
    }

    fn wait_for(&self, what: &str) -> Outcome {
        let told = wait::until(PATIENCE, || self.log().contains(what).then_some(()));
        told.ok_or_else(|| format!("no {what:?} in\n{}", self.log()))
    }

    /// Its exit code after this signal.
    fn stop(&mut self, signal: &str) -> Result<Option<i32>, String> {
        self.signal(signal)?;
        self.ended()
    }

    fn ended(&mut self) -> Result<Option<i32>, String> {
        let ended = wait::until(PATIENCE, || self.child.try_wait().transpose());
        let ended = ended.ok_or_else(|| format!("it did not stop\n{}", self.log()))?;
        ended.map(|status| status.code()).map_err(|error| error.to_string())
    }

    /// Stops it, and holds it to its word that both trees are equal.
    fn finish(mut self, flags: &[String]) -> Outcome {
        let code = self.stop("-INT")?;
        expect(code == Some(0), || format!("it ended with {code:?}\n{}", self.log()))?;
        let line = self.line()?;
        expect(line.ends_with(" events applied, verified\n"), || line.clone())?;
        ended(&words("verify", flags, &[]), 0).map(drop)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who writes at the source, at random.
struct Writer {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, String>>,
}

const DIRECTORIES: [&str; 8] = ["/a", "/a/b", "/a/b/c", "/d", "/e/f", "/_hid", "/_hid/x", "/ttl"];

/// A random request: sets, updates, refreshes, removals of files and trees, in-order keys,
/// directories in the place of files and the other way round.
fn request(random: &mut Rng, number: u32) -> Request {
    let directory = DIRECTORIES[random.usize(..DIRECTORIES.len())];
    let key = format!("{directory}/k{}", random.u32(..12));
    let ttl = random.u32(1..6);
    let put =
        |key: &str, form: &str| Request::new("PUT", &format!("/v2/keys/case{key}")).form(form);
    let delete = |key: &str| Request::new("DELETE", &format!("/v2/keys/case{key}"));
    match random.u32(..100) {
        0..34 => put(&key, &format!("value=v{number}")),
        34..44 => put(&key, &format!("value=t{number}&ttl={ttl}")),
        44..51 => put(&key, &format!("value=u{number}&prevExist=true")),
        51..58 => put(&key, &format!("refresh=true&ttl={ttl}")),
        58..64 => put(&key, &format!("refresh=true&prevExist=true&ttl={ttl}")),
        64..72 => delete(&key),
        72..75 => delete(&format!("{directory}?recursive=true")),
        75..80 => Request::new("POST", &format!("/v2/keys/case{directory}"))
            .form(&format!("value=p{number}")),
        80..84 => put(&key, "dir=true"),
        84..88 => put(&key, &format!("dir=true&ttl={ttl}")),
        88..91 => put(directory, &format!("dir=true&prevExist=true&ttl={}", ttl + 3)),
        91..94 => put(directory, "dir=true&prevExist=true"),
        94..97 => put(&format!("{key}/sub{}", random.u32(..3)), &format!("value=s{number}")),
        _ => delete(&format!("{key}?recursive=true")),
    }
}

impl Writer {
    /// Begins to write, so many times a second at most.
    fn start(address: &str, a_second: u32) -> Self {
        let (client, stopped) = (Client::new(address), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&stopped);
        let pause = Duration::from_secs(1) / a_second;
        let thread = thread::spawn(move || {
            let mut random = Rng::new();
            let mut written = 0;
            while !is_over.load(Ordering::Relaxed) {
                let request = request(&mut random, written);
                client.send(&request).map_err(|error| format!("{request:?}: {error}"))?;
                written += 1;
                wait::pass(pause);
            }
            Ok(written)
        });
        Self { stopped, thread }
    }

    fn stop(self) -> Outcome {
        self.stopped.store(true, Ordering::Relaxed);
        let written = self.thread.join().map_err(|_| "the writer panicked")??;
        expect(written > 50, || format!("only {written} writes"))
    }
}

/// The flags of both, and what is followed of them.
fn flags(from: &str, to: &str) -> Vec<String> {
    ["--from", from, "--to", to, "--hidden", "/case/_hid"].map(str::to_owned).to_vec()
}

/// Follows while somebody writes and something happens.
fn follow_while(
    (from, to): (&str, &str),
    address: &str,
    happens: impl FnOnce(&Follower) -> Outcome,
) -> Outcome {
    let flags = flags(from, to);
    let writer = Writer::start(address, 400);
    wait::pass(Duration::from_secs(1));
    let follower = Follower::start(&flags, &[])?;
    let happened = happens(&follower);
    writer.stop()?;
    happened.map_err(|problem| format!("{problem}\n{}", follower.log()))?;
    comes_to_rest(&flags).map_err(|problem| format!("{problem}\n{}", follower.log()))?;
    follower.finish(&flags)
}

/// Both trees become equal by being followed, before the end makes them so. Only the order may
/// differ until then: a refresh without a condition creates a node anew, and no watch tells.
fn comes_to_rest(flags: &[String]) -> Outcome {
    let mut last = String::new();
    let rested = wait::until(PATIENCE, || {
        let ran = run(&words("verify", flags, &[])).ok()?;
        let is_order = |line: &str| line.ends_with("were created in the other order");
        let is_equal =
            ran.code == Some(0) || (!ran.out.is_empty() && ran.out.lines().all(is_order));
        last = ran.out + &ran.err;
        is_equal.then_some(())
    });
    rested.ok_or_else(|| format!("both stay different: {last}"))
}

fn some_time(_: &Follower) -> Outcome {
    wait::pass(Duration::from_secs(5));
    Ok(())
}

fn empty(target: Target) -> Result<(Server, String), String> {
    let server = Server::start(target)?;
    let url = format!("http://{}", server.address());
    Ok((server, url))
}

fn from_etcd(context: &Context) -> Outcome {
    let (source, from) = empty(Target::Etcd)?;
    let (_target, to) = empty(context.target)?;
    follow_while((&from, &to), source.address(), some_time)
}

fn to_etcd(context: &Context) -> Outcome {
    let (source, from) = empty(context.target)?;
    let (_target, to) = empty(Target::Etcd)?;
    follow_while((&from, &to), source.address(), some_time)
}

fn to_itself(context: &Context) -> Outcome {
    let (source, from) = empty(context.target)?;
    let (_target, to) = empty(context.target)?;
    follow_while((&from, &to), source.address(), some_time)
}

/// A TTL that its source refreshes again and again, which no watch tells.
fn refreshed(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    expect_status(&from.put("/lease", "value=held&ttl=3")?, 201)?;
    expect_status(&from.put("/dir?dir=true&ttl=3", "")?, 201)?;
    expect_status(&from.put("/dir/f", "value=f")?, 201)?;
    let prefix = context.key("");
    let (source, target) = (url(&from), url(context));
    let flags = ["--from", &source, "--to", &target, "--prefix", &prefix].map(str::to_owned);
    let follower = Follower::start(&flags, &["--resume"])?;
    for round in 0..8 {
        for key in ["/lease?prevExist=true", "/dir?prevExist=true"] {
            expect_status(&from.put(key, "refresh=true&ttl=3")?, 200)?;
        }
        wait::pass(Duration::from_secs(1));
        for key in ["/lease", "/dir/f"] {
            let there = context.get(key)?;
            let here =
                || format!("{key} in round {round}: {}\n{}", there.describe(), follower.log());
            expect(there.status() == 200, here)?;
        }
    }
    let held = text(&success(&context.get("/lease")?)?, "node.value")?;
    expect_equal("value", held.as_str(), "held")?;
    // Nobody refreshes any more.
    let gone = wait::until(PATIENCE, || {
        let answers = [context.get("/lease"), context.get("/dir"), from.get("/dir")];
        answers.iter().all(|got| got.as_ref().is_ok_and(|got| got.status() == 404)).then_some(())
    });
    gone.ok_or_else(|| format!("what ran out is still there\n{}", follower.log()))?;
    follower.finish(&flags)
}

/// What the source does not have goes, but only with `--resume`.
fn mirror(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    expect_status(&from.put("/a", "value=1")?, 201)?;
    expect_status(&from.put("/d/f", "value=1")?, 201)?;
    for (key, form) in [("/d", "value=file"), ("/more/f", "value=1"), ("/a/f", "value=1")] {
        expect_status(&context.put(key, form)?, 201)?;
    }
    let prefix = context.key("");
    let (source, target) = (url(&from), url(context));
    let flags = ["--from", &source, "--to", &target, "--prefix", &prefix].map(str::to_owned);
    let mut refused = Follower::begin(&flags, &[])?;
    expect_equal("code", refused.ended()?, Some(1))?;
    refused.wait_for("the target is not empty: it has 6 nodes")?;
    expect_status(&context.get("/more/f")?, 200)?;

    let follower = Follower::start(&flags, &["--resume"])?;
    expect_status(&context.get("/more")?, 404)?;
    expect_equal("a", text(&success(&context.get("/a")?)?, "node.value")?.as_str(), "1")?;
    expect_status(&context.get("/d/f")?, 200)?;
    // All of it goes, and comes back.
    expect_status(&from.delete("?recursive=true")?, 200)?;
    let seen = |status: u16| {
        wait::until(PATIENCE, || context.get("/x").ok().filter(|got| got.status() == status))
    };
    let all = wait::until(PATIENCE, || context.get("").ok().filter(|got| got.status() == 404));
    all.ok_or_else(|| format!("it is still there\n{}", follower.log()))?;
    expect_status(&from.put("/x", "value=1")?, 201)?;
    seen(200).ok_or_else(|| format!("it does not come\n{}", follower.log()))?;
    follower.finish(&flags)
}

fn target_killed(context: &Context) -> Outcome {
    let (source, from) = empty(Target::Etcd)?;
    let (mut target, _) = empty(context.target)?;
    let relay = Relay::start(target.address())?;
    follow_while((&from, &relay.url()), source.address(), |_| {
        for _ in 0..3 {
            wait::pass(Duration::from_secs(1));
            relay.point_at(None);
            target.kill();
            wait::pass(Duration::from_secs(1));
            target.restart()?;
            relay.point_at(Some(target.address()));
        }
        Ok(())
    })
}

fn source_lost(context: &Context) -> Outcome {
    let (source, _) = empty(Target::Etcd)?;
    let (_target, to) = empty(context.target)?;
    let relay = Relay::start(source.address())?;
    follow_while((&relay.url(), &to), source.address(), |follower| {
        for _ in 0..5 {
            wait::pass(Duration::from_millis(500));
            relay.cut();
        }
        relay.point_at(None);
        follower.wait_for("the source cannot be watched")?;
        wait::pass(Duration::from_secs(1));
        relay.point_at(Some(source.address()));
        follower.wait_for("the source is watched again")
    })
}

/// etcd keeps a thousand events.
fn outrun(context: &Context) -> Outcome {
    let (source, from) = empty(Target::Etcd)?;
    let (_target, to) = empty(context.target)?;
    follow_while((&from, &to), source.address(), |follower| {
        follower.signal("-STOP")?;
        let client = source.client();
        for number in 0..1200 {
            let path = format!("/v2/keys/case/many/{}", number % 50);
            let put = Request::new("PUT", &path).form(&format!("value={number}"));
            client.send(&put).map_err(|error| error.to_string())?;
        }
        follower.signal("-CONT")?;
        follower.wait_for("events are missing (401: ")?;
        follower.wait_for("both are equal again up to then")
    })
}

/// A source that was restored from an older copy, or lost what it had: its index falls.
fn anew(context: &Context) -> Outcome {
    let (source, _) = empty(Target::Etcd)?;
    let (target, to) = empty(context.target)?;
    let relay = Relay::start(source.address())?;
    let client = source.client();
    let set = |client: &Client, key: &str| {
        let put = Request::new("PUT", &format!("/v2/keys/case/{key}")).form("value=1");
        client.send(&put).map(drop).map_err(|error| error.to_string())
    };
    for number in 0..20 {
        set(&client, &format!("old{number}"))?;
    }
    let flags = flags(&relay.url(), &to);
    let follower = Follower::start(&flags, &[])?;
    let (other, _) = empty(Target::Etcd)?;
    set(&other.client(), "new")?;
    relay.point_at(Some(other.address()));
    follower.wait_for("events are missing (the source's index was ")?;
    let is_new = wait::until(PATIENCE, || {
        let get = |key: &str| {
            let request = Request::new("GET", &format!("/v2/keys/case/{key}"));
            target.client().send(&request).map(|answer| answer.status()).ok()
        };
        (get("new") == Some(200) && get("old1") == Some(404)).then_some(())
    });
    is_new.ok_or_else(|| format!("the target has the old tree\n{}", follower.log()))?;
    follower.finish(&flags)
}

/// A file whose TTL is over before its event comes, in directories that were made for it.
fn late(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    expect_status(&from.put("/f", "value=1")?, 201)?;
    let prefix = context.key("");
    let (source, target) = (url(&from), url(context));
    let flags = ["--from", &source, "--to", &target, "--prefix", &prefix].map(str::to_owned);
    let follower = Follower::start(&flags, &["--resume"])?;
    follower.signal("-STOP")?;
    expect_status(&from.put("/x/y/z", "value=1&ttl=1")?, 201)?;
    let gone = wait::until(PATIENCE, || {
        from.get("/x/y/z").is_ok_and(|got| got.status() == 404).then_some(())
    });
    follower.signal("-CONT")?;
    gone.ok_or("it does not expire")?;
    let there = wait::until(PATIENCE, || {
        context.get("/x/y").is_ok_and(|got| got.status() == 200).then_some(())
    });
    there.ok_or_else(|| format!("the directories do not come\n{}", follower.log()))?;
    expect_status(&context.get("/x/y/z")?, 404)?;
    follower.finish(&flags)
}

/// A directory that runs out at the target before it is known that it does not at the source.
fn lapsed(context: &Context) -> Outcome {
    let (_etcd, from) = etcd_beside(context)?;
    expect_status(&from.put("/d?dir=true&ttl=3", "")?, 201)?;
    expect_status(&from.put("/d/f", "value=1")?, 201)?;
    let prefix = context.key("");
    let (source, target) = (url(&from), url(context));
    let flags = ["--from", &source, "--to", &target, "--prefix", &prefix].map(str::to_owned);
    let follower = Follower::start(&flags, &["--resume"])?;
    follower.signal("-STOP")?;
    // The first of these makes the directory anew at the target, and the second one finds it.
    expect_status(&from.put("/d/g", "value=1")?, 201)?;
    expect_status(&from.put("/d?dir=true&prevExist=true", "")?, 200)?;
    let gone = wait::until(PATIENCE, || {
        context.get("/d").is_ok_and(|got| got.status() == 404).then_some(())
    });
    follower.signal("-CONT")?;
    gone.ok_or("it does not expire")?;
    for key in ["/d/g", "/d/f"] {
        let there = wait::until(PATIENCE, || {
            context.get(key).is_ok_and(|got| got.status() == 200).then_some(())
        });
        there.ok_or_else(|| format!("{key} does not come back\n{}", follower.log()))?;
    }
    follower.finish(&flags)
}

fn unwatchable(context: &Context) -> Outcome {
    let source = Server::start_with(context.target, &["--watch", "off"])?;
    let (target, to) = empty(context.target)?;
    let flags = flags(&format!("http://{}", source.address()), &to);
    let mut follower = Follower::begin(&flags, &[])?;
    follower.wait_for("the source cannot be watched: ")?;
    let path = "/v2/keys/case/f";
    let put = source.client().send(&Request::new("PUT", path).form("value=1"));
    expect_status(&put.map_err(|error| error.to_string())?, 201)?;
    let code = follower.stop("-TERM")?;
    expect(code == Some(0), || format!("it ended with {code:?}\n{}", follower.log()))?;
    let got = target.client().send(&Request::new("GET", path));
    expect_status(&got.map_err(|error| error.to_string())?, 200)
}

fn second_signal(context: &Context) -> Outcome {
    let (_source, from) = empty(Target::Etcd)?;
    let (target, _) = empty(context.target)?;
    let relay = Relay::start(target.address())?;
    let flags = flags(&from, &relay.url());
    let mut follower = Follower::start(&flags, &[])?;
    relay.point_at(None);
    follower.signal("-INT")?;
    follower.wait_for("stopping: ")?;
    expect_equal("code", follower.stop("-INT")?, Some(130))
}
