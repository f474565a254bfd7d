//! Status, headers and bodies of single answers.

use super::*;

#[tokio::test]
async fn a_read_has_etcds_headers() {
    let server = Setup::default().start().await;
    let answer = server.ask("GET", "/v2/keys/foo").await;
    assert_eq!(answer.status, 200);
    let body = r#"{"action":"get","node":{"key":"/foo","value":"v","modifiedIndex":16,"createdIndex":16}}"#;
    assert_eq!(answer.body, format!("{body}\n"));
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("X-Etcd-Cluster-Id", "7f"),
        ("X-Etcd-Index", "17"),
        ("X-Raft-Index", "17"),
        ("X-Raft-Term", "2"),
        ("Content-Length", &answer.body.len().to_string()),
        ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
        ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
        ("Access-Control-Allow-Origin", "*"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("Date").is_some());
}

#[tokio::test]
async fn an_error_has_no_raft_headers() {
    let server = Setup::default().start().await;
    let answer = server.ask("GET", "/v2/keys/nope").await;
    assert_eq!(answer.status, 404);
    let body = r#"{"errorCode":100,"message":"Key not found","cause":"/nope","index":16}"#;
    assert_eq!(answer.body, format!("{body}\n"));
    assert_eq!(answer.header("X-Etcd-Cluster-Id"), Some("7f"));
    assert_eq!(answer.header("X-Etcd-Index"), Some("16"));
    assert_eq!(answer.header("X-Raft-Index"), None);
    assert_eq!(answer.header("X-Raft-Term"), None);
    assert_eq!(server.ask("GET", "/v2/keys/a?dir=").await.header("X-Etcd-Index"), Some("0"));
    let broken = server.ask("GET", "/v2/keys/broken").await;
    assert_eq!(broken.status, 500);
    assert!(broken.body.contains(r#""errorCode":300"#), "{broken:?}");
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let server = Setup::default().start().await;
    for target in ["/v2/keys/foo", "/v2/keys/nope", "/v2/machines", "/v2/keys/a?dir=x"] {
        let get = server.ask("GET", target).await;
        let head = server.ask("HEAD", target).await;
        assert_eq!(head.body, "", "{target}");
        assert_eq!(head.status, get.status, "{target}");
        for name in ["Content-Length", "Content-Type", "X-Etcd-Index", "X-Raft-Index"] {
            assert_eq!(head.header(name), get.header(name), "{target} {name}");
        }
    }
    assert_eq!(server.ask("HEAD", "/v2/keys/foo?wait=true").await.status, 400);
}

#[tokio::test]
async fn only_what_is_new_is_created() {
    let server = Setup::default().start().await;
    let created = server.send_form("PUT", "/v2/keys/new", "value=1").await;
    assert_eq!(created.status, 201);
    let set = server.send_form("PUT", "/v2/keys/old", "value=1").await;
    assert_eq!(set.status, 200);
    assert!(set.body.contains(r#""prevNode":{"key":"/old","value":"before""#), "{set:?}");
    let bare = server.send_form("PUT", "/v2/keys/new?noValueOnSuccess=true", "value=1").await;
    assert_eq!((bare.status, bare.body.as_str()), (201, "{\"action\":\"set\"}\n"));
    assert_eq!(bare.header("X-Etcd-Index"), Some("16"));
    let deleted = server.ask("DELETE", "/v2/keys/old?noValueOnSuccess=true").await;
    assert!(deleted.body.contains("prevNode"), "{deleted:?}");
}

#[tokio::test]
async fn only_forms_are_read() {
    let server = Setup::default().start().await;
    for (content_type, method, is_read) in [
        ("application/x-www-form-urlencoded", "PUT", true),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", "PUT", true),
        ("text/plain", "PUT", false),
        ("application/json", "PUT", false),
        ("multipart/form-data; boundary=x", "PUT", false),
    ] {
        let head = format!(
            "{method} /v2/keys/k HTTP/1.1\r\nContent-Length: 7\r\nContent-Type: {content_type}"
        );
        server.ask_raw(&head, "value=1").await;
        let value: &[u8] = if is_read { b"1" } else { b"" };
        assert_eq!(server.values().pop().as_deref(), Some(value), "{content_type}");
    }
    server.ask_raw("PUT /v2/keys/k?value=q HTTP/1.1\r\nContent-Length: 7", "value=1").await;
    assert_eq!(server.values().pop().as_deref(), Some(&b"q"[..]));
    let bad = "PUT /v2/keys/k HTTP/1.1\r\nContent-Length: 7\r\nContent-Type: bad/;/";
    let refused = server.ask_raw(bad, "value=1").await;
    let body = r#"{"errorCode":210,"message":"Invalid POST form","cause":"mime: expected token after slash","index":0}"#;
    assert_eq!((refused.status, refused.body), (400, format!("{body}\n")));
    // A DELETE's body is not looked at.
    assert_eq!(server.send_form("DELETE", "/v2/keys/k", "%zz").await.status, 201);
}

#[tokio::test]
async fn values_are_bytes() {
    let server = Setup::default().start().await;
    server.send_form("PUT", "/v2/keys/%FF", "value=%FF%00+%2B").await;
    assert_eq!(server.values(), [b"\xff\0 +"]);
    assert_eq!(server.keys.written()[0].key.as_bytes(), b"/\xff");
}

#[tokio::test]
async fn dirty_paths_are_redirected_for_every_method() {
    let server = Setup::default().start().await;
    for (target, location) in [
        ("/v2/keys//foo", "/v2/keys/foo"),
        ("/v2/keys/a%2F..%2Fb?x=1", "/v2/keys/b?x=1"),
        ("/v2/keys//%C3%A9%20%2B+x", "/v2/keys/%C3%A9%20++x"),
        ("/v2/keys/..", "/v2"),
        ("//version", "/version"),
    ] {
        let get = server.ask("GET", target).await;
        assert_eq!((get.status, get.header("Location")), (301, Some(location)), "{target}");
        assert_eq!(get.header("Content-Type"), Some("text/html; charset=utf-8"));
        let page = format!("<a href=\"{location}\">Moved Permanently</a>.\n\n");
        assert_eq!(get.body, page);
        for method in ["PUT", "POST", "DELETE", "PATCH"] {
            let other = server.ask(method, target).await;
            assert_eq!((other.status, other.header("Location")), (301, Some(location)));
            assert_eq!(other.header("Content-Type"), None);
            assert_eq!(other.header("Content-Length"), Some("0"));
        }
        let head = server.ask("HEAD", target).await;
        assert_eq!((head.status, head.body.as_str()), (301, ""));
    }
    assert!(server.keys.written().is_empty());
}

#[tokio::test]
async fn options_and_cors_on_everything() {
    let server = Setup::default().start().await;
    for target in ["/", "/nowhere", "/v2/keys//dirty", "/v2/members"] {
        let options = server.ask("OPTIONS", target).await;
        assert_eq!((options.status, options.body.as_str()), (200, ""), "{target}");
        assert_eq!(options.header("Content-Length"), Some("0"));
        assert_eq!(options.header("Access-Control-Allow-Origin"), Some("*"));
        let get = server.ask("GET", target).await;
        assert_eq!(get.header("Access-Control-Allow-Origin"), Some("*"), "{target}");
    }
}

#[tokio::test]
async fn a_list_of_origins_is_echoed_or_nothing() {
    let cors = Cors::Origins(vec!["http://good".to_owned()]);
    let server = Setup { cors, ..Setup::default() }.start().await;
    for (header, allowed) in [
        ("\r\nOrigin: http://good", Some("http://good")),
        ("\r\nOrigin: http://bad", None),
        ("", None),
    ] {
        let answer = server.ask_raw(&format!("GET /version HTTP/1.1{header}"), "").await;
        assert_eq!(answer.header("Access-Control-Allow-Origin"), allowed);
        assert_eq!(answer.header("Access-Control-Allow-Methods").is_some(), allowed.is_some());
    }
}

#[tokio::test]
async fn bare_refusals_come_before_everything() {
    let server = Setup::default().start().await;
    for method in ["GET", "OPTIONS", "PUT"] {
        let answer = server.ask(method, "/v2/keys/%zz").await;
        assert_eq!((answer.status, answer.body.as_str()), (400, "400 Bad Request"));
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("Connection"), Some("close"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
    for (request, body) in [
        ("GET /version HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
        ("GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request"),
    ] {
        let mut socket = server.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, body));
    }
    let mut socket = server.connect().await;
    socket.write_all(b"GET /version HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut socket).await.status, 200);
}

#[tokio::test]
async fn wrong_methods_and_paths() {
    let server = Setup::default().start().await;
    for (method, target, allow) in [
        ("PATCH", "/v2/keys/a?dir=x", Some("HEAD,GET,PUT,POST,DELETE")),
        ("get", "/v2/keys", Some("HEAD,GET,PUT,POST,DELETE")),
        ("HEAD", "/v2/members", Some("GET,POST,DELETE,PUT")),
        ("DELETE", "/v2/members", None),
        ("POST", "/v2/machines", Some("GET,HEAD")),
        ("HEAD", "/version", Some("GET")),
        ("HEAD", "/health", Some("GET")),
        ("PUT", "/v2/stats/self", Some("GET")),
        ("PUT", "/v2/stats/leader", Some("GET")),
        ("PUT", "/v2/stats/store", Some("GET")),
        ("GET", "/config/local/log", Some("PUT")),
        ("POST", "/v2/auth/enable", Some("GET,PUT,DELETE")),
        ("POST", "/v2/auth/users", Some("GET")),
        ("POST", "/v2/auth/roles/r", Some("GET,PUT,DELETE")),
    ] {
        let answer = server.ask(method, target).await;
        assert_eq!((answer.status, answer.header("Allow")), (405, allow), "{method} {target}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        let body = if method == "HEAD" { "" } else { "Method Not Allowed\n" };
        assert_eq!(answer.body, body);
    }
    for target in [
        "/",
        "/v2",
        "/v2/keysfoo",
        "/V2/keys",
        "/version/",
        "/v2/stats",
        "/v2/auth",
        "/v2/machines/",
    ] {
        let answer = server.ask("GET", target).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, "404 page not found\n"),
            "{target}"
        );
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn the_one_member_is_its_own_leader() {
    let server = Setup::default().start().await;
    let member = r#"{"id":"2bc21162cab8eb93","name":"a","peerURLs":[],"clientURLs":["http://a:2379","http://b:2379"]}"#;
    for (target, status, body) in [
        ("/v2/members", 200, format!("{{\"members\":[{member}]}}\n")),
        ("/v2/members/", 200, format!("{{\"members\":[{member}]}}\n")),
        ("/v2/members/leader", 200, format!("{member}\n")),
        ("/v2/members/leader/", 404, r#"{"message":"Not found"}"#.to_owned()),
        ("/v2/members/2bc21162cab8eb93", 404, r#"{"message":"Not found"}"#.to_owned()),
        ("/v2/machines", 200, "http://a:2379, http://b:2379".to_owned()),
        ("/v2/stats/leader", 200, r#"{"leader":"2bc21162cab8eb93","followers":{}}"#.to_owned()),
        ("/version", 200, r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#.to_owned()),
        ("/v2/auth/enable", 200, "{\"enabled\":false}\n".to_owned()),
    ] {
        let answer = server.ask("GET", target).await;
        assert_eq!((answer.status, &answer.body), (status, &body), "{target}");
        let names_cluster = target.starts_with("/v2/members") || target.starts_with("/v2/auth");
        assert_eq!(answer.header("X-Etcd-Cluster-Id").is_some(), names_cluster, "{target}");
        assert_eq!(answer.header("X-Etcd-Index"), None);
    }
    let stats = server.ask("GET", "/v2/stats/self").await.body;
    assert!(stats.contains(r#""leaderInfo":{"leader":"2bc21162cab8eb93","uptime":""#), "{stats}");
    assert!(stats.contains(r#""startTime":"2026-11-21T22:38:20.654Z""#), "{stats}");
}

#[tokio::test]
async fn membership_cannot_be_changed() {
    let server = Setup::default().start().await;
    let json = |method: &str, target: &str, body: &str| {
        let length = body.len();
        format!(
            "{method} {target} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}"
        )
    };
    let urls = r#"{"peerURLs":["http://x:2380"]}"#;
    let fixed = r#"{"message":"membership cannot be changed: etcdynamo has one member"}"#;
    let eof = r#"{"message":"unexpected end of JSON input"}"#;
    let own = "/v2/members/2bc21162cab8eb93";
    for (method, target, body, status, answer) in [
        ("POST", "/v2/members", urls, 409, fixed),
        ("POST", "/v2/members", "{}", 400, r#"{"message":"no valid URLs given"}"#),
        ("POST", "/v2/members", "{", 400, eof),
        ("POST", "/v2/members", "", 400, eof),
        ("PUT", own, urls, 409, fixed),
        ("PUT", "/v2/members/0012", urls, 404, r#"{"message":"No such member: 12"}"#),
        ("DELETE", own, "", 409, fixed),
        ("DELETE", "/v2/members/0012", "", 404, r#"{"message":"No such member: 12"}"#),
        ("DELETE", "/v2/members/x/y", "", 404, r#"{"message":"No such member: x/y"}"#),
    ] {
        let given = server.ask_raw(&json(method, target, body), body).await;
        assert_eq!(
            (given.status, given.body.as_str()),
            (status, answer),
            "{method} {target} {body}"
        );
    }
    let answer = server.ask_raw("POST /v2/members HTTP/1.1\r\nContent-Length: 2", "{}").await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.body, r#"{"message":"Bad Content-Type , accept application/json"}"#);
}

#[tokio::test]
async fn health_is_a_string_in_plain_text() {
    let server = Setup::default().start().await;
    let well = server.ask("GET", "/health").await;
    assert_eq!((well.status, well.body.as_str()), (200, r#"{"health":"true"}"#));
    assert_eq!(well.header("Content-Type"), Some("text/plain; charset=utf-8"));
    server.keys.is_healthy.store(false, Ordering::Relaxed);
    let ill = server.ask("GET", "/health").await;
    assert_eq!((ill.status, ill.body.as_str()), (503, "{\"health\":\"false\"}\n"));
}

#[tokio::test]
async fn a_server_is_live_to_its_end_and_ready_until_that_is_announced() {
    let server = Setup::default().start().await;
    for path in ["/livez", "/readyz"] {
        let well = server.ask("GET", path).await;
        assert_eq!((well.status, well.body.as_str()), (200, "ok\n"), "{path}");
        assert_eq!(server.ask("HEAD", path).await.status, 200);
        let other = server.ask("PUT", path).await;
        assert_eq!((other.status, other.header("Allow")), (405, Some("GET,HEAD")));
    }
    // A store that is ill makes nobody leave a load balancer, or be started anew.
    server.keys.is_healthy.store(false, Ordering::Relaxed);
    assert_eq!(server.ask("GET", "/readyz").await.status, 200);
    let mut open = server.connect().await;
    server.shutdown.announce();
    assert_eq!(server.ask("GET", "/livez").await.status, 200);
    open.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    for ill in [read_to_end(&mut open).await, server.ask("GET", "/readyz").await] {
        let body = "not ready: the server is shutting down\n";
        assert_eq!((ill.status, ill.body.as_str()), (503, body));
    }
    // It still serves, and sends its clients elsewhere.
    let mut kept = server.connect().await;
    kept.write_all(b"PUT /v2/keys/a?value=1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut kept).await;
    assert_eq!((answer.status, answer.header("Connection")), (201, Some("close")));
}

#[tokio::test]
async fn before_there_are_keys_only_probes_are_answered_and_others_wait() {
    let (open, coming) = tokio::sync::oneshot::channel();
    let setup = Setup { request_timeout: Duration::from_secs(60), ..Setup::default() };
    let server = setup.start_with(async { coming.await.unwrap() }).await;
    assert_eq!(server.ask("GET", "/livez").await.status, 200);
    let ready = server.ask("GET", "/readyz").await;
    let body = "not ready: the server is starting\n";
    assert_eq!((ready.status, ready.body.as_str()), (503, body));
    let health = server.ask("GET", "/health").await;
    assert_eq!((health.status, health.body.as_str()), (503, "{\"health\":\"false\"}\n"));
    let mut early = server.connect().await;
    let request = b"GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    early.write_all(request).await.unwrap();
    let mut byte = [0];
    let waits = tokio::time::timeout(Duration::from_millis(50), early.read(&mut byte)).await;
    assert!(waits.is_err(), "it was answered");
    assert!(open.send(Arc::clone(&server.keys)).is_ok());
    assert_eq!(read_to_end(&mut early).await.status, 200);
    assert_eq!(server.ask("GET", "/readyz").await.status, 200);
}

#[tokio::test]
async fn nobody_waits_for_keys_that_do_not_come() {
    let setup = Setup { request_timeout: Duration::from_millis(20), ..Setup::default() };
    let server = setup.start_with(std::future::pending()).await;
    let late = server.ask("GET", "/v2/keys/a").await;
    assert_eq!((late.status, late.header("Retry-After")), (503, Some("1")));
    assert_eq!(late.body, r#"{"message":"the server is starting"}"#);
    server.shutdown.begin();
    assert_eq!(server.server.await.unwrap(), Drained::Whole);
}

#[tokio::test]
async fn the_log_level_can_be_changed() {
    let server = Setup::default().start().await;
    for (body, status, answer) in [
        (r#"{"Level":"debug"}"#, 204, ""),
        (r#"{"LEVEL":"info"}xx"#, 204, ""),
        (r#"{"level":"xx"}"#, 400, r#"{"message":"Invalid log level xx"}"#),
        ("{}", 400, r#"{"message":"Invalid log level "}"#),
        ("xx", 400, r#"{"message":"Invalid json body"}"#),
        ("", 400, r#"{"message":"Invalid json body"}"#),
    ] {
        let head = format!("PUT /config/local/log HTTP/1.1\r\nContent-Length: {}", body.len());
        let given = server.ask_raw(&head, body).await;
        assert_eq!((given.status, given.body.as_str()), (status, answer), "{body}");
        assert!(status != 204 || given.header("Content-Length").is_none());
    }
    assert_eq!(*server.log_levels.lock().unwrap(), [Level::DEBUG, Level::INFO]);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Setup::default().start().await;
    server.ask("GET", "/v2/keys/foo").await;
    let metrics = server.ask("GET", "/metrics").await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(metrics.header("Content-Type"), Some(content_type));
    assert!(metrics.body.contains(r#"etcd_http_received_total{method="GET"}"#), "{metrics:?}");
}

#[tokio::test]
async fn answers_say_what_their_requests_consumed_where_that_is_wanted() {
    let server = Setup { expose_request_units: true, ..Setup::default() }.start().await;
    let consumed = Some(("0.5", "1.333"));
    for (method, target, status, units) in [
        ("GET", "/v2/keys/a", 200, consumed),
        ("GET", "/v2/keys/nope", 404, consumed),
        ("DELETE", "/v2/keys/old", 200, consumed),
        ("DELETE", "/v2/keys/broken", 500, consumed),
        ("GET", "/v2/keys/a?wait=maybe", 400, Some(("0", "0"))),
        ("PATCH", "/v2/keys/a", 405, Some(("0", "0"))),
        ("GET", "/version", 200, None),
    ] {
        let answer = server.ask(method, target).await;
        assert_eq!(answer.status, status, "{method} {target}");
        let header = |name| answer.header(name);
        let said = header("X-Etcdynamo-Read-Units").zip(header("X-Etcdynamo-Write-Units"));
        assert_eq!(said, units, "{method} {target}");
    }
    // A write runs in a task of its own.
    let written = server.send_form("PUT", "/v2/keys/a", "value=1").await;
    assert_eq!(written.header("X-Etcdynamo-Write-Units"), Some("1.333"));
    let silent = Setup::default().start().await.ask("GET", "/v2/keys/a").await;
    assert_eq!(silent.header("X-Etcdynamo-Read-Units"), None);
}
