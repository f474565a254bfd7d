//! The end of the program as a value: when it is announced, when it begins, and by when it has to
//! be over.
//!
//! ```text
//! signal -> announced: not ready, but served as ever -> (delay) -> begun: drain -> deadline
//!     second signal, at any point -> the process exits at once
//! ```
//!
//! Whoever holds a [`Shutdown`] can wait for it or begin it. It begins once, by a signal or by
//! hand, and from then on its deadline stands. Nothing is lost by the second signal that was
//! acknowledged: it is as good as a `kill -9`.

use std::io;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long the end takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the signal until nothing new is accepted: how long load balancers take to notice.
    pub delay: Duration,
    /// From then on, for what is under way.
    pub grace: Duration,
}

/// The end of the program. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Shutdown {
    announced: CancellationToken,
    token: CancellationToken,
    pace: Pace,
    begun_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// An end that has not begun and will take so long at most.
    pub fn new(pace: Pace) -> Shutdown {
        Shutdown {
            announced: CancellationToken::new(),
            token: CancellationToken::new(),
            pace,
            begun_at: Arc::default(),
        }
    }

    /// Says that it will begin soon.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Whether it was announced, or has begun.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Begins it; only the first time counts.
    pub fn begin(&self) {
        self.announce();
        self.begun_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// A token that is cancelled when it begins.
    pub fn child(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// By when it has to be over; before it has begun, as if it began now.
    pub fn deadline(&self) -> Instant {
        self.begun_at.get().copied().unwrap_or_else(Instant::now) + self.pace.grace
    }

    /// Announces it at SIGTERM or SIGINT, from now on, and begins it after the delay. A second
    /// signal ends the process at once.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let shutdown = self.clone();
        tokio::spawn(async move {
            let Received { name, .. } = signals.next().await;
            let delay_ms = u64::try_from(shutdown.pace.delay.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(signal = name, delay_ms, "shutting down: not ready any more");
            shutdown.announce();
            let delayed = async {
                sleep(shutdown.pace.delay).await;
                shutdown.begin();
                std::future::pending::<()>().await;
            };
            let Received { name, exit_code } = tokio::select! {
                received = signals.next() => received,
                () = delayed => return,
            };
            tracing::warn!(signal = name, "a second signal: stopped at once");
            process::exit(exit_code);
        });
        Ok(())
    }
}

/// A signal that came, and what shells say of a program that it killed.
struct Received {
    name: &'static str,
    exit_code: i32,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received { name: "SIGTERM", exit_code: 143 },
            _ = self.interrupt.recv() => Received { name: "SIGINT", exit_code: 130 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_stands_from_the_first_beginning() {
        let pace = Pace { delay: Duration::ZERO, grace: Duration::from_secs(20) };
        let shutdown = Shutdown::new(pace);
        let began = Instant::now();
        assert!(!shutdown.has_begun() && !shutdown.is_announced());
        shutdown.clone().announce();
        assert!(shutdown.is_announced() && !shutdown.has_begun());
        shutdown.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        shutdown.clone().begin();
        shutdown.begun().await;
        assert!(shutdown.child().is_cancelled() && shutdown.is_announced());
        assert_eq!(shutdown.deadline(), began + Duration::from_secs(20));
    }
}
