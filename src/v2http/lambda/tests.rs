//! Events of each sender with what is nasty in them, and replies on their way back.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};

use super::super::body::RequestBody;
use super::super::cluster::ReachedAt;
use super::super::fake::{FakeKeys, NOW};
use super::super::{Cors, LogConfig};
use super::event::Sender;
use super::*;
use crate::shutdown::Pace;

const URL_DOMAIN: &str = "abc.lambda-url.us-east-1.on.aws";
const API_DOMAIN: &str = "abc.execute-api.us-east-1.amazonaws.com";

fn asked(event: Value) -> Result<Asked, Unusable> {
    serde_json::from_value::<Event>(event).expect("it is read").asked()
}

fn request(event: Value) -> Asked {
    let shown = event.to_string();
    asked(event).unwrap_or_else(|why| panic!("{why}: {shown}"))
}

fn whole(body: RequestBody) -> Vec<u8> {
    match body {
        RequestBody::Whole(bytes) => bytes.to_vec(),
        RequestBody::Coming(_) => panic!("it is in memory"),
    }
}

fn function_url(path: &str, query: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "host": URL_DOMAIN },
        "requestContext": {
            "http": { "method": "GET", "path": path, "sourceIp": "198.51.100.7" },
            "stage": "$default",
            "domainName": URL_DOMAIN
        },
        "isBase64Encoded": false
    })
}

fn http_api(domain: &str, stage: &str, path: &str) -> Value {
    let mut event = function_url(path, "");
    event["headers"]["host"] = domain.into();
    event["requestContext"]["domainName"] = domain.into();
    event["requestContext"]["stage"] = stage.into();
    event
}

fn rest_api(path: &str, query: Value) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "PUT",
        "headers": { "Host": API_DOMAIN, "X-Twice": "b" },
        "multiValueHeaders": { "Host": [API_DOMAIN], "X-Twice": ["a", "b"], "Nobody": null },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": query,
        "requestContext": {
            "stage": "prod",
            "domainName": API_DOMAIN,
            "path": format!("/prod{path}"),
            "identity": { "sourceIp": "2001:db8::7" }
        },
        "body": null,
        "isBase64Encoded": false
    })
}

fn balancer(path: &str, query: Value) -> Value {
    json!({
        "requestContext": { "elb": { "targetGroupArn": "arn" } },
        "httpMethod": "DELETE",
        "path": path,
        "queryStringParameters": query,
        "headers": {
            "host": "lb.example.com",
            "x-forwarded-for": "203.0.113.1, 198.51.100.9",
            "x-forwarded-proto": "http"
        },
        "body": "",
        "isBase64Encoded": false
    })
}

#[test]
fn a_path_that_comes_as_it_was_goes_on_as_it_was() {
    for path in [
        "/v2/keys/a%2Fb",
        "/v2/keys/a%2fb%20c+d",
        "/v2/keys/%C3%A9%00%25%zz%",
        "/v2/keys//a/../b/",
        "/v2/keys/a;b=c,d:e@f!g$h&i'j(k)*~",
        "/",
    ] {
        for event in
            [function_url(path, ""), rest_api(path, Value::Null), balancer(path, json!({}))]
        {
            assert_eq!(request(event).request.uri().path(), path);
        }
    }
}

#[test]
fn what_cannot_stand_in_a_target_is_encoded() {
    for (path, encoded) in [
        ("", "/"),
        ("no-slash", "/no-slash"),
        ("/a b", "/a%20b"),
        ("/\u{e9}", "/%C3%A9"),
        ("/a#b?c", "/a%23b%3Fc"),
        ("/a\"<>`{|}\\^", "/a%22%3C%3E%60%7B%7C%7D%5C%5E"),
    ] {
        assert_eq!(request(function_url(path, "")).request.uri().path(), encoded, "{path}");
    }
}

#[test]
fn the_path_of_an_http_api_was_decoded() {
    for (path, encoded) in [
        ("/prod/v2/keys/a/b", "/v2/keys/a/b"),
        ("/prod/v2/keys/100%", "/v2/keys/100%25"),
        ("/prod/v2/keys/%41 +", "/v2/keys/%2541%20+"),
        ("/prod/v2/keys/\u{e9}#", "/v2/keys/%C3%A9%23"),
        ("/prod", "/"),
        ("/production", "/production"),
    ] {
        let asked = request(http_api(API_DOMAIN, "prod", path));
        assert_eq!(asked.request.uri().path(), encoded, "{path}");
        assert_eq!(asked.prefix, "/prod");
        let mut first = http_api(API_DOMAIN, "prod", path);
        first["version"] = "1.0".into();
        first["httpMethod"] = "GET".into();
        first["path"] = path.into();
        assert_eq!(request(first).request.uri().path(), encoded, "1.0: {path}");
    }
}

#[test]
fn a_stage_is_in_front_only_of_an_apis_own_domain() {
    let cases = [
        (http_api(API_DOMAIN, "$default", "/v2/keys"), "/v2/keys", ""),
        (http_api("etcd.example.com", "v2", "/v2/keys"), "/v2/keys", ""),
        (http_api(API_DOMAIN, "v2", "/v2/v2/keys"), "/v2/keys", "/v2"),
        (rest_api("/prod/v2/keys", Value::Null), "/prod/v2/keys", "/prod"),
        (function_url("/prod/v2/keys", ""), "/prod/v2/keys", ""),
    ];
    for (event, path, prefix) in cases {
        let asked = request(event);
        assert_eq!((asked.request.uri().path(), asked.prefix.as_str()), (path, prefix));
    }
}

#[test]
fn a_query_says_what_it_said() {
    let query = |event| request(event).request.uri().query().unwrap_or_default().to_owned();
    for raw in ["", "a=1&a=2&b", "prevValue=a+b%20c%2Bd%zz;", "recursive=true&sorted=true", "&&="] {
        assert_eq!(query(function_url("/", raw)), raw);
    }
    assert_eq!(query(function_url("/", "a=\u{e9} #")), "a=%C3%A9%20%23");
    for (given, expected) in [
        (Value::Null, ""),
        (json!({}), ""),
        (json!({ "prevValue": ["a b+c&d=e%\u{e9}"] }), "prevValue=a%20b%2Bc%26d%3De%25%C3%A9"),
        (json!({ "b": ["2", "1"], "a": [""], "c": null }), "a=&b=2&b=1"),
    ] {
        assert_eq!(query(rest_api("/", given)), expected);
    }
    let mut single = rest_api("/", Value::Null);
    single["queryStringParameters"] = json!({ "dir": "true" });
    assert_eq!(query(single), "dir=true");
    assert_eq!(query(balancer("/", json!({ "a": "x%20y+z%2B" }))), "a=x%20y+z%2B");
}

#[test]
fn bodies_come_as_text_or_in_base64() {
    for (body, is_base64, expected) in [
        (Value::Null, false, &b""[..]),
        (json!(""), false, b""),
        (json!("value=a%20b"), false, b"value=a%20b"),
        (json!("dmFsdWU9AP8="), true, b"value=\x00\xff"),
        (json!("\u{e9}"), false, "\u{e9}".as_bytes()),
    ] {
        let mut event = function_url("/v2/keys/f", "");
        event["body"] = body;
        event["isBase64Encoded"] = is_base64.into();
        assert_eq!(whole(request(event).request.into_body()), expected);
    }
    let mut broken = function_url("/", "");
    broken["body"] = "%%%".into();
    broken["isBase64Encoded"] = true.into();
    assert_eq!(asked(broken).err(), Some(Unusable::Malformed(Sender::Version2)));
}

#[test]
fn headers_come_one_by_one_or_together() {
    let mut event = function_url("/", "");
    event["headers"] = json!({
        "Authorization": "Basic cm9vdDpwdw==",
        "content-type": "application/x-www-form-urlencoded",
        "no header": "x",
        "x-nothing": null,
        "x-broken": "a\nb",
        "x-latin": "\u{e9}"
    });
    let headers = request(event).request.headers().clone();
    assert_eq!(headers.get(AUTHORIZATION).expect("there"), "Basic cm9vdDpwdw==");
    assert_eq!(headers.get("host").expect("made up for"), URL_DOMAIN);
    assert_eq!(headers.get("x-latin").expect("there").as_bytes(), "\u{e9}".as_bytes());
    assert!(!headers.contains_key("x-broken") && !headers.contains_key("x-nothing"));
    let headers = request(rest_api("/", Value::Null)).request.headers().clone();
    let twice: Vec<_> = headers.get_all("x-twice").iter().collect();
    assert_eq!(twice, ["a", "b"]);
    assert_eq!(headers.get_all("host").iter().count(), 1);
}

#[test]
fn the_client_is_who_the_sender_saw() {
    let mut nobody = function_url("/", "");
    nobody["requestContext"]["http"]["sourceIp"] = "?".into();
    nobody["headers"]["x-forwarded-for"] = "203.0.113.1".into();
    let mut with_port = balancer("/", json!({}));
    with_port["headers"]["x-forwarded-for"] = "198.51.100.9:4711".into();
    for (event, client) in [
        (function_url("/", ""), "198.51.100.7:0"),
        (rest_api("/", Value::Null), "[2001:db8::7]:0"),
        (balancer("/", json!({})), "198.51.100.9:0"),
        (with_port, "198.51.100.9:4711"),
        (nobody, "0.0.0.0:0"),
    ] {
        assert_eq!(request(event).peer.address.to_string(), client);
    }
}

#[test]
fn the_url_of_the_client_is_known() {
    for (event, url) in [
        (function_url("/", ""), format!("https://{URL_DOMAIN}")),
        (http_api(API_DOMAIN, "prod", "/prod/"), format!("https://{API_DOMAIN}/prod")),
        (rest_api("/", Value::Null), format!("https://{API_DOMAIN}/prod")),
        (balancer("/", json!({})), "http://lb.example.com".to_owned()),
    ] {
        let asked = request(event);
        let ReachedAt(reached) = asked.request.extensions().get().expect("there");
        assert_eq!(*reached, url);
    }
}

#[test]
fn what_is_no_http_request_is_told_apart() {
    for event in [
        json!({}),
        json!({ "Records": [] }),
        json!({ "version": "2.0" }),
        json!({ "version": "3.0", "requestContext": { "http": {} } }),
        json!({ "httpMethod": "GET", "path": "/" }),
        json!({ "version": "2.0", "rawPath": "/", "requestContext": { "connectionId": "x" } }),
    ] {
        assert_eq!(asked(event.clone()).err(), Some(Unusable::NotHttp), "{event}");
    }
    let mut odd = function_url("/", "");
    odd["requestContext"]["http"]["method"] = "G E T".into();
    assert_eq!(asked(odd).err(), Some(Unusable::Malformed(Sender::Version2)));
    let endless = function_url(&"/a".repeat(40_000), "");
    assert_eq!(asked(endless).err(), Some(Unusable::Malformed(Sender::Version2)));
}

fn asking(sender: Sender, cluster_id: &HeaderValue) -> Asking<'_> {
    Asking { sender, prefix: "/prod", is_head: false, is_read: true, cluster_id, origin: None }
}

async fn told(sender: Sender, reply: reply::Reply) -> Value {
    let id = HeaderValue::from_static("7f");
    serde_json::to_value(tell(reply, &asking(sender, &id)).await).expect("it is JSON")
}

#[tokio::test]
async fn each_sender_is_told_in_its_way() {
    let reply = || {
        let mut reply = reply::text(StatusCode::CREATED, "\u{e9}\u{1}\"");
        reply.headers_mut().append("x-etcd-index", HeaderValue::from_static("5"));
        reply.headers_mut().append("vary", HeaderValue::from_static("a"));
        reply.headers_mut().append("vary", HeaderValue::from_static("b"));
        reply::closing(reply)
    };
    let text = "text/plain; charset=utf-8";
    let single = json!({ "Content-Type": text, "X-Etcd-Index": "5", "Vary": "a, b" });
    let many = json!({ "Content-Type": [text], "X-Etcd-Index": ["5"], "Vary": ["a", "b"] });
    for (sender, field, headers, description) in [
        (Sender::Version2, "headers", &single, None),
        (Sender::Version1, "multiValueHeaders", &many, None),
        (Sender::Balancer, "headers", &single, Some("201 Created")),
        (Sender::BalancerMulti, "multiValueHeaders", &many, Some("201 Created")),
    ] {
        let mut expected = json!({
            "statusCode": 201,
            "body": "\u{e9}\u{1}\"",
            "isBase64Encoded": false
        });
        expected[field] = headers.clone();
        if let Some(description) = description {
            expected["statusDescription"] = description.into();
        }
        assert_eq!(told(sender, reply()).await, expected, "{sender:?}");
    }
}

#[tokio::test]
async fn what_is_no_text_comes_in_base64() {
    let answer = told(Sender::Version2, reply::text(StatusCode::OK, &b"\xff\x00"[..])).await;
    assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
}

#[tokio::test]
async fn a_head_has_no_body_and_a_redirect_stays_below_its_stage() {
    let id = HeaderValue::from_static("7f");
    let head = Asking { is_head: true, ..asking(Sender::Version2, &id) };
    let answer = tell(reply::text(StatusCode::OK, "there"), &head).await;
    assert_eq!((answer.status_code, answer.body.as_str()), (200, ""));
    let answer = told(Sender::Version2, reply::moved("/v2/keys/f", false, false)).await;
    assert_eq!(answer["headers"], json!({ "Location": "/prod/v2/keys/f" }));
    let elsewhere = told(Sender::Version2, reply::moved("http://a/b", false, false)).await;
    assert_eq!(elsewhere["headers"]["Location"], "http://a/b");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_that_names_the_limit() {
    let quotes = |count: usize| reply::json_document("\"".repeat(count));
    for (sender, fits, limit, whose) in [
        (Sender::Version2, 3_145_000, 6_291_456, "AWS Lambda"),
        (Sender::Version1, 3_145_000, 6_291_456, "AWS Lambda"),
        (Sender::Balancer, 524_000, 1_048_576, "a load balancer in front of AWS Lambda"),
        (Sender::BalancerMulti, 524_000, 1_048_576, "a load balancer in front of AWS Lambda"),
    ] {
        assert_eq!(told(sender, quotes(fits)).await["statusCode"], 200, "{sender:?}");
        let answer = told(sender, quotes(limit / 2)).await;
        assert_eq!(answer["statusCode"], 400, "{sender:?}");
        let error: Value =
            serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(error["errorCode"], 209);
        let cause = error["cause"].as_str().expect("a cause");
        assert!(cause.ends_with(&format!("over the limit of {limit} bytes of {whose}")), "{cause}");
    }
    // What was changed stays changed, so nobody is told that it was refused.
    let id = HeaderValue::from_static("7f");
    let write = Asking {
        is_read: false,
        origin: Some(HeaderValue::from_static("*")),
        ..asking(Sender::Version2, &id)
    };
    let answer = tell(quotes(6 << 20), &write).await;
    assert_eq!(answer.status_code, 500);
    assert!(answer.body.contains("the request was carried out"), "{}", answer.body);
    let headers = answer.headers.expect("some");
    assert_eq!(headers.get("Access-Control-Allow-Origin").map(String::as_str), Some("*"));
}

/// What answers events, and what it asks.
fn api(request_timeout: Duration) -> Api<FakeKeys> {
    let config = Config {
        name: "a".to_owned(),
        client_urls: Vec::new(),
        cors: Cors::Any,
        max_connections: 1,
        body_budget_bytes: 0,
        header_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        requests_per_second_per_client: None,
        request_timeout,
        watch_timeout: None,
        expose_request_units: false,
        stands_still: true,
        log: LogConfig::default(),
        set_log_level: Arc::new(drop),
    };
    let shutdown = Shutdown::new(Pace { delay: Duration::ZERO, grace: Duration::ZERO });
    Api::new(Arc::new(FakeKeys::new(1 << 20)), config, shutdown)
}

/// In so many milliseconds of the fake's time, which stands still.
fn in_ms(ms: u64) -> u64 {
    u64::try_from(NOW.0).expect("after 1970") + ms
}

async fn answered(api: &Api<FakeKeys>, event: Value, deadline_ms: u64) -> (u16, Value) {
    let event = serde_json::from_value(event).expect("it is read");
    let told = invoked(api, event, deadline_ms).await.expect("an answer");
    let headers = told.headers.expect("some");
    assert_eq!(headers.get("Access-Control-Allow-Origin").map(String::as_str), Some("*"));
    (told.status_code, serde_json::from_str(&told.body).expect("JSON"))
}

fn put(path: &str) -> Value {
    let mut event = function_url(path, "");
    event["requestContext"]["http"]["method"] = "PUT".into();
    event["headers"]["content-type"] = "application/x-www-form-urlencoded".into();
    event["body"] = "value=1".into();
    event
}

#[tokio::test]
async fn an_event_is_answered_by_the_router() {
    let api = api(Duration::from_secs(60));
    let (status, body) = answered(&api, put("/v2/keys/a%20b"), 0).await;
    assert_eq!((status, &body["node"]["key"]), (201, &json!("/a b")));
    let (status, body) = answered(&api, function_url("/v2/members", ""), in_ms(60_000)).await;
    assert_eq!(status, 200);
    assert_eq!(body["members"][0]["clientURLs"], json!([format!("https://{URL_DOMAIN}")]));
    let mut odd = function_url("/", "");
    odd["requestContext"]["http"]["method"] = "G E T".into();
    let odd = serde_json::from_value(odd).expect("it is read");
    let refused = invoked(&api, odd, 0).await.expect("an answer");
    assert_eq!((refused.status_code, refused.body.as_str()), (400, "400 Bad Request"));
    let no_event = serde_json::from_value(json!({})).expect("it is read");
    assert!(invoked(&api, no_event, 0).await.is_err());
}

#[tokio::test]
async fn nothing_is_asked_before_what_was_missed_is_made_up_for() {
    let api = api(Duration::from_secs(60));
    api.keys.misses.store(true, Ordering::Relaxed);
    let (status, body) = answered(&api, put("/v2/keys/f"), in_ms(60_000)).await;
    assert_eq!((status, &body["errorCode"]), (500, &json!(300)));
    assert!(api.keys.written().is_empty());
    // Whoever only wants to know whether it is there is told.
    assert_eq!(answered(&api, function_url("/health", ""), in_ms(60_000)).await.0, 200);
    api.keys.misses.store(false, Ordering::Relaxed);
    assert_eq!(answered(&api, put("/v2/keys/f"), in_ms(60_000)).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_before_its_answer_goes_out_though_it_timed_out() {
    let api = Arc::new(api(Duration::from_secs(5)));
    let asked = {
        let api = Arc::clone(&api);
        tokio::spawn(async move { answered(&api, put("/v2/keys/slow"), in_ms(600_000)).await })
    };
    api.keys.slow_is_waiting.acquire().await.expect("it comes").forget();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(api.keys.written().is_empty() && !asked.is_finished());
    api.keys.let_go();
    let (status, body) = asked.await.expect("an answer");
    assert_eq!((status, &body["errorCode"]), (500, &json!(300)), "its client was told so");
    assert_eq!(api.keys.written().len(), 1, "and it did not stop half-way");
    assert_eq!(answered(&api, function_url("/v2/members", ""), 0).await.0, 200);
}

#[tokio::test]
async fn when_the_functions_time_is_over_the_answer_is_a_timeout() {
    let api = api(Duration::from_secs(60));
    for event in [put("/v2/keys/slow"), function_url("/v2/keys/slow", "")] {
        let (status, body) = answered(&api, event, in_ms(310)).await;
        assert_eq!((status, &body["errorCode"]), (500, &json!(300)));
        assert_eq!(body["cause"], "etcdserver: request timed out");
    }
    // The write goes on whenever it can.
    api.keys.let_go();
    api.keys.let_go();
    api.writes.close();
    api.writes.wait().await;
    assert_eq!(api.keys.written().len(), 1);
}
