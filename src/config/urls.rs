//! URLs as flags take them: what a server listens on, advertises and calls.

use std::net::SocketAddr;

use url::{Host, Url};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The URL of an address.
    pub fn url(self, address: SocketAddr) -> String {
        match self {
            Scheme::Http => format!("http://{address}"),
            Scheme::Https => format!("https://{address}"),
        }
    }
}

/// Something to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenUrl {
    /// What is spoken there.
    pub scheme: Scheme,
    /// An IP address without brackets, or a name that has one.
    pub host: String,
    /// The port; 0: any that is free.
    pub port: u16,
}

/// The parts of a comma-separated list.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Reads `--listen-client-urls` and `--listen-metrics-urls`.
pub(super) fn listen(text: &str) -> Result<Vec<ListenUrl>, String> {
    let urls = list(text).map(listen_url).collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err("names no URL".to_owned());
    }
    Ok(urls)
}

fn listen_url(text: &str) -> Result<ListenUrl, String> {
    let url = bare(text)?;
    let (scheme, own_port) = match url.scheme() {
        "https" => (Scheme::Https, 443),
        _ => (Scheme::Http, 80),
    };
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(format!("'{text}' names no host")),
    };
    // `Url` forgets a port that is the scheme's own, and whether one was given matters.
    let port = match url.port() {
        Some(port) => port,
        None if text.trim_end_matches('/').ends_with(&format!(":{own_port}")) => own_port,
        None => return Err(format!("'{text}' names no port")),
    };
    Ok(ListenUrl { scheme, host, port })
}

/// Reads `--advertise-client-urls`. Whatever stands before the server may speak TLS.
pub(super) fn advertise(text: &str) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for text in list(text) {
        let url = bare(text)?;
        if url.port() == Some(0) {
            return Err(format!("'{text}': no client can connect to port 0"));
        }
        urls.push(text.trim_end_matches('/').to_owned());
    }
    if urls.is_empty() {
        return Err("names no URL".to_owned());
    }
    Ok(urls)
}

/// Reads `--endpoint-url`.
pub(super) fn endpoint(text: &str) -> Result<(), String> {
    parse(text).map(|_| ())
}

/// A URL of nothing but scheme, host and port.
fn bare(text: &str) -> Result<Url, String> {
    let url = parse(text)?;
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_bare { Ok(url) } else { Err(format!("'{text}' has more than a host and a port")) }
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("'{text}' is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("'{text}': the scheme '{scheme}' is neither http nor https")),
    }
}
