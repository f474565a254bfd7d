//! The flags about TLS, as etcd spells them, and about the listeners for metrics.

use std::path::PathBuf;

use clap::Args;

use super::Mistakes;
use super::typed::{Readable, Typed};
use super::urls::{self, ListenUrl, Scheme};

#[derive(Debug, Args)]
pub(super) struct TlsFlags {
    /// The certificate of https:// listeners and those between it and its CA, in PEM; read again
    /// when it changes.
    #[arg(long, env = "ETCDYNAMO_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,

    /// The private key of --cert-file, in PEM.
    #[arg(long, env = "ETCDYNAMO_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Serve only clients with a certificate of --trusted-ca-file.
    #[arg(long, env = "ETCDYNAMO_CLIENT_CERT_AUTH")]
    client_cert_auth: bool,

    /// The CAs of clients' certificates, in PEM; implies --client-cert-auth, as in etcd.
    #[arg(long, env = "ETCDYNAMO_TRUSTED_CA_FILE", value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,

    /// The least version of TLS that is spoken: TLS1.2 or TLS1.3.
    #[arg(long, env = "ETCDYNAMO_TLS_MIN_VERSION", value_name = "VERSION")]
    #[arg(default_value = "TLS1.2")]
    tls_min_version: Typed<TlsVersion>,

    /// Where /metrics and /health are served beside the client URLs, comma-separated.
    #[arg(long, env = "ETCDYNAMO_LISTEN_METRICS_URLS", value_name = "URLS")]
    listen_metrics_urls: Option<String>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Readable for TlsVersion {
    fn read(text: &str) -> Result<TlsVersion, String> {
        match text {
            "TLS1.2" => Ok(TlsVersion::Tls12),
            "TLS1.3" => Ok(TlsVersion::Tls13),
            _ => Err(format!("'{text}' is neither TLS1.2 nor TLS1.3")),
        }
    }
}

/// Where TLS's files are, and the least version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate and those between it and its CA.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CAs of clients; `None`: clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// The least version.
    pub min_version: TlsVersion,
}

/// What is meant by these flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsMeaning {
    /// `None`: no listener speaks TLS.
    pub(super) tls: Option<TlsConfig>,
    /// Where metrics are served beside the client URLs.
    pub(super) metrics: Vec<ListenUrl>,
    /// Files were given, and nobody uses them.
    pub(super) is_idle: bool,
}

impl TlsFlags {
    /// The flags about listening that are given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("cert-file", self.cert_file.is_some()),
            ("key-file", self.key_file.is_some()),
            ("client-cert-auth", self.client_cert_auth),
            ("trusted-ca-file", self.trusted_ca_file.is_some()),
            (
                "listen-metrics-urls",
                self.listen_metrics_urls.as_ref().is_some_and(|u| !u.is_empty()),
            ),
        ];
        all.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect()
    }

    /// What is meant, with these client URLs.
    pub(super) fn meaning(self, clients: &[ListenUrl], mistakes: &mut Mistakes) -> TlsMeaning {
        let metrics = self.listen_metrics_urls.as_deref().filter(|urls| !urls.is_empty());
        let metrics = metrics.map_or(Ok(Vec::new()), urls::listen);
        let metrics = mistakes.check("listen-metrics-urls", metrics);
        let min_version = self.tls_min_version.or(TlsVersion::Tls12, "tls-min-version", mistakes);
        if self.client_cert_auth && self.trusted_ca_file.is_none() {
            mistakes.add("client-cert-auth", "needs --trusted-ca-file: whose certificates?");
        }
        let is_any = self.cert_file.is_some() || self.trusted_ca_file.is_some();
        let mut is_wanted = false;
        for (flag, urls) in [("listen-client-urls", clients), ("listen-metrics-urls", &metrics)] {
            let is_https = urls.iter().any(|url| url.scheme == Scheme::Https);
            is_wanted |= is_https;
            if is_https && self.cert_file.is_none() && self.key_file.is_none() {
                mistakes.add(flag, "https needs --cert-file and --key-file");
            }
        }
        let pair = pair(self.cert_file, self.key_file, mistakes).filter(|_| is_wanted);
        let tls = pair.map(|(cert, key)| TlsConfig {
            cert,
            key,
            client_ca: self.trusted_ca_file,
            min_version,
        });
        TlsMeaning { is_idle: is_any && !is_wanted, tls, metrics }
    }
}

/// A certificate and its key, which go together.
pub(super) fn pair(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    mistakes: &mut Mistakes,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => return Some((cert, key)),
        (Some(_), None) => mistakes.add("cert-file", "needs --key-file"),
        (None, Some(_)) => mistakes.add("key-file", "needs --cert-file"),
        (None, None) => {}
    }
    None
}
