//! What requests say they cost, held against the table of `docs/cost.md`, on engines that report
//! it. (DynamoDB Local reports four times as much for transactions, and nothing for empty queries.)

use compat_tests::http::{Answer, Request};
use compat_tests::server::{Server, Target};

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status};

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_etcdynamo() || matches!(target, Target::Url | Target::DynamodbLocal) {
        return Vec::new();
    }
    let mut cases = vec![Case::new("replies say nothing of units unless asked to", no_units)];
    if target == Target::Embedded {
        cases.push(Case::alone("the embedded store costs nothing", nothing));
    } else {
        cases.push(Case::alone("replies say what the table of costs says", table_of_costs));
        cases.push(Case::alone("the sums by operation are the sums by call", sums));
    }
    cases
}

/// Read units and write units, as they stand in the headers.
fn units(answer: &Answer) -> Option<(&str, &str)> {
    answer.header("X-Etcdynamo-Read-Units").zip(answer.header("X-Etcdynamo-Write-Units"))
}

fn no_units(context: &Context) -> Outcome {
    expect_equal("units", units(&context.put("/f", "value=1")?), None)
}

fn own_server(context: &Context) -> Result<(Server, Context), String> {
    context.own_server_with(&["--expose-request-units"])
}

fn nothing(context: &Context) -> Outcome {
    let (_server, own) = own_server(context)?;
    expect_equal("units", units(&own.put("/f", "value=1")?), Some(("0", "0")))?;
    expect_equal("units", units(&own.get("/none")?), Some(("0", "0")))
}

/// What ministack does not report: a BatchGetItem's units, which DynamoDB counts as those of as many
/// single reads, also of items that are not there.
const MINISTACK: [(&str, &str); 2] = [("/d/e/f", "0"), ("/d/e/none", "1")];

const TABLE: [(&str, &str, &str, u16, &str, &str); 22] = [
    // method, key and query, form, status, read units, write units
    ("PUT", "/f", "value=1", 201, "0", "5"),
    ("PUT", "/f", "value=2", 200, "0", "1"),
    ("PUT", "/f?prevExist=true", "value=3", 200, "0", "1"),
    ("PUT", "/f?prevExist=true&refresh=true", "ttl=60", 200, "0", "1"),
    ("PUT", "/f?prevValue=3", "value=4", 200, "0", "1"),
    ("PUT", "/f?prevValue=no", "value=5", 412, "0", "1"),
    ("PUT", "/f?prevIndex=7", "value=5", 412, "0", "1"),
    ("PUT", "/g?prevExist=false", "value=1", 201, "0", "4"),
    ("POST", "", "value=1", 201, "0", "4"),
    ("GET", "/f", "", 200, "1", "0"),
    ("GET", "/f?quorum=true", "", 200, "1", "0"),
    ("GET", "", "", 200, "2", "0"),
    ("GET", "?recursive=true", "", 200, "2", "0"),
    ("GET", "/none", "", 404, "2", "0"),
    ("GET", "/f?recursive=maybe", "", 400, "0", "0"),
    ("DELETE", "/f?prevValue=no", "", 412, "0", "1"),
    ("DELETE", "/f?prevValue=4", "", 200, "0", "1"),
    ("DELETE", "/g", "", 200, "0", "1"),
    ("PUT", "/d/e/f", "value=1", 201, "2", "13"),
    ("GET", "?recursive=true", "", 200, "4", "0"),
    ("GET", "/d/e/none", "", 404, "4", "0"),
    ("DELETE", "/d?recursive=true", "", 200, "3", "6"),
];

fn table_of_costs(context: &Context) -> Outcome {
    let (_server, own) = own_server(context)?;
    let mut wrong = Vec::new();
    for (method, key, form, status, reads, writes) in TABLE {
        let request = Request::new(method, &own.path(key));
        let answer = own.send(&if form.is_empty() { request } else { request.form(form) })?;
        expect_status(&answer, status)?;
        let mut reads = reads;
        if context.target == Target::Ministack {
            let less = MINISTACK.iter().find(|(of, _)| *of == key);
            reads = less.map_or(reads, |(_, reads)| reads);
        }
        let got = units(&answer);
        if got != Some((reads, writes)) {
            wrong.push(format!("{method} {key} {form}: {got:?} and not {:?}", (reads, writes)));
        }
    }
    expect(wrong.is_empty(), || wrong.join("\n"))
}

fn sums(context: &Context) -> Outcome {
    let (_server, own) = own_server(context)?;
    for (method, key, form, ..) in TABLE {
        let request = Request::new(method, &own.path(key));
        own.send(&if form.is_empty() { request } else { request.form(form) })?;
    }
    let metrics = own.send(&Request::new("GET", "/metrics"))?.text();
    let sum = |metric: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    for kind in ["read_request_units_total", "write_request_units_total"] {
        let by_operation = sum(&format!("etcdynamo_{kind}"));
        let by_call = sum(&format!("etcdynamo_dynamodb_{kind}"));
        expect(by_call > 20.0, || format!("{kind}: only {by_call}"))?;
        expect_equal(kind, by_operation, by_call)?;
    }
    let other = r#"etcdynamo_write_request_units_total{keyspace="default",operation="other"} 0"#;
    expect(metrics.lines().any(|line| line == other), || "somebody's units are unknown".to_owned())
}
