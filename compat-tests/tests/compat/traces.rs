//! Traces, as a collector gets them: it is a small one, on loopback, that decodes what it is sent.
//! etcdynamo's own promise.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use compat_tests::http::Request;
use compat_tests::server::Target;
use compat_tests::wait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status};
use super::watcher::PATIENCE;

const SECRET: &str = "sEcReT-4711";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

pub(crate) fn cases(target: Target) -> Vec<Case> {
    if !target.is_etcdynamo() || target == Target::Url {
        return Vec::new();
    }
    let mut cases = vec![
        Case::alone("a request is a span in its client's trace", request_spans),
        Case::alone("a collector that says nothing holds nobody up", silent_collector),
    ];
    if target.is_dynamodb() {
        cases.push(Case::alone("a call to DynamoDB is a span of its request", call_spans));
    }
    cases
}

/// What a collector got.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Vec<u8>>>>);

/// Takes OTLP over HTTP.
struct Collector {
    url: String,
    collected: Collected,
}

impl Collector {
    fn start() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let collected = Collected::default();
        let into = collected.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let into = into.clone();
                // A connection that breaks is its client's business.
                thread::spawn(move || drop(take(&stream, &into)));
            }
        });
        Ok(Self { url: format!("http://{address}"), collected })
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.collected.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn requests(&self) -> Result<Vec<ExportTraceServiceRequest>, String> {
        let decode = |body: &Vec<u8>| ExportTraceServiceRequest::decode(body.as_slice());
        self.bodies().iter().map(decode).collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    fn spans(&self) -> Result<Vec<Span>, String> {
        let resources = self.requests()?.into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        Ok(scopes.flat_map(|scope| scope.spans).collect())
    }
}

fn take(stream: &TcpStream, into: &Collected) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut length, mut line) = (0, String::new());
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_for_traces = line.starts_with("POST /v1/traces ");
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if is_for_traces {
            into.0.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The only span of a name in the client's trace.
fn span_named<'a>(spans: &'a [Span], name: &str) -> Result<&'a Span, String> {
    let mut found = spans.iter().filter(|s| s.name == name && hex(&s.trace_id) == TRACE);
    match (found.next(), found.next()) {
        (Some(span), None) => Ok(span),
        (None, _) => {
            Err(format!("no {name}: {:?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>()))
        }
        (Some(_), Some(_)) => Err(format!("more than one {name}")),
    }
}

fn traced(request: Request, flags: &str) -> Request {
    request.header("traceparent", &format!("00-{TRACE}-{PARENT}-{flags}"))
}

fn request_spans(context: &Context) -> Outcome {
    let collector = Collector::start()?;
    let (mut server, own) = context.own_server_with(&["--otlp-endpoint", &collector.url])?;
    let put =
        Request::new("PUT", &own.path(&format!("/f?x={SECRET}"))).form(&format!("value={SECRET}"));
    let put = traced(put, "01").header("X-Request-Id", "mine").header("Authorization", SECRET);
    expect_status(&own.send(&put)?, 201)?;
    expect_status(&own.send(&traced(Request::new("GET", &own.path("/unsampled")), "00"))?, 404)?;
    expect_status(&own.get("/untraced")?, 404)?;
    // What has not been sent by then is sent at the end.
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    let spans = collector.spans()?;
    let span = span_named(&spans, "PUT /v2/keys")?;
    expect_equal("parent", hex(&span.parent_span_id).as_str(), PARENT)?;
    for (name, value) in [
        ("http.request.method", "PUT".to_owned()),
        ("http.route", "/v2/keys".to_owned()),
        ("url.path", own.path("/f")),
        ("http.response.status_code", "201".to_owned()),
        ("etcdynamo.request_id", "mine".to_owned()),
    ] {
        expect_equal(name, attribute(&span.attributes, name), value)?;
    }
    expect(span.end_time_unix_nano > span.start_time_unix_nano, || "it took no time".to_owned())?;
    let paths: Vec<_> = spans.iter().map(|s| attribute(&s.attributes, "url.path")).collect();
    expect(paths.contains(&own.path("/untraced")), || format!("{paths:?}"))?;
    expect(!paths.contains(&own.path("/unsampled")), || "not sampled, and sent".to_owned())?;
    let requests = collector.requests()?;
    let resource = requests.first().and_then(|r| r.resource_spans.first()?.resource.clone());
    let service = resource.map(|resource| attribute(&resource.attributes, "service.name"));
    expect_equal("service", service.as_deref(), Some("etcdynamo"))?;
    let told = collector
        .bodies()
        .iter()
        .any(|body| body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    expect(!told, || "a value, a query or a header is in a span".to_owned())
}

fn call_spans(context: &Context) -> Outcome {
    let collector = Collector::start()?;
    let (mut server, own) = context.own_server_with(&["--otlp-endpoint", &collector.url])?;
    own.put("/f", "value=1")?;
    let put = Request::new("PUT", &own.path("/f")).form(&format!("value={SECRET}"));
    expect_status(&own.send(&traced(put, "01"))?, 200)?;
    expect_status(&own.send(&traced(Request::new("GET", &own.path("/f")), "01"))?, 200)?;
    expect_equal("exit code", server.stop()?.code(), Some(0))?;
    let spans = collector.spans()?;
    for (request, call, units) in [
        ("PUT /v2/keys", "UpdateItem", "etcdynamo.write_request_units"),
        ("GET /v2/keys", "GetItem", "etcdynamo.read_request_units"),
    ] {
        let request = span_named(&spans, request)?;
        let span = span_named(&spans, &format!("DynamoDB.{call}"))?;
        expect_equal("parent", hex(&span.parent_span_id), hex(&request.span_id))?;
        for (name, value) in [
            ("db.system.name", "aws.dynamodb"),
            ("db.operation.name", call),
            ("etcdynamo.outcome", "done"),
            (units, "1"),
        ] {
            expect_equal(name, attribute(&span.attributes, name).as_str(), value)?;
        }
    }
    // What it does by itself has no parent, and is there.
    let own_calls =
        spans.iter().filter(|s| s.name == "DynamoDB.Query" && s.parent_span_id.is_empty());
    expect(own_calls.count() > 0, || "no sweep".to_owned())?;
    let told = collector
        .bodies()
        .iter()
        .any(|body| body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    expect(!told, || "a value is in a span".to_owned())
}

fn silent_collector(context: &Context) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let url = format!("http://{address}");
    let (mut server, own) = context.own_server_with(&["--otlp-endpoint", &url])?;
    let began = std::time::Instant::now();
    // More than the queue takes.
    for _ in 0..3000 {
        // Nothing that waits for a store.
        expect_status(&own.send(&Request::new("GET", "/version"))?, 200)?;
    }
    let took = began.elapsed();
    expect(took < Duration::from_secs(60), || format!("3000 requests took {took:?}"))?;
    let is_told = || server.log_text().contains("the collector does not take traces").then_some(());
    wait::until(PATIENCE, is_told).ok_or("the log says nothing of it")?;
    expect_equal("exit code", server.stop()?.code(), Some(0))
}
