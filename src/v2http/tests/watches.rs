//! Watches on a real socket: the head at once, lines as they come, and how it ends.

use super::*;

const RECURSIVE: &str = "GET /v2/keys/d?wait=true&recursive=true";

fn line(path: &str, index: u64) -> String {
    format!(
        "{{\"action\":\"set\",\"node\":{{\"key\":\"{path}\",\"value\":\"v\",\
         \"modifiedIndex\":{index},\"createdIndex\":16}}}}\n"
    )
}

async fn until_watched(server: &Running, count: u64) {
    while server.keys.watchers() != count {
        tokio::task::yield_now().await;
    }
}

/// Sends a GET and reads the head of the answer.
async fn begin(server: &Running, request: &str) -> (TcpStream, String) {
    let mut socket = server.connect().await;
    let text = format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let head = read_until(&mut socket, "\r\n\r\n").await;
    (socket, head)
}

#[tokio::test]
async fn the_head_comes_at_once_and_the_connection_stays() {
    let server = Setup::default().start().await;
    let (mut socket, head) = begin(&server, "GET /v2/keys/d/f?wait=true").await;
    for wanted in [
        "HTTP/1.1 200 OK\r\n",
        "\r\nContent-Type: application/json\r\n",
        "\r\nX-Etcd-Cluster-Id: 7f\r\n",
        "\r\nX-Etcd-Index: 17\r\n",
        "\r\nX-Raft-Index: 17\r\n",
        "\r\nX-Raft-Term: 2\r\n",
        "\r\nTransfer-Encoding: chunked\r\n",
        "\r\nAccess-Control-Allow-Origin: *\r\n",
    ] {
        assert!(head.contains(wanted), "{wanted} in {head}");
    }
    server.keys.tell("/d/f", 20);
    let body = read_until(&mut socket, "\r\n0\r\n\r\n").await;
    assert!(body.contains(&line("/d/f", 20)), "{body}");
    socket.write_all(b"GET /v2/keys/d/f HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut socket, "\"action\":\"get\"").await;
}

#[tokio::test]
async fn a_stream_has_a_line_for_each_event() {
    let server = Setup::default().start().await;
    let (mut socket, _) = begin(&server, &format!("{RECURSIVE}&stream=true")).await;
    for index in 20..25 {
        server.keys.tell("/d/f", index);
        let body = read_until(&mut socket, "\n\r\n").await;
        assert!(body.contains(&line("/d/f", index)), "{body}");
    }
    assert_eq!(server.keys.watchers(), 1);
}

#[tokio::test]
async fn the_past_answers_at_once_or_is_refused() {
    let server = Setup::default().start().await;
    server.keys.tell("/d/f", 20);
    server.keys.tell("/d/g", 21);
    let seen = server.ask("GET", "/v2/keys/d?wait=true&recursive=true&waitIndex=21").await;
    assert_eq!((seen.status, seen.header("X-Etcd-Index")), (200, Some("17")));
    assert!(seen.body.contains(&line("/d/g", 21)), "{}", seen.body);
    let refused = server.ask("GET", "/v2/keys/d?wait=true&waitIndex=3").await;
    let body = concat!(
        r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","#,
        r#""cause":"the requested history has been cleared [20/3]","index":17}"#,
        "\n"
    );
    assert_eq!((refused.status, refused.body.as_str()), (400, body));
    assert_eq!(refused.header("X-Etcd-Index"), Some("17"));
    assert_eq!(server.keys.watchers(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_watcher() {
    let server = Setup::default().start().await;
    let (idle, _) = begin(&server, RECURSIVE).await;
    let (stream, _) = begin(&server, &format!("{RECURSIVE}&stream=true")).await;
    until_watched(&server, 2).await;
    drop(idle);
    until_watched(&server, 1).await;
    drop(stream);
    until_watched(&server, 0).await;
}

#[tokio::test]
async fn the_shutdown_ends_watches_without_an_event() {
    let server = Setup::default().start().await;
    let (mut long_poll, _) = begin(&server, RECURSIVE).await;
    let (mut stream, _) = begin(&server, &format!("{RECURSIVE}&stream=true")).await;
    server.shutdown.begin();
    for socket in [&mut long_poll, &mut stream] {
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"0\r\n\r\n");
    }
    assert_eq!(server.server.await.unwrap(), Drained::Whole);
}

#[tokio::test]
async fn a_silence_is_ended_before_a_load_balancer_does() {
    let timeout = Duration::from_millis(50);
    let setup = Setup { watch_timeout: Some(timeout), ..Setup::default() };
    let server = setup.start().await;
    let answer = server.ask("GET", "/v2/keys/d?wait=true").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "0\r\n\r\n"));
    until_watched(&server, 0).await;
}

#[tokio::test]
async fn the_request_timeout_is_not_for_watches() {
    let request_timeout = Duration::from_millis(20);
    let server = Setup { request_timeout, ..Setup::default() }.start().await;
    let (mut socket, _) = begin(&server, RECURSIVE).await;
    tokio::time::sleep(request_timeout * 5).await;
    server.keys.tell("/d/f", 20);
    read_until(&mut socket, &line("/d/f", 20)).await;
}

#[tokio::test]
async fn the_head_says_what_the_beginning_consumed() {
    let server = Setup { expose_request_units: true, ..Setup::default() }.start().await;
    let (_socket, head) = begin(&server, "GET /v2/keys/d/f?wait=true").await;
    assert!(head.contains("\r\nX-Etcdynamo-Read-Units: 0.5\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_sent_while_a_watch_waits_is_answered_after_it() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    let one = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    // One that comes with the request, one in two pieces while the watch waits.
    let text = one("/v2/keys/d/f?wait=true") + &one("/version");
    socket.write_all(text.as_bytes()).await.unwrap();
    read_until(&mut socket, "\r\n\r\n").await;
    let last = one("/v2/keys/late");
    let (first_half, second_half) = last.as_bytes().split_at(9);
    socket.write_all(first_half).await.unwrap();
    until_watched(&server, 1).await;
    server.keys.tell("/d/f", 20);
    let told = read_until(&mut socket, "3.4.23").await;
    let end = told.find("\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n").expect("the watch ends before");
    assert!(told[..end].contains(&line("/d/f", 20)), "{told}");
    socket.write_all(second_half).await.unwrap();
    read_until(&mut socket, "\"/late\"").await;
    server.keys.tell("/d/f", 21);
}

#[tokio::test]
async fn one_watch_after_the_other_waits_on_a_connection() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    for index in 20..30 {
        let text =
            "GET /v2/keys/d/f?wait=true HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
        socket.write_all(text.as_bytes()).await.unwrap();
        read_until(&mut socket, "\r\n\r\n").await;
        server.keys.tell("/d/f", index);
        let body = read_until(&mut socket, "\r\n0\r\n\r\n").await;
        assert!(body.contains(&line("/d/f", index)), "{body}");
    }
    drop(socket);
    until_watched(&server, 0).await;
}

#[tokio::test]
async fn a_connection_that_shall_not_stay_ends_with_its_watch() {
    let server = Setup::default().start().await;
    for (version, index) in [("HTTP/1.0", 20), ("HTTP/1.1", 21)] {
        let head = format!("GET /v2/keys/d/f?wait=true {version}");
        let asking = server.ask_raw(&head, "");
        let telling = async {
            until_watched(&server, 1).await;
            server.keys.tell("/d/f", index);
        };
        let (answer, ()) = tokio::join!(asking, telling);
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&line("/d/f", index)), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_deadline_cuts_off_a_client_that_does_not_read_its_events() {
    let server = Setup { grace: Duration::from_millis(50), ..Setup::default() }.start().await;
    let (socket, _) = begin(&server, &format!("{RECURSIVE}&stream=true")).await;
    // As many as the kernel takes for it, and more.
    let path = format!("/d/{}", "f".repeat(100_000));
    for index in 20..200 {
        server.keys.tell(&path, index);
        tokio::task::yield_now().await;
    }
    server.shutdown.begin();
    let cut = Drained::Cut { connections: 1, writes: 0 };
    assert_eq!(server.server.await.unwrap(), cut);
    drop(socket);
}
