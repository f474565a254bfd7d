//! `kill -9` of a gateway at every write of an operation that has several.
//!
//! Two gateways stand on one table, each behind its own endpoint. One is asked to do something;
//! its endpoint holds the n-th write about it, before or after it is applied; then the gateway is
//! killed. The other one has to show the work done or undone within seconds, with a sound table,
//! and to take new writes to the same place. Where a write is held before it is applied, it may
//! also arrive after all, when the other gateway is already at work.
//!
//! Not here: what a gateway does about lost replies ([`super::histories`]). Invariant: a step
//! that cannot be judged is a violation.

mod draining;
mod stage;
mod work;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Budget, Row, Setting};
use crate::dynamodb::proxy::{Held, Hold, Moment};
use crate::http::Answer;
use crate::server::Target;
use crate::wait;
pub use draining::draining;
use stage::{RECOVERY, Stage, send};
use work::{Came, Work};

/// How many works are tried at a time: most of it is waiting.
const SIDE_BY_SIDE: usize = 3;

/// How long the n-th write may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many steps of a long work are sampled beside its first and last ones.
const SAMPLES: u64 = 2;

/// Kills a gateway at every write of every work.
///
/// # Errors
/// Never: what goes wrong is in the rows.
pub fn kills(setting: &Setting) -> Result<Vec<Row>, String> {
    let left = Mutex::new(Work::ALL.iter().enumerate());
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, work)) = next else { return };
                    let row = row_of(setting, work);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push((number, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(number, _)| *number);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn row_of(setting: &Setting, work: &Work) -> Row {
    let mut row = Row { workload: work.name.to_owned(), ..Row::default() };
    if let Err(problem) = fill(setting, work, &mut row) {
        row.violations.push(format!("{}: it could not go on: {problem}", work.name));
    }
    row
}

fn fill(setting: &Setting, work: &Work, row: &mut Row) -> Result<(), String> {
    let mut killer = Killer::start(setting.engine, setting.seed)?;
    if work.is_long {
        let steps = killer.rehearse(work)?;
        for step in sample(steps, setting, &mut killer.random) {
            killer.kill_at(work, step, row)?;
        }
        row.fault = format!("kill -9 at {} of {steps} writes", row.operations);
    } else {
        for nth in 1.. {
            let mut was_held = false;
            for fate in Fate::ALL {
                was_held |= killer.kill_at(work, Step { nth, fate }, row)?;
            }
            if !was_held {
                row.fault = format!("kill -9 at each of {} writes", nth - 1);
                break;
            }
        }
    }
    if row.operations == 0 {
        row.violations.push(format!("{}: no write was held", work.name));
    }
    row.violations.extend(killer.stage.panics());
    row.unknown_resolved += killer.stage.found_out()?;
    Ok(())
}

/// The first steps of a long work, the last ones, and some between.
fn sample(steps: u64, setting: &Setting, random: &mut Rng) -> Vec<Step> {
    let samples = match setting.budget {
        Budget::Short => SAMPLES,
        Budget::Times(factor) => SAMPLES.saturating_mul(u64::from(factor)),
    };
    let mut numbers = vec![1, 2, steps.saturating_sub(1).max(1), steps];
    numbers.extend((0..samples).map(|_| random.u64(1..=steps)));
    let fate = |random: &mut Rng| Fate::ALL[random.usize(..Fate::ALL.len())];
    numbers.into_iter().map(|nth| Step { nth, fate: fate(random) }).collect()
}

/// Where a gateway is killed.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The number of the write.
    nth: u64,
    /// What becomes of it.
    fate: Fate,
}

/// What becomes of the write at which a gateway is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It never arrives.
    Lost,
    /// It is applied, and nobody hears of it.
    Applied,
    /// It arrives when the other gateway has seen what is there.
    Late,
}

impl Fate {
    const ALL: [Self; 3] = [Self::Lost, Self::Applied, Self::Late];

    fn moment(self) -> Moment {
        match self {
            Self::Lost | Self::Late => Moment::Before,
            Self::Applied => Moment::After,
        }
    }
}

/// Kills gateways of one stage, one after the other.
struct Killer {
    stage: Stage,
    random: Rng,
    tops: u64,
}

impl Killer {
    fn start(target: Target, seed: u64) -> Result<Self, String> {
        Ok(Self { stage: Stage::start(target, seed)?, random: Rng::with_seed(seed), tops: 0 })
    }

    fn next_top(&mut self) -> String {
        self.tops += 1;
        format!("k{:04}", self.tops)
    }

    /// Carries the work out undisturbed; gives the number of its writes.
    fn rehearse(&mut self, work: &Work) -> Result<u64, String> {
        let top = self.next_top();
        work.prepare(&self.stage, &top)?;
        let writes = |stage: &Stage| stage.doomed_proxy.counts().writes;
        let before = writes(&self.stage);
        let begun = self.begin(work, &top, u64::MAX, Fate::Lost)?;
        drop(begun.held);
        if let Some(asker) = begun.asker {
            join(asker)??;
        }
        let done = wait::until(RECOVERY, || work.is_removed(&self.stage, &top).then_some(()));
        done.ok_or_else(|| format!("{} is not done in {RECOVERY:?} without faults", work.name))?;
        let writes = writes(&self.stage) - before;
        self.stage.other_proxy.heal();
        let violations = self.stage.violations();
        if !violations.is_empty() {
            return Err(format!("without faults: {}", violations.join("; ")));
        }
        Ok(writes)
    }

    /// Holds one write of the work, and kills its gateway there. Says whether there was one.
    fn kill_at(&mut self, work: &Work, step: Step, row: &mut Row) -> Result<bool, String> {
        let top = self.next_top();
        work.prepare(&self.stage, &top)?;
        let Begun { held, asker } = self.begin(work, &top, step.nth, step.fate)?;
        let is_over = || asker.as_ref().is_some_and(thread::JoinHandle::is_finished);
        if !is_caught(&held, work, is_over) {
            self.stage.doomed_proxy.disarm();
            self.stage.other_proxy.heal();
            return Ok(false);
        }
        self.stage.doomed.kill();
        self.stage.other_proxy.heal();
        row.operations += 1;
        let told = asker.map(join).transpose()?;
        let was_told = matches!(told, Some(Ok(answer)) if answer.status() < 300);
        if !was_told {
            row.unknown_resolved += 1;
        }
        let after = After { stage: &self.stage, work, top: &top, was_told };
        let problems = after.judge(held, step.fate, self.random.bool());
        let describe = |problem: String| {
            let Step { nth, fate } = step;
            format!("{} below /{top}, killed at write {nth} ({fate:?}): {problem}", work.name)
        };
        row.violations.extend(problems.into_iter().map(describe));
        self.stage.doomed.restart()?;
        Ok(true)
    }

    /// Begins the work on the gateway that is to be killed.
    fn begin(&self, work: &Work, top: &str, nth: u64, fate: Fate) -> Result<Begun, String> {
        let request = work.request(top);
        let hold = Hold { nth, moment: fate.moment(), about: format!("/{top}") };
        let address = self.stage.doomed.address().to_owned();
        if work.is_expiry() {
            let answer = send(&address, &request)?;
            if answer.status() != 200 {
                return Err(format!("no TTL was taken: {}", answer.describe()));
            }
            // It would do the work itself.
            self.stage.other_proxy.fall_silent(PATIENCE);
            return Ok(Begun { held: self.stage.doomed_proxy.hold(hold), asker: None });
        }
        let held = self.stage.doomed_proxy.hold(hold);
        let asker = thread::spawn(move || send(&address, &request));
        Ok(Begun { held, asker: Some(asker) })
    }
}

/// A work under way.
struct Begun {
    held: Held,
    asker: Option<Asker>,
}

type Asker = thread::JoinHandle<Result<Answer, String>>;

/// What the client was told; an error in it is a connection that broke.
fn join(asker: Asker) -> Result<Result<Answer, String>, String> {
    asker.join().map_err(|_| "the client panicked".to_owned())
}

/// Whether the write that is waited for comes before the work is over.
fn is_caught(held: &Held, work: &Work, is_over: impl Fn() -> bool) -> bool {
    let patience = if work.is_expiry() { Duration::from_secs(8) } else { PATIENCE };
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let over = is_over();
        if held.wait(Duration::from_millis(20)).is_some() {
            return true;
        }
        if over {
            return false;
        }
    }
    false
}

/// What is looked at when a gateway is dead.
struct After<'a> {
    stage: &'a Stage,
    work: &'a Work,
    top: &'a str,
    /// Whether its client was told that the work is done.
    was_told: bool,
}

impl After<'_> {
    fn judge(&self, held: Held, fate: Fate, writes_at_once: bool) -> Vec<String> {
        let late = if fate == Fate::Late {
            Some(held)
        } else {
            held.abandon();
            None
        };
        let judged = if writes_at_once { self.write_first(late) } else { self.look_first(late) };
        let mut problems = self.stage.violations();
        problems.extend(judged.err());
        problems
    }

    /// Reads until it is clear what became of the work, and writes to its place then.
    fn look_first(&self, late: Option<Held>) -> Result<(), String> {
        let first = self.came()?;
        if self.was_told && first == Came::Undone {
            return Err("its client was told that it is done, and it is not".to_owned());
        }
        let is_late = late.is_some();
        if let Some(held) = late {
            held.release();
        }
        let violations = self.stage.violations();
        if !violations.is_empty() {
            return Err(violations.join("; "));
        }
        let second = self.came()?;
        if second != first && !(is_late && second == Came::Done) {
            return Err(format!("it was {first:?}, and then {second:?}"));
        }
        self.work.write_again(self.stage, self.top, "second")
    }

    /// Writes to its place at once, which may have to help the work to its end first.
    fn write_first(&self, late: Option<Held>) -> Result<(), String> {
        self.work.write_again(self.stage, self.top, "second")?;
        if let Some(held) = late {
            held.release();
        }
        let violations = self.stage.violations();
        if !violations.is_empty() {
            return Err(violations.join("; "));
        }
        self.work.came_before_write(self.stage, self.top)
    }

    fn came(&self) -> Result<Came, String> {
        let mut last = Err("it was not looked at".to_owned());
        wait::until(RECOVERY, || {
            last = self.work.came(self.stage, self.top);
            last.is_ok().then_some(())
        });
        last
    }
}
