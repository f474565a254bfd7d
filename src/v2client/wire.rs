//! Connections: hyper's client with rustls, and what of its errors matters.
//!
//! Not here: what is asked, and who is asked again. Invariant: each step but the wait for an event
//! has a time limit, and a peer that is gone without a word is noticed by TCP's keepalive.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Error, Outcome};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next call.
const KEEP: Duration = Duration::from_secs(30);

/// How long the other side may say nothing until it is probed, and between probes.
const PROBE: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

/// The files of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The CAs that are trusted, in PEM; `None`: the machine's.
    pub trusted_ca: Option<PathBuf>,
    /// What this client shows of itself: a certificate and its key, in PEM.
    pub own: Option<OwnCertificate>,
}

/// A client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The certificate and those between it and its CA.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    fn read(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.trusted_ca {
            None => builder.with_native_roots().map_err(|error| {
                format!("this machine's CAs ({error}): name yours with --trusted-ca-file")
            })?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for ca in certificates("trusted-ca-file", path)? {
                    roots.add(ca).map_err(|error| at("trusted-ca-file", path, &error))?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let Some(OwnCertificate { cert, key }) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let certs = certificates("cert-file", cert)?;
        let pem = fs::read(key).map_err(|error| at("key-file", key, &error))?;
        let own =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|error| at("key-file", key, &error))?;
        builder.with_client_auth_cert(certs, own).map_err(|error| at("key-file", key, &error))
    }
}

fn at(flag: &str, path: &std::path::Path, error: &dyn fmt::Display) -> String {
    format!("--{flag}: {}: {error}", path.display())
}

fn certificates(
    flag: &str,
    path: &std::path::Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| at(flag, path, &error))?;
    let certs = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certs = certs.map_err(|error| at(flag, path, &error))?;
    if certs.is_empty() { Err(at(flag, path, &"holds no certificate in PEM")) } else { Ok(certs) }
}

/// Makes connections and keeps them for the next call.
#[derive(Clone)]
pub(super) enum Wire {
    /// No member is called by TLS.
    Plain(Client<HttpConnector, Full<Bytes>>),
    /// Some are.
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// Why nothing came.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) detail: String,
    pub(super) outcome: Outcome,
}

impl Wire {
    /// A client; `None`: without TLS.
    pub(super) fn new(tls: Option<&TlsFiles>) -> Result<Wire, String> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(KEEP).pool_timer(TokioTimer::new());
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(PROBE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(PROBES));
        let Some(files) = tls else {
            return Ok(Wire::Plain(builder.build(connector)));
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(files.read()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Wire::Tls(builder.build(connector)))
    }

    /// The head of the answer, if it comes in time.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Cut> {
        let answer = async {
            match self {
                Wire::Plain(client) => client.request(request).await,
                Wire::Tls(client) => client.request(request).await,
            }
        };
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Cut {
                outcome: if error.is_connect() { Outcome::NotDone } else { Outcome::Unknown },
                detail: chain(&error),
            }),
            Err(_elapsed) => Err(Cut {
                detail: format!("no answer within {limit:?}"),
                outcome: Outcome::Unknown,
            }),
        }
    }
}

/// What is behind an error: the first part is `client error (Connect)`, which tells nobody much.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => chain(source),
    }
}

/// What came of an answer.
#[derive(Debug)]
pub(super) enum Next {
    Bytes(Bytes),
    End,
    /// Nothing, for too long.
    Silence,
}

/// The bytes of an answer as they come.
pub struct Body {
    incoming: Incoming,
    /// How long the next ones may take.
    limit: Duration,
    member: String,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({})", self.member)
    }
}

impl Body {
    pub(super) fn new(incoming: Incoming, limit: Duration, member: String) -> Body {
        Body { incoming, limit, member }
    }

    /// The next bytes; `None` at the end, which is known to be the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.next_within(self.limit).await? {
            Next::Bytes(bytes) => Ok(Some(bytes)),
            Next::End => Ok(None),
            Next::Silence => Err(self.breaks_off(&format!("silent for {:?}", self.limit))),
        }
    }

    /// The next bytes, if they come in this time.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Result<Next, Error> {
        let deadline = Instant::now() + limit;
        loop {
            match timeout_at(deadline, self.incoming.frame()).await {
                Err(_elapsed) => return Ok(Next::Silence),
                Ok(None) => return Ok(Next::End),
                Ok(Some(Err(error))) => return Err(self.breaks_off(&chain(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Next::Bytes(data));
                    }
                }
            }
        }
    }

    fn breaks_off(&self, detail: &str) -> Error {
        Error::Unanswered {
            member: self.member.clone(),
            detail: format!("its answer breaks off: {detail}"),
            outcome: Outcome::Unknown,
        }
    }

    /// All that is left, if it is not more than this.
    pub(super) async fn collect(mut self, most: usize) -> Result<Bytes, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > most {
                return Err(Error::Strange {
                    member: self.member,
                    detail: format!("its answer has more than {most} bytes"),
                });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(all))
    }
}
