//! Trees of a server that answers as it is told, also one that refuses and breaks off.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::v2client::{Endpoints, Limits, TlsFiles};

/// What the server says to a GET.
#[derive(Clone)]
enum Say {
    /// A listing at this index.
    Node(u64, String),
    /// An error of v2.
    Error(u32),
    /// The first bytes of a listing, and no more.
    Cut(String),
}

type Script = BTreeMap<String, VecDeque<Say>>;

/// A server that has answers for `key` (recursive) and `key alone`, and gives the last one again.
async fn client(script: &[(&str, Say)]) -> Client {
    let mut answers = Script::new();
    for (asked, say) in script {
        answers.entry((*asked).to_owned()).or_default().push_back(say.clone());
    }
    let answers = Arc::new(Mutex::new(answers));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answers)));
        }
    });
    let endpoints = Endpoints::parse(&url).expect("a URL");
    let limits = Limits { answer: Duration::from_secs(20), patience: Duration::from_millis(1) };
    Client::new(endpoints, &TlsFiles::default(), limits).expect("a client")
}

async fn serve(stream: TcpStream, answers: Arc<Mutex<Script>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).expect("a head");
        let target = head.split(' ').nth(1).expect("a target");
        let (path, query) = target.split_once('?').expect("a query");
        assert!(query.contains("sorted=true") && query.contains("quorum=true"), "{query}");
        let alone = if query.contains("recursive=true") { "" } else { " alone" };
        let key = path.strip_prefix("/v2/keys").expect("a path of keys");
        let say = next(&answers, &format!("{key}{alone}"));
        let (status, index, body, length) = match say {
            Say::Node(index, body) => (200, index, body.clone(), body.len()),
            Say::Error(code) => {
                let status = if code == 100 { 404 } else { 400 };
                let body = format!(r#"{{"errorCode":{code},"message":"x","index":9}}"#);
                (status, 9, body.clone(), body.len())
            }
            Say::Cut(body) => (200, 9, body.clone(), body.len() + 1),
        };
        let head = format!("HTTP/1.1 {status} x\r\nX-Etcd-Index: {index}\r\n");
        let answer = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.expect("a reader");
        if length > body.len() {
            return;
        }
    }
}

fn next(answers: &Mutex<Script>, asked: &str) -> Say {
    let mut answers = answers.lock().expect("not poisoned");
    let says = answers.get_mut(asked).unwrap_or_else(|| panic!("nobody was to ask for {asked}"));
    match says.len() {
        1 => says[0].clone(),
        _ => says.pop_front().expect("one at least"),
    }
}

fn file(key: &str) -> String {
    format!(r#"{{"key":"{key}","value":"1","modifiedIndex":4,"createdIndex":4}}"#)
}

fn dir(key: &str, nodes: &[String]) -> String {
    let key = if key == "/" { String::new() } else { format!(r#""key":"{key}","#) };
    let nodes = nodes.join(",");
    format!(r#"{{{key}"dir":true,"nodes":[{nodes}],"modifiedIndex":4,"createdIndex":4}}"#)
}

fn say(index: u64, node: &str) -> Say {
    Say::Node(index, format!(r#"{{"action":"get","node":{node}}}"#))
}

fn scope(prefix: &str, hidden: &[&str]) -> Scope {
    let hidden = hidden.iter().map(|key| (*key).to_owned()).collect();
    Scope::new(prefix.to_owned(), hidden).expect("a scope")
}

async fn keys(snapshot: &mut Snapshot<'_>) -> Result<Vec<String>, TreeError> {
    let mut keys = Vec::new();
    while let Some(node) = snapshot.next().await? {
        keys.push(node.key);
    }
    Ok(keys)
}

async fn read(script: &[(&str, Say)], scope: Scope) -> Result<Vec<String>, TreeError> {
    let client = client(script).await;
    keys(&mut Snapshot::open(&client, &scope).await?).await
}

#[tokio::test]
async fn one_listing_is_one_moment() {
    let tree = dir("/", &[dir("/a", &[file("/a/b"), dir("/a/c", &[])]), file("/b")]);
    let client = client(&[("/", say(7, &tree))]).await;
    let mut snapshot = Snapshot::open(&client, &Scope::everything()).await.expect("answered");
    assert_eq!(snapshot.index(), Some(7));
    assert_eq!(keys(&mut snapshot).await.expect("whole"), ["/a/b", "/a/c", "/a", "/b"]);
    assert_eq!(snapshot.next().await, Ok(None), "and it stays at its end");
    assert_eq!(snapshot.listings(), 1);
    assert!(snapshot.bytes() > 200);
}

#[tokio::test]
async fn hidden_nodes_come_in_their_turn() {
    let script = [
        ("/", say(7, &dir("/", &[file("/B"), dir("/a", &[file("/a/A"), file("/a/z")])]))),
        ("/_h", say(8, &dir("/_h", &[file("/_h/A"), file("/_h/b")]))),
        ("/_h/_i", say(9, &dir("/_h/_i", &[file("/_h/_i/x")]))),
        ("/_h/c/_d", say(9, &file("/_h/c/_d"))),
        ("/_none", Say::Error(100)),
        ("/a/_l", say(9, &file("/a/_l"))),
        ("/z/_last", say(9, &file("/z/_last"))),
    ];
    let hidden = ["/z/_last", "/a/_l", "/_none", "/_h", "/_h/_i", "/_h/c/_d"];
    let keys = read(&script, scope("/", &hidden)).await.expect("whole");
    assert_eq!(
        keys,
        [
            "/B", "/_h/A", "/_h/_i/x", "/_h/_i", "/_h/b", "/_h/c/_d", "/_h", "/a/A", "/a/_l",
            "/a/z", "/a", "/z/_last"
        ]
    );
}

#[tokio::test]
async fn what_is_refused_as_too_much_is_listed_piece_by_piece() {
    let script = [
        ("/", Say::Error(209)),
        (
            "/ alone",
            say(7, &dir("/", &[dir("/a", &[]), file("/b"), dir("/c", &[]), dir("/d", &[])])),
        ),
        ("/a", say(8, &dir("/a", &[file("/a/x")]))),
        // Removed meanwhile.
        ("/c", Say::Error(100)),
        // No room just now.
        ("/d", Say::Error(300)),
        ("/d alone", say(9, &dir("/d", &[dir("/d/e", &[]), file("/d/f"), dir("/d/g", &[])]))),
        ("/d/e", say(9, &dir("/d/e", &[file("/d/e/x")]))),
        // A file by now.
        ("/d/g", say(10, &file("/d/g"))),
    ];
    let client = client(&script).await;
    let mut snapshot = Snapshot::open(&client, &Scope::everything()).await.expect("answered");
    let keys = keys(&mut snapshot).await.expect("whole");
    assert_eq!(keys, ["/a/x", "/a", "/b", "/d/e/x", "/d/e", "/d/f", "/d/g", "/d"]);
    assert_eq!((snapshot.index(), snapshot.listings()), (Some(7), 5), "of the first one answered");
}

#[tokio::test]
async fn what_is_refused_for_another_reason_or_altogether_is_an_error() {
    let refused = read(&[("/", Say::Error(110))], Scope::everything()).await;
    assert_eq!(refused.expect_err("refused").code(), Some(110));
    let script = [("/", Say::Error(209)), ("/ alone", Say::Error(209))];
    let refused = read(&script, Scope::everything()).await;
    assert_eq!(refused.expect_err("refused").code(), Some(209));
    let nothing = read(&[("/a", Say::Error(100))], scope("/a", &[])).await;
    assert_eq!(nothing, Err(TreeError::NotThere("/a".to_owned())));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_short_tree() {
    let Say::Node(_, whole) = say(7, &dir("/", &[file("/a"), file("/b")])) else {
        unreachable!("it is a node");
    };
    for length in 0..=whole.len() {
        let cut = Say::Cut(whole[..length].to_owned());
        let result = read(&[("/", cut.clone()), ("/", cut)], Scope::everything()).await;
        assert!(matches!(result, Err(TreeError::Broken(_))), "{length}: {result:?}");
    }
    // Where nothing was given out yet, it is asked for once more.
    let script = [("/", Say::Cut(whole[..30].to_owned())), ("/", Say::Node(8, whole))];
    assert_eq!(read(&script, Scope::everything()).await.expect("whole"), ["/a", "/b"]);
}

#[tokio::test]
async fn what_is_no_tree_is_an_error() {
    for (nodes, why) in [
        (vec![file("/b"), file("/a")], "not sorted"),
        (vec![file("/a"), file("/a")], "comes twice"),
        (vec![file("/_a")], "no part of /"),
        (vec![file("/\\ufffd"), file("/\\ufffd")], "shows U+FFFD for bytes that are not UTF-8"),
    ] {
        let error = read(&[("/", say(7, &dir("/", &nodes)))], Scope::everything()).await;
        let error = error.expect_err("it is no tree");
        assert!(matches!(&error, TreeError::Strange(what) if what.contains(why)), "{error}");
    }
    let script =
        [("/", Say::Error(209)), ("/ alone", say(7, &dir("/", &[dir("/a", &[file("/a/x")])])))];
    let error = read(&script, Scope::everything()).await.expect_err("it was to be listed alone");
    assert!(error.to_string().contains("lists \"/a/x\" as a child of \"/\""), "{error}");
}

/// The answer comes much faster than it is taken.
#[tokio::test]
async fn a_large_tree_is_whole_however_slowly_it_is_taken() {
    let nodes: Vec<String> = (0..20_000).map(|n| file(&format!("/k{n:06}"))).collect();
    let client = client(&[("/", say(7, &dir("/", &nodes)))]).await;
    let mut snapshot = Snapshot::open(&client, &Scope::everything()).await.expect("answered");
    let mut count = 0;
    while let Some(node) = snapshot.next().await.expect("whole") {
        assert_eq!(node.key, format!("/k{count:06}"));
        count += 1;
        if count % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(count, 20_000);
    // One that is left early leaves nothing behind that waits.
    let mut left = Snapshot::open(&client, &Scope::everything()).await.expect("answered");
    left.next().await.expect("answered").expect("a node");
}
