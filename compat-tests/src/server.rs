//! Starts, kills and restarts the servers under test.
//!
//! A [`Server`] is one address that answers v2, with whatever stands behind it: a real etcd, the
//! embedded store, or a DynamoDB engine. Ports are free ones, readiness is polled against a
//! deadline, and every child dies with its handle, also when a case panics.
//! Where the programs are is told by the environment (`ETCD_BIN`, `ETCDYNAMO_BIN`,
//! `DYNOXIDE_BIN`, `MINISTACK_BIN`, `DYNAMODB_LOCAL_URL`, `COMPAT_URL`).
//!
//! It knows command lines and nothing of the protocol beyond `/health`.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http::{Client, Request};
use crate::wait;

const START_TIMEOUT: Duration = Duration::from_secs(40);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Tables made by this process: engines that outlive it must not show one server's table to another.
static TABLES: AtomicU64 = AtomicU64::new(1);

/// What can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A real etcd: the oracle.
    Etcd,
    /// etcdynamo on its embedded store.
    Embedded,
    /// etcdynamo on dynoxide.
    Dynoxide,
    /// etcdynamo on ministack.
    Ministack,
    /// etcdynamo on Amazon's DynamoDB Local, only where `DYNAMODB_LOCAL_URL` names one.
    DynamodbLocal,
    /// A server that already runs, at `COMPAT_URL`.
    Url,
}

impl Target {
    /// Its name in `COMPAT_TARGETS` and in the names of the trials.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Embedded => "embedded",
            Self::Dynoxide => "dynoxide",
            Self::Ministack => "ministack",
            Self::DynamodbLocal => "dynamodb-local",
            Self::Url => "url",
        }
    }

    /// Whether deliberate differences from etcd apply.
    #[must_use]
    pub fn is_etcdynamo(self) -> bool {
        match self {
            Self::Etcd => false,
            Self::Url => env::var("COMPAT_URL_IS_ETCD").is_err(),
            Self::Embedded | Self::Dynoxide | Self::Ministack | Self::DynamodbLocal => true,
        }
    }

    /// Whether DynamoDB's limits apply.
    #[must_use]
    pub fn is_dynamodb(self) -> bool {
        matches!(self, Self::Dynoxide | Self::Ministack | Self::DynamodbLocal)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [
            Self::Etcd,
            Self::Embedded,
            Self::Dynoxide,
            Self::Ministack,
            Self::DynamodbLocal,
            Self::Url,
        ];
        all.into_iter()
            .find(|target| target.name() == name)
            .ok_or_else(|| format!("no target is called {name:?}"))
    }
}

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
        let sent = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()
            .map_err(|error| error.to_string())?;
        sent.success().then_some(()).ok_or_else(|| format!("kill -TERM {} failed", self.id()))
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

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A running target.
#[derive(Debug)]
pub struct Server {
    target: Target,
    address: String,
    peer: String,
    table: String,
    engine: Option<(Process, String)>,
    gateway: Option<Process>,
    flags: Vec<String>,
    directory: TempDir,
}

impl Server {
    /// Starts a target with nothing in it and waits until it is ready.
    ///
    /// # Errors
    /// Why it did not become ready, with what it wrote to its standard error.
    pub fn start(target: Target) -> Result<Self, String> {
        Self::start_with(target, &[])
    }

    /// The same with more flags, where the target is etcdynamo.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(target: Target, flags: &[&str]) -> Result<Self, String> {
        let mut server = Self::new(target, new_table())?;
        server.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        server.start_engine()?;
        server.start_gateway()?;
        Ok(server)
    }

    fn new(target: Target, table: String) -> Result<Self, String> {
        Ok(Self {
            target,
            address: String::new(),
            peer: String::new(),
            table,
            engine: None,
            gateway: None,
            flags: Vec::new(),
            directory: TempDir::with_prefix("compat-").map_err(|error| error.to_string())?,
        })
    }

    /// What was started.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// SIGKILL. The engine behind it, if any, goes on.
    pub fn kill(&mut self) {
        self.gateway = None;
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus, String> {
        let mut gateway = self.gateway.take().ok_or("it does not run")?;
        gateway.terminate()?;
        gateway.wait(STOP_TIMEOUT).map_err(|problem| format!("{problem}\n{}", gateway.complaints()))
    }

    /// Starts it again on the same data; its address may change.
    ///
    /// # Errors
    /// Why it did not become ready.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.start_gateway()
    }

    /// A second gateway on the same table.
    ///
    /// # Errors
    /// This target has no table, or the gateway did not become ready.
    pub fn second_gateway(&self) -> Result<Self, String> {
        let endpoint = self.endpoint().ok_or("this target has no table")?;
        let mut second = Self::new(self.target, self.table.clone())?;
        second.start_etcdynamo(&table_arguments(&second.table, &endpoint))?;
        Ok(second)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn endpoint(&self) -> Option<String> {
        match &self.engine {
            Some((_, endpoint)) => Some(endpoint.clone()),
            None => {
                env::var("DYNAMODB_LOCAL_URL").ok().filter(|_| self.target == Target::DynamodbLocal)
            }
        }
    }

    fn start_engine(&mut self) -> Result<(), String> {
        let port = free_port()?.to_string();
        let mut command = match self.target {
            Target::Dynoxide => {
                let mut command =
                    Command::new(program("DYNOXIDE_BIN", &tool("dynoxide/bin/dynoxide")));
                command.args(["serve", "--host", "127.0.0.1", "--port", &port]);
                command
            }
            Target::Ministack => {
                let mut command =
                    Command::new(program("MINISTACK_BIN", &tool("venv/bin/ministack")));
                command
                    .env("BIND_HOST", "127.0.0.1")
                    .env("GATEWAY_PORT", &port)
                    .env("EDGE_PORT", &port)
                    .env("IOT_MTLS_ENABLED", "0")
                    .env("SERVICES", "dynamodb,dynamodbstreams");
                command
            }
            Target::Etcd | Target::Embedded | Target::DynamodbLocal | Target::Url => return Ok(()),
        };
        let mut engine = Process::spawn(command.stdout(Stdio::null()), &self.log("engine.log"))?;
        let address = format!("127.0.0.1:{port}");
        wait_until(&mut engine, || {
            // Any HTTP answer will do: the engines have no common health page.
            Client::new(&address).send(&Request::new("GET", "/")).is_ok()
        })?;
        self.engine = Some((engine, format!("http://{address}")));
        Ok(())
    }

    fn start_gateway(&mut self) -> Result<(), String> {
        match self.target {
            Target::Etcd => self.start_etcd(),
            Target::Embedded => {
                let data = self.data_dir().display().to_string();
                self.start_etcdynamo(&["--data-dir".to_owned(), data])
            }
            Target::Dynoxide | Target::Ministack | Target::DynamodbLocal => {
                let endpoint = self
                    .endpoint()
                    .ok_or("DYNAMODB_LOCAL_URL must name a running DynamoDB Local")?;
                self.start_etcdynamo(&table_arguments(&self.table, &endpoint))
            }
            Target::Url => {
                let url = env::var("COMPAT_URL").map_err(|_| "COMPAT_URL must name the server")?;
                self.address = address_of(&url)?;
                Ok(())
            }
        }
    }

    fn start_etcd(&mut self) -> Result<(), String> {
        if self.address.is_empty() {
            self.address = format!("127.0.0.1:{}", free_port()?);
            self.peer = format!("http://127.0.0.1:{}", free_port()?);
        }
        let url = format!("http://{}", self.address);
        let mut command = Command::new(program("ETCD_BIN", Path::new("etcd")));
        command
            .args(["--enable-v2", "--name", "compat", "--data-dir"])
            .arg(self.data_dir())
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &self.peer])
            .args(["--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", &format!("compat={}", self.peer)])
            .stdout(Stdio::null());
        let mut gateway = Process::spawn(&mut command, &self.log("gateway.log"))?;
        let address = self.address.clone();
        wait_until(&mut gateway, || is_healthy(&address))?;
        self.gateway = Some(gateway);
        Ok(())
    }

    fn start_etcdynamo(&mut self, arguments: &[String]) -> Result<(), String> {
        let mut command = etcdynamo();
        command
            .args(["--listen-client-urls", "http://127.0.0.1:0"])
            .args(arguments)
            .args(&self.flags)
            .stdout(Stdio::piped());
        let mut gateway = Process::spawn(&mut command, &self.log("gateway.log"))?;
        let line = listening_line(&mut gateway)
            .map_err(|problem| format!("{problem}\n{}", gateway.complaints()))?;
        let url = line
            .split([' ', ','])
            .find(|word| word.starts_with("http://"))
            .ok_or_else(|| format!("no URL in {line:?}"))?;
        self.address = address_of(url)?;
        let address = self.address.clone();
        wait_until(&mut gateway, || is_healthy(&address))?;
        self.gateway = Some(gateway);
        Ok(())
    }
}

/// A command for etcdynamo with credentials for a local engine and no other flags.
#[must_use]
pub fn etcdynamo() -> Command {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command =
        Command::new(program("ETCDYNAMO_BIN", &workspace.join("target/release/etcdynamo")));
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

fn new_table() -> String {
    let number = TABLES.fetch_add(1, Ordering::Relaxed);
    format!("etcdynamo-compat-{}-{number}", process::id())
}

fn table_arguments(table: &str, endpoint: &str) -> Vec<String> {
    let words =
        ["--table", table, "--create-table", "--region", "us-east-1", "--endpoint-url", endpoint];
    words.map(str::to_owned).to_vec()
}

fn program(variable: &str, otherwise: &Path) -> PathBuf {
    env::var_os(variable).map_or_else(|| otherwise.to_owned(), PathBuf::from)
}

fn tool(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(path)
}

fn address_of(url: &str) -> Result<String, String> {
    url.strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/').to_owned())
        .ok_or_else(|| format!("{url:?} is not an http:// URL"))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

fn is_healthy(address: &str) -> bool {
    Client::new(address)
        .send(&Request::new("GET", "/health"))
        .is_ok_and(|answer| answer.status() == 200)
}

fn wait_until(process: &mut Process, mut ready: impl FnMut() -> bool) -> Result<(), String> {
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

fn listening_line(process: &mut Process) -> Result<String, String> {
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
