//! Child processes: started, waited for, killed; and where their programs are.
//!
//! Not here: what the programs are asked. Invariant: a child dies with its handle, also when a case
//! panics, and nothing waits without a bound.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::wait;

const START_TIMEOUT: Duration = Duration::from_secs(40);

/// A child process that dies with its handle.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its standard error going to `log`.
    ///
    /// # Errors
    /// The program is missing, or could not be started.
    pub fn spawn(command: &mut Command, log: &Path) -> Result<Self, String> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it wrote to its standard error.
    #[must_use]
    pub fn complaints(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(3000);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// SIGKILL, and the wait for its end.
    pub fn kill(&mut self) {
        // Both fail only where the child is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn terminate(&self) -> Result<(), String> {
        self.signal("TERM")
    }

    /// Any signal, by its name.
    ///
    /// # Errors
    /// The signal could not be sent.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status()
            .map_err(|error| error.to_string())?;
        sent.success().then_some(()).ok_or_else(|| format!("kill -{name} {} failed", self.id()))
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        wait::until(patience, || self.child.try_wait().transpose())
            .ok_or_else(|| format!("it still ran after {patience:?}"))?
            .map_err(|error| error.to_string())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn wait_until(
    process: &mut Process,
    mut ready: impl FnMut() -> bool,
) -> Result<(), String> {
    let is_ready = wait::until(START_TIMEOUT, || {
        if ready() {
            return Some(true);
        }
        process.has_ended().then_some(false)
    });
    match is_ready {
        Some(true) => Ok(()),
        Some(false) => Err(format!("it ended at once:\n{}", process.complaints())),
        None => Err(format!("not ready in {START_TIMEOUT:?}:\n{}", process.complaints())),
    }
}

/// The line by which etcdynamo says where it listens, from its piped output.
///
/// # Errors
/// There is no such line in time.
pub fn listening_line(process: &mut Process) -> Result<String, String> {
    let output = process.child.stdout.take().ok_or("its output is not piped")?;
    let (sender, lines) = mpsc::channel();
    // Reads on to the end, so that the server never blocks on a full pipe.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.starts_with("listening on ") => return Ok(line),
            Ok(_) => {}
            Err(_) => return Err("no line on its output began with \"listening on \"".to_owned()),
        }
    }
}

/// The program that a variable names, or another one.
#[must_use]
pub fn program(variable: &str, otherwise: &Path) -> PathBuf {
    env::var_os(variable).map_or_else(|| otherwise.to_owned(), PathBuf::from)
}

/// Something that the installation of the tests put below `.tools`.
#[must_use]
pub fn tool(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(path)
}

pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}
