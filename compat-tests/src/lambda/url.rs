//! A URL in front of an environment: HTTP comes in, and is told to it as one of Lambda's senders would.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Environment;
use super::event::{Sender, put_on_wire};
use super::listen::{Came, Goes, Listening};
use super::runtime::Outcome;

/// The place where clients go.
#[derive(Debug)]
pub struct Url {
    listening: Listening,
}

impl Url {
    /// Opens one in front of an environment. Between two requests it stands still, where that is wanted.
    ///
    /// # Errors
    /// No port can be had.
    pub fn open(sender: Sender, environment: &Arc<Environment>, freezes: bool) -> io::Result<Self> {
        let environment = Arc::clone(environment);
        let turn = Mutex::new(());
        let listening = Listening::start(move |came| {
            // One event at a time.
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            ask(sender, &environment, freezes, &came).unwrap_or_else(|problem| Goes {
                status: 502,
                headers: Vec::new(),
                body: problem.into_bytes(),
            })
        })?;
        Ok(Self { listening })
    }

    /// Its host:port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.listening.address()
    }
}

fn ask(
    sender: Sender,
    environment: &Environment,
    freezes: bool,
    came: &Came,
) -> Result<Goes, String> {
    if freezes {
        environment.thaw()?;
    }
    let event = sender.event(came);
    let outcome = environment.invoke(&event);
    if freezes {
        environment.freeze()?;
    }
    match outcome? {
        Outcome::Answer(answer) => put_on_wire(sender, &answer),
        Outcome::Error(error) => Err(format!("the function failed: {error}")),
    }
}
