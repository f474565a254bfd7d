//! etcdynamo: an etcd v2 server whose memory is an Amazon DynamoDB table.

pub mod clock;
pub mod keyspace;
pub mod metrics;
pub mod shutdown;
pub mod store;
pub mod v2;
pub mod v2http;
