//! Connections: many requests on one, large bodies, clients that leave, and the end.

use super::*;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// Waits until the fake holds a slow request.
async fn slow_waits(server: &Running) {
    server.keys.slow_is_waiting.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    let one = |key: &str| format!("GET /v2/keys/{key} HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = format!("{}{}{}", one("a"), one("nope"), one("c"));
    socket.write_all(text.as_bytes()).await.unwrap();
    let answers = read_until(&mut socket, "\"/c\"").await;
    let positions: Vec<_> =
        ["\"/a\"", "\"/nope\"", "\"/c\""].iter().map(|k| answers.find(k)).collect();
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{answers}");
}

#[tokio::test]
async fn chunked_bodies_and_continue_work() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    let head = format!(
        "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\n{FORM}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut socket, "100 Continue\r\n\r\n").await;
    socket.write_all(b"3\r\nval\r\n5\r\nue=12\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut socket, "createdIndex").await;
    assert_eq!(server.values(), [b"12"]);
}

#[tokio::test]
async fn a_value_of_ten_megabytes_works_and_a_form_of_more_does_not() {
    let server = Setup::default().start().await;
    let largest = format!("value={}", "x".repeat((10 << 20) - 6));
    assert_eq!(server.send_form("PUT", "/v2/keys/a", &largest).await.status, 201);
    assert_eq!(server.values()[0].len(), (10 << 20) - 6);
    let refused = server.send_form("PUT", "/v2/keys/a", &format!("{largest}x")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains(r#""cause":"http: POST too large""#), "{}", refused.body);
    assert_eq!(refused.header("Connection"), Some("close"));
}

#[tokio::test]
async fn what_a_store_cannot_take_is_refused_by_the_name_of_its_limit() {
    let server = Setup { value_bytes: 1000, ..Setup::default() }.start().await;
    let fits = format!("value={}", "%41".repeat(1000));
    assert_eq!(server.send_form("PUT", "/v2/keys/a", &fits).await.status, 201);
    let long = server.send_form("PUT", "/v2/keys/a", &format!("value={}", "x".repeat(1001))).await;
    let cause = r#""errorCode":210,"message":"Invalid POST form","cause":"value of 1001 bytes is over the limit of 1000 bytes of a small item","index":0"#;
    assert_eq!((long.status, long.body), (400, format!("{{{cause}}}\n")));
    // A declared length that cannot fit is refused before anything of it is read.
    let mut socket = server.connect().await;
    let head =
        format!("PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\n{FORM}\r\nContent-Length: 70000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let refused = read_until(&mut socket, "\"index\":0}\n").await;
    assert!(refused.contains("form of more than 68536 bytes cannot fit a small item"), "{refused}");
    // One without a length is refused once it is too long, and the client still gets the answer.
    let mut socket = server.connect().await;
    let head = format!(
        "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\n{FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    for _ in 0..8 {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    let refused = read_until(&mut socket, "\"index\":0}\n").await;
    assert!(refused.contains("form of more than 68536 bytes"), "{refused}");
    assert_eq!(server.values().len(), 1);
}

#[tokio::test]
async fn a_key_of_sixty_thousand_bytes_works() {
    let server = Setup::default().start().await;
    let key = "k".repeat(60_000);
    let answer = server.ask("PUT", &format!("/v2/keys/{key}?value=1")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(server.keys.written()[0].key.as_bytes().len(), 60_001);
}

#[tokio::test]
async fn a_write_comes_to_its_end_though_the_client_left() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    socket.write_all(b"PUT /v2/keys/slow?value=1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    slow_waits(&server).await;
    drop(socket);
    // The end waits for it.
    server.shutdown.begin();
    server.keys.let_go();
    assert_eq!(server.server.await.unwrap(), Drained::Whole);
    assert_eq!(server.keys.written().len(), 1);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_request_timeout() {
    let request_timeout = Duration::from_millis(20);
    let server = Setup { request_timeout, ..Setup::default() }.start().await;
    for method in ["GET", "PUT"] {
        let answer = server.ask(method, "/v2/keys/slow").await;
        assert_eq!(answer.status, 500);
        let body = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
        assert_eq!(answer.body, format!("{body}\n"));
    }
}

#[tokio::test]
async fn more_connections_than_are_allowed_wait() {
    let server = Setup { max_connections: 1, ..Setup::default() }.start().await;
    let mut first = server.connect().await;
    first.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut first, "3.4.23").await;
    let mut second = server.connect().await;
    second.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second one was served");
    drop(first);
    read_until(&mut second, "3.4.23").await;
}

#[tokio::test]
async fn the_end_answers_what_was_begun_and_closes_what_is_idle() {
    let server = Setup::default().start().await;
    let mut fresh = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut idle, "3.4.23").await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /v2/keys/slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    slow_waits(&server).await;

    server.shutdown.begin();
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap(), 0);
    assert_eq!(fresh.read_to_end(&mut rest).await.unwrap(), 0);
    server.keys.let_go();
    let answer = read_to_end(&mut busy).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Connection"), Some("close"));
    drop((idle, fresh, busy));
    assert_eq!(server.server.await.unwrap(), Drained::Whole);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_deadline_cuts_off_what_does_not_end() {
    let server = Setup { grace: Duration::from_millis(20), ..Setup::default() }.start().await;
    let mut socket = server.connect().await;
    socket.write_all(b"PUT /v2/keys/slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    slow_waits(&server).await;
    server.shutdown.begin();
    assert_eq!(server.server.await.unwrap(), Drained::Cut { connections: 1, writes: 1 });
    assert_eq!(read_to_end(&mut socket).await.status, 0);
}
