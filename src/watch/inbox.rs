//! The inbox of one watcher: events that it was told of and has not taken yet.
//!
//! Small, because most of the many watchers wait in vain, and bounded as etcd's is. It knows
//! nothing of paths; the hub puts events in, the watcher takes them out.
//!
//! Invariant: once it is closed nothing more goes in, and what is in it still comes out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::v2::Event;

/// How many events may wait to be taken (v2store/watcher_hub.go makes a channel of this size).
pub(super) const INBOX_EVENTS: usize = 100;

/// What comes after the events that are in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum After {
    /// More events, when they happen.
    #[default]
    More,
    /// Nothing, for ever: where etcd forgets a watcher and keeps its connection.
    Silence,
    /// The end.
    End,
}

#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<Event>>,
    after: After,
    waker: Option<Waker>,
}

impl Inbox {
    /// Puts an event in, and says what comes after it. Gives whom to wake, and whether more may
    /// go in: not after the last one, and not where the watcher was too slow. That one hears what
    /// it was told already and then nothing, although etcd's authors meant to end it
    /// (v2store/watcher.go, `notify`: `remove` does not close the channel).
    pub(super) fn put(&self, event: &Arc<Event>, after: After) -> (Option<Waker>, bool) {
        let mut state = self.lock();
        if state.after != After::More {
            return (None, false);
        }
        if state.events.len() >= INBOX_EVENTS {
            state.after = After::Silence;
            return (None, false);
        }
        state.events.push_back(Arc::clone(event));
        state.after = after;
        (state.waker.take(), after == After::More)
    }

    /// Ends it after what is in it. Gives whom to wake.
    pub(super) fn end(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.after = After::End;
        state.waker.take()
    }

    /// The next event; `None` at the end.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.after == After::End {
            return Poll::Ready(None);
        }
        // Also in silence: the hub may still end it.
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether there is nothing to take, not even the end.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.lock();
        state.events.is_empty() && state.after != After::End
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
