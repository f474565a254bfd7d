//! A keyspace for tests: it answers by what the key is called, and remembers what it was asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::keyspace::{
    Answer, Credentials, Identity, Intent, Keys, NotAdministered, RequestLimits, Statistics,
    Watching,
};
use crate::units::{self, Units};
use crate::v2::{
    Accounts, Action, Administered, Administration, Error, ErrorCode, EtcdIndex, Event, Key, Need,
    Node, Operation, Read, UnixMs, Value, Watch, Write, WriteId,
};
use crate::watch::Hub;

/// The time that the fake tells.
pub(super) const NOW: UnixMs = UnixMs(1_795_300_700_654);

/// What each request consumes.
const UNITS: Units = Units { read: 0.5, write: 4.0 / 3.0 };

/// `/nope…` is missing, `/broken…` fails, `/slow…` waits for [`FakeKeys::let_go`], `/old…` is a
/// file that was there before; everything else is a file with the value `v`.
pub(super) struct FakeKeys {
    limits: RequestLimits,
    asked: Mutex<Vec<Write>>,
    gate: Semaphore,
    pub(super) slow_is_waiting: Semaphore,
    pub(super) is_healthy: AtomicBool,
    /// What was missed cannot be made up for.
    pub(super) misses: AtomicBool,
    hub: Arc<Hub>,
}

impl FakeKeys {
    pub(super) fn new(value_bytes: usize) -> FakeKeys {
        FakeKeys {
            limits: RequestLimits { value_bytes, name: "a small item" },
            asked: Mutex::default(),
            gate: Semaphore::new(0),
            slow_is_waiting: Semaphore::new(0),
            is_healthy: AtomicBool::new(true),
            misses: AtomicBool::new(false),
            hub: Arc::new(Hub::new(10, EtcdIndex(17))),
        }
    }

    /// The writes that came to their end.
    pub(super) fn written(&self) -> Vec<Write> {
        self.asked.lock().unwrap().clone()
    }

    /// Lets one slow request go on.
    pub(super) fn let_go(&self) {
        self.gate.add_permits(1);
    }

    /// Tells watchers that a file was set.
    pub(super) fn tell(&self, path: &str, index: u64) {
        let key = Key::parse(path.as_bytes()).unwrap();
        let index = EtcdIndex(index);
        let node = Node { modified: index, ..file(key, Value::from("v")) };
        let event = Event { action: Action::Set, ..Event::get(node) };
        let _ = self.hub.offer(Arc::new(event), Vec::new());
        self.hub.release(index);
    }

    /// How many watchers wait.
    pub(super) fn watchers(&self) -> u64 {
        self.hub.waiting()
    }

    async fn answer(&self, key: &Key) -> Result<(), Error> {
        let path = key.as_bytes();
        units::spend(UNITS).for_each(drop);
        if path.starts_with(b"/nope") {
            return Err(Error::about(ErrorCode::KeyNotFound, key).at_store(EtcdIndex(16)));
        }
        if path.starts_with(b"/broken") {
            let error = Error::new(ErrorCode::RaftInternal, "etcdserver: request timed out");
            return Err(error.because(std::io::Error::other("the disk is full")));
        }
        if path.starts_with(b"/slow") {
            self.slow_is_waiting.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
        }
        Ok(())
    }
}

fn file(key: Key, value: Value) -> Node {
    let index = EtcdIndex(16);
    Node { key, value: Some(value), dir: false, modified: index, created: index, ..Node::root() }
}

impl Keys for FakeKeys {
    async fn read(&self, read: Read) -> Result<Answer, Error> {
        self.answer(&read.key).await?;
        let node = match read.key.is_root() {
            true => Node::root(),
            false => file(read.key, Value::from("v")),
        };
        Ok(Answer { event: Event::get(node), index: EtcdIndex(17), room: None })
    }

    async fn write(&self, write: Write) -> Result<Answer, Error> {
        self.answer(&write.key).await?;
        self.asked.lock().unwrap().push(write.clone());
        let (action, value) = match &write.operation {
            Operation::Set(draft) => (Action::Set, draft.value.clone()),
            Operation::Create(draft) | Operation::CreateInOrder(draft) => {
                (Action::Create, draft.value.clone())
            }
            Operation::Update(draft) => (Action::Update, draft.value.clone()),
            Operation::CompareAndSwap(draft, _) => (Action::CompareAndSwap, draft.value.clone()),
            Operation::Delete(_) => (Action::Delete, Value::default()),
            Operation::CompareAndDelete(_) => (Action::CompareAndDelete, Value::default()),
            Operation::Expire(_) => (Action::Expire, Value::default()),
        };
        let is_old = write.key.as_bytes().starts_with(b"/old");
        let event = Event {
            action,
            prev_node: is_old.then(|| file(write.key.clone(), Value::from("before"))),
            node: file(write.key, value),
            is_created: !is_old,
            is_refresh: false,
        };
        Ok(Answer { event, index: EtcdIndex(16), room: None })
    }

    async fn watch(&self, watch: Watch) -> Result<Watching, Error> {
        self.answer(&watch.key).await?;
        let watcher = self.hub.watch(&watch).map_err(|c| Error::from(c).at_store(EtcdIndex(17)))?;
        Ok(Watching { watcher, index: EtcdIndex(17) })
    }

    async fn allows(&self, _: &Credentials, _: Need<'_>) -> bool {
        true
    }

    async fn allows_administration(&self, _: &Credentials) -> bool {
        true
    }

    async fn accounts(&self) -> Result<Accounts, Error> {
        Ok(Accounts::default())
    }

    async fn administrate(
        &self,
        asked: Administration,
        _: Option<String>,
    ) -> Result<Administered, NotAdministered> {
        let id = WriteId { index: EtcdIndex(18), gateway: 0 };
        Ok(Accounts::default().plan(&asked, id)?.answer)
    }

    fn end_watches(&self) {
        self.hub.end();
    }

    async fn catch_up(&self, _: Intent) -> Result<(), Error> {
        match self.misses.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorCode::RaftInternal, "the store is not available")),
            false => Ok(()),
        }
    }

    async fn healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    fn now(&self) -> UnixMs {
        NOW
    }

    fn index(&self) -> EtcdIndex {
        EtcdIndex(17)
    }

    fn identity(&self) -> Identity {
        Identity { cluster_id: 0x7f, member_id: 0x2bc2_1162_cab8_eb93 }
    }

    fn limits(&self) -> RequestLimits {
        self.limits
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}
