//! A store that misbehaves, around one that does not: for tests.
//!
//! Each commit meets a fault by a seeded choice or a script: it does not happen and is reported
//! so, or its outcome is not reported though it happened or not or happens later, or it is delivered twice. Reads
//! fail or are delayed. It never tells a lie: what it reports is what the contract allows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Committed, Consistency, Level, Limits, Page, Store, StoreError};
use crate::v2::{Commit, Item, Key, Record, RecordKind};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It does not happen, and that is reported.
    Unavailable,
    /// It is not begun, and that is reported.
    Busy,
    /// It does not happen, and the caller cannot know.
    LostRequest,
    /// It happens, and the caller cannot know.
    LostReply,
    /// It happens, and then comes again; the second answer is given.
    Twice,
    /// The same, with so many milliseconds between the two.
    TwiceApart(u64),
    /// It happens after so many milliseconds.
    Slow(u64),
    /// It is held back, and the caller cannot know. The test delivers it, or not.
    HeldBack,
    /// The caller never hears of it again: as if the caller were killed before the call.
    Killed,
    /// It happens, and the caller never hears of it: as if the caller were killed after it.
    KilledAfter,
}

/// Chooses the fault of the n-th call; `true` for commits.
type Choose = Box<dyn Fn(u64, bool) -> Fault + Send + Sync>;

/// The commits that were held back.
pub(crate) type HeldBack = Arc<Mutex<Vec<Commit>>>;

/// A store around another one.
pub(crate) struct Faults<S> {
    inner: S,
    choose: Choose,
    limits: Option<Limits>,
    calls: AtomicU64,
    held_back: HeldBack,
}

impl<S: Store> Faults<S> {
    /// A wrapper that chooses faults by this.
    pub(crate) fn new(
        inner: S,
        choose: impl Fn(u64, bool) -> Fault + Send + Sync + 'static,
    ) -> Faults<S> {
        Faults {
            inner,
            choose: Box::new(choose),
            limits: None,
            calls: AtomicU64::new(0),
            held_back: HeldBack::default(),
        }
    }

    /// A wrapper that chooses at random, and makes about one call in `one_in` fail.
    pub(crate) fn seeded(inner: S, seed: u64, one_in: u64) -> Faults<S> {
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        Faults::new(inner, move |_, is_commit| {
            let mut random = random.lock().expect("no test panics while it chooses");
            match random.u64(..one_in) {
                0 if is_commit => *random
                    .choice(&[Fault::LostRequest, Fault::LostReply, Fault::Twice])
                    .expect("there are some"),
                _ => Fault::None,
            }
        })
    }

    /// The same with other limits.
    pub(crate) fn with_limits(self, limits: Limits) -> Faults<S> {
        Faults { limits: Some(limits), ..self }
    }

    /// The commits that are held back, now and later.
    pub(crate) fn held_back(&self) -> HeldBack {
        Arc::clone(&self.held_back)
    }

    fn next_fault(&self, is_commit: bool) -> Fault {
        (self.choose)(self.calls.fetch_add(1, Ordering::SeqCst), is_commit)
    }

    /// Reads fail or hang; they have no outcome that could be lost.
    async fn before_read(&self) -> Result<(), StoreError> {
        match self.next_fault(false) {
            Fault::None | Fault::Twice | Fault::LostReply | Fault::HeldBack => Ok(()),
            Fault::Slow(ms) | Fault::TwiceApart(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Fault::Unavailable | Fault::LostRequest => {
                Err(StoreError::Unavailable("injected".to_owned()))
            }
            Fault::Busy => Err(StoreError::Busy),
            Fault::Killed | Fault::KilledAfter => std::future::pending().await,
        }
    }
}

impl<S: Store> Store for Faults<S> {
    type Feed = S::Feed;

    fn limits(&self) -> Limits {
        self.limits.unwrap_or_else(|| self.inner.limits())
    }

    async fn get(
        &self,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Arc<Item>>, StoreError> {
        self.before_read().await?;
        self.inner.get(key, consistency).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Item>>>, StoreError> {
        self.before_read().await?;
        self.inner.get_many(keys).await
    }

    async fn list(&self, level: Level<'_>, consistency: Consistency) -> Result<Page, StoreError> {
        self.before_read().await?;
        self.inner.list(level, consistency).await
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        self.before_read().await?;
        self.inner.records(kind).await
    }

    async fn feed(&self) -> Result<S::Feed, StoreError> {
        self.before_read().await?;
        self.inner.feed().await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let lost = || StoreError::Indeterminate("injected".to_owned());
        match self.next_fault(true) {
            Fault::None => self.inner.commit(commit).await,
            Fault::Unavailable => Err(StoreError::Unavailable("injected".to_owned())),
            Fault::Busy => Err(StoreError::Busy),
            Fault::LostRequest => Err(lost()),
            Fault::LostReply => self.inner.commit(commit).await.and_then(|_| Err(lost())),
            Fault::Twice => {
                self.inner.commit(commit).await?;
                self.inner.commit(commit).await
            }
            Fault::TwiceApart(ms) => {
                self.inner.commit(commit).await?;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.inner.commit(commit).await
            }
            Fault::Slow(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.inner.commit(commit).await
            }
            Fault::HeldBack => {
                self.held_back.lock().expect("no test panics with it").push(commit.clone());
                Err(lost())
            }
            Fault::Killed => std::future::pending().await,
            Fault::KilledAfter => {
                self.inner.commit(commit).await?;
                std::future::pending().await
            }
        }
    }
}
