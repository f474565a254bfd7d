//! The embedded store: the tree in memory, every commit on the local disk before it is seen.
//!
//! For one process at a time, which holds the whole tree in memory. Not a cache: it needs no
//! other store.
//!
//! ```text
//! commit() -> queue -> writer thread: decide -> disk (one sync a group) -> tree -> answers
//! get(), list() ---------------------------------------------------------> tree
//! ```
//!
//! Invariant: what a reader sees is durable, and commits become visible in the order in which
//! they were decided. Reads never wait for the disk.

mod changes;
mod codec;
mod disk;
mod open;
mod tree;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use self::disk::Durable;
pub use self::open::OpenError;
use self::tree::Tree;
use self::writer::{Request, Writer};
use super::{Committed, Consistency, Level, Limits, NoFeed, Page, Store, StoreError};
use crate::v2::{Commit, EtcdIndex, Item, Key, Op, Record, RecordKind, UnixMs};

/// Tells the time, for the sake of what may be forgotten.
pub type NowFn = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// How many commits may wait for the writer.
const QUEUE: usize = 4096;
/// How many items one page of a listing holds.
const PAGE_ITEMS: usize = 1000;
/// The longest key; the database's own limit is 65,535 bytes with the prefix.
const KEY_BYTES: usize = 32 * 1024;
/// The largest key and value together: a value of 10 MiB and some room.
const ITEM_BYTES: usize = 11 * 1024 * 1024;

/// The embedded store. Clones are handles to the same one.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

/// What readers and the writer share.
struct Shared {
    tree: RwLock<Tree>,
    /// Why nothing is written any more.
    failure: OnceLock<String>,
}

/// The way to the writer thread. The last one to go ends it.
struct Handle {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the store in this directory, which is made if it is not there, and reads it whole.
    /// Blocks.
    pub fn open(dir: &Path, now: NowFn) -> Result<Embedded, OpenError> {
        let disk = open::open_disk(dir)?;
        let tree = disk.load(dir)?;
        Embedded::start(tree, disk, now)
            .map_err(|source| OpenError::Io { dir: dir.to_owned(), source })
    }

    fn start(tree: Tree, disk: impl Durable, now: NowFn) -> std::io::Result<Embedded> {
        let shared = Arc::new(Shared { tree: RwLock::new(tree), failure: OnceLock::new() });
        let (queue, inbox) = mpsc::channel(QUEUE);
        let writer = Writer::new(inbox, shared.clone(), disk, now);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(|| writer.run())?;
        let handle = Handle { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) };
        Ok(Embedded { shared, handle: Arc::new(handle) })
    }

    /// The highest index that is kept. A clock that was set back must go on above it.
    pub fn highest_index(&self) -> EtcdIndex {
        self.shared.tree().highest_index()
    }

    /// Takes no more commits, waits until those under way are answered, and closes the
    /// directory. Reads go on.
    pub async fn close(&self) {
        if let Some(thread) = self.handle.end() {
            // A writer that panicked has nothing left to close.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

impl Shared {
    fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().expect("nothing panics while it changes the tree")
    }

    fn tree_mut(&self) -> RwLockWriteGuard<'_, Tree> {
        self.tree.write().expect("nothing panics while it changes the tree")
    }

    fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Ends all writing.
    fn fail(&self, why: &str) {
        tracing::error!(why, "a write to the data directory failed; restart once the disk is well");
        let why = format!("a write to the data directory failed ({why}) and none is tried since");
        // Only the first reason counts.
        let _ = self.failure.set(why);
    }
}

impl Handle {
    fn queue(&self) -> Option<mpsc::Sender<Request>> {
        self.queue.lock().expect("nothing panics while it holds the queue").clone()
    }

    /// Closes the queue, and gives the thread to whoever comes first.
    fn end(&self) -> Option<JoinHandle<()>> {
        *self.queue.lock().expect("nothing panics while it holds the queue") = None;
        self.thread.lock().expect("nothing panics while it holds the thread").take()
    }
}

impl Drop for Handle {
    /// Blocks for what is left of the last group.
    fn drop(&mut self) {
        if let Some(thread) = self.end() {
            // A writer that panicked has nothing left to close.
            let _ = thread.join();
        }
    }
}

impl Store for Embedded {
    type Feed = NoFeed;

    fn limits(&self) -> Limits {
        Limits {
            key_bytes: KEY_BYTES,
            item_bytes: ITEM_BYTES,
            commit_ops: usize::MAX,
            commit_bytes: usize::MAX,
            is_remote: false,
            name: "the embedded store",
        }
    }

    async fn get(&self, key: &Key, _: Consistency) -> Result<Option<Arc<Item>>, StoreError> {
        Ok(self.shared.tree().get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Item>>>, StoreError> {
        let tree = self.shared.tree();
        Ok(keys.iter().map(|key| tree.get(key).cloned()).collect())
    }

    async fn list(&self, level: Level<'_>, _: Consistency) -> Result<Page, StoreError> {
        Ok(self.shared.tree().page(&level, PAGE_ITEMS))
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        Ok(self.shared.tree().records(kind))
    }

    async fn feed(&self) -> Result<NoFeed, StoreError> {
        Err(StoreError::Unavailable("nobody else writes to this store".to_owned()))
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        check_sizes(commit)?;
        if let Some(why) = self.shared.failure() {
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let queue = self.handle.queue().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request { commit: commit.clone(), answer };
        queue.send(request).await.map_err(|_| closed())?;
        drop(queue);
        let lost = |_| StoreError::Indeterminate("the writer ended before it answered".to_owned());
        answered.await.map_err(lost)?
    }
}

/// A longer name would be cut short by the database.
fn check_sizes(commit: &Commit) -> Result<(), StoreError> {
    for op in &commit.ops {
        if let Op::Node(op) = op
            && op.key.as_bytes().len() > KEY_BYTES
        {
            return Err(StoreError::TooLarge(format!("a key is over {KEY_BYTES} bytes")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
