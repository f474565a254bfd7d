//! The end of the program as a value: when it begins, and by when it has to be over.
//!
//! Whoever holds a [`Shutdown`] can wait for it or begin it. It begins once, by a signal or by
//! hand, and from then on its deadline stands.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The end of the program. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    grace: Duration,
    begun_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// An end that has not begun and will take so long at most.
    pub fn new(grace: Duration) -> Shutdown {
        Shutdown { token: CancellationToken::new(), grace, begun_at: Arc::default() }
    }

    /// Begins it; only the first time counts.
    pub fn begin(&self) {
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
        self.begun_at.get().copied().unwrap_or_else(Instant::now) + self.grace
    }

    /// Begins it at SIGTERM or SIGINT, from now on.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            shutdown.begin();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_stands_from_the_first_beginning() {
        let shutdown = Shutdown::new(Duration::from_secs(20));
        let began = Instant::now();
        assert!(!shutdown.has_begun());
        shutdown.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        shutdown.clone().begin();
        shutdown.begun().await;
        assert!(shutdown.child().is_cancelled());
        assert_eq!(shutdown.deadline(), began + Duration::from_secs(20));
    }
}
