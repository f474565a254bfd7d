//! Where etcdynamo differs from etcd on purpose: the one place that says so.
//!
//! Each case here holds on etcdynamo alone. Everything else in this suite holds on both.

use std::time::Duration;

use compat_tests::http::{Answer, Request};
use compat_tests::server::Target;
use compat_tests::{timestamp, wait};

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, success, text,
};

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_etcdynamo() {
        return Vec::new();
    }
    let mut cases = vec![
        Case::new("an expired key is gone at once", expired_at_once),
        Case::new("indexes are microseconds since 1970", indexes_are_times),
        Case::new("members cannot be changed", members_are_fixed),
    ];
    if target.is_dynamodb() {
        cases.push(Case::new("a value of 500 KB is refused", value_too_large));
        cases.push(Case::new("a key of 3500 bytes is refused", key_too_long));
    }
    cases
}

fn expired_at_once(context: &Context) -> Outcome {
    for _ in 0..3 {
        let json = success(&context.put("/f", "value=1&ttl=1")?)?;
        let expiration = timestamp::parse(&text(&json, "node.expiration")?)?;
        let left = Duration::from_secs_f64((expiration - timestamp::now()).max(0.0));
        wait::pass(left + Duration::from_millis(5));
        expect_error(&context.get("/f")?, 100, &context.key("/f"))?;
        expect_equal("listed", success(&context.get("")?)?.list("node.nodes").len(), 0)?;
    }
    Ok(())
}

fn indexes_are_times(context: &Context) -> Outcome {
    let seconds = index(&context.put("/f", "value=1")?)? / 1_000_000;
    let apart = timestamp::now() - Duration::from_secs(seconds).as_secs_f64();
    expect(apart.abs() < 60.0, || format!("{apart} s apart from now"))
}

fn members_are_fixed(context: &Context) -> Outcome {
    let members = context.send(&Request::new("GET", "/v2/members"))?;
    let id = text(members.json()?.list("members").first().ok_or("no members")?, "id")?;
    let body = r#"{"peerURLs":["http://127.0.0.1:1"]}"#;
    for (method, target) in [
        ("POST", "/v2/members".to_owned()),
        ("PUT", format!("/v2/members/{id}")),
        ("DELETE", format!("/v2/members/{id}")),
    ] {
        let request =
            Request::new(method, &target).body(body).header("Content-Type", "application/json");
        let answer = context.send(&request)?;
        expect(answer.status() >= 400, || answer.describe())?;
        let message = text(&answer.json()?, "message")?;
        expect(!message.is_empty(), || format!("{method}: no message"))?;
    }
    let after = context.send(&Request::new("GET", "/v2/members"))?;
    expect_equal("members", after.text(), members.text())
}

/// A v2 error with status 400 that says why.
fn refused(answer: &Answer) -> Outcome {
    expect_status(answer, 400)?;
    let json = answer.json()?;
    expect(json.number("errorCode").is_some(), || answer.describe())?;
    let cause = text(&json, "cause")?;
    expect(!cause.is_empty(), || answer.describe())
}

fn value_too_large(context: &Context) -> Outcome {
    let value = "v".repeat(500_000);
    refused(&context.put("/f", &format!("value={value}"))?)?;
    refused(&context.put("/f?prevExist=false", &format!("value={value}"))?)?;
    refused(&context.post("/q", &format!("value={value}"))?)?;
    expect_error(&context.get("/f")?, 100, &context.key("/f"))?;
    context.put("/f", "value=1")?;
    refused(&context.put("/f", &format!("value={value}"))?)?;
    refused(&context.put("/f?prevValue=1", &format!("value={value}"))?)?;
    expect_equal("value", text(&success(&context.get("/f")?)?, "node.value")?, "1".to_owned())
}

fn key_too_long(context: &Context) -> Outcome {
    let key = format!("/{}", "k".repeat(3500));
    refused(&context.put(&key, "value=1")?)?;
    refused(&context.put(&format!("{key}?prevExist=false"), "value=1")?)?;
    refused(&context.put(&format!("{key}?dir=true"), "")?)?;
    expect_equal("children", success(&context.get("")?)?.list("node.nodes").len(), 0)
}
