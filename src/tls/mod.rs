//! TLS of the listeners: certificate, key and CA from their files, and again when these change.
//!
//! [`Tls`] holds what the next handshake uses. Once a second the files are read, and where they
//! differ from what was read before and make sense together, the next handshake uses them; where
//! they do not, as while one of two is written, what was there goes on and the log says why. etcd
//! reads the pair at each handshake and the CA only once; here no handshake waits for a file.
//!
//! Not here: sockets, HTTP, what a client may do. Invariant: what is current was whole when it was
//! read: the key belongs to the certificate, and the CA file names at least one CA.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics;

mod name;

pub use name::common_name;

/// How often the files are read.
const LOOK: Duration = Duration::from_secs(1);

/// The versions that are spoken if TLS 1.2 is the least.
const FROM_1_2: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const FROM_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// The least version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Which files, and how they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those between it and its CA, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The CAs of clients, in PEM; with them every client has to show a certificate of theirs.
    pub client_ca: Option<PathBuf>,
    /// The least version that is spoken.
    pub min_version: MinVersion,
}

/// Why files are of no use, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(&self) -> Result<Contents, Unusable> {
        let read = |flag: &str, path: &Path| {
            fs::read(path).map_err(|error| at(flag, path, &error.to_string()))
        };
        Ok(Contents {
            cert: read("cert-file", &self.cert)?,
            key: read("key-file", &self.key)?,
            client_ca: match &self.client_ca {
                Some(path) => Some(read("trusted-ca-file", path)?),
                None => None,
            },
        })
    }

    /// What a handshake needs, if the contents make sense together.
    fn understand(&self, contents: &Contents) -> Result<ServerConfig, Unusable> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certs = certificates("cert-file", &self.cert, &contents.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| at("key-file", &self.key, &error.to_string()))?;
        let versions = match self.min_version {
            MinVersion::Tls12 => FROM_1_2,
            MinVersion::Tls13 => FROM_1_3,
        };
        let verifier = self.verifier(contents, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| Unusable(format!("--tls-min-version: {error}")))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certs, key)
            .map_err(|error| at("key-file", &self.key, &error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        contents: &Contents,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
        let (Some(path), Some(pem)) = (&self.client_ca, &contents.client_ca) else {
            return Ok(Arc::new(NoClientAuth));
        };
        let unusable = |what: String| at("trusted-ca-file", path, &what);
        let mut roots = RootCertStore::empty();
        for ca in certificates("trusted-ca-file", path, pem)? {
            roots.add(ca).map_err(|error| unusable(error.to_string()))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| unusable(error.to_string()))
    }
}

fn at(flag: &str, path: &Path, what: &str) -> Unusable {
    Unusable(format!("--{flag}: {}: {what}", path.display()))
}

/// The certificates in a file, of which there has to be one.
fn certificates(
    flag: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certs = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certs = certs.map_err(|error| at(flag, path, &error.to_string()))?;
    if certs.is_empty() {
        return Err(at(flag, path, "holds no certificate in PEM"));
    }
    Ok(certs)
}

/// What handshakes use: the newest of the files that made sense.
pub struct Tls {
    files: Files,
    current: RwLock<Arc<ServerConfig>>,
    /// What the files held when they were last looked at, whether or not it made sense.
    seen: Mutex<Result<Contents, Unusable>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What a look at the files showed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    /// They are as they were.
    Same,
    /// They changed, and the next handshake uses them.
    New,
    /// They changed, and are of no use.
    Broken(Unusable),
}

impl Tls {
    /// Reads the files for the first time.
    pub fn load(files: Files) -> Result<Tls, Unusable> {
        let contents = files.read()?;
        let current = RwLock::new(Arc::new(files.understand(&contents)?));
        Ok(Tls { files, current, seen: Mutex::new(Ok(contents)) })
    }

    /// What a handshake that begins now uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files again and again, for as long as it is polled.
    pub async fn keep_looking(self: &Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let tls = Arc::clone(self);
            // A file system may stand still; then nobody waits for it but this.
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Look::Same) => {}
                Ok(Look::New) => {
                    metrics::tls_files_changed(true);
                    tracing::info!(files = ?self.files, "new certificates are in use");
                }
                Ok(Look::Broken(error)) => {
                    metrics::tls_files_changed(false);
                    tracing::error!(%error, "the old certificates stay in use");
                }
                Err(error) => tracing::error!(%error, "cannot look at the certificates"),
            }
        }
    }

    /// Reads the files, and takes what they hold if it is new and makes sense.
    fn look(&self) -> Look {
        let contents = self.files.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Look::Same;
        }
        let understood = contents.as_ref().map_err(Unusable::clone);
        let look = match understood.and_then(|contents| self.files.understand(contents)) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                Look::New
            }
            Err(unusable) => Look::Broken(unusable),
        };
        *seen = contents;
        look
    }
}

#[cfg(test)]
mod tests;
