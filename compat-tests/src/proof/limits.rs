//! Sizes at, just below and just above the limits: each works, or is refused with an error that says
//! why; and large listings work in bounded memory, also several at once.

use std::thread;

use super::overload::peak_mib;
use super::{Row, Setting};
use crate::dynamodb::plant::Tree;
use crate::engine::{Engine, new_table};
use crate::http::{Answer, Connection, Request};
use crate::server::{Server, Target};

/// The longest key, in bytes.
const KEY_BYTES: usize = 1011;

/// What a key and its value may measure together.
const ITEM_BYTES: usize = 406_994;

/// New nodes in one write.
const NEW_NODES: usize = 100;

/// How many files are in a directory.
const FILES: u64 = 10_000;

/// How many list it all at once.
const LISTERS: usize = 16;

/// How often a listing is asked for alone.
const ATTEMPTS: usize = 3;

/// What the gateway may take at its peak while they do.
const MOST_MIB: u64 = 768;

/// A request, the status that it has to get, and what its body has to say.
type Case = (Request, u16, String);

/// Sizes around each limit, and a large tree.
///
/// # Errors
/// What kept it from running.
pub fn around(setting: &Setting) -> Result<Vec<Row>, String> {
    let (engine, table) = (Engine::start(setting.engine)?, new_table());
    let gateway = Server::gateway(engine.target(), &table, &engine.url(), &[])?;
    let mut sizes = row("values, keys and paths around the limits");
    for (request, status, says) in cases() {
        sizes.operations += 1;
        let told = gateway.client().send(&request);
        let body = request.body.as_ref().map_or(0, Vec::len);
        let line = request.target.len();
        let what = format!("{} of {line} bytes and a body of {body}", request.method);
        sizes.violations.extend(judge(&what, told, status, &says));
    }
    drop(gateway);
    // Where a page of so large a table takes an engine longer than a gateway waits for a call, a
    // smaller one has to do.
    let dirs = if setting.engine == Target::Ministack { 1 } else { 10 };
    let (top, name) = ("large".to_owned(), "tree".to_owned());
    let tree = Tree { top, name, dirs, files: FILES };
    tree.plant_without_stream(engine.address(), &table)?;
    let gateway = Server::gateway(engine.target(), &table, &engine.url(), &[])?;
    let nodes = usize::try_from(dirs * FILES).map_err(|error| error.to_string())?;
    let mut listing = row(&format!("a recursive listing of {nodes} nodes"));
    listing.operations = dirs * FILES + 1;
    // A machine may be so busy that one is not answered in time.
    let mut alone = (0..ATTEMPTS).map(|_| list(gateway.address(), nodes));
    if !alone.any(|told| told == Ok(Listed::Whole)) {
        listing.violations.push("it was not answered whole".to_owned());
    }
    let mut at_once = row(&format!("{LISTERS} of them at once, each answered or refused clearly"));
    at_once.operations = LISTERS as u64;
    let listers: Vec<Result<Listed, String>> = thread::scope(|scope| {
        let list = || list(gateway.address(), nodes);
        let listers: Vec<_> = (0..LISTERS).map(|_| scope.spawn(list)).collect();
        let ended = listers.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|told| told.unwrap_or_else(|_| Err("a lister panicked".to_owned()))).collect()
    });
    at_once.violations.extend(listers.into_iter().filter_map(Result::err));
    match peak_mib(&gateway) {
        Some(peak) if peak <= MOST_MIB => {}
        peak => at_once.violations.push(format!("at its peak it took {peak:?} MiB")),
    }
    Ok(vec![sizes, listing, at_once])
}

fn row(workload: &str) -> Row {
    Row { workload: workload.to_owned(), fault: "none".to_owned(), ..Row::default() }
}

fn cases() -> Vec<Case> {
    let put = |key: &str, value: usize| {
        Request::new("PUT", &format!("/v2/keys{key}")).form(&format!("value={}", "v".repeat(value)))
    };
    let key = |bytes: usize| format!("/{}", "k".repeat(bytes - 1));
    let deep = |nodes: usize| format!("/deep{nodes}{}", "/a".repeat(nodes - 1));
    let mut cases = Vec::new();
    for bytes in [KEY_BYTES - 1, KEY_BYTES] {
        cases.push((put(&key(bytes), 1), 201, String::new()));
        let dir = format!("{}?dir=true&ttl=1000", key(bytes).replace('k', "d"));
        cases.push((Request::new("PUT", &format!("/v2/keys{dir}")), 201, String::new()));
    }
    for bytes in [KEY_BYTES + 1, 2048, 5000] {
        cases.push((
            put(&key(bytes), 1),
            400,
            format!("limit of {KEY_BYTES} bytes of a DynamoDB item"),
        ));
    }
    for (key, bytes) in [("/a", 0), ("/b", ITEM_BYTES - 3), ("/c", ITEM_BYTES - 2)] {
        cases.push((put(key, bytes), 201, String::new()));
    }
    for bytes in [ITEM_BYTES - 1, ITEM_BYTES, ITEM_BYTES + 1, 400 * 1024, 3 << 20] {
        cases.push((put("/v", bytes), 400, "a DynamoDB item (400 KB)".to_owned()));
    }
    for nodes in [64, NEW_NODES - 1, NEW_NODES] {
        cases.push((put(&deep(nodes), 1), 201, String::new()));
        let list = Request::new("GET", &format!("/v2/keys/deep{nodes}?recursive=true"));
        cases.push((list, 200, deep(nodes)));
    }
    for nodes in [NEW_NODES + 1, 200] {
        let says = format!("{nodes} new nodes at once; the limit is {NEW_NODES}");
        cases.push((put(&deep(nodes), 1), 400, says));
    }
    cases
}

fn judge(what: &str, told: std::io::Result<Answer>, status: u16, says: &str) -> Option<String> {
    match told {
        Ok(answer) if answer.status() == status && answer.text().contains(says) => None,
        Ok(answer) => Some(format!("{what}: not {status} {says:?} but {}", answer.describe())),
        Err(error) => Some(format!("{what}: {error}")),
    }
}

/// What a listing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// Every node was told.
    Whole,
    /// There was no room for it beside the others, and the error says so.
    Refused,
}

/// Lists it all, and counts.
fn list(address: &str, nodes: usize) -> Result<Listed, String> {
    let request = Request::new("GET", "/v2/keys/large?recursive=true");
    let told = Connection::open(address).and_then(|mut connection| connection.send(&request));
    let answer = told.map_err(|error| format!("a listing: {error}"))?;
    match answer.status() {
        200 => {
            let found = answer.text().matches("\"value\":").count();
            let is_whole = found == nodes;
            is_whole.then_some(Listed::Whole).ok_or(format!("{found} of {nodes} nodes are listed"))
        }
        500 if answer.text().contains("\"errorCode\":300") => Ok(Listed::Refused),
        _ => Err(format!("a listing: {}", answer.describe())),
    }
}
