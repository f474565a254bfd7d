//! A server that lives, one that is sick, one that is silent, one that hangs up, and none.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What a server makes of the one request that it gets.
#[derive(Clone, Copy)]
enum Answer {
    Says(&'static str),
    HangsUp,
    Nothing,
}

/// Asks a server that behaves like this; gives what the check said, and what the server was asked.
async fn ask(answer: Answer, timeout_ms: u64) -> (Result<String, Unhealthy>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut asked = vec![0; 4096];
        let length = client.read(&mut asked).await.expect("a request");
        let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
        match answer {
            Answer::Says(text) => client.write_all(text.as_bytes()).await.expect("it is taken"),
            Answer::HangsUp => {}
            // Until the client has had enough.
            Answer::Nothing => assert_eq!(client.read(&mut [0]).await.expect("its end"), 0),
        }
        asked
    });
    let host = "127.0.0.1".to_owned();
    let timeout = Duration::from_millis(timeout_ms);
    let said = run(&HealthCheck { host, port, path: "/livez".to_owned(), timeout }).await;
    (said, server.await.expect("it ended"))
}

#[tokio::test]
async fn a_server_that_answers_well_is_healthy() {
    let (said, asked) =
        ask(Answer::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 5000).await;
    let said = said.expect("healthy");
    assert!(said.starts_with("healthy: http://127.0.0.1:") && said.ends_with("200 OK"), "{said}");
    assert!(asked.starts_with("GET /livez HTTP/1.1\r\nhost: 127.0.0.1:"), "{asked}");
}

#[tokio::test]
async fn any_other_answer_is_not() {
    for (answer, why) in [
        (Answer::Says("HTTP/1.1 503 Service Unavailable\r\n\r\n"), "answered 503"),
        (Answer::Says("HTTP/1.1 404 Not Found\r\n\r\n"), "answered 404"),
        (Answer::Says("HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\n\r\n"), "answered 301"),
        (Answer::Says("SSH-2.0-x\r\n"), "/livez: "),
        (Answer::HangsUp, "/livez: "),
    ] {
        let (said, _) = ask(answer, 5000).await;
        let said = said.expect_err("unhealthy").to_string();
        assert!(said.starts_with("unhealthy: http://") && said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let began = Instant::now();
    let (said, _) = ask(Answer::Nothing, 50).await;
    let said = said.expect_err("unhealthy").to_string();
    assert!(said.contains("did not answer within 50ms"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn where_nobody_listens_nobody_lives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let host = "127.0.0.1".to_owned();
    let timeout = Duration::from_secs(5);
    let said = run(&HealthCheck { host, port, path: "/livez".to_owned(), timeout }).await;
    let said = said.expect_err("unhealthy").to_string();
    assert!(said.contains("refused"), "{said}");
}
