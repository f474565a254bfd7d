//! A stand-in for AWS Lambda on this machine: environments of the server's program, which are asked by events.
//!
//! [`Environment`] starts the program as Lambda does, with a runtime API of its own ([`runtime`]) and nothing else to
//! talk to, and may stand still between events. [`Url`] is a place where HTTP comes in and is told to an environment as one of
//! Lambda's senders would tell it ([`event`]).
//!
//! What is not here: several events at a time for one environment, which Lambda never sends; and AWS's word on
//! any of this: the shapes are those that it documents, and that were seen.

pub mod event;
mod listen;
mod runtime;
mod url;

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, wait_until};
use crate::server::etcdynamo;
use crate::wait;

pub use event::Sender;
pub use runtime::Outcome;
use runtime::RuntimeApi;
pub use url::Url;

/// How long an answer to an event may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a program that cannot start may take to say so.
const START_PATIENCE: Duration = Duration::from_secs(40);

/// A running environment.
#[derive(Debug)]
pub struct Environment {
    api: RuntimeApi,
    process: Mutex<Process>,
    directory: TempDir,
}

impl Environment {
    /// Starts one and waits until it asks for its first event.
    ///
    /// # Errors
    /// It cannot start, with what it wrote to its standard error.
    pub fn start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut environment = Self::begin(settings)?;
        let Self { api, process, .. } = &mut environment;
        let process = process.get_mut().unwrap_or_else(PoisonError::into_inner);
        wait_until(process, || api.is_asked())?;
        Ok(environment)
    }

    /// One on a table, with more settings.
    ///
    /// # Errors
    /// As [`Environment::start`].
    pub fn on_table(
        table: &str,
        endpoint: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        let own = [
            ("ETCDYNAMO_TABLE", table),
            ("ETCDYNAMO_ENDPOINT_URL", endpoint),
            ("ETCDYNAMO_REGION", "us-east-1"),
            ("ETCDYNAMO_LOG_LEVEL", "debug"),
        ];
        Self::start(&[&own, settings].concat())
    }

    /// Starts one that is not expected to serve; gives what it told Lambda, and its exit code.
    ///
    /// # Errors
    /// It does not end, or told nothing.
    pub fn fail(settings: &[(&str, &str)]) -> Result<(Value, Option<i32>), String> {
        let Self { api, process, directory: _directory } = Self::begin(settings)?;
        let mut process = process.into_inner().unwrap_or_else(PoisonError::into_inner);
        let status = process.wait(START_PATIENCE)?;
        let told = api
            .init_error()
            .ok_or_else(|| format!("it ended and told nothing:\n{}", process.complaints()))?;
        Ok((told, status.code()))
    }

    fn begin(settings: &[(&str, &str)]) -> Result<Self, String> {
        let directory = TempDir::with_prefix("lambda-").map_err(|error| error.to_string())?;
        let api = RuntimeApi::start().map_err(|error| error.to_string())?;
        let mut command = etcdynamo();
        command
            .current_dir(directory.path())
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", "etcdynamo")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .envs(settings.iter().copied())
            .stdout(Stdio::null());
        let process = Mutex::new(Process::spawn(&mut command, &log(directory.path()))?);
        Ok(Self { api, process, directory })
    }

    /// Has it answer an event.
    ///
    /// # Errors
    /// There is no answer in time.
    pub fn invoke(&self, event: &Value) -> Result<Outcome, String> {
        self.api
            .invoke(event, PATIENCE)
            .ok_or_else(|| format!("no answer in {PATIENCE:?}:\n{}", self.process().complaints()))
    }

    /// Hands it an event and gives where its answer will come.
    #[must_use]
    pub fn begin_invoke(&self, event: &Value) -> runtime::Pending {
        self.api.begin(event)
    }

    /// Stops it as Lambda does when it has answered and asks for the next event.
    ///
    /// # Errors
    /// It does not ask, or cannot be stopped.
    pub fn freeze(&self) -> Result<(), String> {
        wait::until(PATIENCE, || self.api.is_asked().then_some(()))
            .ok_or_else(|| format!("it does not ask for more:\n{}", self.process().complaints()))?;
        self.stop()
    }

    /// Stops it wherever it is.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn stop(&self) -> Result<(), String> {
        self.process().signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn thaw(&self) -> Result<(), String> {
        self.process().signal("CONT")
    }

    /// SIGTERM, as it comes where there are extensions; gives the exit code.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn terminate(&self) -> Result<Option<i32>, String> {
        let mut process = self.process();
        process.terminate()?;
        Ok(process.wait(PATIENCE)?.code())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that it wrote to its standard error.
    #[must_use]
    pub fn log_text(&self) -> String {
        let text = std::fs::read(log(self.directory.path())).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn log(directory: &Path) -> std::path::PathBuf {
    directory.join("environment.log")
}
