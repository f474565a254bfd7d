//! Starts the engines that stand in for DynamoDB.
//!
//! An engine may have several gateways and endpoints in front of it. Its invariant: it is ready
//! when it is there, and dies with its handle, unless it is one that ran already.

use std::env;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::http::{Client, Request};
use crate::process::{Process, free_port, program, tool, wait_until};
use crate::server::Target;

/// Tables made by this process: engines that outlive it must not show one server's table to another.
static TABLES: AtomicU64 = AtomicU64::new(1);

/// A name that no other table has.
#[must_use]
pub fn new_table() -> String {
    let number = TABLES.fetch_add(1, Ordering::Relaxed);
    format!("etcdynamo-compat-{}-{number}", process::id())
}

/// A running engine with no tables that anybody else uses.
#[derive(Debug)]
pub struct Engine {
    target: Target,
    address: String,
    /// None where it ran already.
    process: Option<Process>,
    /// Holds its log.
    _directory: TempDir,
}

impl Engine {
    /// Starts the engine of a target and waits until it answers.
    ///
    /// # Errors
    /// The target has no engine, or it did not become ready.
    pub fn start(target: Target) -> Result<Self, String> {
        let directory = TempDir::with_prefix("engine-").map_err(|error| error.to_string())?;
        if target == Target::DynamodbLocal {
            let url = env::var("DYNAMODB_LOCAL_URL")
                .map_err(|_| "DYNAMODB_LOCAL_URL must name a running DynamoDB Local")?;
            let address = crate::server::address_of(&url)?;
            return Ok(Self { target, address, process: None, _directory: directory });
        }
        let port = free_port()?.to_string();
        let mut command = command(target, &port).ok_or("this target has no table")?;
        let log: PathBuf = directory.path().join("engine.log");
        let mut process = Process::spawn(command.stdout(Stdio::null()), &log)?;
        let address = format!("127.0.0.1:{port}");
        wait_until(&mut process, || {
            // Any HTTP answer will do: the engines have no common health page.
            Client::new(&address).send(&Request::new("GET", "/")).is_ok()
        })?;
        Ok(Self { target, address, process: Some(process), _directory: directory })
    }

    /// The target that runs on it.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its URL, for a gateway's `--endpoint-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id, where this handle started it.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}

fn command(target: Target, port: &str) -> Option<Command> {
    match target {
        Target::Dynoxide => {
            let mut command = Command::new(program("DYNOXIDE_BIN", &tool("dynoxide/bin/dynoxide")));
            command.args(["serve", "--host", "127.0.0.1", "--port", port]);
            Some(command)
        }
        Target::Ministack => {
            let mut command = Command::new(program("MINISTACK_BIN", &tool("venv/bin/ministack")));
            command
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port)
                .env("EDGE_PORT", port)
                .env("IOT_MTLS_ENABLED", "0")
                .env("SERVICES", "dynamodb,dynamodbstreams");
            Some(command)
        }
        Target::Etcd | Target::Embedded | Target::DynamodbLocal | Target::Url => None,
    }
}
