//! Clients that are slow on purpose, and clients that ask too much.

use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use super::*;

const VERSION: &[u8] = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_refused_in_time() {
    let header_timeout = Duration::from_secs(15);
    let server = Setup { header_timeout, ..Setup::default() }.start().await;
    let mut socket = server.connect().await;
    // The first request of a connection, and a later one after some idleness.
    for _ in 0..2 {
        socket.write_all(VERSION).await.unwrap();
        read_until(&mut socket, "3.4.23").await;
        sleep(Duration::from_secs(50)).await;
    }
    let began = Instant::now();
    socket.write_all(b"GET /version HTTP/1.1\r\nX: ").await.unwrap();
    let (mut read, mut write) = socket.split();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let answer = tokio::select! {
        answer = read_to_end(&mut read) => answer,
        () = drip => panic!("the drip ended first"),
    };
    assert_eq!((answer.status, answer.body.as_str()), (408, "408 Request Timeout\n"));
    assert_eq!(answer.header("Connection"), Some("close"));
    let took = began.elapsed();
    assert!(took >= header_timeout && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let header_timeout = Duration::from_secs(1);
    let idle_timeout = Duration::from_secs(120);
    let server = Setup { header_timeout, idle_timeout, ..Setup::default() }.start().await;
    let mut socket = server.connect().await;
    for _ in 0..3 {
        sleep(Duration::from_secs(110)).await;
        socket.write_all(VERSION).await.unwrap();
        read_until(&mut socket, "3.4.23").await;
    }
    let began = Instant::now();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_secs(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_something_moves_is_not_idle() {
    let idle_timeout = Duration::from_secs(20);
    let server = Setup { idle_timeout, ..Setup::default() }.start().await;
    // An answer that is larger than what the kernel holds, to a client that reads slowly.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut socket = socket.connect(server.address).await.unwrap();
    let form = format!("value={}", "x".repeat((10 << 20) - 6));
    let head = format!(
        "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        form.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(form.as_bytes()).await.unwrap();
    let mut seen = 0;
    while seen < form.len() {
        sleep(Duration::from_secs(5)).await;
        let mut piece = Vec::new();
        let count = (&mut socket).take(1 << 20).read_to_end(&mut piece).await.unwrap();
        seen += count;
        assert!(count == 1 << 20 || seen >= form.len(), "it ended after {seen} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_not_a_head_that_is_late() {
    let header_timeout = Duration::from_secs(1);
    let server = Setup { header_timeout, ..Setup::default() }.start().await;
    for (version, index) in [("1.0", 20), ("1.1", 30)] {
        let mut socket = server.connect().await;
        let watch = format!("GET /v2/keys/f?wait=true HTTP/{version}\r\nHost: a\r\n\r\n");
        socket.write_all(watch.as_bytes()).await.unwrap();
        read_until(&mut socket, "\r\n\r\n").await;
        // The next request, long before the watch has anything to tell.
        socket.write_all(VERSION).await.unwrap();
        sleep(Duration::from_secs(600)).await;
        server.keys.tell("/f", index);
        read_until(&mut socket, "modifiedIndex").await;
    }
    // When a watch of the past has told what it knows, its connection is as idle as any.
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /v2/keys/f?wait=true&waitIndex=20 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut socket, "\r\n0\r\n\r\n").await;
    let began = Instant::now();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    assert!(began.elapsed() <= Duration::from_secs(90), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_is_refused_in_time() {
    let server = Setup::default().start().await;
    let mut socket = server.connect().await;
    let head = "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=";
    socket.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = socket.split();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(20)).await;
        }
    };
    let answer = tokio::select! {
        answer = read_to_end(&mut read) => answer,
        () = drip => panic!("the drip ended first"),
    };
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("unexpected EOF"), "{}", answer.body);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_told_when_to_ask_again() {
    // So few that no second one is earned while the test runs.
    let requests_per_second_per_client = NonZeroU32::new(3);
    let setup = Setup { requests_per_second_per_client, ..Setup::default() };
    let server = setup.start().await;
    let mut refused = None;
    for _ in 0..1000 {
        let answer = server.ask("GET", "/v2/keys/a").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("three a second are fewer than a loop sends");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert_eq!(refused.header("Content-Type"), Some("application/json"));
    let body = concat!(
        r#"{"errorCode":300,"message":"Raft Internal Error","#,
        r#""cause":"etcdserver: too many requests from this client","index":0}"#,
        "\n"
    );
    assert_eq!(refused.body, body);
    // Probes are answered, and nothing is done for who is refused.
    for path in ["/health", "/version", "/metrics"] {
        assert_eq!(server.ask("GET", path).await.status, 200, "{path}");
    }
    let written = server.keys.written().len();
    let status = server.ask("PUT", "/v2/keys/a?value=1").await.status;
    assert_eq!(server.keys.written().len() - written, usize::from(status != 429));
}

#[tokio::test]
async fn a_door_for_metrics_serves_nothing_else_and_has_its_own_connections() {
    let setup = Setup { max_connections: 1, ..Setup::default() };
    let server = setup.start_at([(None, Door::Clients), (None, Door::Metrics)]).await;
    let mut only = server.connect().await;
    only.write_all(VERSION).await.unwrap();
    read_until(&mut only, "3.4.23").await;
    for (path, status) in
        [("/metrics", 200), ("/health", 200), ("/version", 404), ("/v2/keys/a", 404), ("/", 404)]
    {
        let mut socket = TcpStream::connect(server.addresses[1]).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut socket).await.status, status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_that_takes_a_while_does_not_cost_the_client_its_answer() {
    let server = Setup { value_bytes: 1000, ..Setup::default() }.start().await;
    let mut socket = server.connect().await;
    let head = "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..6 {
        sleep(Duration::from_millis(400)).await;
        socket.write_all(&[b'x'; 500_000]).await.unwrap();
    }
    assert_eq!(read_to_end(&mut socket).await.status, 400);
}
