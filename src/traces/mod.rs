//! Spans of OpenTelemetry: one of each request, and one of each call to DynamoDB.
//!
//! ```text
//! v2http  RequestSpan::begin … parent() -> units::traced(parent, work)   kept by the task
//! store   CallSpan::begin(operation, those for whom the task works)      its first one's child,
//!                                                                        linked to the others
//! ```
//!
//! Until [`start`] is called, which is where `--otlp-endpoint` is given, a span is nothing: no
//! memory, no clock, one load of a pointer. What a span says: operations, outcomes, units and
//! keys; never a value, a query or a header. Invariant: no span waits for anybody. They go through
//! a bounded queue, and what does not fit into it is dropped.

mod client;
mod export;

use std::sync::{Arc, OnceLock};

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};

pub use export::{Exporting, start};

use crate::units::Units;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The span that others are children of.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent(Arc<SpanContext>);

#[cfg(test)]
impl Parent {
    /// A span that nobody made.
    pub(crate) fn numbered(number: u64) -> Parent {
        use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
        let (trace, span) = (TraceId::from(u128::from(number)), SpanId::from(number));
        let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE);
        Parent(Arc::new(context))
    }
}

/// What a client says of the trace that its request belongs to (W3C Trace Context).
#[derive(Debug, Clone, Copy, Default)]
pub struct Incoming<'a> {
    /// The `traceparent` header.
    pub traceparent: Option<&'a str>,
    /// The `tracestate` header.
    pub tracestate: Option<&'a str>,
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// A request, as its span shows it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its method, one that the server knows.
    pub method: &'static str,
    /// The part of the API that it is for.
    pub route: &'static str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The trace that it belongs to.
    pub incoming: Incoming<'a>,
}

/// The span of a request; nothing where there are no traces.
#[derive(Debug)]
pub struct RequestSpan(Option<Box<Span>>);

impl RequestSpan {
    /// Begins it.
    pub fn begin<'a>(request: impl FnOnce() -> Request<'a>) -> RequestSpan {
        RequestSpan(TRACER.get().map(|tracer| {
            let Request { method, route, path, incoming } = request();
            let parent =
                TraceContextPropagator::new().extract_with_context(&Context::new(), &incoming);
            let span = SpanBuilder::from_name(format!("{method} {route}").trim_end().to_owned())
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("http.request.method", method),
                    KeyValue::new("http.route", route),
                    KeyValue::new("url.path", path.to_owned()),
                ]);
            Box::new(tracer.build_with_context(span, &parent))
        }))
    }

    /// What the spans of the calls made for it are children of.
    pub fn parent(&self) -> Option<Parent> {
        self.0.as_ref().map(|span| Parent(Arc::new(span.span_context().clone())))
    }

    /// Ends it with what it was answered.
    pub fn end(self, status: u16, request_id: impl FnOnce() -> String) {
        let Some(mut span) = self.0 else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        span.set_attribute(KeyValue::new("etcdynamo.request_id", request_id()));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of a call to DynamoDB; nothing where there are no traces.
#[derive(Debug)]
pub struct CallSpan(Option<Box<Span>>);

impl CallSpan {
    /// No span.
    pub fn none() -> CallSpan {
        CallSpan(None)
    }

    /// Begins it, for these requests.
    pub fn begin(operation: &'static str, parents: impl FnOnce() -> Vec<Parent>) -> CallSpan {
        CallSpan(TRACER.get().map(|tracer| {
            let mut parents = parents().into_iter().map(|parent| (*parent.0).clone());
            let context = match parents.next() {
                Some(parent) => Context::new().with_remote_span_context(parent),
                None => Context::new(),
            };
            let span = SpanBuilder::from_name(format!("DynamoDB.{operation}"))
                .with_kind(SpanKind::Client)
                .with_links(parents.map(Link::with_context).collect())
                .with_attributes([
                    KeyValue::new("db.system.name", "aws.dynamodb"),
                    KeyValue::new("db.operation.name", operation),
                ]);
            Box::new(tracer.build_with_context(span, &context))
        }))
    }

    /// Ends it with what it came to.
    pub fn end(self, units: Units, outcome: &'static str, is_failure: bool) {
        let Some(mut span) = self.0 else { return };
        span.set_attribute(KeyValue::new("etcdynamo.outcome", outcome));
        span.set_attribute(KeyValue::new("etcdynamo.read_request_units", units.read));
        span.set_attribute(KeyValue::new("etcdynamo.write_request_units", units.write));
        if is_failure {
            span.set_status(Status::error(outcome));
        }
        span.end();
    }
}
