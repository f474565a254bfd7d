//! What stands behind gateways on a table: an endpoint that misbehaves, and the table itself.
//!
//! - [`client`]: plain calls, and all items of a table;
//! - [`fault`]: what can go wrong between a gateway and DynamoDB, and how often it shall;
//! - [`policy`]: what the IAM policies of `deploy/iam` allow a gateway to do;
//! - [`plant`]: large trees, written straight into the table;
//! - [`proxy`]: the endpoint, in front of a real engine, that makes it go wrong;
//! - [`table`]: the raw table, decoded and held against what must be true of it.
//!
//! It speaks DynamoDB's wire protocol and knows nothing of etcd's. Its invariant: an endpoint
//! never tells what DynamoDB could not have told; it only chooses the worst that is allowed.

pub mod client;
pub mod fault;
pub mod plant;
pub mod policy;
pub mod proxy;
pub mod table;
