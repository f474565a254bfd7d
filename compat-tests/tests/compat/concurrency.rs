//! Many clients at once on the same keys: who wins, what the others are told, what remains.
//!
//! The same trials run on one server, and, where there is a table, through two gateways at once
//! (`gateways.rs`): a [`Crowd`] spreads its threads over the contexts it is given.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use compat_tests::http::Answer;
use compat_tests::server::Target;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, number, success, text,
};

const CLIENTS: usize = 16;

/// The same directory as seen through one server, or through several gateways.
pub(crate) type Crowd<'a> = &'a [&'a Context];

/// What a crowd does, and what must come of it.
pub(crate) type Trial = fn(Crowd<'_>) -> Outcome;

/// Trials that hold on one server and on several gateways alike.
pub(crate) const TRIALS: [(&str, Trial); 11] = [
    ("one create wins", creates),
    ("one compareAndSwap by index wins", swaps_by_index),
    ("one compareAndSwap by value wins", swaps_by_value),
    ("one compareAndDelete wins", compare_and_deletes),
    ("one delete wins", deletes),
    ("one recursive delete wins", recursive_deletes),
    ("sets follow each other without a gap", sets),
    ("a counter kept by compareAndSwap is exact", counter),
    ("in-order keys are unique", in_order),
    ("a directory is not removed under a new child", rmdir_against_create),
    ("a file and a directory exclude each other", file_against_directory),
];

pub(crate) fn cases(_target: Target) -> Vec<Case> {
    TRIALS
        .into_iter()
        .map(|(name, trial)| Case::new(name, move |context| trial(&[context])))
        .chain([Case::new("a recursive delete is atomic", delete_against_create)])
        .collect()
}

/// Runs one request on each of many threads at the same moment.
fn at_once(
    crowd: Crowd<'_>,
    count: usize,
    ask: impl Fn(&Context, usize) -> Result<Answer, String> + Sync,
) -> Result<Vec<Answer>, String> {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let (ask, start) = (&ask, &start);
        let threads: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    ask(crowd[number % crowd.len()], number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".to_owned())))
            .collect()
    })
}

/// Exactly one success; every other answer is that error with that cause, if one is given.
fn one_winner(answers: &[Answer], code: u16, cause: Option<&str>) -> Result<usize, String> {
    let winners: Vec<usize> = (0..answers.len())
        .filter(|number| matches!(answers[*number].status(), 200 | 201))
        .collect();
    expect_equal("winners", winners.len(), 1)?;
    for (number, answer) in answers.iter().enumerate() {
        if number != winners[0] {
            let told = answer.json()?.text("cause").unwrap_or_default().to_owned();
            expect_error(answer, code, cause.unwrap_or(&told))?;
        }
    }
    Ok(winners[0])
}

fn creates(crowd: Crowd<'_>) -> Outcome {
    for round in 0..5 {
        let key = format!("/f{round}");
        let answers = at_once(crowd, CLIENTS, |context, number| {
            context.put(&format!("{key}?prevExist=false"), &format!("value={number}"))
        })?;
        let winner = one_winner(&answers, 105, Some(&crowd[0].key(&key)))?;
        let json = success(&crowd[0].get(&key)?)?;
        expect_equal("value", text(&json, "node.value")?, winner.to_string())?;
    }
    Ok(())
}

fn swaps_by_index(crowd: Crowd<'_>) -> Outcome {
    let mut index = number(&success(&crowd[0].put("/f", "value=0")?)?, "node.modifiedIndex")?;
    for _ in 0..5 {
        let answers = at_once(crowd, CLIENTS, |context, number| {
            context.put(&format!("/f?prevIndex={index}"), &format!("value={number}"))
        })?;
        let winner = one_winner(&answers, 101, None)?;
        let next = number(&answers[winner].json()?, "node.modifiedIndex")?;
        one_winner(&answers, 101, Some(&format!("[{index} != {next}]")))?;
        index = next;
    }
    Ok(())
}

fn swaps_by_value(crowd: Crowd<'_>) -> Outcome {
    let mut value = "start".to_owned();
    crowd[0].put("/f", "value=start")?;
    for round in 0..5 {
        let answers = at_once(crowd, CLIENTS, |context, number| {
            context.put(&format!("/f?prevValue={value}"), &format!("value={round}-{number}"))
        })?;
        let winner = one_winner(
            &answers,
            101,
            Some(&format!("[{value} != {round}-{}]", {
                let won = answers.iter().position(|answer| answer.status() == 200);
                won.unwrap_or_default()
            })),
        )?;
        value = format!("{round}-{winner}");
    }
    Ok(())
}

fn compare_and_deletes(crowd: Crowd<'_>) -> Outcome {
    let gone = crowd[0].key("/f");
    for _ in 0..5 {
        let put = success(&crowd[0].put("/f", "value=1")?)?;
        let index = number(&put, "node.modifiedIndex")?;
        let answers = at_once(crowd, CLIENTS, |context, _| {
            context.delete(&format!("/f?prevIndex={index}&prevValue=1"))
        })?;
        one_winner(&answers, 100, Some(&gone))?;
    }
    Ok(())
}

fn deletes(crowd: Crowd<'_>) -> Outcome {
    let gone = crowd[0].key("/f");
    for _ in 0..5 {
        crowd[0].put("/f", "value=1")?;
        let answers = at_once(crowd, CLIENTS, |context, _| context.delete("/f"))?;
        one_winner(&answers, 100, Some(&gone))?;
    }
    Ok(())
}

fn recursive_deletes(crowd: Crowd<'_>) -> Outcome {
    let gone = crowd[0].key("/d");
    for _ in 0..3 {
        for child in 0..5 {
            crowd[0].put(&format!("/d/{child}/x"), "value=1")?;
        }
        let answers = at_once(crowd, CLIENTS, |context, _| context.delete("/d?recursive=true"))?;
        one_winner(&answers, 100, Some(&gone))?;
    }
    Ok(())
}

fn sets(crowd: Crowd<'_>) -> Outcome {
    let first = number(&success(&crowd[0].put("/f", "value=0")?)?, "node.modifiedIndex")?;
    let answers =
        at_once(crowd, CLIENTS, |context, number| context.put("/f", &format!("value={number}")))?;
    let mut written = BTreeSet::from([first]);
    let mut replaced = BTreeSet::new();
    for answer in &answers {
        let json = success(answer)?;
        written.insert(number(&json, "node.modifiedIndex")?);
        replaced.insert(number(&json, "prevNode.modifiedIndex")?);
    }
    expect_equal("indexes", written.len(), CLIENTS + 1)?;
    let last = written.pop_last().unwrap_or_default();
    expect_equal("each write replaced another", &replaced, &written)?;
    let json = success(&crowd[0].get("/f")?)?;
    expect_equal("the last", number(&json, "node.modifiedIndex")?, last)
}

fn counter(crowd: Crowd<'_>) -> Outcome {
    const TURNS: usize = 10;
    const COUNTERS: usize = 8;
    crowd[0].put("/n", "value=0")?;
    at_once(crowd, COUNTERS, |context, _| {
        for _ in 0..TURNS {
            loop {
                let json = success(&context.get("/n?quorum=true")?)?;
                let value: usize = text(&json, "node.value")?
                    .parse()
                    .map_err(|_| "the counter is no number".to_owned())?;
                let index = number(&json, "node.modifiedIndex")?;
                let answer = context
                    .put(&format!("/n?prevIndex={index}"), &format!("value={}", value + 1))?;
                if answer.status() == 200 {
                    break;
                }
                expect_equal("status", answer.status(), 412)?;
            }
        }
        context.get("/n")
    })?;
    let json = success(&crowd[0].get("/n?quorum=true")?)?;
    expect_equal("counted", text(&json, "node.value")?, (TURNS * COUNTERS).to_string())
}

fn in_order(crowd: Crowd<'_>) -> Outcome {
    let answers = at_once(crowd, 4 * CLIENTS, |context, number| {
        context.post("/q", &format!("value={number}"))
    })?;
    let mut keys = BTreeSet::new();
    for answer in &answers {
        let json = success(answer)?;
        let key = text(&json, "node.key")?;
        let name = format!("{:020}", number(&json, "node.createdIndex")?);
        expect_equal("name", key.clone(), crowd[0].key(&format!("/q/{name}")))?;
        keys.insert(key);
    }
    let listing = success(&crowd[0].get("/q?sorted=true&quorum=true")?)?;
    let listed: Vec<String> = listing
        .list("node.nodes")
        .iter()
        .filter_map(|node| node.text("key").map(str::to_owned))
        .collect();
    expect_equal("listed", listed, keys.into_iter().collect())
}

fn rmdir_against_create(crowd: Crowd<'_>) -> Outcome {
    for round in 0..20 {
        let directory = format!("/d{round}");
        crowd[0].put(&format!("{directory}?dir=true"), "")?;
        let answers = at_once(crowd, 4, |context, number| match number % 2 {
            0 => context.put(&format!("{directory}/f{number}"), "value=1"),
            _ => context.delete(&format!("{directory}?dir=true")),
        })?;
        for number in [0, 2] {
            success(&answers[number])?;
            let there = crowd[0].get(&format!("{directory}/f{number}?quorum=true"))?;
            success(&there)
                .map_err(|problem| format!("an acknowledged child is lost: {problem}"))?;
        }
    }
    Ok(())
}

fn file_against_directory(crowd: Crowd<'_>) -> Outcome {
    for round in 0..20 {
        let key = format!("/x{round}");
        let answers = at_once(crowd, 2, |context, number| match number {
            0 => context.put(&key, "value=1"),
            _ => context.put(&format!("{key}/below"), "value=1"),
        })?;
        let cause = crowd[0].key(&key);
        match (answers[0].status(), answers[1].status()) {
            (201, _) => expect_error(&answers[1], 104, &cause)?,
            (_, 201) => expect_error(&answers[0], 102, &cause)?,
            (file, below) => return Err(format!("file {file}, child {below}")),
        }
    }
    Ok(())
}

fn delete_against_create(context: &Context) -> Outcome {
    for round in 0..20 {
        let directory = format!("/d{round}");
        context.put(&format!("{directory}/old/x"), "value=1")?;
        let answers = at_once(&[context], 2, |context, number| match number {
            0 => context.put(&format!("{directory}/old/new"), "value=1"),
            _ => context.delete(&format!("{directory}?recursive=true")),
        })?;
        let created = number(&success(&answers[0])?, "node.modifiedIndex")?;
        let deleted = number(&success(&answers[1])?, "node.modifiedIndex")?;
        let status = context.get(&format!("{directory}/old/new"))?.status();
        let wanted = if created > deleted { 200 } else { 404 };
        expect(status == wanted, || {
            format!("created at {created}, deleted at {deleted}, then {status}")
        })?;
        let old = context.get(&format!("{directory}/old/x"))?;
        expect_equal("the old child", old.status(), 404)?;
    }
    Ok(())
}
