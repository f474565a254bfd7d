//! HTTP/1.1 with nothing tidied up.
//!
//! A request target, a method, a header or a whole request goes out byte for byte as a case
//! wrote it (dirty paths, `%zz`, lower-case methods, HTTP/1.0, pipelines), and an answer is kept
//! as it came, including how its body was framed. Streams hand out their pieces as they arrive.
//!
//! Not a general client: no redirects, no TLS, no proxies, no retries, except that an idle
//! connection which the server closed before it sent a byte is replaced once.
//! Invariant: a connection returns to the pool only when its answer was read to the end and
//! neither side asked to close.

mod pool;
mod request;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::json::Json;

pub use pool::Client;
pub use request::Request;

/// How long an answer may take before the case fails.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How an answer said where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body: HEAD, 204, 304 and 1xx.
    None,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    ToEnd,
}

/// The status line and the headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The minor version of HTTP/1.
    pub minor: u8,
    /// The status.
    pub status: u16,
    /// The words after the status.
    pub reason: String,
    /// The headers as they came.
    pub headers: Vec<(String, String)>,
    /// How the body is framed.
    pub framing: Framing,
}

impl Head {
    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, wanted: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value.as_str()))
    }

    /// A header that must be a number.
    #[must_use]
    pub fn number(&self, wanted: &str) -> Option<u64> {
        self.header(wanted)?.parse().ok()
    }

    fn parse(bytes: &[u8], to_head: bool) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        let used = match parsed.parse(bytes).map_err(malformed)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(used) => used,
        };
        let mut head = Self {
            minor: parsed.version.unwrap_or_default(),
            status: parsed.code.unwrap_or_default(),
            reason: parsed.reason.unwrap_or_default().to_owned(),
            headers: parsed
                .headers
                .iter()
                .map(|header| {
                    let value = String::from_utf8_lossy(header.value).into_owned();
                    (header.name.to_owned(), value)
                })
                .collect(),
            framing: Framing::None,
        };
        head.framing = head.find_framing(to_head)?;
        Ok(Some((head, used)))
    }

    fn find_framing(&self, to_head: bool) -> io::Result<Framing> {
        if to_head || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        let chunked = self
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        match self.header("content-length") {
            Some(_) if chunked => Err(malformed("both Content-Length and chunked")),
            Some(length) => length.parse().map(Framing::Length).map_err(malformed),
            None if chunked => Ok(Framing::Chunked),
            None => Ok(Framing::ToEnd),
        }
    }

    fn closes(&self) -> bool {
        let token = self.header("connection").unwrap_or_default();
        token.eq_ignore_ascii_case("close")
            || self.framing == Framing::ToEnd
            || (self.minor == 0 && !token.eq_ignore_ascii_case("keep-alive"))
    }
}

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line and headers.
    pub head: Head,
    /// The body, unframed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text, broken bytes replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<Json, String> {
        Json::parse(&self.body)
    }

    /// Status, headers and body for a failure message.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{} {}\n", self.head.status, self.head.reason);
        for (name, value) in &self.head.headers {
            text.push_str(&format!("    {name}: {value}\n"));
        }
        let body: String = self.text().chars().take(1500).collect();
        text.push_str(&format!("    {body:?}"));
        text
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    buffer: Vec<u8>,
    ended: bool,
}

impl Connection {
    /// Connects to `address` (host:port).
    ///
    /// # Errors
    /// No connection could be made.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, address: address.to_owned(), buffer: Vec::new(), ended: false })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is not HTTP.
    pub fn send(&mut self, request: &Request) -> io::Result<Answer> {
        self.send_raw(&request.encode(&self.address.clone()))?;
        self.read_answer(request.method == "HEAD")
    }

    /// Reads one answer; `to_head` says that it has no body whatever its headers say.
    ///
    /// # Errors
    /// The connection broke, the answer is not HTTP, or it took too long.
    pub fn read_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let head = self.read_head(to_head)?;
        let mut body = Vec::new();
        let mut reader = BodyReader::new(head.framing);
        loop {
            match reader.next(self, deadline)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => return Ok(Answer { head, body }),
                Piece::Silence => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Reads a status line and headers only.
    ///
    /// # Errors
    /// The connection broke, the answer is not HTTP, or it took too long.
    pub fn read_head(&mut self, to_head: bool) -> io::Result<Head> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some((head, used)) = Head::parse(&self.buffer, to_head)? {
                self.buffer.drain(..used);
                self.ended |= head.closes();
                return Ok(head);
            }
            match self.fill(deadline)? {
                Fill::Bytes => {}
                Fill::Silence => return Err(io::ErrorKind::TimedOut.into()),
                Fill::End if self.buffer.is_empty() => {
                    return Err(io::Error::new(io::ErrorKind::NotConnected, "closed unanswered"));
                }
                Fill::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Sends a request and reads the head of its answer; the body comes piece by piece.
    ///
    /// # Errors
    /// The connection broke, the answer is not HTTP, or it took too long.
    pub fn stream(mut self, request: &Request) -> io::Result<Stream> {
        self.send_raw(&request.encode(&self.address.clone()))?;
        let head = self.read_head(request.method == "HEAD")?;
        let reader = BodyReader::new(head.framing);
        Ok(Stream { head, reader, connection: self })
    }

    /// Whether the server closes (or has closed) this connection: true once nothing more comes.
    #[must_use]
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        matches!(self.fill(Instant::now() + patience), Ok(Fill::End) | Err(_))
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<Fill> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Fill::Silence);
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut piece = [0_u8; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Ok(Fill::End),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(Fill::Bytes)
            }
            Err(error) if is_timeout(&error) => Ok(Fill::Silence),
            // A read with a timeout is not taken up again after this process itself stood still.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.fill(deadline),
            Err(error) => Err(error),
        }
    }
}

enum Fill {
    Bytes,
    End,
    Silence,
}

/// What came next on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body: one chunk where the body is chunked.
    Data(Vec<u8>),
    /// The body is complete.
    End,
    /// Nothing came in the time given.
    Silence,
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub struct Stream {
    /// Status line and headers, which came at once.
    pub head: Head,
    reader: BodyReader,
    connection: Connection,
}

impl Stream {
    /// The next piece of the body, or silence after `patience`.
    ///
    /// # Errors
    /// The connection broke, or the body is badly framed.
    pub fn next(&mut self, patience: Duration) -> io::Result<Piece> {
        self.reader.next(&mut self.connection, Instant::now() + patience)
    }

    /// The connection, for the next request once the body has ended.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

#[derive(Debug)]
struct BodyReader {
    framing: Framing,
    left: usize,
    done: bool,
}

impl BodyReader {
    fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::None | Framing::Chunked | Framing::ToEnd => 0,
        };
        let done = framing == Framing::None || framing == Framing::Length(0);
        Self { framing, left, done }
    }

    fn next(&mut self, from: &mut Connection, deadline: Instant) -> io::Result<Piece> {
        loop {
            if self.done {
                return Ok(Piece::End);
            }
            if let Some(piece) = self.take(&mut from.buffer)? {
                return Ok(piece);
            }
            match from.fill(deadline)? {
                Fill::Bytes => {}
                Fill::Silence => return Ok(Piece::Silence),
                Fill::End if self.framing == Framing::ToEnd => self.done = true,
                Fill::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        if self.framing == Framing::Chunked {
            return self.take_chunk(buffer);
        }
        if buffer.is_empty() {
            return Ok(None);
        }
        let count = match self.framing {
            Framing::Length(_) => buffer.len().min(self.left),
            Framing::None | Framing::Chunked | Framing::ToEnd => buffer.len(),
        };
        self.left = self.left.saturating_sub(count);
        self.done = self.left == 0 && self.framing != Framing::ToEnd;
        Ok(Some(Piece::Data(buffer.drain(..count).collect())))
    }

    fn take_chunk(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        let Some(line) = buffer.windows(2).position(|pair| pair == b"\r\n") else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(&buffer[..line]).map_err(malformed)?;
        let size = usize::from_str_radix(digits.trim(), 16).map_err(malformed)?;
        let whole = line + 2 + size + 2;
        if buffer.len() < whole {
            return Ok(None);
        }
        if buffer[whole - 2..whole] != *b"\r\n" {
            return Err(malformed("a chunk that does not end where it says"));
        }
        let data = buffer[line + 2..line + 2 + size].to_vec();
        buffer.drain(..whole);
        self.done = size == 0;
        Ok(Some(if self.done { Piece::End } else { Piece::Data(data) }))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn malformed(problem: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}
