//! A black box suite for servers of the etcd v2 API: it knows a URL and nothing else.
//!
//! The suite is calibrated on a real etcd 3.4 first; only what is green there is a demand on
//! another server. The parts:
//!
//! - [`http`]: requests byte for byte as a test wants them, answers byte for byte as they came;
//! - [`json`]: JSON that keeps the order of its fields, because the wire has one;
//! - [`server`]: starts, kills and restarts a target, with [`engine`] and [`process`] below it;
//! - [`command`]: runs etcdynamo's commands to their end;
//! - [`lambda`]: the server's program as a function of AWS Lambda, and what stands in for Lambda;
//! - [`relay`]: a place in front of a server that comes and goes;
//! - [`secure`]: the same under TLS, with certificates that are made for the occasion;
//! - [`script`]: exchanges as text, the form most cases are written in;
//! - [`differential`]: the same random requests to etcd and to a target, compared field for field.
//! - [`dynamodb`]: an endpoint that misbehaves in front of an engine, and the raw table behind it;
//! - [`proof`]: several gateways on one table under concurrency, faults and crashes, and what they promise.
//!
//! It is not a client library, and it depends on nothing in the server's own crate. Its
//! invariant: a target that cannot be started is a failure, never a skip.

pub mod command;
pub mod differential;
pub mod dynamodb;
pub mod engine;
pub mod http;
pub mod json;
pub mod lambda;
pub mod process;
pub mod proof;
pub mod relay;
pub mod script;
pub mod secure;
pub mod server;
pub mod timestamp;
pub mod wait;
