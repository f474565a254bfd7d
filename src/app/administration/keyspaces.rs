//! `etcdynamo keyspace list|create|empty|delete`.
//!
//! Emptying opens the keyspace as one more gateway would, and is safe beside others. Deleting is not:
//! it is refused while any lives. Invariant: none of them makes a keyspace but `create`, and what
//! belongs to another one is never touched.

use std::sync::Arc;
use std::time::Duration;

use super::census::Census;
use super::tables::connect;
use super::{Bill, Failed, Progress, begin_log, store_config};
use crate::app::open::index_clock;
use crate::clock::{SystemClock, unix_ms};
use crate::config::{Consent, KeyspaceCommand, KeyspacePlace, TablePlace};
use crate::console;
use crate::keyspace::{self, Access, Founded, Keyspace, NotRetired, Presence, Reach};
use crate::store::dynamodb::DynamoDbStore;
use crate::store::{Consistency, Store};
use crate::v2::Error;

/// How long the removal of one node with all that is below it may take. What is left then is
/// removed by whoever comes next.
const REMOVAL_LIMIT: Duration = Duration::from_secs(3600);

/// Does what is asked of keyspaces, and says how it went.
pub async fn keyspace(command: &KeyspaceCommand) -> Result<String, Failed> {
    begin_log()?;
    match command {
        KeyspaceCommand::List(place) => list(place).await,
        KeyspaceCommand::Create(place) => create(place).await,
        KeyspaceCommand::Empty(place, consent) => empty(place, *consent).await,
        KeyspaceCommand::Delete(place, consent) => delete(place, *consent).await,
    }
}

async fn list(place: &TablePlace) -> Result<String, Failed> {
    let bill = Bill::default();
    let table = connect(place, &bill).await?;
    table.see_whose().await.map_err(Failed::because)?;
    let mut progress = Progress::of("items read");
    let mut census = Census::default();
    let mut items = 0;
    let mut from = None;
    loop {
        let page = table.survey(from, None).await.map_err(Failed::because)?;
        let now = unix_ms(&SystemClock);
        for item in page.found {
            census.take_in(item, now);
            items += 1;
        }
        progress.tell(items);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    for note in census.notes() {
        console::remark(note);
    }
    bill.tell();
    Ok(census.to_string())
}

async fn create(place: &KeyspacePlace) -> Result<String, Failed> {
    let store = open_store(place, &Bill::default()).await?;
    let founded = keyspace::found(&store, &index_clock()).await;
    let Founded { identity, is_new } = founded.map_err(|error| about(place, error))?;
    let was = if is_new { "was made" } else { "was there" };
    let (name, id) = (&place.keyspace, identity.cluster_id);
    Ok(format!("the keyspace {name:?} {was}; its cluster id is {id:x}"))
}

async fn empty(place: &KeyspacePlace, consent: Consent) -> Result<String, Failed> {
    let bill = Bill::default();
    let store = open_store(place, &bill).await?;
    let name = &place.keyspace;
    match keyspace::look(&store).await.map_err(|error| about(place, error))? {
        Presence::Whole(_) => {}
        Presence::HalfDeleted => return Err(about(place, keyspace::OpenError::HalfDeleted)),
        Presence::Nothing => return Err(missing(place)),
    }
    if consent == Consent::Lacking {
        return Err(Failed(format!(
            "this would remove every key of the keyspace {name:?} of the table {:?}, and leave its \
             users and roles. Nothing was done. Say --confirm {name} to do it",
            place.table.table
        )));
    }
    let emptied = empty_store(store).await;
    bill.tell();
    let removed = emptied.map_err(|why| about(place, why))?;
    Ok(format!("the keyspace {name:?} is empty: {removed} nodes of / were removed, each whole"))
}

/// Empties the keyspace in a store. As long as that takes this is a gateway like any other, and
/// others know of it.
async fn empty_store<S: Store>(store: S) -> Result<u64, String> {
    let opened = Keyspace::open(store, Arc::new(index_clock()), of_keyspace()).await;
    let keyspace = Arc::new(opened.map_err(|error| error.to_string())?);
    let sweeper = tokio::spawn({
        let keyspace = Arc::clone(&keyspace);
        async move { keyspace.keep_sweeping().await }
    });
    let emptied = empty_now(&keyspace).await;
    sweeper.abort();
    let _aborted = sweeper.await;
    keyspace.leave().await;
    emptied.map_err(|error| {
        format!("{}; what is left can be removed by doing it again", error.chain())
    })
}

async fn empty_now<S: Store>(keyspace: &Keyspace<S>) -> Result<u64, Error> {
    // Removals that somebody left half done are finished first.
    keyspace.sweep().await?;
    let mut progress = Progress::of("nodes of / removed");
    keyspace.empty(|removed| progress.tell(removed)).await
}

async fn delete(place: &KeyspacePlace, consent: Consent) -> Result<String, Failed> {
    let bill = Bill::default();
    let store = open_store(place, &bill).await?;
    let name = &place.keyspace;
    if consent == Consent::Lacking {
        let present = keyspace::look(&store).await.map_err(|error| about(place, error))?;
        if present == Presence::Nothing {
            return Err(missing(place));
        }
        return Err(Failed(format!(
            "this would delete the keyspace {name:?} of the table {:?}: its keys, users, roles and \
             ids. Nothing was done. Say --confirm {name} to do it",
            place.table.table
        )));
    }
    let clock = index_clock();
    let retired = keyspace::retire(&store, &clock, |time| {
        console::remark(format_args!(
            "a gateway was there not long ago: for {} s it is seen whether it still is",
            time.as_secs()
        ));
    });
    retired.await.map_err(|error: NotRetired| about(place, error))?;
    let mut progress = Progress::of("items removed");
    let erased = store.erase(|erased| progress.tell(erased)).await;
    bill.tell();
    let erased = erased.map_err(|error| {
        about(place, format!("{error}; its deletion is not finished, and is by doing it again"))
    })?;
    if erased == 0 {
        return Err(missing(place));
    }
    Ok(format!("the keyspace {name:?} was deleted: {erased} items were removed"))
}

async fn open_store(place: &KeyspacePlace, bill: &Bill) -> Result<DynamoDbStore, Failed> {
    let config = store_config(&place.table, &place.keyspace);
    DynamoDbStore::open(&config, bill.meter()).await.map_err(Failed::because)
}

fn of_keyspace() -> keyspace::Config {
    keyspace::Config {
        access: Access::ReadWrite,
        read_consistency: Consistency::Strong,
        max_requests: 64,
        request_timeout: REMOVAL_LIMIT,
        watch_window: None,
        watch_reach: Reach::All,
        scan_for_ttl: false,
    }
}

fn missing(place: &KeyspacePlace) -> Failed {
    Failed(format!("the table {:?} has no keyspace {:?}", place.table.table, place.keyspace))
}

fn about(place: &KeyspacePlace, why: impl std::fmt::Display) -> Failed {
    Failed(format!("the keyspace {:?} of the table {:?}: {why}", place.keyspace, place.table.table))
}
