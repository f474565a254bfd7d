//! Applies what the watches tell to the target.
//!
//! Invariant: an event is applied, or its subtree is read again, or the refusal is told. A server
//! that does not answer is waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::import::{
    Extra, Fatal, Imported, Refused, join, parsed, plan_with_mortals, spool, write,
};
use super::super::node::{is_below, is_hidden_below, parent};
use super::super::ttl::{Left, left, now};
use super::super::{Scope, TreeError};
use super::Follower;
use super::action::{Action, Written, action};
use super::fetch::{Message, Told};
use super::leases::Lease;
use crate::v2client::error::{KEY_NOT_FOUND, NODE_EXIST, NOT_DIR, NOT_FILE};
use crate::v2client::{Condition, Delete, Error, Get, Put, State};

/// How long is waited before a server is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why an action was not carried out.
enum Hindered {
    /// Both trees had differed, here and below.
    Differs(String),
    /// The target does not take it.
    Refused(Error),
    /// Nothing goes at the moment, or any more.
    Fatal(Fatal),
}

impl Follower<'_> {
    /// Applies something that a watch told.
    pub(super) async fn apply(&mut self, message: Message) -> Result<(), Fatal> {
        let root = self.source.roots().get(message.root).cloned().unwrap_or_default();
        match message.told {
            Told::Event(event) => {
                let index = event.node.modified_index;
                self.carry_out(action(*event, &root)).await?;
                self.applied += 1;
                self.index = self.index.max(index);
                Ok(())
            }
            // Another watch has missed the same, and all was read since.
            Told::Gap { since, .. } if self.whole_at.is_some_and(|at| at > since) => Ok(()),
            Told::Gap { why, .. } => {
                (self.pace.tell)(&format!("events are missing ({why}): reading all of it again"));
                self.whole_at = Some(Instant::now());
                self.reread(&self.source.scope.prefix).await?;
                (self.pace.tell)("both are equal again up to then");
                Ok(())
            }
            Told::Trouble(trouble) => {
                if self.trouble != trouble {
                    let what = match &trouble {
                        Some(what) => format!("the source cannot be watched: {what}"),
                        None => "the source is watched again".to_owned(),
                    };
                    (self.pace.tell)(&what);
                    self.trouble = trouble;
                }
                Ok(())
            }
            Told::Reached(_) => Ok(()),
        }
    }

    /// Reads a subtree of the source again and makes the target equal.
    pub(super) async fn reread(&mut self, key: &str) -> Result<(), Fatal> {
        self.carry_out(Action::Reread(key.to_owned())).await
    }

    /// Carries something out, however long that takes.
    async fn carry_out(&mut self, mut action: Action) -> Result<(), Fatal> {
        let mut is_told = false;
        loop {
            match self.attempt(&action).await {
                Ok(()) => break,
                Err(Hindered::Differs(key)) => action = Action::Reread(key),
                Err(Hindered::Refused(error)) => {
                    self.refused += 1;
                    let key = action.key().escape_debug();
                    (self.pace.tell)(&format!("{key}: the target does not take it: {error}"));
                    break;
                }
                Err(Hindered::Fatal(fatal)) if !fatal.may_pass() => return Err(fatal),
                Err(Hindered::Fatal(fatal)) => {
                    if !is_told {
                        is_told = true;
                        (self.pace.tell)(&format!("waiting: {fatal}"));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        if is_told {
            (self.pace.tell)("going on");
        }
        Ok(())
    }

    async fn attempt(&mut self, action: &Action) -> Result<(), Hindered> {
        match action {
            Action::Nothing => Ok(()),
            Action::Make(written) => self.put(written, Condition::None).await,
            Action::Change(written) => self.put(written, Condition::Exists).await,
            Action::RemoveFile(key) => {
                let removed = self.target.client().delete(&path(key)?, Delete::File).await;
                self.settle(key, removed).await?;
                self.leases.forget(key);
                Ok(())
            }
            Action::RemoveTree(key) => {
                let removed = self.target.client().delete(&path(key)?, Delete::Tree).await;
                self.settle(key, removed).await?;
                self.leases.forget_tree(key);
                // What is hidden there has a watch of its own, which may be ahead of this one.
                let source = self.source;
                for hidden in source.scope.hidden.iter().filter(|hidden| is_below(hidden, key)) {
                    self.mirror(hidden).await.map_err(Hindered::Fatal)?;
                }
                Ok(())
            }
            Action::Reread(key) => {
                let mirrored = self.mirror(key).await.map_err(Hindered::Fatal)?;
                for refusal in mirrored.refusals {
                    (self.pace.tell)(&refusal);
                }
                self.refused += mirrored.refused;
                match self.lacks_above(key).await? {
                    Some(above) => Err(Hindered::Differs(above)),
                    None => Ok(()),
                }
            }
        }
    }

    /// The first directory above a node that the target does not have. One that is gone from the
    /// source may have left the directories there that were made for it.
    async fn lacks_above(&self, key: &str) -> Result<Option<String>, Hindered> {
        let prefix = self.source.scope.prefix.as_str();
        if key == prefix || parent(key) == "/" {
            return Ok(None);
        }
        // A node that is not there, so that no listing comes with the answer.
        let probe = format!("{}/_etcdynamo", parent(key));
        let get = Get { quorum: true, ..Get::default() };
        match self.target.client().get(&path(&probe)?, get).await {
            Ok(_) => Ok(None),
            Err(Error::Refused(refusal))
                if matches!(refusal.error_code, KEY_NOT_FOUND | NOT_DIR) =>
            {
                let above = refusal.cause;
                let is_ours = above == prefix || is_below(&above, prefix);
                Ok((above != probe && is_ours).then_some(above))
            }
            Err(error) => match self.target.judge(error).await {
                Refused::Node(error) => Err(Hindered::Refused(error)),
                Refused::All(fatal) => Err(Hindered::Fatal(fatal)),
            },
        }
    }

    async fn put(&mut self, written: &Written, condition: Condition) -> Result<(), Hindered> {
        let Written { key, value, created, expiration } = written;
        if value.is_none() && self.leases.has_run_out(key, now()) {
            return Err(Hindered::Differs(key.clone()));
        }
        let ttl = match left(*expiration, now()) {
            Left::Forever => None,
            Left::Seconds(seconds) => Some(seconds),
            // It is over, or was refreshed since.
            Left::Nothing => return Err(Hindered::Differs(key.clone())),
        };
        let state = value.as_deref().map_or(State::Dir, State::File);
        let put = self.target.client().put(&path(key)?, Put { state, ttl, condition }).await;
        if let Err(error) = put {
            return Err(self.hindered(key, error).await);
        }
        let (created, is_dir) = (*created, value.is_none());
        let lease = expiration.map(|expiration| Lease { expiration, created, is_dir });
        self.leases.set(key, lease, now());
        Ok(())
    }

    /// A removal that found nothing is well.
    async fn settle<T>(&self, key: &str, removed: Result<T, Error>) -> Result<(), Hindered> {
        match removed {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some(KEY_NOT_FOUND | NOT_DIR)) => Ok(()),
            Err(error) => Err(self.hindered(key, error).await),
        }
    }

    /// What an error says of the trees.
    async fn hindered(&self, key: &str, error: Error) -> Hindered {
        let prefix = &self.source.scope.prefix;
        if let Error::Refused(refusal) = &error
            && matches!(refusal.error_code, KEY_NOT_FOUND | NOT_FILE | NOT_DIR | NODE_EXIST)
        {
            // The first directory that is missing, or the file that is in the way.
            let above = refusal.cause.as_str();
            let is_ours = is_below(key, above) && (above == prefix || is_below(above, prefix));
            return Hindered::Differs(if is_ours { above.to_owned() } else { key.to_owned() });
        }
        match self.target.judge(error).await {
            Refused::Node(error) => Hindered::Refused(error),
            Refused::All(fatal) => Hindered::Fatal(fatal),
        }
    }

    /// Makes a subtree of the target what it is at the source, removals included.
    pub(super) async fn mirror(&mut self, key: &str) -> Result<Imported, Fatal> {
        let scope = part_of(&self.source.scope, key);
        let spool = match spool(&self.source.client, &scope, self.pace.tell).await {
            Ok(spool) => spool,
            Err(Fatal::Source(TreeError::NotThere(_))) => {
                match self.target.remove_tree(key).await {
                    Ok(()) => self.leases.forget_tree(key),
                    Err(Refused::Node(error)) => return Err(Fatal::Target(error)),
                    Err(Refused::All(fatal)) => return Err(fatal),
                }
                return Ok(Imported::default());
            }
            Err(error) => return Err(error),
        };
        let (mut plan, mortals) = plan_with_mortals(&spool).await?;
        let joined = join(&mut plan, &spool, self.target, Extra::Go).await?;
        let written = write(&plan, &spool, self.target, &joined.remove, self.pace).await?;
        self.leases.forget_tree(key);
        self.lease(&mortals);
        self.index = self.index.max(plan.header().index);
        Ok(written)
    }
}

impl Action {
    /// The node that it is about.
    fn key(&self) -> &str {
        match self {
            Action::Make(written) | Action::Change(written) => &written.key,
            Action::RemoveFile(key) | Action::RemoveTree(key) | Action::Reread(key) => key,
            Action::Nothing => "",
        }
    }
}

/// A node with what is below it, hidden nodes as the whole has them.
fn part_of(whole: &Scope, key: &str) -> Scope {
    let is_part = |hidden: &&String| is_below(hidden, key) && is_hidden_below(hidden, key);
    let hidden = whole.hidden.iter().filter(is_part).cloned().collect();
    Scope { prefix: key.to_owned(), hidden }
}

fn path(key: &str) -> Result<crate::v2::Key, Hindered> {
    parsed(key).map_err(|refused| match refused {
        Refused::Node(error) => Hindered::Refused(error),
        Refused::All(fatal) => Hindered::Fatal(fatal),
    })
}
