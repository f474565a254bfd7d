//! A table as a whole, with whatever keyspaces are in it: for administrators.
//!
//! It is made, described, surveyed and deleted here. What it must be like is [`super::table`]'s
//! matter, one keyspace in it the store's. Invariant: a table whose keys are not those of
//! etcdynamo's tables is never deleted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    BillingMode, PointInTimeRecoveryStatus, StreamViewType, TableDescription, TableStatus,
    TimeToLiveDescription, TimeToLiveStatus,
};
use tokio::time::{Instant, sleep};

use super::calls::{Lines, Patience, Timing, Trouble, attempt, read};
use super::error::{Failure, Fate};
use super::item::{decode_at, size};
use super::layout::{Attributes, Layout, PARTITION, Place, SORT, key_at};
use super::meter::Meter;
use super::record::decode_record;
use super::scan::{self, Way};
use super::table::{
    Table, TableError, TableMade, all_differences, is_settled, key_differences, status,
};
use super::{DynamoDbConfig, OpenError, client};
use crate::store::StoreError;
use crate::v2::{Item, Record};

/// How long a table may take to be gone. Large ones take minutes.
const GONE_PATIENCE: Duration = Duration::from_secs(1800);
/// How long to wait before looking again whether it is.
const GONE_PAUSE: Duration = Duration::from_millis(500);
/// How long it is tried to look at a table.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// A table with all that is in it.
#[derive(Debug, Clone)]
pub struct WholeTable {
    client: Client,
    name: String,
    timing: Timing,
    lines: Lines,
    meter: Meter,
}

/// What a table is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Its status, in DynamoDB's words.
    pub status: String,
    /// Whether its items can be read, by that.
    pub is_readable: bool,
    /// How it is paid for.
    pub billing: Billing,
    /// The attribute by which TTL removes items; `None`: it is off.
    pub ttl_attribute: Option<String>,
    /// What its stream shows, in DynamoDB's words; `None`: it is off.
    pub stream: Option<String>,
    /// Whether it has to be switched off before the table can be deleted.
    pub deletion_protection: bool,
    /// Whether it can be restored to a moment of the past.
    pub recovery: Recovery,
    /// How many items there are, as DynamoDB counted them last.
    pub items: i64,
    /// What they measure, as DynamoDB counted last.
    pub bytes: i64,
    /// Each way in which it is not as it must be, in words; none: it can be used.
    pub differences: Vec<String>,
}

/// How a table is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// By what is used.
    OnDemand,
    /// By what is set aside, a second.
    Provisioned {
        /// Read units.
        read: i64,
        /// Write units.
        write: i64,
    },
}

impl fmt::Display for Billing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Billing::OnDemand => f.write_str("on demand"),
            Billing::Provisioned { read, write } => {
                write!(f, "provisioned, {read} read and {write} write units a second")
            }
        }
    }
}

/// What is known of point-in-time recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It is on.
    On,
    /// It is off.
    Off,
    /// It cannot be asked, which does no harm. Why.
    Unknown(String),
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recovery::On => f.write_str("on"),
            Recovery::Off => f.write_str("off"),
            Recovery::Unknown(why) => write!(f, "not known ({why})"),
        }
    }
}

/// One page of all items of a table.
#[derive(Debug)]
pub struct Survey {
    /// What was found.
    pub found: Vec<Surveyed>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<SurveyCursor>,
}

/// Where a survey goes on.
#[derive(Debug, Clone)]
pub struct SurveyCursor(Attributes);

/// One item of a table.
#[derive(Debug)]
pub struct Surveyed {
    /// The keyspace that it belongs to; `None`: it is not etcdynamo's.
    pub keyspace: Option<String>,
    /// What it measures, as DynamoDB bills it, near enough.
    pub bytes: u64,
    /// What it is.
    pub held: Held,
}

/// What an item is.
#[derive(Debug)]
pub enum Held {
    /// That of a node, or a tombstone.
    Node(Arc<Item>),
    /// A record.
    Record(Record),
    /// Not known to this program.
    Unreadable,
}

impl WholeTable {
    /// Connects. The configuration's keyspace does not matter.
    pub async fn connect(config: &DynamoDbConfig, meter: Meter) -> Result<WholeTable, OpenError> {
        let clients = client::build(config).await.map_err(OpenError::Client)?;
        Ok(WholeTable::with_client(clients.table, config, meter))
    }

    pub(super) fn with_client(client: Client, config: &DynamoDbConfig, meter: Meter) -> WholeTable {
        let (timing, lines) = (config.timing, Lines::new(config.timing));
        WholeTable { client, name: config.table.clone(), timing, lines, meter }
    }

    /// Sees that the table is there as it must be. Several may do so at once.
    pub async fn create(&self) -> Result<TableMade, TableError> {
        self.table().create().await
    }

    /// Says what it is like. Changes nothing, and waits for nothing.
    pub async fn report(&self) -> Result<TableReport, TableError> {
        let table = self.table();
        let unavailable = |error| table.unavailable(why(error));
        let patience = || Patience::new(LOOK_PATIENCE);
        let description = read(patience(), || table.describe()).await.map_err(unavailable)?;
        let Some(description) = description else {
            return Err(TableError::Missing(self.name.clone()));
        };
        let ttl = read(patience(), || table.describe_ttl()).await.map_err(unavailable)?;
        let mut differences = all_differences(&description, ttl.as_ref());
        if !is_settled(&description) {
            differences.push(format!("its status is {}", status(&description)));
        }
        Ok(TableReport {
            status: status(&description).to_owned(),
            is_readable: is_settled(&description),
            billing: billing(&description),
            ttl_attribute: ttl_attribute(ttl),
            stream: stream_view(&description),
            deletion_protection: description.deletion_protection_enabled().unwrap_or(false),
            recovery: self.recovery().await,
            items: description.item_count().unwrap_or_default(),
            bytes: description.table_size_bytes().unwrap_or_default(),
            differences,
        })
    }

    /// Sees that it is there, and by its keys that it is one of etcdynamo's tables.
    pub async fn see_whose(&self) -> Result<(), TableError> {
        let table = self.table();
        let described = read(Patience::new(LOOK_PATIENCE), || table.describe()).await;
        let described = described.map_err(|error| table.unavailable(why(error)))?;
        match described {
            None => Err(TableError::Missing(self.name.clone())),
            Some(found) => self.refuse_foreign(&found),
        }
    }

    /// Deletes it with all that is in it, and waits until it is gone. To be called again where that
    /// was cut short.
    pub async fn delete(&self) -> Result<(), TableError> {
        let table = self.table();
        let deadline = Instant::now() + GONE_PATIENCE;
        let mut blind_until = Instant::now() + LOOK_PATIENCE;
        let mut is_asked = false;
        loop {
            let looked = table.describe().await;
            if looked.is_ok() {
                blind_until = Instant::now() + LOOK_PATIENCE;
            }
            let done = match looked {
                Ok(None) if is_asked => return Ok(()),
                Ok(None) => return Err(TableError::Missing(self.name.clone())),
                Ok(Some(found)) if found.table_status() == Some(&TableStatus::Deleting) => {
                    is_asked = true;
                    Err(Failure::new(Fate::Unknown, "it is being deleted"))
                }
                Ok(Some(found)) => {
                    self.refuse_deletion(&found)?;
                    self.delete_now().await
                }
                Err(failure) => Err(failure),
            };
            let why = match done {
                Ok(()) => {
                    is_asked = true;
                    "it is being deleted".to_owned()
                }
                Err(Failure { fate: Fate::Passing(_) | Fate::Unknown | Fate::Crowded, why }) => why,
                Err(Failure { fate: Fate::Lasting | Fate::TooLarge | Fate::Invalid, why }) => {
                    return Err(table.unavailable(why));
                }
            };
            if Instant::now() >= deadline.min(blind_until) {
                return Err(table.unavailable(why));
            }
            sleep(GONE_PAUSE).await;
        }
    }

    fn refuse_foreign(&self, found: &TableDescription) -> Result<(), TableError> {
        let differences = key_differences(found);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(TableError::Foreign { table: self.name.clone(), differences }),
        }
    }

    fn refuse_deletion(&self, found: &TableDescription) -> Result<(), TableError> {
        self.refuse_foreign(found)?;
        match found.deletion_protection_enabled() {
            Some(true) => Err(TableError::Protected(self.name.clone())),
            Some(false) | None => Ok(()),
        }
    }

    /// A table that is gone by now is found gone at the next look.
    async fn delete_now(&self) -> Result<(), Failure> {
        let request = self.client.delete_table().table_name(&self.name);
        match attempt(self.timing.attempt, None, request.send()).await {
            Ok(_) => Ok(()),
            Err(Trouble::Sdk(error))
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                Ok(())
            }
            Err(trouble) => Err(Failure::from(&trouble)),
        }
    }

    /// One page of all items, of about a megabyte. Strong, as what was made a moment ago is to show.
    pub async fn survey(
        &self,
        from: Option<SurveyCursor>,
        at_most: Option<i32>,
    ) -> Result<Survey, StoreError> {
        let request = (self.client.scan())
            .table_name(&self.name)
            .set_exclusive_start_key(from.map(|SurveyCursor(place)| place))
            .set_limit(at_most);
        let Self { lines, meter, timing, .. } = self;
        let page = scan::page(request, Way { lines, meter, timing: *timing }).await?;
        Ok(Survey {
            found: page.items().iter().map(surveyed).collect(),
            next: page.last_evaluated_key.map(SurveyCursor),
        })
    }

    /// Engines and roles that do not know of it are no reason to say nothing of the rest.
    async fn recovery(&self) -> Recovery {
        let request = self.client.describe_continuous_backups().table_name(&self.name);
        let backups = match attempt(self.timing.attempt, None, request.send()).await {
            Ok(output) => output.continuous_backups_description,
            Err(trouble) => return Recovery::Unknown(Failure::from(&trouble).why),
        };
        let recovery = backups.and_then(|backups| backups.point_in_time_recovery_description);
        match recovery.and_then(|recovery| recovery.point_in_time_recovery_status) {
            Some(PointInTimeRecoveryStatus::Enabled) => Recovery::On,
            _ => Recovery::Off,
        }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.client, &self.name, self.timing)
    }
}

fn why(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(why) => why,
        StoreError::Busy
        | StoreError::Indeterminate(_)
        | StoreError::TooLarge(_)
        | StoreError::Corrupt(_) => error.to_string(),
    }
}

fn billing(table: &TableDescription) -> Billing {
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    if mode == Some(&BillingMode::PayPerRequest) {
        return Billing::OnDemand;
    }
    let set_aside = table.provisioned_throughput();
    Billing::Provisioned {
        read: set_aside.and_then(|units| units.read_capacity_units()).unwrap_or_default(),
        write: set_aside.and_then(|units| units.write_capacity_units()).unwrap_or_default(),
    }
}

fn ttl_attribute(ttl: Option<TimeToLiveDescription>) -> Option<String> {
    let on = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling];
    let ttl = ttl.filter(|ttl| ttl.time_to_live_status().is_some_and(|is| on.contains(is)))?;
    ttl.attribute_name
}

fn stream_view(table: &TableDescription) -> Option<String> {
    let stream = table.stream_specification().filter(|stream| stream.stream_enabled())?;
    let view = stream.stream_view_type();
    Some(view.map_or("not known", StreamViewType::as_str).to_owned())
}

/// What an item is, by its place and its contents.
fn surveyed(attributes: &Attributes) -> Surveyed {
    let bytes = size(attributes);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let text = |name: &str| attributes.get(name).and_then(|value| value.as_s().ok()).cloned();
    let place = text(PARTITION).zip(text(SORT)).map(|(partition, sort)| Place { partition, sort });
    let owner = place.as_ref().and_then(|place| Some((Layout::owner(&place.partition)?, place)));
    let Some((layout, place)) = owner else {
        return Surveyed { keyspace: None, bytes, held: Held::Unreadable };
    };
    let keyspace = Some(layout.keyspace().to_owned());
    if layout.of_record(&place.sort) == *place {
        let record = decode_record(attributes);
        let held = record.map_or(Held::Unreadable, Held::Record);
        return Surveyed { keyspace, bytes, held };
    }
    match key_at(&place.sort).filter(|key| layout.of(key) == *place) {
        Some(key) => {
            let held = decode_at(key, attributes).map_or(Held::Unreadable, Held::Node);
            Surveyed { keyspace, bytes, held }
        }
        None => Surveyed { keyspace: None, bytes, held: Held::Unreadable },
    }
}
