//! A node as it is moved: what a client can see of it.
//!
//! Not the node of [`crate::v2`], which is the server's: keys and values are what JSON showed, in
//! which a server writes U+FFFD for a byte that is not UTF-8.

use jiff::Timestamp;

/// The most bytes that JSON may take for one node, its key and value escaped. etcd takes forms of
/// up to 10 MiB, of which every byte may come out as `\ufffd`.
pub(super) const NODE_JSON_BYTES: usize = 64 << 20;

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file's value.
    File(String),
    /// Nothing: it is a directory.
    Dir,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its key, from the root on: `/a/b`.
    pub key: String,
    /// Its value, if it is a file.
    pub content: Content,
    /// Its createdIndex.
    pub created: u64,
    /// Its modifiedIndex.
    pub modified: u64,
    /// When it expires, if it does.
    pub expiration: Option<Timestamp>,
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir)
    }

    /// Whether a byte of it may have been another one, that is not UTF-8.
    pub fn has_replacement(&self) -> bool {
        let is_in_value = match &self.content {
            Content::File(value) => value.contains(char::REPLACEMENT_CHARACTER),
            Content::Dir => false,
        };
        is_in_value || self.key.contains(char::REPLACEMENT_CHARACTER)
    }

    /// The bytes of its key and value.
    pub fn bytes(&self) -> u64 {
        let value = match &self.content {
            Content::File(value) => value.len(),
            Content::Dir => 0,
        };
        (self.key.len() + value) as u64
    }
}

/// The directory that a node is in; `/` for those directly below the root.
pub(super) fn parent(key: &str) -> &str {
    match key.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &key[..at],
    }
}

/// Whether a key is below a directory, at any depth.
pub(super) fn is_below(key: &str, directory: &str) -> bool {
    let rest = match directory {
        "/" => return key.len() > 1,
        _ => key.strip_prefix(directory),
    };
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether this is a key as etcd writes it: `/a/b`, or `/` for the root.
pub(super) fn is_clean(key: &str) -> bool {
    let named = |names: &str| names.split('/').all(|name| !matches!(name, "" | "." | ".."));
    key == "/" || key.strip_prefix('/').is_some_and(named)
}

/// Whether a listing of that directory leaves a node out: a name below it begins with `_`.
pub(super) fn is_hidden_below(key: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    key.strip_prefix(directory).is_some_and(|rest| rest.contains("/_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        for (key, directory) in [("/a", "/"), ("/a/b", "/a"), ("/a/b/c", "/a/b")] {
            assert_eq!(parent(key), directory);
        }
    }

    #[test]
    fn what_is_below() {
        for (key, directory, below) in [
            ("/a", "/", true),
            ("/", "/", false),
            ("/a/b", "/a", true),
            ("/a/b/c", "/a", true),
            ("/a", "/a", false),
            ("/ab", "/a", false),
        ] {
            assert_eq!(is_below(key, directory), below, "{key} {directory}");
        }
    }

    #[test]
    fn clean_keys() {
        for key in ["/", "/a", "/a/b", "/a/.b", "/\n", "/ü"] {
            assert!(is_clean(key), "{key}");
        }
        for key in ["", "a", "/a/", "//a", "/a//b", "/a/./b", "/..", "//"] {
            assert!(!is_clean(key), "{key}");
        }
    }

    #[test]
    fn hidden_nodes() {
        for (key, directory, hidden) in [
            ("/_a", "/", true),
            ("/_a", "/_a", false),
            ("/a/_b/c", "/a", true),
            ("/_a/b", "/_a", false),
            ("/a_b", "/", false),
        ] {
            assert_eq!(is_hidden_below(key, directory), hidden, "{key} {directory}");
        }
    }
}
