//! Servers under TLS, and what a client needs to speak with them.
//!
//! A [`Authority`] is a CA of its own that signs certificates into files. A [`Secure`] is a server
//! that listens plainly, under TLS, and for metrics, each on a port of its own, by flags that etcd
//! and etcdynamo spell alike. Not here: how answers are read; a secure one comes as its text.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::http::{ANSWER_TIMEOUT, Client, Request};
use crate::process::{Process, free_port, program, wait_until};
use crate::server::{Target, etcdynamo};

/// A certificate and its key, each in a file.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A CA with a directory for what it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// What could not be made or written.
    pub fn new() -> Result<Self, String> {
        let directory = TempDir::with_prefix("compat-ca-").map_err(|error| error.to_string())?;
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "compat CA");
        let cert = params.self_signed(&key).map_err(|error| error.to_string())?;
        write(&directory.path().join("ca.pem"), &cert.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), directory })
    }

    /// Its own certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Where files can be put.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Signs a certificate of this common name for this machine, in files of that name.
    ///
    /// # Errors
    /// What could not be made or written.
    pub fn sign(&self, common_name: &str) -> Result<Pair, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])
            .map_err(|error| error.to_string())?;
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.distinguished_name.push(DnType::CommonName, common_name);
        let cert = params.signed_by(&key, &self.issuer).map_err(|error| error.to_string())?;
        let at = |extension: &str| self.directory.path().join(format!("{common_name}.{extension}"));
        let pair = Pair { cert: at("pem"), key: at("key") };
        write(&pair.cert, &cert.pem())?;
        write(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }

    /// Connects to a server that has a certificate of this CA, with one of our own or without.
    ///
    /// # Errors
    /// The files cannot be read, or nobody is there. A handshake that is refused shows later.
    pub fn connect(&self, address: &str, own: Option<&Pair>) -> Result<SecureConnection, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.file())?).map_err(|error| error.to_string())?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                let key =
                    PrivateKeyDer::from_pem_file(&own.key).map_err(|error| error.to_string())?;
                config
                    .with_client_auth_cert(vec![certificate(&own.cert)?], key)
                    .map_err(|error| error.to_string())?
            }
        };
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let tls =
            ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        let socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| error.to_string())?;
        Ok(SecureConnection { stream: StreamOwned::new(tls, socket), seen: String::new() })
    }
}

/// A connection under TLS.
#[derive(Debug)]
pub struct SecureConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    seen: String,
}

impl SecureConnection {
    /// Sends a GET.
    ///
    /// # Errors
    /// The handshake was refused, or the connection is gone.
    pub fn get(&mut self, target: &str) -> Result<(), String> {
        let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// What came until this text did, with it; the next call begins behind it.
    ///
    /// # Errors
    /// The connection ended before.
    pub fn read_until(&mut self, text: &str) -> Result<String, String> {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece).map_err(|error| error.to_string())? {
                0 => return Err(format!("it ended after {:?}", self.seen)),
                count => self.seen.push_str(&String::from_utf8_lossy(&piece[..count])),
            }
        }
    }

    /// Whether the server showed the certificate in this file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn shows(&self, pair: &Pair) -> Result<bool, String> {
        let wanted = certificate(&pair.cert)?;
        let shown = self.stream.conn.peer_certificates().and_then(<[_]>::first);
        Ok(shown == Some(&wanted))
    }
}

/// A server that listens plainly, under TLS and for metrics.
#[derive(Debug)]
pub struct Secure {
    /// host:port without TLS.
    pub plain: String,
    /// host:port with TLS.
    pub secure: String,
    /// host:port for metrics, without TLS.
    pub metrics: String,
    _process: Process,
    _directory: TempDir,
}

impl Secure {
    /// Starts one with this certificate and more flags, and waits until it is healthy.
    ///
    /// # Errors
    /// Why it did not become healthy.
    pub fn start(target: Target, pair: &Pair, flags: &[&str]) -> Result<Self, String> {
        let directory = TempDir::with_prefix("compat-").map_err(|error| error.to_string())?;
        let address = || free_port().map(|port| format!("127.0.0.1:{port}"));
        let (plain, secure, metrics) = (address()?, address()?, address()?);
        let urls = format!("http://{plain},https://{secure}");
        let mut command = if target.is_etcdynamo() {
            etcdynamo()
        } else {
            let peer = format!("http://{}", address()?);
            let mut etcd = Command::new(program("ETCD_BIN", Path::new("etcd")));
            etcd.args(["--enable-v2", "--name", "compat", "--listen-peer-urls", &peer])
                .args(["--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("compat={peer}")]);
            etcd
        };
        command
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--listen-client-urls", &urls, "--advertise-client-urls", &urls])
            .args(["--listen-metrics-urls", &format!("http://{metrics}")])
            .arg("--cert-file")
            .arg(&pair.cert)
            .arg("--key-file")
            .arg(&pair.key)
            .args(flags)
            .stdout(Stdio::null());
        let mut process = Process::spawn(&mut command, &directory.path().join("server.log"))?;
        let is_healthy = || {
            let answer = Client::new(&plain).send(&Request::new("GET", "/health"));
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        wait_until(&mut process, is_healthy)?;
        Ok(Self { plain, secure, metrics, _process: process, _directory: directory })
    }
}

fn certificate(path: &Path) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
