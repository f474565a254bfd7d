//! What AWS Lambda says of itself, and the flags that make no sense there.
//!
//! Lambda sets these variables for every program that it starts; nobody types them. Not here: where
//! requests come from then (`v2http::lambda`).

use clap::Args;

use super::{DEFAULT_LISTEN, Mistakes, StoreConfig};

#[derive(Debug, Args)]
pub(super) struct LambdaFlags {
    /// Where Lambda's runtime API is. Set by Lambda, and by nobody else.
    #[arg(long = "aws-lambda-runtime-api", env = "AWS_LAMBDA_RUNTIME_API")]
    #[arg(value_name = "ADDRESS", hide = true)]
    runtime_api: Option<String>,

    /// How Lambda starts environments. Set by Lambda, too.
    #[arg(long = "aws-lambda-initialization-type", env = "AWS_LAMBDA_INITIALIZATION_TYPE")]
    #[arg(value_name = "TYPE", hide = true)]
    initialization_type: Option<String>,
}

/// What runs the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// It listens, and serves connections until it is told to stop.
    Server,
    /// AWS Lambda: it answers events, and stands still between them.
    Lambda,
}

/// With what the program was built.
struct Build {
    lambda: bool,
}

const BUILD: Build = Build { lambda: cfg!(feature = "lambda") };

impl Build {
    fn serves_lambda(&self) -> Result<(), &'static str> {
        if self.lambda {
            return Ok(());
        }
        Err("AWS_LAMBDA_RUNTIME_API is set, so AWS Lambda runs this program, which was built \
             without that: build it with `cargo build --release --features lambda`")
    }
}

impl LambdaFlags {
    /// Who runs it, and what that contradicts.
    pub(super) fn meaning(
        self,
        store: &StoreConfig,
        listen: &str,
        tls: &[&'static str],
        mistakes: &mut Mistakes,
    ) -> Runtime {
        if self.runtime_api.is_none() {
            return Runtime::Server;
        }
        if let Err(what) = BUILD.serves_lambda() {
            mistakes.about_environment(what);
            return Runtime::Server;
        }
        if self.initialization_type.as_deref() == Some("snap-start") {
            // All environments would go on as the one gateway that was in the snapshot.
            mistakes.about_environment(
                "AWS_LAMBDA_INITIALIZATION_TYPE is snap-start: each environment has to start by \
                 itself, so switch SnapStart off",
            );
        }
        if listen != DEFAULT_LISTEN {
            mistakes.add("listen-client-urls", "nothing listens in AWS Lambda");
        }
        for flag in tls {
            mistakes.add(flag, "nothing listens in AWS Lambda, whose URLs have TLS of their own");
        }
        if let StoreConfig::Embedded { .. } = store {
            let what = "AWS Lambda keeps no files: name the DynamoDB --table";
            mistakes.add("store", what);
        }
        Runtime::Lambda
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Asked, Config, WatchKind};
    use super::*;

    const THERE: [&str; 2] = ["--aws-lambda-runtime-api", "127.0.0.1:9001"];
    const TABLE: [&str; 2] = ["--table", "tree"];

    /// The configuration, or all that is wrong with it.
    fn config(args: &[&str]) -> Result<Config, String> {
        let args = ["etcdynamo"].iter().chain(args).map(OsString::from);
        let asked = Asked::from_args(args).map_err(|refused| refused.text)?;
        let Asked::Serve(config) = asked else { return Err(format!("{asked:?}")) };
        Ok(*config)
    }

    #[test]
    fn a_program_that_was_built_without_it_says_so() {
        let said = Build { lambda: false }.serves_lambda().expect_err("nobody would reach it");
        assert!(said.contains("AWS_LAMBDA_RUNTIME_API") && said.contains("--features lambda"));
        assert_eq!(Build { lambda: true }.serves_lambda(), Ok(()));
        let started = config(&[THERE, TABLE].concat());
        assert_eq!(started.err(), BUILD.serves_lambda().err().map(in_full));
    }

    /// As it is printed.
    fn in_full(mistake: &str) -> String {
        format!("error: {mistake}\n\nFor more information, try '--help'.\n")
    }

    #[test]
    #[cfg(feature = "lambda")]
    fn it_has_no_watches_and_advertises_what_it_is_told_to() {
        let config = config(&[THERE, TABLE].concat()).expect("it makes sense");
        assert_eq!((config.runtime, config.watch.kind), (Runtime::Lambda, WatchKind::Off));
        assert_eq!(config.watch.window, None);
        assert!(config.advertised(&[]).is_empty());
        let named =
            [&THERE[..], &TABLE, &["--advertise-client-urls", "https://a"], &["--watch", "off"]];
        let named = self::config(&named.concat()).expect("it makes sense");
        assert_eq!(named.advertised(&[]), ["https://a"]);
    }

    #[test]
    #[cfg(feature = "lambda")]
    fn what_makes_no_sense_there_is_told_at_once() {
        let wrong = [
            "--listen-client-urls",
            "http://0.0.0.0:2379",
            "--listen-metrics-urls",
            "http://0.0.0.0:9102",
            "--cert-file",
            "a.pem",
            "--key-file",
            "a.key",
            "--trusted-ca-file",
            "ca.pem",
            "--client-cert-auth",
            "--watch",
            "local",
            "--aws-lambda-initialization-type",
            "snap-start",
        ];
        let mistakes = config(&[&THERE[..], &wrong].concat()).expect_err("much is wrong");
        for said in [
            "--listen-client-urls: nothing listens",
            "--listen-metrics-urls: nothing listens",
            "--cert-file: nothing listens",
            "--key-file: nothing listens",
            "--trusted-ca-file: nothing listens",
            "--client-cert-auth: nothing listens",
            "--watch: is off in AWS Lambda",
            "--store: AWS Lambda keeps no files",
            "SnapStart",
        ] {
            assert!(mistakes.contains(said), "no {said:?} in {mistakes}");
        }
    }

    #[test]
    fn elsewhere_nothing_changes() {
        let config = config(&TABLE).expect("it makes sense");
        assert_eq!((config.runtime, config.watch.kind), (Runtime::Server, WatchKind::Streams));
    }
}
