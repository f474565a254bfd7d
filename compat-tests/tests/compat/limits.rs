//! Large and odd: values, keys, depths, directories, bytes that are not text.
//!
//! What is too large for DynamoDB is in `differences.rs`; here is what every target must hold.

use compat_tests::http::Request;
use compat_tests::server::Target;

use super::context::{
    Case, Context, Outcome, expect_equal, expect_error, expect_status, success, text,
};

pub(crate) fn cases(target: Target) -> Vec<Case> {
    let mut cases = vec![
        Case::new("a value of 350 KB", value_of_350_kb),
        Case::new("a key of 900 bytes", key_of_900_bytes),
        Case::new("a tree of 60 levels", depth_of_60),
        Case::new("a directory of 150 children", wide_directory),
        Case::new("keys are bytes", keys_are_bytes),
        Case::new("keys are compared exactly", keys_are_exact),
    ];
    if !target.is_dynamodb() {
        cases.push(Case::new("a value of 1 MiB", value_of_1_mib));
        cases.push(Case::new("a key of 3500 bytes", key_of_3500_bytes));
        cases.push(Case::new("a form of more than 10 MiB is refused", form_too_large));
    }
    cases
}

fn value_of(context: &Context, size: usize) -> Outcome {
    let value = "v".repeat(size);
    expect_status(&context.put("/f", &format!("value={value}"))?, 201)?;
    let got = success(&context.get("/f")?)?;
    expect_equal("length", text(&got, "node.value")?.len(), size)?;
    let replaced = success(&context.put("/f", "value=small")?)?;
    expect_equal("length", text(&replaced, "prevNode.value")?.len(), size)
}

fn value_of_350_kb(context: &Context) -> Outcome {
    value_of(context, 350_000)
}

fn value_of_1_mib(context: &Context) -> Outcome {
    value_of(context, 1024 * 1024)
}

fn form_too_large(context: &Context) -> Outcome {
    let form = format!("value={}", "v".repeat(10 * 1024 * 1024));
    let mut connection = context.connect()?;
    let request = Request::new("PUT", &context.path("/f")).form(&form);
    let answer = connection.send(&request).map_err(|error| error.to_string())?;
    expect_error(&answer, 210, "http: POST too large")?;
    expect_error(&context.get("/f")?, 100, &context.key("/f"))
}

/// Makes, reads, lists and removes a key whose whole path has so many bytes.
fn key_of(context: &Context, size: usize) -> Outcome {
    let parent = "/p".to_owned() + &"q".repeat(size / 2 - context.key("/p/").len());
    let key = format!("{parent}/{}", "k".repeat(size - context.key(&parent).len() - 1));
    expect_equal("bytes", context.key(&key).len(), size)?;
    // A real etcd drops a fresh connection whose first line is long, so one is used before.
    context.get("")?;
    let made = success(&context.put(&key, "value=1")?)?;
    expect_equal("key", text(&made, "node.key")?, context.key(&key))?;
    let listed = success(&context.get(&parent)?)?;
    expect_equal("children", listed.list("node.nodes").len(), 1)?;
    success(&context.put(&format!("{key}?prevValue=1"), "value=2")?)?;
    success(&context.delete(&key)?)?;
    expect_error(&context.get(&key)?, 100, &context.key(&key))
}

fn key_of_900_bytes(context: &Context) -> Outcome {
    key_of(context, 900)
}

fn key_of_3500_bytes(context: &Context) -> Outcome {
    key_of(context, 3500)
}

fn depth_of_60(context: &Context) -> Outcome {
    let key = "/a".repeat(60);
    expect_status(&context.put(&key, "value=deep")?, 201)?;
    let mut node =
        success(&context.get("/a?recursive=true")?)?.get("node").cloned().ok_or("no node")?;
    let mut depth = 1;
    while let Some(child) = node.list("nodes").first().cloned() {
        node = child;
        depth += 1;
    }
    expect_equal("depth", depth, 60)?;
    expect_equal("value", text(&node, "value")?, "deep".to_owned())?;
    expect_status(&context.delete("/a?recursive=true")?, 200)?;
    expect_error(&context.get(&key)?, 100, &context.key("/a"))
}

fn wide_directory(context: &Context) -> Outcome {
    for number in 0..150 {
        expect_status(&context.put(&format!("/d/{number:03}"), &format!("value={number}"))?, 201)?;
    }
    let listing = success(&context.get("/d?sorted=true")?)?;
    let values: Vec<String> = listing
        .list("node.nodes")
        .iter()
        .filter_map(|node| node.text("value").map(str::to_owned))
        .collect();
    let wanted: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    expect_equal("values", values, wanted)?;
    expect_status(&context.delete("/d?recursive=true")?, 200)?;
    expect_error(&context.get("/d/042")?, 100, &context.key("/d"))?;
    expect_status(&context.put("/d/new", "value=1")?, 201)?;
    let listing = success(&context.get("/d?recursive=true")?)?;
    expect_equal("children", listing.list("node.nodes").len(), 1)
}

fn keys_are_bytes(context: &Context) -> Outcome {
    for (key, value) in [("/%FF", "1"), ("/%FE", "2"), ("/%C3", "3")] {
        let json = success(&context.put(key, &format!("value={value}"))?)?;
        expect_equal("key", text(&json, "node.key")?, context.key("/\u{fffd}"))?;
    }
    for (key, value) in [("/%FF", "1"), ("/%fe", "2"), ("/%C3", "3")] {
        let json = success(&context.get(key)?)?;
        expect_equal("value", text(&json, "node.value")?, value.to_owned())?;
    }
    let listing = success(&context.get("")?)?;
    expect_equal("children", listing.list("node.nodes").len(), 3)?;
    // Two spellings of one letter are two keys.
    expect_status(&context.put("/%C3%A9", "value=one")?, 201)?;
    expect_status(&context.put("/e%CC%81", "value=two")?, 201)
}

fn keys_are_exact(context: &Context) -> Outcome {
    let keys = [
        "/a", "/A", "/a.", "/a%20", "/%20a", "/a%00", "/a%5C", "/a%25", "/a%3F", "/a:b", "/~",
        "/%7F",
    ];
    for key in keys {
        expect_status(&context.put(key, "value=1")?, 201)?;
    }
    let listing = success(&context.get("")?)?;
    expect_equal("children", listing.list("node.nodes").len(), keys.len())
}
