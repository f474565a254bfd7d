//! Several gateways on one table: conditions and indexes stay exact between them.

use std::sync::Arc;

use compat_tests::http::Request;
use compat_tests::json::Json;
use compat_tests::server::{Server, Target};

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

fn read_here_watch_there(context: &Context) -> Outcome {
    let Gateways { first, second, .. } = &two(context)?;
    first.put("/f", "value=start")?;
    for round in 0..10 {
        let from = index(&first.get("/f?quorum=true")?)? + 1;
        let (writer, watcher) = if round % 2 == 0 { (first, second) } else { (second, first) };
        let answered = writer.put("/f", &format!("value={round}"))?.text();
        let watch = Watch::open(watcher, &format!("/f?wait=true&waitIndex={from}"))?;
        let event = watch.last_event().map_err(|problem| format!("round {round}: {problem}"))?;
        expect_equal("event", event, answered)?;
    }
    Ok(())
}
