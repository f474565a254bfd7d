//! What of which keyspace is in a table, counted item by item.
//!
//! Not here: where the items come from. Invariant: what is kept grows with the number of
//! keyspaces, not with that of their items.

use std::collections::BTreeMap;
use std::fmt;

use crate::keyspace::Sign;
use crate::store::dynamodb::{Held, Surveyed};
use crate::v2::{Key, Record, UnixMs};

/// What there is in a table.
#[derive(Debug, Default)]
pub(super) struct Census {
    keyspaces: BTreeMap<String, Tally>,
    /// How many items are no keyspace's.
    pub(super) foreign: u64,
}

/// What there is of one keyspace.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Tally {
    has_identity: bool,
    has_root: bool,
    nodes: u64,
    bytes: u64,
    users: u64,
    /// The number of the last change of users and roles, and whether they count since.
    auth: Option<(u64, bool)>,
    gateways: u64,
    unreadable: u64,
}

impl Census {
    /// Takes in one more item.
    pub(super) fn take_in(&mut self, item: Surveyed, now: UnixMs) {
        let Surveyed { keyspace, bytes, held } = item;
        let Some(keyspace) = keyspace else {
            self.foreign += 1;
            return;
        };
        let tally = self.keyspaces.entry(keyspace).or_default();
        tally.bytes += bytes;
        match held {
            Held::Node(item) if item.key == Key::root() => tally.has_root = true,
            Held::Node(item) => tally.nodes += u64::from(item.is_live(now)),
            Held::Record(record) => tally.take_in(&record, now),
            Held::Unreadable => tally.unreadable += 1,
        }
    }
}

impl Tally {
    fn take_in(&mut self, record: &Record, now: UnixMs) {
        match record {
            Record::Identity { .. } => self.has_identity = true,
            Record::Gateway { gateway, seen } => {
                let sign = Sign { gateway: *gateway, seen: *seen };
                self.gateways += u64::from(sign.is_fresh(now));
            }
            Record::Auth { change, enabled, .. } => {
                self.auth = self.auth.max(Some((*change, *enabled)));
            }
            Record::User(_) => self.users += 1,
            Record::Role(_) | Record::DirTtl { .. } | Record::Drain { .. } => {}
        }
    }

    fn state(&self) -> &'static str {
        match (self.has_identity, self.has_root) {
            (true, true) => "whole",
            (true, false) => "damaged",
            (false, true) => "half-deleted",
            (false, false) => "remains",
        }
    }

    fn auth(&self) -> &'static str {
        if self.auth.is_some_and(|(_, enabled)| enabled) { "on" } else { "off" }
    }
}

/// A line for each keyspace, below a line of headings.
impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.keyspaces.keys().map(String::len).max().unwrap_or_default().max(8);
        write!(f, "{:width$}  STATE         NODES       BYTES  AUTH  USERS  GATEWAYS", "KEYSPACE")?;
        for (name, tally) in &self.keyspaces {
            let Tally { nodes, bytes, users, gateways, .. } = tally;
            let (state, auth) = (tally.state(), tally.auth());
            write!(
                f,
                "\n{name:width$}  {state:12}  {nodes:5}  {bytes:10}  {auth:4}  {users:5}  \
                 {gateways:8}"
            )?;
        }
        Ok(())
    }
}

impl Census {
    /// What is wrong, a line each.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let foreign = (self.foreign > 0)
            .then(|| format!("{} items of the table are not etcdynamo's", self.foreign));
        let of_keyspaces = self.keyspaces.iter().flat_map(|(name, tally)| {
            let unreadable = (tally.unreadable > 0).then(|| {
                format!("{} items of {name:?} cannot be read by this version", tally.unreadable)
            });
            let half = (tally.state() == "half-deleted").then(|| {
                format!(
                    "the deletion of {name:?} is not finished: `etcdynamo keyspace delete` does it"
                )
            });
            unreadable.into_iter().chain(half)
        });
        foreign.into_iter().chain(of_keyspaces)
    }
}
