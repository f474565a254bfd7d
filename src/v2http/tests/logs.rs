//! What the log says of requests, and what it never says.

use std::io;

use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

use super::*;
use crate::telemetry::AUDIT;

/// What stands in values, queries and headers of requests, and must not stand in any line.
const SECRET: &str = "sEcReT";

/// All lines of this test's thread, at trace, of everybody.
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Log {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Sink(Arc::clone(&bytes));
        let lines = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(LevelFilter::TRACE)
            .with_writer(move || sink.clone());
        Log { bytes, _guard: tracing::subscriber::set_default(lines.finish()) }
    }

    /// The lines of a message so far.
    fn lines(&self, message: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["message"] == message).collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).expect("text")
    }
}

fn logging(slow_request: Option<Duration>) -> Setup {
    Setup { log: LogConfig { slow_request, audit: true }, ..Setup::default() }
}

#[tokio::test]
async fn each_request_has_one_line_at_the_level_of_its_status() {
    let log = Log::begin();
    let server = logging(None).start().await;
    server.ask_raw("GET /v2/keys/a?x=y HTTP/1.1\r\nX-Request-Id: mine", "").await;
    server.ask("GET", "/v2/keys/nope").await;
    server.ask("PUT", "/v2/keys/broken?value=1").await;
    server.ask("GET", "/nowhere").await;
    let lines = log.lines("answered");
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line["level"].as_str(), line["path"].as_str(), line["status"].as_u64()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("DEBUG"), Some("/v2/keys/a"), Some(200)),
            (Some("DEBUG"), Some("/v2/keys/nope"), Some(404)),
            (Some("WARN"), Some("/v2/keys/broken"), Some(500)),
            (Some("DEBUG"), Some("/nowhere"), Some(404)),
        ]
    );
    assert_eq!(lines[0]["request_id"], "mine");
    assert_eq!(lines[0]["method"], "GET");
    assert!(lines[0]["took_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}", lines[0]);
    assert!(lines[0]["client"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")));
    assert_eq!(lines[1]["request_id"].as_str().map(str::len), Some(16));
    assert_ne!(lines[1]["request_id"], lines[2]["request_id"]);
    let cause = lines[2]["cause"].as_str().unwrap_or_default();
    let chain = "300: Raft Internal Error (etcdserver: request timed out) [0]: the disk is full";
    assert_eq!(cause, chain);
}

#[tokio::test]
async fn an_id_is_told_back_to_who_gave_it() {
    let server = Setup::default().start().await;
    let given = server.ask_raw("GET /version HTTP/1.1\r\nX-Request-Id: a-1", "").await;
    assert_eq!(given.header("X-Request-Id"), Some("a-1"));
    for head in ["GET /version HTTP/1.1", "GET /version HTTP/1.1\r\nX-Request-Id: a b"] {
        assert_eq!(server.ask_raw(head, "").await.header("X-Request-Id"), None);
    }
}

#[tokio::test]
async fn what_takes_long_is_a_warning() {
    let log = Log::begin();
    let server = logging(Some(Duration::ZERO)).start().await;
    server.ask("GET", "/v2/keys/a").await;
    let lines = log.lines("answered");
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["level"], &lines[0]["slow"]), (&"WARN".into(), &true.into()));
    let server = logging(Some(Duration::from_secs(3600))).start().await;
    server.ask("GET", "/v2/keys/a").await;
    assert_eq!(log.lines("answered")[1]["level"], "DEBUG");
}

#[tokio::test]
async fn each_write_has_a_line_for_the_audit() {
    let log = Log::begin();
    let server = logging(None).start().await;
    server.ask_raw("PUT /v2/keys/a?value=1 HTTP/1.1\r\nX-Request-Id: w", "").await;
    server.ask("POST", "/v2/keys/q?value=1").await;
    server.ask("PUT", "/v2/keys/a?prevValue=1&value=2").await;
    server.ask("DELETE", "/v2/keys/nope?prevIndex=3").await;
    server.ask("PUT", "/v2/keys/broken?prevExist=true&value=1").await;
    server.ask("GET", "/v2/keys/a").await;
    server.ask("PUT", "/v2/keys/a?ttl=x").await;
    let lines = log.lines("write");
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!((&line["target"], &line["level"]), (&AUDIT.into(), &"INFO".into()));
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let told = [text("method"), text("action"), text("key"), text("outcome")].join(" ");
            (told, line["index"].as_u64(), line["code"].as_u64())
        })
        .collect();
    let told = |line: &str, index, code| (line.to_owned(), index, code);
    assert_eq!(
        shown,
        [
            told("PUT set /a done", Some(16), None),
            told("POST create /q done", Some(16), None),
            told("PUT compareAndSwap /a done", Some(16), None),
            told("DELETE compareAndDelete /nope refused", None, Some(100)),
            told("PUT update /broken failed", None, Some(300)),
        ]
    );
    assert_eq!(lines[0]["request_id"], "w");
    let without = Setup::default().start().await;
    without.ask("PUT", "/v2/keys/a?value=1").await;
    assert_eq!(log.lines("write").len(), 5);
}

#[tokio::test]
async fn a_write_whose_client_left_is_audited_too() {
    let log = Log::begin();
    let server = logging(None).start().await;
    let mut socket = server.connect().await;
    socket.write_all(b"PUT /v2/keys/slow?value=1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.keys.slow_is_waiting.acquire().await.unwrap().forget();
    drop(socket);
    server.shutdown.begin();
    server.keys.let_go();
    assert_eq!(server.server.await.unwrap(), Drained::Whole);
    assert_eq!(log.lines("write").len(), 1);
}

#[tokio::test]
async fn no_line_has_a_value_a_query_or_a_header() {
    let log = Log::begin();
    let server = logging(Some(Duration::ZERO)).start().await;
    let form = format!("value={SECRET}&prevValue={SECRET}&ttl={SECRET}&unknown={SECRET}");
    let mut asked = 0;
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", SECRET] {
        for path in [
            "/v2/keys/a",
            "/v2/keys/old",
            "/v2/keys/nope",
            "/v2/keys/broken",
            "/v2/keys//unclean",
            "/v2/members",
            "/v2/auth/users/u",
            "/v2/stats/self",
            "/config/local/log",
            "/health",
            "/nowhere",
        ] {
            for (query, body) in [
                (format!("?{form}"), String::new()),
                (format!("?value={SECRET}&prevValue={SECRET}"), String::new()),
                (String::new(), form.clone()),
                (String::new(), format!("value={SECRET}&prevExist=true")),
                (String::new(), format!("{{\"Level\":\"{SECRET}\"}}")),
            ] {
                let head = format!(
                    "{method} {path}{query} HTTP/1.1\r\nAuthorization: Basic {SECRET}\r\n\
                     Cookie: {SECRET}\r\nX-Request-Id: no {SECRET}\r\nUser-Agent: {SECRET}\r\n\
                     Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}",
                    body.len()
                );
                server.ask_raw(&head, &body).await;
                asked += 1;
            }
        }
    }
    for broken in [format!("{SECRET}\r\n\r\n"), format!("GET /a HTTP/9.{SECRET}\r\n\r\n")] {
        let mut socket = server.connect().await;
        socket.write_all(broken.as_bytes()).await.unwrap();
        read_to_end(&mut socket).await;
    }
    assert_eq!(log.lines("answered").len(), asked, "each request has its line");
    assert!(log.lines("write").len() > 20, "writes are audited");
    // An unknown method is a part of the request line, and no secret.
    let text = log.text().replace(&format!("\"method\":\"{SECRET}\""), "");
    let told = text.lines().find(|line| line.contains(SECRET));
    assert_eq!(told, None);
}
