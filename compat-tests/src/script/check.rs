//! What holds for every answer under `/v2/keys`, whatever was asked.
//!
//! Each exchange of each case passes through here, so that no case has to repeat which headers
//! an answer carries or how its body ends. It knows nothing of particular operations.

use super::errors;
use crate::http::{Answer, Framing, Request};
use crate::json::Json;

const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
    ("Access-Control-Allow-Origin", "*"),
];

/// Checks what every answer must have; returns the first thing that is wrong.
///
/// # Errors
/// The first rule that the answer breaks.
pub fn check_answer(request: &Request, answer: &Answer) -> Result<(), String> {
    if is_bare(answer) {
        return Ok(());
    }
    for (name, value) in CORS {
        expect_header(answer, name, Some(value))?;
    }
    for name in
        ["Vary", "Access-Control-Max-Age", "Access-Control-Expose-Headers", "Content-Encoding"]
    {
        expect_header(answer, name, None)?;
    }
    if request.method == "OPTIONS" || !is_about_keys(request) {
        return Ok(());
    }
    if answer.head.framing == Framing::ToEnd && answer.head.minor == 1 {
        return Err("the body is neither counted nor chunked".to_owned());
    }
    match answer.status() {
        301 | 405 => check_unindexed(answer),
        404 if answer.header("Content-Type") == Some("text/plain; charset=utf-8") => {
            check_unindexed(answer)
        }
        200 | 201 => check_success(request, answer),
        _ => check_error(request, answer),
    }
}

fn is_about_keys(request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    path == "/v2/keys" || path.starts_with("/v2/keys/") || path.starts_with("/v2/keys%")
}

/// The HTTP layer's own 400, before any handler.
fn is_bare(answer: &Answer) -> bool {
    answer.status() == 400
        && answer.header("Content-Type") != Some("application/json")
        && !answer.body.starts_with(b"{")
}

fn check_unindexed(answer: &Answer) -> Result<(), String> {
    for name in ["X-Etcd-Cluster-Id", "X-Etcd-Index", "X-Raft-Index", "X-Raft-Term"] {
        expect_header(answer, name, None)?;
    }
    let sniff = (answer.status() != 301).then_some("nosniff");
    expect_header(answer, "X-Content-Type-Options", sniff)
}

fn check_json_headers(answer: &Answer) -> Result<u64, String> {
    expect_header(answer, "Content-Type", Some("application/json"))?;
    expect_header(answer, "X-Content-Type-Options", None)?;
    expect_header(answer, "Allow", None)?;
    let cluster = answer.header("X-Etcd-Cluster-Id").unwrap_or_default();
    let is_hex = cluster.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if cluster.is_empty() || cluster.len() > 16 || !is_hex {
        return Err(format!("X-Etcd-Cluster-Id is {cluster:?}"));
    }
    number(answer, "X-Etcd-Index")
}

fn check_success(request: &Request, answer: &Answer) -> Result<(), String> {
    let index = check_json_headers(answer)?;
    number(answer, "X-Raft-Index")?;
    number(answer, "X-Raft-Term")?;
    if index == 0 || index >= 1 << 53 {
        return Err(format!("X-Etcd-Index is {index}"));
    }
    if request.method == "HEAD" {
        return expect_no_body(answer);
    }
    let json = one_line_of_json(answer)?;
    let is_write = json.text("action") != Some("get");
    match json.number("node.modifiedIndex") {
        Some(written) if is_write && written != index => {
            Err(format!("modifiedIndex is {written}, X-Etcd-Index {index}"))
        }
        _ => Ok(()),
    }
}

/// Indexes above this one are microseconds since 1970; a real etcd counts from 1.
const TIMESTAMPS: u64 = 1 << 50;

/// How far a read's index may be behind what it shows while others write.
const BEHIND_US: u64 = 5_000_000;

/// Checks that `X-Etcd-Index` covers the node that is shown. That holds where nobody else writes
/// what is read; under concurrent writes a server may say an earlier index, never a later one.
/// On a table where somebody watches it does, by as much as the writes that are under way take: there
/// indexes are microseconds, and it may be behind by [`BEHIND_US`].
///
/// # Errors
/// The node is newer than the header.
pub(super) fn check_covered(answer: &Answer) -> Result<(), String> {
    let index = answer.head.number("X-Etcd-Index").unwrap_or_default();
    let shown = answer.json().ok().and_then(|json| json.number("node.modifiedIndex"));
    let behind = if index > TIMESTAMPS { BEHIND_US } else { 0 };
    match shown {
        Some(shown) if shown > index + behind => {
            Err(format!("modifiedIndex {shown} is above X-Etcd-Index {index}"))
        }
        _ => Ok(()),
    }
}

fn check_error(request: &Request, answer: &Answer) -> Result<(), String> {
    let index = check_json_headers(answer)?;
    expect_header(answer, "X-Raft-Index", None)?;
    expect_header(answer, "X-Raft-Term", None)?;
    if request.method == "HEAD" {
        return expect_no_body(answer);
    }
    let json = one_line_of_json(answer)?;
    if !matches!(
        json.fields().as_slice(),
        ["errorCode", "message", "cause", "index"] | ["errorCode", "message", "index"]
    ) {
        return Err(format!("an error has the fields {:?}", json.fields()));
    }
    if json.number("index") != Some(index) {
        return Err(format!("X-Etcd-Index is {index}, the body's index is not"));
    }
    let code = json.number("errorCode").and_then(|code| u16::try_from(code).ok());
    let known = errors::find(code.unwrap_or_default());
    match known {
        Ok(line) if line.is_about_the_request() != (index == 0) => {
            Err(format!("error {} carries the index {index}", line.code))
        }
        Ok(line) if line.status != answer.status() => {
            Err(format!("error {} has the status {}", line.code, answer.status()))
        }
        _ => Ok(()),
    }
}

fn one_line_of_json(answer: &Answer) -> Result<Json, String> {
    let line = answer.body.strip_suffix(b"\n").ok_or("the body does not end in a newline")?;
    if line.contains(&b'\n') {
        return Err("the body has more than one line".to_owned());
    }
    Json::parse(line)
}

fn expect_no_body(answer: &Answer) -> Result<(), String> {
    if answer.body.is_empty() {
        return Ok(());
    }
    Err("the answer to a HEAD has a body".to_owned())
}

fn expect_header(answer: &Answer, name: &str, wanted: Option<&str>) -> Result<(), String> {
    let got = answer.header(name);
    if got == wanted {
        return Ok(());
    }
    Err(format!("header {name}: expected {wanted:?}, got {got:?}"))
}

fn number(answer: &Answer, name: &str) -> Result<u64, String> {
    answer
        .head
        .number(name)
        .ok_or_else(|| format!("header {name} is {:?}, not a number", answer.header(name)))
}
