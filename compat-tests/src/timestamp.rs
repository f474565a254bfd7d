//! The RFC 3339 times of `expiration`, and the one place that asks for the present time.
//!
//! It is not a general date parser: it accepts what etcd writes (UTC with a `Z`, up to nine
//! digits of fraction without trailing zeros) and refuses every other spelling.

/// The present time, as seconds since the Unix epoch.
#[must_use]
pub fn now() -> f64 {
    seconds(jiff::Timestamp::now())
}

/// An `expiration` as seconds since the Unix epoch, or why it is not one.
///
/// # Errors
/// The text is no time, or not spelled the way etcd spells it.
pub fn parse(text: &str) -> Result<f64, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|problem| format!("{text:?} is no RFC 3339 time: {problem}"))?;
    let Some(body) = text.strip_suffix('Z') else {
        return Err(format!("{text:?} does not end in Z"));
    };
    match body.split_once('.') {
        None => {}
        Some((_, fraction)) if fraction.ends_with('0') || fraction.len() > 9 => {
            return Err(format!("{text:?} has an odd fraction"));
        }
        Some(_) => {}
    }
    if text.len() < 20 || text.as_bytes()[10] != b'T' {
        return Err(format!("{text:?} is not spelled like 2026-01-02T03:04:05Z"));
    }
    Ok(seconds(time))
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_spelling_is_accepted() {
        assert!(parse("2026-11-21T22:25:19.519301453Z").is_ok());
        assert!(parse("2026-11-21T22:25:19Z").is_ok());
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "2026-11-21T22:25:19.510Z",
            "2026-11-21T22:25:19+00:00",
            "2026-11-21 22:25:19Z",
            "soon",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
