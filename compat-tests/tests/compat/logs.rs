//! The log of a real process at its loudest: it has a line for each request and each write, and
//! nowhere a value, a query or a secret. etcdynamo's own promise.

use compat_tests::http::{Client, Request};
use compat_tests::server::Target;

use super::context::{Case, Context, Outcome, expect, expect_equal};

/// What stands in all that must not be logged.
const SECRET: &str = "sEcReT-4711";

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_etcdynamo() || target == Target::Url {
        return Vec::new();
    }
    ["text", "json"]
        .map(|format| {
            let name = format!("no value and no secret at trace as {format}");
            Case::alone(&name, move |context: &Context| no_secrets(context, format))
        })
        .into_iter()
        .collect()
}

/// A request with secrets in all its headers.
fn request(method: &str, target: &str) -> Request {
    Request::new(method, target)
        .header("Authorization", &format!("Basic {SECRET}"))
        .header("Cookie", SECRET)
        .header("User-Agent", SECRET)
        .header("X-Request-Id", &format!("insane {SECRET}"))
}

fn ask_everything(client: &Client, own: &Context) -> Result<usize, String> {
    let value = format!("value={SECRET}");
    let mut requests = vec![
        ("PUT", own.path("/f"), value.clone()),
        ("PUT", own.path("/f"), format!("{value}2&prevValue={SECRET}")),
        ("PUT", own.path("/f"), format!("{value}&prevValue=not-{SECRET}")),
        ("PUT", own.path("/f"), format!("{value}&prevExist=true&ttl={SECRET}")),
        ("PUT", own.path("/f"), format!("{value}&prevExist=true&ttl=100")),
        ("PUT", own.path("/f"), "refresh=true&ttl=100&prevExist=true".to_owned()),
        ("PUT", own.path("/f/below"), value.clone()),
        ("PUT", own.path("/new/deep/g"), format!("{value}&prevExist=false")),
        ("PUT", own.path("/f"), format!("{value}&prevExist=false")),
        ("PUT", own.path(&format!("/q?value={SECRET}&prevValue={SECRET}")), String::new()),
        ("POST", own.path("/new"), value.clone()),
        ("POST", own.path("/f"), value.clone()),
        ("PUT", own.path("/l"), format!("value={SECRET}{}", "v".repeat(500_000))),
        ("PUT", "/config/local/log".to_owned(), format!(r#"{{"Level":"{SECRET}"}}"#)),
        ("POST", "/v2/members".to_owned(), value.clone()),
        ("PUT", format!("/v2/auth/users/u?x={SECRET}"), value),
        ("PUT", "/v2/auth/users/u".to_owned(), format!(r#"{{"user":"u","password":"{SECRET}"}}"#)),
        (
            "PUT",
            "/v2/auth/users/u".to_owned(),
            format!(r#"{{"user":"u","roles":["{SECRET}"],"password":"{SECRET}"}}"#),
        ),
    ];
    for target in [
        own.path("/f"),
        own.path("?recursive=true&sorted=true"),
        own.path(&format!("/f?wait=true&waitIndex=1&unknown={SECRET}")),
        own.path(&format!("/nope?quorum={SECRET}")),
        format!("/v2//keys?x={SECRET}"),
        format!("/health?x={SECRET}"),
        format!("/nowhere?x={SECRET}"),
    ] {
        requests.push(("GET", target, String::new()));
    }
    requests.push(("DELETE", own.path(&format!("/f?prevValue=not-{SECRET}")), String::new()));
    requests.push(("DELETE", own.path(&format!("/f?prevValue={SECRET}")), String::new()));
    requests.push(("DELETE", own.path("?recursive=true"), String::new()));
    let count = requests.len();
    for (method, target, form) in requests {
        let request = request(method, &target);
        let request = if form.is_empty() { request } else { request.form(&form) };
        client.send(&request).map_err(|error| format!("{method} {target}: {error}"))?;
    }
    Ok(count)
}

fn no_secrets(context: &Context, format: &str) -> Outcome {
    let flags = ["--log-level", "trace", "--log-format", format, "--audit-log"];
    let flags = [&flags[..], &["--slow-request-ms", "1"]].concat();
    let (mut server, own) = context.own_server_with(&flags)?;
    let asked = ask_everything(&server.client(), &own)?;
    let given = Request::new("GET", "/version").header("X-Request-Id", "given-1");
    let answer = own.send(&given)?;
    expect_equal("X-Request-Id", answer.header("X-Request-Id"), Some("given-1"))?;
    server.stop()?;
    let log = server.log_text();
    let told = log.lines().find(|line| line.contains(SECRET));
    expect(told.is_none(), || format!("it is in the log: {}", told.unwrap_or_default()))?;
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    expect(lines("answered") > asked, || format!("{} of {asked} answered", lines("answered")))?;
    expect(lines("etcdynamo::audit") > 12, || format!("{} writes", lines("etcdynamo::audit")))?;
    expect(lines("given-1") == 1, || "the id is not in the log".to_owned())
}
