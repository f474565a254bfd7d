//! Stopping one write on its way, so that a test can kill its gateway there.
//!
//! Not here: who kills what. Invariant: a hold that nobody decides is abandoned when its handle
//! goes, so that no write stays for ever.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::call::Call;

/// Where a write is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it is applied.
    Before,
    /// After it is applied, before it is answered.
    After,
}

/// Which write is held, and where.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The number of the write from now on; 1 is the next.
    pub nth: u64,
    /// Where.
    pub moment: Moment,
    /// What the request has to mention to be counted; empty: anything.
    pub about: String,
}

/// What becomes of a write that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Release,
    Abandon,
}

/// A write that is held, or will be.
#[derive(Debug)]
pub struct Held {
    caught: mpsc::Receiver<String>,
    verdict: oneshot::Sender<Verdict>,
}

impl Held {
    /// Waits until the write is held; gives its operation. `None`: it did not come in time.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<String> {
        self.caught.recv_timeout(patience).ok()
    }

    /// Lets it go on, as if it had only been slow.
    pub fn release(self) {
        // It fails where the endpoint is gone, and with it the write.
        let _ = self.verdict.send(Verdict::Release);
    }

    /// Cuts its connection where it is: a write held before it was applied never is.
    pub fn abandon(self) {
        let _ = self.verdict.send(Verdict::Abandon);
    }
}

/// The endpoint's side of a hold that is still to come.
#[derive(Debug)]
pub(crate) struct Arming {
    hold: Hold,
    caught: mpsc::Sender<String>,
    verdict: oneshot::Receiver<Verdict>,
}

impl Arming {
    pub(crate) fn new(hold: Hold) -> (Self, Held) {
        let (caught, hear) = mpsc::channel();
        let (decide, verdict) = oneshot::channel();
        (Self { hold, caught, verdict }, Held { caught: hear, verdict: decide })
    }

    /// Counts a write; true where it is the one to hold.
    pub(crate) fn meets(&mut self, call: &Call) -> bool {
        let body = String::from_utf8_lossy(&call.body);
        if !body.contains(&self.hold.about) {
            return false;
        }
        self.hold.nth = self.hold.nth.saturating_sub(1);
        self.hold.nth == 0
    }

    pub(crate) fn moment(&self) -> Moment {
        self.hold.moment
    }

    /// Tells that the write is held and waits for what becomes of it.
    pub(crate) async fn decided(self, call: &Call) -> Verdict {
        if self.caught.send(call.operation.clone()).is_err() {
            return Verdict::Abandon;
        }
        self.verdict.await.unwrap_or(Verdict::Abandon)
    }
}
