//! The service: one tree, by the rules of [`crate::v2`], kept in a store.
//!
//! Reads are one or a few store calls. A write is planned, committed, and planned again with what
//! the commit found, until it applies or is refused; an outcome that is not known is found out by
//! sending the same commit again. Nothing here keeps state that matters: a gateway may stop at
//! any point, and another one finishes what was under way.

mod accounts;
mod drain;
mod empty;
mod expiry;
mod following;
mod gather;
mod gone;
mod health;
mod in_flight;
mod just_written;
mod neighbours;
mod open;
mod pace;
mod passwords;
mod read;
mod read_only;
mod retire;
mod room;
mod settle;
mod statistics;
mod subtree;
mod ttl_files;
mod turns;
mod waking;
mod watching;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

pub use accounts::{Credentials, NotAdministered};
pub use open::{Founded, OpenError, Presence, found, look};
pub use read_only::Access;
pub use retire::{NotRetired, Sign, retire};
pub use room::Room;
pub use waking::Intent;
pub use watching::Watching;

pub use crate::watch::Watcher;

use crate::clock::{IndexClock, TooFarAhead};
use crate::store::{Consistency, Limits, Store, StoreError};
use crate::units::Operation as Spent;
use crate::v2::{
    Accounts, Administered, Administration, Error, ErrorCode, EtcdIndex, Event, Item, Key, Need,
    Read, UnixMs, Watch, Write, WriteId,
};
use crate::watch::Hub;

use accounts::Guard;
use drain::Drain;
use following::Following;
use gather::Groups;
use gone::Gone;
use health::Health;
use in_flight::InFlight;
use neighbours::Neighbours;
use read_only::Number;
use room::Rooms;
use statistics::Counters;
use ttl_files::TtlFiles;
use turns::Turns;
use waking::Waking;
use watching::Lost;

/// The answer to a request that went through.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What happened, or what was read.
    pub event: Event,
    /// The `X-Etcd-Index` of the answer.
    pub index: EtcdIndex,
    /// What a large listing holds until it is sent.
    pub room: Option<Room>,
}

/// Who this cluster is. Kept with the data, the same for every gateway and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The `X-Etcd-Cluster-Id`.
    pub cluster_id: u64,
    /// The id of the one member that all gateways are.
    pub member_id: u64,
}

/// The largest things a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest value, in bytes.
    pub value_bytes: usize,
    /// What the limit is called, for the error that names it.
    pub name: &'static str,
}

/// What `/v2/stats/store` counts, in etcd's order and names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Reads.
    pub gets: Tally,
    /// PUTs without a condition.
    pub sets: Tally,
    /// DELETEs without a condition.
    pub deletes: Tally,
    /// PUTs with prevExist=true.
    pub updates: Tally,
    /// PUTs with prevExist=false, and POSTs.
    pub creates: Tally,
    /// PUTs with prevValue or prevIndex.
    pub compare_and_swaps: Tally,
    /// DELETEs with prevValue or prevIndex.
    pub compare_and_deletes: Tally,
    /// Nodes removed because their TTL ran out.
    pub expired: u64,
    /// Watchers that wait.
    pub watchers: u64,
}

/// How often something went well and how often it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often it went through.
    pub success: u64,
    /// How often it was refused.
    pub fail: u64,
}

/// What the HTTP side asks of a keyspace.
pub trait Keys: Send + Sync + 'static {
    /// Answers a read.
    fn read(&self, read: Read) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Carries out a write, to its end once begun: spawn it, so that a client which leaves does
    /// not cut it short.
    fn write(&self, write: Write) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Begins a watch. It goes on until it is dropped.
    fn watch(&self, watch: Watch) -> impl Future<Output = Result<Watching, Error>> + Send;

    /// Whether users' permissions let a request of `/v2/keys` through.
    fn allows(&self, who: &Credentials, need: Need<'_>) -> impl Future<Output = bool> + Send;

    /// Whether a request may see and change users and roles.
    fn allows_administration(&self, who: &Credentials) -> impl Future<Output = bool> + Send;

    /// Users and roles as they are in the store.
    fn accounts(&self) -> impl Future<Output = Result<Accounts, Error>> + Send;

    /// Carries out what an administrator asks for. The password is that of a user who is put.
    fn administrate(
        &self,
        asked: Administration,
        password: Option<String>,
    ) -> impl Future<Output = Result<Administered, NotAdministered>> + Send;

    /// Ends all watches, and those that are still to come at once.
    fn end_watches(&self);

    /// Makes up for what was missed while nothing ran beside requests, before one that intends this.
    fn catch_up(&self, intent: Intent) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether the store answers, as of a moment ago. Bounded in time, and in what it costs.
    fn healthy(&self) -> impl Future<Output = bool> + Send;

    /// The time, by the one clock that TTLs are counted with.
    fn now(&self) -> UnixMs;

    /// The current index.
    fn index(&self) -> EtcdIndex;

    /// Who this cluster is.
    fn identity(&self) -> Identity;

    /// The largest things a client may send.
    fn limits(&self) -> RequestLimits;

    /// What was done so far by this gateway.
    fn statistics(&self) -> Statistics;
}

/// How a keyspace behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What this gateway does with its store.
    pub access: Access,
    /// How fresh reads are which do not say `quorum=true`.
    pub read_consistency: Consistency,
    /// How many reads and writes may be under way, in whatever they wait for. Watches are none.
    pub max_requests: usize,
    /// How long a request may take until it gets an error.
    pub request_timeout: Duration,
    /// How many events are kept for watches; `None`: watches are refused.
    pub watch_window: Option<usize>,
    /// Whose writes watchers are told of.
    pub watch_reach: Reach,
    /// Remove files when their TTL runs out, so that watchers hear of it, and look at the whole
    /// tree for such files at the start. Without it they are only invisible from then on.
    pub scan_for_ttl: bool,
}

/// Whose writes watchers are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of this gateway. It must be the only one, and refuses watches while it is not.
    Own,
    /// Those of all gateways, as the store feeds them.
    All,
}

/// One tree in a store.
#[derive(Debug)]
pub struct Keyspace<S> {
    store: Arc<S>,
    clock: Arc<IndexClock>,
    config: Config,
    identity: Identity,
    health: Health,
    gone: Gone,
    counters: Counters,
    gateway: Number,
    admission: Semaphore,
    rooms: Rooms,
    turns: Turns,
    drains: Turns,
    waking: Waking,
    in_flight: InFlight,
    groups: Arc<Groups>,
    sweep_wanted: Notify,
    ttl_files: TtlFiles,
    guard: Guard,
    hub: Option<Arc<Hub>>,
    lost: Lost,
    neighbours: Neighbours,
    following: Following,
    /// Watches are refused, as others write here too.
    refuses: AtomicBool,
    left_drains: Mutex<Vec<Drain>>,
}

impl<S: Store> Keys for Keyspace<S> {
    async fn read(&self, read: Read) -> Result<Answer, Error> {
        let floor = self.told_index();
        let operation = if read.recursive { Spent::GetRecursive } else { Spent::Get };
        let work = operation.pays(self.answer_read(&read, floor));
        let answer = match self.admission.try_acquire() {
            Ok(_admitted) => timeout(self.config.request_timeout, work)
                .await
                .unwrap_or_else(|_| Err(timed_out())),
            Err(_) => Err(too_many_requests()),
        };
        self.counters.count_read(answer.is_ok());
        answer
    }

    async fn write(&self, write: Write) -> Result<Answer, Error> {
        let floor = self.told_index();
        let work = statistics::paid_as(&write.operation).pays(self.carry_out(&write, floor));
        let answer = match self.admission.try_acquire() {
            Ok(_admitted) => timeout(self.config.request_timeout, work)
                .await
                .unwrap_or_else(|_| Err(timed_out())),
            Err(_) => Err(too_many_requests()),
        };
        self.counters.count_write(&write.operation, answer.is_ok());
        answer
    }

    async fn watch(&self, watch: Watch) -> Result<Watching, Error> {
        Spent::Watch.pays(self.begin_watch(&watch)).await
    }

    async fn allows(&self, who: &Credentials, need: Need<'_>) -> bool {
        // Where too many guess at once, nobody waits longer than for anything else.
        let asked = Keyspace::allows(self, who, need);
        timeout(self.config.request_timeout, asked).await.unwrap_or(false)
    }

    async fn allows_administration(&self, who: &Credentials) -> bool {
        let asked = Keyspace::allows_administration(self, who);
        timeout(self.config.request_timeout, asked).await.unwrap_or(false)
    }

    async fn accounts(&self) -> Result<Accounts, Error> {
        let read = self.read_accounts();
        timeout(self.config.request_timeout, read).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn administrate(
        &self,
        asked: Administration,
        password: Option<String>,
    ) -> Result<Administered, NotAdministered> {
        let done = Keyspace::administrate(self, asked, password);
        let done = timeout(self.config.request_timeout, done).await;
        done.unwrap_or_else(|_| Err(NotAdministered::Failed(timed_out())))
    }

    fn end_watches(&self) {
        if let Some(hub) = &self.hub {
            hub.end();
        }
    }

    async fn catch_up(&self, intent: Intent) -> Result<(), Error> {
        let missed = Keyspace::catch_up(self, intent);
        timeout(self.config.request_timeout, missed).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn healthy(&self) -> bool {
        self.is_healthy().await
    }

    fn now(&self) -> UnixMs {
        self.clock.now()
    }

    fn index(&self) -> EtcdIndex {
        self.told_index()
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn limits(&self) -> RequestLimits {
        let Limits { item_bytes, name, .. } = self.store.limits();
        RequestLimits { value_bytes: item_bytes, name }
    }

    fn statistics(&self) -> Statistics {
        let watchers = self.hub.as_ref().map_or(0, |hub| hub.waiting());
        Statistics { watchers, ..self.counters.snapshot() }
    }
}

impl<S> Keyspace<S> {
    /// The id of a commit that no client sees, of records alone: no answer carries its index, and
    /// none is held back while it is under way.
    fn unseen_id(&self) -> Result<WriteId, Error> {
        self.write_id(self.clock.begin().index())
    }

    /// An index above all that this gateway has issued or seen, which is settled at once.
    fn fresh_index(&self) -> EtcdIndex {
        let ticket = self.clock.begin();
        let index = ticket.index();
        ticket.happened();
        index
    }

    fn is_refusing(&self) -> bool {
        self.refuses.load(Ordering::Acquire)
    }

    /// Gives what was so before.
    fn set_refusing(&self, refuses: bool) -> bool {
        self.refuses.swap(refuses, Ordering::AcqRel)
    }

    /// Takes note of the indexes of an item that was read.
    fn observe(&self, item: &Item) -> Result<(), Error> {
        self.clock.observe(item.highest_index()).map_err(|ahead| too_far_ahead(&item.key, ahead))
    }

    /// Leaves a drain that its request could not finish to the sweep.
    fn leave_drain(&self, drain: Drain) {
        self.left_drains.lock().unwrap_or_else(PoisonError::into_inner).push(drain);
        self.sweep_wanted.notify_one();
    }
}

impl<S: Store> Keyspace<S> {
    /// Refuses a key that the store cannot hold, by the name of the limit.
    fn check_key(&self, key: &Key) -> Result<(), Error> {
        let Limits { key_bytes, name, .. } = self.store.limits();
        let bytes = key.escaped_len();
        if bytes > key_bytes {
            let cause =
                format!("key of {bytes} bytes is over the limit of {key_bytes} bytes of {name}");
            return Err(Error::new(ErrorCode::InvalidField, cause));
        }
        Ok(())
    }
}

/// etcd's words for a request that the cluster did not answer in time (code 300).
fn timed_out() -> Error {
    Error::new(ErrorCode::RaftInternal, "etcdserver: request timed out")
}

/// etcd's words for a request that comes on top of too many others (code 300).
fn too_many_requests() -> Error {
    Error::new(ErrorCode::RaftInternal, "etcdserver: too many requests")
}

fn too_far_ahead(key: &Key, ahead: TooFarAhead) -> Error {
    crate::metrics::index_refused();
    tracing::error!(%key, %ahead, "refused an index from the future");
    Error::new(ErrorCode::RaftInternal, ahead.to_string())
}

/// What a client is told of a store that has no answer. The detail is for the log.
fn store_failed(error: &StoreError) -> Error {
    match error {
        StoreError::TooLarge(why) => return Error::new(ErrorCode::InvalidField, why.as_str()),
        StoreError::Busy => return too_many_requests(),
        StoreError::Unavailable(_) | StoreError::Indeterminate(_) => {}
        // A person must look, whoever asked.
        StoreError::Corrupt(_) => tracing::error!(%error, "the store's data is damaged"),
    }
    let cause = match error {
        StoreError::Unavailable(_) => "the store is not available",
        StoreError::Indeterminate(_) => "the outcome of the request is not known",
        StoreError::Corrupt(_) => "the store's data cannot be read",
        StoreError::TooLarge(_) | StoreError::Busy => "the store does not take the request",
    };
    Error::new(ErrorCode::RaftInternal, cause).because(error.clone())
}

#[cfg(test)]
mod tests;
