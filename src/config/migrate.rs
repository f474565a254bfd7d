//! The flags of `etcdynamo export`, `verify` and `info`: which trees, which part, what to tell.
//!
//! Not here: what is done with them ([`crate::commands`]), and `import`, which has its own.

use std::path::PathBuf;

use clap::Args;

use super::client::{self, ClientConfig, ClientFlags};
use super::typed::Typed;
use super::{DEFAULT_LISTEN, Mistakes};
use crate::migrate::Scope;
use crate::v2client::Endpoints;

/// How many differences are told.
const DIFFERENCES: usize = 20;

#[derive(Debug, Args)]
pub(super) struct ScopeFlags {
    /// Only this directory or file, with what is below it [default: /, or what the file has]
    #[arg(long, env = "ETCDYNAMO_PREFIX", value_name = "KEY")]
    prefix: Option<String>,

    /// A hidden node (a name in it begins with _) to take along with what is below it, as no
    /// listing shows it. May be given several times.
    #[arg(long, env = "ETCDYNAMO_HIDDEN", value_name = "KEY", value_delimiter = ',')]
    hidden: Vec<String>,
}

impl ScopeFlags {
    /// `None`: nothing was said.
    pub(super) fn meaning(self, mistakes: &mut Mistakes) -> Option<Scope> {
        let flag = if self.hidden.is_empty() { "prefix" } else { "hidden" };
        if self.prefix.is_none() && self.hidden.is_empty() {
            return None;
        }
        let prefix = self.prefix.unwrap_or_else(|| "/".to_owned());
        Scope::new(prefix, self.hidden).map_err(|problem| mistakes.add(flag, problem)).ok()
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportFlags {
    /// Where the tree is: the URLs of the members of a cluster, comma-separated. With credentials
    /// (http://user:password@host:2379) better by the environment.
    #[arg(long, env = "ETCDYNAMO_FROM", hide_env_values = true, value_name = "URLS")]
    from: String,

    /// Where it goes; it appears there when it is whole [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    scope: ScopeFlags,

    #[command(flatten)]
    client: ClientFlags,
}

/// What is to be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportConfig {
    /// The server.
    pub from: Endpoints,
    /// Which part of its tree.
    pub scope: Scope,
    /// Where to; `None`: standard output.
    pub file: Option<PathBuf>,
    /// How the server is called.
    pub client: ClientConfig,
}

impl ExportFlags {
    pub(super) fn meaning(self) -> Result<ExportConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let from = client::endpoints(&self.from, "from", &mut mistakes);
        let scope = self.scope.meaning(&mut mistakes).unwrap_or_else(Scope::everything);
        let client = self.client.meaning(&mut mistakes);
        let file = self.file.filter(|file| file.as_os_str() != "-");
        match from {
            Some(from) if mistakes.0.is_empty() => Ok(ExportConfig { from, scope, file, client }),
            Some(_) | None => Err(mistakes),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct VerifyFlags {
    /// The tree as it should be: the URLs of the members of a cluster, comma-separated, or a file
    /// that `export` wrote.
    #[arg(long, env = "ETCDYNAMO_FROM", hide_env_values = true, value_name = "URLS|FILE")]
    from: String,

    /// The tree as it is: the same.
    #[arg(long, env = "ETCDYNAMO_TO", hide_env_values = true, value_name = "URLS|FILE")]
    to: String,

    /// How many differences are told; all are counted.
    #[arg(long, env = "ETCDYNAMO_MAX_DIFFERENCES", value_name = "COUNT", default_value = "20")]
    max_differences: Typed<usize>,

    #[command(flatten)]
    scope: ScopeFlags,

    #[command(flatten)]
    client: ClientFlags,
}

/// Where a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreePlace {
    /// On a server.
    Server(Endpoints),
    /// In a file that `export` wrote.
    File(PathBuf),
}

/// What is to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyConfig {
    /// The one tree.
    pub from: TreePlace,
    /// The other one.
    pub to: TreePlace,
    /// Which part of them; `None`: what a file has, or all.
    pub scope: Option<Scope>,
    /// How many differences are told.
    pub max_differences: usize,
    /// How servers are called.
    pub client: ClientConfig,
}

impl VerifyFlags {
    pub(super) fn meaning(self) -> Result<VerifyConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let from = place(&self.from, "from", &mut mistakes);
        let to = place(&self.to, "to", &mut mistakes);
        let scope = self.scope.meaning(&mut mistakes);
        let max_differences =
            self.max_differences.or(DIFFERENCES, "max-differences", &mut mistakes);
        let client = self.client.meaning(&mut mistakes);
        match (from, to) {
            (Some(from), Some(to)) if mistakes.0.is_empty() => {
                Ok(VerifyConfig { from, to, scope, max_differences, client })
            }
            _ => Err(mistakes),
        }
    }
}

fn place(text: &str, flag: &str, mistakes: &mut Mistakes) -> Option<TreePlace> {
    if client::is_url(text) {
        return client::endpoints(text, flag, mistakes).map(TreePlace::Server);
    }
    if text.is_empty() {
        mistakes.add(flag, "names neither a server nor a file");
    }
    Some(TreePlace::File(PathBuf::from(text)))
}

#[derive(Debug, Args)]
pub(super) struct InfoFlags {
    /// The URLs of the members of a cluster, comma-separated.
    #[arg(env = "ETCDYNAMO_FROM", hide_env_values = true, value_name = "URLS")]
    #[arg(default_value = DEFAULT_LISTEN)]
    server: String,

    /// Tell it in JSON, for programs.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    scope: ScopeFlags,

    #[command(flatten)]
    client: ClientFlags,
}

/// Which server is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoConfig {
    /// The server.
    pub server: Endpoints,
    /// Which part of its tree.
    pub scope: Scope,
    /// Whether it is told in JSON.
    pub json: bool,
    /// How the server is called.
    pub client: ClientConfig,
}

impl InfoFlags {
    pub(super) fn meaning(self) -> Result<InfoConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let server = client::endpoints(&self.server, "server", &mut mistakes);
        let scope = self.scope.meaning(&mut mistakes).unwrap_or_else(Scope::everything);
        let client = self.client.meaning(&mut mistakes);
        match server {
            Some(server) if mistakes.0.is_empty() => {
                Ok(InfoConfig { server, scope, json: self.json, client })
            }
            Some(_) | None => Err(mistakes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Asked, NoConfig};
    use super::*;

    fn asked(args: &[&str]) -> Result<Asked, NoConfig> {
        Asked::from_args(["etcdynamo"].iter().chain(args).map(OsString::from))
    }

    fn urls(text: &str) -> Endpoints {
        Endpoints::parse(text).expect("good URLs")
    }

    #[test]
    fn an_export_goes_to_a_file_or_to_standard_output() {
        let plain = asked(&["export", "--from", "http://u:secret@a:1,http://b:2"]);
        let Ok(Asked::Export(plain)) = plain else { panic!("{plain:?}") };
        assert_eq!(plain.from, urls("http://u:secret@a:1,http://b:2"));
        assert_eq!((plain.file, plain.scope), (None, Scope::everything()));
        let scoped = ["--prefix", "/a", "--hidden", "/a/_b,/a/_c", "--hidden", "/a/_d"];
        let args = [&["export", "--from", "http://a:1", "dump"], &scoped[..]].concat();
        let Ok(Asked::Export(scoped)) = asked(&args) else { panic!("{args:?}") };
        assert_eq!(scoped.file, Some(PathBuf::from("dump")));
        assert_eq!(scoped.scope.to_string(), "/a with /a/_b, /a/_c, /a/_d");
        let Ok(Asked::Export(piped)) = asked(&["export", "--from", "http://a:1", "-"]) else {
            panic!("- is standard output");
        };
        assert_eq!(piped.file, None);
    }

    #[test]
    fn a_tree_to_verify_is_on_a_server_or_in_a_file() {
        let args = ["verify", "--from", "dump", "--to", "https://a", "--max-differences", "3"];
        let Ok(Asked::Verify(config)) = asked(&args) else { panic!("{args:?}") };
        assert_eq!(config.from, TreePlace::File("dump".into()));
        assert_eq!(config.to, TreePlace::Server(urls("https://a")));
        assert_eq!((config.scope.clone(), config.max_differences), (None, 3));
    }

    #[test]
    fn info_asks_one_cluster_or_the_server_on_this_machine() {
        let Ok(Asked::Info(config)) = asked(&["info"]) else { panic!("nothing is needed") };
        assert_eq!((config.server, config.json), (urls("http://127.0.0.1:2379"), false));
        let Ok(Asked::Info(config)) = asked(&["info", "http://a:1", "--json"]) else {
            panic!("a URL is enough");
        };
        assert_eq!((config.server, config.json), (urls("http://a:1"), true));
    }

    #[test]
    fn mistakes_are_told_together_and_without_passwords() {
        let secret = "http://u:secret@a/v2";
        for (args, flags) in [
            (&["export", "--from", secret, "--prefix", "a", "--retry-ms", "x"][..], 3),
            (&["verify", "--from", secret, "--to", "", "--hidden", "/b", "--key-file", "k"], 4),
            (&["info", secret, "--cert-file", "c"], 2),
        ] {
            let refused = asked(args).expect_err("mistakes");
            assert_eq!(refused.exit_code, super::super::EXIT_USAGE);
            let told = refused.text.lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(told, flags, "{}", refused.text);
            assert!(!refused.text.contains("secret"), "{}", refused.text);
        }
    }
}
