//! The raw table: every item of one keyspace, decoded without the server's own code.
//!
//! ```text
//! pk                      sk               what
//! <keyspace>/             000/             the root directory
//! <keyspace>/             001/a            a node directly under the root
//! <keyspace>/a            003/a/b/c        a node further down
//! <keyspace>//records     sweep/drain/a    a record
//! ```
//!
//! Not here: what must hold of it ([`rules`]). Invariant: an item that cannot be read as a whole
//! is kept as a sentence about it, never left out.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use super::client;
pub use rules::Reading;

/// The attributes that an item of a node may have beside its keys.
const KNOWN: [&str; 27] = [
    "v", "d", "k", "c", "m", "e", "a", "r", "b", "g", "t", "w0", "w1", "w2", "w3", "w4", "w5",
    "w6", "w7", "w8", "w9", "wa", "wb", "wc", "wd", "we", "wf",
];

/// What a node is, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file with its value, as DynamoDB's JSON has it.
    File(String),
    /// A directory with its child stamp.
    Dir(Option<u64>),
}

/// The mark of a removed node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// From when on the item may be purged, in ms.
    pub purge_at: i64,
    /// The modifiedIndex that the node had.
    pub before: Option<u64>,
    /// Whether the subtree below is still being removed.
    pub draining: bool,
}

/// A node's item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The partition key.
    pub partition: String,
    /// The depth that the sort key says, as it stands there.
    pub depth: String,
    /// The path in the sort key, escaped.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// The createdIndex.
    pub created: u64,
    /// The modifiedIndex.
    pub modified: u64,
    /// The expiration, in ms.
    pub expiration: Option<i64>,
    /// The name of the last write's action.
    pub action: Option<String>,
    /// The mark of a tombstone.
    pub removed: Option<Removed>,
    /// When DynamoDB is to purge the item, in seconds.
    pub purge_seconds: Option<i64>,
}

impl Node {
    /// Whether it is no tombstone, be it past its expiration or not.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.removed.is_none()
    }

    /// Whether it is a directory, or was.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    /// The path of the directory that it lies in; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        let (above, name) = self.path.rsplit_once('/')?;
        match (above, name) {
            ("", "") => None,
            ("", _) => Some("/"),
            _ => Some(above),
        }
    }
}

/// A record of the keyspace itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name: its sort key.
    pub name: String,
    /// The expiration in it, in ms.
    pub expiration: Option<i64>,
}

/// One keyspace of a table, at some moment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The nodes' items by path, tombstones among them.
    pub nodes: BTreeMap<String, Node>,
    /// The records.
    pub records: Vec<Record>,
    /// What is wrong with items that cannot be read.
    pub unreadable: Vec<String>,
}

impl Table {
    /// Reads a keyspace from the engine at `address`. It is no snapshot while gateways write.
    ///
    /// # Errors
    /// The table cannot be scanned.
    pub fn read(address: &str, table: &str, keyspace: &str) -> Result<Self, String> {
        Ok(Self::of(&client::scan(address, table)?, keyspace))
    }

    /// Decodes the items of a keyspace.
    #[must_use]
    pub fn of(items: &[Value], keyspace: &str) -> Self {
        let mut table = Self::default();
        for item in items {
            let partition = text(item, "pk").unwrap_or_default();
            let Some(below) = partition.strip_prefix(&format!("{keyspace}/")) else { continue };
            if below == "/records" {
                let name = text(item, "sk").unwrap_or_default();
                table.records.push(Record { name, expiration: number(item, "e") });
                continue;
            }
            match decode(item) {
                Ok(node) => match table.nodes.insert(node.path.clone(), node) {
                    None => {}
                    Some(twin) => {
                        table.unreadable.push(format!("{} has two items", twin.path));
                    }
                },
                Err(why) => table.unreadable.push(format!("{why}: {item}")),
            }
        }
        table
    }

    /// The nodes that are there, by path.
    pub fn present(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.is_there())
    }
}

/// Reads the keyspace that gateways use unless they are told, and says what is wrong with it.
/// `at_rest`: nobody writes, and whatever was begun had the time to end.
///
/// # Errors
/// The table cannot be scanned.
pub fn violations(address: &str, table: &str, at_rest: bool) -> Result<Vec<String>, String> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    Ok(Table::read(address, table, "default")?.violations(Reading { now_ms, at_rest }))
}

fn decode(item: &Value) -> Result<Node, String> {
    let sort = text(item, "sk").ok_or("no sort key")?;
    let (depth, path) = sort.split_at_checked(3).ok_or("a sort key that is too short")?;
    let attributes = item.as_object().ok_or("no object")?;
    let strange = attributes
        .keys()
        .find(|name| !matches!(name.as_str(), "pk" | "sk") && !KNOWN.contains(&name.as_str()));
    if let Some(name) = strange {
        return Err(format!("an attribute {name}"));
    }
    let stamp = number(item, "k");
    let content = match (&item["v"], &item["d"]["BOOL"]) {
        (Value::Null, Value::Bool(true)) => Content::Dir(stamp),
        (Value::Object(value), Value::Null) if stamp.is_none() => {
            Content::File(Value::Object(value.clone()).to_string())
        }
        _ => return Err("neither a file nor a directory".to_owned()),
    };
    for (name, write) in attributes.iter().filter(|(name, _)| name.starts_with('w')) {
        let written = write["B"].as_str().ok_or_else(|| format!("{name} is not binary"))?;
        // Twelve bytes in base64.
        if written.len() != 16 {
            return Err(format!("{name} is no write's id"));
        }
    }
    let removed = number(item, "r").map(|purge_at| Removed {
        purge_at,
        before: number(item, "b"),
        draining: item["g"]["BOOL"] == true,
    });
    Ok(Node {
        partition: text(item, "pk").unwrap_or_default(),
        depth: depth.to_owned(),
        path: path.to_owned(),
        content,
        created: number(item, "c").ok_or("no createdIndex")?,
        modified: number(item, "m").ok_or("no modifiedIndex")?,
        expiration: number(item, "e"),
        action: text(item, "a"),
        removed,
        purge_seconds: number(item, "t"),
    })
}

fn text(item: &Value, name: &str) -> Option<String> {
    item[name]["S"].as_str().map(str::to_owned)
}

fn number<T: std::str::FromStr>(item: &Value, name: &str) -> Option<T> {
    item[name]["N"].as_str()?.parse().ok()
}
