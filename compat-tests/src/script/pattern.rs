//! The shorthands in angle brackets: matching an answer against a pattern, and filling them into
//! a request.
//!
//! A pattern matches from left to right without going back; what is not a shorthand must be
//! there literally. Invariant: symbols have distinct values in the order of their numbers.

use std::collections::BTreeMap;

use crate::timestamp;

const TIME_TOLERANCE: f64 = 2.0;

/// The index symbols of one case and their values.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    values: BTreeMap<u32, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shorthand {
    Symbol(u32),
    Padded(u32),
    Indexes(u32, u32),
    AnyIndex,
    Ttl(u32),
    Expires(u32),
}

enum Part<'a> {
    Literal(&'a str),
    Shorthand(Shorthand),
}

impl Symbols {
    /// The value of a symbol, if it has one yet.
    #[must_use]
    pub fn value(&self, symbol: u32) -> Option<u64> {
        self.values.get(&symbol).copied()
    }

    /// Puts the values of symbols into a request.
    ///
    /// # Errors
    /// A symbol has no value yet.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        for part in parts(text) {
            match part {
                Part::Literal(literal) => filled.push_str(literal),
                Part::Shorthand(Shorthand::Symbol(symbol)) => {
                    filled.push_str(&self.known(symbol)?.to_string());
                }
                Part::Shorthand(Shorthand::Padded(symbol)) => {
                    filled.push_str(&format!("{:020}", self.known(symbol)?));
                }
                Part::Shorthand(other) => return Err(format!("{other:?} in a request")),
            }
        }
        Ok(filled)
    }

    /// Matches a text against a pattern and learns the symbols in it.
    ///
    /// # Errors
    /// Where they first part.
    pub fn match_text(&mut self, pattern: &str, text: &str) -> Result<(), String> {
        let mut rest = text;
        for part in parts(pattern) {
            rest = match part {
                Part::Literal(literal) => eat(rest, literal)?,
                Part::Shorthand(shorthand) => self.match_shorthand(shorthand, rest)?,
            };
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(format!("too much: {rest:?}"))
    }

    fn match_shorthand<'t>(
        &mut self,
        shorthand: Shorthand,
        text: &'t str,
    ) -> Result<&'t str, String> {
        match shorthand {
            Shorthand::Symbol(symbol) => {
                let (value, rest) = eat_number(text)?;
                self.learn(symbol, value)?;
                Ok(rest)
            }
            Shorthand::Padded(symbol) => {
                let (value, rest) = eat_number(text)?;
                if text.len() - rest.len() != 20 {
                    return Err(format!("not twenty digits: {text:?}"));
                }
                self.learn(symbol, value)?;
                Ok(rest)
            }
            Shorthand::Indexes(modified, created) => {
                let (value, rest) = eat_number(eat(text, "\"modifiedIndex\":")?)?;
                self.learn(modified, value)?;
                let (value, rest) = eat_number(eat(rest, ",\"createdIndex\":")?)?;
                self.learn(created, value)?;
                Ok(rest)
            }
            Shorthand::AnyIndex => match eat_number(text)? {
                (0, _) => Err("an index of 0".to_owned()),
                (_, rest) => Ok(rest),
            },
            Shorthand::Expires(seconds) => eat_expiration(text, seconds),
            Shorthand::Ttl(seconds) => {
                let rest = eat(eat_expiration(text, seconds)?, ",\"ttl\":")?;
                let (ttl, rest) = eat_number(rest)?;
                if (u64::from(seconds).saturating_sub(1)..=u64::from(seconds)).contains(&ttl) {
                    return Ok(rest);
                }
                Err(format!("a ttl of {ttl} where {seconds} was given"))
            }
        }
    }

    fn known(&self, symbol: u32) -> Result<u64, String> {
        self.value(symbol).ok_or_else(|| format!("<{symbol}> has no value yet"))
    }

    fn learn(&mut self, symbol: u32, value: u64) -> Result<(), String> {
        if let Some(known) = self.value(symbol) {
            if known == value {
                return Ok(());
            }
            return Err(format!("<{symbol}> was {known} and is now {value}"));
        }
        let below = self.values.range(..symbol).next_back();
        let above = self.values.range(symbol..).next();
        for (other, bound, fits) in [
            below.map(|(other, bound)| (other, bound, *bound < value)),
            above.map(|(other, bound)| (other, bound, value < *bound)),
        ]
        .into_iter()
        .flatten()
        {
            if !fits {
                return Err(format!("<{symbol}> is {value}, but <{other}> is {bound}"));
            }
        }
        self.values.insert(symbol, value);
        Ok(())
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut literal_from = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|found| found + at) {
        let found = text[open..].find('>').and_then(|length| {
            Some((shorthand(&text[open + 1..open + length])?, open + length + 1))
        });
        at = match found {
            Some((shorthand, end)) => {
                parts.push(Part::Literal(&text[literal_from..open]));
                parts.push(Part::Shorthand(shorthand));
                literal_from = end;
                end
            }
            None => open + 1,
        };
    }
    parts.push(Part::Literal(&text[literal_from..]));
    parts
}

fn shorthand(inside: &str) -> Option<Shorthand> {
    if inside == "index" {
        return Some(Shorthand::AnyIndex);
    }
    if let Some(seconds) = inside.strip_prefix("ttl ") {
        return seconds.parse().ok().map(Shorthand::Ttl);
    }
    if let Some(seconds) = inside.strip_prefix("expires ") {
        return seconds.parse().ok().map(Shorthand::Expires);
    }
    if let Some(symbol) = inside.strip_prefix("20:") {
        return symbol.parse().ok().map(Shorthand::Padded);
    }
    if let Some((modified, created)) = inside.split_once(',') {
        return Some(Shorthand::Indexes(modified.parse().ok()?, created.parse().ok()?));
    }
    inside.parse().ok().map(Shorthand::Symbol)
}

fn eat<'t>(text: &'t str, literal: &str) -> Result<&'t str, String> {
    text.strip_prefix(literal).ok_or_else(|| {
        let same = text
            .char_indices()
            .zip(literal.chars())
            .take_while(|((_, left), right)| left == right)
            .map(|((at, letter), _)| at + letter.len_utf8())
            .last()
            .unwrap_or_default();
        let (wanted, got) = (&literal[same..], &text[same..]);
        format!("expected {wanted:.120?}, got {got:.120?}")
    })
}

fn eat_number(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let value = text[..end].parse().map_err(|_| format!("expected an index, got {text:.40?}"))?;
    Ok((value, &text[end..]))
}

fn eat_expiration(text: &str, seconds: u32) -> Result<&str, String> {
    let rest = eat(text, "\"expiration\":\"")?;
    let end = rest.find('"').ok_or("an expiration that does not end")?;
    let left = timestamp::parse(&rest[..end])? - timestamp::now();
    if (left - f64::from(seconds)).abs() > TIME_TOLERANCE {
        return Err(format!("it expires in {left:.3} s, not in {seconds}"));
    }
    Ok(&rest[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_keep_their_value_and_their_order() {
        let mut symbols = Symbols::default();
        assert!(symbols.match_text("[<1>,<3>]", "[5,9]").is_ok());
        assert!(symbols.match_text("<1>", "6").is_err(), "another value");
        assert!(symbols.match_text("<2>", "9").is_err(), "not below the third");
        assert!(symbols.match_text("<2>", "7").is_ok());
        assert_eq!(symbols.fill("a/<20:2>?x=<2>").as_deref(), Ok("a/00000000000000000007?x=7"));
        assert!(symbols.fill("<4>").is_err());
    }

    #[test]
    fn literals_must_be_there() {
        let mut symbols = Symbols::default();
        assert!(symbols.match_text("<a href>", "<a href>").is_ok());
        assert!(symbols.match_text("{\"a\":1}", "{\"a\":2}").is_err());
        assert!(symbols.match_text("{}", "{}\n").is_err());
        assert!(symbols.match_text("<2,1>", "\"modifiedIndex\":2,\"createdIndex\":1").is_ok());
        assert!(symbols.match_text("<index>", "0").is_err());
    }
}
