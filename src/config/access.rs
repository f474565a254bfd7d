//! The flag that makes a gateway one that only reads, and what it does not go with.

use clap::Args;

use super::{Mistakes, StoreConfig, WatchConfig, WatchKind};

#[derive(Debug, Args)]
pub(super) struct AccessFlags {
    /// Never write to the table: serve reads and watches of what other gateways write, and refuse
    /// writes. The table and the keyspace must be there.
    #[arg(long, env = "ETCDYNAMO_READ_ONLY")]
    read_only: bool,
}

impl AccessFlags {
    /// Whether it only reads, and what that contradicts.
    pub(super) fn meaning(
        self,
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
