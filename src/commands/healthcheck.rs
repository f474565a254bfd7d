//! `etcdynamo healthcheck`: whether the server on this machine lives, as an exit code.
//!
//! For container engines, whose images have no shell and no curl. Not here: what the server says of
//! itself, which is its own matter. Invariant: it ends within its timeout, whatever the server does.

use std::fmt;

use crate::config::HealthCheck;
use crate::v2http::probe;

/// Why the server does not count as alive, for a person to read.
#[derive(Debug)]
pub struct Unhealthy(String);

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unhealthy {}

/// Asks once, and says what was answered.
pub async fn run(check: &HealthCheck) -> Result<String, Unhealthy> {
    let HealthCheck { host, port, path, timeout } = check;
    let whom = match host.contains(':') {
        true => format!("http://[{host}]:{port}{path}"),
        false => format!("http://{host}:{port}{path}"),
    };
    let asked = probe::get(host, *port, path);
    match tokio::time::timeout(*timeout, asked).await {
        Ok(Ok(status)) if status.is_success() => Ok(format!("healthy: {whom} answered {status}")),
        Ok(Ok(status)) => Err(Unhealthy(format!("unhealthy: {whom} answered {status}"))),
        Ok(Err(error)) => Err(Unhealthy(format!("unhealthy: {whom}: {error}"))),
        Err(_elapsed) => {
            Err(Unhealthy(format!("unhealthy: {whom} did not answer within {timeout:?}")))
        }
    }
}

#[cfg(test)]
mod tests;
