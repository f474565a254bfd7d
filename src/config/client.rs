//! The flags of commands that call servers of etcd v2: where they are, TLS, patience.
//!
//! Not here: the calls ([`crate::v2client`]). Invariant: no password is in what is printed, and the
//! environment of a server on this machine is not taken for that of a client.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Mistakes;
use super::tls;
use super::typed::Typed;
use crate::v2client::{Endpoints, Limits, OwnCertificate, TlsFiles};

#[derive(Debug, Args)]
pub(super) struct ClientFlags {
    /// The CAs of https:// servers, in PEM; a file may hold several [default: the machine's]
    #[arg(long, env = "ETCDYNAMO_CLIENT_TRUSTED_CA_FILE", value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,

    /// The certificate to show to https:// servers and those between it and its CA, in PEM.
    #[arg(long, env = "ETCDYNAMO_CLIENT_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,

    /// The private key of --cert-file, in PEM.
    #[arg(long, env = "ETCDYNAMO_CLIENT_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// How long a call that fails is tried again, at any member.
    #[arg(long, env = "ETCDYNAMO_CLIENT_RETRY_MS", value_name = "MS", default_value = "60000")]
    retry_ms: Typed<u64>,
}

/// How servers are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The files of TLS.
    pub tls: TlsFiles,
    /// How long is waited.
    pub limits: Limits,
}

impl ClientFlags {
    pub(super) fn meaning(self, mistakes: &mut Mistakes) -> ClientConfig {
        let own = tls::pair(self.cert_file, self.key_file, mistakes);
        let own = own.map(|(cert, key)| OwnCertificate { cert, key });
        let patience = Duration::from_millis(self.retry_ms.or(0, "retry-ms", mistakes));
        ClientConfig {
            tls: TlsFiles { trusted_ca: self.trusted_ca_file, own },
            limits: Limits { patience, ..Limits::default() },
        }
    }
}

/// Reads the URLs of a cluster.
pub(super) fn endpoints(text: &str, flag: &str, mistakes: &mut Mistakes) -> Option<Endpoints> {
    Endpoints::parse(text).map_err(|problem| mistakes.add(flag, problem)).ok()
}

/// Whether a text that may name a file or a server means servers.
pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
