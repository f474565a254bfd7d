//! Kept-alive connections to one server, shared between threads.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{Answer, Connection, Request};

/// A pool of kept-alive connections to one server; may be shared between threads.
#[derive(Debug)]
pub struct Client {
    address: String,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client of the server at `address` (host:port).
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    /// The server's host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request on a kept-alive connection and reads the whole answer.
    ///
    /// # Errors
    /// No connection, or the answer is not HTTP, or it took too long.
    pub fn send(&self, request: &Request) -> io::Result<Answer> {
        if let Some(mut connection) = self.take_idle() {
            match connection.send(request) {
                Ok(answer) => return Ok(self.keep(connection, answer)),
                Err(error) if was_stale(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = Connection::open(&self.address)?;
        let answer = connection.send(request)?;
        Ok(self.keep(connection, answer))
    }

    /// Connects anew.
    ///
    /// # Errors
    /// No connection could be made.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.address)
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Connection, answer: Answer) -> Answer {
        if !connection.ended && connection.buffer.is_empty() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        answer
    }
}

fn was_stale(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
