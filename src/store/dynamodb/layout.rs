//! Where in the table a key's item is: partition and sort keys, and back.
//!
//! Not here: what is in an item ([`super::item`]) and what a table must be like
//! ([`super::table`]). Invariant: two keys never share a place, a key's place never changes, and
//! no key's place is a record's.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::v2::Key;

/// The partition key of the table.
pub(super) const PARTITION: &str = "pk";
/// The sort key of the table.
pub(super) const SORT: &str = "sk";

/// The attributes of an item or of a key, as the SDK has them.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// DynamoDB's longest sort key, in bytes.
const SORT_BYTES: usize = 1024;
/// How long a keyspace's name may be.
const KEYSPACE_BYTES: usize = 64;
/// The digits of the depth in a sort key.
const DEPTH_DIGITS: usize = 3;

/// What a record's name has in front of its key at most: `sweep/dir-ttl`. More than the depth has.
const RECORD_KIND_BYTES: usize = 13;

/// The longest key, escaped, for which the sort key of its item and the names of its records
/// are short enough.
pub(super) const KEY_BYTES: usize = SORT_BYTES - RECORD_KIND_BYTES;

/// What the keys of an item measure at most beside its own key, in bytes.
pub(super) const KEYS_OVERHEAD: usize =
    PARTITION.len() + KEYSPACE_BYTES + 1 + KEY_BYTES + SORT.len() + DEPTH_DIGITS;

/// One keyspace's places in the table.
///
/// ```text
/// pk                      sk               what
/// <keyspace>/             000/             the root directory
/// <keyspace>/             001/a            the nodes directly under the root
/// <keyspace>/a            002/a/b          what is below /a: its children,
/// <keyspace>/a            003/a/b/c        then their children,
/// <keyspace>/a            003/a/d/e        level by level
/// <keyspace>//records     identity         the keyspace's records; no key's first part is
/// <keyspace>//records     sweep/drain/a    empty, so no client can reach them
/// ```
///
/// The children of a directory, and each whole level of its subtree, are one range of one
/// partition: `begins_with(sk, "003/a/")` is everything two levels below `/a`. Parts of a key are
/// escaped as [`Key::escaped`] does. There is no local secondary index, so DynamoDB may split a
/// partition between any two sort keys.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    keyspace: String,
}

impl Layout {
    /// The places of the keyspace of this name, if it is a name: 1 to 64 letters, digits, `_`,
    /// `.` or `-`.
    pub(super) fn new(keyspace: &str) -> Option<Layout> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let fits = (1..=KEYSPACE_BYTES).contains(&keyspace.len());
        (fits && keyspace.bytes().all(plain)).then(|| Layout { keyspace: keyspace.to_owned() })
    }

    /// The places of the keyspace that a partition belongs to, if it belongs to one. Names have no
    /// slash, so that of one keyspace is never the beginning of another one's partitions.
    pub(super) fn owner(partition: &str) -> Option<Layout> {
        partition.split_once('/').and_then(|(keyspace, _)| Layout::new(keyspace))
    }

    /// The keyspace's name.
    pub(super) fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// What the partition keys of this keyspace, and of no other, begin with.
    pub(super) fn partitions(&self) -> String {
        self.below("/")
    }

    /// The primary key of a node's item.
    pub(super) fn of(&self, key: &Key) -> Place {
        let path = key.escaped();
        let partition = if key.depth() > 1 { self.below(&path) } else { self.below("/") };
        Place { partition, sort: sort(key.depth(), &path) }
    }

    /// The partition of one level of a subtree, and what its sort keys begin with.
    pub(super) fn level(&self, below: &Key, depth: u16) -> Place {
        let path = below.escaped();
        if below.is_root() {
            return Place { partition: self.below("/"), sort: sort(depth, "/") };
        }
        Place { partition: self.below(&path), sort: sort(depth, &format!("{path}/")) }
    }

    /// The primary key of a record.
    pub(super) fn of_record(&self, name: &str) -> Place {
        Place { partition: format!("{}//records", self.keyspace), sort: name.to_owned() }
    }

    /// The partition of what lies below the first part of this escaped path.
    fn below(&self, path: &str) -> String {
        let first = path.split('/').nth(1).unwrap_or_default();
        format!("{}/{first}", self.keyspace)
    }
}

fn sort(depth: u16, path: &str) -> String {
    format!("{depth:0DEPTH_DIGITS$}{path}")
}

/// The primary key of an item, or a partition and what sort keys in it begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The partition key.
    pub(super) partition: String,
    /// The sort key.
    pub(super) sort: String,
}

impl Place {
    /// What it measures in an item, in bytes.
    pub(super) fn bytes(&self) -> usize {
        PARTITION.len() + self.partition.len() + SORT.len() + self.sort.len()
    }

    /// As the SDK wants a key.
    pub(super) fn attributes(self) -> Attributes {
        HashMap::from([
            (PARTITION.to_owned(), AttributeValue::S(self.partition)),
            (SORT.to_owned(), AttributeValue::S(self.sort)),
        ])
    }
}

/// The key whose item has this sort key.
pub(super) fn key_at(sort: &str) -> Option<Key> {
    let (depth, path) = sort.split_at_checked(DEPTH_DIGITS)?;
    let key = Key::from_escaped(path).ok()?;
    (depth.parse() == Ok(key.depth())).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::RecordKind;

    fn key(path: &[u8]) -> Key {
        Key::parse(path).expect("a clean path")
    }

    fn place(path: &[u8]) -> (String, String) {
        let place = Layout::new("ks").expect("a name").of(&key(path));
        (place.partition, place.sort)
    }

    #[test]
    fn every_key_has_its_place() {
        for (path, partition, sort) in [
            (&b"/"[..], "ks/", "000/"),
            (b"/a", "ks/", "001/a"),
            (b"/a/b", "ks/a", "002/a/b"),
            (b"/a/b/c", "ks/a", "003/a/b/c"),
            (b"/\xff%/b", "ks/%FF%25", "002/%FF%25/b"),
        ] {
            assert_eq!(place(path), (partition.to_owned(), sort.to_owned()));
            assert_eq!(key_at(sort), Some(key(path)));
        }
    }

    #[test]
    fn a_level_is_one_range_of_the_partition_that_holds_it() {
        let layout = Layout::new("ks").expect("a name");
        for (below, depth, partition, prefix) in [
            (&b"/"[..], 1, "ks/", "001/"),
            (b"/a", 2, "ks/a", "002/a/"),
            (b"/a", 4, "ks/a", "004/a/"),
            (b"/a/b", 3, "ks/a", "003/a/b/"),
        ] {
            let level = layout.level(&key(below), depth);
            assert_eq!((level.partition.as_str(), level.sort.as_str()), (partition, prefix));
        }
    }

    #[test]
    fn what_is_no_sort_key_of_a_node_is_no_key() {
        for sort in ["", "00", "identity", "002/a", "sweep/dir-ttl/a", "001a", "xyz/a", "001//"] {
            assert_eq!(key_at(sort), None, "{sort}");
        }
    }

    #[test]
    fn a_keyspace_has_a_plain_short_name() {
        let long = "a".repeat(65);
        for name in ["", "a/b", "a b", "\u{e9}", &long] {
            assert!(Layout::new(name).is_none(), "{name}");
        }
        for name in ["etcd", "A-1_b.c", &long[1..]] {
            assert!(Layout::new(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_longest_key_fits_everywhere() {
        let layout = Layout::new(&"k".repeat(64)).expect("a name");
        let deep = "/a".repeat(KEY_BYTES / 2);
        let wide = format!("/{}/b", "a".repeat(KEY_BYTES - 3));
        for path in [deep, wide] {
            let key = key(path.as_bytes());
            assert!(key.escaped().len() <= KEY_BYTES && key.escaped().len() + 1 >= KEY_BYTES);
            let place = layout.of(&key);
            assert!(place.sort.len() <= SORT_BYTES && place.partition.len() <= 2048);
            assert_eq!(key_at(&place.sort), Some(key.clone()));
            for kind in [RecordKind::DirTtl, RecordKind::Drain] {
                assert!(kind.name_for(&key).len() <= SORT_BYTES);
            }
        }
    }
}
