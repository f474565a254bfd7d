//! The HTTP client that calls the collector, for OpenTelemetry's exporter.
//!
//! The exporter has a thread of its own, and this client's work is done by the runtime. Not here:
//! what is sent, and when it is sent again. Invariant: each call ends in time.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a call to the collector may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// The longest reply that is read.
const REPLY_BYTES: usize = 64 << 10;

/// A client, with or without TLS.
#[derive(Clone)]
enum Wire {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// Calls a collector.
pub(super) struct CollectorClient {
    wire: Wire,
    runtime: Handle,
    /// The last call failed, which the log knows.
    is_failing: AtomicBool,
}

impl CollectorClient {
    /// A client for one collector. To be made within the runtime.
    pub(super) fn new(with_tls: bool) -> io::Result<CollectorClient> {
        let builder = Client::builder(TokioExecutor::new());
        let wire = if with_tls {
            let connector = HttpsConnectorBuilder::new().with_native_roots()?;
            Wire::Tls(builder.build(connector.https_only().enable_http1().build()))
        } else {
            Wire::Plain(builder.build_http())
        };
        Ok(CollectorClient { wire, runtime: Handle::current(), is_failing: AtomicBool::new(false) })
    }

    /// Says so in the log when a collector begins to fail, and when it is well again.
    fn note(&self, result: &Result<Response<Bytes>, HttpError>) {
        let problem = match result {
            Ok(reply) if reply.status().is_success() => None,
            Ok(reply) => Some(format!("status {}", reply.status().as_u16())),
            Err(error) => Some(chain(error.as_ref())),
        };
        let was_failing = self.is_failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_failing => {
                tracing::warn!(problem, "the collector does not take traces");
            }
            None if was_failing => tracing::info!("the collector takes traces again"),
            Some(_) | None => {}
        }
    }
}

/// An error and all that is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let behind = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", behind.unwrap_or_default())
}

async fn call(wire: Wire, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError> {
    let replied = async {
        let reply = match wire {
            Wire::Plain(client) => client.request(request).await?,
            Wire::Tls(client) => client.request(request).await?,
        };
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    timeout(CALL_LIMIT, replied).await.map_err(|_elapsed| "no reply in time")?
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectorClient")
    }
}

impl HttpClient for CollectorClient {
    fn send_bytes<'client, 'call>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'call>>
    where
        'client: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let called = self.runtime.spawn(call(self.wire.clone(), request.map(Full::new)));
            let result = called.await.unwrap_or_else(|failed| Err(failed.into()));
            self.note(&result);
            result
        })
    }
}
