//! Request bodies that a line of text cannot carry: chunked, announced, multipart, binary.

use compat_tests::http::Request;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status, success, text};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a chunked body counts", chunked),
        Case::new("an announced body is asked for", announced),
        Case::new("a multipart form does not count", multipart),
        Case::new("a value that is not UTF-8 is shown with replacements", broken_value),
        Case::new("characters that JSON or HTML escape come back", escapes),
        Case::new("a GET with a body leaves the connection usable", body_on_get),
        Case::new("a POST of a raw form splits at the first equals sign", equals_signs),
    ]
}

fn chunked(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        context.path("/f?value=query")
    );
    let pieces = ["4\r\nvalu\r\n", "5\r\ne=abc\r\n", "1\r\nd\r\n0\r\n\r\n"];
    for piece in std::iter::once(head.as_str()).chain(pieces) {
        connection.send_raw(piece.as_bytes()).map_err(|error| error.to_string())?;
    }
    let answer = connection.read_answer(false).map_err(|error| error.to_string())?;
    expect_status(&answer, 201)?;
    expect_equal("value", text(&answer.json()?, "node.value")?, "abcd".to_owned())
}

fn announced(context: &Context) -> Outcome {
    let mut connection = context.connect()?;
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 7\r\nExpect: 100-continue\r\n\r\n",
        context.path("/f")
    );
    let failed = |error: std::io::Error| error.to_string();
    connection.send_raw(head.as_bytes()).map_err(failed)?;
    let interim = connection.read_head(false).map_err(failed)?;
    expect_equal("interim status", interim.status, 100)?;
    connection.send_raw(b"value=1").map_err(failed)?;
    let answer = connection.read_answer(false).map_err(failed)?;
    expect_status(&answer, 201)?;
    expect_equal("value", text(&answer.json()?, "node.value")?, "1".to_owned())
}

fn multipart(context: &Context) -> Outcome {
    let body = "--sep\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\n1\r\n--sep--\r\n";
    let request = Request::new("PUT", &context.path("/f"))
        .body(body)
        .header("Content-Type", "multipart/form-data; boundary=sep");
    let answer = context.send(&request)?;
    expect_status(&answer, 201)?;
    expect_equal("value", text(&answer.json()?, "node.value")?, String::new())
}

fn broken_value(context: &Context) -> Outcome {
    let answer = context.put("/f", "value=a%FFb%C3")?;
    expect_equal(
        "value",
        text(&success(&answer)?, "node.value")?,
        "a\u{fffd}b\u{fffd}".to_owned(),
    )?;
    let raw = Request::new("PUT", &context.path("/g"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(b"value=\xff\xfe".to_vec());
    let answer = context.send(&raw)?;
    expect_equal("value", text(&success(&answer)?, "node.value")?, "\u{fffd}\u{fffd}".to_owned())?;
    let other = context.put("/f?prevValue=a%FEb%C3", "value=1")?;
    expect_status(&other, 412)?;
    success(&context.put("/f?prevValue=a%FFb%C3", "value=1")?).map(|_| ())
}

fn escapes(context: &Context) -> Outcome {
    let value = "<a href=\"x\">&amp;</a>\\ \u{2028}\u{2029}\u{1}\u{7f}é😀\t\r\n";
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = context.put("/%3Ck%26", &format!("value={encoded}"))?;
    let json = success(&answer)?;
    expect_equal("value", text(&json, "node.value")?, value.to_owned())?;
    expect_equal("key", text(&json, "node.key")?, context.key("/<k&"))?;
    let raw = answer.text();
    expect(!raw.trim_end().contains(['\n', '\t', '\u{1}']), || format!("raw controls in {raw:?}"))
}

fn body_on_get(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    let mut connection = context.connect()?;
    let get = Request::new("GET", &context.path("/f")).form("recursive=x&wait=true");
    for _ in 0..2 {
        let answer = connection.send(&get).map_err(|error| error.to_string())?;
        expect_status(&answer, 200)?;
    }
    Ok(())
}

fn equals_signs(context: &Context) -> Outcome {
    let answer = context.post("/q", "value=a=b=c")?;
    expect_equal("value", text(&success(&answer)?, "node.value")?, "a=b=c".to_owned())
}
