//! The trials: every case on every target.
//!
//! `COMPAT_TARGETS` names the targets (`etcd,embedded` unless it says otherwise). A target is
//! started once, when the first of its trials asks for it, and shared; each trial works below a
//! directory of its own. Trials are called `<target>::<area>::<case>`.
//! `COMPAT_SEED` repeats what is random, `COMPAT_DIFF_REQUESTS` sets how much of it there is; where
//! the programs are is told by the variables that `compat_tests::server` names.
//! This file selects; it holds no case. A target that cannot start fails its trials.

mod administration;
mod bodies;
mod concurrency;
mod context;
mod costs;
mod differences;
mod differential;
mod endpoints;
mod expiry;
mod follows;
mod gateways;
mod imports;
mod indexes;
mod keyspaces;
mod lambda;
mod lifecycle;
mod limits;
mod logs;
mod operations;
mod policies;
mod read_only;
mod scripts;
mod security;
mod traces;
mod transport;
mod trees;
mod watch;
mod watcher;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use compat_tests::server::Target;
use context::{Case, Fleet};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let targets = match targets() {
        Ok(targets) => targets,
        Err(problem) => {
            eprintln!("COMPAT_TARGETS: {problem}");
            return ExitCode::from(64);
        }
    };
    let fleet = Arc::new(Fleet::default());
    let mut trials = Vec::new();
    for target in targets {
        for (area, cases) in areas(target) {
            // A server that runs already has no second one beside it.
            for case in cases.into_iter().filter(|case| !case.alone || target != Target::Url) {
                trials.push(trial(&fleet, target, area, case));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    fleet.stop();
    conclusion.exit_code()
}

fn targets() -> Result<Vec<Target>, String> {
    env::var("COMPAT_TARGETS")
        .unwrap_or_else(|_| "etcd,embedded".to_owned())
        .split(',')
        .map(|name| name.trim().parse())
        .collect()
}

fn trial(fleet: &Arc<Fleet>, target: Target, area: &str, case: Case) -> Trial {
    let name = format!("{}::{area}::{}", target.name(), case.name.replace(' ', "_"));
    let fleet = Arc::clone(fleet);
    Trial::test(name, move || {
        let context = fleet.context(target)?;
        (case.run)(&context).map_err(Failed::from)
    })
}

/// The cases of every area that a target must pass.
fn areas(target: Target) -> Vec<(&'static str, Vec<Case>)> {
    let mut areas = scripts::areas();
    areas.push(("bodies", bodies::cases()));
    areas.push(("concurrency", concurrency::cases(target)));
    areas.push(("costs", costs::cases(target)));
    areas.push(("endpoints", endpoints::cases()));
    areas.push(("expiry", expiry::cases()));
    areas.push(("indexes", indexes::cases()));
    areas.push(("limits", limits::cases(target)));
    areas.push(("security", security::cases(target)));
    areas.push(("logs", logs::cases(target)));
    areas.push(("operations", operations::cases(target)));
    areas.push(("traces", traces::cases(target)));
    areas.push(("transport", transport::cases()));
    areas.push(("trees", trees::cases(target)));
    areas.push(("differences", differences::cases(target)));
    areas.push(("differential", differential::cases()));
    areas.push(("gateways", gateways::cases(target)));
    areas.push(("lifecycle", lifecycle::cases(target)));
    areas.push(("watch", watch::cases()));
    areas.push(("gateways", gateways::watch_cases(target)));
    areas.push(("lifecycle", lifecycle::watch_cases(target)));
    areas.push(("policies", policies::cases(target)));
    areas.push(("read_only", read_only::cases(target)));
    areas.push(("administration", administration::cases(target)));
    areas.push(("keyspaces", keyspaces::cases(target)));
    areas.push(("lambda", lambda::cases(target)));
    areas.push(("follows", follows::cases(target)));
    areas.push(("imports", imports::cases(target)));
    areas.push(("auth", scripts::auth()));
    areas
}
