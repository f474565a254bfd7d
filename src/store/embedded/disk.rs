//! The durable side: fjall, which knows bytes only.
//!
//! One keyspace holds all, so that a group is one batch in one journal: an item under
//! `n<path>`, a record under `r<name>`. It is read whole at the start and never again, so caches
//! and filters are next to nothing.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use fjall::config::{BlockSizePolicy, FilterPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::changes::Changes;
use super::codec;
use super::open::OpenError;
use super::tree::Tree;
use crate::v2::{Item, Key};

const ITEM: u8 = b'n';
const RECORD: u8 = b'r';

/// What fjall may keep in memory before it writes a table.
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// What fjall may keep of its tables.
const CACHE_BYTES: u64 = 512 * 1024;
/// The least that fjall takes; past it, journals are let go by writing tables.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Larger blocks need a smaller index, and nothing is looked up by key.
const BLOCK_BYTES: u32 = 16 * 1024;

/// Where changes are made to last.
pub(super) trait Durable: Send + 'static {
    /// Writes the changes, all or none of them, and returns once they will outlive a crash.
    fn write(&mut self, changes: &Changes) -> Result<(), String>;

    /// Forgets items. After a crash some of them may be there again.
    fn forget(&mut self, keys: &[Key]) -> Result<(), String>;
}

/// An open database, and the lock of the directory it is in.
pub(super) struct Disk {
    all: Keyspace,
    database: Database,
    /// Goes last: another process may open the directory once this is closed.
    _lock: File,
}

impl Disk {
    /// Opens the database at this path, or makes an empty one.
    pub(super) fn open(path: &Path, lock: File) -> fjall::Result<Disk> {
        // One worker: of several, the first spins while another one compacts.
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()?;
        let all = database.keyspace("all", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .filter_policy(FilterPolicy::disabled())
                .filter_block_pinning_policy(PinningPolicy::disabled())
                .index_block_pinning_policy(PinningPolicy::disabled())
        })?;
        Ok(Disk { all, database, _lock: lock })
    }

    /// Reads everything.
    pub(super) fn load(&self, dir: &Path) -> Result<Tree, OpenError> {
        let mut tree = Tree::default();
        for entry in self.all.iter() {
            let (name, bytes) = entry.into_inner().map_err(|e| OpenError::database(dir, e))?;
            load_one(&mut tree, &name, &bytes).map_err(|why| {
                let name = String::from_utf8_lossy(&name);
                OpenError::Corrupt { dir: dir.to_owned(), what: format!("entry {name:?}: {why}") }
            })?;
        }
        Ok(tree)
    }
}

fn load_one(tree: &mut Tree, name: &[u8], bytes: &[u8]) -> Result<(), String> {
    match name.split_first() {
        Some((&ITEM, path)) => {
            let key = codec::key_from_bytes(path).map_err(|e| e.to_string())?;
            let item = codec::item_from_bytes(key, bytes).map_err(|e| e.to_string())?;
            tree.put(Arc::new(item));
        }
        Some((&RECORD, name)) => {
            let record = codec::record_from_bytes(bytes).map_err(|e| e.to_string())?;
            if record.name().as_bytes() != name {
                return Err("it holds a record of another name".to_owned());
            }
            tree.put_record(record.name(), Some(record));
        }
        Some(_) | None => return Err("no item and no record has such a name".to_owned()),
    }
    Ok(())
}

impl Durable for Disk {
    fn write(&mut self, changes: &Changes) -> Result<(), String> {
        // fdatasync: the journal's file and its name are synced when it is made.
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, item) in &changes.items {
            let item: &Item = item;
            batch.insert(&self.all, named(ITEM, key.as_bytes()), codec::item_to_bytes(item));
        }
        for (name, record) in &changes.records {
            let name = named(RECORD, name.as_bytes());
            match record {
                Some(record) => batch.insert(&self.all, name, codec::record_to_bytes(record)),
                None => batch.remove(&self.all, name),
            }
        }
        batch.commit().map_err(|e| e.to_string())
    }

    fn forget(&mut self, keys: &[Key]) -> Result<(), String> {
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for key in keys {
            batch.remove(&self.all, named(ITEM, key.as_bytes()));
        }
        batch.commit().map_err(|e| e.to_string())
    }
}

fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(1 + name.len());
    all.push(kind);
    all.extend_from_slice(name);
    all
}
