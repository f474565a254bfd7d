//! What must hold of the raw table: promise 3, and what the layout promises beside it.
//!
//! Each rule is a function from the table to sentences, one for each item that breaks it.
//! A node past its expiration may lie where it could not be made any more, until somebody
//! sweeps it; whatever lies below a directory that is past its own goes with that directory.
//! Not here: how the table is read. Invariant: a table made by one gateway, alone and at rest,
//! breaks none of them.

use super::{Content, Node, Removed, Table};

/// Indexes stay below this, so that JavaScript reads them exactly.
const INDEX_LIMIT: u64 = 1 << 53;

/// How long a directory may be past its expiration until the sweep of some gateway takes it:
/// gateways look at others' records every five seconds.
const OVERDUE_MS: i64 = 15_000;

/// When the table was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time, in ms since the Unix epoch.
    pub now_ms: i64,
    /// Nobody was writing, and whatever was begun had the time to end.
    pub at_rest: bool,
}

impl Table {
    /// What is wrong with it, in words.
    #[must_use]
    pub fn violations(&self, reading: Reading) -> Vec<String> {
        let mut found = self.unreadable.clone();
        if !self.nodes.get("/").is_some_and(|root| root.is_there() && root.is_dir()) {
            found.push("the root directory is missing".to_owned());
        }
        for node in self.nodes.values() {
            found.extend(misplaced(node));
            found.extend(bad_indexes(node));
            found.extend(bad_purge(node));
            if node.is_there() && !is_past(node, reading.now_ms) {
                found.extend(self.torn(node, reading.now_ms));
            }
        }
        if reading.at_rest {
            found.extend(self.unfinished(reading.now_ms));
        }
        found
    }

    /// A node that is there needs directories all the way up, each older than what is in it.
    fn torn(&self, node: &Node, now_ms: i64) -> Option<String> {
        let path = &node.path;
        let parent_path = node.parent()?;
        let Some(parent) = self.nodes.get(parent_path) else {
            return Some(format!("orphan: {path} has no parent; there is no item {parent_path}"));
        };
        if let Some(Removed { draining, .. }) = parent.removed {
            // What drains is on its way out; at rest, that is its own violation.
            let gone = format!("orphan: {path} is there, and {parent_path} is removed");
            return (!draining).then_some(gone);
        }
        let Content::Dir(stamp) = parent.content else {
            return Some(format!("{parent_path} is a file and has a child: {path}"));
        };
        if is_past(parent, now_ms) {
            return None;
        }
        if node.created < parent.created {
            return Some(format!(
                "{path} (created at {}) is older than {parent_path} (created at {}): it is left of \
                 a removed subtree",
                node.created, parent.created
            ));
        }
        if parent_path == "/" {
            return None;
        }
        // A set over a file counts as a creation without being one, so only these show the stamp.
        let newest = if node.action.as_deref() == Some("create") { node.created } else { 0 };
        let needed = newest.max(parent.created);
        if stamp.is_none_or(|stamp| stamp < needed) {
            return Some(format!(
                "{parent_path} has the stamp {stamp:?}, below {needed} of its child {path}"
            ));
        }
        None
    }

    /// What must not be left when nothing is under way.
    fn unfinished(&self, now_ms: i64) -> Vec<String> {
        let mut found = Vec::new();
        for record in &self.records {
            if record.name.starts_with("sweep/drain/") {
                found.push(format!("the record {} of a drain is left over", record.name));
            }
        }
        for node in self.nodes.values() {
            let path = &node.path;
            if node.removed.is_some_and(|removed| removed.draining) {
                found.push(format!("{path} is still draining"));
            }
            let Some(expiration) = node.expiration.filter(|_| node.is_there() && node.is_dir())
            else {
                continue;
            };
            if expiration + OVERDUE_MS < now_ms {
                found.push(format!("the directory {path} is overdue since {expiration}"));
            }
            let name = format!("sweep/dir-ttl{path}");
            let has_record = (self.records.iter())
                .any(|record| record.name == name && record.expiration == Some(expiration));
            if !has_record {
                found.push(format!("the directory {path} has a TTL and no record of it"));
            }
        }
        found
    }
}

fn is_past(node: &Node, now_ms: i64) -> bool {
    node.expiration.is_some_and(|expiration| expiration <= now_ms)
}

/// The keys say the path twice: by the depth and by the partition.
fn misplaced(node: &Node) -> Option<String> {
    let Node { partition, depth, path, .. } = node;
    let parts: Vec<&str> = match path.strip_prefix('/') {
        Some("") => Vec::new(),
        Some(rest) => rest.split('/').collect(),
        None => return Some(format!("{path:?} is no path")),
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Some(format!("{path:?} has an empty part"));
    }
    if *depth != format!("{:03}", parts.len()) {
        return Some(format!("{path} lies at the depth {depth}"));
    }
    let below = if parts.len() > 1 { parts[0] } else { "" };
    let in_place = partition.split_once('/').is_some_and(|(_, rest)| rest == below);
    (!in_place).then(|| format!("{path} lies in the partition {partition}"))
}

fn bad_indexes(node: &Node) -> Option<String> {
    let Node { path, created, modified, .. } = node;
    let stamp = match node.content {
        Content::Dir(stamp) => stamp.unwrap_or_default(),
        Content::File(_) => 0,
    };
    let before = node.removed.map(|removed| removed.before);
    // What marks that a write will never happen, where nothing ever was.
    if before == Some(Some(0)) && *created == 0 && *modified == 0 {
        return None;
    }
    let highest = stamp.max(*modified).max(*created);
    if highest >= INDEX_LIMIT || *created == 0 {
        return Some(format!("{path} has an index that is none: {created}, {modified}, {stamp}"));
    }
    if created > modified {
        return Some(format!("{path} was created at {created}, after its change at {modified}"));
    }
    match before {
        Some(None) => Some(format!("the tombstone {path} does not know what it was before")),
        Some(Some(before)) if before >= *modified => {
            Some(format!("the tombstone {path} of {modified} is not after {before}"))
        }
        Some(Some(_)) | None => None,
    }
}

/// DynamoDB may take exactly what nobody needs any more, and nothing earlier.
fn bad_purge(node: &Node) -> Option<String> {
    let path = &node.path;
    let at_least = |ms: i64| node.purge_seconds.is_some_and(|at| at.saturating_mul(1000) >= ms);
    match (node.removed, node.expiration) {
        (Some(Removed { draining: true, .. }), _) => {
            node.purge_seconds.map(|at| format!("{path} is draining and may be purged at {at}"))
        }
        (Some(removed), _) if !at_least(removed.purge_at) => Some(format!(
            "the tombstone {path} may be purged at {:?} s, and is needed until {} ms",
            node.purge_seconds, removed.purge_at
        )),
        (None, Some(expiration)) if !node.is_dir() && !at_least(expiration) => Some(format!(
            "{path} expires at {expiration} ms, and may be purged at {:?} s",
            node.purge_seconds
        )),
        (None, expiration) if expiration.is_none() || node.is_dir() => node
            .purge_seconds
            .map(|at| format!("{path} is there to stay, and may be purged at {at}")),
        (Some(_) | None, _) => None,
    }
}
