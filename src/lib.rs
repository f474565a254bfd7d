//! etcdynamo: an etcd v2 server whose memory is an Amazon DynamoDB table.

pub mod clock;
pub mod keyspace;
pub mod store;
pub mod v2;
