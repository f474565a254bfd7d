//! The JSON of the protocol: events, nodes and errors, written field by field.
//!
//! Not a general writer: it knows these three shapes, their order of fields and which of them are
//! left out. A listing is written in one pass over the tree into one buffer. Strings are escaped
//! as Go's `encoding/json` does, so that what a client sees does not depend on the server.

use crate::v2::{Content, Error, EtcdIndex, Event, Key, Listed, Node, UnixMs, Value};

/// Writes `{"action":…,"node":…,"prevNode":…}` and a newline (v2store/event.go).
pub(super) fn write_event(out: &mut Vec<u8>, event: &Event) {
    open_event(out, event);
    out.extend_from_slice(b",\"node\":");
    write_node(out, &event.node);
    if let Some(prev) = &event.prev_node {
        out.extend_from_slice(b",\"prevNode\":");
        write_node(out, prev);
    }
    out.extend_from_slice(b"}\n");
}

/// Writes the event of a request with noValueOnSuccess: both nodes are gone.
pub(super) fn write_event_without_nodes(out: &mut Vec<u8>, event: &Event) {
    open_event(out, event);
    out.extend_from_slice(b"}\n");
}

/// Writes `{"errorCode":…,"message":…,"cause":…,"index":…}` and a newline (v2error/error.go).
pub(super) fn write_error(out: &mut Vec<u8>, error: &Error) {
    out.extend_from_slice(b"{\"errorCode\":");
    write_number(out, u64::from(error.code.number()));
    out.extend_from_slice(b",\"message\":");
    write_string(out, error.code.message().as_bytes());
    if !error.cause.is_empty() {
        out.extend_from_slice(b",\"cause\":");
        write_string(out, &error.cause);
    }
    out.extend_from_slice(b",\"index\":");
    write_number(out, error.index.0);
    out.extend_from_slice(b"}\n");
}

/// A guess at the length of [`write_event`]'s text, so that a listing's buffer seldom grows.
pub(super) fn event_size(event: &Event) -> usize {
    64 + node_size(&event.node) + event.prev_node.as_ref().map_or(0, node_size)
}

fn open_event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(event.action.name().as_bytes());
    out.push(b'"');
}

/// A node, or a node in a listing, as it is written.
struct Shown<'a> {
    key: &'a Key,
    value: Option<&'a Value>,
    dir: bool,
    expiration: Option<UnixMs>,
    ttl: i64,
    nodes: &'a [Listed],
    modified: EtcdIndex,
    created: EtcdIndex,
}

impl<'a> From<&'a Node> for Shown<'a> {
    fn from(node: &'a Node) -> Shown<'a> {
        Shown {
            key: &node.key,
            value: node.value.as_ref(),
            dir: node.dir,
            expiration: node.expiration,
            ttl: node.ttl,
            nodes: &node.nodes,
            modified: node.modified,
            created: node.created,
        }
    }
}

impl<'a> From<&'a Listed> for Shown<'a> {
    fn from(listed: &'a Listed) -> Shown<'a> {
        let item = &listed.item;
        Shown {
            key: &item.key,
            value: match &item.content {
                Content::File(value) => Some(value),
                Content::Dir(_) => None,
            },
            dir: item.is_dir(),
            expiration: item.expiration,
            ttl: listed.ttl,
            nodes: &listed.nodes,
            modified: item.modified,
            created: item.created,
        }
    }
}

fn node_size<'a>(node: impl Into<Shown<'a>>) -> usize {
    let node = node.into();
    let value = node.value.map_or(0, |value| value.as_bytes().len());
    let own = 128 + node.key.as_bytes().len() + value;
    own + node.nodes.iter().map(node_size).sum::<usize>()
}

/// Writes a node as v2store/node_extern.go declares it: zero and empty fields are left out, but a
/// file's value is not.
fn write_node<'a>(out: &mut Vec<u8>, node: impl Into<Shown<'a>>) {
    let node = node.into();
    let start = out.len();
    if !node.key.is_root() {
        out.extend_from_slice(b",\"key\":");
        write_string(out, node.key.as_bytes());
    }
    if let Some(value) = node.value {
        out.extend_from_slice(b",\"value\":");
        write_string(out, value.as_bytes());
    }
    if node.dir {
        out.extend_from_slice(b",\"dir\":true");
    }
    if let Some(expiration) = node.expiration {
        write_expiration(out, expiration);
    }
    if node.ttl != 0 {
        out.extend_from_slice(b",\"ttl\":");
        out.extend_from_slice(itoa::Buffer::new().format(node.ttl).as_bytes());
    }
    if !node.nodes.is_empty() {
        write_children(out, node.nodes);
    }
    for (name, index) in
        [(",\"modifiedIndex\":", node.modified), (",\"createdIndex\":", node.created)]
    {
        if index.0 != 0 {
            out.extend_from_slice(name.as_bytes());
            write_number(out, index.0);
        }
    }
    // Every field brings its comma; the first one's is where the brace belongs.
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

fn write_children(out: &mut Vec<u8>, nodes: &[Listed]) {
    out.extend_from_slice(b",\"nodes\":");
    for (at, node) in nodes.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        write_node(out, node);
    }
    out.push(b']');
}

/// RFC 3339 in UTC; a fraction without trailing zeros, which is how jiff prints a timestamp.
fn write_expiration(out: &mut Vec<u8>, at: UnixMs) {
    // A TTL wraps around within an i64 of nanoseconds, so a year that has no name cannot come up.
    if let Some(text) = rfc3339(at) {
        out.extend_from_slice(b",\"expiration\":\"");
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

/// A point in time as Go's `time.Time` marshals itself in UTC.
pub(super) fn rfc3339(at: UnixMs) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| at.to_string())
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a string as Go does: `<`, `>` and `&` escaped, and every byte that is not UTF-8 shown as
/// U+FFFD.
pub(super) fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    // Looks at every byte, which compiles to vector instructions; stopping early would not.
    if bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            write_escaped(out, chunk.valid());
            for _ in chunk.invalid() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.push(b'"');
}

/// ASCII that stands for itself.
const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20)
        & (byte < 0x80)
        & (byte != b'"')
        & (byte != b'\\')
        & (byte != b'<')
        & (byte != b'>')
        & (byte != b'&')
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let mut unwritten = 0;
    for (at, c) in text.char_indices() {
        let escape: Option<&[u8]> = match c {
            '"' => Some(b"\\\""),
            '\\' => Some(b"\\\\"),
            '\n' => Some(b"\\n"),
            '\r' => Some(b"\\r"),
            '\t' => Some(b"\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => None,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[unwritten..at]);
        unwritten = at + c.len_utf8();
        match escape {
            Some(escape) => out.extend_from_slice(escape),
            None => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[unwritten..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::v2::{Action, Dir, ErrorCode, Item, Writes};

    fn node(path: &str) -> Node {
        Node {
            key: Key::parse(path.as_bytes()).unwrap(),
            value: None,
            dir: false,
            expiration: None,
            ttl: 0,
            nodes: Vec::new(),
            modified: EtcdIndex(7),
            created: EtcdIndex(5),
        }
    }

    fn file(path: &str, value: &str) -> Node {
        Node { value: Some(Value::from(value)), ..node(path) }
    }

    fn event(event: &Event) -> String {
        let mut out = Vec::new();
        write_event(&mut out, event);
        String::from_utf8(out).unwrap()
    }

    fn string(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let cases: [(&[u8], &str); 10] = [
            (b"plain /~ text", r#""plain /~ text""#),
            (b"", r#""""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"<a&b>", "\"\\u003ca\\u0026b\\u003e\""),
            (b"\t\n\r", r#""\t\n\r""#),
            (b"\0\x08\x0c\x1f\x7f", "\"\\u0000\\u0008\\u000c\\u001f\x7f\""),
            ("caf\u{e9} \u{1f600}".as_bytes(), "\"caf\u{e9} \u{1f600}\""),
            ("\u{2028}\u{2029}".as_bytes(), r#""\u2028\u2029""#),
            (b"\xff\xfe", r#""\ufffd\ufffd""#),
            (b"a\xe2\x82", r#""a\ufffd\ufffd""#),
        ];
        for (bytes, json) in cases {
            assert_eq!(string(bytes), json, "{bytes:?}");
        }
    }

    #[test]
    fn a_write_shows_the_node_before_it() {
        let before = Node { modified: EtcdIndex(5), ..file("/foo", "") };
        let set = Event {
            action: Action::Set,
            node: file("/foo", "bar"),
            prev_node: Some(before),
            is_created: false,
            is_refresh: false,
        };
        let text = concat!(
            r#"{"action":"set","node":{"key":"/foo","value":"bar","modifiedIndex":7,"createdIndex":5},"#,
            r#""prevNode":{"key":"/foo","value":"","modifiedIndex":5,"createdIndex":5}}"#,
            "\n"
        );
        assert_eq!(event(&set), text);
        let mut out = Vec::new();
        write_event_without_nodes(&mut out, &set);
        assert_eq!(out, b"{\"action\":\"set\"}\n");
    }

    #[test]
    fn the_root_has_neither_key_nor_indexes() {
        assert_eq!(
            event(&Event::get(Node::root())),
            "{\"action\":\"get\",\"node\":{\"dir\":true}}\n"
        );
    }

    #[test]
    fn a_ttl_is_shown_unless_it_is_zero_and_the_expiration_always() {
        let at = Some(UnixMs(1_795_300_700_654));
        for (ttl, shown) in [(10, r#""ttl":10,"#), (0, ""), (-1, r#""ttl":-1,"#)] {
            let node = Node { expiration: at, ttl, ..file("/t", "x") };
            let text = format!(
                "{{\"action\":\"get\",\"node\":{{\"key\":\"/t\",\"value\":\"x\",\
                 \"expiration\":\"2026-11-21T22:38:20.654Z\",{shown}\
                 \"modifiedIndex\":7,\"createdIndex\":5}}}}\n"
            );
            assert_eq!(event(&Event::get(node)), text);
        }
    }

    #[test]
    fn an_expirations_fraction_is_trimmed() {
        for (ms, text) in [
            (1500, "1970-01-01T00:00:01.5Z"),
            (1000, "1970-01-01T00:00:01Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(UnixMs(ms)).unwrap(), text);
        }
    }

    #[test]
    fn children_stand_before_the_indexes_and_no_children_show_nothing() {
        let listed = |path: &[u8], content| {
            let item = Item {
                key: Key::parse(path).unwrap(),
                content,
                created: EtcdIndex(5),
                modified: EtcdIndex(7),
                expiration: None,
                action: None,
                writes: Writes::default(),
                removed: None,
            };
            Listed::new(Arc::new(item), Vec::new(), UnixMs(0))
        };
        let file = listed(b"/d/f", Content::File(Value::from("1")));
        let empty = listed(b"/d/e", Content::Dir(Dir::default()));
        let dir = Node { dir: true, nodes: vec![file, empty], ..node("/d") };
        let text = concat!(
            r#"{"action":"get","node":{"key":"/d","dir":true,"nodes":["#,
            r#"{"key":"/d/f","value":"1","modifiedIndex":7,"createdIndex":5},"#,
            r#"{"key":"/d/e","dir":true,"modifiedIndex":7,"createdIndex":5}],"#,
            r#""modifiedIndex":7,"createdIndex":5}}"#,
            "\n"
        );
        assert_eq!(event(&Event::get(dir)), text);
    }

    #[test]
    fn an_error_without_a_cause_shows_none() {
        let mut out = Vec::new();
        write_error(&mut out, &Error::new(ErrorCode::NotFile, "").at_store(EtcdIndex(7)));
        write_error(&mut out, &Error::new(ErrorCode::TestFailed, "[a<b != \"]"));
        let text = concat!(
            r#"{"errorCode":102,"message":"Not a file","index":7}"#,
            "\n",
            r#"{"errorCode":101,"message":"Compare failed","cause":"[a\u003cb != \"]","index":0}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
