//! The least of an HTTP server that the stand-in needs: a thread a connection, whole bodies, nothing tidied up.
//!
//! Not for measuring. Invariant: a request is handed on byte for byte as it came.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A request.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// The answer to it.
#[derive(Debug)]
pub(super) struct Goes {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

type Handler = dyn Fn(Came) -> Goes + Send + Sync;

/// A listener, which goes with its handle.
#[derive(Debug)]
pub(super) struct Listening {
    address: String,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(
        handler: impl Fn(Came) -> Goes + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let ends = Arc::clone(&is_over);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let handler = Arc::clone(&handler);
                // It ends with its client.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &*handler)));
            }
        });
        Ok(Self { address, is_over, acceptor: Some(acceptor) })
    }

    /// Its host:port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // It looks only when somebody comes.
        let came = TcpStream::connect(&self.address);
        if let (Ok(_), Some(acceptor)) = (came, self.acceptor.take()) {
            // It cannot panic, and what is wanted is that it is gone.
            let _ = acceptor.join();
        }
    }
}

fn serve(mut stream: TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(came) = read(&mut stream, &mut buffer)? {
        let is_head = came.method == "HEAD";
        let Goes { status, headers, body } = handler(came);
        let mut answer = format!("HTTP/1.1 {status} Answer\r\n").into_bytes();
        for (name, value) in headers {
            answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if status != 204 && !is_head {
            answer.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// The next request; `None`: the client has left.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Came>> {
    loop {
        if let Some((mut came, head, length)) = parse(buffer)?
            && buffer.len() >= head + length
        {
            came.body = buffer[head..head + length].to_vec();
            buffer.drain(..head + length);
            return Ok(Some(came));
        }
        let mut piece = [0_u8; 64 << 10];
        match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A request without its body, where its head is there, and how long both are.
fn parse(buffer: &[u8]) -> io::Result<Option<(Came, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(buffer).map_err(|error| io::Error::other(error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let came = Came {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: request
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into()))
            .collect(),
        body: Vec::new(),
    };
    let length = came.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Ok(0), |(_, value)| value.parse());
    Ok(Some((came, head, length.map_err(io::Error::other)?)))
}
