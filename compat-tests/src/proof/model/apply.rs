//! What v2 does with an operation in a state: the state after it, or why it is refused.

use super::state::{Expires, Index, Node, State, ancestors};
use crate::proof::history::{Call, Operation, Verb};

/// Why nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 100: it, or something above it, is not there.
    Missing,
    /// 101: the conditions do not hold.
    Differs,
    /// 102: it is a directory.
    NotFile,
    /// 104: this, above it, is a file.
    NotDir(String),
    /// 105: it is there.
    Exists,
    /// 108: something is in it.
    NotEmpty,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    /// The state after it.
    pub(super) state: State,
    /// The key of the node that the answer is about.
    pub(super) key: String,
    /// The keys that get the index of this write.
    pub(super) written: Vec<String>,
    /// The node before, where the answer has to show it.
    pub(super) before: Option<Node>,
}

/// Carries out an operation as v2 would.
///
/// `expires` is when what it writes will expire, as far as one can say before its answer is seen.
pub(super) fn apply(
    state: &State,
    call: &Call,
    number: usize,
    expires: Option<Expires>,
) -> Result<Applied, Refusal> {
    let operation = &call.operation;
    let write = Writing { state, call, operation, index: Index::Of(number), expires };
    match operation.verb {
        Verb::Get | Verb::List => {
            let before = write.existing()?.cloned();
            let key = operation.key.clone();
            Ok(Applied { state: state.clone(), key, written: Vec::new(), before })
        }
        Verb::Set => write.set(),
        Verb::Create => write.create(),
        Verb::MakeDir => write.create(),
        Verb::Post => write.post(),
        Verb::Update | Verb::Swap | Verb::Refresh => write.change(),
        Verb::Delete | Verb::CompareAndDelete => write.delete_file(),
        Verb::RemoveDir => write.remove_dir(),
        Verb::RemoveTree => {
            write.existing()?;
            Ok(write.removed())
        }
        Verb::Sweep => Ok(write.removed()),
    }
}

struct Writing<'a> {
    state: &'a State,
    call: &'a Call,
    operation: &'a Operation,
    index: Index,
    expires: Option<Expires>,
}

impl Writing<'_> {
    fn key(&self) -> &str {
        &self.operation.key
    }

    fn found(&self) -> Option<&Node> {
        self.state.nodes.get(self.key())
    }

    /// The first thing above that is in the way of anything being there.
    fn check_above(&self) -> Result<(), Refusal> {
        for above in ancestors(self.key()) {
            match self.state.nodes.get(above) {
                Some(Node { value: Some(_), .. }) => return Err(Refusal::NotDir(above.to_owned())),
                Some(Node { value: None, .. }) => {}
                None => return Err(Refusal::Missing),
            }
        }
        Ok(())
    }

    fn existing(&self) -> Result<Option<&Node>, Refusal> {
        // The top, which has no name here, is always there.
        if self.key().is_empty() {
            return Ok(None);
        }
        self.check_above()?;
        self.found().map(Some).ok_or(Refusal::Missing)
    }

    fn file(&self) -> Result<&Node, Refusal> {
        match self.existing()? {
            Some(node) if node.value.is_some() => Ok(node),
            Some(_) | None => Err(Refusal::NotFile),
        }
    }

    fn set(&self) -> Result<Applied, Refusal> {
        if let Err(Refusal::NotDir(file)) = self.check_above() {
            return Err(Refusal::NotDir(file));
        }
        match self.found() {
            Some(node) if node.value.is_none() => Err(Refusal::NotFile),
            before => Ok(self.put(self.key(), self.value(), self.index, before.cloned())),
        }
    }

    fn create(&self) -> Result<Applied, Refusal> {
        if let Err(Refusal::NotDir(file)) = self.check_above() {
            return Err(Refusal::NotDir(file));
        }
        if self.found().is_some() {
            return Err(Refusal::Exists);
        }
        let value = if self.operation.verb == Verb::MakeDir { None } else { self.value() };
        Ok(self.put(self.key(), value, self.index, None))
    }

    fn post(&self) -> Result<Applied, Refusal> {
        if let Err(Refusal::NotDir(file)) = self.check_above() {
            return Err(Refusal::NotDir(file));
        }
        if self.found().is_some_and(|node| node.value.is_some()) {
            return Err(Refusal::NotDir(self.key().to_owned()));
        }
        let key = match self.call.node() {
            Some(node) => node.key.clone(),
            None => format!("{}/name of {:?}", self.key(), self.index),
        };
        Ok(self.put(&key, self.value(), self.index, None))
    }

    fn change(&self) -> Result<Applied, Refusal> {
        let file = self.file()?.clone();
        self.check_conditions(&file)?;
        let value = match self.operation.verb {
            Verb::Refresh => file.value.clone(),
            _ => self.value(),
        };
        Ok(self.put(self.key(), value, file.created, Some(file)))
    }

    fn delete_file(&self) -> Result<Applied, Refusal> {
        let file = self.file()?;
        self.check_conditions(file)?;
        Ok(self.removed())
    }

    fn remove_dir(&self) -> Result<Applied, Refusal> {
        self.existing()?;
        if !self.state.below(self.key()).is_empty() {
            return Err(Refusal::NotEmpty);
        }
        Ok(self.removed())
    }

    /// Whether the file is the one that was meant. What the answer tells of its index was learnt
    /// before.
    fn check_conditions(&self, file: &Node) -> Result<(), Refusal> {
        let other_value =
            self.operation.prev_value.is_some() && self.operation.prev_value != file.value;
        let other_index = match (self.operation.prev_index, file.modified) {
            (Some(wanted), Index::Known(index)) => wanted != index,
            // Nothing has shown it yet, so nobody can have asked for it.
            (Some(_), Index::Of(_)) => true,
            (None, _) => false,
        };
        if other_value || other_index { Err(Refusal::Differs) } else { Ok(()) }
    }

    fn value(&self) -> Option<String> {
        Some(self.operation.value.clone().unwrap_or_default())
    }

    fn put(
        &self,
        key: &str,
        value: Option<String>,
        created: Index,
        before: Option<Node>,
    ) -> Applied {
        let mut state = self.state.clone();
        let mut written = vec![key.to_owned()];
        for above in ancestors(key) {
            if !state.nodes.contains_key(above) {
                let dir =
                    Node { value: None, created: self.index, modified: self.index, expires: None };
                state.nodes.insert(above.to_owned(), dir);
                written.push(above.to_owned());
            }
        }
        let node = Node { value, created, modified: self.index, expires: self.expires };
        state.nodes.insert(key.to_owned(), node);
        Applied { state, key: key.to_owned(), written, before }
    }

    fn removed(&self) -> Applied {
        let mut state = self.state.clone();
        let mut written = state.below(self.key());
        written.push(self.key().to_owned());
        for key in &written {
            state.nodes.remove(key);
        }
        Applied { state, key: self.key().to_owned(), written, before: self.found().cloned() }
    }
}
