//! Behind AWS Lambda: the same router, asked by events instead of connections.
//!
//! ```text
//! Lambda's runtime API --next--> event -> request -> route -> reply -> answer --response--> Lambda
//!                                         in front of it: catch up      after it: its writes end
//! ```
//!
//! An environment has one request at a time, and stands still between an answer and the next event, or is killed
//! there. So what a request began has come to its end before its answer is given back, and the traces of it
//! are sent; what has to be done beside requests is made up for in front of one
//! ([`Keys::catch_up`]). Where the function's own time runs out first, the answer is the error of a request that
//! timed out, and what was under way goes on when the environment is thawed.
//!
//! The runtime's loop is AWS's own (`lambda_runtime`). Not here: what a key, a user or a watch is, and whether
//! there are watches (`--watch off` refuses them).

mod answer;
mod event;
#[cfg(test)]
mod tests;

use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::Once;
use std::time::Duration;

use hyper::Method;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::body::Body;
use serde_json::json;
use tokio::time::timeout;

use self::answer::{Asking, Told, tell};
use self::event::{Asked, Event, Unusable};
use super::{Api, Config, keys, reply, route};
use crate::console;
use crate::keyspace::Keys;
use crate::shutdown::Shutdown;
use crate::traces::Exporting;
use crate::v2::{Error, ErrorCode};

/// How long before the function's time is over an answer has to be on its way.
const MARGIN: Duration = Duration::from_millis(300);

/// How long the spans of a request may take on their way.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// How long it may take to say that nothing comes.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// Where Lambda's runtime API is.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// What the runtime's loop reads, and ends the program without.
const VARIABLES: [&str; 4] = [
    RUNTIME_API,
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Why events are not served, or no more.
#[derive(Debug)]
pub enum ServeError {
    /// A variable of Lambda's environment is missing.
    Missing(&'static str),
    /// Lambda's runtime API failed.
    Runtime(lambda_runtime::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Missing(name) => write!(f, "{name} is not set"),
            ServeError::Runtime(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Missing(_) => None,
            ServeError::Runtime(error) => error.source(),
        }
    }
}

/// Serves events, for ever.
pub async fn serve<K: Keys>(
    keys: Arc<K>,
    config: Config,
    traces: Option<Arc<Exporting>>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    if let Some(missing) = VARIABLES.into_iter().find(|name| env::var_os(name).is_none()) {
        return Err(ServeError::Missing(missing));
    }
    let api = Arc::new(Api::new(keys, config, shutdown));
    let handler = service_fn(move |event: LambdaEvent<Event>| {
        let (api, traces) = (Arc::clone(&api), traces.clone());
        async move {
            let LambdaEvent { payload, context } = event;
            let told = Box::pin(invoked(&api, payload, context.deadline)).await;
            if let Some(traces) = traces {
                traces.flush(FLUSH_LIMIT).await;
            }
            told.map_err(|unusable| Diagnostic {
                error_type: "NotAnHttpRequest".to_owned(),
                error_message: unusable.to_string(),
            })
        }
    });
    Runtime::new(handler).run().await.map_err(ServeError::Runtime)
}

/// Tells Lambda why nothing comes, where it was Lambda that started this program.
pub async fn report_failed_start(why: &str) {
    if env::var_os(RUNTIME_API).is_none() {
        return;
    }
    let report = json!({ "errorType": "StartError", "errorMessage": why, "stackTrace": [] });
    let request = lambda_runtime_api_client::build_request()
        .method(Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Runtime.StartError")
        .body(Body::from(report.to_string()));
    let client = lambda_runtime_api_client::PooledClient::builder().build();
    let told = async { client.call(request?).await };
    match timeout(REPORT_LIMIT, told).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            console::remark(format_args!("etcdynamo: Lambda could not be told: {error}"))
        }
        Err(_) => console::remark(format_args!("etcdynamo: Lambda could not be told in time")),
    }
}

/// Answers one event, whose time is over at this many milliseconds since the epoch.
async fn invoked<K: Keys>(api: &Api<K>, event: Event, deadline_ms: u64) -> Result<Told, Unusable> {
    let left = time_left(api, deadline_ms);
    let Asked { request, peer, sender, prefix } = match event.asked() {
        Ok(asked) => asked,
        Err(Unusable::NotHttp) => return Err(Unusable::NotHttp),
        Err(Unusable::Malformed(sender)) => {
            let asking = Asking {
                sender,
                prefix: "",
                is_head: false,
                is_read: true,
                cluster_id: &api.cluster_id,
                origin: None,
            };
            return Ok(tell(reply::bad_request("400 Bad Request"), &asking).await);
        }
    };
    let asking = Asking {
        sender,
        prefix: &prefix,
        is_head: request.method() == Method::HEAD,
        is_read: request.method().is_safe(),
        cluster_id: &api.cluster_id,
        origin: route::allowed_origin(&api.config.cors, request.headers()),
    };
    let answered = async {
        // In a place of its own, or the runtime's types grow too deep for the compiler.
        let reply = Box::pin(route::answer(api, request, &peer)).await;
        // One that its client gave up on goes on; it is not to be stopped half-way.
        api.writes.close();
        api.writes.wait().await;
        reply
    };
    let reply = match timeout(left, answered).await {
        Ok(reply) => reply,
        Err(_) => {
            tracing::warn!("the function's time was over before the request was answered");
            asking.refusal(&Error::new(ErrorCode::RaftInternal, keys::TIMED_OUT))
        }
    };
    api.writes.reopen();
    Ok(tell(reply, &asking).await)
}

/// How long a request may take, where that is limited by more than its own timeout.
fn time_left<K: Keys>(api: &Api<K>, deadline_ms: u64) -> Duration {
    static SHORT: Once = Once::new();
    if deadline_ms == 0 {
        // Lambda always says it; what stands in for it may not.
        return Duration::MAX;
    }
    let now_ms = u64::try_from(api.keys.now().0).unwrap_or(0);
    let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms)).saturating_sub(MARGIN);
    let wanted = api.config.request_timeout;
    if left < wanted {
        SHORT.call_once(|| {
            tracing::warn!(
                ?left,
                ?wanted,
                "the function's timeout is too short for its requests: make it longer, or \
                 --request-timeout-ms shorter"
            );
        });
    }
    left
}
