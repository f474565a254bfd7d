//! Requests as Lambda's senders tell them, and answers as these put them on the wire.
//!
//! What each does to a path and a query is as AWS documents it or, where it does not, as others saw it: function
//! URLs, REST APIs and load balancers leave a path as it was; an HTTP API decodes it; REST APIs decode the query.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::listen::{Came, Goes};

/// The address that requests come from.
pub const CLIENT: &str = "198.51.100.7";

/// Who tells a function of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A function URL.
    FunctionUrl,
    /// An HTTP API of API Gateway with the payload version 2.0, at its stage `prod`.
    HttpApi,
    /// A REST API of API Gateway, at its stage `prod`.
    RestApi,
    /// An application load balancer, with several values a header.
    Balancer,
}

impl Sender {
    /// What stands in front of the router's paths.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::HttpApi | Self::RestApi => "/prod",
            Self::FunctionUrl | Self::Balancer => "",
        }
    }

    /// The host name that it answers to.
    #[must_use]
    pub fn domain(self) -> &'static str {
        match self {
            Self::FunctionUrl => "abcdefghijklmnop.lambda-url.us-east-1.on.aws",
            Self::HttpApi | Self::RestApi => "abcdefghij.execute-api.us-east-1.amazonaws.com",
            Self::Balancer => "balancer-123456789.us-east-1.elb.amazonaws.com",
        }
    }

    /// The event for a request whose target begins with the prefix.
    pub(super) fn event(self, came: &Came) -> Value {
        let (path, query) = came.target.split_once('?').unwrap_or((&came.target, ""));
        match self {
            Self::FunctionUrl => self.version_2(came, path, query),
            Self::HttpApi => {
                self.version_2(came, &percent_decode_str(path).decode_utf8_lossy(), query)
            }
            Self::RestApi => self.version_1(came, path, query),
            Self::Balancer => balancer(came, path, query),
        }
    }

    fn version_2(self, came: &Came, path: &str, query: &str) -> Value {
        let stage = self.prefix().trim_start_matches('/');
        let stage = if stage.is_empty() { "$default" } else { stage };
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": joined(came, self.domain()),
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "abcdefghij",
                "domainName": self.domain(),
                "domainPrefix": "abcdefghij",
                "http": {
                    "method": came.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": CLIENT,
                    "userAgent": "suite"
                },
                "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
                "routeKey": "$default",
                "stage": stage,
                "time": "12/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_583_348_638_390_u64
            },
            "isBase64Encoded": false
        });
        put_body(&mut event, came);
        event
    }

    fn version_1(self, came: &Came, path: &str, query: &str) -> Value {
        let own = path.strip_prefix(self.prefix()).unwrap_or(path);
        let stage = self.prefix().trim_start_matches('/');
        let mut event = json!({
            "resource": "/{proxy+}",
            "path": own,
            "httpMethod": came.method,
            "headers": last_of_each(came, self.domain()),
            "multiValueHeaders": many(came, self.domain()),
            "queryStringParameters": Value::Null,
            "multiValueQueryStringParameters": Value::Null,
            "pathParameters": { "proxy": own.trim_start_matches('/') },
            "stageVariables": Value::Null,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "abcdefghij",
                "domainName": self.domain(),
                "httpMethod": came.method,
                "identity": { "sourceIp": CLIENT, "userAgent": "suite", "accessKey": Value::Null },
                "path": path,
                "protocol": "HTTP/1.1",
                "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
                "resourcePath": "/{proxy+}",
                "stage": stage
            },
            "body": Value::Null,
            "isBase64Encoded": false
        });
        if !query.is_empty() {
            let decode = |text: &str| {
                percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
            };
            event["multiValueQueryStringParameters"] = pairs(query, decode);
        }
        put_body(&mut event, came);
        event
    }
}

fn balancer(came: &Came, path: &str, query: &str) -> Value {
    let mut headers = many(came, Sender::Balancer.domain());
    headers["x-forwarded-for"] = json!([format!("203.0.113.9, {CLIENT}")]);
    headers["x-forwarded-proto"] = json!(["http"]);
    let mut event = json!({
        "requestContext": { "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:target" } },
        "httpMethod": came.method,
        "path": path,
        "multiValueQueryStringParameters": pairs(query, str::to_owned),
        "multiValueHeaders": headers,
        "body": "",
        "isBase64Encoded": false
    });
    put_body(&mut event, came);
    event
}

/// The parameters of a query by name, in their order.
fn pairs(query: &str, decode: impl Fn(&str) -> String) -> Value {
    let mut all = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        push(&mut all, decode(name), decode(value));
    }
    Value::Object(all)
}

fn push(all: &mut Map<String, Value>, name: String, value: String) {
    let values = all.entry(name).or_insert_with(|| json!([]));
    if let Value::Array(values) = values {
        values.push(Value::String(value));
    }
}

/// The headers by name, in small letters, with the sender's own host name.
fn many(came: &Came, domain: &str) -> Value {
    let mut all = Map::new();
    for (name, value) in &came.headers {
        let is_host = name.eq_ignore_ascii_case("host");
        push(&mut all, name.to_lowercase(), if is_host { domain } else { value }.to_owned());
    }
    Value::Object(all)
}

fn joined(came: &Came, domain: &str) -> Value {
    each(came, domain, |values| values.join(","))
}

fn last_of_each(came: &Came, domain: &str) -> Value {
    each(came, domain, |values| values.last().copied().unwrap_or_default().to_owned())
}

fn each(came: &Came, domain: &str, one: impl Fn(&[&str]) -> String) -> Value {
    let Value::Object(all) = many(came, domain) else { return Value::Null };
    let texts = |values: &Value| {
        let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
        one(&values.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    Value::Object(all.iter().map(|(name, values)| (name.clone(), texts(values).into())).collect())
}

/// The body: as text where it is said to be text, else in base64; forms are not text.
fn put_body(event: &mut Value, came: &Came) {
    if came.body.is_empty() {
        return;
    }
    let kind = came.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = kind.map(|(_, value)| value.as_str()).unwrap_or_default();
    let text = String::from_utf8(came.body.clone()).ok();
    let text = text.filter(|_| kind.starts_with("text/") || kind.starts_with("application/json"));
    event["isBase64Encoded"] = text.is_none().into();
    event["body"] = text.unwrap_or_else(|| STANDARD.encode(&came.body)).into();
}

/// What goes on the wire for an answer.
///
/// # Errors
/// The answer is none that a sender understands.
pub(super) fn put_on_wire(sender: Sender, answer: &Value) -> Result<Goes, String> {
    let wrong = |what: &str| format!("{what} in {answer}");
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| wrong("no statusCode"))?;
    let text = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(text).map_err(|_| wrong("broken base64"))?,
        _ => text.as_bytes().to_vec(),
    };
    let field = match sender {
        Sender::FunctionUrl | Sender::HttpApi => "headers",
        Sender::RestApi | Sender::Balancer => "multiValueHeaders",
    };
    let mut headers = Vec::new();
    for (name, value) in answer[field].as_object().ok_or_else(|| wrong("no headers"))? {
        let values = match value.as_array() {
            Some(values) => values.iter().filter_map(Value::as_str).collect(),
            None => vec![value.as_str().ok_or_else(|| wrong("no text"))?],
        };
        headers.extend(values.into_iter().map(|value| (name.clone(), value.to_owned())));
    }
    Ok(Goes { status, headers, body })
}
