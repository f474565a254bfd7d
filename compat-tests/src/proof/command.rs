//! The command line of the proof, and its table.

use std::process::ExitCode;
use std::time::Instant;

use super::{Budget, Row, SCENARIOS, Setting};
use crate::server::Target;

const USAGE: &str = "proof [--target dynoxide|ministack|dynamodb-local]... [--seed N] [--minutes N] [--only SCENARIO]...";

/// How long the short run takes on one engine, about.
const SHORT_MINUTES: u64 = 4;

/// How many lines of a violation's beginning and end are printed again after the table.
const LINES_IN_SHORT: usize = 12;

/// What was asked for.
struct Asked {
    engines: Vec<Target>,
    seed: u64,
    budget: Budget,
    only: Vec<String>,
}

/// Runs what is asked for.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let asked = match read(arguments) {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("{problem}\nusage: {USAGE}");
            return ExitCode::from(64);
        }
    };
    println!("seed {}", asked.seed);
    let mut table = Vec::new();
    for engine in &asked.engines {
        for (name, scenario) in SCENARIOS {
            if !asked.only.is_empty() && !asked.only.iter().any(|only| only == name) {
                continue;
            }
            let setting = Setting { engine: *engine, seed: asked.seed, budget: asked.budget };
            let began = Instant::now();
            let rows = scenario(&setting).unwrap_or_else(|problem| vec![not_run(name, problem)]);
            eprintln!("{} {name}: {} s", engine.name(), began.elapsed().as_secs());
            let rows = rows.into_iter().map(|row| (*engine, row));
            let begin = table.len();
            table.extend(rows);
            print_violations(&table[begin..], asked.seed, usize::MAX);
        }
    }
    print_table(&table);
    // Again, in short: who only sees the end of a log sees what it is about.
    print_violations(&table, asked.seed, LINES_IN_SHORT);
    let bad = table.iter().filter(|(_, row)| !row.violations.is_empty()).count();
    println!("\nproof: {} rows, {bad} with violations, seed {}", table.len(), asked.seed);
    if bad == 0 && !table.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn not_run(name: &str, problem: String) -> Row {
    let violations = vec![format!("it could not run: {problem}")];
    Row { workload: name.to_owned(), fault: "-".to_owned(), violations, ..Row::default() }
}

/// Each with at most so many lines from its beginning, and as many from its end.
fn print_violations(table: &[(Target, Row)], seed: u64, lines: usize) {
    for (engine, row) in table {
        for violation in &row.violations {
            let (engine, Row { workload, fault, .. }) = (engine.name(), row);
            println!("\nVIOLATION on {engine} (seed {seed}), {workload}, fault {fault}:");
            let all: Vec<&str> = violation.lines().collect();
            let left_out = all.len().saturating_sub(lines.saturating_mul(2));
            for (number, line) in all.iter().enumerate() {
                match number.checked_sub(lines) {
                    Some(0) if left_out > 0 => println!("  ... {left_out} lines, see above ..."),
                    Some(after) if after < left_out => {}
                    Some(_) | None => println!("  {line}"),
                }
            }
        }
    }
}

fn print_table(table: &[(Target, Row)]) {
    println!(
        "\n{:<15} {:<64} {:<34} {:>10} {:>16} {:>10}",
        "engine", "workload", "fault", "operations", "unknown outcomes", "violations"
    );
    for (engine, row) in table {
        println!(
            "{:<15} {:<64} {:<34} {:>10} {:>16} {:>10}",
            engine.name(),
            row.workload,
            row.fault,
            row.operations,
            row.unknown_resolved,
            row.violations.len()
        );
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        engines: Vec::new(),
        seed: fastrand::u64(..1 << 32),
        budget: Budget::Short,
        only: Vec::new(),
    };
    let mut minutes: Option<u64> = None;
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--target" => {
                let engine: Target = value.parse()?;
                if !engine.is_dynamodb() {
                    return Err(format!("{value} is no DynamoDB engine"));
                }
                asked.engines.push(engine);
            }
            "--seed" => asked.seed = number(&flag, &value)?,
            "--minutes" => minutes = Some(number(&flag, &value)?),
            "--only" if SCENARIOS.iter().any(|(name, _)| *name == value) => asked.only.push(value),
            _ => return Err(format!("{flag} {value}: no such thing")),
        }
    }
    if asked.engines.is_empty() {
        asked.engines = vec![Target::Dynoxide, Target::Ministack];
    }
    if let Some(minutes) = minutes {
        let engines = u64::try_from(asked.engines.len()).unwrap_or(1);
        let factor = (minutes / SHORT_MINUTES / engines).max(1);
        asked.budget = Budget::Times(u32::try_from(factor).unwrap_or(u32::MAX));
    }
    Ok(asked)
}

fn number(flag: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{flag} {value}: not a number"))
}
