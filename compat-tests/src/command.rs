//! Runs etcdynamo's commands: what they were given, what they said, how they ended.
//!
//! Not here: servers ([`crate::server`]). Invariant: a command that does not end in time is a
//! failure, and dies with it.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::server::etcdynamo;

/// How long a command may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a command went.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What it was given.
    pub arguments: String,
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Fails unless it ended with this code and its output, of whichever kind, has all these words.
    ///
    /// # Errors
    /// What it said instead.
    pub fn expect(&self, code: i32, words: &[&str]) -> Result<(), String> {
        let said = [self.out.as_str(), self.err.as_str()].concat();
        let lacks = words.iter().find(|word| !said.contains(**word));
        match lacks {
            None if self.code == Some(code) => Ok(()),
            None => Err(format!("it did not end with {code}: {self:?}")),
            Some(word) => Err(format!("it did not say {word:?}: {self:?}")),
        }
    }
}

/// Runs a command of etcdynamo to its end.
///
/// # Errors
/// It could not be started, or did not end in time.
pub fn run(arguments: &[&str]) -> Result<Ran, String> {
    let directory = TempDir::with_prefix("command-").map_err(|error| error.to_string())?;
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let file = File::create(&out).map_err(|error| error.to_string())?;
    let mut command = etcdynamo();
    command.args(arguments).stdout(Stdio::from(file));
    let mut process = Process::spawn(&mut command, &err)?;
    let status = process.wait(PATIENCE)?;
    let text = |path| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let arguments = arguments.join(" ");
    Ok(Ran { arguments, code: status.code(), out: text(&out), err: text(&err) })
}
