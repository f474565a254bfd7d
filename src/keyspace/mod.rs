//! The service: one tree, by the rules of [`crate::v2`], kept in a store.

use crate::v2::{Error, EtcdIndex, Event, Read, UnixMs, Write};

/// The answer to a request that went through.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What happened, or what was read.
    pub event: Event,
    /// The `X-Etcd-Index` of the answer.
    pub index: EtcdIndex,
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

    /// Whether the store answers. Bounded in time.
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
