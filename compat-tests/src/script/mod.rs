//! Exchanges as text: the form most cases are written in, replayed on any target.
//!
//! ```text
//! ### a set replaces a file
//! PUT ~/f | value=1
//! = 201 {"action":"set","node":{"key":"~/f","value":"1",<1,1>}}
//! PUT ~/f?ttl=100 | value=2
//! = 200 {"action":"set","node":{"key":"~/f","value":"2",<ttl 100>,<2,2>},"prevNode":{"key":"~/f","value":"1",<1,1>}}
//! GET ~/nope
//! ! 100 ~/nope
//! < Content-Type: application/json
//! < !X-Raft-Index
//! ```
//!
//! - a request: method, target, and after ` | ` a form body; `> Name: value` adds a header,
//!   `> !Content-Type` leaves the form's Content-Type out. Targets that begin with `~` are keys
//!   below the case's own directory; elsewhere `~` is that directory's key.
//! - `=` status and body. A body is the exact text (its final newline included in JSON), a
//!   quoted string for other text, `-` for no body, or `*` for any.
//! - `!` error code and cause; message, status and the kind of index come from [`errors`].
//! - `<` an answer header that must have this value; `< !Name` one that must not be there.
//!
//! Shorthands: `<2,1>` is `"modifiedIndex":$2,"createdIndex":$1` with two index symbols; `<2>` an
//! index symbol; `<20:2>` the same in twenty digits; `<index>` any index; `<ttl 100>` the two
//! fields of a fresh TTL; `<expires 100>` its `expiration` alone. A symbol has one value in a
//! case, and a smaller symbol has a smaller value; `<2>` in a request is its value.
//! Not a language: no loops, no branches. What needs them is written in Rust.

mod check;
pub mod errors;
mod pattern;

use crate::http::{Answer, Client, Request};

pub use check::check_answer;
pub use pattern::Symbols;

/// One case of a file of exchanges.
#[derive(Clone, Debug)]
pub struct Script {
    /// The words after `###`.
    pub name: String,
    exchanges: Vec<Exchange>,
}

#[derive(Clone, Debug)]
struct Exchange {
    line: usize,
    method: String,
    target: String,
    body: Option<String>,
    headers: Vec<HeaderLine>,
    expected: Option<Expected>,
    answer_headers: Vec<HeaderLine>,
}

#[derive(Clone, Debug)]
enum Expected {
    Answer { status: u16, body: String },
    Error { code: u16, cause: String },
}

#[derive(Clone, Debug)]
enum HeaderLine {
    Is(String, String),
    Absent(String),
}

/// Reads a file of exchanges.
///
/// # Errors
/// The first line that makes no sense.
pub fn parse(text: &str) -> Result<Vec<Script>, String> {
    let mut scripts: Vec<Script> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "###" {
            scripts.push(Script { name: rest.trim().to_owned(), exchanges: Vec::new() });
            continue;
        }
        if line.trim().is_empty() || mark.starts_with('#') {
            continue;
        }
        let script =
            scripts.last_mut().ok_or_else(|| format!("line {number}: no case has begun"))?;
        script
            .read_line(number, mark, rest)
            .map_err(|problem| format!("line {number}: {problem}"))?;
    }
    for script in &scripts {
        if let Some(open) = script.exchanges.iter().find(|one| one.expected.is_none()) {
            return Err(format!("line {}: what is expected?", open.line));
        }
    }
    Ok(scripts)
}

impl Script {
    fn read_line(&mut self, line: usize, mark: &str, rest: &str) -> Result<(), String> {
        if !matches!(mark, "=" | "!" | ">" | "<") {
            let (target, body) = match rest.split_once(" |") {
                Some((target, body)) => (target, Some(body.strip_prefix(' ').unwrap_or(body))),
                None => (rest, None),
            };
            self.exchanges.push(Exchange {
                line,
                method: mark.to_owned(),
                target: target.to_owned(),
                body: body.map(str::to_owned),
                headers: Vec::new(),
                expected: None,
                answer_headers: Vec::new(),
            });
            return Ok(());
        }
        let exchange = self.exchanges.last_mut().ok_or("no request stands before it")?;
        let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        match mark {
            ">" => exchange.headers.push(header_line(rest)?),
            "<" => exchange.answer_headers.push(header_line(rest)?),
            "=" => {
                exchange.expected = Some(Expected::Answer {
                    status: word.parse().map_err(|_| format!("{word:?} is no status"))?,
                    body: tail.to_owned(),
                });
            }
            _ => {
                exchange.expected = Some(Expected::Error {
                    code: word.parse().map_err(|_| format!("{word:?} is no error code"))?,
                    cause: tail.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Replays the case below the directory `/prefix`.
    ///
    /// # Errors
    /// The first answer that is not as written, with what was asked, expected and got.
    pub fn run(&self, client: &Client, prefix: &str) -> Result<(), String> {
        let mut symbols = Symbols::default();
        for exchange in &self.exchanges {
            exchange.run(client, prefix, &mut symbols)?;
        }
        Ok(())
    }
}

fn header_line(text: &str) -> Result<HeaderLine, String> {
    if let Some(name) = text.strip_prefix('!') {
        return Ok(HeaderLine::Absent(name.trim().to_owned()));
    }
    let (name, value) = text.split_once(':').ok_or("a header is Name: value")?;
    Ok(HeaderLine::Is(name.to_owned(), value.trim().to_owned()))
}

impl Exchange {
    fn run(&self, client: &Client, prefix: &str, symbols: &mut Symbols) -> Result<(), String> {
        let request = self.request(prefix, symbols)?;
        let answer = client.send(&request).map_err(|error| {
            format!("line {}: {} {}: {error}", self.line, request.method, request.target)
        })?;
        self.compare(&request, &answer, prefix, symbols).map_err(|problem| {
            format!(
                "line {}: {problem}\n  asked:\n    {} {}\n    {:?}\n  got:\n    {}",
                self.line,
                request.method,
                request.target,
                request.body.as_deref().map(String::from_utf8_lossy),
                answer.describe(),
            )
        })
    }

    fn request(&self, prefix: &str, symbols: &Symbols) -> Result<Request, String> {
        let target = match self.target.strip_prefix('~') {
            Some(rest) => format!("/v2/keys/{prefix}{}", rest.replace('~', &format!("/{prefix}"))),
            None => self.target.replace('~', &format!("/{prefix}")),
        };
        let mut request = Request::new(&self.method, &symbols.fill(&target)?);
        let untyped = self.headers.iter().any(|line| match line {
            HeaderLine::Is(name, _) | HeaderLine::Absent(name) => {
                name.eq_ignore_ascii_case("content-type")
            }
        });
        if let Some(body) = &self.body {
            let body = symbols.fill(body)?;
            request = if untyped { request.body(body) } else { request.form(&body) };
        }
        for line in &self.headers {
            if let HeaderLine::Is(name, value) = line {
                request = request.header(name, value);
            }
        }
        Ok(request)
    }

    fn compare(
        &self,
        request: &Request,
        answer: &Answer,
        prefix: &str,
        symbols: &mut Symbols,
    ) -> Result<(), String> {
        let directory = format!("/{prefix}");
        match &self.expected {
            None => {}
            Some(Expected::Answer { status, body }) => {
                expect_status(answer, *status)?;
                compare_body(&body.replace('~', &directory), answer, symbols)?;
            }
            Some(Expected::Error { code, cause }) => {
                let wanted = errors::find(*code)?;
                expect_status(answer, wanted.status)?;
                let pattern = wanted.pattern(&cause.replace('~', &directory));
                compare_body(&pattern, answer, symbols)?;
            }
        }
        for line in &self.answer_headers {
            compare_header(line, answer, &directory)?;
        }
        check_answer(request, answer)?;
        check::check_covered(answer)
    }
}

fn expect_status(answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status() == status {
        return Ok(());
    }
    Err(format!("expected status {status}, got {}", answer.status()))
}

fn compare_body(expected: &str, answer: &Answer, symbols: &mut Symbols) -> Result<(), String> {
    let wanted = match expected {
        "*" => return Ok(()),
        "-" => String::new(),
        text if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|problem| format!("{text}: {problem}"))?
        }
        text => format!("{text}\n"),
    };
    symbols
        .match_text(&wanted, &answer.text())
        .map_err(|problem| format!("{problem}\n  expected:\n    {wanted:?}"))
}

fn compare_header(line: &HeaderLine, answer: &Answer, directory: &str) -> Result<(), String> {
    match line {
        HeaderLine::Absent(name) => match answer.header(name) {
            None => Ok(()),
            Some(value) => Err(format!("unexpected header {name}: {value}")),
        },
        HeaderLine::Is(name, value) => {
            let wanted = value.replace('~', directory);
            match answer.header(name) {
                Some(got) if got == wanted => Ok(()),
                got => Err(format!("header {name}: expected {wanted:?}, got {got:?}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let scripts = parse("### one\n# words\nPUT ~/a?x=1 | value=1\n> A: b\n= 200 *\n< !C\n### two\nGET ~\n! 100 ~\n")
            .expect("it is well formed");
        assert_eq!(scripts.len(), 2);
        assert_eq!(scripts[0].name, "one");
        assert_eq!(scripts[0].exchanges[0].body.as_deref(), Some("value=1"));
        assert_eq!(scripts[0].exchanges[0].target, "~/a?x=1");
    }

    #[test]
    fn lines_out_of_place_are_refused() {
        for text in ["GET ~\n= 200 *", "### a\n= 200 *", "### a\nGET ~", "### a\nGET ~\n= x *"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
