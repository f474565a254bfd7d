//! For tests: a DynamoDB in this process, and what can go wrong on the way to it.
//!
//! It stands under the real SDK client, in the place of the HTTP client, so that everything from
//! the request's JSON to the error's code is as in production. Not here: throttling, conflicts
//! and lost replies of the engine's own, which it does not have; a script supplies them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{
    Credentials, HttpClient, RuntimeComponents, SharedCredentialsProvider,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};

use super::calls::Timing;
use super::client::{self, Clients};
use super::meter::Meter;
use super::{DynamoDbConfig, DynamoDbStore};

/// What becomes of one call instead of its reaching the engine and coming back.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It goes well.
    None,
    /// A reply that the engine did not give.
    Reply(u16, String),
    /// The call arrives and its reply is lost.
    LoseReply,
    /// The connection breaks before the call arrives; nobody can know.
    Cut,
    /// Nobody listens.
    Refuse,
    /// Nothing ever comes.
    Hang,
}

/// An engine with a script of what goes wrong. Calls beyond the script go well.
#[derive(Clone)]
pub(super) struct Engine {
    database: Arc<Database>,
    script: Arc<Mutex<VecDeque<Fault>>>,
    calls: Arc<Mutex<Vec<(String, String)>>>,
    reported: Arc<Mutex<f64>>,
}

pub(super) const TABLE: &str = "etcdynamo-test-table";

impl Engine {
    pub(super) fn new() -> Engine {
        let database = Arc::new(Database::memory().expect("an empty engine"));
        Engine { database, script: Arc::default(), calls: Arc::default(), reported: Arc::default() }
    }

    /// What the store stands on, for what the store itself does not do.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The units in all replies so far, as the engine itself wrote them there.
    pub(super) fn reported_units(&self) -> f64 {
        *self.reported.lock().unwrap()
    }

    /// What the next calls meet, in this order.
    pub(super) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.lock().unwrap().extend(faults);
    }

    /// From now on calls go well.
    pub(super) fn forget_script(&self) {
        self.script.lock().unwrap().clear();
    }

    /// The operations and bodies of the calls so far, which are forgotten by this.
    pub(super) fn take_calls(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    pub(super) fn client(&self) -> Clients {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        client::with_http_client(&shared, self.clone(), Timing::default().connect)
    }

    /// A store on a table of this engine, which is created where it is not there yet. It waits for
    /// replies however long a busy machine takes.
    pub(super) async fn store(&self, meter: Meter) -> DynamoDbStore {
        DynamoDbStore::open_with(self.client(), &config(), meter).await.expect("a store")
    }

    /// The same with the time limits that are in force elsewhere.
    pub(super) async fn impatient_store(&self) -> DynamoDbStore {
        let config = DynamoDbConfig { timing: Timing::default(), ..config() };
        DynamoDbStore::open_with(self.client(), &config, Meter::none()).await.expect("a store")
    }
}

const PATIENT: Timing = Timing {
    connect: Duration::from_secs(60),
    turn: Duration::from_secs(60),
    attempt: Duration::from_secs(60),
    read: Duration::from_secs(60),
    commit: Duration::from_secs(60),
};

pub(super) fn config() -> DynamoDbConfig {
    DynamoDbConfig {
        table: TABLE.to_owned(),
        keyspace: "ks".to_owned(),
        region: None,
        endpoint_url: None,
        create_table: true,
        timing: PATIENT,
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl HttpClient for Engine {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("a target");
        let operation = target.rsplit('.').next().expect("a name").to_owned();
        let body = request.body().bytes().expect("a body in memory");
        let body = String::from_utf8(body.to_vec()).expect("JSON");
        self.calls.lock().unwrap().push((operation.clone(), body.clone()));
        let fault = self.script.lock().unwrap().pop_front();
        let database = self.database.clone();
        let reported = Arc::clone(&self.reported);
        HttpConnectorFuture::new(async move {
            let io = |kind| Err(ConnectorError::io(io::Error::from(kind).into()));
            let arrives = matches!(fault, None | Some(Fault::None | Fault::LoseReply));
            let reply = if arrives {
                let work = tokio::task::spawn_blocking(move || run(&database, &operation, &body));
                let reply = work.await.expect("the engine does not panic");
                *reported.lock().unwrap() += units_in(&reply.1);
                reply
            } else {
                (0, String::new())
            };
            match fault {
                None | Some(Fault::None) => Ok(response(reply)),
                Some(Fault::Reply(status, body)) => Ok(response((status, body))),
                Some(Fault::LoseReply | Fault::Cut) => io(io::ErrorKind::ConnectionReset),
                Some(Fault::Refuse) => io(io::ErrorKind::ConnectionRefused),
                Some(Fault::Hang) => std::future::pending().await,
            }
        })
    }
}

fn response((status, body): (u16, String)) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("a status");
    HttpResponse::new(status, SdkBody::from(body))
}

/// The capacity units in a reply, whether it is of one table or of a list of them.
fn units_in(reply: &str) -> f64 {
    let reply: serde_json::Value = serde_json::from_str(reply).expect("JSON");
    let of_table = |table: &serde_json::Value| table["CapacityUnits"].as_f64().unwrap_or_default();
    let consumed = &reply["ConsumedCapacity"];
    match consumed.as_array() {
        Some(tables) => tables.iter().map(of_table).sum(),
        None => of_table(consumed),
    }
}

fn run(database: &Database, operation: &str, body: &str) -> (u16, String) {
    macro_rules! run {
        ($method:ident) => {
            serde_json::from_str(body)
                .map_err(|e| DynoxideError::SerializationException(e.to_string()))
                .and_then(|request| database.$method(request))
                .map(|reply| serde_json::to_string(&reply).expect("JSON"))
        };
    }
    let reply: Result<String, DynoxideError> = match operation {
        "CreateTable" => run!(create_table),
        "DescribeTable" => run!(describe_table),
        "UpdateTable" => run!(update_table),
        "UpdateTimeToLive" => run!(update_time_to_live),
        "DescribeTimeToLive" => run!(describe_time_to_live),
        "GetItem" => run!(get_item),
        "BatchGetItem" => run!(batch_get_item),
        "Query" => run!(query),
        "PutItem" => run!(put_item),
        "UpdateItem" => run!(update_item),
        "DeleteItem" => run!(delete_item),
        "TransactWriteItems" => run!(transact_write_items),
        "Scan" => run!(scan),
        "BatchWriteItem" => run!(batch_write_item),
        "DeleteTable" => run!(delete_table),
        // It has no backups, and says so.
        "DescribeContinuousBackups" => {
            return (400, r#"{"__type":"UnknownOperationException"}"#.to_owned());
        }
        "DescribeStream" => run!(describe_stream),
        "GetShardIterator" => run!(get_shard_iterator),
        "GetRecords" => run!(get_records),
        other => panic!("the store does not use {other}"),
    };
    match reply {
        Ok(body) => (200, body),
        Err(error) => (error.status_code(), error.to_json()),
    }
}
