//! Whether two answers say the same.
//!
//! Status, the headers that matter and the body, field by field and in order. Indexes are equal
//! if they stand for each other, `ttl` within a second, `expiration` within two, children of a
//! listing as a set unless it was sorted. Everything else is equal or it differs.

use super::generate::Step;
use super::indexes::Indexes;
use crate::http::Answer;
use crate::json::Json;
use crate::timestamp;

const SAME: [&str; 6] = [
    "Content-Type",
    "Allow",
    "X-Content-Type-Options",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
];
const BOTH_OR_NEITHER: [&str; 5] =
    ["X-Etcd-Cluster-Id", "X-Etcd-Index", "X-Raft-Index", "X-Raft-Term", "Location"];
const TIME_TOLERANCE: f64 = 2.0;

/// Compares the answers of reference and target to a step.
///
/// # Errors
/// The first difference.
pub fn answers(
    step: &Step,
    [reference, target]: [&Answer; 2],
    indexes: &mut Indexes,
) -> Result<(), String> {
    if reference.status() != target.status() {
        return Err(format!("status {} against {}", reference.status(), target.status()));
    }
    if is_bare(reference) {
        return Ok(());
    }
    for name in SAME {
        let (left, right) = (reference.header(name), target.header(name));
        if left != right {
            return Err(format!("header {name}: {left:?} against {right:?}"));
        }
    }
    for name in BOTH_OR_NEITHER {
        let (left, right) = (reference.header(name), target.header(name));
        if left.is_some() != right.is_some() {
            return Err(format!("header {name}: {left:?} against {right:?}"));
        }
    }
    if let (Some(left), Some(right)) = (reference.header("Location"), target.header("Location")) {
        words(left, right, indexes).map_err(|problem| format!("Location: {problem}"))?;
    }
    bodies(step, reference, target, indexes)?;
    let index = |answer: &Answer| answer.head.number("X-Etcd-Index").unwrap_or_default();
    indexes
        .pair(index(reference), index(target))
        .map_err(|problem| format!("X-Etcd-Index: {problem}"))
}

/// The HTTP layer's own 400, whose page is nobody's contract.
fn is_bare(answer: &Answer) -> bool {
    answer.status() == 400 && answer.header("X-Etcd-Index").is_none()
}

fn bodies(
    step: &Step,
    reference: &Answer,
    target: &Answer,
    indexes: &mut Indexes,
) -> Result<(), String> {
    if reference.header("Content-Type") != Some("application/json") || reference.body.is_empty() {
        return words(&reference.text(), &target.text(), indexes);
    }
    if target.body.last() != Some(&b'\n') {
        return Err("the body does not end in a newline".to_owned());
    }
    let (left, right) = (reference.json()?, target.json()?);
    Walk { sorted: step.is_sorted(), indexes }.json("", &left, &right)
}

struct Walk<'a> {
    sorted: bool,
    indexes: &'a mut Indexes,
}

impl Walk<'_> {
    fn json(&mut self, field: &str, left: &Json, right: &Json) -> Result<(), String> {
        match (left, right) {
            (Json::Object(left), Json::Object(right)) => self.objects(field, left, right),
            (Json::List(left), Json::List(right)) => self.lists(field, left, right),
            (Json::Text(left), Json::Text(right)) => {
                self.texts(field, left, right).map_err(|problem| format!("{field}: {problem}"))
            }
            (Json::Number(left), Json::Number(right)) => {
                self.numbers(field, *left, *right).map_err(|problem| format!("{field}: {problem}"))
            }
            _ if left == right => Ok(()),
            _ => Err(format!("{field}: {left:?} against {right:?}")),
        }
    }

    fn objects(
        &mut self,
        field: &str,
        left: &[(String, Json)],
        right: &[(String, Json)],
    ) -> Result<(), String> {
        let names = |fields: &[(String, Json)]| -> Vec<String> {
            fields.iter().map(|(name, _)| name.clone()).collect()
        };
        if names(left) != names(right) {
            return Err(format!("{field}: fields {:?} against {:?}", names(left), names(right)));
        }
        for ((name, left), (_, right)) in left.iter().zip(right) {
            self.json(name, left, right)?;
        }
        Ok(())
    }

    fn lists(&mut self, field: &str, left: &[Json], right: &[Json]) -> Result<(), String> {
        let keys = |items: &[Json]| -> Vec<String> {
            items.iter().map(|item| item.text("key").unwrap_or_default().to_owned()).collect()
        };
        if left.len() != right.len() {
            return Err(format!("{field}: {:?} against {:?}", keys(left), keys(right)));
        }
        let (mut left, mut right) = (left.to_vec(), right.to_vec());
        if !self.sorted {
            // In-order names sort alike on both servers, because their indexes do.
            for items in [&mut left, &mut right] {
                items.sort_by(|one, other| one.text("key").cmp(&other.text("key")));
            }
        }
        left.iter().zip(&right).try_for_each(|(left, right)| self.json(field, left, right))
    }

    fn texts(&mut self, field: &str, left: &str, right: &str) -> Result<(), String> {
        match field {
            "key" | "cause" => words(left, right, self.indexes),
            "expiration" => {
                let apart = timestamp::parse(left)? - timestamp::parse(right)?;
                if apart.abs() <= TIME_TOLERANCE {
                    return Ok(());
                }
                Err(format!("{left} against {right}"))
            }
            _ if left == right => Ok(()),
            _ => Err(format!("{left:?} against {right:?}")),
        }
    }

    fn numbers(&mut self, field: &str, left: i128, right: i128) -> Result<(), String> {
        let same = match field {
            "modifiedIndex" | "createdIndex" | "index" => {
                let index =
                    |number: i128| u64::try_from(number).map_err(|_| format!("index {number}"));
                return self.indexes.pair(index(left)?, index(right)?);
            }
            "ttl" => (left - right).abs() <= 1,
            _ => left == right,
        };
        if same {
            return Ok(());
        }
        Err(format!("{left} against {right}"))
    }
}

/// Texts that are the same but for the indexes in them.
fn words(left: &str, right: &str, indexes: &mut Indexes) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    let (left_runs, right_runs) = (runs(left), runs(right));
    if left_runs.len() != right_runs.len() {
        return Err(format!("{left:?} against {right:?}"));
    }
    for (one, other) in left_runs.into_iter().zip(right_runs) {
        if one == other {
            continue;
        }
        let padded = one.len() == 20 || other.len() == 20;
        match (one.parse(), other.parse()) {
            (Ok(reference), Ok(target)) if !padded || one.len() == other.len() => {
                indexes.pair(reference, target)?;
            }
            _ => return Err(format!("{left:?} against {right:?}")),
        }
    }
    Ok(())
}

/// A text in runs of digits and runs of other letters.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|letter: char| letter.is_ascii_digit() != first.is_ascii_digit())
            .unwrap_or(rest.len());
        runs.push(&rest[..end]);
        rest = &rest[end..];
    }
    runs
}

#[cfg(test)]
mod tests;
