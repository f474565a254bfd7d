//! A whole run against servers that lie a little: it must be noticed, and shrunk to the lie.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;

/// A server that answers every request by a function of its first line, index always 5.
fn server(answer: fn(&str) -> String) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream, answer));
        }
    });
    Client::new(&address.to_string())
}

fn serve(mut stream: TcpStream, answer: fn(&str) -> String) {
    let mut text = String::new();
    let mut piece = [0_u8; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
        while let Some(end) = text.find("\r\n\r\n") {
            let length = text[..end]
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if text.len() < end + 4 + length {
                break;
            }
            let first = text.lines().next().unwrap_or_default();
            let body = if first.starts_with("HEAD") { String::new() } else { answer(first) };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Index: 5\r\n";
            let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(whole.as_bytes()).is_err() {
                return;
            }
            text.drain(..end + 4 + length);
        }
    }
}

fn honest(_: &str) -> String {
    "{\"action\":\"get\"}\n".to_owned()
}

fn wrong_about_deletes_with_a_condition(line: &str) -> String {
    let lie = line.starts_with("DELETE") && line.contains("prevValue=2");
    if lie { "{\"action\":\"delete\"}\n".to_owned() } else { honest(line) }
}

#[test]
fn honest_servers_agree() {
    let pair = Pair::new(server(honest), server(honest));
    assert_eq!(pair.run(7, 500), Ok(()));
    assert!(pair.kinds()["get"] > 400);
}

#[test]
fn a_lie_is_found_and_shrunk_to_itself() {
    let pair = Pair::new(server(honest), server(wrong_about_deletes_with_a_condition));
    let report = pair.run(7, 2000).expect_err("the target lies");
    let lines: Vec<&str> = report.lines().filter(|line| line.starts_with("curl")).collect();
    assert_eq!(lines.len(), 1, "{report}");
    assert!(lines[0].contains("-X DELETE") && lines[0].contains("?prevValue=2'"), "{report}");
    assert!(report.contains("COMPAT_SEED=7"), "{report}");
}
