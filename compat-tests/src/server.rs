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
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use tempfile::TempDir;

use crate::dynamodb::policy::Guard;
use crate::dynamodb::proxy::Proxy;
use crate::engine::{Engine, new_table};
use crate::http::{Client, Request};
use crate::process::{Process, free_port, listening_line, program, wait_until};

const STOP_TIMEOUT: Duration = Duration::from_secs(20);

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

/// A running target.
#[derive(Debug)]
pub struct Server {
    target: Target,
    address: String,
    peer: String,
    table: String,
    /// What etcdynamo listens on.
    listen: String,
    /// Where a gateway finds its data, and what else it is told.
    arguments: Vec<String>,
    /// Variables of its environment beside those that are inherited.
    environment: Vec<(String, String)>,
    engine: Option<Engine>,
    /// Stands between the engine and all gateways on it, and lets pass what the IAM policies allow.
    endpoint: Option<Proxy>,
    gateway: Option<Process>,
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
        if target.is_dynamodb() {
            let engine = Engine::start(target)?;
            let endpoint = Proxy::start(engine.address(), 0).map_err(|error| error.to_string())?;
            endpoint.guard(Guard::of_gateway(&server.table)?);
            server.arguments = table_arguments(&server.table, &endpoint.url());
            server.arguments.push("--create-table".to_owned());
            server.engine = Some(engine);
            server.endpoint = Some(endpoint);
        }
        server.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        server.start_gateway()?;
        Ok(server)
    }

    /// A gateway alone, on this table behind this endpoint, with more flags if there are any. It
    /// makes the table where there is none.
    ///
    /// # Errors
    /// Why it did not become ready, with what it wrote to its standard error.
    pub fn gateway(
        target: Target,
        table: &str,
        endpoint: &str,
        flags: &[&str],
    ) -> Result<Self, String> {
        Self::gateway_in(&[], target, table, endpoint, flags)
    }

    /// The same in an environment of its own: with another clock, say.
    ///
    /// # Errors
    /// Why it did not become ready, with what it wrote to its standard error.
    pub fn gateway_in(
        environment: &[(String, String)],
        target: Target,
        table: &str,
        endpoint: &str,
        flags: &[&str],
    ) -> Result<Self, String> {
        let flags = [&["--create-table"], flags].concat();
        let mut gateway = Self::not_started(target, table, endpoint, &flags)?;
        gateway.environment = environment.to_vec();
        gateway.start_gateway()?;
        Ok(gateway)
    }

    /// A gateway alone on a table that is there already.
    ///
    /// # Errors
    /// Why it did not become ready, with what it wrote to its standard error.
    pub fn gateway_on(
        target: Target,
        table: &str,
        endpoint: &str,
        flags: &[&str],
    ) -> Result<Self, String> {
        let mut gateway = Self::not_started(target, table, endpoint, flags)?;
        gateway.start_gateway()?;
        Ok(gateway)
    }

    /// A gateway alone, yet to be started.
    fn not_started(
        target: Target,
        table: &str,
        endpoint: &str,
        flags: &[&str],
    ) -> Result<Self, String> {
        let mut gateway = Self::new(target, table.to_owned())?;
        gateway.arguments = table_arguments(table, endpoint);
        gateway.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Ok(gateway)
    }

    fn new(target: Target, table: String) -> Result<Self, String> {
        let directory = TempDir::with_prefix("compat-").map_err(|error| error.to_string())?;
        let data_dir = directory.path().join("data").display().to_string();
        Ok(Self {
            target,
            address: String::new(),
            peer: String::new(),
            table,
            listen: "http://127.0.0.1:0".to_owned(),
            arguments: vec!["--data-dir".to_owned(), data_dir],
            environment: Vec::new(),
            engine: None,
            endpoint: None,
            gateway: None,
            directory,
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

    /// SIGTERM, without waiting for its end.
    ///
    /// # Errors
    /// It does not run, or the signal could not be sent.
    pub fn terminate(&self) -> Result<(), String> {
        self.gateway.as_ref().ok_or("it does not run")?.terminate()
    }

    /// Waits for its own end, and says how it ended.
    ///
    /// # Errors
    /// It does not run, or did not end in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        self.gateway.take().ok_or("it does not run")?.wait(patience)
    }

    /// Starts it again on the same data; its address may change.
    ///
    /// # Errors
    /// Why it did not become ready.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.start_gateway()
    }

    /// Starts it again on the same data, on this URL and with more flags. Where that fails it is as
    /// it was, but does not run.
    ///
    /// # Errors
    /// Why it did not become ready, with what it wrote to its standard error.
    pub fn restart_at(&mut self, listen: &str, flags: &[&str]) -> Result<(), String> {
        let before = (self.listen.clone(), self.arguments.clone());
        listen.clone_into(&mut self.listen);
        self.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let restarted = self.restart();
        (self.listen, self.arguments) = before;
        restarted
    }

    /// A second gateway on the same table.
    ///
    /// # Errors
    /// This target has no table, or the gateway did not become ready.
    pub fn second_gateway(&self) -> Result<Self, String> {
        if !self.target.is_dynamodb() {
            return Err("this target has no table".to_owned());
        }
        let mut second = Self::new(self.target, self.table.clone())?;
        second.arguments.clone_from(&self.arguments);
        second.start_gateway()?;
        Ok(second)
    }

    /// The table behind it.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The engine that was started with it.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.gateway.as_ref().map(Process::id)
    }

    /// All that it wrote to its standard error.
    #[must_use]
    pub fn log_text(&self) -> String {
        let text = fs::read(self.log("gateway.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start_gateway(&mut self) -> Result<(), String> {
        match self.target {
            Target::Etcd => self.start_etcd(),
            Target::Embedded | Target::Dynoxide | Target::Ministack | Target::DynamodbLocal => {
                self.start_etcdynamo()
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

    fn start_etcdynamo(&mut self) -> Result<(), String> {
        let mut command = etcdynamo();
        command
            .args(["--listen-client-urls", &self.listen])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
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

fn table_arguments(table: &str, endpoint: &str) -> Vec<String> {
    let words = ["--table", table, "--region", "us-east-1", "--endpoint-url", endpoint];
    words.map(str::to_owned).to_vec()
}

pub(crate) fn address_of(url: &str) -> Result<String, String> {
    url.strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/').to_owned())
        .ok_or_else(|| format!("{url:?} is not an http:// URL"))
}

fn is_healthy(address: &str) -> bool {
    Client::new(address)
        .send(&Request::new("GET", "/health"))
        .is_ok_and(|answer| answer.status() == 200)
}
