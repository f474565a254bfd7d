//! Where a cluster is: the URLs of its members, with the credentials that they carry.
//!
//! Not here: connections. Invariant: nothing that is printed of them holds a password.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

/// The members of one cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// `http://host:port` of each, without a slash at the end.
    members: Vec<String>,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

impl Endpoints {
    /// Reads a comma-separated list of URLs. What is wrong is told without the credentials.
    ///
    /// One cluster has one set of users: the first credentials found are shown to all members.
    pub fn parse(text: &str) -> Result<Endpoints, String> {
        let mut endpoints = Endpoints { members: Vec::new(), authorization: None };
        for (place, part) in text.split(',').map(str::trim).enumerate() {
            if part.is_empty() {
                continue;
            }
            let url = Url::parse(part).map_err(|error| format!("URL {}: {error}", place + 1))?;
            let bare = bare(&url).map_err(|problem| format!("URL {}: {problem}", place + 1))?;
            endpoints.members.push(bare);
            if endpoints.authorization.is_none() {
                endpoints.authorization = authorization(&url);
            }
        }
        if endpoints.members.is_empty() {
            return Err("names no URL".to_owned());
        }
        Ok(endpoints)
    }

    /// `http://host:port` of each member.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Whether a member is called by TLS.
    pub fn any_https(&self) -> bool {
        self.members.iter().any(|member| member.starts_with("https://"))
    }

    /// What to show as `Authorization`.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// Scheme, host and port.
fn bare(url: &Url) -> Result<String, String> {
    let scheme = url.scheme();
    if scheme != "http" && scheme != "https" {
        return Err(format!("the scheme '{scheme}' is neither http nor https"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than a host and a port".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?;
    let port = url.port_or_known_default().ok_or("names no port")?;
    Ok(format!("{scheme}://{host}:{port}"))
}

/// Basic authentication, if the URL names a user.
fn authorization(url: &Url) -> Option<String> {
    if url.username().is_empty() {
        return None;
    }
    let mut plain = percent_decode_str(url.username()).collect::<Vec<u8>>();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", BASE64_STANDARD.encode(plain)))
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.members.join(","))
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_credentials_are_read_and_only_members_are_shown() {
        let endpoints = Endpoints::parse("http://us%40er:p%3Aw@a:1, https://b,,http://[::1]:2/")
            .expect("a good list");
        assert_eq!(endpoints.members(), ["http://a:1", "https://b:443", "http://[::1]:2"]);
        let expected = format!("Basic {}", BASE64_STANDARD.encode("us@er:p:w"));
        assert_eq!(endpoints.authorization(), Some(expected.as_str()));
        assert!(endpoints.any_https());
        assert_eq!(endpoints.to_string(), "http://a:1,https://b:443,http://[::1]:2");
        assert_eq!(format!("{endpoints:?}"), "Endpoints(http://a:1,https://b:443,http://[::1]:2)");
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for text in [
            "",
            " , ",
            "ftp://u:secret@a",
            "http://u:secret@a/v2/keys",
            "http://u:secret@a:99999",
            "http://u:secret@",
            "u:secret@a:2379",
            "http://a,http://u:secret@a?x=1",
        ] {
            let problem = Endpoints::parse(text).expect_err(text);
            assert!(!problem.contains("secret"), "{text}: {problem}");
        }
    }
}
