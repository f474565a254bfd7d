//! Several gateways on one table: conditions and indexes stay exact between them.

use std::sync::Arc;
use std::time::Duration;

use compat_tests::http::Request;
use compat_tests::json::Json;
use compat_tests::server::{Server, Target};
use compat_tests::wait;

use super::concurrency::TRIALS;
use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, number,
    success, text,
};
use super::watcher::Watch;

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("many clients at once on two gateways", crowds),
        Case::alone("each sees the writes of the other", see_each_other),
        Case::alone("indexes rise across gateways", indexes_rise),
        Case::alone("in-order keys rise across gateways", in_order_rises),
        Case::alone("the cluster id is one and outlives a restart", cluster_id),
        Case::alone("what users may do is known everywhere in seconds", locked_everywhere),
    ]
}

/// What a watch on one gateway sees of the other's writes.
pub(crate) fn watch_cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::alone("a stream sees the writes of both once and in order", stream_sees_both),
        Case::alone("a read on one and a watch on the other miss nothing", read_here_watch_there),
        Case::alone("watchers on three gateways hear all writers", three_gateways),
        Case::alone("what another gateway wrote expires on time", expires_for_others),
    ]
}

struct Gateways {
    first: Context,
    second: Context,
    server: Server,
    other: Server,
}

fn two(context: &Context) -> Result<Gateways, String> {
    let (server, first) = context.own_server()?;
    let other = server.second_gateway()?;
    let second = Context {
        target: context.target,
        client: Arc::new(other.client()),
        prefix: first.prefix.clone(),
    };
    Ok(Gateways { first, second, server, other })
}

fn crowds(context: &Context) -> Outcome {
    let gateways = two(context)?;
    for (position, (name, trial)) in TRIALS.into_iter().enumerate() {
        let below = |context: &Context| Context {
            target: context.target,
            client: Arc::clone(&context.client),
            prefix: format!("{}/t{position}", context.prefix),
        };
        let (first, second) = (below(&gateways.first), below(&gateways.second));
        trial(&[&first, &second]).map_err(|problem| format!("{name}: {problem}"))?;
    }
    Ok(())
}

fn see_each_other(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    for round in 0..10 {
        let put = success(&first.put("/a/f", &format!("value={round}"))?)?;
        let got = success(&second.get("/a/f?quorum=true")?)?;
        expect_equal("node", got.get("node"), put.get("node"))?;
        let swapped = second
            .put(&format!("/a/f?prevIndex={}", number(&put, "node.modifiedIndex")?), "value=x")?;
        expect_status(&swapped, 200)?;
        expect_error(
            &first.put(&format!("/a/f?prevValue={round}"), "value=y")?,
            101,
            &format!("[{round} != x]"),
        )?;
        expect_status(&first.delete("/a?recursive=true")?, 200)?;
        expect_error(&second.get("/a/f?quorum=true")?, 100, &second.key("/a"))?;
    }
    Ok(())
}

fn indexes_rise(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    let mut last = 0;
    for round in 0..40 {
        let through = if round % 2 == 0 { first } else { second };
        // A read through a gateway comes before each write, so that the write follows it.
        success(&through.get("?recursive=true&quorum=true")?)?;
        let written = index(&through.put(&format!("/k{}", round % 3), "value=1")?)?;
        expect(written > last, || format!("{written} after {last}"))?;
        last = written;
    }
    Ok(())
}

fn in_order_rises(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    let mut last = String::new();
    for round in 0..40 {
        let through = if round % 2 == 0 { first } else { second };
        let key = text(&success(&through.post("/q", "value=1")?)?, "node.key")?;
        expect(key > last, || format!("{key} after {last}"))?;
        last = key;
    }
    Ok(())
}

fn locked_everywhere(context: &Context) -> Outcome {
    let Gateways { first, second, mut other, server: _server } = two(context)?;
    let administer = |method: &str, target: &str, body: &str| {
        let request = Request::new(method, target).body(body);
        let answer = first.send(&request.header("Authorization", "Basic cm9vdDpwdw=="))?;
        expect(answer.status() < 300, || answer.describe())
    };
    let guests = |context: &Context| Ok::<_, String>(context.get("/f")?.status());
    let soon = |context: &Context, status: u16| {
        let told = || (guests(context) == Ok(status)).then_some(());
        expect(wait::until(Duration::from_secs(15), told).is_some(), || {
            format!("a guest still gets {:?}, not {status}", guests(context))
        })
    };
    expect_status(&first.put("/f", "value=1")?, 201)?;
    soon(&second, 200)?;
    administer("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#)?;
    administer("PUT", "/v2/auth/roles/guest", r#"{"role":"guest"}"#)?;
    administer("PUT", "/v2/auth/enable", "")?;
    expect_status(&first.get("/f")?, 401)?;
    soon(&second, 401)?;
    // One that starts lets nobody through before it knows.
    other.restart()?;
    let again = Context { client: Arc::new(other.client()), ..second };
    expect_status(&again.get("/f")?, 401)?;
    administer("DELETE", "/v2/auth/enable", "")?;
    soon(&again, 200)
}

fn cluster_id(context: &Context) -> Outcome {
    let mut gateways = two(context)?;
    let id_of = |server: &Server| -> Result<String, String> {
        let answer = server
            .client()
            .send(&Request::new("GET", "/v2/keys"))
            .map_err(|error| error.to_string())?;
        let id = answer.header("X-Etcd-Cluster-Id").ok_or("no cluster id")?;
        Ok(id.to_owned())
    };
    let id = id_of(&gateways.server)?;
    expect_equal("the second gateway", id_of(&gateways.other)?, id.clone())?;
    expect_equal("exit code", gateways.server.stop()?.code(), Some(0))?;
    gateways.server.restart()?;
    expect_equal("after a restart", id_of(&gateways.server)?, id)
}

fn stream_sees_both(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    let mut watch = Watch::open(second, "/d?wait=true&recursive=true&stream=true")?;
    let mut written = Vec::new();
    for round in 0..40 {
        let through = if round % 3 == 0 { second } else { first };
        let answer = through.put(&format!("/d/k{}", round % 4), &format!("value={round}"))?;
        written.push((index(&answer)?, answer.text()));
    }
    let gone = first.delete("/d/k0")?;
    written.push((index(&gone)?, gone.text()));
    let mut seen = Vec::new();
    for _ in &written {
        let event = watch.event()?;
        let json = Json::parse(event.as_bytes())?;
        seen.push((number(&json, "node.modifiedIndex")?, event));
    }
    written.sort();
    expect_equal("events", seen, written)?;
    watch.is_silent()
}

/// A gateway that nobody watched yet may refuse the first index that it is asked for; then a read
/// there shows what was written, and the watch goes on from its index.
fn read_here_watch_there(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    first.put("/f", "value=start")?;
    let mut refused = 0;
    for round in 0..10 {
        let read = first.get("/f?quorum=true")?;
        let (writer, watcher) = if round % 2 == 0 { (first, second) } else { (second, first) };
        let answered = writer.put("/f", &format!("value={round}"))?;
        let event =
            next_after(watcher, index(&read)?, number(&read.json()?, "node.modifiedIndex")?)?;
        if event.status() == 200 {
            expect_equal("event", event.text(), answered.text())?;
            continue;
        }
        expect_equal("error", number(&event.json()?, "errorCode")?, 401)?;
        refused += 1;
        let again = watcher.get("/f?quorum=true")?;
        expect_equal("node", again.json()?.get("node"), answered.json()?.get("node"))?;
        let next = writer.put("/f", &format!("value=again-{round}"))?.text();
        let shown = number(&again.json()?, "node.modifiedIndex")?;
        let event = next_after(watcher, index(&again)?, shown)?.text();
        expect_equal("the next event", event, next)?;
    }
    expect(refused <= 2, || format!("{refused} refusals, one a gateway is enough"))
}

/// Writers and watchers on three gateways; the watchers resume by the rules: from the index after an
/// event, and from that of a new read where they are refused.
fn three_gateways(context: &Context) -> Outcome {
    const WRITES: usize = 40;
    let (server, first) = context.own_server()?;
    let others = [server.second_gateway()?, server.second_gateway()?];
    let clients = std::iter::once(Arc::clone(&first.client))
        .chain(others.iter().map(|other| Arc::new(other.client())));
    let gateways: Vec<Context> = clients
        .map(|client| Context { target: context.target, client, prefix: first.prefix.clone() })
        .collect();
    first.put("/d/end", "value=")?;
    std::thread::scope(|scope| {
        let watchers: Vec<_> =
            gateways.iter().map(|gateway| scope.spawn(|| resume_until_the_end(gateway))).collect();
        let writers: Vec<_> = gateways
            .iter()
            .enumerate()
            .map(|(writer, gateway)| {
                scope.spawn(move || -> Outcome {
                    for turn in 0..WRITES {
                        let key = format!("/d/{}", (writer + turn) % 4);
                        success(&gateway.put(&key, &format!("value={writer}-{turn}"))?)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        // An event may come too late for its place, and is owned up to when it comes: the end comes
        // some moments after it.
        for turn in 0..10 {
            success(&first.put("/d/end", &format!("value={turn}"))?)?;
            wait::pass(Duration::from_millis(100));
        }
        success(&first.put("/d/end", "value=now")?)?;
        let listed = success(&first.get("/d?quorum=true")?)?;
        for watcher in watchers {
            let seen = watcher.join().map_err(|_| "a watcher panicked")??;
            for key in 0..4 {
                let path = first.key(&format!("/d/{key}"));
                let nodes = listed.list("node.nodes");
                let last = nodes.iter().find(|node| node.text("key") == Some(&path));
                let last = last.ok_or_else(|| format!("{path} is not listed"))?;
                expect_equal(&path, seen.get(&path), Some(&number(last, "modifiedIndex")?))?;
            }
        }
        Ok(())
    })
}

/// The first event on the key after an index which a read with that index did not show. The index of
/// a read may be behind what it showed: then that is told once more.
fn next_after(
    watcher: &Context,
    index: u64,
    shown: u64,
) -> Result<compat_tests::http::Answer, String> {
    let mut from = index + 1;
    loop {
        let answer = wait_for(watcher, &format!("/f?wait=true&waitIndex={from}"))?;
        if answer.status() != 200 {
            return Ok(answer);
        }
        let at = number(&answer.json()?, "node.modifiedIndex")?;
        if at > shown {
            return Ok(answer);
        }
        from = at + 1;
    }
}

/// One event, or why there is none. Its answer's index is of the watch's beginning, unlike that of a
/// write.
fn wait_for(gateway: &Context, key: &str) -> Result<compat_tests::http::Answer, String> {
    let request = Request::new("GET", &gateway.path(key));
    gateway.client.send(&request).map_err(|error| format!("{key}: {error}"))
}

/// The last modifiedIndex of each key that a watcher saw, by events and by reads.
fn resume_until_the_end(
    gateway: &Context,
) -> Result<std::collections::BTreeMap<String, u64>, String> {
    let mut seen = std::collections::BTreeMap::new();
    let mut reads = 0;
    loop {
        reads += 1;
        expect(reads <= 10, || "it is refused again and again".to_owned())?;
        let read = gateway.get("/d?quorum=true")?;
        let json = success(&read)?;
        let mut is_over = false;
        for node in json.list("node.nodes") {
            seen.insert(text(node, "key")?, number(node, "modifiedIndex")?);
            is_over |= text(node, "value")? == "now";
        }
        if is_over {
            return Ok(seen);
        }
        let mut since = index(&read)? + 1;
        let mut told = std::collections::BTreeMap::new();
        loop {
            let answer =
                wait_for(gateway, &format!("/d?wait=true&recursive=true&waitIndex={since}"))?;
            if answer.status() != 200 {
                expect_equal("error", number(&answer.json()?, "errorCode")?, 401)?;
                break;
            }
            if answer.text().is_empty() {
                // It was ended, which says no more than a refusal.
                break;
            }
            let event = answer.json()?;
            let (key, at) = (text(&event, "node.key")?, number(&event, "node.modifiedIndex")?);
            let before = told.insert(key.clone(), at).unwrap_or_default();
            expect(at > before, || format!("{key}: {at} after {before}"))?;
            // The index of a read may be behind what it showed, so that comes once more.
            let last: &mut u64 = seen.entry(key).or_default();
            *last = at.max(*last);
            since = at + 1;
            if event.text("node.value") == Some("now") {
                return Ok(seen);
            }
        }
    }
}

fn expires_for_others(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    // One before anybody watched, one after.
    success(&first.put("/d/before", "value=1&ttl=4")?)?;
    let mut watch = Watch::open(second, "/d?wait=true&recursive=true&stream=true")?;
    success(&first.put("/d/after", "value=1&ttl=2")?)?;
    for (action, key) in [("set", "/d/after"), ("expire", "/d/after"), ("expire", "/d/before")] {
        let event = Json::parse(watch.event()?.as_bytes())?;
        expect_equal("action", text(&event, "action")?, action.to_owned())?;
        expect_equal("key", text(&event, "node.key")?, second.key(key))?;
    }
    Ok(())
}
