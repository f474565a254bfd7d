//! Keyspaces of one table: nothing crosses over, and this tries.
//!
//! Several keyspaces, whose names are beginnings of each other or sort around the slash that ends
//! each, are served at once. In each the same keys are written at random, with values that say where
//! they are from; users of one name have other passwords; some are emptied and deleted meanwhile. In
//! the end every tree, and what every watcher was told, is exactly its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use compat_tests::http::{Answer, Request};
use compat_tests::json::Json;
use compat_tests::server::{Server, Target};
use compat_tests::wait;

use super::administration::{Bench, line_of};
use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, number, success,
    text,
};
use super::differential::setting;
use super::watcher::Watch;

/// How long what has a TTL may take to be gone, and an event to be told, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Written at random, each through a gateway of its own; the first through two.
const SERVED: [&str; 6] = ["a", "a.b", "a-b", "A", ".", "-a"];
/// Emptied while it is served.
const EMPTIED: &str = "a_";
/// Deleted while the others are served.
const DELETED: &str = "aa";

/// How many requests each of those that are served gets.
const REQUESTS: u32 = 60;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("nothing crosses over between keyspaces", nothing_crosses_over),
        Case::alone("each keyspace has users and passwords of its own", users_are_apart),
    ]
}

/// A keyspace with its gateway.
struct Served {
    name: String,
    context: Context,
    server: Server,
}

impl Served {
    fn new(bench: &Bench, name: &str) -> Result<Self, String> {
        let server = bench.gateway(name).map_err(|problem| format!("{name:?}: {problem}"))?;
        let (target, client) = (server.target(), Arc::new(server.client()));
        let context = Context { target, client, prefix: String::new() };
        Ok(Self { name: name.to_owned(), context, server })
    }

    /// Every node, hidden ones left out, by its key; of directories, that they are.
    fn tree(&self) -> Result<BTreeMap<String, String>, String> {
        fn take(nodes: &[Json], found: &mut BTreeMap<String, String>) -> Outcome {
            for node in nodes {
                let value = node.text("value").unwrap_or("(a directory)");
                found.insert(text(node, "key")?, value.to_owned());
                take(node.list("nodes"), found)?;
            }
            Ok(())
        }
        let listed = success(&self.context.get("?recursive=true&quorum=true")?)?;
        let mut found = BTreeMap::new();
        take(listed.list("node.nodes"), &mut found)?;
        Ok(found)
    }
}

/// What a keyspace has to be like after what was written to it.
#[derive(Default)]
struct Written {
    tree: BTreeMap<String, String>,
    /// The keys with a TTL of a second.
    expiring: Vec<String>,
    /// Each acknowledged write: action, key, modifiedIndex.
    events: Vec<(String, String, u64)>,
}

impl Written {
    fn note(&mut self, answer: &Answer) -> Result<(), String> {
        let body = success(answer)?;
        self.events.push(event_of(&body)?);
        Ok(())
    }

    fn make_parents(&mut self, key: &str) {
        for (at, _) in key.match_indices('/').skip(1) {
            self.tree.entry(key[..at].to_owned()).or_insert_with(|| "(a directory)".to_owned());
        }
    }
}

fn event_of(body: &Json) -> Result<(String, String, u64), String> {
    Ok((text(body, "action")?, text(body, "node.key")?, number(body, "node.modifiedIndex")?))
}

/// Writes at random, the same keys in every keyspace.
fn write_at_random(served: &Served, mut random: fastrand::Rng) -> Result<Written, String> {
    let mut written = Written::default();
    let context = &served.context;
    for round in 0..REQUESTS {
        let dir = random.u8(..3);
        let key = format!("d{dir}/s/f{}", random.u8(..4));
        let value = format!("{} {round}", served.name);
        match random.u8(..10) {
            0..=5 => {
                written.note(&context.put(&key, &format!("value={value}"))?)?;
                let key = format!("/{key}");
                written.make_parents(&key);
                written.tree.insert(key, value);
            }
            6 => {
                let top = format!("ttl{round}");
                let answer = match random.bool() {
                    true => context.put(&top, &format!("value={value}&ttl=1"))?,
                    false => context.put(&format!("{top}?dir=true"), "ttl=1")?,
                };
                written.note(&answer)?;
                written.expiring.push(format!("/{top}"));
            }
            7 => {
                let answer = context.delete(&key)?;
                match written.tree.remove(&format!("/{key}")) {
                    Some(_) => written.note(&answer)?,
                    None => expect_status(&answer, 404)?,
                }
            }
            8 => {
                let top = format!("/d{dir}");
                let answer = context.delete(&format!("d{dir}?recursive=true"))?;
                match written.tree.contains_key(&top) {
                    true => written.note(&answer)?,
                    false => expect_status(&answer, 404)?,
                }
                let below = format!("{top}/");
                written.tree.retain(|key, _| *key != top && !key.starts_with(&below));
            }
            _ => {
                expect_error(&context.delete("?recursive=true")?, 107, "/")?;
                let listed = success(&context.get("?recursive=true&sorted=true")?)?;
                expect_equal("root", listed.get("action").is_some(), true)?;
            }
        }
    }
    Ok(written)
}

fn nothing_crosses_over(context: &Context) -> Outcome {
    let seed = setting("COMPAT_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    cross_over(context, seed).map_err(|problem| format!("COMPAT_SEED={seed}: {problem}"))
}

fn cross_over(context: &Context, seed: u64) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    for name in SERVED.into_iter().chain([EMPTIED, DELETED]) {
        bench.keyspace("create", name)?.expect(0, &["was made"])?;
    }
    let served: Vec<Served> =
        SERVED.into_iter().map(|name| Served::new(&bench, name)).collect::<Result<_, String>>()?;
    let second = Served::new(&bench, SERVED[0])?;
    let emptied = Served::new(&bench, EMPTIED)?;
    let mut deleted = Served::new(&bench, DELETED)?;
    for doomed in [&emptied, &deleted] {
        for key in ["d0/s/f0", "d1/s/f1", "_hidden/f", "f"] {
            expect_status(&doomed.context.put(key, "value=doomed")?, 201)?;
        }
    }
    expect_equal("exit code", deleted.server.stop()?.code(), Some(0))?;
    // Of the first keyspace, the watcher hears of what is written through another gateway.
    let watched = [&second].into_iter().chain(&served[1..]);
    let watch =
        |served: &Served| Watch::open(&served.context, "?wait=true&recursive=true&stream=true");
    let mut watches: Vec<Watch> = watched.map(watch).collect::<Result<_, String>>()?;
    let mut doomed_watch = watch(&emptied)?;

    let written: Vec<Written> = thread::scope(|scope| {
        let writers: Vec<_> = served
            .iter()
            .zip(seed..)
            .map(|(served, seed)| {
                scope.spawn(move || write_at_random(served, fastrand::Rng::with_seed(seed)))
            })
            .collect();
        bench.confirmed("empty", EMPTIED)?.expect(0, &["is empty: 4 nodes"])?;
        bench.confirmed("delete", DELETED)?.expect(0, &["was deleted"])?;
        let writers = writers.into_iter().zip(SERVED);
        writers
            .map(|(writer, name)| {
                let written = writer.join().map_err(|_| format!("{name:?}: it panicked"))?;
                written.map_err(|problem| format!("{name:?}: {problem}"))
            })
            .collect::<Result<_, String>>()
    })?;

    for ((served, written), watch) in served.iter().zip(&written).zip(&mut watches) {
        check_tree(served, written)?;
        check_events(watch, written).map_err(|problem| format!("{:?}: {problem}", served.name))?;
    }
    check_tree(&second, &written[0])?;
    expect_equal("what is left of the emptied", emptied.tree()?, BTreeMap::new())?;
    let mut heard: Vec<String> = Vec::new();
    for _ in 0..3 {
        let (action, key, _) = event_of(&Json::parse(doomed_watch.event()?.as_bytes())?)?;
        heard.push(format!("{action} {key}"));
    }
    heard.sort();
    expect_equal(
        "what was heard of it",
        heard,
        ["/d0", "/d1", "/f"].map(|k| format!("delete {k}")).to_vec(),
    )?;
    doomed_watch.is_silent()?;
    let list = bench.run(&["keyspace", "list"], &[])?;
    expect_equal("the deleted one", line_of(&list, DELETED), None)?;
    for (name, gateways) in SERVED.into_iter().zip(["2", "1", "1", "1", "1", "1"]) {
        let line = line_of(&list, name).ok_or_else(|| format!("no {name:?} in {list:?}"))?;
        expect_equal(name, (line[1], line[6]), ("whole", gateways))?;
    }
    bench.check_denied()
}

/// The tree is what was written, once what had a TTL is gone.
fn check_tree(served: &Served, written: &Written) -> Outcome {
    let same = || served.tree().is_ok_and(|tree| tree == written.tree).then_some(());
    match wait::until(PATIENCE, same) {
        Some(()) => Ok(()),
        None => expect_equal(&served.name, served.tree()?, written.tree.clone()),
    }
}

/// Each write was told once, in order, and beside them only that what had a TTL expired.
fn check_events(watch: &mut Watch, written: &Written) -> Outcome {
    let mut expected = written.events.iter();
    let mut expiring = written.expiring.clone();
    while expected.len() > 0 || !expiring.is_empty() {
        let event = event_of(&Json::parse(watch.event()?.as_bytes())?)?;
        if event.0 == "expire" {
            let at = expiring.iter().position(|key| *key == event.1);
            expiring.swap_remove(at.ok_or_else(|| format!("{event:?} is not of here"))?);
        } else {
            expect_equal("event", Some(&event), expected.next())?;
        }
    }
    watch.is_silent()
}

/// As `root:one` and `root:two`.
const ONE: &str = "Basic cm9vdDpvbmU=";
const TWO: &str = "Basic cm9vdDp0d28=";

fn users_are_apart(context: &Context) -> Outcome {
    let bench = Bench::new(context.target)?;
    bench.run(&["table", "create"], &[])?.expect(0, &[])?;
    let [one, two, open] = ["a", "a.b", "a-b"].map(|name| Served::new(&bench, name));
    let (one, two, open) = (one?, two?, open?);
    let administer = |served: &Served, (target, body): (&str, &str), who: &str| {
        let request = Request::new("PUT", target).body(body).header("Authorization", who);
        let answer = served.context.send(&request)?;
        expect(answer.status() < 300, || answer.describe())
    };
    let root = |password: &str| format!(r#"{{"user":"root","password":"{password}"}}"#);
    let no_guests = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    for (served, password, who) in [(&one, "one", ONE), (&two, "two", TWO)] {
        administer(served, ("/v2/auth/users/root", &root(password)), who)?;
        administer(served, ("/v2/auth/enable", ""), who)?;
        administer(served, ("/v2/auth/roles/guest", no_guests), who)?;
    }
    let get = |served: &Served, target: &str, who: &str| {
        served.context.send(&Request::new("GET", target).header("Authorization", who))
    };
    for (served, who, status) in
        [(&one, ONE, 200), (&one, TWO, 401), (&two, TWO, 200), (&two, ONE, 401)]
    {
        expect_status(&get(served, "/v2/auth/users", who)?, status)?;
        expect_status(&get(served, "/v2/keys/", who)?, status)?;
        expect_status(&served.context.put("f", "value=1")?, 401)?;
    }
    expect_status(&open.context.put("f", "value=1")?, 201)?;
    let users = get(&open, "/v2/auth/users", ONE)?;
    expect_equal("users", users.text().trim(), r#"{"users":null}"#)?;

    let list = bench.run(&["keyspace", "list"], &[])?;
    for (name, auth, users) in [("a", "on", "1"), ("a.b", "on", "1"), ("a-b", "off", "0")] {
        let line = line_of(&list, name).ok_or_else(|| format!("no {name:?} in {list:?}"))?;
        expect_equal(name, (line[4], line[5]), (auth, users))?;
    }
    // Emptied, a keyspace keeps its users; deleted, it has none.
    bench.confirmed("empty", "a")?.expect(0, &["is empty"])?;
    expect_status(&get(&one, "/v2/keys/", ONE)?, 200)?;
    expect_status(&one.context.put("f", "value=1")?, 401)?;
    let mut two = two;
    expect_equal("exit code", two.server.stop()?.code(), Some(0))?;
    bench.confirmed("delete", "a.b")?.expect(0, &["was deleted"])?;
    let two = Served::new(&bench, "a.b")?;
    expect_status(&two.context.put("f", "value=1")?, 201)?;
    expect_status(&one.context.put("f", "value=1")?, 401)?;
    bench.check_denied()
}
