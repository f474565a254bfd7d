//! Connections: accepted, refused for a while, cut.
//!
//! Not here: what becomes of a call. Invariant: a refusal is a real one, since nothing listens.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, sleep_until};

use super::call::Call;
use super::deliver::{Delivery, deliver};
use super::reply::Reply;
use super::{BACKLOG, Shared, socket};

/// How long the first half of a reply has to get out before its connection is cut.
const HALF_WAY: Duration = Duration::from_millis(5);

/// How soon a port is tried again that could not be listened on.
const RELISTEN: Duration = Duration::from_millis(5);

/// Accepts connections for as long as the endpoint lives.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, port: u16) {
    let mut refusing = shared.refusing.subscribe();
    let mut listener = Some(listener);
    loop {
        if let Some(listening) = listener.take() {
            serve_until_refused(&shared, &listening, &mut refusing).await;
        }
        loop {
            let until = *refusing.borrow_and_update();
            if until <= Instant::now() {
                break;
            }
            tokio::select! {
                () = sleep_until(until.into()) => {}
                _ = refusing.changed() => {}
            }
        }
        match socket(port).and_then(|socket| socket.listen(BACKLOG)) {
            Ok(listening) => listener = Some(listening),
            Err(_) => sleep(RELISTEN).await,
        }
    }
}

/// Ends when connections are to be refused, and cuts those that are open.
async fn serve_until_refused(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    refusing: &mut tokio::sync::watch::Receiver<Instant>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(shared), stream));
                }
                Err(_) => sleep(RELISTEN).await,
            },
            _ = refusing.changed() => {
                if *refusing.borrow_and_update() > Instant::now() {
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // Without it a reply is only a little later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    // An error is a connection that was cut, from one side or the other: both are meant.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is cut without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Payload>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let call = Call::new(target.unwrap_or_default(), body);
    // Carried out on its own task: a sender that is gone does not take its call back.
    match tokio::spawn(deliver(shared, head, call)).await {
        Ok(Delivery::Reply(reply)) => Ok(response(reply, false)),
        Ok(Delivery::Half(reply)) => Ok(response(reply, true)),
        Ok(Delivery::Cut) | Err(_) => Err(Cut),
    }
}

fn response(reply: Reply, breaks: bool) -> Response<Payload> {
    let left = u64::try_from(reply.body.len()).unwrap_or(u64::MAX);
    let sent = if breaks { reply.body.slice(..reply.body.len() / 2) } else { reply.body };
    let breaks = breaks.then(|| Box::pin(sleep(HALF_WAY)));
    let mut response = Response::new(Payload { sent: Some(sent), left, breaks });
    *response.status_mut() = reply.status;
    if let Ok(content_type) = HeaderValue::from_str(&reply.content_type) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// A reply's body, whole, or cut after what was sent of it.
struct Payload {
    sent: Option<Bytes>,
    /// What the `Content-Length` promises and has not been sent.
    left: u64,
    breaks: Option<Pin<Box<Sleep>>>,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(sent) = self.sent.take().filter(|sent| !sent.is_empty()) {
            self.left -= u64::try_from(sent.len()).unwrap_or(self.left);
            return Poll::Ready(Some(Ok(Frame::data(sent))));
        }
        match &mut self.breaks {
            None => Poll::Ready(None),
            Some(breaks) => breaks.as_mut().poll(context).map(|()| Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.breaks.is_none() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
