//! What an administrator's request does to users and roles: a change of records, or etcd's refusal.

use std::collections::BTreeSet;

use super::{
    Accounts, AuthError, GUEST, PasswordHash, Permissions, RECENT_CHANGES, ROOT, Role, User,
    no_such_user, refused, with_root,
};
use crate::v2::change::Record;
use crate::v2::item::WriteId;

/// The longest name of a user or a role, in bytes.
pub(super) const NAME_BYTES: usize = 256;

/// The most that a user's roles, or a role's patterns, may measure together, in bytes.
pub(super) const LIST_BYTES: usize = 128 << 10;

/// What an administrator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// Let permissions count.
    Enable,
    /// Let them count no more.
    Disable,
    /// Make or change a user.
    PutUser(PutUser),
    /// Remove the user of this name.
    DeleteUser(String),
    /// Make or change a role.
    PutRole(PutRole),
    /// Remove the role of this name.
    DeleteRole(String),
}

/// A user as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutUser {
    /// The name.
    pub name: String,
    /// The new password; none: it stays.
    pub password: Option<PasswordHash>,
    /// The roles of a new user.
    pub roles: Option<Vec<String>>,
    /// Roles that an existing user gets.
    pub grant: Vec<String>,
    /// Roles that it loses.
    pub revoke: Vec<String>,
}

/// A role as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRole {
    /// The name.
    pub name: String,
    /// The permissions of a new role.
    pub permissions: Permissions,
    /// Permissions that an existing role gets.
    pub grant: Option<Permissions>,
    /// Permissions that it loses.
    pub revoke: Option<Permissions>,
}

/// What an administrator is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administered {
    /// Nothing but that it was done.
    Done,
    /// The user as it is now.
    User {
        /// The name.
        name: String,
        /// The roles.
        roles: Option<Vec<String>>,
        /// Whether it counts as made just now.
        is_created: bool,
    },
    /// The role as it is now.
    Role {
        /// The role.
        role: Role,
        /// Whether it was made just now.
        is_created: bool,
    },
}

/// What is to be written, and what is answered once it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountsChange {
    /// The accounts after it.
    pub after: Accounts,
    /// The records to write.
    pub put: Vec<Record>,
    /// The name of the record to remove.
    pub drop: Option<String>,
    /// The answer.
    pub answer: Administered,
}

impl Permissions {
    fn granted(&self, more: &Permissions) -> Result<Permissions, AuthError> {
        Ok(Permissions {
            read: Some(added(&self.read, &more.read, "read")?),
            write: Some(added(&self.write, &more.write, "write")?),
        })
    }

    fn revoked(&self, less: &Permissions) -> Permissions {
        let without = |list: &Option<Vec<String>>, less: &Option<Vec<String>>| {
            let mut left: BTreeSet<&String> = list.iter().flatten().collect();
            less.iter().flatten().for_each(|pattern| {
                left.remove(pattern);
            });
            Some(left.into_iter().cloned().collect())
        };
        Permissions {
            read: without(&self.read, &less.read),
            write: without(&self.write, &less.write),
        }
    }

    fn bytes(&self) -> usize {
        let lists = self.read.iter().chain(&self.write).flatten();
        lists.map(String::len).sum()
    }
}

fn added(
    list: &Option<Vec<String>>,
    more: &Option<Vec<String>>,
    what: &str,
) -> Result<Vec<String>, AuthError> {
    let mut patterns: BTreeSet<String> = list.iter().flatten().cloned().collect();
    for pattern in more.iter().flatten() {
        if !patterns.insert(pattern.clone()) {
            let what = format!("Granting duplicate {what} permission {pattern}");
            return Err(refused(409, what));
        }
    }
    Ok(patterns.into_iter().collect())
}

impl Accounts {
    /// Plans what an administrator asks for, as the change of this id.
    pub fn plan(&self, asked: &Administration, id: WriteId) -> Result<AccountsChange, AuthError> {
        let mut change = match asked {
            Administration::Enable => self.enable()?,
            Administration::Disable if !self.enabled => {
                return Err(refused(409, "already disabled"));
            }
            Administration::Disable => {
                let after = Accounts { enabled: false, ..self.clone() };
                let answer = Administered::Done;
                AccountsChange { after, put: Vec::new(), drop: None, answer }
            }
            Administration::PutUser(sent) => self.put_user(sent)?,
            Administration::DeleteUser(name) => self.delete_user(name)?,
            Administration::PutRole(sent) => self.put_role(sent)?,
            Administration::DeleteRole(name) => self.delete_role(name)?,
        };
        change.after.changes = self.changes + 1;
        change.after.recent.insert(0, id);
        change.after.recent.truncate(RECENT_CHANGES);
        Ok(change)
    }

    fn enable(&self) -> Result<AccountsChange, AuthError> {
        if self.enabled {
            return Err(refused(409, "already enabled"));
        }
        if !self.users.contains_key(ROOT) {
            return Err(refused(409, "No root user available, please create one"));
        }
        let mut after = Accounts { enabled: true, ..self.clone() };
        let mut put = Vec::new();
        if !self.roles.contains_key(GUEST) {
            let guest = Role { name: GUEST.to_owned(), permissions: Permissions::all() };
            put.push(Record::Role(guest.clone()));
            after.roles.insert(guest.name.clone(), guest);
        }
        Ok(AccountsChange { after, put, drop: None, answer: Administered::Done })
    }

    fn put_user(&self, sent: &PutUser) -> Result<AccountsChange, AuthError> {
        let changes_roles = !sent.grant.is_empty() || !sent.revoke.is_empty();
        let names_roles = sent.roles.as_ref().is_some_and(|roles| !roles.is_empty());
        match self.users.get(&sent.name) {
            _ if changes_roles && names_roles => {
                let message = "User JSON contains both roles and grant/revoke".to_owned();
                Err(AuthError { status: 400, message })
            }
            Some(old) if changes_roles || !names_roles => self.update_user(old, sent),
            None if changes_roles => Err(no_such_user(&sent.name)),
            // etcd says 200 where roles were sent with a new user.
            Some(_) | None => self.create_user(sent, !names_roles),
        }
    }

    fn create_user(&self, sent: &PutUser, is_created: bool) -> Result<AccountsChange, AuthError> {
        let name = &sent.name;
        let Some(password) = sent.password.clone() else {
            let what = format!("Cannot create user {name} with an empty password");
            return Err(refused(400, what));
        };
        if self.users.contains_key(name) {
            return Err(refused(409, format_args!("User {name} already exists.")));
        }
        let roles = with_root(name, sent.roles.clone());
        self.with_user(User { name: name.clone(), password, roles }, is_created)
    }

    fn update_user(&self, old: &User, sent: &PutUser) -> Result<AccountsChange, AuthError> {
        let name = &old.name;
        let mut roles: BTreeSet<String> = old.roles.iter().flatten().cloned().collect();
        for role in &sent.grant {
            if !roles.insert(role.clone()) {
                let what = format!("Granting duplicate role {role} for user {name}");
                return Err(refused(409, what));
            }
        }
        for role in &sent.revoke {
            if !roles.remove(role) {
                let what = format!("Revoking ungranted role {role} for user {name}");
                return Err(refused(409, what));
            }
        }
        let password = sent.password.clone().unwrap_or_else(|| old.password.clone());
        let new = User { name: name.clone(), password, roles: Some(roles.into_iter().collect()) };
        if new == *old {
            let what = "User not updated. Use grant/revoke/password to update the user.";
            return Err(refused(400, what));
        }
        self.with_user(new, false)
    }

    fn with_user(&self, user: User, is_created: bool) -> Result<AccountsChange, AuthError> {
        let bytes = user.roles.iter().flatten().map(String::len).sum();
        check_size("user", &user.name, bytes)?;
        let (name, roles) = (user.name.clone(), user.roles.clone());
        let put = vec![Record::User(user.clone())];
        let mut after = self.clone();
        // Whatever is revoked, root stays root (auth.go, `attachRootRole`).
        let roles_kept = with_root(&name, user.roles.clone());
        after.users.insert(name.clone(), User { roles: roles_kept, ..user });
        let answer = Administered::User { name, roles, is_created };
        Ok(AccountsChange { after, put, drop: None, answer })
    }

    fn delete_user(&self, name: &str) -> Result<AccountsChange, AuthError> {
        if self.enabled && name == ROOT {
            return Err(refused(403, "Cannot delete root user while auth is enabled."));
        }
        let mut after = self.clone();
        let Some(user) = after.users.remove(name) else {
            return Err(refused(404, format_args!("User {name} does not exist")));
        };
        let drop = Some(Record::User(user).name());
        Ok(AccountsChange { after, put: Vec::new(), drop, answer: Administered::Done })
    }

    fn put_role(&self, sent: &PutRole) -> Result<AccountsChange, AuthError> {
        let is_some = |change: &Option<Permissions>| change.as_ref().is_some_and(|c| !c.is_empty());
        let changes = is_some(&sent.grant) || is_some(&sent.revoke);
        if changes && !sent.permissions.is_empty() {
            let message = "Role JSON contains both permissions and grant/revoke".to_owned();
            return Err(AuthError { status: 400, message });
        }
        not_the_root_role(&sent.name)?;
        let name = sent.name.clone();
        if !changes {
            if self.roles.contains_key(&name) {
                return Err(refused(409, format_args!("Role {name} already exists.")));
            }
            return self.with_role(Role { name, permissions: sent.permissions.clone() }, true);
        }
        let old = self.role(&name)?;
        let mut permissions = old.permissions.clone();
        if let Some(grant) = &sent.grant {
            permissions = permissions.granted(grant)?;
        }
        if let Some(revoke) = &sent.revoke {
            permissions = permissions.revoked(revoke);
        }
        if permissions == old.permissions {
            let what = "Role not updated. Use grant/revoke to update the role.";
            return Err(refused(400, what));
        }
        self.with_role(Role { name, permissions }, false)
    }

    fn with_role(&self, role: Role, is_created: bool) -> Result<AccountsChange, AuthError> {
        check_size("role", &role.name, role.permissions.bytes())?;
        let mut after = self.clone();
        after.roles.insert(role.name.clone(), role.clone());
        let put = vec![Record::Role(role.clone())];
        let answer = Administered::Role { role, is_created };
        Ok(AccountsChange { after, put, drop: None, answer })
    }

    fn delete_role(&self, name: &str) -> Result<AccountsChange, AuthError> {
        not_the_root_role(name)?;
        let mut after = self.clone();
        let Some(role) = after.roles.remove(name) else {
            return Err(refused(404, format_args!("Role {name} doesn't exist.")));
        };
        let drop = Some(Record::Role(role).name());
        Ok(AccountsChange { after, put: Vec::new(), drop, answer: Administered::Done })
    }
}

fn not_the_root_role(name: &str) -> Result<(), AuthError> {
    if name == ROOT {
        return Err(refused(403, format_args!("Cannot modify role {name}: is root role.")));
    }
    Ok(())
}

/// What DynamoDB's limits leave room for, by a good margin.
fn check_size(what: &str, name: &str, list_bytes: usize) -> Result<(), AuthError> {
    if name.len() > NAME_BYTES || list_bytes > LIST_BYTES {
        let limits = format!("a name of {NAME_BYTES} bytes and a list of {LIST_BYTES} bytes");
        return Err(refused(400, format_args!("the {what} is too large: the limits are {limits}")));
    }
    Ok(())
}
