//! The fields of a query or of a form body, by the rules of Go's `url.ParseQuery`.
//!
//! Not by the form_urlencoded crate: it gives text, and mends what is no UTF-8 and what is no escape,
//! where etcd keeps the bytes and complains.
//!
//! Only the fields that v2 knows are kept, each with its first value, and as bytes: a value need
//! not be UTF-8. Nothing is copied that is not escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A parameter of `/v2/keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Value,
    Ttl,
    Dir,
    PrevExist,
    PrevValue,
    PrevIndex,
    Refresh,
    NoValueOnSuccess,
    Recursive,
    Sorted,
    Quorum,
    Wait,
    WaitIndex,
    Stream,
}

const FIELDS: usize = 14;

impl Field {
    fn named(name: &[u8]) -> Option<Field> {
        Some(match name {
            b"value" => Field::Value,
            b"ttl" => Field::Ttl,
            b"dir" => Field::Dir,
            b"prevExist" => Field::PrevExist,
            b"prevValue" => Field::PrevValue,
            b"prevIndex" => Field::PrevIndex,
            b"refresh" => Field::Refresh,
            b"noValueOnSuccess" => Field::NoValueOnSuccess,
            b"recursive" => Field::Recursive,
            b"sorted" => Field::Sorted,
            b"quorum" => Field::Quorum,
            b"wait" => Field::Wait,
            b"waitIndex" => Field::WaitIndex,
            b"stream" => Field::Stream,
            _ => return None,
        })
    }

    /// The name, as clients write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Field::Value => "value",
            Field::Ttl => "ttl",
            Field::Dir => "dir",
            Field::PrevExist => "prevExist",
            Field::PrevValue => "prevValue",
            Field::PrevIndex => "prevIndex",
            Field::Refresh => "refresh",
            Field::NoValueOnSuccess => "noValueOnSuccess",
            Field::Recursive => "recursive",
            Field::Sorted => "sorted",
            Field::Quorum => "quorum",
            Field::Wait => "wait",
            Field::WaitIndex => "waitIndex",
            Field::Stream => "stream",
        }
    }
}

/// What was given, field by field; the first value of each.
#[derive(Debug, Default)]
pub(super) struct Form<'a> {
    fields: [Option<Cow<'a, [u8]>>; FIELDS],
}

/// Why a query or a body cannot be read. Its text is the `cause`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Malformed {
    /// There is a raw semicolon.
    Semicolon,
    /// A percent sign without two hexadecimal digits: those three bytes, fewer at the end.
    Escape(Vec<u8>),
}

impl Malformed {
    /// The words of Go's net/url.
    pub(super) fn cause(&self) -> String {
        match self {
            Malformed::Semicolon => "invalid semicolon separator in query".to_owned(),
            Malformed::Escape(bytes) => format!("invalid URL escape {}", quote(bytes)),
        }
    }
}

impl<'a> Form<'a> {
    /// Adds the pairs of `text`; a field that is there already keeps its value.
    ///
    /// The whole text is looked at, as in Go: of two complaints the first is told, but one about
    /// a semicolon goes before one about an escape.
    pub(super) fn add(&mut self, text: &'a [u8]) -> Result<(), Malformed> {
        let mut complaint = None;
        for pair in text.split(|byte| *byte == b'&') {
            if pair.contains(&b';') {
                return Err(Malformed::Semicolon);
            }
            if let Err(malformed) = self.add_pair(pair) {
                complaint.get_or_insert(malformed);
            }
        }
        complaint.map_or(Ok(()), Err)
    }

    fn add_pair(&mut self, pair: &'a [u8]) -> Result<(), Malformed> {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let name = unescape(name)?;
        let value = unescape(value)?;
        if let Some(field) = Field::named(&name) {
            self.fields[field as usize].get_or_insert(value);
        }
        Ok(())
    }

    /// The value of a field that was given.
    pub(super) fn get(&self, field: Field) -> Option<&[u8]> {
        self.fields[field as usize].as_deref()
    }

    /// The value of a field, taken out.
    pub(super) fn take(&mut self, field: Field) -> Option<Cow<'a, [u8]>> {
        self.fields[field as usize].take()
    }
}

/// Undoes percent-encoding; a plus is a space.
fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    if let Some(bad) = bad_escape(text) {
        return Err(Malformed::Escape(bad.to_vec()));
    }
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let decoded = Cow::from(percent_encoding::percent_decode(&spaced)).into_owned();
    Ok(Cow::Owned(decoded))
}

/// The first percent sign that does not begin an escape, with up to two bytes after it.
pub(super) fn bad_escape(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = &rest[at..];
        match rest {
            [_, a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest = after,
            _ => return Some(&rest[..rest.len().min(3)]),
        }
    }
    None
}

/// Go's `strconv.Quote`, for the few bytes of a bad escape.
fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_ascii_control() => _ = write!(text, "\\x{:02x}", u32::from(c)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form<'_> {
        let mut form = Form::default();
        form.add(text.as_bytes()).unwrap();
        form
    }

    #[test]
    fn every_field_is_found_by_its_name() {
        for field in [
            Field::Value,
            Field::Ttl,
            Field::Dir,
            Field::PrevExist,
            Field::PrevValue,
            Field::PrevIndex,
            Field::Refresh,
            Field::NoValueOnSuccess,
            Field::Recursive,
            Field::Sorted,
            Field::Quorum,
            Field::Wait,
            Field::WaitIndex,
            Field::Stream,
        ] {
            assert_eq!(Field::named(field.name().as_bytes()), Some(field));
            assert!((field as usize) < FIELDS);
        }
        for unknown in ["VALUE", "Dir", "consistent", ""] {
            assert_eq!(Field::named(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn pairs_are_read_as_go_does() {
        for (text, value) in [
            ("value=1", Some("1")),
            ("value=", Some("")),
            ("value", Some("")),
            ("value=a=b=c", Some("a=b=c")),
            ("value=a+b%20c%2B", Some("a b c+")),
            ("%76alue=1", Some("1")),
            ("va+lue=1", None),
            ("&&=&value=1&", Some("1")),
            ("value=1&value=2", Some("1")),
            ("value=&value=2", Some("")),
            ("x=1", None),
            ("", None),
        ] {
            let value = value.map(str::as_bytes);
            assert_eq!(form(text).get(Field::Value), value, "{text}");
        }
    }

    #[test]
    fn a_value_may_be_any_bytes() {
        assert_eq!(form("value=%FF%fe%00").get(Field::Value), Some(&b"\xff\xfe\0"[..]));
        let mut raw = Form::default();
        raw.add(b"value=\xff+\xfe").unwrap();
        assert_eq!(raw.get(Field::Value), Some(&b"\xff \xfe"[..]));
    }

    #[test]
    fn what_is_added_first_wins() {
        let mut form = form("ttl=&value=a");
        form.add(b"ttl=100&dir=1").unwrap();
        assert_eq!(form.get(Field::Ttl), Some(&b""[..]));
        assert_eq!(form.get(Field::Dir), Some(&b"1"[..]));
        assert_eq!(form.take(Field::Value).as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn what_go_says_of_malformed_text() {
        let semicolon = "invalid semicolon separator in query";
        for (text, cause) in [
            ("%zz", r#"invalid URL escape "%zz""#),
            ("a=%z", r#"invalid URL escape "%z""#),
            ("a=%", r#"invalid URL escape "%""#),
            ("a=%4", r#"invalid URL escape "%4""#),
            ("a=%zzab", r#"invalid URL escape "%zz""#),
            ("a=%20%zz", r#"invalid URL escape "%zz""#),
            ("%zz=%yy", r#"invalid URL escape "%zz""#),
            ("a=%yy&b=%zz", r#"invalid URL escape "%yy""#),
            ("a=%\"\\", r#"invalid URL escape "%\"\\""#),
            ("a=%\u{e9}", "invalid URL escape \"%\u{e9}\""),
            ("a=%\n\u{1}", r#"invalid URL escape "%\n\x01""#),
            (";", semicolon),
            ("a=1;b=2&c=%zz", semicolon),
            ("c=%zz&a;b", semicolon),
        ] {
            let malformed = Form::default().add(text.as_bytes()).unwrap_err();
            assert_eq!(malformed.cause(), cause, "{text}");
        }
    }
}
