//! Watches: which events come, in what order, from when on, and how the answer is framed.
//!
//! That something does *not* come is shown by a later event that must come first. Where a real
//! etcd repeats an event or falls silent by mistake (a stream on a removed node, a stream that
//! began in the past), the cases accept both that and the better manner.

use std::thread;

use compat_tests::http::{Piece, Request};
use compat_tests::json::Json;
use compat_tests::script::check_answer;

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_error, expect_status, index, number,
    success, text,
};
use super::watcher::{PATIENCE, Watch};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("the head comes at once and the connection stays", head_at_once),
        Case::new("every operation is seen as it was answered", every_operation),
        Case::new("an event is never stripped", never_stripped),
        Case::new("refreshes and failures are not seen", unseen),
        Case::new("a plain watch sees the key alone", plain),
        Case::new("a recursive watch sees what is below", recursive),
        Case::new("hidden keys are seen by name only", hidden),
        Case::new("missing keys, keys below files and slashes can be watched", anything),
        Case::new("a removed directory is told to the nodes inside", removed_directory),
        Case::new("nothing is told to nodes that were not inside", not_inside),
        Case::new("an expiry is an event without a ttl", expiry),
        Case::new("the expiry of a directory is told inside", directory_expiry),
        Case::new("waitIndex looks back", looks_back),
        Case::new("waitIndex lies ahead", looks_ahead),
        Case::new("looking back sees hidden keys and removals by prefix", looks_back_loosely),
        Case::new("looking back skips refreshes", looks_back_past_refreshes),
        Case::new("a stream goes on", stream_goes_on),
        Case::new("a stream from the past begins there", stream_from_the_past),
        Case::new("a stream sees its node removed", stream_sees_removal),
        Case::new("a loop of watches misses nothing", loop_misses_nothing),
        Case::new("list then watch misses nothing", list_then_watch),
        Case::new("many watchers are told the same", many_watchers),
        Case::alone("the root is watched recursively or in vain", root),
        Case::alone("an index before the window is refused", outdated),
    ]
}

/// Watches, writes, and expects that the first event is what `last` is answered.
fn first_event_is_last(context: &Context, watched: &str, writes: &[(&str, &str, &str)]) -> Outcome {
    let watch = Watch::open(context, watched)?;
    let mut answered = String::new();
    for (method, key, form) in writes {
        let request = Request::new(method, &context.path(key));
        let request = if *method == "DELETE" { request } else { request.form(form) };
        answered = context.send(&request)?.text();
    }
    let event = watch.last_event()?;
    expect_equal(watched, event, answered)
}

fn head_at_once(context: &Context) -> Outcome {
    let before = index(&context.put("/f", "value=1")?)?;
    let mut watch = Watch::open(context, "/f?wait=true")?;
    let started = watch.stream.head.number("X-Etcd-Index").unwrap_or_default();
    expect(started >= before, || format!("began at {started}, after {before}"))?;
    watch.is_silent()?;
    let answered = context.put("/f", "value=2")?.text();
    expect_equal("event", watch.event()?, answered)?;
    let ended = watch.stream.next(PATIENCE).map_err(|error| error.to_string())?;
    expect_equal("end", ended, Piece::End)?;
    let request = Request::new("GET", &context.path("/f"));
    let again = watch
        .stream
        .into_connection()
        .send(&request)
        .map_err(|error| format!("the connection did not stay: {error}"))?;
    check_answer(&request, &again)?;
    expect_status(&again, 200)
}

fn every_operation(context: &Context) -> Outcome {
    for (method, key, form) in [
        ("PUT", "/f", "value=1"),
        ("PUT", "/f", "value=2"),
        ("PUT", "/f?prevExist=true", "value=3"),
        ("PUT", "/f?prevValue=3", "value=4"),
        ("DELETE", "/f?prevValue=4", ""),
        ("PUT", "/f?prevExist=false", "value=5"),
        ("DELETE", "/f", ""),
        ("PUT", "/f?dir=true", ""),
        ("PUT", "/f?dir=true&prevExist=true", ""),
        ("DELETE", "/f?dir=true", ""),
        ("PUT", "/f/g", "value=6"),
        ("POST", "/f", "value=7"),
        ("DELETE", "/f?recursive=true", ""),
    ] {
        let inside = key == "/f/g" || method == "POST";
        let watched = if inside { "/f?wait=true&recursive=true" } else { "/f?wait=true" };
        first_event_is_last(context, watched, &[(method, key, form)])
            .map_err(|problem| format!("{method} {key}: {problem}"))?;
    }
    Ok(())
}

fn never_stripped(context: &Context) -> Outcome {
    let watch = Watch::open(context, "/f?wait=true")?;
    let stripped = context.put("/f?noValueOnSuccess=true", "value=1")?;
    let event = Json::parse(watch.last_event()?.as_bytes())?;
    expect_equal("value", text(&event, "node.value")?, "1".to_owned())?;
    expect_equal("index", number(&event, "node.modifiedIndex")?, index(&stripped)?)
}

fn unseen(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    let writes = [
        ("PUT", "/f", "refresh=true&ttl=100"),
        ("PUT", "/f?prevExist=true", "refresh=true&ttl=100"),
        ("PUT", "/f?prevExist=false", "value=2"),
        ("PUT", "/f?prevValue=x", "value=2"),
        ("PUT", "/f/below", "value=2"),
        ("DELETE", "/f?prevValue=x", ""),
        ("PUT", "/f", "value=seen"),
    ];
    let watch = Watch::open(context, "/f?wait=true")?;
    for (method, key, form) in writes {
        context.send(&Request::new(method, &context.path(key)).form(form))?;
    }
    let event = Json::parse(watch.last_event()?.as_bytes())?;
    expect_equal("value", text(&event, "node.value")?, "seen".to_owned())
}

fn plain(context: &Context) -> Outcome {
    // Neither its children nor the making of a directory on the way are its events.
    first_event_is_last(
        context,
        "/d?wait=true",
        &[
            ("PUT", "/d/a", "value=1"),
            ("PUT", "/d/b/c", "value=1"),
            ("POST", "/d", "value=1"),
            ("DELETE", "/d/b?recursive=true", ""),
            ("PUT", "/dd", "value=1"),
            ("PUT", "/d?dir=true&prevExist=true", ""),
        ],
    )
}

fn recursive(context: &Context) -> Outcome {
    first_event_is_last(
        context,
        "/d?wait=true&recursive=true",
        &[("PUT", "/dd", "value=1"), ("PUT", "/e/d/a", "value=1"), ("PUT", "/d/a/b", "value=1")],
    )?;
    first_event_is_last(
        context,
        "/d?wait=true&recursive=true",
        &[("DELETE", "/d/a?recursive=true", "")],
    )?;
    first_event_is_last(
        context,
        "/d?wait=true&recursive=true",
        &[("DELETE", "/d?recursive=true", "")],
    )
}

fn hidden(context: &Context) -> Outcome {
    let writes = [
        ("PUT", "/d/_h", "value=1"),
        ("PUT", "/d/_i/x", "value=1"),
        ("PUT", "/d/a/_j/x", "value=1"),
        ("PUT", "/d/a_b", "value=1"),
    ];
    first_event_is_last(context, "/d?wait=true&recursive=true", &writes)?;
    first_event_is_last(context, "/d/_h?wait=true", &[("PUT", "/d/_h", "value=2")])?;
    first_event_is_last(
        context,
        "/d/_i?wait=true&recursive=true",
        &[("PUT", "/d/_i/x", "value=2")],
    )?;
    first_event_is_last(
        context,
        "/d/_i?wait=true&recursive=true",
        &[("PUT", "/d/_i/_x", "value=2"), ("PUT", "/d/_i/y", "value=2")],
    )
}

fn anything(context: &Context) -> Outcome {
    first_event_is_last(context, "/missing/far?wait=true", &[("PUT", "/missing/far", "value=1")])?;
    context.put("/f", "value=1")?;
    first_event_is_last(
        context,
        "/f/below?wait=true",
        &[("DELETE", "/f", ""), ("PUT", "/f/below", "value=1")],
    )?;
    first_event_is_last(context, "/g/?wait=true", &[("PUT", "/g", "value=1")])?;
    first_event_is_last(context, "/g?wait=true&waitIndex=0", &[("PUT", "/g", "value=2")])?;
    first_event_is_last(context, "/g?wait=1&stream=false&sorted=true", &[("PUT", "/g", "value=3")])
}

fn removed_directory(context: &Context) -> Outcome {
    for key in ["/d/a/x", "/d/_h", "/d/a/_i"] {
        context.put(key, "value=1")?;
    }
    let watched = [
        "?wait=true&recursive=true",
        "/d?wait=true",
        "/d?wait=true&recursive=true",
        "/d/a?wait=true",
        "/d/a?wait=true&recursive=true",
        "/d/a/x?wait=true",
        "/d/_h?wait=true",
        "/d/a/_i?wait=true",
    ];
    let mut watches = Vec::new();
    for key in watched {
        watches.push((key, Watch::open(context, key)?));
    }
    let answered = context.delete("/d?recursive=true")?.text();
    for (key, watch) in watches {
        let event = watch.last_event().map_err(|problem| format!("{key}: {problem}"))?;
        expect_equal(key, event, answered.clone())?;
    }
    Ok(())
}

fn not_inside(context: &Context) -> Outcome {
    context.put("/d/a", "value=1")?;
    first_event_is_last(
        context,
        "/d/missing?wait=true",
        &[("DELETE", "/d?recursive=true", ""), ("PUT", "/d/missing", "value=1")],
    )?;
    first_event_is_last(context, "/?wait=true", &[("PUT", "?prevExist=true", "")])
}

fn expiry(context: &Context) -> Outcome {
    let put = success(&context.put("/f", "value=1&ttl=1")?)?;
    let event = Json::parse(Watch::open(context, "/f?wait=true")?.last_event()?.as_bytes())?;
    expect_equal("action", text(&event, "action")?, "expire".to_owned())?;
    let fields = |of: &str| event.at(of).map(Json::fields);
    expect_equal("node", fields("node"), Some(vec!["key", "modifiedIndex", "createdIndex"]))?;
    let before = vec!["key", "value", "expiration", "modifiedIndex", "createdIndex"];
    expect_equal("prevNode", fields("prevNode"), Some(before))?;
    for field in ["modifiedIndex", "createdIndex"] {
        let (was, is) = (format!("node.{field}"), format!("prevNode.{field}"));
        expect_equal(field, number(&event, &is)?, number(&put, &was)?)?;
    }
    expect_equal(
        "expiration",
        text(&event, "prevNode.expiration")?,
        text(&put, "node.expiration")?,
    )?;
    let (then, now) = (number(&put, "node.modifiedIndex")?, number(&event, "node.modifiedIndex")?);
    expect(now > then, || format!("expired at {now}, written at {then}"))
}

fn directory_expiry(context: &Context) -> Outcome {
    context.put("/d?dir=true", "ttl=1")?;
    context.put("/d/a/x", "value=1")?;
    let mut watches = Vec::new();
    for key in [
        "/d/a/x?wait=true",
        "/d/a?wait=true&recursive=true",
        "/d?wait=true",
        "?wait=true&recursive=true",
    ] {
        watches.push((key, Watch::open(context, key)?));
    }
    for (key, watch) in watches {
        let event = Json::parse(watch.last_event()?.as_bytes())?;
        expect_equal(key, text(&event, "action")?, "expire".to_owned())?;
        expect_equal(key, text(&event, "node.key")?, context.key("/d"))?;
        let fields = event.at("node").map(Json::fields);
        expect_equal(key, fields, Some(vec!["key", "dir", "modifiedIndex", "createdIndex"]))?;
        expect_equal(key, event.text("node.value"), None)?;
    }
    Ok(())
}

/// Some writes on one key and what was answered, with their indexes.
fn history(context: &Context, key: &str, count: usize) -> Result<Vec<(u64, String)>, String> {
    (0..count)
        .map(|turn| {
            let answer = context.put(key, &format!("value={turn}"))?;
            Ok((index(&answer)?, answer.text()))
        })
        .collect()
}

fn looks_back(context: &Context) -> Outcome {
    let written = history(context, "/d/f", 5)?;
    context.put("/other", "value=1")?;
    for query in ["/d/f?wait=true", "/d/f/?wait=true", "/d?wait=true&recursive=true"] {
        for (at, answered) in &written {
            let watch = Watch::open(context, &format!("{query}&waitIndex={at}"))?;
            let current = watch.stream.head.number("X-Etcd-Index").unwrap_or_default();
            expect(current >= written[4].0, || format!("X-Etcd-Index is {current}"))?;
            expect_equal(query, watch.last_event()?, answered.clone())?;
        }
    }
    let next = written[4].0 + 1;
    first_event_is_last(
        context,
        &format!("/d/f?wait=true&waitIndex={next}"),
        &[("PUT", "/other", "value=2"), ("PUT", "/d/f", "value=new")],
    )
}

fn looks_ahead(context: &Context) -> Outcome {
    let now = index(&context.put("/f", "value=0")?)?;
    let from = now + 3;
    let watch = Watch::open(context, &format!("/f?wait=true&waitIndex={from}"))?;
    let mut first = None;
    for _ in 0..4 {
        let answer = context.put("/f", "value=1")?;
        if index(&answer)? >= from && first.is_none() {
            first = Some(answer.text());
        }
    }
    expect_equal("event", Some(watch.last_event()?), first)
}

fn looks_back_loosely(context: &Context) -> Outcome {
    let hidden = context.put("/d/_h/x", "value=1")?;
    let at = index(&hidden)?;
    let watch = Watch::open(context, &format!("/d?wait=true&recursive=true&waitIndex={at}"))?;
    expect_equal("hidden", watch.last_event()?, hidden.text())?;
    let removed = context.delete("/d?recursive=true")?;
    let at = index(&removed)?;
    for key in ["/d/_h/x", "/d/never", "/dd"] {
        let watch = Watch::open(context, &format!("{key}?wait=true&waitIndex={at}"))?;
        expect_equal(key, watch.last_event()?, removed.text())?;
    }
    Ok(())
}

fn looks_back_past_refreshes(context: &Context) -> Outcome {
    context.put("/f", "value=1")?;
    let refreshed = index(&context.put("/f", "refresh=true&ttl=100&prevExist=true")?)?;
    let answered = context.put("/f", "value=2")?;
    let watch = Watch::open(context, &format!("/f?wait=true&waitIndex={refreshed}"))?;
    let event = Json::parse(watch.last_event()?.as_bytes())?;
    expect_equal("index", number(&event, "node.modifiedIndex")?, index(&answered)?)
}

fn stream_goes_on(context: &Context) -> Outcome {
    let mut watch = Watch::open(context, "/d?wait=true&stream=true&recursive=true")?;
    for turn in 0..30 {
        let answered = context.put(&format!("/d/{}", turn % 4), &format!("value={turn}"))?;
        context.put("/d/_hidden", "value=1")?;
        expect_equal("event", watch.event()?, answered.text())?;
    }
    let answered = context.delete("/d/1")?;
    expect_equal("event", watch.event()?, answered.text())?;
    watch.is_silent()
}

fn stream_from_the_past(context: &Context) -> Outcome {
    let written = history(context, "/f", 3)?;
    let query = |at: u64| format!("/f?wait=true&stream=true&waitIndex={at}");
    let mut watch = Watch::open(context, &query(written[0].0))?;
    expect_equal("event", watch.event()?, written[0].1.clone())?;
    // Without a hit in the past it is a stream like any other.
    let mut watch = Watch::open(context, &query(written[2].0 + 1))?;
    for (_, answered) in history(context, "/f", 3)? {
        expect_equal("event", watch.event()?, answered)?;
    }
    Ok(())
}

fn stream_sees_removal(context: &Context) -> Outcome {
    for (made, removed) in [("/f", "/f"), ("/d?dir=true", "/d?recursive=true")] {
        context.put(made, "")?;
        let key = made.trim_end_matches("?dir=true");
        let mut watch = Watch::open(context, &format!("{key}?wait=true&stream=true"))?;
        let gone = context.delete(removed)?.text();
        expect_equal("event", watch.event()?, gone.clone())?;
        let back = context.put(key, "value=1")?.text();
        let mut next = watch.event()?;
        if next == gone {
            next = watch.event()?;
        }
        expect_equal("event", next, back)?;
    }
    Ok(())
}

fn loop_misses_nothing(context: &Context) -> Outcome {
    const WRITES: usize = 200;
    let mut from = index(&context.put("/f", "value=start")?)? + 1;
    let (written, seen) = thread::scope(|scope| {
        let writer = scope.spawn(|| history(context, "/f", WRITES));
        let mut seen = Vec::new();
        for _ in 0..WRITES {
            let event = Watch::open(context, &format!("/f?wait=true&waitIndex={from}"))
                .and_then(Watch::last_event);
            let json = event.and_then(|line| Json::parse(line.as_bytes()));
            match json.and_then(|json| number(&json, "node.modifiedIndex")) {
                Ok(at) => {
                    seen.push(at);
                    from = at + 1;
                }
                Err(problem) => return (writer.join(), Err(problem)),
            }
        }
        (writer.join(), Ok(seen))
    });
    let written = written.map_err(|_| "the writer panicked".to_owned())??;
    let written: Vec<u64> = written.into_iter().map(|(at, _)| at).collect();
    expect_equal("indexes", seen?, written)
}

fn list_then_watch(context: &Context) -> Outcome {
    for round in 0..20 {
        let key = format!("/d/{round}");
        thread::scope(|scope| {
            let writer = scope.spawn(|| context.put(&key, "value=1"));
            let listing = context.get("/d")?;
            let seen = listing.text().contains(&format!("{}\"", context.key(&key)));
            let from = index(&listing)? + 1;
            if !seen {
                let watch = Watch::open(context, &format!("{key}?wait=true&waitIndex={from}"))?;
                watch.last_event().map_err(|problem| format!("round {round}: {problem}"))?;
            }
            let written = writer.join().map_err(|_| "the writer panicked".to_owned())??;
            expect_status(&written, 201)
        })?;
    }
    Ok(())
}

fn many_watchers(context: &Context) -> Outcome {
    let mut watches = Vec::new();
    for number in 0..60 {
        let query = if number % 2 == 0 { "/d/f?wait=true" } else { "/d?wait=true&recursive=true" };
        watches.push(Watch::open(context, query)?);
    }
    let answered = context.put("/d/f", "value=1")?.text();
    for watch in watches {
        expect_equal("event", watch.last_event()?, answered.clone())?;
    }
    Ok(())
}

fn root(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    let open = |query: &str| {
        let at_root =
            Context { target: own.target, client: own.client.clone(), prefix: query.to_owned() };
        Watch::open(&at_root, "")
    };
    let mut plain = open("?wait=true")?;
    let everything = open("?wait=true&recursive=true")?;
    own.send(&Request::new("PUT", "/v2/keys/_hidden/x").form("value=1"))?;
    let answered = own.put("/f", "value=1")?.text();
    expect_equal("event", everything.last_event()?, answered)?;
    plain.is_silent()
}

fn outdated(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    // On a table nothing is remembered before somebody watches.
    let _nobody_writes_there = Watch::open(&own, "/never?wait=true")?;
    let first = index(&own.put("/f", "value=start")?)?;
    let mut last = first;
    for turn in 0..1050 {
        last = index(&own.put("/other", &format!("value={turn}"))?)?;
    }
    let refused = own.get(&format!("?wait=true&recursive=true&waitIndex={first}"))?;
    let json = refused.json()?;
    let cause = text(&json, "cause")?;
    expect_error(&refused, 401, &cause)?;
    expect_equal("index", number(&json, "index")?, last)?;
    let numbers: Vec<u64> = cause
        .trim_start_matches("the requested history has been cleared [")
        .trim_end_matches(']')
        .split('/')
        .filter_map(|number| number.parse().ok())
        .collect();
    let fits = matches!(numbers[..], [oldest, asked] if asked == first && oldest > first && oldest <= last);
    expect(fits, || format!("cause {cause:?}, asked for {first}, now {last}"))?;
    // From the index that the error carries, a client goes on.
    let query = format!("?wait=true&recursive=true&waitIndex={}", last + 1);
    first_event_is_last(&own, &query, &[("PUT", "/f", "value=1")])
}
