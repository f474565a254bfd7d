//! Watches on the wire: the head at once, then one line for each event as it happens.
//!
//! The body is the watch: hyper asks it for the next line, and drops it when the client leaves,
//! which frees the watcher. Nothing waits beside it. What is told, and when it is over, is the
//! keyspace's business; only a silence that lasts too long is ended here, by an empty rest, upon
//! which clients ask again.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::head::Telling;
use super::reply::{self, Reply};
use super::{Api, json};
use crate::keyspace::{Keys, Watcher, Watching};
use crate::v2::Watch;

/// Answers a GET with `wait=true`.
pub(super) async fn serve<K: Keys>(api: &Api<K>, watch: Watch) -> Reply {
    match api.keys.watch(watch).await {
        Ok(Watching { watcher, index }) => {
            let lines = Lines::new(watcher, api.config.watch_timeout);
            reply::events(lines, index, &api.cluster_id)
        }
        Err(error) => reply::error(&error, &api.cluster_id),
    }
}

/// The events of a watch, a line each.
#[derive(Debug)]
pub(super) struct Lines {
    watcher: Watcher,
    silence: Option<Silence>,
    /// Held until nothing more is told.
    telling: Option<Telling>,
}

/// How long nothing may be said, and until when.
#[derive(Debug)]
struct Silence {
    limit: Duration,
    until: Pin<Box<Sleep>>,
}

impl Lines {
    fn new(watcher: Watcher, limit: Option<Duration>) -> Lines {
        let silence = limit.map(|limit| Silence { limit, until: Box::pin(sleep(limit)) });
        Lines { watcher, silence, telling: None }
    }

    /// Keeps this until all is told.
    pub(super) fn keep(&mut self, telling: Telling) {
        self.telling = Some(telling);
    }

    /// Whether there is nothing to tell by now.
    pub(super) fn is_waiting(&self) -> bool {
        self.watcher.is_waiting()
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.watcher.poll_next(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                let Some(silence) = &mut self.silence else { return Poll::Pending };
                ready!(silence.until.as_mut().poll(cx));
                None
            }
        };
        let Some(event) = next else { return Poll::Ready(None) };
        if let Some(silence) = &mut self.silence {
            silence.until.as_mut().reset(Instant::now() + silence.limit);
        }
        let mut line = Vec::with_capacity(json::event_size(&event));
        json::write_event(&mut line, &event);
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}
