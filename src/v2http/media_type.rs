//! The media type of a form, read with the same complaints as Go's `mime.ParseMediaType`.
//!
//! Only the type comes out: no parameter means anything to v2, but a malformed one is refused.

/// The media type of a body that is read as a form.
pub(super) const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// What Go says of a malformed media type.
pub(super) type Complaint = &'static str;

const INVALID_PARAMETER: Complaint = "mime: invalid media parameter";

/// Whether a body of this `Content-Type` is a form. An absent or empty one is not.
pub(super) fn is_form(content_type: &[u8]) -> Result<bool, Complaint> {
    if content_type.is_empty() {
        return Ok(false);
    }
    if content_type.eq_ignore_ascii_case(FORM) {
        return Ok(true);
    }
    let end = content_type.iter().position(|b| *b == b';').unwrap_or(content_type.len());
    let (media_type, parameters) = content_type.split_at(end);
    let media_type = media_type.trim_ascii();
    check_type(media_type)?;
    check_parameters(parameters)?;
    Ok(media_type.eq_ignore_ascii_case(FORM))
}

fn check_type(media_type: &[u8]) -> Result<(), Complaint> {
    let (kind, rest) = token(media_type);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let Some(rest) = rest.strip_prefix(b"/") else {
        return Err("mime: expected slash after first token");
    };
    match token(rest) {
        ([], _) => Err("mime: expected token after slash"),
        (_, []) => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// Reads `;name=value` until the end. One trailing semicolon is fine, and so is a parameter that
/// is given twice with the same value.
fn check_parameters(mut rest: &[u8]) -> Result<(), Complaint> {
    let mut seen: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || rest == b";" {
            return Ok(());
        }
        let (name, value, after) = parameter(rest).ok_or(INVALID_PARAMETER)?;
        let name = name.to_ascii_lowercase();
        if seen.iter().any(|(other, was)| *other == name && *was != value) {
            return Err("mime: duplicate parameter name");
        }
        seen.push((name, value));
        rest = after;
    }
}

fn parameter(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let (name, rest) = token(text.strip_prefix(b";")?.trim_ascii_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (value, rest) = if rest.first() == Some(&b'"') {
        quoted(&rest[1..])?
    } else {
        let (value, rest) = token(rest);
        if value.is_empty() {
            return None;
        }
        (value.to_vec(), rest)
    };
    Some((name, value, rest))
}

/// Reads up to the closing quote. A backslash only escapes a special character.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some((value, &text[at + 1..])),
            b'\\' if text.get(at + 1).is_some_and(|next| is_special(*next)) => at += 1,
            b'\r' | b'\n' => return None,
            _ => {}
        }
        value.push(text[at]);
        at += 1;
    }
}

fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let is_token = |b: &u8| *b > 0x20 && *b < 0x7f && !is_special(*b);
    text.split_at(text.iter().position(|b| !is_token(b)).unwrap_or(text.len()))
}

fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_its_type_alone() {
        for (text, form) in [
            ("application/x-www-form-urlencoded", true),
            ("APPLICATION/X-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded;", true),
            (" application/x-www-form-urlencoded ; charset=utf-8", true),
            ("application/x-www-form-urlencoded; charset=utf-8; charset=utf-8", true),
            ("application/x-www-form-urlencoded; a=\"b;\\\"c\"", true),
            ("", false),
            ("text", false),
            ("text/plain", false),
            ("application/json; charset=utf-8", false),
            ("multipart/form-data; boundary=x", false),
            ("a/b;c*=x", false),
            ("a/b; a*0=1; a*1=2", false),
        ] {
            assert_eq!(is_form(text.as_bytes()), Ok(form), "{text}");
        }
    }

    #[test]
    fn what_go_says_of_malformed_types() {
        for (text, complaint) in [
            ("bad/;/", "mime: expected token after slash"),
            ("a/", "mime: expected token after slash"),
            ("a/\u{e9}", "mime: expected token after slash"),
            (";", "mime: no media type"),
            (" ", "mime: no media type"),
            ("/b", "mime: no media type"),
            ("\"a\"/b", "mime: no media type"),
            ("a b/c", "mime: expected slash after first token"),
            ("a@/b", "mime: expected slash after first token"),
            ("a/b/c", "mime: unexpected content after media subtype"),
            ("a/b c", "mime: unexpected content after media subtype"),
            ("a/b, c", "mime: unexpected content after media subtype"),
            ("a;b", INVALID_PARAMETER),
            ("a/b; c=", INVALID_PARAMETER),
            ("a/b; c=\"x", INVALID_PARAMETER),
            ("a/b; c=\"\\", INVALID_PARAMETER),
            ("a/b;;", INVALID_PARAMETER),
            ("a/b; =x", INVALID_PARAMETER),
            ("a/b; c=x y", INVALID_PARAMETER),
            ("a/b; c=\"x\" y", INVALID_PARAMETER),
            ("a/b; c=\u{e9}", INVALID_PARAMETER),
            ("text/plain;x=@", INVALID_PARAMETER),
            ("a/b; c=1; C=2", "mime: duplicate parameter name"),
        ] {
            assert_eq!(is_form(text.as_bytes()), Err(complaint), "{text}");
        }
    }
}
