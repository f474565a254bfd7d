//! The etcdynamo program: configuration, log, server, exit code.

use std::env;
use std::process::ExitCode;

use etcdynamo::app;
use etcdynamo::config::{Config, NoConfig};
use etcdynamo::telemetry;

/// Requests are many small allocations on several threads, which it does faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The server could not start.
const EXIT_FAILED: u8 = 1;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::from_args(env::args_os()) {
        Ok(config) => config,
        Err(instead) => return explain(&instead),
    };
    let set_log_level = match telemetry::start(config.log_format, config.log_level) {
        Ok(set_log_level) => set_log_level,
        Err(error) => return fail(&error),
    };
    match app::run(config, set_log_level).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Help where it was asked for, mistakes where they were made.
fn explain(instead: &NoConfig) -> ExitCode {
    match instead.exit_code {
        0 => print!("{}", instead.text),
        _ => eprint!("{}", instead.text),
    }
    ExitCode::from(instead.exit_code)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("etcdynamo: {error}");
    ExitCode::from(EXIT_FAILED)
}
