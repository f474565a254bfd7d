//! HTTP itself: versions, connections, pipelines, request targets, headers of every answer.

use std::time::Duration;

use compat_tests::http::{Answer, Connection, Framing, Request};

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status, index};

const CLOSING: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a connection is kept", keep_alive),
        Case::new("a connection is closed when asked", close_when_asked),
        Case::new("HTTP 1.0 is answered and closed", http_1_0),
        Case::new("pipelined requests are answered in order", pipeline),
        Case::new("absolute request targets work", absolute_form),
        Case::new("a request without Host is refused", without_host),
        Case::new("a broken escape in the path is refused plainly", broken_escape),
        Case::new("CONNECT is not allowed and not redirected", connect),
        Case::new("header names come in any case", header_names),
        Case::new("an Origin changes nothing", origin),
        Case::new("small answers are counted", small_answers),
        Case::new("large answers are whole", large_answers),
        Case::new("HEAD has the headers of GET", head_headers),
        Case::new("the cluster id is one", cluster_id),
        Case::new("raft headers never fall", raft_headers),
    ]
}

fn exchange(connection: &mut Connection, raw: &str) -> Result<Answer, String> {
    connection.send_raw(raw.as_bytes()).map_err(|error| error.to_string())?;
    connection.read_answer(false).map_err(|error| error.to_string())
}

fn keep_alive(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let requests = [
        (Request::new("PUT", &context.path("/f")).form("value=1"), 201),
        (Request::new("HEAD", &context.path("/f")), 200),
        (Request::new("GET", &context.path("/nope")), 404),
        (Request::new("HEAD", &context.path("/nope")), 404),
        (Request::new("PATCH", &context.path("/f")), 405),
        (Request::new("OPTIONS", &context.path("/f")), 200),
        (Request::new("GET", &context.path("//f")), 301),
        (Request::new("GET", "/nowhere"), 404),
        (Request::new("GET", &context.path("/f?ttl=x")), 400),
        (Request::new("GET", &context.path("/f")), 200),
    ];
    for (request, status) in requests {
        let answer = connection
            .send(&request)
            .map_err(|error| format!("{} {}: {error}", request.method, request.target))?;
        expect_status(&answer, status)?;
    }
    Ok(())
}

fn close_when_asked(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let request = Request::new("GET", "/version").header("Connection", "close");
    let answer = connection.send(&request).map_err(|error| error.to_string())?;
    expect_status(&answer, 200)?;
    expect_equal("Connection", answer.header("Connection"), Some("close"))?;
    expect(connection.is_closed_within(CLOSING), || "it stayed open".to_owned())
}

fn http_1_0(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let raw = format!("GET {} HTTP/1.0\r\n\r\n", context.path(""));
    let answer = exchange(&mut connection, &raw)?;
    expect_status(&answer, 200)?;
    answer.json()?;
    expect(answer.head.framing != Framing::Chunked, || "chunks in HTTP/1.0".to_owned())?;
    expect(connection.is_closed_within(CLOSING), || "it stayed open".to_owned())
}

fn pipeline(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let mut bytes = Vec::new();
    for number in 0..20 {
        let put = Request::new("PUT", &context.path("/f")).form(&format!("value={number}"));
        bytes.extend(put.encode(context.client.address()));
        let get = Request::new("GET", &context.path("/f"));
        bytes.extend(get.encode(context.client.address()));
    }
    connection.send_raw(&bytes).map_err(|error| error.to_string())?;
    for number in 0..20 {
        for _ in ["put", "get"] {
            let answer = connection.read_answer(false).map_err(|error| error.to_string())?;
            let json = answer.json()?;
            expect_equal("value", json.text("node.value"), Some(number.to_string().as_str()))?;
        }
    }
    Ok(())
}

fn absolute_form(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    let mut connection = context.connect()?;
    let raw = format!(
        "GET http://elsewhere{} HTTP/1.1\r\nHost: x\r\n\r\n",
        context.path("/f?quorum=true")
    );
    expect_status(&exchange(&mut connection, &raw)?, 200)
}

fn without_host(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let raw = format!("GET {} HTTP/1.1\r\n\r\n", context.path(""));
    expect_status(&exchange(&mut connection, &raw)?, 400)
}

fn broken_escape(context: &Context) -> Outcome {
    for path in ["/%zz", "/a%", "/%4", "/%4z/b"] {
        let mut connection = context.connect()?;
        let raw = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", context.path(path));
        let answer = exchange(&mut connection, &raw)?;
        expect_status(&answer, 400)?;
        expect_equal("X-Etcd-Index", answer.header("X-Etcd-Index"), None)?;
    }
    Ok(())
}

fn connect(context: &Context) -> Outcome {
    for path in ["/f", "//f"] {
        let mut connection = context.connect()?;
        let raw = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", context.path(path));
        let answer = exchange(&mut connection, &raw)?;
        expect_status(&answer, 405)?;
        expect_equal("Allow", answer.header("Allow"), Some("HEAD,GET,PUT,POST,DELETE"))?;
    }
    Ok(())
}

fn header_names(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let raw = format!(
        "PUT {} HTTP/1.1\r\nhOsT: x\r\nCONTENT-TYPE: application/x-www-form-urlencoded\r\n\
         content-LENGTH: 7\r\n\r\nvalue=1",
        context.path("/f")
    );
    let answer = exchange(&mut connection, &raw)?;
    expect_status(&answer, 201)?;
    expect_equal("value", answer.json()?.text("node.value"), Some("1"))
}

fn origin(context: &Context) -> Outcome {
    for (method, target) in [
        ("GET", context.path("")),
        ("OPTIONS", context.path("")),
        ("GET", "/version".to_owned()),
        ("GET", "/nowhere".to_owned()),
        ("GET", "/v2/members".to_owned()),
        ("PATCH", "/v2/stats/self".to_owned()),
    ] {
        let request = Request::new(method, &target)
            .header("Origin", "http://browser.example")
            .header("Access-Control-Request-Method", "PUT");
        context.send(&request)?;
    }
    Ok(())
}

fn small_answers(context: &Context) -> Outcome {
    let put = context.put("/f", "value=1")?;
    let got = context.get("/f")?;
    let missing = context.get("/nope")?;
    for answer in [put, got, missing] {
        let length = answer.body.len();
        expect_equal("framing", answer.head.framing, Framing::Length(length))?;
    }
    Ok(())
}

fn large_answers(context: &Context) -> Outcome {
    let value = "0123456789".repeat(10_000);
    expect_status(&context.put("/f", &format!("value={value}"))?, 201)?;
    let answer = context.get("/f")?;
    expect_equal("value", answer.json()?.text("node.value"), Some(value.as_str()))
}

fn head_headers(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    for key in ["/f", "/nope", "/f/below", "/f?ttl=x"] {
        let get = context.get(key)?;
        let head = context.send(&Request::new("HEAD", &context.path(key)))?;
        expect_equal("status", head.status(), get.status())?;
        for name in ["Content-Type", "X-Etcd-Cluster-Id"] {
            expect_equal(name, head.header(name), get.header(name))?;
        }
        for name in ["X-Etcd-Index", "X-Raft-Index", "X-Raft-Term"] {
            expect_equal(name, head.header(name).is_some(), get.header(name).is_some())?;
        }
    }
    Ok(())
}

fn cluster_id(context: &Context) -> Outcome {
    let first = context.get("")?;
    let id = first.header("X-Etcd-Cluster-Id").map(str::to_owned);
    expect(id.is_some(), || "there is none".to_owned())?;
    for target in [
        context.path("/nope"),
        context.path("?ttl=x"),
        "/v2/members".to_owned(),
        "/v2/members/leader".to_owned(),
    ] {
        let answer = context.send(&Request::new("GET", &target))?;
        expect_equal(&target, answer.header("X-Etcd-Cluster-Id").map(str::to_owned), id.clone())?;
    }
    Ok(())
}

fn raft_headers(context: &Context) -> Outcome {
    let (mut last_index, mut last_term, mut last) = (0, 0, 0);
    for number in 0..20 {
        let answer = context.put("/f", &format!("value={number}"))?;
        let raft = answer.head.number("X-Raft-Index").unwrap_or_default();
        let term = answer.head.number("X-Raft-Term").unwrap_or_default();
        expect(raft > 0 && raft >= last_index, || format!("{raft} after {last_index}"))?;
        expect(term >= last_term, || format!("{term} after {last_term}"))?;
        expect(index(&answer)? > last, || "the index did not rise".to_owned())?;
        (last_index, last_term, last) = (raft, term, index(&answer)?);
    }
    Ok(())
}
