//! The rules of v2 for users and roles: who may do what; and in [`administration`], how that is changed.
//!
//! They are etcd's v2auth/auth.go and v2http/client_auth.go. Pure: passwords come as hashes, and are
//! compared elsewhere. A list that was never given is `None` (etcd's `null`), and stays apart from
//! an empty one, as an answer shows the difference.

mod administration;

use std::collections::BTreeMap;
use std::fmt;

pub use administration::{AccountsChange, Administered, Administration, PutRole, PutUser};
use serde::{Deserialize, Serialize};

use super::change::Record;
use super::item::WriteId;

/// The role that may do everything, and the user that has it by itself.
pub const ROOT: &str = "root";

/// The role of whoever shows no credentials.
pub const GUEST: &str = "guest";

/// How many changes are remembered, by which one whose reply was lost is known again.
const RECENT_CHANGES: usize = 16;

/// A password as it is kept: a bcrypt hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub String);

/// Hashes are never logged.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<a hash>")
    }
}

/// Somebody who can prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: PasswordHash,
    /// The names of the roles, whether or not these exist.
    pub roles: Option<Vec<String>>,
}

/// What a user who has it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The name.
    pub name: String,
    /// Where it allows what.
    pub permissions: Permissions,
}

/// Patterns of keys: one that ends in `*` is a prefix, any other is one key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// What may be read.
    pub read: Option<Vec<String>>,
    /// What may be written.
    pub write: Option<Vec<String>>,
}

/// What a request of `/v2/keys` needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    /// The path after `/v2/keys` as it was sent: a slash at its end counts.
    pub path: &'a [u8],
    /// Whether it writes.
    pub writes: bool,
    /// Whether it is about all that is below.
    pub recursive: bool,
}

/// Every user and role, and whether they count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Whether requests need permissions.
    pub enabled: bool,
    /// How many changes came before.
    pub changes: u64,
    /// The last of them, the latest first.
    pub recent: Vec<WriteId>,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By name, without the root role.
    pub roles: BTreeMap<String, Role>,
}

/// Why an administrator's request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// The HTTP status.
    pub status: u16,
    /// etcd's words.
    pub message: String,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AuthError {}

fn refused(status: u16, what: impl fmt::Display) -> AuthError {
    AuthError { status, message: format!("auth: {what}") }
}

impl Permissions {
    fn all() -> Permissions {
        let all = Some(vec!["/*".to_owned()]);
        Permissions { read: all.clone(), write: all }
    }

    /// Whether it names no key.
    pub fn is_empty(&self) -> bool {
        let names = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        !names(&self.read) && !names(&self.write)
    }

    fn allow(&self, need: Need<'_>) -> bool {
        let patterns = if need.writes { &self.write } else { &self.read };
        let covers = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => need.path.starts_with(prefix.as_bytes()),
            None => !need.recursive && !pattern.is_empty() && need.path == pattern.as_bytes(),
        };
        patterns.iter().flatten().any(covers)
    }
}

impl Role {
    /// The role that may do everything.
    pub fn root() -> Role {
        Role { name: ROOT.to_owned(), permissions: Permissions::all() }
    }

    fn allows(&self, need: Need<'_>) -> bool {
        self.name == ROOT || self.permissions.allow(need)
    }
}

impl User {
    /// Whether it may administer.
    pub fn is_root(&self) -> bool {
        self.roles.iter().flatten().any(|role| role == ROOT)
    }
}

/// The user root has the role root by itself.
fn with_root(name: &str, roles: Option<Vec<String>>) -> Option<Vec<String>> {
    let has_it = roles.iter().flatten().any(|role| role == ROOT);
    if name != ROOT || has_it {
        return roles;
    }
    let mut roles = roles.unwrap_or_default();
    roles.push(ROOT.to_owned());
    Some(roles)
}

impl Accounts {
    /// The role of this name.
    pub fn role(&self, name: &str) -> Result<Role, AuthError> {
        if name == ROOT {
            return Ok(Role::root());
        }
        let missing = || refused(404, format_args!("Role {name} does not exist."));
        self.roles.get(name).cloned().ok_or_else(missing)
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Result<&User, AuthError> {
        self.users.get(name).ok_or_else(|| no_such_user(name))
    }

    /// Whether this user's roles allow it.
    pub fn allows(&self, user: &User, need: Need<'_>) -> bool {
        let roles = user.roles.iter().flatten().filter_map(|name| self.role(name).ok());
        roles.into_iter().any(|role| role.allows(need))
    }

    /// Whether it is allowed to everybody. As in etcd, it makes no difference whether it is
    /// recursive.
    pub fn allows_guests(&self, need: Need<'_>) -> bool {
        let need = Need { recursive: false, ..need };
        self.role(GUEST).is_ok_and(|guest| guest.allows(need))
    }

    /// Whether a change that was planned on `before` happened; `None`: too much happened since.
    pub fn tell(&self, before: &Accounts, id: WriteId) -> Option<bool> {
        if self.recent.contains(&id) {
            return Some(true);
        }
        let since = self.changes.saturating_sub(before.changes);
        (since < RECENT_CHANGES as u64).then_some(false)
    }

    /// The record of whether they count, which every change replaces.
    pub fn record(&self) -> Record {
        Record::Auth { change: self.changes, enabled: self.enabled, recent: self.recent.clone() }
    }

    /// The accounts that these records hold.
    pub fn from_records(records: impl IntoIterator<Item = Record>) -> Accounts {
        let mut accounts = Accounts::default();
        for record in records {
            match record {
                Record::Auth { change, enabled, recent } => {
                    (accounts.changes, accounts.enabled, accounts.recent) =
                        (change, enabled, recent);
                }
                Record::User(user) => {
                    let roles = with_root(&user.name, user.roles);
                    accounts.users.insert(user.name.clone(), User { roles, ..user });
                }
                Record::Role(role) => {
                    accounts.roles.insert(role.name.clone(), role);
                }
                Record::Identity { .. }
                | Record::Gateway { .. }
                | Record::DirTtl { .. }
                | Record::Drain { .. } => {}
            }
        }
        accounts
    }
}

fn no_such_user(name: &str) -> AuthError {
    refused(404, format_args!("User {name} does not exist."))
}

#[cfg(test)]
mod tests;
