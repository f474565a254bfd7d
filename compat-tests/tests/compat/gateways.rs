//! Several gateways on one table: conditions and indexes stay exact between them.

use std::sync::Arc;

use compat_tests::http::Request;
use compat_tests::server::{Server, Target};

use super::concurrency::TRIALS;
use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, number,
    success, text,
};

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_dynamodb() {
        return Vec::new();
    }
    vec![
        Case::new("many clients at once on two gateways", crowds),
        Case::new("each sees the writes of the other", see_each_other),
        Case::new("indexes rise across gateways", indexes_rise),
        Case::new("in-order keys rise across gateways", in_order_rises),
        Case::new("the cluster id is one and outlives a restart", cluster_id),
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
