//! Keys that go by themselves.
//!
//! Real time passes here: a case polls with a deadline where it waits for something to go, and
//! sleeps only where it must see that something stays. etcd sweeps twice a second; [`SWEEP`] is
//! what it, and a busy machine, are allowed.

use std::time::{Duration, Instant};

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, number, success,
    text,
};
use compat_tests::{timestamp, wait};

/// How long after its expiration a key may still be seen on a real etcd.
const SWEEP: Duration = Duration::from_millis(2500);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a file goes", file_goes),
        Case::new("a ttl of 0 goes at once and shows no ttl", ttl_zero),
        Case::new("an update with a ttl of 0 removes", update_to_zero),
        Case::new("a directory takes its subtree along", directory_goes),
        Case::new("directories above stay", parents_stay),
        Case::new("the ttl counts down and the expiration stays", counts_down),
        Case::new("a refresh keeps a key alive", refresh_keeps),
        Case::new("a refresh in the last moment holds or is refused", late_refresh),
        Case::new("a set without a ttl makes a key permanent", set_keeps),
        Case::new("an update without a ttl makes a directory permanent", update_keeps_directory),
        Case::new("an expired key meets no condition", expired_meets_nothing),
        Case::new("an expired key can be created anew", expired_is_created),
        Case::new("in-order keys expire", in_order_expire),
        Case::new("a directory with expired children can be removed", rmdir_after_expiry),
        Case::new("a ttl beyond all years", overflowing_ttl),
    ]
}

/// Asks until the key is not there; an error if it stays beyond `after` and the sweep.
pub(crate) fn wait_until_gone(context: &Context, key: &str, after: Duration) -> Outcome {
    let gone = wait::until(after + SWEEP, || match context.get(key) {
        Ok(answer) => (answer.status() == 404).then_some(Ok(())),
        Err(problem) => Some(Err(problem)),
    });
    gone.unwrap_or_else(|| Err(format!("{key} is still there")))
}

const SECOND: Duration = Duration::from_secs(1);

fn file_goes(context: &Context) -> Outcome {
    let begun = Instant::now();
    expect_status(&context.put("/f", "value=1&ttl=1")?, 201)?;
    wait_until_gone(context, "/f", SECOND)?;
    expect(begun.elapsed() > SECOND * 9 / 10, || format!("it went after {:?}", begun.elapsed()))?;
    expect_error(&context.get("/f")?, 100, &context.key("/f"))
}

fn ttl_zero(context: &Context) -> Outcome {
    let json = success(&context.put("/f", "value=1&ttl=0")?)?;
    let fields = json.at("node").map(|node| node.fields());
    let wanted = vec!["key", "value", "expiration", "modifiedIndex", "createdIndex"];
    expect_equal("fields", fields, Some(wanted))?;
    let left = timestamp::parse(&text(&json, "node.expiration")?)? - timestamp::now();
    expect(left.abs() < 2.0, || format!("it expires in {left} s"))?;
    wait_until_gone(context, "/f", Duration::ZERO)
}

fn update_to_zero(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    expect_status(&context.put("/f?prevExist=true", "value=2&ttl=0")?, 200)?;
    wait_until_gone(context, "/f", Duration::ZERO)?;
    context.put("/d/f", "value=1")?;
    expect_status(&context.put("/d?prevExist=true&dir=true", "ttl=0")?, 200)?;
    wait_until_gone(context, "/d", Duration::ZERO)
}

fn directory_goes(context: &Context) -> Outcome {
    expect_status(&context.put("/d?dir=true", "ttl=1")?, 201)?;
    context.put("/d/a/b", "value=1")?;
    context.put("/d/c", "value=1&ttl=1000")?;
    context.put("/d/_h", "value=1")?;
    wait_until_gone(context, "/d/a/b", SECOND)?;
    wait_until_gone(context, "/d", SECOND)?;
    for key in ["/d/a/b", "/d/c", "/d/_h"] {
        expect_error(&context.get(key)?, 100, &context.key("/d"))?;
    }
    let json = success(&context.put("/d/a/x", "value=1")?)?;
    let made = number(&json, "node.modifiedIndex")?;
    let listing = success(&context.get("/d?recursive=true")?)?;
    expect_equal("a new directory", number(&listing, "node.createdIndex")?, made)?;
    expect_equal("children", listing.list("node.nodes").len(), 1)
}

fn parents_stay(context: &Context) -> Outcome {
    context.put("/d/e/f", "value=1&ttl=1")?;
    wait_until_gone(context, "/d/e/f", SECOND)?;
    expect_error(&context.get("/d/e/f")?, 100, &context.key("/d/e/f"))?;
    let json = success(&context.get("/d/e")?)?;
    expect_equal("children", json.list("node.nodes").len(), 0)
}

fn counts_down(context: &Context) -> Outcome {
    let put = success(&context.put("/f", "value=1&ttl=5")?)?;
    let expiration = text(&put, "node.expiration")?;
    expect_equal("fresh", number(&put, "node.ttl")?, 5)?;
    let counted = wait::until(SECOND * 3, || match shown_ttl(context, &expiration) {
        Ok(ttl) => (ttl == 4).then_some(Ok(())),
        Err(problem) => Some(Err(problem)),
    });
    counted.unwrap_or_else(|| Err("it does not count down".to_owned()))
}

/// The ttl that is shown, which must be what is left, rounded up.
fn shown_ttl(context: &Context, expiration: &str) -> Result<u64, String> {
    let json = success(&context.get("/f")?)?;
    expect_equal("expiration", text(&json, "node.expiration")?.as_str(), expiration)?;
    let left = timestamp::parse(expiration)? - timestamp::now();
    let ttl = number(&json, "node.ttl")?;
    let shown = Duration::from_secs(ttl).as_secs_f64();
    // A second's leave for the time that the answer was under way.
    expect((left..left + 2.0).contains(&shown), || format!("{ttl} with {left:.3} s left"))?;
    Ok(ttl)
}

fn refresh_keeps(context: &Context) -> Outcome {
    context.put("/f", "value=abc&ttl=1")?;
    expect_status(&context.put("/f", "refresh=true&ttl=100&prevExist=true")?, 200)?;
    wait::pass(SECOND + SWEEP);
    let json = success(&context.get("/f")?)?;
    expect_equal("value", text(&json, "node.value")?, "abc".to_owned())
}

/// Refreshes around the moment of expiry: whatever the answer was, it must have been the truth.
fn late_refresh(context: &Context) -> Outcome {
    let keys: Vec<String> = (0..20).map(|number| format!("/k{number}")).collect();
    for key in &keys {
        context.put(key, "value=1&ttl=1")?;
    }
    wait::pass(SECOND * 9 / 10);
    let mut held = Vec::new();
    for key in &keys {
        wait::pass(SECOND / 50);
        let answer = context.put(key, "refresh=true&ttl=100&prevExist=true")?;
        expect(matches!(answer.status(), 200 | 404), || answer.describe())?;
        held.push(answer.status());
    }
    wait::pass(SWEEP);
    for (key, status) in keys.iter().zip(held) {
        expect_equal(key, context.get(key)?.status(), status)?;
    }
    Ok(())
}

fn set_keeps(context: &Context) -> Outcome {
    context.put("/f", "value=1&ttl=1")?;
    context.put("/g", "value=1&ttl=1")?;
    expect_status(&context.put("/f", "value=2")?, 200)?;
    expect_status(&context.put("/g?prevValue=1", "value=2")?, 200)?;
    wait::pass(SECOND + SWEEP);
    for key in ["/f", "/g"] {
        let json = success(&context.get(key)?)?;
        expect_equal("expiration", json.text("node.expiration"), None)?;
    }
    Ok(())
}

fn update_keeps_directory(context: &Context) -> Outcome {
    context.put("/d?dir=true", "ttl=1")?;
    context.put("/d/f", "value=1")?;
    expect_status(&context.put("/d?dir=true&prevExist=true", "")?, 200)?;
    wait::pass(SECOND + SWEEP);
    expect_status(&context.get("/d/f")?, 200)
}

fn expired_meets_nothing(context: &Context) -> Outcome {
    let json = success(&context.put("/f", "value=1&ttl=1")?)?;
    let index = number(&json, "node.modifiedIndex")?;
    wait_until_gone(context, "/f", SECOND)?;
    let gone = context.key("/f");
    expect_error(&context.put("/f?prevValue=1", "value=2")?, 100, &gone)?;
    expect_error(&context.put(&format!("/f?prevIndex={index}"), "value=2")?, 100, &gone)?;
    expect_error(&context.put("/f?prevExist=true", "value=2")?, 100, &gone)?;
    expect_error(&context.put("/f", "refresh=true&ttl=100")?, 100, &gone)?;
    expect_error(&context.delete("/f?prevValue=1")?, 100, &gone)?;
    expect_error(&context.delete("/f")?, 100, &gone)
}

fn expired_is_created(context: &Context) -> Outcome {
    let old = success(&context.put("/f", "value=1&ttl=1")?)?;
    wait_until_gone(context, "/f", SECOND)?;
    let answer = context.put("/f?prevExist=false", "value=2")?;
    expect_status(&answer, 201)?;
    let json = answer.json()?;
    expect_equal("prevNode", json.get("prevNode"), None)?;
    let (then, now) = (number(&old, "node.createdIndex")?, number(&json, "node.createdIndex")?);
    expect(now > then, || format!("{now} after {then}"))?;
    context.put("/g", "value=1&ttl=1")?;
    wait_until_gone(context, "/g", SECOND)?;
    let answer = context.put("/g", "value=2")?;
    expect_status(&answer, 201)?;
    expect_equal("prevNode", answer.json()?.get("prevNode"), None)?;
    // What stood there as a file may now be a directory.
    context.put("/h", "value=1&ttl=1")?;
    wait_until_gone(context, "/h", SECOND)?;
    expect_status(&context.put("/h/below", "value=2")?, 201)
}

fn in_order_expire(context: &Context) -> Outcome {
    let json = success(&context.post("/q", "value=1&ttl=1")?)?;
    context.post("/q", "value=2")?;
    let key = text(&json, "node.key")?;
    let below = key.strip_prefix(&context.key("")).unwrap_or(&key).to_owned();
    wait_until_gone(context, &below, SECOND)?;
    let listing = success(&context.get("/q")?)?;
    expect_equal("children", listing.list("node.nodes").len(), 1)
}

fn rmdir_after_expiry(context: &Context) -> Outcome {
    context.put("/d/f", "value=1&ttl=1")?;
    expect_error(&context.delete("/d?dir=true")?, 108, &context.key("/d"))?;
    wait_until_gone(context, "/d/f", SECOND)?;
    expect_status(&context.delete("/d?dir=true")?, 200)
}

/// Seconds that do not fit in 64 bits of nanoseconds wrap around: to a time long past (which
/// never expires), or, for the very largest, to a second ago.
fn overflowing_ttl(context: &Context) -> Outcome {
    success(&context.put("/past", "value=1&ttl=10000000000")?)?;
    success(&context.put("/gone", "value=1&ttl=18446744073709551615")?)?;
    wait_until_gone(context, "/gone", Duration::ZERO)?;
    expect_status(&context.get("/past")?, 200)
}
