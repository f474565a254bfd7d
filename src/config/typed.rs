//! A flag's value as it was typed: read, or not to be read.
//!
//! clap stops at the first value that it cannot read. Values of this type it always can, so that
//! what is wrong with each is told with all other mistakes.

use std::convert::Infallible;
use std::str::FromStr;

use clap::ValueEnum;

use super::Mistakes;

/// The value, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed<T>(Result<T, String>);

/// What can be read from a flag.
pub(super) trait Readable: Sized {
    /// The value, or what is wrong with the text.
    fn read(text: &str) -> Result<Self, String>;
}

impl<T> Typed<T> {
    /// The value, or this one after the mistake was noted.
    pub(super) fn or(self, instead: T, flag: &str, mistakes: &mut Mistakes) -> T {
        self.0.unwrap_or_else(|what| {
            mistakes.add(flag, what);
            instead
        })
    }
}

impl<T: Readable> FromStr for Typed<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Typed<T>, Infallible> {
        Ok(Typed(T::read(text)))
    }
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no number that it can be"))
}

impl Readable for usize {
    fn read(text: &str) -> Result<usize, String> {
        number(text)
    }
}

impl Readable for u64 {
    fn read(text: &str) -> Result<u64, String> {
        number(text)
    }
}

/// One of the names of an enum.
pub(super) fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|variant| variant.to_possible_value())
            .map(|value| value.get_name().to_owned())
            .collect();
        format!("'{text}' is none of {}", names.join(", "))
    })
}
