//! Random requests to a fresh etcd and a fresh target.
//!
//! `COMPAT_SEED` repeats a run, `COMPAT_DIFF_REQUESTS` says how long it is. Against a second
//! etcd it shows that the comparison itself is sound.

use std::env;

use compat_tests::differential::Pair;
use compat_tests::server::{Server, Target};

use super::context::{Case, Context, Outcome, expect};

const REQUESTS: usize = 4000;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::alone("random requests are answered as etcd answers them", random_requests)]
}

fn random_requests(context: &Context) -> Outcome {
    let seed = setting("COMPAT_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    let requests = match setting("COMPAT_DIFF_REQUESTS")? {
        Some(requests) => usize::try_from(requests).map_err(|error| error.to_string())?,
        None => REQUESTS,
    };
    let reference = Server::start(Target::Etcd)?;
    let (target, _) = context.own_server()?;
    let pair = Pair::new(reference.client(), target.client());
    pair.run(seed, requests)?;
    reached_everything(&pair, requests)
}

/// A run of full length that never met some operation or error would prove little.
fn reached_everything(pair: &Pair, requests: usize) -> Outcome {
    if requests < REQUESTS {
        return Ok(());
    }

    let kinds = pair.kinds();
    let wanted = ["get", "set", "create", "update", "compareAndSwap", "delete", "compareAndDelete"]
        .into_iter()
        .chain([
            "100", "101", "102", "104", "105", "107", "108", "201", "202", "203", "209", "210",
            "211", "212",
        ]);
    let missed: Vec<&str> = wanted.filter(|kind| !kinds.contains_key(*kind)).collect();
    expect(missed.is_empty(), || format!("never answered: {missed:?}; answered: {kinds:?}"))
}

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Result<Option<u64>, String> {
    match env::var(name) {
        Ok(text) => {
            text.parse().map(Some).map_err(|_| format!("{name} must be a number, not {text:?}"))
        }
        Err(_) => Ok(None),
    }
}
