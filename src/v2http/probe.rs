//! One GET of a server: all that this program needs of a client.
//!
//! Not here: deadlines, and what an answer means. Invariant: no connection outlives its question.

use std::io;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The status that the server at this place answers with. The answer's body is left unread.
pub async fn get(host: &str, port: u16, path: &str) -> io::Result<StatusCode> {
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse::<Uri>().map_err(other)?;
    let authority = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = HeaderValue::try_from(format!("{authority}:{port}")).map_err(other)?;
    request.headers_mut().insert(HOST, authority);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // What was answered, or why nothing was, has been handed over by then.
        _ended = connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(other)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
