//! The etcdynamo program: what is asked for, log, server or command, exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::process::ExitCode;

use etcdynamo::app::{self, administration};
use etcdynamo::config::{Asked, Config, NoConfig};
use etcdynamo::{commands, console, telemetry};

/// Requests are many small allocations on several threads, which it does faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The server could not start, or what was asked for is not so.
const EXIT_FAILED: u8 = 1;

#[tokio::main]
async fn main() -> ExitCode {
    match Asked::from_args(env::args_os()) {
        Ok(Asked::Serve(config)) => serve(*config).await,
        Ok(Asked::HealthCheck(check)) => tell(commands::healthcheck::run(&check).await),
        Ok(Asked::Table(command)) => tell(administration::table(&command).await),
        Ok(Asked::Keyspace(command)) => tell(administration::keyspace(&command).await),
        Ok(Asked::Export(export)) => end(commands::export::run(&export).await),
        Ok(Asked::Verify(verify)) => end(commands::verify::run(&verify).await),
        Ok(Asked::Info(info)) => tell(commands::info::run(&info).await),
        Ok(Asked::Import(import)) => tell(commands::import::run(*import).await),
        Err(instead) => {
            if instead.exit_code != 0 {
                app::report_failed_start(&instead.text).await;
            }
            explain(&instead)
        }
    }
}

async fn serve(config: Config) -> ExitCode {
    let set_log_level = match telemetry::start(config.log_format, config.log_level) {
        Ok(set_log_level) => set_log_level,
        Err(error) => return fail(&error),
    };
    match app::run(config, set_log_level).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How a command went, in one line.
fn tell<E: std::error::Error>(result: Result<String, E>) -> ExitCode {
    match result {
        Ok(line) => {
            console::answer(line);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// How a command went that said all that it had to say.
fn end<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// Help where it was asked for, mistakes where they were made.
fn explain(instead: &NoConfig) -> ExitCode {
    match instead.exit_code {
        0 => console::answer(instead.text.trim_end()),
        _ => console::remark(instead.text.trim_end()),
    }
    ExitCode::from(instead.exit_code)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    console::remark(format_args!("etcdynamo: {error}"));
    ExitCode::from(EXIT_FAILED)
}
