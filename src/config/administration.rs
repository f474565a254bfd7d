//! The flags of `etcdynamo table` and `etcdynamo keyspace`.
//!
//! Not here: what is done ([`crate::app::administration`]). Invariant: with the environment of a
//! server they mean its table and its keyspace; and what destroys is said in the command itself,
//! twice: there is no variable for `--confirm`.

use clap::{Args, Subcommand};

use super::{Mistakes, is_name, urls};

#[derive(Debug, Args)]
pub(super) struct TableFlags {
    #[command(subcommand)]
    verb: TableVerb,
}

#[derive(Debug, Subcommand)]
enum TableVerb {
    /// Make the table if it is not there: on demand, TTL and stream on; switch on what it lacks
    Create(WhichTable),
    /// Say what the table is like; exit with 1 where it cannot be used
    Verify(WhichTable),
    /// Delete the table with everything in it, and wait until it is gone
    Delete {
        #[command(flatten)]
        which: WhichTable,

        /// The table's name once more, or nothing is deleted.
        #[arg(long, value_name = "TABLE")]
        confirm: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct KeyspaceFlags {
    #[command(subcommand)]
    verb: KeyspaceVerb,
}

#[derive(Debug, Subcommand)]
enum KeyspaceVerb {
    /// Name the keyspaces in the table, by reading all of it
    List(WhichTable),
    /// Make the keyspace if it is not there: its ids and its root
    Create(WhichKeyspace),
    /// Remove every node, as a client would; users, roles and ids stay
    Empty {
        #[command(flatten)]
        which: WhichKeyspace,

        /// The keyspace's name once more, or nothing is removed.
        #[arg(long, value_name = "KEYSPACE")]
        confirm: Option<String>,
    },
    /// Remove everything of the keyspace from the table; no gateway may be on it
    Delete {
        #[command(flatten)]
        which: WhichKeyspace,

        /// The keyspace's name once more, or nothing is removed.
        #[arg(long, value_name = "KEYSPACE")]
        confirm: Option<String>,
    },
}

#[derive(Debug, Args)]
struct WhichTable {
    /// The DynamoDB table.
    #[arg(long, env = "ETCDYNAMO_TABLE")]
    table: Option<String>,

    /// The AWS region [default: as the AWS SDK finds it]
    #[arg(long, env = "ETCDYNAMO_REGION")]
    region: Option<String>,

    /// Another endpoint than AWS's own: DynamoDB local, a VPC endpoint.
    #[arg(long, env = "ETCDYNAMO_ENDPOINT_URL", value_name = "URL")]
    endpoint_url: Option<String>,
}

#[derive(Debug, Args)]
struct WhichKeyspace {
    #[command(flatten)]
    table: WhichTable,

    /// The tree's name in the table.
    #[arg(long, env = "ETCDYNAMO_KEYSPACE", default_value = "default")]
    keyspace: String,
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlace {
    /// Its name.
    pub table: String,
    /// The region; `None`: as the SDK finds it.
    pub region: Option<String>,
    /// The endpoint; `None`: AWS's own.
    pub endpoint_url: Option<String>,
}

/// Which keyspace of which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyspacePlace {
    /// The table.
    pub table: TablePlace,
    /// The keyspace's name.
    pub keyspace: String,
}

/// Whether what destroys was said twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// It was.
    Given,
    /// It was not: it is only to be said what would happen.
    Lacking,
}

/// What is asked of a table as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableCommand {
    /// That it is there.
    Create(TablePlace),
    /// What it is like.
    Verify(TablePlace),
    /// That it is there no more.
    Delete(TablePlace, Consent),
}

/// What is asked of the keyspaces of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyspaceCommand {
    /// Which there are.
    List(TablePlace),
    /// That one is there.
    Create(KeyspacePlace),
    /// That nothing is in one.
    Empty(KeyspacePlace, Consent),
    /// That one is there no more.
    Delete(KeyspacePlace, Consent),
}

impl TableFlags {
    pub(super) fn meaning(self) -> Result<TableCommand, Mistakes> {
        let mut mistakes = Mistakes::default();
        let command = match self.verb {
            TableVerb::Create(which) => TableCommand::Create(which.meaning(&mut mistakes)),
            TableVerb::Verify(which) => TableCommand::Verify(which.meaning(&mut mistakes)),
            TableVerb::Delete { which, confirm } => {
                let place = which.meaning(&mut mistakes);
                let consent = consent(confirm, &place.table, &mut mistakes);
                TableCommand::Delete(place, consent)
            }
        };
        if mistakes.0.is_empty() { Ok(command) } else { Err(mistakes) }
    }
}

impl KeyspaceFlags {
    pub(super) fn meaning(self) -> Result<KeyspaceCommand, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut confirmed = |which: WhichKeyspace, confirm| {
            let place = which.meaning(&mut mistakes);
            let consent = consent(confirm, &place.keyspace, &mut mistakes);
            (place, consent)
        };
        let command = match self.verb {
            KeyspaceVerb::Empty { which, confirm } => {
                let (place, consent) = confirmed(which, confirm);
                KeyspaceCommand::Empty(place, consent)
            }
            KeyspaceVerb::Delete { which, confirm } => {
                let (place, consent) = confirmed(which, confirm);
                KeyspaceCommand::Delete(place, consent)
            }
            KeyspaceVerb::List(which) => KeyspaceCommand::List(which.meaning(&mut mistakes)),
            KeyspaceVerb::Create(which) => KeyspaceCommand::Create(which.meaning(&mut mistakes)),
        };
        if mistakes.0.is_empty() { Ok(command) } else { Err(mistakes) }
    }
}

impl WhichTable {
    fn meaning(self, mistakes: &mut Mistakes) -> TablePlace {
        let WhichTable { table, region, endpoint_url } = self;
        match table.as_deref() {
            None => mistakes.add("table", "must be given: only a DynamoDB table has keyspaces"),
            Some(name) if !is_name(name, 3, 255) => {
                let what = "must be a table's name: 3 to 255 letters, digits, '_', '.' and '-'";
                mistakes.add("table", what);
            }
            Some(_) => {}
        }
        if region.as_deref() == Some("") {
            mistakes.add("region", "must not be empty");
        }
        if let Some(url) = &endpoint_url {
            mistakes.check("endpoint-url", urls::endpoint(url));
        }
        TablePlace { table: table.unwrap_or_default(), region, endpoint_url }
    }
}

impl WhichKeyspace {
    fn meaning(self, mistakes: &mut Mistakes) -> KeyspacePlace {
        let table = self.table.meaning(mistakes);
        if !is_name(&self.keyspace, 1, 64) {
            mistakes.add("keyspace", "must be 1 to 64 letters, digits, '_', '.' and '-'");
        }
        KeyspacePlace { table, keyspace: self.keyspace }
    }
}

fn consent(confirm: Option<String>, name: &str, mistakes: &mut Mistakes) -> Consent {
    match confirm {
        None => Consent::Lacking,
        Some(confirmed) if confirmed == name => Consent::Given,
        Some(confirmed) => {
            mistakes.add("confirm", format!("'{confirmed}' is not '{name}': nothing was done"));
            Consent::Lacking
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::config::{Asked, EXIT_USAGE};

    fn asked(args: &[&str]) -> Result<Asked, Vec<String>> {
        let args = ["etcdynamo"].iter().chain(args).map(OsString::from);
        Asked::from_args(args).map_err(|instead| {
            assert_eq!(instead.exit_code, EXIT_USAGE);
            let lines = instead.text.lines().filter_map(|line| line.strip_prefix("error: "));
            lines.map(str::to_owned).collect()
        })
    }

    fn place(table: &str) -> TablePlace {
        TablePlace { table: table.to_owned(), region: None, endpoint_url: None }
    }

    fn keyspace(table: &str, keyspace: &str) -> KeyspacePlace {
        KeyspacePlace { table: place(table), keyspace: keyspace.to_owned() }
    }

    #[test]
    fn commands_mean_a_table_or_a_keyspace() {
        let there = TablePlace {
            region: Some("eu-central-1".to_owned()),
            endpoint_url: Some("http://127.0.0.1:1".to_owned()),
            ..place("tbl")
        };
        let flags = ["--region", "eu-central-1", "--endpoint-url", "http://127.0.0.1:1"];
        let given = asked(&[&["table", "verify", "--table", "tbl"], &flags[..]].concat());
        assert_eq!(given, Ok(Asked::Table(TableCommand::Verify(there))));
        for (args, command) in [
            (&["list", "--table", "tbl"][..], KeyspaceCommand::List(place("tbl"))),
            (&["create", "--table", "tbl"], KeyspaceCommand::Create(keyspace("tbl", "default"))),
            (
                &["create", "--table", "tbl", "--keyspace", "k"],
                KeyspaceCommand::Create(keyspace("tbl", "k")),
            ),
        ] {
            let given = asked(&[&["keyspace"], args].concat());
            assert_eq!(given, Ok(Asked::Keyspace(command)), "{args:?}");
        }
    }

    #[test]
    fn what_destroys_is_said_twice() {
        let table = |more: &[&str]| asked(&[&["table", "delete", "--table", "tbl"], more].concat());
        let deleted = |consent| Ok(Asked::Table(TableCommand::Delete(place("tbl"), consent)));
        assert_eq!(table(&[]), deleted(Consent::Lacking));
        assert_eq!(table(&["--confirm", "tbl"]), deleted(Consent::Given));
        assert!(table(&["--confirm", "Tbl"]).is_err());
        let of = || keyspace("tbl", "k");
        for (verb, command) in [
            ("empty", KeyspaceCommand::Empty(of(), Consent::Given)),
            ("delete", KeyspaceCommand::Delete(of(), Consent::Given)),
        ] {
            let args = ["keyspace", verb, "--table", "tbl", "--keyspace", "k", "--confirm"];
            assert_eq!(asked(&[&args[..], &["k"]].concat()), Ok(Asked::Keyspace(command)));
            let told = asked(&[&args[..], &["tbl"]].concat());
            assert_eq!(told, Err(vec!["--confirm: 'tbl' is not 'k': nothing was done".to_owned()]));
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = ["--keyspace", "a/b", "--region", "", "--endpoint-url", "nowhere"];
        let told = asked(&[&["keyspace", "empty", "--confirm", "x"], &wrong[..]].concat());
        let told = told.expect_err("there are mistakes");
        let flags = ["--table:", "--region:", "--endpoint-url:", "--keyspace:", "--confirm:"];
        assert_eq!(told.len(), flags.len(), "{told:?}");
        for (mistake, flag) in told.iter().zip(flags) {
            assert!(mistake.starts_with(flag), "{told:?}");
        }
        assert!(asked(&["table", "create", "--create-table", "--table", "tbl"]).is_err());
        assert!(asked(&["--table", "tbl", "table", "create"]).is_err());
    }
}
