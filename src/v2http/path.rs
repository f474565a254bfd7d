//! Request paths: percent-decoding, cleaning, and the way back to text.
//!
//! A path is decoded first, so that `%2F` separates. One that is then not clean is answered with
//! a redirect to the clean one, as Go's `http.ServeMux` does.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::form::bad_escape;

/// A percent sign in a path that does not begin an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadEscape;

/// Undoes percent-encoding. A plus is a plus.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, [u8]>, BadEscape> {
    if !raw.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(raw.as_bytes()));
    }
    match bad_escape(raw.as_bytes()) {
        Some(_) => Err(BadEscape),
        None => Ok(percent_decode(raw.as_bytes()).into()),
    }
}

/// The clean form of a decoded path; `None`: it is clean already. One trailing slash stays.
pub(super) fn cleaned(path: &[u8]) -> Option<Vec<u8>> {
    if is_clean(path) {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let mut clean = Vec::with_capacity(path.len());
    for part in &parts {
        clean.push(b'/');
        clean.extend_from_slice(part);
    }
    if parts.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    Some(clean)
}

fn is_clean(path: &[u8]) -> bool {
    let Some(inner) = path.strip_prefix(b"/") else { return false };
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    if inner.is_empty() {
        return path == b"/";
    }
    inner.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// What Go's `URL.EscapedPath` leaves alone.
const ESCAPED_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A redirect's target: the path as Go writes it, and the query as it came.
pub(super) fn location(path: &[u8], query: Option<&str>) -> String {
    let mut location = percent_encode(path, ESCAPED_IN_PATHS).to_string();
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        location.push('?');
        for c in query.chars() {
            if c.is_ascii() {
                location.push(c);
            } else {
                // Go's hexEscapeNonASCII writes small letters.
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    location.push_str(&format!("%{byte:02x}"));
                }
            }
        }
    }
    location
}

/// Text for the body of a redirect.
pub(super) fn html_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_may_be_escaped_and_a_plus_is_a_plus() {
        assert_eq!(decode("/v2%2fkeys/a+b%20c").unwrap(), &b"/v2/keys/a+b c"[..]);
        assert_eq!(decode("/%FF%00").unwrap(), &b"/\xff\0"[..]);
        for bad in ["/%zz", "/a%", "/a%4", "/%4g"] {
            assert_eq!(decode(bad), Err(BadEscape), "{bad}");
        }
    }

    #[test]
    fn clean_paths_stay() {
        for path in ["/", "/v2/keys", "/v2/keys/", "/v2/keys/.../.a/..b/c."] {
            assert_eq!(cleaned(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn unclean_paths_are_cleaned_as_go_does() {
        for (path, clean) in [
            ("", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("//v2/keys", "/v2/keys"),
            ("/v2/keys//foo", "/v2/keys/foo"),
            ("/v2/keys/foo//", "/v2/keys/foo/"),
            ("/v2/keys/./foo/.", "/v2/keys/foo"),
            ("/v2/keys/./foo/./", "/v2/keys/foo/"),
            ("/v2/keys/a/../b", "/v2/keys/b"),
            ("/v2/keys/..", "/v2"),
            ("/v2/keys/../", "/v2/"),
            ("/v2/keys/../../../..", "/"),
            ("v2/keys", "/v2/keys"),
        ] {
            let cleaned = cleaned(path.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(cleaned).unwrap(), clean, "{path}");
        }
    }

    #[test]
    fn a_location_is_written_as_go_writes_it() {
        for (path, query, text) in [
            ("/v2/keys/\u{e9} ++x", None, "/v2/keys/%C3%A9%20++x"),
            ("/v2/keys/b", Some("x=1"), "/v2/keys/b?x=1"),
            ("/v2/keys/b", Some(""), "/v2/keys/b"),
            ("/a?b#c%d", Some("q=%zz&\u{e9}"), "/a%3Fb%23c%25d?q=%zz&%c3%a9"),
            ("/$&+,/:;=@-_.~", None, "/$&+,/:;=@-_.~"),
            ("/!'()*\"<>[]", None, "/%21%27%28%29%2A%22%3C%3E%5B%5D"),
        ] {
            assert_eq!(location(path.as_bytes(), query), text);
        }
        assert_eq!(html_escaped("/a?b=<\"'&>"), "/a?b=&lt;&#34;&#39;&amp;&gt;");
    }
}
