//! The flags of `etcdynamo import`.
//!
//! Not here: the importing ([`crate::migrate`]).

use std::path::PathBuf;

use clap::Args;

use super::Mistakes;
use super::client::{self, ClientConfig, ClientFlags};
use super::migrate::ScopeFlags;
use super::typed::Typed;
use crate::migrate::Scope;
use crate::v2client::Endpoints;

/// How many directories are written to at once.
const CONCURRENCY: usize = 16;

#[derive(Debug, Args)]
pub(super) struct ImportFlags {
    /// Where the tree is: the URLs of the members of a cluster, comma-separated, or a file that
    /// `export` wrote.
    #[arg(long, env = "ETCDYNAMO_FROM", hide_env_values = true, value_name = "URLS|FILE")]
    from: String,

    /// Where it is to be: the URLs of the members of a cluster, comma-separated.
    #[arg(long, env = "ETCDYNAMO_TO", hide_env_values = true, value_name = "URLS")]
    to: String,

    #[command(flatten)]
    scope: ScopeFlags,

    /// The target may hold nodes already: write those that are missing or differ. Without --follow
    /// nothing is removed.
    #[arg(long, env = "ETCDYNAMO_RESUME")]
    resume: bool,

    /// Go on with what changes at the source, until SIGINT or SIGTERM. The target becomes a mirror:
    /// what the source does not have is removed there.
    #[arg(long, env = "ETCDYNAMO_FOLLOW")]
    follow: bool,

    /// How many directories are written to at once. The nodes of one directory are written one
    /// after the other, to keep their order.
    #[arg(long, env = "ETCDYNAMO_CONCURRENCY", value_name = "COUNT", default_value = "16")]
    concurrency: Typed<usize>,

    #[command(flatten)]
    client: ClientFlags,
}

/// Where a tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportFrom {
    /// A file that `export` wrote.
    File(PathBuf),
    /// A server.
    Server {
        /// Where it is.
        endpoints: Endpoints,
        /// Which part of its tree.
        scope: Scope,
    },
}

/// What to do beside importing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// Into a target that has none of it.
    Fresh,
    /// Into a target that may have some of it.
    Resume,
    /// The target becomes a mirror of the source, and stays one.
    Follow {
        /// Whether the target may hold nodes at first.
        resume: bool,
    },
}

/// What is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportConfig {
    /// From where.
    pub from: ImportFrom,
    /// To where.
    pub to: Endpoints,
    /// How.
    pub mode: ImportMode,
    /// How many directories are written to at once.
    pub concurrency: usize,
    /// How servers are called.
    pub client: ClientConfig,
}

impl ImportFlags {
    pub(super) fn meaning(self) -> Result<ImportConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let to = client::endpoints(&self.to, "to", &mut mistakes);
        let from = if client::is_url(&self.from) {
            let endpoints = client::endpoints(&self.from, "from", &mut mistakes);
            let scope = self.scope.meaning(&mut mistakes).unwrap_or_else(Scope::everything);
            endpoints.map(|endpoints| ImportFrom::Server { endpoints, scope })
        } else {
            if self.scope.meaning(&mut mistakes).is_some() {
                mistakes.add("prefix", "is for a server: of a file all is imported");
            }
            if self.follow {
                mistakes.add("follow", "needs a server to follow, and --from is a file");
            }
            Some(ImportFrom::File(PathBuf::from(self.from)))
        };
        let concurrency = self.concurrency.or(CONCURRENCY, "concurrency", &mut mistakes);
        if concurrency == 0 {
            mistakes.add("concurrency", "must be more than 0");
        }
        let mode = match (self.follow, self.resume) {
            (false, false) => ImportMode::Fresh,
            (false, true) => ImportMode::Resume,
            (true, resume) => ImportMode::Follow { resume },
        };
        let client = self.client.meaning(&mut mistakes);
        match (from, to) {
            (Some(from), Some(to)) if mistakes.0.is_empty() => {
                Ok(ImportConfig { from, to, mode, concurrency, client })
            }
            _ => Err(mistakes),
        }
    }
}
