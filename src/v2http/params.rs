//! The parameters of `/v2/keys`: a well-formed request, or etcd's first complaint.
//!
//! The order of the checks and the words of the causes are those of `parseKeyRequest`
//! (v2http/client.go); clients and their tests know them. Nothing here looks at the tree.

use hyper::Method;

use super::form::{Field, Form};
use crate::v2::{
    Compare, Draft, Error, ErrorCode, EtcdIndex, Key, Operation, Read, Removal, UnixMs, Value,
    Watch, Write, expiration_after,
};

/// What a request to `/v2/keys` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Look at a node.
    Read(Read),
    /// Change the tree. With the flag set, the answer shows no nodes (noValueOnSuccess).
    Write(Write, bool),
    /// Wait for events.
    Watch(Watch),
}

impl Request {
    /// The write, if it is one.
    pub(super) fn write(&self) -> Option<&Write> {
        match self {
            Request::Write(write, _) => Some(write),
            Request::Read(_) | Request::Watch(_) => None,
        }
    }
}

/// The methods that `/v2/keys` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Head,
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    /// The verb of a method, if it is one.
    pub(super) fn of(method: &Method) -> Option<Verb> {
        Some(match *method {
            Method::HEAD => Verb::Head,
            Method::GET => Verb::Get,
            Method::PUT => Verb::Put,
            Method::POST => Verb::Post,
            Method::DELETE => Verb::Delete,
            _ => return None,
        })
    }

    /// Whether the body is looked at. A DELETE's is not (net/http, `ParseForm`).
    pub(super) fn has_form(self) -> bool {
        matches!(self, Verb::Put | Verb::Post)
    }
}

/// Where the parameters come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The method.
    pub(super) verb: Verb,
    /// The decoded, clean path after `/v2/keys`.
    pub(super) path: &'a [u8],
    /// The query as it came.
    pub(super) query: &'a [u8],
    /// The body as it came; empty if it is not a form.
    pub(super) body: &'a [u8],
}

/// A request that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    /// What it asks for.
    pub(super) request: Request,
    /// Whether it says `recursive`, which permissions look at whatever the method.
    pub(super) is_recursive: bool,
}

/// Reads the parameters of a request that came at this time.
pub(super) fn parse(source: Source<'_>, now: UnixMs) -> Result<Parsed, Error> {
    let mut form = Form::default();
    // Body before query: the first value of a field wins.
    for text in [source.body, source.query] {
        form.add(text).map_err(|malformed| invalid_form(malformed.cause()))?;
    }
    let checked = check(&form, source.verb)?;
    let key = Key::parse(source.path)
        .map_err(|_| invalid_form("the key has more than 65535 parts".to_owned()))?;
    let is_recursive = checked.recursive;
    Ok(Parsed { request: checked.into_request(source.verb, key, form, now), is_recursive })
}

/// The answer to a query or a body that cannot be read.
pub(super) fn invalid_form(cause: impl Into<Vec<u8>>) -> Error {
    Error::new(ErrorCode::InvalidForm, cause)
}

/// Every parameter but the values, in its type.
struct Checked {
    prev_index: Option<EtcdIndex>,
    wait_index: Option<EtcdIndex>,
    recursive: bool,
    sorted: bool,
    wait: bool,
    dir: bool,
    quorum: bool,
    stream: bool,
    no_value: bool,
    ttl: Option<u64>,
    prev_exist: Option<bool>,
    refresh: bool,
}

fn check(form: &Form<'_>, verb: Verb) -> Result<Checked, Error> {
    let prev_index = index(form, Field::PrevIndex)?;
    let wait_index = index(form, Field::WaitIndex)?;
    let recursive = flag(form, Field::Recursive)?;
    let sorted = flag(form, Field::Sorted)?;
    let wait = flag(form, Field::Wait)?;
    let dir = flag(form, Field::Dir)?;
    let quorum = flag(form, Field::Quorum)?;
    let stream = flag(form, Field::Stream)?;
    if wait && verb != Verb::Get {
        let cause = r#""wait" can only be used with GET requests"#;
        return Err(Error::new(ErrorCode::InvalidField, cause));
    }
    if form.get(Field::PrevValue) == Some(b"") {
        let cause = r#""prevValue" cannot be empty"#;
        return Err(Error::new(ErrorCode::PrevValueRequired, cause));
    }
    let no_value = flag(form, Field::NoValueOnSuccess)?;
    // An empty ttl is none at all, unlike every other empty parameter.
    let ttl = match form.get(Field::Ttl) {
        None | Some(b"") => None,
        Some(text) => Some(number(text).ok_or_else(|| invalid(ErrorCode::TtlNaN, Field::Ttl))?),
    };
    let prev_exist = late_flag(form, Field::PrevExist)?;
    let refresh = late_flag(form, Field::Refresh)?.unwrap_or(false);
    if refresh && form.get(Field::Value).is_some_and(|value| !value.is_empty()) {
        return Err(Error::new(ErrorCode::RefreshValue, "A value was provided on a refresh"));
    }
    if refresh && ttl.is_none() {
        return Err(Error::new(ErrorCode::RefreshTtlRequired, "No TTL value set"));
    }
    Ok(Checked {
        prev_index,
        wait_index,
        recursive,
        sorted,
        wait,
        dir,
        quorum,
        stream,
        no_value,
        ttl,
        prev_exist,
        refresh,
    })
}

impl Checked {
    fn into_request(self, verb: Verb, key: Key, mut form: Form<'_>, now: UnixMs) -> Request {
        let no_value = self.no_value;
        let operation = match verb {
            // A wait with quorum is no watch: the server sees a quorum read (v2_server.go).
            Verb::Get if self.wait && !self.quorum => {
                let Checked { recursive, stream, wait_index: since, .. } = self;
                return Request::Watch(Watch { key, recursive, stream, since });
            }
            Verb::Head | Verb::Get => {
                let Checked { recursive, sorted, quorum, .. } = self;
                return Request::Read(Read { key, recursive, sorted, quorum });
            }
            Verb::Put => self.put(&mut form, now),
            Verb::Post => Operation::CreateInOrder(self.creation(&mut form, now)),
            Verb::Delete => self.delete(&mut form),
        };
        Request::Write(Write { key, operation }, no_value)
    }

    /// Which operation a PUT is (etcdserver/apply_v2.go).
    fn put(&self, form: &mut Form<'_>, now: UnixMs) -> Operation {
        if self.prev_exist == Some(false) {
            return Operation::Create(self.creation(form, now));
        }
        let compare = self.compare(form);
        let draft = Draft { refresh: self.refresh, ..self.creation(form, now) };
        match (compare, self.prev_exist) {
            (Some(compare), _) => Operation::CompareAndSwap(draft, compare),
            (None, Some(_)) => Operation::Update(draft),
            (None, None) => Operation::Set(draft),
        }
    }

    fn delete(&self, form: &mut Form<'_>) -> Operation {
        match self.compare(form) {
            Some(compare) => Operation::CompareAndDelete(compare),
            None => Operation::Delete(Removal { dir: self.dir, recursive: self.recursive }),
        }
    }

    fn compare(&self, form: &mut Form<'_>) -> Option<Compare> {
        let prev_value = form.take(Field::PrevValue).map(Value::from);
        let given = prev_value.is_some() || self.prev_index.is_some();
        given.then_some(Compare { prev_value, prev_index: self.prev_index })
    }

    /// What is put into a node. Nothing is there to refresh where one is created.
    fn creation(&self, form: &mut Form<'_>, now: UnixMs) -> Draft {
        Draft {
            value: form.take(Field::Value).map(Value::from).unwrap_or_default(),
            dir: self.dir,
            refresh: false,
            expiration: self.ttl.map(|ttl| expiration_after(now, ttl)),
        }
    }
}

/// An index; 0 is none.
fn index(form: &Form<'_>, field: Field) -> Result<Option<EtcdIndex>, Error> {
    let Some(text) = form.get(field) else { return Ok(None) };
    let index = number(text).ok_or_else(|| invalid(ErrorCode::IndexNaN, field))?;
    Ok((index != 0).then_some(EtcdIndex(index)))
}

/// Digits alone, as Go's `ParseUint` in base 10 reads them: no sign, no space.
fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

fn flag(form: &Form<'_>, field: Field) -> Result<bool, Error> {
    match form.get(field) {
        None => Ok(false),
        Some(text) => boolean(text).ok_or_else(|| invalid(ErrorCode::InvalidField, field)),
    }
}

/// The two flags that came later to etcd, and are named without quotes.
fn late_flag(form: &Form<'_>, field: Field) -> Result<Option<bool>, Error> {
    let Some(text) = form.get(field) else { return Ok(None) };
    let cause = || format!("invalid value for {}", field.name());
    boolean(text).map(Some).ok_or_else(|| Error::new(ErrorCode::InvalidField, cause()))
}

/// Go's `ParseBool`.
fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn invalid(code: ErrorCode, field: Field) -> Error {
    Error::new(code, format!("invalid value for \"{}\"", field.name()))
}

#[cfg(test)]
mod tests;
