//! Nodes with a TTL: when to look at them again at the source.
//!
//! A TTL that is refreshed (`refresh=true`) is told to no watcher. So before such a node would
//! expire at the target, its source is asked whether it still would there.
//!
//! Not here: the asking. Invariant: what was known when somebody was sent to look is compared with
//! what is known when the answer comes, so an answer that an event overtook changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::super::node::is_below;

/// How long before the end is looked, at most and at least.
const LONGEST_LEAD: SignedDuration = SignedDuration::from_secs(30);
const SHORTEST_LEAD: SignedDuration = SignedDuration::from_millis(300);

/// What is known of a node with a TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// When it expires at the source.
    pub(super) expiration: Timestamp,
    /// Its createdIndex at the source.
    pub(super) created: u64,
    /// Whether it is a directory, which takes along what is in it.
    pub(super) is_dir: bool,
}

#[derive(Debug)]
struct Kept {
    lease: Lease,
    due: Timestamp,
    /// Which knowledge of this node this is.
    version: u64,
}

/// Somebody to look at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) key: String,
    version: u64,
}

/// The nodes with a TTL.
#[derive(Debug, Default)]
pub(super) struct Leases {
    kept: BTreeMap<String, Kept>,
    due: BTreeSet<(Timestamp, String)>,
    versions: u64,
}

impl Leases {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// A node has this TTL, or none.
    pub(super) fn set(&mut self, key: &str, lease: Option<Lease>, now: Timestamp) {
        self.forget(key);
        let Some(lease) = lease else { return };
        let due = next_look(lease.expiration, now);
        self.versions += 1;
        let kept = Kept { lease, due, version: self.versions };
        self.due.insert((due, key.to_owned()));
        self.kept.insert(key.to_owned(), kept);
    }

    /// A node is gone.
    pub(super) fn forget(&mut self, key: &str) {
        if let Some((key, kept)) = self.kept.remove_entry(key) {
            self.due.remove(&(kept.due, key));
        }
    }

    /// A node is gone with all below it.
    pub(super) fn forget_tree(&mut self, key: &str) {
        self.forget(key);
        let below: Vec<String> = match key {
            "/" => self.kept.keys().cloned().collect(),
            _ => {
                let from = format!("{key}/");
                let keys = self.kept.range(from..).map(|(below, _)| below);
                keys.take_while(|below| is_below(below, key)).cloned().collect()
            }
        };
        for key in below {
            self.forget(&key);
        }
    }

    /// Whether a directory has run out at the target, as far as is known. It may be there again for
    /// what was written in it since.
    pub(super) fn has_run_out(&self, key: &str, now: Timestamp) -> bool {
        self.kept.get(key).is_some_and(|kept| kept.lease.is_dir && kept.lease.expiration <= now)
    }

    /// When the next look is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A look that is due. It is not due again before it was answered.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Look> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let version = self.kept.get(&key)?.version;
        Some(Look { key, version })
    }

    /// What was known when somebody was sent to look, if that is still all that is known.
    pub(super) fn known(&self, look: &Look) -> Option<Lease> {
        let kept = self.kept.get(&look.key)?;
        (kept.version == look.version).then_some(kept.lease)
    }
}

/// After two thirds of what is left; where nothing is, in a moment.
fn next_look(expiration: Timestamp, now: Timestamp) -> Timestamp {
    let left = expiration.duration_since(now);
    let lead = (left / 3).min(LONGEST_LEAD);
    let wait = (left - lead).max(SHORTEST_LEAD);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).expect("in this century")
    }

    fn lease(ms: i64) -> Option<Lease> {
        Some(Lease { expiration: at(ms), created: 1, is_dir: false })
    }

    #[test]
    fn a_node_is_looked_at_before_its_end_and_again_until_it_is_gone() {
        for (left, wait) in
            [(9_000, 6_000), (900, 600), (300, 300), (0, 300), (-5_000, 300), (900_000, 870_000)]
        {
            assert_eq!(next_look(at(left), at(0)), at(wait), "{left}");
        }
        assert!(next_look(Timestamp::MAX, at(0)) > at(0));
    }

    #[test]
    fn looks_come_when_they_are_due_and_once() {
        let mut leases = Leases::default();
        leases.set("/b", lease(3_000), at(0));
        leases.set("/a", lease(9_000), at(0));
        assert_eq!(leases.next_due(), Some(at(2_000)));
        assert_eq!(leases.take_due(at(1_999)), None);
        let look = leases.take_due(at(2_000)).expect("due");
        assert_eq!((look.key.as_str(), leases.known(&look)), ("/b", lease(3_000)));
        assert_eq!(leases.take_due(at(2_000)), None);
        assert_eq!(leases.next_due(), Some(at(6_000)));
    }

    #[test]
    fn an_answer_that_was_overtaken_counts_for_nothing() {
        let mut leases = Leases::default();
        leases.set("/a", lease(0), at(0));
        let look = leases.take_due(at(300)).expect("due");
        leases.set("/a", lease(60_000), at(300));
        assert_eq!(leases.known(&look), None);
        leases.forget("/a");
        assert_eq!((leases.known(&look), leases.next_due()), (None, None));
    }

    #[test]
    fn only_directories_take_something_along_when_they_run_out() {
        let mut leases = Leases::default();
        let lease = Lease { expiration: at(1_000), created: 1, is_dir: true };
        leases.set("/d", Some(lease), at(0));
        leases.set("/f", Some(Lease { is_dir: false, ..lease }), at(0));
        assert!(!leases.has_run_out("/d", at(999)));
        assert!(leases.has_run_out("/d", at(1_000)));
        assert!(!leases.has_run_out("/f", at(1_000)) && !leases.has_run_out("/g", at(1_000)));
    }

    #[test]
    fn a_tree_goes_with_all_below_it_and_nothing_beside_it() {
        let mut leases = Leases::default();
        for key in ["/a", "/a/b", "/a/b/c", "/a-b", "/b"] {
            leases.set(key, lease(1_000), at(0));
        }
        leases.forget_tree("/a");
        assert_eq!(leases.kept.keys().collect::<Vec<_>>(), ["/a-b", "/b"]);
        assert_eq!(leases.due.len(), 2);
        leases.forget_tree("/");
        assert_eq!((leases.len(), leases.next_due()), (0, None));
    }
}
