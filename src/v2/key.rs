//! A key: the path of a node, as bytes.
//!
//! A key is always clean: it starts with `/`, has no empty part, no `.` and no `..`, and no
//! trailing slash. What a client sends is cleaned (by a redirect) before it becomes a key. Keys
//! are compared as bytes: `%FF` and `%FE` are different keys although both print as U+FFFD.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The path of a node. Cheap to clone.
///
/// Keys are ordered by depth first and then bytewise, so that one level of a subtree is one
/// contiguous range; among siblings this is the plain bytewise order of the whole path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    depth: u16,
    path: Arc<[u8]>,
}

/// Why some bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// There is an empty part, a `.` or a `..`, or no leading slash.
    Unclean,
    /// There are more than 65,535 parts.
    TooDeep,
}

impl Key {
    /// The root directory, `/`.
    pub fn root() -> Key {
        Key { depth: 0, path: Arc::from(&b"/"[..]) }
    }

    /// Reads a clean, decoded path. One trailing slash is dropped, as etcd does.
    pub fn parse(path: &[u8]) -> Result<Key, KeyError> {
        let Some(inner) = path.strip_prefix(b"/") else {
            return if path.is_empty() { Ok(Key::root()) } else { Err(KeyError::Unclean) };
        };
        if inner.is_empty() {
            return Ok(Key::root());
        }
        let inner = inner.strip_suffix(b"/").unwrap_or(inner);
        let mut depth: u16 = 0;
        for part in inner.split(|b| *b == b'/') {
            if part.is_empty() || part == b"." || part == b".." {
                return Err(KeyError::Unclean);
            }
            depth = depth.checked_add(1).ok_or(KeyError::TooDeep)?;
        }
        Ok(Key { depth, path: Arc::from(&path[..=inner.len()]) })
    }

    /// The child of this directory that has this name (which holds no slash).
    pub fn child(&self, name: &[u8]) -> Key {
        let mut path = self.prefix();
        path.extend_from_slice(name);
        Key { depth: self.depth.saturating_add(1), path: Arc::from(path) }
    }

    /// The whole path, with its leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.path
    }

    /// How many parts the path has; 0 for the root.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.depth == 0
    }

    /// The last part of the path; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// Whether listings leave this node out: its own name starts with `_`.
    pub fn is_hidden(&self) -> bool {
        self.name().first() == Some(&b'_')
    }

    /// The directory that holds this node; `None` for the root.
    pub fn parent(&self) -> Option<Key> {
        match self.depth {
            0 => None,
            1 => Some(Key::root()),
            depth => {
                let end = self.path.len() - self.name().len() - 1;
                Some(Key { depth: depth - 1, path: Arc::from(&self.path[..end]) })
            }
        }
    }

    /// Whether both nodes are in one directory.
    pub fn is_sibling_of(&self, other: &Key) -> bool {
        let dir = |key: &Key| key.path.len() - key.name().len();
        self.depth == other.depth && self.path[..dir(self)] == other.path[..dir(other)]
    }

    /// The directories above this node, from the top down, without the root.
    pub fn ancestors(&self) -> Vec<Key> {
        let slashes = self.path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/');
        slashes
            .zip(1..)
            .map(|((end, _), depth)| Key { depth, path: Arc::from(&self.path[..end]) })
            .collect()
    }

    /// The path with a trailing slash: what every key below this directory starts with.
    pub fn prefix(&self) -> Vec<u8> {
        let mut prefix = self.path.to_vec();
        if !self.is_root() {
            prefix.push(b'/');
        }
        prefix
    }

    /// The path as text that names it alone, for a store whose keys are UTF-8: `%` and every
    /// byte that is not UTF-8 are percent-encoded. Prefixes that end at a slash stay prefixes.
    pub fn escaped(&self) -> String {
        escape(&self.path)
    }

    /// How many bytes [`Key::escaped`] has, without writing it.
    pub fn escaped_len(&self) -> usize {
        let chunk_len = |chunk: std::str::Utf8Chunk<'_>| {
            let escaped = chunk.valid().bytes().filter(|byte| *byte == b'%').count();
            chunk.valid().len() + 2 * escaped + 3 * chunk.invalid().len()
        };
        self.path.utf8_chunks().map(chunk_len).sum()
    }

    /// Reads what [`Key::escaped`] wrote.
    pub fn from_escaped(text: &str) -> Result<Key, KeyError> {
        Key::parse(&unescape(text.as_bytes()))
    }

    /// Whether this key lies below the directory `above` (a key does not lie below itself).
    pub fn is_below(&self, above: &Key) -> bool {
        if above.is_root() {
            return !self.is_root();
        }
        self.path.strip_prefix(above.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (at, plain) in chunk.valid().split('%').enumerate() {
            if at > 0 {
                text.push_str("%25");
            }
            text.push_str(plain);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn unescape(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.escaped())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let text = String::deserialize(deserializer)?;
        Key::from_escaped(&text).map_err(|_| D::Error::custom("not a key"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in String::from_utf8_lossy(&self.path).split_inclusive(char::is_control) {
            let (text, control) = match part.chars().next_back().filter(|last| last.is_control()) {
                Some(last) => (&part[..part.len() - last.len_utf8()], Some(last)),
                None => (part, None),
            };
            f.write_str(text)?;
            // A line of the log is to stay one.
            control.map_or(Ok(()), |control| write!(f, "{}", control.escape_default()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::parse(path.as_bytes()).expect("a clean path")
    }

    #[test]
    fn a_trailing_slash_is_dropped_and_the_root_has_three_spellings() {
        assert_eq!(key("/foo/"), key("/foo"));
        assert_eq!(key(""), Key::root());
        assert_eq!(key("/"), Key::root());
        assert_eq!(key("/a/b").depth(), 2);
    }

    #[test]
    fn unclean_paths_are_not_keys() {
        for path in ["foo", "//", "/a//b", "/a/./b", "/a/..", "/..", "/a//"] {
            assert_eq!(Key::parse(path.as_bytes()), Err(KeyError::Unclean), "{path}");
        }
        for path in ["/...", "/.a", "/a/..b", "/a b", "/\u{0}"] {
            assert!(Key::parse(path.as_bytes()).is_ok(), "{path}");
        }
    }

    #[test]
    fn parents_and_ancestors_go_up_to_but_not_into_the_root() {
        assert_eq!(key("/a/b/c").parent(), Some(key("/a/b")));
        assert_eq!(key("/a").parent(), Some(Key::root()));
        assert_eq!(Key::root().parent(), None);
        assert_eq!(key("/a/b/c").ancestors(), vec![key("/a"), key("/a/b")]);
        assert!(key("/a").ancestors().is_empty());
        assert!(Key::root().ancestors().is_empty());
        assert!(key("/a/b/c").ancestors().iter().zip(1..).all(|(k, depth)| k.depth() == depth));
    }

    #[test]
    fn children_are_below_and_neighbours_are_not() {
        assert!(key("/a/b").is_below(&key("/a")));
        assert!(key("/a/b").is_below(&Key::root()));
        assert!(!key("/ab").is_below(&key("/a")));
        assert!(!key("/a").is_below(&key("/a")));
        assert_eq!(Key::root().child(b"x"), key("/x"));
        assert_eq!(key("/a").child(b"x").child(b"y"), key("/a/x/y"));
    }

    #[test]
    fn siblings_share_their_directory() {
        assert!(key("/a/b").is_sibling_of(&key("/a/c")));
        assert!(key("/a").is_sibling_of(&key("/bc")));
        assert!(!key("/a/b").is_sibling_of(&key("/c/b")));
        assert!(!key("/a/b").is_sibling_of(&key("/a/b/c")));
    }

    #[test]
    fn escaped_keys_are_told_apart_and_read_back() {
        for path in [&b"/a%b"[..], b"/a%25b", b"/\xff", b"/\xfe/%FF", "/caf\u{e9}".as_bytes(), b"/"]
        {
            let key = Key::parse(path).expect("a clean path");
            assert_eq!(key.escaped_len(), key.escaped().len());
            assert_eq!(Key::from_escaped(&key.escaped()), Ok(key));
        }
        assert_eq!(Key::parse(b"/\xff%").expect("clean").escaped(), "/%FF%25");
        assert_ne!(key("/%FF").escaped(), Key::parse(b"/\xff").expect("clean").escaped());
    }

    #[test]
    fn only_the_own_name_hides_a_node() {
        assert!(key("/_a").is_hidden());
        assert!(key("/a/_b").is_hidden());
        assert!(!key("/_a/b").is_hidden());
        assert!(!key("/a_b").is_hidden());
        assert!(!Key::root().is_hidden());
    }

    #[test]
    fn one_level_of_a_subtree_is_one_range() {
        let mut keys = [key("/a/z"), key("/b"), key("/a"), key("/a/b/c"), key("/a-"), key("/a/b")];
        keys.sort();
        let shown: Vec<String> = keys.iter().map(Key::to_string).collect();
        assert_eq!(shown, ["/a", "/a-", "/b", "/a/b", "/a/z", "/a/b/c"]);
    }
}
