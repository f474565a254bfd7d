//! Users and roles: kept in the store, known to every gateway, asked by every request.
//!
//! A change is planned on what is in the store, and committed on the condition that it is still the
//! next one ([`Record::Auth`] carries its number), so no two administrators undo each other's work. The
//! gateway that made it knows at once; the others see the number at their next sweep, in seconds,
//! for which they read nothing more than they do anyway. Only while a sweep has its hands full they
//! look for it apart.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::passwords::{CannotHash, Passwords};
use super::settle::{Settled, pause, settle};
use super::{Keyspace, store_failed};
use crate::store::{Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{
    Accounts, Administered, Administration, AuthError, Commit, Error, ErrorCode, Need, Op, Record,
    RecordKind, User, WriteId,
};

/// How often a change is planned anew because another one came first.
const ATTEMPTS: u32 = 20;

/// After how long without a look at the number one is taken apart: longer than a sweep that has
/// nothing to do takes to come again.
const LOOK_INTERVAL: Duration = Duration::from_secs(7);

/// Who a request says it is from.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// It does not say.
    None,
    /// It says so in a way that nobody understands.
    Malformed,
    /// By a name and a password.
    Password {
        /// The user's name.
        name: String,
        /// What was sent as the password.
        password: String,
    },
    /// By a client's certificate that was verified: its common name.
    Certificate(String),
}

impl Credentials {
    /// The name of the user that it says it is.
    pub fn user(&self) -> Option<&str> {
        match self {
            Credentials::None | Credentials::Malformed => None,
            Credentials::Password { name, .. } | Credentials::Certificate(name) => Some(name),
        }
    }
}

/// Why an administrator's request was not carried out.
#[derive(Debug)]
pub enum NotAdministered {
    /// The rules refuse it.
    Refused(AuthError),
    /// It could not be done.
    Failed(Error),
}

impl From<AuthError> for NotAdministered {
    fn from(error: AuthError) -> NotAdministered {
        NotAdministered::Refused(error)
    }
}

impl From<Error> for NotAdministered {
    fn from(error: Error) -> NotAdministered {
        NotAdministered::Failed(error)
    }
}

/// What this gateway knows of users and roles.
#[derive(Debug)]
pub(super) struct Guard {
    known: RwLock<Arc<Accounts>>,
    looked_at: Mutex<Instant>,
    passwords: Passwords,
}

impl Guard {
    pub(super) fn new() -> Result<Guard, CannotHash> {
        let looked_at = Mutex::new(Instant::now());
        Ok(Guard { known: RwLock::default(), looked_at, passwords: Passwords::new()? })
    }

    fn known(&self) -> Arc<Accounts> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn looked(&self) {
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_look(&self) -> Duration {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Takes over what was read or written, unless more is known already.
    fn learn(&self, accounts: Accounts) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.changes < known.changes {
            return;
        }
        if accounts.enabled != known.enabled {
            tracing::warn!(enabled = accounts.enabled, "users and roles were turned on or off");
        }
        *known = Arc::new(accounts);
    }

    /// The user who shows these credentials.
    async fn user<'a>(&self, accounts: &'a Accounts, who: &Credentials) -> Option<&'a User> {
        match who {
            Credentials::None | Credentials::Malformed => None,
            Credentials::Certificate(name) => accounts.user(name).ok(),
            Credentials::Password { name, password } => {
                let user = accounts.user(name).ok();
                let held = user.map(|user| &user.password);
                let is_right = self.passwords.matches(held, password).await;
                user.filter(|_| is_right)
            }
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// Whether users have to show who they are, as far as this gateway knows.
    pub fn has_auth(&self) -> bool {
        self.guard.known().enabled
    }

    /// Whether a request of `/v2/keys` may go through.
    pub(super) async fn allows(&self, who: &Credentials, need: Need<'_>) -> bool {
        let accounts = self.guard.known();
        if !accounts.enabled {
            return true;
        }
        match who {
            Credentials::None => accounts.allows_guests(need),
            Credentials::Malformed | Credentials::Password { .. } | Credentials::Certificate(_) => {
                let user = self.guard.user(&accounts, who).await;
                user.is_some_and(|user| accounts.allows(user, need))
            }
        }
    }

    /// Whether a request may see and change users and roles.
    pub(super) async fn allows_administration(&self, who: &Credentials) -> bool {
        let accounts = self.guard.known();
        if !accounts.enabled {
            return true;
        }
        self.guard.user(&accounts, who).await.is_some_and(User::is_root)
    }

    /// Users and roles as they are in the store.
    pub(super) async fn read_accounts(&self) -> Result<Accounts, Error> {
        let read = |kind| async move {
            let records = Spent::Other.pays(self.store.records(kind)).await;
            records.map_err(|error| store_failed(&error))
        };
        // The number first: what is read after it is not older.
        let mut records = read(RecordKind::Auth).await?;
        records.extend(read(RecordKind::Accounts).await?);
        let accounts = Accounts::from_records(records);
        self.guard.learn(accounts.clone());
        Ok(accounts)
    }

    /// Reads users and roles where somebody changed them: there were so many changes.
    pub(super) async fn follow_accounts(&self, changes: u64) -> Result<(), Error> {
        self.guard.looked();
        if changes > self.guard.known().changes {
            self.read_accounts().await?;
        }
        Ok(())
    }

    /// Looks for changes while the sweep does not, as it may be busy with a large removal, for ever.
    pub(super) async fn keep_following_accounts(&self) {
        loop {
            sleep(LOOK_INTERVAL.saturating_sub(self.guard.last_look())).await;
            if self.guard.last_look() < LOOK_INTERVAL {
                continue;
            }
            self.guard.looked();
            let records = Spent::Sweep.pays(self.store.records(RecordKind::Auth)).await;
            let looked = match records.map_err(|error| store_failed(&error)) {
                Ok(records) => self.follow_accounts(Accounts::from_records(records).changes).await,
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "changes of users and roles could not be looked for");
            }
        }
    }

    /// Carries out what an administrator asks for. The password is that of a user who is put.
    pub(super) async fn administrate(
        &self,
        mut asked: Administration,
        password: Option<String>,
    ) -> Result<Administered, NotAdministered> {
        self.refuse_administration()?;
        if let (Administration::PutUser(user), Some(password)) = (&mut asked, password) {
            let hash = self.guard.passwords.hash(password).await.map_err(|CannotHash| {
                Error::new(ErrorCode::RaftInternal, "the password cannot be hashed")
            })?;
            user.password = Some(hash);
        }
        for attempt in 0..ATTEMPTS {
            let before = self.read_accounts().await?;
            let id = self.write_id(self.fresh_index())?;
            let change = before.plan(&asked, id)?;
            if self.commit_accounts(&before, &change.after, id, change.put, change.drop).await? {
                tracing::info!(change = change.after.changes, "users and roles were changed");
                self.guard.learn(change.after);
                return Ok(change.answer);
            }
            pause(attempt).await;
        }
        Err(Error::new(ErrorCode::RaftInternal, "etcdserver: too many requests").into())
    }

    /// Whether the change happened; if not, another one came first.
    async fn commit_accounts(
        &self,
        before: &Accounts,
        after: &Accounts,
        id: WriteId,
        put: Vec<Record>,
        drop: Option<String>,
    ) -> Result<bool, Error> {
        let mut ops = vec![Op::AddRecord(after.record())];
        // Of the first change there is none before.
        ops.extend((before.changes > 0).then(|| Op::DropSameRecord(before.record())));
        ops.extend(put.into_iter().map(Op::PutRecord));
        ops.extend(drop.map(Op::DropRecord));
        match settle(&*self.store, &Commit { id, ops }).await {
            Ok(Settled::Applied(_) | Settled::HadApplied(_)) => Ok(true),
            // Records do not tell whose write it was that they refused, but their own list does.
            Ok(Settled::Refused(_)) => {
                let now = self.read_accounts().await?;
                now.tell(before, id).ok_or_else(|| {
                    store_failed(&StoreError::Indeterminate("too many changes since".to_owned()))
                })
            }
            Err(failed) => Err(store_failed(&failed.error)),
        }
    }
}
