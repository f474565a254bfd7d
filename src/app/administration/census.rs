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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::v2::{Content, Dir, EtcdIndex, Item, PasswordHash, Removed, User, Value, Writes};

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn node(path: &str) -> Item {
        Item {
            key: Key::parse(path.as_bytes()).expect("a clean path"),
            content: Content::File(Value::from("v")),
            created: EtcdIndex(1),
            modified: EtcdIndex(1),
            expiration: None,
            action: None,
            writes: Writes::default(),
            removed: None,
        }
    }

    fn found(keyspace: &str, held: Held) -> Surveyed {
        Surveyed { keyspace: Some(keyspace.to_owned()), bytes: 10, held }
    }

    fn census(items: Vec<Surveyed>) -> Census {
        let mut census = Census::default();
        for item in items {
            census.take_in(item, NOW);
        }
        census
    }

    #[test]
    fn only_nodes_that_are_there_count() {
        let root = Item { content: Content::Dir(Dir { stamp: None }), ..node("/") };
        let removed = Removed { draining: false, before: EtcdIndex(1), purge_at: NOW };
        let items = [
            root,
            node("/a"),
            node("/_hidden"),
            Item { removed: Some(removed), ..node("/removed") },
            Item { expiration: Some(NOW), ..node("/expired") },
            Item { expiration: Some(NOW.plus_ms(1)), ..node("/expiring") },
        ];
        let items = items.map(|item| found("k", Held::Node(Arc::new(item))));
        let census = census(items.into());
        let tally = &census.keyspaces["k"];
        assert_eq!((tally.nodes, tally.bytes, tally.has_root), (3, 60, true));
    }

    #[test]
    fn records_tell_the_rest() {
        let auth = |change, enabled| Record::Auth { change, enabled, recent: Vec::new() };
        let sign = |gateway, ago_ms: i64| Record::Gateway { gateway, seen: NOW.plus_ms(-ago_ms) };
        let user =
            User { name: "u".to_owned(), password: PasswordHash(String::new()), roles: None };
        let records = [
            Record::Identity { schema: 1, cluster_id: 1, member_id: 1 },
            auth(2, true),
            auth(1, false),
            sign(1, 34_999),
            sign(2, 35_000),
            Record::User(user),
        ];
        let mut items: Vec<Surveyed> =
            records.into_iter().map(|record| found("k", Held::Record(record))).collect();
        items.push(found("k", Held::Node(Arc::new(node("/")))));
        let census = census(items);
        let tally = &census.keyspaces["k"];
        assert_eq!((tally.auth(), tally.users, tally.gateways), ("on", 1, 1));
        assert_eq!(tally.state(), "whole");
        assert_eq!(census.notes().count(), 0);
    }

    #[test]
    fn each_keyspace_has_its_line_in_the_order_of_names() {
        let root = || Held::Node(Arc::new(node("/")));
        let census = census(vec![
            found("b", root()),
            found("a.b", Held::Node(Arc::new(node("/x")))),
            found("a", Held::Unreadable),
            Surveyed { keyspace: None, bytes: 1, held: Held::Unreadable },
        ]);
        let text = census.to_string();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].len(), 7);
        assert_eq!(lines[1], ["a", "remains", "0", "10", "off", "0", "0"]);
        assert_eq!(lines[2], ["a.b", "remains", "1", "10", "off", "0", "0"]);
        assert_eq!(lines[3], ["b", "half-deleted", "0", "10", "off", "0", "0"]);
        let notes: Vec<String> = census.notes().collect();
        assert_eq!(notes.len(), 3, "{notes:?}");
    }
}
