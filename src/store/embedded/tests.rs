//! What the embedded store promises beyond the contract: it lasts, it is alone in its
//! directory, it groups, it stops after a failed write, it forgets in time.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;

use tempfile::TempDir;

use super::changes::Changes;
use super::*;
use crate::v2::{
    Action, EtcdIndex, Mutation, NodeOp, Precondition, TOMBSTONE_LIFETIME_MS, Value, WriteId,
};

const NOW: UnixMs = UnixMs(1_790_000_000_000);

/// A disk that keeps nothing.
struct Nowhere;

impl Durable for Nowhere {
    fn write(&mut self, _: &Changes) -> Result<(), String> {
        Ok(())
    }

    fn forget(&mut self, _: &[Key]) -> Result<(), String> {
        Ok(())
    }
}

impl Embedded {
    /// A store for tests that touches no disk, and forgets nothing before its time.
    pub(crate) fn in_memory(now: NowFn) -> Embedded {
        Embedded::start(Tree::default(), Nowhere, now).expect("a thread can be started")
    }
}

fn at(now: UnixMs) -> NowFn {
    Arc::new(move || now)
}

fn open(dir: &TempDir) -> Embedded {
    Embedded::open(dir.path(), at(NOW)).unwrap()
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).unwrap()
}

fn id(index: u64) -> WriteId {
    WriteId { index: EtcdIndex(index), gateway: 7 }
}

fn write(path: &str, value: &str, expiration: Option<UnixMs>, index: u64) -> Commit {
    let op = NodeOp {
        key: key(path),
        id: id(index),
        expect: vec![],
        mutation: Mutation::WriteFile {
            value: Some(Value::from(value)),
            creates: true,
            expiration,
        },
        action: Some(Action::Set),
    };
    Commit { id: id(index), ops: vec![Op::Node(op)] }
}

fn remove(path: &str, now: UnixMs, index: u64) -> Commit {
    let op = NodeOp {
        key: key(path),
        id: id(index),
        expect: vec![Precondition::File],
        mutation: Mutation::Remove { draining: false, now },
        action: Some(Action::Delete),
    };
    Commit { id: id(index), ops: vec![Op::Node(op)] }
}

async fn apply(store: &Embedded, commit: Commit) {
    let committed = store.commit(&commit).await.unwrap();
    assert!(matches!(committed, Committed::Applied { .. }), "{commit:?}: {committed:?}");
}

async fn get(store: &Embedded, path: &str) -> Option<Arc<Item>> {
    store.get(&key(path), Consistency::Strong).await.unwrap()
}

mod conformance {
    use super::*;
    use crate::store::conformance::{Subject, conformance};

    struct OnDisk {
        store: Embedded,
        _dir: TempDir,
    }

    impl Subject for OnDisk {
        type Store = Embedded;

        fn store(&self) -> &Embedded {
            &self.store
        }

        fn second(&self) -> &Embedded {
            &self.store
        }
    }

    async fn on_disk() -> OnDisk {
        let dir = TempDir::new().unwrap();
        OnDisk { store: open(&dir), _dir: dir }
    }

    conformance!(on_disk());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_reopen() {
    let dir = TempDir::new().unwrap();
    let record = Record::DirTtl { key: key("/d"), expiration: NOW };
    let dropped = Record::DirTtl { key: key("/e"), expiration: NOW };
    let store = open(&dir);
    apply(&store, write("/a", "one", None, 1)).await;
    apply(&store, write("/a", "two", None, 2)).await;
    apply(&store, write("/b/c", "", Some(NOW.plus_ms(9)), 3)).await;
    apply(&store, write("/gone", "x", None, 4)).await;
    apply(&store, remove("/gone", NOW, 5)).await;
    let records = vec![Op::PutRecord(record.clone()), Op::PutRecord(dropped.clone())];
    apply(&store, Commit { id: id(6), ops: records }).await;
    apply(&store, Commit { id: id(7), ops: vec![Op::DropRecord(dropped.name())] }).await;
    let keys = [key("/a"), key("/b/c"), key("/gone"), key("/b")];
    let before = store.get_many(&keys).await.unwrap();
    assert_eq!(before.iter().flatten().count(), 3);
    drop(store);

    let store = open(&dir);
    assert_eq!(store.get_many(&keys).await.unwrap(), before);
    assert_eq!(store.records(RecordKind::DirTtl).await.unwrap(), [record]);
    apply(&store, write("/a", "three", None, 8)).await;
    drop(store);
    assert_eq!(get(&open(&dir), "/a").await.unwrap().modified, EtcdIndex(8));
}

#[tokio::test]
async fn a_directory_in_use_is_refused_until_it_is_closed() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let Err(error) = Embedded::open(dir.path(), at(NOW)) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");

    apply(&store, write("/a", "one", None, 1)).await;
    let other = store.clone();
    store.close().await;
    let again = open(&dir);
    assert!(get(&again, "/a").await.is_some());
    assert!(get(&other, "/a").await.is_some(), "reads go on");
    let refused = other.commit(&write("/b", "", None, 2)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("member"), "etcd's").unwrap();
    let Err(error) = Embedded::open(dir.path(), at(NOW)) else { panic!("opened") };
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("member"), "{error}");
    assert_eq!(names(&dir), ["member"]);
}

#[test]
fn an_unknown_format_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("FORMAT"), "etcdynamo embedded store, format 2\n").unwrap();
    let Err(error) = Embedded::open(dir.path(), at(NOW)) else { panic!("opened") };
    assert!(matches!(error, OpenError::UnknownFormat { .. }), "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
    assert_eq!(names(&dir), ["FORMAT"]);
}

#[test]
fn a_file_is_no_data_directory() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = Embedded::open(&file, at(NOW)) else { panic!("opened") };
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_first_start_that_ended_early_is_taken_up() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("FORMAT.new"), "etcdyn").unwrap();
    fs::write(dir.path().join("LOCK"), "").unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    drop(open(&dir));
    fs::rename(dir.path().join("db"), dir.path().join("db.new")).unwrap();
    fs::remove_file(dir.path().join("db.new/version")).unwrap();
    drop(open(&dir));
    assert_eq!(names(&dir), ["FORMAT", "LOCK", "db", "lost+found"]);
}

#[tokio::test]
async fn a_damaged_entry_is_named() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    {
        let db = fjall::Database::builder(dir.path().join("db")).open().unwrap();
        let all = db.keyspace("all", fjall::KeyspaceCreateOptions::default).unwrap();
        all.insert("n/some/key", [1, 77]).unwrap();
        db.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    let Err(error) = Embedded::open(dir.path(), at(NOW)) else { panic!("opened") };
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("n/some/key"), "{error}");
}

/// A disk whose first write waits until it is let go, and which counts and fails.
struct Gate {
    enter: std_mpsc::Sender<()>,
    go: std_mpsc::Receiver<()>,
    writes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Durable for Gate {
    fn write(&mut self, _: &Changes) -> Result<(), String> {
        if self.writes.fetch_add(1, Ordering::SeqCst) == 0 {
            self.enter.send(()).unwrap();
            self.go.recv().unwrap();
        }
        if self.broken.load(Ordering::SeqCst) { Err("no space left".to_owned()) } else { Ok(()) }
    }

    fn forget(&mut self, _: &[Key]) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_share_one_sync_and_none_is_seen_before_it() {
    let ((enter, entered), (let_go, go)) = (std_mpsc::channel(), std_mpsc::channel());
    let writes = Arc::new(AtomicUsize::new(0));
    let gate = Gate { enter, go, writes: writes.clone(), broken: Arc::default() };
    let store = Embedded::start(Tree::default(), gate, at(NOW)).unwrap();
    let spawn = |index: u64| {
        let store = store.clone();
        let path = format!("/k{}", index % 50);
        let commit = write(&path, "v", None, index);
        tokio::spawn(async move { store.commit(&commit).await.unwrap() })
    };
    let first = spawn(1);
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    let rest: Vec<_> = (2..=100).map(spawn).collect();
    let handle = || store.handle.queue().unwrap();
    while handle().capacity() > QUEUE - 99 {
        tokio::task::yield_now().await;
    }
    assert!(get(&store, "/k1").await.is_none(), "not durable, so not seen");
    assert!(!first.is_finished());
    let_go.send(()).unwrap();
    first.await.unwrap();
    for task in rest {
        task.await.unwrap();
    }
    assert_eq!(writes.load(Ordering::SeqCst), 2, "one for the first, one for all others");
    let Page { items, .. } =
        store.shared.tree().page(&Level { below: &Key::root(), depth: 1, from: None }, PAGE_ITEMS);
    assert_eq!(items.len(), 50);
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_and_reads_go_on() {
    let ((enter, _entered), (let_go, go)) = (std_mpsc::channel(), std_mpsc::channel());
    let_go.send(()).unwrap();
    let (writes, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let gate = Gate { enter, go, writes: writes.clone(), broken: broken.clone() };
    let store = Embedded::start(Tree::default(), gate, at(NOW)).unwrap();
    apply(&store, write("/a", "one", None, 1)).await;

    broken.store(true, Ordering::SeqCst);
    let unknown = store.commit(&write("/a", "two", None, 2)).await;
    assert!(matches!(unknown, Err(StoreError::Indeterminate(_))), "{unknown:?}");
    broken.store(false, Ordering::SeqCst);
    let refused = store.commit(&write("/b", "", None, 3)).await;
    let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("no space left"), "{why}");
    assert_eq!(writes.load(Ordering::SeqCst), 2);
    assert_eq!(get(&store, "/a").await.unwrap().modified, EtcdIndex(1));
}

#[tokio::test]
async fn what_is_past_its_time_is_forgotten_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(AtomicI64::new(NOW.0));
    let ticking: NowFn = {
        let clock = clock.clone();
        Arc::new(move || UnixMs(clock.load(Ordering::SeqCst)))
    };
    let store = Embedded::open(dir.path(), ticking.clone()).unwrap();
    apply(&store, write("/expires", "x", Some(NOW.plus_ms(1000)), 1)).await;
    apply(&store, write("/refreshed", "x", Some(NOW.plus_ms(1000)), 2)).await;
    apply(&store, write("/refreshed", "x", Some(NOW.plus_ms(1_000_000)), 3)).await;
    apply(&store, write("/removed", "x", None, 4)).await;
    apply(&store, remove("/removed", NOW, 5)).await;
    apply(&store, write("/again", "x", None, 6)).await;
    apply(&store, remove("/again", NOW, 7)).await;
    apply(&store, write("/again", "x", None, 8)).await;

    // The second commit is answered only after what followed the first one.
    clock.fetch_add(TOMBSTONE_LIFETIME_MS + 1, Ordering::SeqCst);
    apply(&store, write("/tick", "x", None, 9)).await;
    apply(&store, write("/tick", "x", None, 10)).await;
    let seen = |paths: [&'static str; 4]| paths.map(key);
    let keys = seen(["/expires", "/refreshed", "/removed", "/again"]);
    let there =
        |items: Vec<Option<Arc<Item>>>| items.iter().map(Option::is_some).collect::<Vec<_>>();
    let items = store.get_many(&keys).await.unwrap();
    assert_eq!(there(items), [true, true, false, true]);

    store.close().await;
    clock.fetch_add(1000, Ordering::SeqCst);
    let store = Embedded::open(dir.path(), ticking).unwrap();
    apply(&store, write("/tick", "x", None, 11)).await;
    let items = store.get_many(&keys).await.unwrap();
    assert_eq!(there(items), [false, true, false, true], "at the start too");
    store.close().await;
    let store = Embedded::open(dir.path(), at(NOW)).unwrap();
    let items = store.get_many(&keys).await.unwrap();
    assert_eq!(there(items), [false, true, false, true], "gone from the disk");
}

#[tokio::test]
async fn a_commit_of_records_alone_is_not_applied_twice() {
    let store = Embedded::in_memory(at(NOW));
    let record = |expiration| Record::DirTtl { key: key("/d"), expiration };
    let first = Commit { id: id(1), ops: vec![Op::PutRecord(record(NOW))] };
    let later = Commit { id: id(2), ops: vec![Op::PutRecord(record(NOW.plus_ms(1)))] };
    apply(&store, first.clone()).await;
    apply(&store, later).await;
    apply(&store, first).await;
    assert_eq!(store.records(RecordKind::DirTtl).await.unwrap(), [record(NOW.plus_ms(1))]);
}

#[tokio::test]
async fn a_key_that_the_database_would_cut_is_refused() {
    let store = Embedded::in_memory(at(NOW));
    let path = format!("/{}", "x".repeat(KEY_BYTES));
    let refused = store.commit(&write(&path, "", None, 1)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{refused:?}");
    let path = format!("/{}", "x".repeat(KEY_BYTES - 1));
    apply(&store, write(&path, "", None, 1)).await;
}
