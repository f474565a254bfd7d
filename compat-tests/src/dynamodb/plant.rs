//! Large trees, written straight into the table.
//!
//! A tree of thousands of nodes takes an engine minutes to create through a gateway, one
//! transaction each. Planted, it is there in a second, and like one that gateways made long ago:
//! the reader of the raw table finds nothing wrong with it. Not a way around a gateway in a case
//! about creating.

use serde_json::{Value, json};

use super::client;

/// DynamoDB's most items for one BatchWriteItem.
const BATCH: usize = 25;

/// A directory directly under the root, with directories in it, and files in each of them.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The name of the directory under the root.
    pub top: String,
    /// The directory in it that holds the rest.
    pub name: String,
    /// How many directories that holds.
    pub dirs: u64,
    /// How many files each of these holds.
    pub files: u64,
}

impl Tree {
    /// How many nodes lie below `/top/name`.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.dirs * (1 + self.files)
    }

    /// The same as [`Tree::plant`] while the table has no stream: an engine that keeps one is slow to fill.
    /// No gateway may run on it.
    ///
    /// # Errors
    /// The engine did not take all of it.
    pub fn plant_without_stream(&self, address: &str, table: &str) -> Result<(), String> {
        let change = |stream: Value| {
            let body = json!({ "TableName": table, "StreamSpecification": stream });
            client::call(address, "UpdateTable", &body).map(|_| ())
        };
        change(json!({ "StreamEnabled": false }))?;
        self.plant(address, table)?;
        change(json!({ "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" }))
    }

    /// Writes it where nothing is, into the keyspace that gateways use unless they are told. Its
    /// indexes begin with the present time, so it is younger than the root.
    ///
    /// # Errors
    /// The engine did not take all of it.
    pub fn plant(&self, address: &str, table: &str) -> Result<(), String> {
        let now_us = jiff::Timestamp::now().as_microsecond();
        let index = u64::try_from(now_us).map_err(|error| error.to_string())?;
        let last = index + 2 + self.nodes();
        let Self { top, name, .. } = self;
        let mut items = vec![
            dir(&format!("/{top}"), index, last),
            dir(&format!("/{top}/{name}"), index + 1, last),
        ];
        let mut next = index + 2;
        for number in 0..self.dirs {
            let path = format!("/{top}/{name}/d{number}");
            items.push(dir(&path, next, next + self.files));
            for file in 0..self.files {
                let mut item = node(&format!("{path}/f{file}"), next + 1 + file);
                item["v"] = json!({ "S": format!("value {file}") });
                items.push(item);
            }
            next += 1 + self.files;
        }
        for batch in items.chunks(BATCH) {
            let puts: Vec<Value> =
                batch.iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
            let body = json!({ "RequestItems": { table: puts } });
            let answer = client::call(address, "BatchWriteItem", &body)?;
            if answer["UnprocessedItems"].as_object().is_some_and(|left| !left.is_empty()) {
                return Err(format!("items are left over: {answer}"));
            }
        }
        Ok(())
    }
}

fn dir(path: &str, index: u64, stamp: u64) -> Value {
    let mut item = node(path, index);
    item["d"] = json!({ "BOOL": true });
    item["k"] = json!({ "N": stamp.to_string() });
    item
}

fn node(path: &str, index: u64) -> Value {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let below = if parts.len() > 1 { parts[0] } else { "" };
    json!({
        "pk": { "S": format!("default/{below}") },
        "sk": { "S": format!("{:03}{path}", parts.len()) },
        "c": { "N": index.to_string() },
        "m": { "N": index.to_string() },
        "a": { "S": "create" },
    })
}
