//! etcdynamo: an etcd v2 server whose memory is an Amazon DynamoDB table.

pub mod app;
pub mod clock;
pub mod config;
pub mod keyspace;
pub mod metrics;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod v2;
pub mod v2http;
