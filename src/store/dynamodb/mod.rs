//! The store on a DynamoDB table.
//!
//! The AWS SDK lives below here and nowhere else. What is where in the table is drawn at
//! [`layout::Layout`], how a commit is carried out at [`commit`], what the table itself must be
//! like at [`table`], and what is done to a table as a whole at [`whole_table`]. Nothing here knows a rule of v2: conditions and mutations are compiled from
//! values ([`expression`]). Invariant: each commit is one call, which DynamoDB decides.

mod calls;
mod client;
mod commit;
#[cfg(test)]
mod engine;
mod erase;
mod error;
mod expression;
mod item;
mod layout;
mod meter;
mod read;
mod record;
mod scan;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod whole_table;
mod write;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;

pub use calls::Timing;
pub use meter::{Consumed, Meter, Outcome};
pub use streams::StreamFeed;
pub use table::{TableError, TableMade};
pub use whole_table::{
    Billing, Held, Recovery, Survey, SurveyCursor, Surveyed, TableReport, WholeTable,
};

use crate::store::{Committed, Consistency, Level, Limits, Page, Store, StoreError};
use crate::v2::{Commit, Item, Key, Record, RecordKind};
use calls::Lines;
use client::Clients;
use layout::Layout;

/// DynamoDB's largest item, in bytes.
const ITEM_BYTES: usize = 400 * 1024;

/// Where the table is and how it is used.
#[derive(Debug, Clone)]
pub struct DynamoDbConfig {
    /// The table's name.
    pub table: String,
    /// The keyspace's name: several clusters may share a table.
    pub keyspace: String,
    /// The region; none: as the environment or the profile says.
    pub region: Option<String>,
    /// The endpoint, where it is not AWS's own.
    pub endpoint_url: Option<String>,
    /// Whether to create the table where there is none.
    pub create_table: bool,
    /// How long calls may take.
    pub timing: Timing,
}

/// Why the store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The keyspace's name is not one.
    Keyspace(String),
    /// There is no region, or no way to reach AWS.
    Client(String),
    /// The table is not there, or not as it must be.
    Table(TableError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Keyspace(name) => write!(
                f,
                "{name:?} is no keyspace's name: 1 to 64 letters, digits, '_', '.' or '-'"
            ),
            OpenError::Client(why) => f.write_str(why),
            OpenError::Table(error) => error.fmt(f),
        }
    }
}

impl Error for OpenError {}

/// A store on one keyspace of a DynamoDB table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DynamoDbStore {
    client: Client,
    streams: aws_sdk_dynamodbstreams::Client,
    table: Arc<String>,
    layout: Layout,
    timing: Timing,
    lines: Lines,
    meter: Meter,
}

impl DynamoDbStore {
    /// A store for tests on an engine in this process.
    #[cfg(test)]
    pub(crate) async fn in_process(meter: Meter) -> DynamoDbStore {
        DynamoDbStore::in_process_reporting(meter).await.0
    }

    /// The same, with what says how many units the engine wrote into its replies so far.
    #[cfg(test)]
    pub(crate) async fn in_process_reporting(
        meter: Meter,
    ) -> (DynamoDbStore, impl Fn() -> f64 + use<>) {
        let engine = engine::Engine::new();
        (engine.store(meter).await, move || engine.reported_units())
    }

    /// Connects, and verifies (or, where the configuration says so, creates) the table.
    pub async fn open(config: &DynamoDbConfig, meter: Meter) -> Result<DynamoDbStore, OpenError> {
        let clients = client::build(config).await.map_err(OpenError::Client)?;
        DynamoDbStore::open_with(clients, config, meter).await
    }

    async fn open_with(
        clients: Clients,
        config: &DynamoDbConfig,
        meter: Meter,
    ) -> Result<DynamoDbStore, OpenError> {
        let Clients { table: client, streams } = clients;
        let layout = Layout::new(&config.keyspace);
        let layout = layout.ok_or_else(|| OpenError::Keyspace(config.keyspace.clone()))?;
        let table = table::Table::new(&client, &config.table, config.timing);
        if config.create_table { table.create().await.map(|_| ()) } else { table.verify().await }
            .map_err(OpenError::Table)?;
        let table = Arc::new(config.table.clone());
        let (timing, lines) = (config.timing, Lines::new(config.timing));
        Ok(DynamoDbStore { client, streams, table, layout, timing, lines, meter })
    }
}

impl Store for DynamoDbStore {
    type Feed = StreamFeed;

    fn limits(&self) -> Limits {
        Limits {
            key_bytes: layout::KEY_BYTES,
            // A key counts as it is escaped, which is never longer than the longest key.
            item_bytes: ITEM_BYTES
                - layout::KEYS_OVERHEAD
                - layout::KEY_BYTES
                - item::ATTRIBUTES_OVERHEAD,
            commit_ops: commit::TRANSACTION,
            // A transaction takes 4 MB; this leaves room for what is not counted.
            commit_bytes: 3_500_000,
            is_remote: true,
            name: "a DynamoDB item (400 KB)",
        }
    }

    async fn get(
        &self,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Arc<Item>>, StoreError> {
        self.get_item(key, consistency).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Item>>>, StoreError> {
        self.get_items(keys).await
    }

    async fn list(&self, level: Level<'_>, consistency: Consistency) -> Result<Page, StoreError> {
        self.list_level(level, consistency).await
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        self.list_records(kind).await
    }

    async fn feed(&self) -> Result<StreamFeed, StoreError> {
        StreamFeed::open(self).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        self.carry_out(commit).await
    }
}
