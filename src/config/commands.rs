//! What the program is asked for: to serve, which needs no word, or one of its commands.
//!
//! Not here: what a command does ([`crate::commands`]). Invariant: `etcdynamo --flags` serves, as
//! it always did; a command has flags of its own and takes none of the server's.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::administration::{KeyspaceFlags, TableFlags};
use super::health::HealthFlags;
use super::import::ImportFlags;
use super::migrate::{ExportFlags, InfoFlags, VerifyFlags};
use super::{
    Config, EXIT_USAGE, ExportConfig, Flags, HealthCheck, ImportConfig, InfoConfig,
    KeyspaceCommand, Mistakes, NoConfig, TableCommand, VerifyConfig,
};

/// An etcd v2 server whose memory is an Amazon DynamoDB table, or a local directory.
#[derive(Debug, Parser)]
#[command(name = "etcdynamo", version, args_conflicts_with_subcommands = true)]
pub(super) struct CommandLine {
    #[command(flatten)]
    flags: Flags,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the server on this machine whether it lives; exit with 0 if it does, else with 1
    Healthcheck(HealthFlags),
    /// Make, verify or delete a DynamoDB table
    Table(TableFlags),
    /// List, make, empty or delete the keyspaces of a DynamoDB table
    Keyspace(KeyspaceFlags),
    /// Write a server's tree into a file
    Export(Box<ExportFlags>),
    /// Compare two trees, of servers or in files of `export`; exit with 0 if they are equal, else
    /// with 1
    Verify(Box<VerifyFlags>),
    /// Tell what a server is and what it holds
    Info(Box<InfoFlags>),
    /// Copy a tree from a server of etcd v2, or from a file of `export`, to a server
    Import(Box<ImportFlags>),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To serve.
    Serve(Box<Config>),
    /// To ask a server on this machine whether it lives.
    HealthCheck(HealthCheck),
    /// Something about a table as a whole.
    Table(TableCommand),
    /// Something about the keyspaces of a table.
    Keyspace(KeyspaceCommand),
    /// To write a tree into a file.
    Export(Box<ExportConfig>),
    /// To compare two trees.
    Verify(Box<VerifyConfig>),
    /// To tell what a server holds.
    Info(Box<InfoConfig>),
    /// To copy a tree to a server.
    Import(Box<ImportConfig>),
}

impl Asked {
    /// What this command line and the environment ask for.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Asked, NoConfig> {
        let line = CommandLine::try_parse_from(args).map_err(|error| NoConfig {
            text: error.render().to_string(),
            exit_code: if error.use_stderr() { EXIT_USAGE } else { 0 },
        })?;
        let asked = match line.command {
            None => line.flags.meaning().map(|config| Asked::Serve(Box::new(config))),
            Some(Command::Healthcheck(flags)) => flags.meaning().map(Asked::HealthCheck),
            Some(Command::Table(flags)) => flags.meaning().map(Asked::Table),
            Some(Command::Keyspace(flags)) => flags.meaning().map(Asked::Keyspace),
            Some(Command::Export(flags)) => flags.meaning().map(Box::new).map(Asked::Export),
            Some(Command::Verify(flags)) => flags.meaning().map(Box::new).map(Asked::Verify),
            Some(Command::Info(flags)) => flags.meaning().map(Box::new).map(Asked::Info),
            Some(Command::Import(flags)) => flags.meaning().map(Box::new).map(Asked::Import),
        };
        asked.map_err(|mistakes: Mistakes| NoConfig {
            text: mistakes.to_string(),
            exit_code: EXIT_USAGE,
        })
    }
}
