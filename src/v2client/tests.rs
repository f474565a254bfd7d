//! The client against a server that answers as it is told.

use std::sync::{Arc, Mutex};

use super::error::*;
use super::*;
use crate::v2::Key;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Debug, Clone, Copy)]
enum Do {
    /// Answers with this status, these headers and this body.
    Say(u16, &'static str, &'static str),
    /// Reads the request and hangs up.
    HangUp,
    /// Announces more than it sends.
    BreakOff,
    /// Sends the head of a watch, and then nothing.
    Silence,
}

/// A server that goes through its list, and what it was asked.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(script: Vec<Do>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script =
            Arc::new(Mutex::new(script.into_iter().collect::<std::collections::VecDeque<_>>()));
        let server = Scripted { url, asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&asked)));
            }
        });
        server
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    fn client(&self) -> Client {
        client(&self.url)
    }
}

async fn serve(
    stream: TcpStream,
    script: Arc<Mutex<std::collections::VecDeque<Do>>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
            let is_kept = request.is_empty() || line.starts_with("authorization");
            if is_kept {
                request.push_str(line.trim());
                request.push('\n');
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("the body");
        request.push_str(&String::from_utf8(body).expect("a form"));
        asked.lock().expect("not poisoned").push(request.replace(" HTTP/1.1", ""));
        let next =
            script.lock().expect("not poisoned").pop_front().expect("one more in the script");
        let answer = match next {
            Do::Say(status, headers, body) => format!(
                "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{body}",
                body.len()
            ),
            Do::HangUp => return,
            Do::BreakOff => "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"act".to_owned(),
            Do::Silence => {
                "HTTP/1.1 200 OK\r\nx-etcd-index: 70\r\ntransfer-encoding: chunked\r\n\r\n"
                    .to_owned()
            }
        };
        stream.write_all(answer.as_bytes()).await.expect("a reader");
        match next {
            Do::BreakOff => return,
            Do::Silence => {
                let _until_the_client_leaves = stream.read(&mut [0; 1]).await;
                return;
            }
            Do::Say(..) | Do::HangUp => {}
        }
    }
}

fn client(urls: &str) -> Client {
    let endpoints = Endpoints::parse(urls).expect("good URLs");
    let limits = Limits { answer: Duration::from_secs(20), patience: Duration::from_secs(20) };
    Client::new(endpoints, &TlsFiles::default(), limits).expect("a client")
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a clean path")
}

const FILE: &str = r#"{"action":"get","node":{"key":"/a","value":"v","expiration":"2026-11-21T22:25:19.519301453Z","ttl":20,"modifiedIndex":7,"createdIndex":6}}"#;
const BUSY: &str = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
const SET: &str = r#"{"action":"set"}"#;

fn set(value: &str) -> Put<'_> {
    Put { state: State::File(value), ttl: None, condition: Condition::None }
}

#[tokio::test]
async fn a_read_tells_node_and_head() {
    let head = "X-Etcd-Index: 9\r\nX-Etcd-Cluster-Id: cafe\r\n";
    let server = Scripted::start(vec![Do::Say(200, head, FILE)]).await;
    let get = Get { recursive: true, sorted: true, quorum: true };
    let (event, head) = server.client().get(&key("/a"), get).await.expect("an answer");
    assert_eq!(server.asked(), ["GET /v2/keys/a?recursive=true&sorted=true&quorum=true\n"]);
    assert_eq!((head.index, head.cluster.as_deref()), (Some(9), Some("cafe")));
    assert_eq!((event.node.value.as_deref(), event.node.dir), (Some("v"), false));
    assert_eq!((event.node.modified_index, event.node.created_index), (7, 6));
    let expiration = event.node.expiration.expect("it has one");
    assert_eq!(expiration.as_millisecond(), 1_795_299_919_519);
}

#[tokio::test]
async fn a_key_and_a_value_mean_themselves() {
    let server = Scripted::start(vec![Do::Say(201, "", SET), Do::Say(200, "", SET)]).await;
    let client = server.client();
    let nasty = key("/a b/ü+%2F?#&;\n\"<");
    let put = Put { ttl: Some(5), condition: Condition::Absent, ..set("1+1=%;&\n ü") };
    client.put(&nasty, put).await.expect("written");
    client.delete(&nasty, Delete::Tree).await.expect("removed");
    let path = "/v2/keys/a%20b/%C3%BC+%252F%3F%23%26%3B%0A%22%3C".replace('+', "%2B");
    assert_eq!(
        server.asked(),
        [
            format!(
                "PUT {path}?noValueOnSuccess=true\nvalue=1%2B1%3D%25%3B%26%0A+%C3%BC&ttl=5&prevExist=false"
            ),
            format!("DELETE {path}?recursive=true\n"),
        ]
    );
}

#[tokio::test]
async fn a_value_that_fits_a_form_is_not_made_too_large_for_it() {
    let server = Scripted::start(vec![Do::Say(201, "", SET)]).await;
    let value = "ü".repeat((5 << 20) - 12).replacen("üü", "a=b&c%+; \n", 1);
    server.client().put(&key("/a"), set(&value)).await.expect("written");
    let asked = server.asked();
    let form = asked[0].lines().last().expect("a form");
    assert!(form.len() <= 10 << 20, "{}", form.len());
    let pairs: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).collect();
    assert_eq!(pairs.len(), 1);
    assert!(pairs[0] == ("value".into(), value.into()), "the value is the same");
}

#[tokio::test]
async fn a_refusal_is_told_as_it_is() {
    let body = r#"{"errorCode":104,"message":"Not a directory","cause":"/a","index":5}"#;
    let server = Scripted::start(vec![Do::Say(400, "", body)]).await;
    let error = server.client().put(&key("/a/b"), set("v")).await.expect_err("refused");
    assert_eq!(error.code(), Some(NOT_DIR));
    assert_eq!(error.to_string(), "104: Not a directory (/a)");
}

#[tokio::test]
async fn what_can_be_repeated_is_repeated_until_it_is_answered() {
    let wait = Do::Say(429, "Retry-After: 1\r\n", BUSY);
    let script = vec![Do::HangUp, Do::Say(500, "", BUSY), wait, Do::Say(200, "", SET)];
    let server = Scripted::start(script).await;
    server.client().put(&key("/a"), set("v")).await.expect("written in the end");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_write_with_a_condition_is_not_repeated_where_it_may_have_happened() {
    let server = Scripted::start(vec![Do::Say(429, "", BUSY), Do::HangUp]).await;
    let put = Put { condition: Condition::Index(3), ..set("v") };
    let error = server.client().put(&key("/a"), put).await.expect_err("not known");
    assert!(matches!(error, Error::Unanswered { outcome: Outcome::Unknown, .. }), "{error:?}");
    assert_eq!(server.asked().len(), 2, "429 says that nothing was done");
}

#[tokio::test]
async fn members_are_asked_in_turn() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gone = closed.local_addr().expect("bound");
    drop(closed);
    let busy = Scripted::start(vec![Do::Say(503, "", "busy")]).await;
    let well = Scripted::start(vec![Do::Say(200, "", FILE), Do::Say(200, "", FILE)]).await;
    let client = client(&format!("http://{gone},{},{}", busy.url, well.url));
    for _ in 0..2 {
        client.get(&key("/a"), Get::default()).await.expect("the third answers");
    }
    assert_eq!((busy.asked().len(), well.asked().len()), (1, 2), "who answered is asked first");
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let body = r#"{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}"#;
    let server = Scripted::start(vec![Do::Say(401, "", body)]).await;
    let client = client(&server.url.replace("//", "//u:secret@"));
    let error = client.get(&key("/a"), Get::default()).await.expect_err("refused");
    assert_eq!(error.code(), Some(UNAUTHORIZED));
    assert!(server.asked()[0].contains("authorization: Basic dTpzZWNyZXQ=\n"));
    for shown in [format!("{client:?}"), error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("secret") && !shown.contains("dTpz"), "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let server = Scripted::start(vec![Do::BreakOff]).await;
    let get = Get { recursive: true, ..Get::default() };
    let (_head, mut body) = server.client().get_stream(&Key::root(), get).await.expect("a head");
    assert_eq!(body.chunk().await.expect("the first part").as_deref(), Some(&b"{\"act"[..]));
    body.chunk().await.expect_err("no end");
}

#[tokio::test]
async fn what_is_no_server_of_v2_is_told_so() {
    let server = Scripted::start(vec![Do::Say(404, "", "404 page not found\n")]).await;
    let error = server.client().get(&key("/a"), Get::default()).await.expect_err("no such page");
    assert!(error.to_string().ends_with("status 404, \"404 page not found\""), "{error}");
}

#[tokio::test]
async fn a_watch_brings_an_event_or_tells_how_far_there_is_none() {
    let event = r#"{"action":"delete","node":{"key":"/a","modifiedIndex":71,"createdIndex":6},"prevNode":{"key":"/a","value":"v","modifiedIndex":7,"createdIndex":6}}"#;
    let script = vec![
        Do::Silence,
        Do::Say(200, "X-Etcd-Index: 70\r\n", event),
        Do::Say(200, "X-Etcd-Index: 75\r\n", ""),
    ];
    let server = Scripted::start(script).await;
    let client = server.client();
    let mut watch = Watch { from: 70, recursive: true, longest: Duration::from_millis(100) };
    let silence = client.watch(&key("/a"), watch).await.expect("nothing");
    assert_eq!(silence, Watched::Silence { index: Some(70) });
    watch = Watch { from: 71, longest: Duration::from_secs(20), ..watch };
    let Watched::Event(event) = client.watch(&key("/a"), watch).await.expect("one") else {
        panic!("an event was sent");
    };
    assert_eq!((event.action.as_str(), event.node.modified_index), ("delete", 71));
    assert_eq!(event.prev_node.and_then(|node| node.value).as_deref(), Some("v"));
    let ended = client.watch(&key("/a"), watch).await.expect("an empty answer");
    assert_eq!(ended, Watched::Silence { index: Some(75) });
    assert_eq!(server.asked()[0], "GET /v2/keys/a?wait=true&waitIndex=70&recursive=true\n");
}
