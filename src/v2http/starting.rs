//! Requests that come before the keyspace is open.
//!
//! What listens is served from the first moment: probes get their answers, so that a start that
//! takes long (a table that is being made) does not look like a dead container. All other requests
//! wait for the keyspace, as they would in the kernel's queue, and not longer than any request may
//! take. Invariant: nothing waits for a keyspace that is not to come any more.

use std::sync::OnceLock;
use std::time::Duration;

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::body::RequestBody;
use super::reply::{self, Reply};
use super::request_log::{LogConfig, Seen};
use super::socket::Peer;
use super::{Api, health, route};
use crate::keyspace::Keys;
use crate::shutdown::Shutdown;

const STARTING: &str = "the server is starting";

/// What is not there from the start.
pub(super) struct Opening<K> {
    api: OnceLock<Api<K>>,
    is_open: CancellationToken,
    /// How long a request waits for it.
    patience: Duration,
    log: LogConfig,
}

impl<K: Keys> Opening<K> {
    pub(super) fn new(patience: Duration, log: LogConfig) -> Opening<K> {
        Opening { api: OnceLock::new(), is_open: CancellationToken::new(), patience, log }
    }

    /// From now on it is there.
    pub(super) fn opened(&self, api: Api<K>) {
        if self.api.set(api).is_err() {
            tracing::error!("the keyspace was opened twice");
        }
        self.is_open.cancel();
    }

    /// What answers, once it is there.
    pub(super) fn api(&self) -> Option<&Api<K>> {
        self.api.get()
    }

    /// Answers a request that came before.
    pub(super) async fn answer(
        &self,
        request: Request<RequestBody>,
        peer: &Peer,
        shutdown: &Shutdown,
    ) -> Reply {
        let seen = Seen::of(&request, peer.address);
        let probed = match request.uri().path() {
            "/livez" => Some(health::serve_live(request.method())),
            "/readyz" => Some(health::serve_ready(request.method(), Err(STARTING))),
            "/health" => Some(health::health(false)),
            _ => None,
        };
        if let Some(reply) = probed {
            return seen.answered(&self.log, reply);
        }
        tokio::select! {
            () = self.is_open.cancelled() => {}
            () = sleep(self.patience) => {}
            () = shutdown.begun() => {}
        }
        match self.api() {
            Some(api) => route::answer(api, request, peer).await,
            None => {
                let mut reply = reply::message(StatusCode::SERVICE_UNAVAILABLE, STARTING);
                reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                seen.answered(&self.log, reply::closing(reply))
            }
        }
    }
}
