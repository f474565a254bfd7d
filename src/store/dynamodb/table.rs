//! The table itself: what it must be like, how it is created, verified and deleted.
//!
//! ```text
//! keys      pk (S, partition), sk (S, sort); no local secondary index, ever
//! billing   on demand, where it is created here; an operator may choose otherwise
//! TTL       on attribute t
//! stream    NEW_AND_OLD_IMAGES
//! ```
//!
//! What is in it is drawn at [`super::layout::Layout`]. Invariant: nothing that exists is ever
//! changed but by switching on what is off; a table that differs otherwise is refused, and one
//! with other keys is not deleted either.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableDescription, TableStatus, TimeToLiveDescription,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use tokio::time::{Instant, sleep};

use super::calls::{Timing, Trouble, attempt};
use super::error::{Failure, Fate, Obstacle};
use super::item::PURGE;
use super::layout::{PARTITION, SORT};

/// How long a table may take until it is as it must be.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may be that a table cannot even be looked at.
const BLIND: Duration = Duration::from_secs(10);
/// How long to wait before looking whether something that was done shows.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before looking whether something that passes has passed.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a table cannot be used.
#[derive(Debug)]
pub enum TableError {
    /// There is none of this name.
    Missing(String),
    /// It is not as it must be.
    Different {
        /// Its name.
        table: String,
        /// Each difference, in words.
        differences: Vec<String>,
    },
    /// It cannot be looked at or changed.
    Unavailable {
        /// Its name.
        table: String,
        /// Why.
        why: String,
    },
    /// It is somebody else's, and so not to be deleted.
    Foreign {
        /// Its name.
        table: String,
        /// By what that is seen, in words.
        differences: Vec<String>,
    },
    /// Its deletion protection is on.
    Protected(String),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Missing(table) => {
                write!(
                    f,
                    "there is no table {table:?}; `etcdynamo table create` creates it, and so does \
                     a start with --create-table"
                )
            }
            TableError::Different { table, differences } => {
                write!(f, "the table {table:?} cannot be used: {}", differences.join("; "))
            }
            TableError::Unavailable { table, why } => {
                write!(f, "the table {table:?} is not available: {why}")
            }
            TableError::Foreign { table, differences } => {
                write!(
                    f,
                    "the table {table:?} is not etcdynamo's and is left alone: {}",
                    differences.join("; ")
                )
            }
            TableError::Protected(table) => {
                write!(
                    f,
                    "the table {table:?} is protected against deletion, and is left alone: switch \
                     its deletion protection off first"
                )
            }
        }
    }
}

impl Error for TableError {}

const SWITCHES: &str = "`etcdynamo table create` or --create-table switches it on";

/// What became of a table that was to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableMade {
    /// It was there as it must be.
    WasThere,
    /// It was there; what it lacked was switched on.
    SwitchedOn,
    /// It was made, by this call or by another one at the same time.
    Made,
}

/// A way in which a table is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Difference {
    /// TTL is off.
    NoTtl,
    /// The stream is off.
    NoStream,
    /// Something that cannot be changed, or is not ours to change.
    Other(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NoTtl => {
                write!(f, "TTL on the attribute {PURGE:?} is off ({SWITCHES})")
            }
            Difference::NoStream => {
                write!(f, "the stream NEW_AND_OLD_IMAGES is off ({SWITCHES})")
            }
            Difference::Other(what) => f.write_str(what),
        }
    }
}

/// What a look at the table shows.
#[derive(Debug)]
enum Look {
    Missing,
    /// It is about to be something else.
    Settling(String),
    Ready(Vec<Difference>),
}

/// What is to be done next.
#[derive(Debug)]
enum Step {
    Done,
    /// This was done. Look soon whether it shows.
    Again(TableMade),
    /// Look again after a while.
    Later(Failure),
}

/// A table, by its name.
#[derive(Debug)]
pub(super) struct Table<'a> {
    client: &'a Client,
    name: &'a str,
    attempt: Duration,
}

impl<'a> Table<'a> {
    pub(super) fn new(client: &'a Client, name: &'a str, timing: Timing) -> Table<'a> {
        // The control plane is slower than reads and writes are.
        Table { client, name, attempt: timing.attempt * 4 }
    }

    /// Sees that there is a table as it must be. Several may do so at once.
    pub(super) async fn create(&self) -> Result<TableMade, TableError> {
        self.settle(true).await
    }

    /// Sees whether the table is as it must be. Changes nothing.
    pub(super) async fn verify(&self) -> Result<(), TableError> {
        self.settle(false).await.map(|_| ())
    }

    /// Looks, does the next thing that is to be done, and looks again, until nothing is. What
    /// another does meanwhile only makes less to do, so its errors are no reason to give up.
    async fn settle(&self, create: bool) -> Result<TableMade, TableError> {
        let mut made = TableMade::WasThere;
        let deadline = Instant::now() + PATIENCE;
        let mut blind_until = Instant::now() + BLIND;
        let mut waits_for = String::new();
        loop {
            let look = self.look().await;
            if look.is_ok() {
                blind_until = Instant::now() + BLIND;
            }
            let (why, pause) = match self.step(look, create).await? {
                Step::Done => return Ok(made),
                Step::Again(done) => {
                    made = made.max(done);
                    ("what was changed does not show yet".to_owned(), SHORT_PAUSE)
                }
                Step::Later(Failure { fate: Fate::Lasting, why }) => {
                    return Err(self.unavailable(why));
                }
                Step::Later(failure) => (failure.why, PAUSE),
            };
            if Instant::now() >= deadline.min(blind_until) {
                return Err(self.unavailable(why));
            }
            if why != waits_for {
                tracing::info!(table = self.name, why, "waiting for the table");
                waits_for = why;
            }
            sleep(pause).await;
        }
    }

    async fn step(&self, look: Result<Look, Failure>, create: bool) -> Result<Step, TableError> {
        let step = match look {
            Ok(Look::Ready(differences)) if differences.is_empty() => return Ok(Step::Done),
            Ok(Look::Ready(differences)) => {
                let ours = !differences.iter().any(|d| matches!(d, Difference::Other(_)));
                if !(create && ours) {
                    let differences = differences.iter().map(ToString::to_string).collect();
                    return Err(TableError::Different { table: self.name.to_owned(), differences });
                }
                self.switch_on(&differences).await.map(|()| TableMade::SwitchedOn)
            }
            Ok(Look::Missing) if create => self.create_now().await.map(|()| TableMade::Made),
            Ok(Look::Missing) => return Err(TableError::Missing(self.name.to_owned())),
            Ok(Look::Settling(status)) => Err(Failure::new(
                Fate::Passing(Obstacle::Conflict),
                format!("its status is {status}"),
            )),
            Err(failure) => Err(failure),
        };
        Ok(step.map_or_else(Step::Later, Step::Again))
    }

    async fn look(&self) -> Result<Look, Failure> {
        let Some(description) = self.describe().await? else { return Ok(Look::Missing) };
        if !is_settled(&description) {
            return Ok(Look::Settling(status(&description).to_owned()));
        }
        let ttl = self.describe_ttl().await?;
        Ok(Look::Ready(differences(&description, ttl.as_ref())))
    }

    /// What DynamoDB tells of it; none: there is none of this name.
    pub(super) async fn describe(&self) -> Result<Option<TableDescription>, Failure> {
        let request = self.client.describe_table().table_name(self.name);
        match attempt(self.attempt, None, request.send()).await {
            Ok(output) => {
                let empty = || TableDescription::builder().build();
                Ok(Some(output.table.unwrap_or_else(empty)))
            }
            Err(Trouble::Sdk(error))
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(trouble) => Err(Failure::from(&trouble)),
        }
    }

    /// What DynamoDB tells of its TTL.
    pub(super) async fn describe_ttl(&self) -> Result<Option<TimeToLiveDescription>, Failure> {
        let request = self.client.describe_time_to_live().table_name(self.name);
        let ttl = attempt(self.attempt, None, request.send()).await;
        ttl.map(|ttl| ttl.time_to_live_description).map_err(|e| Failure::from(&e))
    }

    async fn create_now(&self) -> Result<(), Failure> {
        tracing::info!(table = self.name, "creating the table");
        let definition = |name: &str| {
            let built = AttributeDefinition::builder().attribute_name(name);
            built.attribute_type(ScalarAttributeType::S).build().expect("both are set")
        };
        let element = |name: &str, kind| {
            let built = KeySchemaElement::builder().attribute_name(name).key_type(kind);
            built.build().expect("both are set")
        };
        let request = (self.client.create_table())
            .table_name(self.name)
            .attribute_definitions(definition(PARTITION))
            .attribute_definitions(definition(SORT))
            .key_schema(element(PARTITION, KeyType::Hash))
            .key_schema(element(SORT, KeyType::Range))
            .billing_mode(BillingMode::PayPerRequest)
            .stream_specification(stream());
        done(attempt(self.attempt, None, request.send()).await)
    }

    async fn switch_on(&self, differences: &[Difference]) -> Result<(), Failure> {
        tracing::info!(table = self.name, ?differences, "switching on what the table lacks");
        if differences.contains(&Difference::NoTtl) {
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(PURGE);
            let request = (self.client.update_time_to_live())
                .table_name(self.name)
                .time_to_live_specification(ttl.build().expect("both are set"));
            done(attempt(self.attempt, None, request.send()).await)?;
        }
        if differences.contains(&Difference::NoStream) {
            let request =
                self.client.update_table().table_name(self.name).stream_specification(stream());
            done(attempt(self.attempt, None, request.send()).await)?;
        }
        Ok(())
    }

    pub(super) fn unavailable(&self, why: String) -> TableError {
        TableError::Unavailable { table: self.name.to_owned(), why }
    }
}

fn stream() -> StreamSpecification {
    let stream = StreamSpecification::builder().stream_enabled(true);
    stream.stream_view_type(StreamViewType::NewAndOldImages).build().expect("it is set")
}

/// Whether a change was accepted. It may take a while to show.
fn done<T, E>(result: Result<T, Trouble<E>>) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    result.map(|_| ()).map_err(|trouble| Failure::from(&trouble))
}

pub(super) fn status(table: &TableDescription) -> &str {
    table.table_status().map_or("not known", TableStatus::as_str)
}

/// Whether it can be used as it is, and told what it is like.
pub(super) fn is_settled(table: &TableDescription) -> bool {
    matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
}

/// Each way in which this table is not as it must be, in words.
pub(super) fn all_differences(
    table: &TableDescription,
    ttl: Option<&TimeToLiveDescription>,
) -> Vec<String> {
    differences(table, ttl).iter().map(ToString::to_string).collect()
}

/// Each way in which this table is not as it must be.
fn differences(table: &TableDescription, ttl: Option<&TimeToLiveDescription>) -> Vec<Difference> {
    let mut found: Vec<Difference> =
        key_differences(table).into_iter().map(Difference::Other).collect();
    let mut other = |what: String| found.push(Difference::Other(what));
    if !table.local_secondary_indexes().is_empty() {
        other("it has a local secondary index, which keeps DynamoDB from splitting it".to_owned());
    }
    let stream = table.stream_specification().filter(|stream| stream.stream_enabled());
    match stream.and_then(StreamSpecification::stream_view_type) {
        Some(StreamViewType::NewAndOldImages) => (),
        Some(view) => other(format!("its stream is {}, not NEW_AND_OLD_IMAGES", view.as_str())),
        None => found.push(Difference::NoStream),
    }
    found.extend(ttl_difference(ttl));
    found
}

/// Each way in which the keys of this table are not those of etcdynamo's tables, in words.
pub(super) fn key_differences(table: &TableDescription) -> Vec<String> {
    let mut found = Vec::new();
    let mut other = |what: String| found.push(what);
    for (name, kind) in [(PARTITION, KeyType::Hash), (SORT, KeyType::Range)] {
        let key = table.key_schema().iter().find(|key| *key.key_type() == kind);
        match key.map(KeySchemaElement::attribute_name) {
            Some(held) if held == name => (),
            Some(held) => other(format!("its {} key is {held:?}, not {name:?}", kind.as_str())),
            None => other(format!("it has no {} key {name:?}", kind.as_str())),
        }
        let defined = table.attribute_definitions().iter().find(|d| d.attribute_name() == name);
        let kind = defined.map(AttributeDefinition::attribute_type);
        if let Some(kind) = kind.filter(|kind| **kind != ScalarAttributeType::S) {
            other(format!("the type of {name:?} is {}, not S", kind.as_str()));
        }
    }
    found
}

fn ttl_difference(ttl: Option<&TimeToLiveDescription>) -> Option<Difference> {
    let status = ttl.and_then(TimeToLiveDescription::time_to_live_status);
    let on = matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    if !on {
        return Some(Difference::NoTtl);
    }
    let attribute = ttl.and_then(TimeToLiveDescription::attribute_name);
    match attribute {
        Some(PURGE) => None,
        other => {
            let other = other.unwrap_or_default();
            Some(Difference::Other(format!("its TTL attribute is {other:?}, not {PURGE:?}")))
        }
    }
}
