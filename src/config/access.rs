//! Who may do what, as far as flags say it: a gateway that only reads, and doors that anybody may
//! go through.
//!
//! Not here: users and roles, which are kept with the tree.

use std::net::SocketAddr;

use clap::Args;

use super::{Config, Mistakes, Scheme, StoreConfig, WatchConfig, WatchKind};

#[derive(Debug, Args)]
pub(super) struct AccessFlags {
    /// Never write to the table: serve reads and watches of what other gateways write, and refuse
    /// writes. The table and the keyspace must be there.
    #[arg(long, env = "ETCDYNAMO_READ_ONLY")]
    read_only: bool,

    /// Serve whoever reaches a plain http URL of --listen-client-urls beyond this machine, though
    /// users and roles are off (`etcdctl auth enable`). Where only friends can: a private network
    #[arg(long, env = "ETCDYNAMO_ALLOW_INSECURE_LISTEN")]
    pub(super) allow_insecure_listen: bool,
}

impl Config {
    /// The URLs of clients that are beyond this machine and have no TLS, when these addresses are
    /// listened on, in the order of `listen`. They need users and roles, or to be allowed.
    pub fn insecure_urls(&self, bound: &[SocketAddr]) -> Vec<String> {
        let urls = self.listen.iter().zip(bound).filter(|(url, address)| {
            url.scheme == Scheme::Http && !address.ip().to_canonical().is_loopback()
        });
        urls.map(|(url, address)| url.scheme.url(*address)).collect()
    }
}

impl AccessFlags {
    /// Whether it only reads, and what that contradicts.
    pub(super) fn meaning(
        &self,
        store: &StoreConfig,
        watch: &WatchConfig,
        mistakes: &mut Mistakes,
    ) -> bool {
        if !self.read_only {
            return false;
        }
        match store {
            // Its data directory belongs to one process, so nobody could write beside it: what it
            // served would never change, and never expire.
            StoreConfig::Embedded { .. } => {
                let what = "belongs to DynamoDB: the embedded store is one server's, and that one \
                            writes";
                mistakes.add("read-only", what);
            }
            StoreConfig::DynamoDb(table) => {
                if table.create_table {
                    mistakes.add("create-table", "writes, and --read-only never does");
                }
                if watch.kind == WatchKind::Local {
                    let what = "local tells of this gateway's own writes, and with --read-only \
                                there are none; it has streams and off";
                    mistakes.add("watch", what);
                }
            }
        }
        true
    }
}
