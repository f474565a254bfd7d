//! An event, as the request that it stands for.
//!
//! Four senders, which differ in what they do to a request on its way:
//!
//! | sender | told by | path | query |
//! |---|---|---|---|
//! | function URL | version 2.0, its domain | as on the wire | as on the wire |
//! | HTTP API of API Gateway | version 2.0 or 1.0 | **decoded**, below the stage | as on the wire; 1.0: decoded |
//! | REST API of API Gateway | no version | as on the wire, without the stage | decoded |
//! | application load balancer | `elb` | as on the wire | as on the wire, in pieces |
//!
//! The router is given the bytes of the wire, or others that decode to the same. So what comes decoded is
//! encoded again, its percent signs too, and what comes as it was is left alone but for bytes that cannot stand
//! in a request's target. The crate that has types for these events (`aws_lambda_events`) drops the version
//! of 1.0, and `lambda_http` normalises paths and panics on some; that is why a few fields are read here.
//!
//! Invariant: an event that is no HTTP request is an error of the function, and never a request.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::body::RequestBody;
use super::super::cluster::ReachedAt;
use super::super::socket::{Door, Peer};

/// What cannot stand in a target as it is. Whoever sent it so meant these bytes.
const FOREIGN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The same in a path, which a question mark would end.
const FOREIGN_IN_PATHS: &AsciiSet = &FOREIGN.add(b'?');

/// What has to be encoded again in a path that was decoded.
const DECODED: &AsciiSet = &FOREIGN_IN_PATHS.add(b'%');

/// What of an event is looked at. Senders leave out what they have none of, or say null.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    version: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    path: Option<String>,
    http_method: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    multi_value_headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Option<Vec<String>>>>,
    request_context: Option<Context>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    http: Option<Http>,
    identity: Option<Identity>,
    elb: Option<IgnoredAny>,
    stage: Option<String>,
    domain_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: Option<String>,
    source_ip: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

/// Who sent an event, as far as the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// Payload version 2.0: a function URL or an HTTP API.
    Version2,
    /// Payload version 1.0: a REST API, or an HTTP API that was told to.
    Version1,
    /// A load balancer, with one value a header.
    Balancer,
    /// A load balancer with several.
    BalancerMulti,
}

/// A request that an event stands for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<RequestBody>,
    pub(super) peer: Peer,
    pub(super) sender: Sender,
    /// The part of the client's path that the router does not see: the stage. Empty, or as `/prod`.
    pub(super) prefix: String,
}

/// Why an event is not answered by the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is no HTTP request at all.
    NotHttp,
    /// It is one that no HTTP server would take.
    Malformed(Sender),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::NotHttp => {
                "the event is no HTTP request of a function URL, of API Gateway or of an \
                 application load balancer"
            }
            Unusable::Malformed(_) => "the request in the event is malformed",
        })
    }
}

impl Event {
    /// The request.
    pub(super) fn asked(self) -> Result<Asked, Unusable> {
        let sender = self.sender()?;
        let context = self.request_context.as_ref();
        let malformed = || Unusable::Malformed(sender);
        let http = context.and_then(|context| context.http.as_ref());
        let method = match sender {
            Sender::Version2 => http.and_then(|http| http.method.as_deref()),
            Sender::Version1 | Sender::Balancer | Sender::BalancerMulti => {
                self.http_method.as_deref()
            }
        };
        let method = Method::from_bytes(method.unwrap_or_default().as_bytes());
        let method = method.map_err(|_| malformed())?;
        let mut headers = self.all_headers();
        let (path, prefix) = self.path(sender);
        let target = match self.query(sender) {
            query if query.is_empty() => path,
            query => format!("{path}?{query}"),
        };
        let uri: Uri = target.parse().map_err(|_| malformed())?;
        let peer = Peer { address: self.client(&headers), common_name: None, door: Door::Clients };
        let reached = reached_at(&headers, context, &prefix);
        let host = context.and_then(|context| context.domain_name.as_deref()).unwrap_or("lambda");
        if !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(host)
        {
            headers.insert(HOST, host);
        }
        let is_base64 = self.is_base64_encoded.unwrap_or(false);
        let body = match self.body {
            Some(text) if is_base64 => STANDARD.decode(text).map_err(|_| malformed())?.into(),
            Some(text) => Bytes::from(text),
            None => Bytes::new(),
        };
        let mut request = Request::new(RequestBody::Whole(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(reached);
        Ok(Asked { request, peer, sender, prefix })
    }

    fn sender(&self) -> Result<Sender, Unusable> {
        let context = self.request_context.as_ref();
        let has_many = self.multi_value_headers.is_some();
        match self.version.as_deref() {
            _ if context.is_some_and(|context| context.elb.is_some()) && has_many => {
                Ok(Sender::BalancerMulti)
            }
            _ if context.is_some_and(|context| context.elb.is_some()) => Ok(Sender::Balancer),
            Some("2.0") if context.is_some_and(|context| context.http.is_some()) => {
                Ok(Sender::Version2)
            }
            None | Some("1.0") if self.http_method.is_some() && context.is_some() => {
                Ok(Sender::Version1)
            }
            _ => Err(Unusable::NotHttp),
        }
    }

    /// The path for the router, and what was in front of it.
    fn path(&self, sender: Sender) -> (String, String) {
        let context = self.request_context.as_ref();
        let domain = context.and_then(|context| context.domain_name.as_deref()).unwrap_or_default();
        let path = match sender {
            Sender::Version2 => self.raw_path.as_deref(),
            Sender::Version1 | Sender::Balancer | Sender::BalancerMulti => self.path.as_deref(),
        };
        let path = path.unwrap_or_default();
        let is_http_api = match sender {
            Sender::Version2 => !domain.contains(".lambda-url."),
            Sender::Version1 => self.version.is_some(),
            Sender::Balancer | Sender::BalancerMulti => false,
        };
        // Under a domain of one's own no stage is in the path.
        let stage = context.and_then(|context| context.stage.as_deref());
        let stage = stage.filter(|stage| *stage != "$default" && domain.contains(".execute-api."));
        let prefix = stage.map(|stage| format!("/{stage}")).unwrap_or_default();
        let path = match is_http_api {
            true => path.strip_prefix(&prefix).filter(|rest| is_path(rest)).unwrap_or(path),
            false => path,
        };
        let encoded =
            utf8_percent_encode(path, if is_http_api { DECODED } else { FOREIGN_IN_PATHS });
        let slash = if path.starts_with('/') { "" } else { "/" };
        (format!("{slash}{encoded}"), prefix)
    }

    fn query(&self, sender: Sender) -> String {
        let encode = |text: &str| match sender {
            Sender::Version2 | Sender::Balancer | Sender::BalancerMulti => {
                utf8_percent_encode(text, FOREIGN).to_string()
            }
            Sender::Version1 => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        };
        if sender == Sender::Version2 {
            return encode(self.raw_query_string.as_deref().unwrap_or_default());
        }
        let many = self.multi_value_query_string_parameters.iter().flatten();
        let many = many.flat_map(|(name, values)| values.iter().flatten().map(move |v| (name, v)));
        let mut pairs: Vec<(&String, &String)> = many.collect();
        if pairs.is_empty() {
            let single = self.query_string_parameters.iter().flatten();
            pairs = single.filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        }
        let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn all_headers(&self) -> HeaderMap {
        let many = self.multi_value_headers.iter().flatten();
        let many = many.flat_map(|(name, values)| values.iter().flatten().map(move |v| (name, v)));
        let mut given: Vec<(&String, &String)> = many.collect();
        if given.is_empty() {
            let single = self.headers.iter().flatten();
            given = single.filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        }
        let mut headers = HeaderMap::with_capacity(given.len() + 1);
        for (name, value) in given {
            // What a header cannot be is none that a client sent.
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// The address that the sender saw the request come from.
    fn client(&self, headers: &HeaderMap) -> SocketAddr {
        let context = self.request_context.as_ref();
        let http = context.and_then(|context| context.http.as_ref()?.source_ip.as_deref());
        let identity = context.and_then(|context| context.identity.as_ref()?.source_ip.as_deref());
        // A load balancer puts it after what the client itself said.
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
        let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        let forwarded = forwarded.filter(|_| context.is_some_and(|context| context.elb.is_some()));
        let text = http.or(identity).or(forwarded).unwrap_or_default().trim();
        let address = text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
        let address = address.or_else(|| text.parse().ok());
        address.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }
}

/// Whether this is left of a path after a stage was taken from it.
fn is_path(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// The URL that the client used.
fn reached_at(headers: &HeaderMap, context: Option<&Context>, prefix: &str) -> ReachedAt {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let domain = context.and_then(|context| context.domain_name.as_deref());
    let host = text(HOST).or(domain).unwrap_or("lambda");
    let scheme = match text(HeaderName::from_static("x-forwarded-proto")) {
        Some("http") => "http",
        Some(_) | None => "https",
    };
    ReachedAt(format!("{scheme}://{host}{prefix}"))
}
