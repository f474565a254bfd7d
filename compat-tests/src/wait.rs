//! Waiting: the one place of the suite that lets time pass.
//!
//! [`until`] polls for what is waited for; [`pass`] is only for cases about time itself, which
//! must see that something stays. Invariant: nothing here waits without a bound.

use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// Polls until something is there; `None` if it did not come in time.
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        pass(POLL);
    }
}

/// Lets so much time pass.
#[expect(clippy::disallowed_methods, reason = "polling and expiry need real time")]
pub fn pass(time: Duration) {
    thread::sleep(time);
}
