//! A black box suite for etcd v2 servers.
