//! A watcher: a client that reads, watches from there on, and never stops, by the rules of v2.
//!
//! ```text
//! read -> X-Etcd-Index + 1 -> watch -> event -> its modifiedIndex + 1 -> watch -> ...
//!  ^------------- 401 ---------'  '-> an empty answer, 5xx, a broken connection: the same index again
//! ```
//!
//! A stream whose first event is not after the index of its head says nothing more (it was answered
//! by the past), so it is opened anew. Where its gateway was killed, a watcher does as [`OnKill`]
//! says. Not here: whether what it was told is right.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sight::{Event, Manner, Note, Read, Scope, Seen, View};
use super::stations::Stations;
use crate::http::{Answer, Connection, Piece, Request, Stream};
use crate::json::Json;
use crate::proof::client::Stopwatch;
use crate::wait;

/// How often a waiting watcher looks whether it shall stop.
const GLANCE: Duration = Duration::from_millis(200);

/// How long it waits before it asks again where it was told nothing useful.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a watch may be told nothing for [`GLANCE`] until it is asked anew: the gateways end a
/// silent wait sooner.
const GLANCES: u32 = 50;

/// What a watcher does when its gateway is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnKill {
    /// It waits for it, and goes on from its index.
    Stays,
    /// It changes to another one, and goes on from its index.
    Moves,
    /// It changes to another one, and reads anew.
    MovesAndReads,
}

/// What all watchers of a round share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post<'a> {
    pub(super) stations: &'a Stations,
    pub(super) stop: &'a AtomicBool,
    /// The directory of the round, with a slash before it.
    pub(super) top: &'a str,
    pub(super) watch: Stopwatch,
}

/// A watcher at work. What it saw can be looked at meanwhile.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) post: Post<'a>,
    pub(super) gateway: usize,
    pub(super) on_kill: OnKill,
    pub(super) seen: &'a Mutex<Seen>,
    scope: Scope,
    manner: Manner,
    connection: Option<(String, Connection)>,
    /// The last index that it knows of.
    index: Option<u64>,
}

/// How a watch ended.
enum Ended {
    /// There may be more.
    Again,
    /// What it asked for is not known any more.
    Cleared,
    /// No answer, or one that says that there is none now.
    Failed,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        post: Post<'a>,
        gateway: usize,
        on_kill: OnKill,
        seen: &'a Mutex<Seen>,
    ) -> Self {
        let known = lock(seen);
        let (scope, manner) = (known.scope.clone(), known.manner);
        drop(known);
        Self { post, gateway, on_kill, seen, scope, manner, connection: None, index: None }
    }

    /// Watches until it is told to stop.
    pub(super) fn run(mut self) {
        while !self.is_over() {
            let Some(address) = self.station() else {
                wait::pass(PAUSE);
                continue;
            };
            let ended = match self.index {
                None => self.read(&address),
                Some(index) => self.watch(&address, index),
            };
            match ended {
                Ended::Again => {}
                Ended::Cleared => {
                    self.note(Note::Cleared { at: self.post.watch.now_us() });
                    self.index = None;
                }
                Ended::Failed => {
                    self.connection = None;
                    wait::pass(PAUSE);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.post.stop.load(Ordering::Relaxed)
    }

    /// Where it asks next. Where its gateway is gone, it may change to the next one.
    fn station(&mut self) -> Option<String> {
        let stations = self.post.stations;
        let own = stations.address(self.gateway);
        if own.is_some() || self.on_kill == OnKill::Stays {
            return own;
        }
        self.gateway = (self.gateway + 1) % stations.count();
        if self.on_kill == OnKill::MovesAndReads {
            self.index = None;
        }
        self.note(Note::Moved { at: self.post.watch.now_us(), gateway: self.gateway });
        stations.address(self.gateway)
    }

    /// Its connection to this address, the last one where that is still good.
    fn connect(&mut self, address: &str) -> std::io::Result<Connection> {
        match self.connection.take() {
            Some((known, connection)) if known == address => Ok(connection),
            Some(_) | None => Connection::open(address),
        }
    }

    fn path(&self) -> String {
        let top = self.post.top;
        match &self.scope {
            Scope::Tree => format!("/v2/keys{top}?recursive=true"),
            Scope::Key(key) => format!("/v2/keys{top}/{key}?recursive=false"),
        }
    }

    fn read(&mut self, address: &str) -> Ended {
        let began = self.post.watch.now_us();
        let request = Request::new("GET", &self.path());
        let answer = self.connect(address).and_then(|mut connection| {
            let answer = connection.send(&request)?;
            self.connection = Some((address.to_owned(), connection));
            Ok(answer)
        });
        let ended = self.post.watch.now_us();
        let Ok(answer) = answer else { return Ended::Failed };
        if answer.status() >= 500 {
            return Ended::Failed;
        }
        match read_answer(&answer, self.post.top) {
            Ok((index, view)) => {
                let mut seen = lock(self.seen);
                seen.view = view.clone();
                seen.notes.push(Note::Read(Read { began, ended, index, view }));
                self.index = Some(index);
                Ended::Again
            }
            Err(problem) => {
                self.complain(format!("{problem}: {}", answer.describe()));
                Ended::Failed
            }
        }
    }

    fn watch(&mut self, address: &str, index: u64) -> Ended {
        let stream = if self.manner == Manner::Stream { "&stream=true" } else { "" };
        let target = format!("{}&wait=true&waitIndex={}{stream}", self.path(), index + 1);
        let request = Request::new("GET", &target);
        let began = self.connect(address).and_then(|connection| connection.stream(&request));
        let Ok(mut stream) = began else { return Ended::Failed };
        match stream.head.status {
            200 => {
                let ended = self.listen(&mut stream);
                if matches!(ended, Listened::ToEnd) {
                    self.connection = Some((address.to_owned(), stream.into_connection()));
                }
                match ended {
                    Listened::Broke => Ended::Failed,
                    Listened::ToEnd | Listened::Left => Ended::Again,
                }
            }
            status if status >= 500 => Ended::Failed,
            status => self.refused(status, stream),
        }
    }

    fn refused(&mut self, status: u16, mut stream: Stream) -> Ended {
        let mut body = Vec::new();
        while let Ok(Piece::Data(data)) = stream.next(GLANCE * GLANCES) {
            body.extend(data);
        }
        let code = Json::parse(&body).ok().and_then(|json| json.number("errorCode"));
        if status == 400 && code == Some(401) {
            return Ended::Cleared;
        }
        self.complain(format!("a watch: {status} {}", String::from_utf8_lossy(&body)));
        Ended::Failed
    }

    /// Listens to an answer until it ends, or nothing more can be expected of it.
    fn listen(&mut self, stream: &mut Stream) -> Listened {
        let head_index = stream.head.number("X-Etcd-Index").unwrap_or_default();
        let (mut line, mut glances) = (Vec::new(), 0);
        loop {
            match stream.next(GLANCE) {
                Ok(Piece::Data(data)) => {
                    glances = 0;
                    for byte in data {
                        line.push(byte);
                        if byte != b'\n' {
                            continue;
                        }
                        let Some(told) = self.told(&std::mem::take(&mut line)) else {
                            return Listened::Broke;
                        };
                        if self.manner == Manner::Stream && told <= head_index {
                            return Listened::Left;
                        }
                    }
                }
                Ok(Piece::End) => return Listened::ToEnd,
                Ok(Piece::Silence) => {
                    glances += 1;
                    if self.is_over() || glances > GLANCES {
                        return Listened::Left;
                    }
                }
                Err(_) => return Listened::Broke,
            }
        }
    }

    /// Takes one event in; gives its index.
    fn told(&mut self, line: &[u8]) -> Option<u64> {
        let parsed = Json::parse(line).and_then(|json| Event::parse(&json, self.post.top));
        match parsed {
            Ok(event) => {
                let modified = event.node.modified;
                let at = self.post.watch.now_us();
                let mut seen = lock(self.seen);
                seen.view.apply(&event, &self.scope);
                seen.notes.push(Note::Event { at, event });
                self.index = Some(modified);
                Some(modified)
            }
            Err(problem) => {
                self.complain(problem);
                None
            }
        }
    }

    fn note(&self, note: Note) {
        lock(self.seen).notes.push(note);
    }

    fn complain(&self, problem: String) {
        lock(self.seen).problems.push(problem);
    }
}

/// How listening ended.
enum Listened {
    /// The answer was complete.
    ToEnd,
    /// The watcher left.
    Left,
    /// The connection did.
    Broke,
}

/// The index and the files that an answer to a read shows.
pub(super) fn read_answer(answer: &Answer, top: &str) -> Result<(u64, View), String> {
    let index = answer.head.number("X-Etcd-Index").ok_or("no X-Etcd-Index")?;
    match answer.status() {
        200 => {
            let json = answer.json()?;
            Ok((index, View::parse(json.get("node").ok_or("no node")?, top)?))
        }
        404 => Ok((index, View::default())),
        status => Err(format!("a read was answered with {status}")),
    }
}

/// What a watcher saw by now.
pub(super) fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
