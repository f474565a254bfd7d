//! The flags of `etcdynamo healthcheck`: the server's own addresses, and what to ask there.
//!
//! Not here: the asking ([`crate::commands::healthcheck`]). Invariant: with the environment of the
//! server it needs no flag, and it asks this machine and no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clap::Args;
use url::{Host, Url};

use super::typed::Typed;
use super::{Mistakes, urls};

#[derive(Debug, Args)]
pub(super) struct HealthFlags {
    /// Where the server listens, as it was told itself; the first that is http is asked.
    #[arg(long, env = "ETCDYNAMO_LISTEN_CLIENT_URLS", value_name = "URLS")]
    #[arg(default_value = "http://127.0.0.1:2379")]
    listen_client_urls: String,

    /// What is asked for. /livez tells whether the program answers; /readyz and /health need the
    /// store too, and a container that is stopped for the store's sake helps nobody.
    #[arg(long, env = "ETCDYNAMO_HEALTHCHECK_PATH", default_value = "/livez")]
    path: String,

    /// How long all of it may take.
    #[arg(long, env = "ETCDYNAMO_HEALTHCHECK_TIMEOUT_MS", value_name = "MS")]
    #[arg(default_value = "2000")]
    timeout_ms: Typed<u64>,
}

/// Which server is asked, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// A name or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is asked for.
    pub path: String,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl HealthFlags {
    pub(super) fn meaning(self) -> Result<HealthCheck, Mistakes> {
        let mut mistakes = Mistakes::default();
        let place = mistakes.check("listen-client-urls", place(&self.listen_client_urls));
        if !self.path.starts_with('/') || self.path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            mistakes.add("path", format!("'{}' is no path like /livez", self.path));
        }
        let timeout_ms = self.timeout_ms.or(1, "timeout-ms", &mut mistakes);
        if timeout_ms == 0 {
            mistakes.add("timeout-ms", "must be more than 0");
        }
        let timeout = Duration::from_millis(timeout_ms);
        let Place { host, port } = place;
        let check = HealthCheck { host, port, path: self.path, timeout };
        if mistakes.0.is_empty() { Ok(check) } else { Err(mistakes) }
    }
}

#[derive(Debug, Default)]
struct Place {
    host: String,
    port: u16,
}

/// Where the first of these that is http is reached from this machine.
fn place(listed: &str) -> Result<Place, String> {
    let parse = |text| Url::parse(text).map_err(|error| format!("'{text}' is no URL: {error}"));
    let parsed = urls::list(listed).map(|text| parse(text).map(|url| (text, url)));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let plain = parsed.into_iter().find(|(_, url)| url.scheme() == "http");
    let (text, url) = plain.ok_or("names no URL of http, the only kind that can be asked")?;
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => near(address.into()).to_string(),
        Some(Host::Ipv6(address)) => near(address.into()).to_string(),
        None => return Err(format!("'{text}' names no host")),
    };
    match url.port_or_known_default() {
        None | Some(0) => Err(format!("'{text}': only a server with a fixed port can be asked")),
        Some(port) => Ok(Place { host, port }),
    }
}

/// What listens on every address of this machine listens on this one.
fn near(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}
