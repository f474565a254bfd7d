//! The writers: they change a few keys in every way of v2, each value once, and note what came of it.
//!
//! Not here: what watchers make of it. Invariant: every value that is ever written is in one call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use super::stations::Stations;
use crate::proof::client::{Client, Stopwatch};
use crate::proof::history::{Call, Operation, Reply, Shown, Verb};
use crate::wait;

/// Keys that live until they are deleted.
pub(super) const KEYS: [&str; 5] = ["a", "b", "c", "s/x", "s/y"];

/// Keys that mostly expire.
const TTL_KEYS: [&str; 2] = ["t", "s/t"];

/// Directories that are removed with all that is in them.
const DIRS: [&str; 2] = ["s", "q"];

/// The directory of the in-order keys.
const QUEUE: &str = "q";

/// The pause between two writes of one writer is below this.
const PAUSE_MS: u64 = 180;

/// How often a last write is tried.
const LAST_TRIES: usize = 40;

/// What all writers of a round share.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) stations: &'a Stations,
    /// They stop.
    pub(super) stop: AtomicBool,
    /// The directory of the round, with a slash before it.
    pub(super) top: &'a str,
    pub(super) watch: Stopwatch,
    pub(super) calls: Mutex<Vec<Call>>,
    pub(super) problems: Mutex<Vec<String>>,
    /// What was last written to a key, as far as anybody was told.
    known: Mutex<BTreeMap<String, Shown>>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(stations: &'a Stations, top: &'a str, watch: Stopwatch) -> Self {
        Self {
            stations,
            stop: AtomicBool::new(false),
            top,
            watch,
            calls: Mutex::default(),
            problems: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// All calls so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes until it is told to stop. A writer whose gateway is killed waits for it.
    pub(super) fn write(&self, number: usize, seed: u64) {
        let gateway = number % self.stations.count();
        let mut rng = Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut at: Option<(String, Client)> = None;
        let mut count = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            wait::pass(Duration::from_millis(rng.u64(..PAUSE_MS)));
            let Some(address) = self.stations.address(gateway) else { continue };
            let (_, client) = match &mut at {
                Some(at) if at.0 == address => at,
                Some(_) | None => {
                    at.insert((address.clone(), self.client(number, gateway, &address)))
                }
            };
            count += 1;
            let operation = self.next(&mut rng, &format!("{number}-{count}"));
            self.note(client.call(&operation), client);
        }
    }

    /// Writes one key until it is acknowledged.
    pub(super) fn write_last(&self, gateway: usize, key: &str, value: &str) -> Result<(), String> {
        let mut last = String::new();
        for count in 0..LAST_TRIES {
            let address =
                self.stations.address(gateway).ok_or("a gateway is missing at the end")?;
            let mut client = self.client(100 + gateway, gateway, &address);
            let value = format!("{value}-{count}");
            let call = client.call(&Operation::new(Verb::Set, key).value(&value));
            let (is_done, reply) = (call.node().is_some(), call.reply.to_string());
            self.note(call, &mut client);
            if is_done {
                return Ok(());
            }
            last = reply;
        }
        Err(format!("a write to {key} was not acknowledged when nothing was in its way: {last}"))
    }

    fn client(&self, number: usize, gateway: usize, address: &str) -> Client {
        Client::new(number, gateway, address, self.top, self.watch)
    }

    fn note(&self, call: Call, client: &mut Client) {
        if let Reply::Done { node, .. } = &call.reply {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(node.key.clone(), node.clone());
        }
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.append(&mut client.problems);
    }

    fn next(&self, rng: &mut Rng, value: &str) -> Operation {
        let key = KEYS[rng.usize(..KEYS.len())];
        let with_value = |verb| Operation::new(verb, key).value(value);
        match rng.u8(..100) {
            0..26 => with_value(Verb::Set),
            26..36 => with_value(Verb::Create),
            36..44 => with_value(Verb::Update),
            44..62 => self.swap(key, value),
            62..74 => Operation::new(Verb::Delete, key),
            74..78 => {
                let prev_index = self.known_index(key);
                Operation { prev_index, ..Operation::new(Verb::CompareAndDelete, key) }
            }
            78..86 => Operation::new(Verb::Post, QUEUE).value(value),
            86..95 => {
                let key = TTL_KEYS[rng.usize(..TTL_KEYS.len())];
                Operation { ttl: Some(1), ..Operation::new(Verb::Set, key).value(value) }
            }
            _ => Operation::new(Verb::RemoveTree, DIRS[rng.usize(..DIRS.len())]),
        }
    }

    fn swap(&self, key: &str, value: &str) -> Operation {
        let swap = Operation::new(Verb::Swap, key).value(value);
        Operation { prev_index: self.known_index(key), ..swap }
    }

    /// The last index of a key that anybody was told; 1 has no key.
    fn known_index(&self, key: &str) -> Option<u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some(known.get(key).map_or(1, |node| node.modified))
    }
}
