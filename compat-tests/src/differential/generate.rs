//! Random requests, all from one seed.
//!
//! Few names and few values, so that requests meet each other; most of them valid, some not.
//! An index is never a number here but the name of an earlier step (`{i17}`, or `{k17}` for the
//! name of the in-order key it made): each server fills in the index that it gave that step.
//! Nothing here expires during a run, and no two requests depend on the time between them.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::http::Request;

const FORM: &str = "application/x-www-form-urlencoded";
/// Mostly directories.
const NAMES: [&str; 6] = ["a", "b", "c", "_h", "B", "a.b"];
/// Mostly files.
const LEAVES: [&str; 4] = ["f", "g", "f", "_g"];
const VALUES: [&str; 5] = ["1", "2", "", "x+y", "%C3%A9%22%3C"];
const TTLS: [&str; 4] = ["100", "1000", "", "00500"];
const BAD: [&str; 22] = [
    "dir=maybe",
    "recursive=",
    "sorted",
    "wait=2",
    "wait=true&quorum=true",
    "quorum=TrUe",
    "stream=yes",
    "prevExist=",
    "refresh=no",
    "noValueOnSuccess=x",
    "prevIndex=x",
    "prevIndex=-1",
    "waitIndex=",
    "prevValue=",
    "ttl=x",
    "ttl=-1",
    "x=%zz",
    "x=%4",
    "a;b",
    "refresh=true",
    "refresh=true&value=1&ttl=100",
    "=&&x",
];

/// One request of a sequence.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the sequence as first made; kept when others are dropped.
    pub id: usize,
    /// The method.
    pub method: String,
    /// The path below the round's directory; `None` for the root itself.
    pub path: Option<String>,
    /// Parameters in the query.
    pub query: Vec<String>,
    /// Parameters in the body, if it has one.
    pub body: Option<Vec<String>>,
    /// The type of the body.
    pub content_type: Option<&'static str>,
}

/// The steps of one round.
#[must_use]
pub fn steps(seed: u64, round: usize, count: usize) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    for _ in 0..round {
        rng = rng.fork();
    }
    let mut maker = Maker { rng: rng.fork(), last: BTreeMap::new(), posts: Vec::new(), next: 0 };
    let mut steps: Vec<Step> = (0..count).map(|_| maker.step()).collect();
    let mut all = Step::new(count, "GET", "");
    all.query = vec!["recursive=true".to_owned(), "sorted=true".to_owned()];
    steps.push(all);
    steps
}

impl Step {
    /// A step without parameters.
    #[must_use]
    pub fn new(id: usize, method: &str, path: &str) -> Self {
        Self {
            id,
            method: method.to_owned(),
            path: Some(path.to_owned()),
            query: Vec::new(),
            body: None,
            content_type: None,
        }
    }

    /// Whether it may take an index.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
    }

    /// Whether its answer has children in order.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.query
            .iter()
            .find(|parameter| parameter.starts_with("sorted"))
            .is_some_and(|parameter| parameter == "sorted=true")
    }

    /// The request below a directory, with the indexes that a server gave earlier steps.
    #[must_use]
    pub fn request(&self, prefix: &str, seen: &BTreeMap<usize, u64>) -> Request {
        let target = self.target(prefix);
        let mut request = Request::new(&self.method, &fill(&target, seen));
        if let Some(body) = &self.body {
            request = request.body(fill(&body.join("&"), seen));
        }
        if let Some(kind) = self.content_type {
            request = request.header("Content-Type", kind);
        }
        request
    }

    /// The step as a line of shell.
    #[must_use]
    pub fn curl(&self, address: &str) -> String {
        let mut line = format!("curl -gsSi --path-as-is -X {} ", self.method);
        if let Some(body) = &self.body {
            line.push_str(&format!("--data-raw '{}' ", body.join("&")));
        }
        if let Some(kind) = self.content_type.filter(|kind| *kind != FORM) {
            line.push_str(&format!("-H 'Content-Type: {kind}' "));
        }
        line.push_str(&format!("'http://{address}{}'", self.target("r")));
        line.push_str(&format!("   # step {}; {{iN}}, {{kN}}: the index of step N", self.id));
        line
    }

    /// The same with its n-th parameter left out, `None` if there are not so many.
    #[must_use]
    pub fn without_parameter(&self, number: usize) -> Option<Self> {
        let mut simpler = self.clone();
        if number < simpler.query.len() {
            simpler.query.remove(number);
            return Some(simpler);
        }
        let body = simpler.body.as_mut()?;
        let number = number - simpler.query.len();
        if number < body.len() {
            body.remove(number);
            return Some(simpler);
        }
        None
    }

    fn parameters(&self) -> impl Iterator<Item = &String> {
        self.body.iter().flatten().chain(&self.query)
    }

    fn target(&self, prefix: &str) -> String {
        let mut target = match &self.path {
            Some(path) => format!("/v2/keys/{prefix}{path}"),
            None => "/v2/keys".to_owned(),
        };
        if !self.query.is_empty() {
            target.push('?');
            target.push_str(&self.query.join("&"));
        }
        target
    }
}

/// Puts indexes in the place of the names of steps; a step that got none counts as 1.
fn fill(text: &str, seen: &BTreeMap<usize, u64>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            break;
        };
        filled.push_str(&rest[..open]);
        let name = &rest[open + 1..open + length];
        let index =
            name[1..].parse::<usize>().ok().and_then(|step| seen.get(&step)).copied().unwrap_or(1);
        if name.starts_with('k') {
            filled.push_str(&format!("{index:020}"));
        } else {
            filled.push_str(&index.to_string());
        }
        rest = &rest[open + length + 1..];
    }
    filled.push_str(rest);
    filled
}

struct Maker {
    rng: Rng,
    /// The last write at each path that may well have succeeded, and the value it gave.
    last: BTreeMap<String, (usize, String)>,
    /// The in-order creations: step and path.
    posts: Vec<(usize, String)>,
    next: usize,
}

impl Maker {
    fn step(&mut self) -> Step {
        let id = self.next;
        self.next += 1;
        let path = self.path();
        let mut step = match self.rng.u32(0..100) {
            0..=51 => self.put(id, &path),
            52..=57 => self.post(id, &path),
            58..=73 => self.delete(id, &path),
            74..=93 => self.get(id, &path, "GET"),
            94..=97 => self.get(id, &path, "HEAD"),
            98 => Step::new(id, "OPTIONS", &path),
            _ => Step::new(id, "PATCH", &path),
        };
        if self.chance(5) {
            let bad = *self.pick(&BAD);
            self.place(&mut step, bad);
        }
        if self.chance(3) {
            self.place(&mut step, "unknown=1");
        }
        if self.chance(2) && !step.query.is_empty() {
            let again = step.query[0].clone();
            step.query.push(again);
        }
        self.finish(step, &path)
    }

    /// Spells the path oddly now and then, and turns a few requests on the root.
    fn finish(&mut self, mut step: Step, path: &str) -> Step {
        if step.body.is_some() && step.content_type.is_none() {
            step.content_type = Some(match self.rng.u32(0..40) {
                0 => "text/plain",
                1 => "application/x-www-form-urlencoded; charset=utf-8",
                2 => "bad/;/",
                _ => FORM,
            });
        }
        let is_conditional = step.parameters().any(|parameter| parameter.starts_with("prev"));
        if step.method == "PUT" && (!is_conditional || !self.last.contains_key(path)) {
            let value = step.parameters().find_map(|parameter| parameter.strip_prefix("value="));
            let value = value.unwrap_or_default().to_owned();
            self.last.insert(path.to_owned(), (step.id, value));
        }
        if self.rng.u32(0..120) == 0 && matches!(step.method.as_str(), "PUT" | "DELETE") {
            step.path = None;
            return step;
        }
        let odd = match self.rng.u32(0..60) {
            0..=2 => format!("{path}/"),
            3 => path.replacen('/', "//", 1),
            4 => format!("{path}/../{}", self.pick(&NAMES)),
            5 => format!("{path}/."),
            6 => path.replace('a', "%61"),
            7 => path.replace('/', "%2F"),
            _ => return step,
        };
        step.path = Some(odd);
        step
    }

    fn path(&mut self) -> String {
        if self.chance(5) && !self.posts.is_empty() {
            let (step, directory) = self.rng.choice(&self.posts).expect("it is not empty").clone();
            return format!("{directory}/{{k{step}}}");
        }
        // Conditions hold more often where something was written before.
        if self.chance(55) && !self.last.is_empty() {
            let known = self.rng.usize(..self.last.len());
            return self.last.keys().nth(known).cloned().unwrap_or_default();
        }
        let depth = *self.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 4]);
        let mut path = String::new();
        for _ in 0..depth {
            let kinds = if self.chance(15) { NAMES.len() } else { 3 };
            path.push('/');
            path.push_str(NAMES[self.rng.usize(..kinds)]);
        }
        if self.chance(60) {
            path.push('/');
            path.push_str(self.pick::<&str>(&LEAVES));
        }
        path
    }

    fn put(&mut self, id: usize, path: &str) -> Step {
        let mut step = Step::new(id, "PUT", path);
        if self.chance(80) {
            step.body = Some(Vec::new());
        }
        match self.rng.u32(0..100) {
            0..=29 => {}
            30..=44 => self.place(&mut step, "prevExist=false"),
            45..=59 => self.place(&mut step, "prevExist=true"),
            _ => {
                self.conditions(&mut step, path);
                if self.chance(20) {
                    let exist = *self.pick(&["prevExist=true", "prevExist=1", "prevExist=false"]);
                    self.place(&mut step, exist);
                }
            }
        }
        if self.chance(12) {
            self.place(&mut step, "refresh=true");
            let ttl = *self.pick(&["ttl=100", "ttl=1000", "ttl=100", "ttl="]);
            self.place(&mut step, ttl);
        } else {
            self.value(&mut step);
            if self.chance(20) {
                self.ttl(&mut step);
            }
        }
        if self.chance(20) {
            let dir = *self.pick(&["dir=true", "dir=true", "dir=1", "dir=false"]);
            self.place(&mut step, dir);
        }
        if self.chance(6) {
            self.place(&mut step, "noValueOnSuccess=true");
        }
        step
    }

    fn post(&mut self, id: usize, path: &str) -> Step {
        let mut step = Step::new(id, "POST", path);
        step.body = Some(Vec::new());
        self.value(&mut step);
        if self.chance(15) {
            self.ttl(&mut step);
        }
        if self.chance(15) {
            self.place(&mut step, "dir=true");
        }
        if self.chance(10) {
            self.place(&mut step, "prevExist=true");
        }
        if self.chance(10) {
            self.place(&mut step, "noValueOnSuccess=1");
        }
        self.posts.push((id, path.to_owned()));
        step
    }

    fn delete(&mut self, id: usize, path: &str) -> Step {
        let mut step = Step::new(id, "DELETE", path);
        match self.rng.u32(0..10) {
            0..=1 => {}
            2 => step.query.push("dir=true".to_owned()),
            3..=4 => step.query.push("recursive=true".to_owned()),
            5 => step.query.extend(["dir=true".to_owned(), "recursive=true".to_owned()]),
            _ => self.conditions(&mut step, path),
        }
        step
    }

    fn get(&mut self, id: usize, path: &str, method: &str) -> Step {
        let mut step = Step::new(id, method, path);
        for flag in ["recursive=true", "sorted=true", "quorum=true"] {
            if self.chance(40) {
                step.query.push(flag.to_owned());
            }
        }
        if self.chance(10) {
            step.path = Some(String::new());
        }
        step
    }

    fn conditions(&mut self, step: &mut Step, path: &str) {
        let which = self.rng.u32(0..10);
        if which < 6 {
            let other = *self.pick(&["1", "2", "x+y", "nope"]);
            let value = match self.last.get(path) {
                Some((_, value)) if !value.is_empty() && self.rng.u32(0..10) < 7 => value.clone(),
                _ => other.to_owned(),
            };
            self.place(step, &format!("prevValue={value}"));
        }
        if which > 3 {
            let index = match (self.rng.u32(0..10), self.last.get(path)) {
                (0, _) => "0".to_owned(),
                (1, _) => "18446744073709551615".to_owned(),
                (2, _) | (_, None) => format!("{{i{}}}", self.rng.usize(0..self.next)),
                (_, Some((last, _))) => format!("{{i{last}}}"),
            };
            self.place(step, &format!("prevIndex={index}"));
        }
    }

    fn value(&mut self, step: &mut Step) {
        if self.chance(85) {
            let value = *self.pick(&VALUES);
            self.place(step, &format!("value={value}"));
        }
    }

    fn ttl(&mut self, step: &mut Step) {
        let ttl = *self.pick(&TTLS);
        self.place(step, &format!("ttl={ttl}"));
    }

    /// Into the query or into the body.
    fn place(&mut self, step: &mut Step, parameter: &str) {
        let to_body = self.chance(60);
        match &mut step.body {
            Some(body) if to_body => body.push(parameter.to_owned()),
            _ => step.query.push(parameter.to_owned()),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.rng.usize(..from.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence() {
        let text = |seed, round| format!("{:?}", steps(seed, round, 50));
        assert_eq!(text(1, 3), text(1, 3));
        assert_ne!(text(1, 3), text(1, 4));
        assert_ne!(text(1, 3), text(2, 3));
    }

    #[test]
    fn names_of_steps_become_indexes() {
        let seen = BTreeMap::from([(17, 98)]);
        assert_eq!(
            fill("/a/{k17}?prevIndex={i17}&x={i9}", &seen),
            "/a/00000000000000000098?prevIndex=98&x=1"
        );
    }
}
