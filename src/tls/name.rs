//! Whom a client's certificate names.
//!
//! The common name (CN) of the subject is what etcd takes for the user's name. Whether the
//! certificate is to be trusted was decided in the handshake; nothing is decided here.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The common name of a certificate's subject; `None` where it has none that is text.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject().iter_common_name();
    // Where there are several, Go's crypto/x509 ends up with the last.
    names.last()?.as_str().ok().map(str::to_owned)
}
