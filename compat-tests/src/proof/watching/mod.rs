//! The scenario of watches: whether watchers on all gateways, who resume by the rules of v2, miss
//! anything that writers on all gateways write.
//!
//! ```text
//! watchers begin -> writers write for a while, under a fault -> heal -> the views are what is read
//!                -> last writes through every gateway -> again -> all that was seen is judged
//! ```
//!
//! Not here: what is judged wrong ([`judge`]), and how a watcher goes on ([`watcher`]). Invariant:
//! a watcher that does not come to know the last state in time is a violation.

mod judge;
mod sight;
mod stations;
mod watcher;
mod writer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Stopwatch;
use super::fleet::Fleet;
use super::run::make_top;
use super::{Row, Setting};
use crate::dynamodb::fault::{Fault, Odds};
use crate::http::{Connection, Request};
use crate::wait;
use sight::{Manner, Scope, Seen, View};
use stations::Stations;
use watcher::{OnKill, Post, Watcher, lock, read_answer};
use writer::{Desk, KEYS};

/// How many writers each gateway has.
const WRITERS: usize = 2;

/// How long the views may take to be right once nothing is written any more.
const CATCH_UP: Duration = Duration::from_secs(20);

/// How often the views are compared with what is read.
const LOOK: Duration = Duration::from_millis(200);

/// After how many violations a row ends: the rest would say the same.
const ENOUGH: usize = 4;

/// The gateways end a silent wait after this long: what a balancer's limit makes of it.
const FLAGS: [&str; 2] = ["--watch-timeout-ms", "1500"];

/// Clocks in one fleet that are seconds apart.
const APART_S: [i64; 3] = [0, 3, -2];

/// What is done to the gateways while they are watched.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    odds: Odds,
    kills: bool,
    short_ms: u64,
}

/// The watchers of each gateway.
const WATCHERS: [(Scope, Manner); 3] = [
    (Scope::Tree, Manner::LongPoll),
    (Scope::Tree, Manner::Stream),
    (Scope::Tree, Manner::LongPoll),
];

/// Watchers of one key, by gateway: the keys, and how.
const KEY_WATCHERS: [(usize, Manner); 2] = [(0, Manner::LongPoll), (3, Manner::Stream)];

/// Watches under one fault after the other.
///
/// # Errors
/// What kept it from running.
pub fn watches(setting: &Setting) -> Result<Vec<Row>, String> {
    let way = |name, odds, short_ms| Way { name, odds, kills: false, short_ms };
    let streams = Odds::only(Fault::StreamThrottled, 0.25)
        .with(Fault::IteratorExpired, 0.15)
        .with(Fault::RecordsTrimmed, 0.06);
    let together = [
        way("none", Odds::fair(), 5000),
        way("streams throttled, expired, trimmed", streams, 6000),
        Way { kills: true, ..way("one of them killed and started", Odds::fair(), 3000) },
    ];
    let apart = [
        way("clocks 3 s ahead and 2 s behind", Odds::fair(), 5000),
        way("all of them, clocks apart", Odds::weather(), 6000),
    ];
    let mut rows = under(setting, [0; 3], &together)?;
    rows.extend(under(setting, APART_S, &apart)?);
    Ok(rows)
}

fn under(setting: &Setting, ahead_s: [i64; 3], ways: &[Way]) -> Result<Vec<Row>, String> {
    let mut fleet = Fleet::start(setting.engine, setting.seed, ahead_s, &FLAGS)?;
    let mut rows = Vec::new();
    for way in ways {
        let began = Instant::now();
        let injected = fleet.injected();
        let time = setting.budget.of_ms(way.short_ms);
        let mut row = Row { fault: way.name.to_owned(), ..Row::default() };
        let (mut rounds, mut cleared, mut watchers) = (0_u64, 0, 0);
        while rounds == 0 || (began.elapsed() < time && row.violations.len() < ENOUGH) {
            let round = round(&mut fleet, *way, setting.seed)?;
            rounds += 1;
            row.operations += round.operations;
            row.unknown_resolved += round.unknown;
            row.violations.extend(round.violations);
            cleared += round.cleared.iter().sum::<usize>();
            watchers = round.cleared.len();
        }
        if way.odds != Odds::fair() && fleet.injected() == injected {
            row.violations.push("the fault was never injected".to_owned());
        }
        row.workload = format!("{watchers} watchers ({rounds} rounds, read anew {cleared} times)");
        eprintln!(
            "{} watchers, fault {}: {} ms",
            setting.engine.name(),
            way.name,
            began.elapsed().as_millis()
        );
        rows.push(row);
    }
    Ok(rows)
}

/// What one round came to.
#[derive(Default)]
struct Round {
    operations: u64,
    unknown: u64,
    /// How often each watcher was told 401.
    cleared: Vec<usize>,
    violations: Vec<String>,
}

fn round(fleet: &mut Fleet, way: Way, seed: u64) -> Result<Round, String> {
    let number = fleet.next_history();
    let seed = seed.wrapping_add(number);
    let top = format!("/w{number}");
    let clock = Stopwatch::start();
    let stations = Stations::new(&fleet.addresses());
    make_top(fleet.addresses()[0], &top, clock)?;
    let desk = Desk::new(&stations, &top, clock);
    let stop = AtomicBool::new(false);
    let seen = watchers();
    let found_out = fleet.outcomes_found_out()?;
    let ended = thread::scope(|scope| {
        let post = Post { stations: &stations, stop: &stop, top: &top, watch: clock };
        for (number, seen) in seen.iter().enumerate() {
            let on_kill = match (number as u64 / 3).wrapping_add(seed) % 3 {
                0 => OnKill::Moves,
                1 => OnKill::MovesAndReads,
                _ => OnKill::Stays,
            };
            let watcher = Watcher::new(post, number % stations.count(), on_kill, seen);
            scope.spawn(move || watcher.run());
        }
        let written = thread::scope(|scope| {
            for number in 0..WRITERS * stations.count() {
                let desk = &desk;
                scope.spawn(move || desk.write(number, seed));
            }
            let disturbed = disturb(fleet, &stations, way, seed);
            desk.stop.store(true, Ordering::Relaxed);
            disturbed
        });
        let ended = written.and_then(|()| {
            fleet.heal();
            last_writes(&desk, &seen)
        });
        stop.store(true, Ordering::Relaxed);
        ended
    });
    let found_out = fleet.outcomes_found_out()?.saturating_sub(found_out);
    let calls = desk.calls();
    let seen = known(&seen);
    let unknown = calls.iter().filter(|call| !call.is_known()).count();
    let mut violations = ended?;
    violations.extend(desk.problems.into_inner().unwrap_or_default());
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let in_round = |problem: String| format!("round {number}: {problem}");
    Ok(Round {
        operations: count(calls.len() + judge::count_events(&seen)),
        unknown: count(unknown) + found_out,
        cleared: judge::count_cleared(&seen).into_values().collect(),
        violations: violations.into_iter().map(in_round).collect(),
    })
}

/// All watchers, each of the next gateway.
fn watchers() -> Vec<Mutex<Seen>> {
    let trees = WATCHERS.into_iter();
    let keys = KEY_WATCHERS.map(|(key, manner)| (Scope::Key(KEYS[key].to_owned()), manner));
    let kinds = trees.chain(keys).flat_map(|kind| std::iter::repeat_n(kind, 3));
    let seen = kinds.enumerate().map(|(number, (scope, manner))| Seen {
        number,
        scope,
        manner,
        notes: Vec::new(),
        view: View::default(),
        problems: Vec::new(),
    });
    seen.map(Mutex::new).collect()
}

/// Lets the writers write for a while, and does to the gateways what is to be done.
fn disturb(fleet: &mut Fleet, stations: &Stations, way: Way, seed: u64) -> Result<(), String> {
    let time = Duration::from_millis(way.short_ms);
    fleet.set(way.odds);
    wait::pass(time);
    if way.kills {
        let doomed = usize::try_from(seed % 3).unwrap_or_default();
        stations.set(doomed, None);
        fleet.kill(doomed);
        wait::pass(time / 2);
        let address = fleet.revive(doomed)?;
        stations.set(doomed, Some(address));
        wait::pass(time);
    }
    Ok(())
}

/// What is wrong at the end: with the views when all is at rest, and with all that was seen once
/// a last write through every gateway was told.
fn last_writes(desk: &Desk<'_>, seen: &[Mutex<Seen>]) -> Result<Vec<String>, String> {
    let before = differing(desk, seen)?;
    for gateway in 0..desk.stations.count() {
        let keys = KEY_WATCHERS.map(|(key, _)| KEYS[key]);
        for key in ["end"].into_iter().chain(keys) {
            desk.write_last(gateway, key, &format!("last-{gateway}-{key}"))?;
        }
    }
    let mut found: Vec<String> = before.into_iter().chain(differing(desk, seen)?).collect();
    let calls = desk.calls();
    let mut judged = Vec::new();
    let deadline = Instant::now() + CATCH_UP;
    loop {
        judged.clear();
        judged.extend(judge::all(&calls, &known(seen)));
        if judged.is_empty() || Instant::now() > deadline {
            break;
        }
        // What another gateway wrote may still be on its way, and be owned up to.
        wait::pass(LOOK);
    }
    found.extend(judged.into_iter().take(ENOUGH * 2));
    Ok(found)
}

/// The views that do not become what is read.
fn differing(desk: &Desk<'_>, seen: &[Mutex<Seen>]) -> Result<Vec<String>, String> {
    let mut last = Vec::new();
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let truth = truth(desk)?;
        last.clear();
        for watcher in seen {
            let watcher = lock(watcher);
            let Seen { number, scope, manner, view, notes, .. } = &*watcher;
            if let Some(how) = view.differs(&truth.within(scope)) {
                let from = notes.len().saturating_sub(8);
                let notes: Vec<String> =
                    notes[from..].iter().map(|note| format!("    {note}")).collect();
                last.push(format!(
                    "watcher {number} ({scope:?}, {manner:?}) does not know the last state: {how}\n{}",
                    notes.join("\n")
                ));
            }
        }
        if last.is_empty() || Instant::now() > deadline {
            return Ok(last);
        }
        wait::pass(LOOK);
    }
}

/// What the tree holds.
fn truth(desk: &Desk<'_>) -> Result<View, String> {
    let target = format!("/v2/keys{}?recursive=true&quorum=true", desk.top);
    let mut last = "no gateway is there".to_owned();
    let read = wait::until(CATCH_UP, || {
        let address = desk.stations.address(0)?;
        let answer = Connection::open(&address)
            .and_then(|mut connection| connection.send(&Request::new("GET", &target)))
            .map_err(|error| error.to_string());
        match answer.and_then(|answer| read_answer(&answer, desk.top)) {
            Ok((_, view)) => Some(view),
            Err(problem) => {
                last = problem;
                None
            }
        }
    });
    read.ok_or_else(|| format!("the tree could not be read at the end: {last}"))
}

/// All that was seen by now.
fn known(seen: &[Mutex<Seen>]) -> Vec<Seen> {
    seen.iter().map(|watcher| lock(watcher).clone()).collect()
}
