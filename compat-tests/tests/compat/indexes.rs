//! The index: every success takes one, failures take none, and what the header says.
//!
//! Each case has a server of its own, because another writer would move the index.

use super::context::{
    Case, Context, Outcome, expect, expect_equal, expect_status, index, number, success,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::alone("successes rise and failures do not", rise_and_stay),
        Case::alone("directories made on the way have the index of the write", made_directories),
        Case::alone("a read shows the index of the last write", reads),
        Case::alone("deletes and creations of one key rise", lives),
    ]
}

fn rise_and_stay(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    let mut last = index(&own.get("")?)?;
    let first = success(&own.put("/f", "value=1")?)?;
    let created = number(&first, "node.modifiedIndex")?;
    let steps: [(&str, &str, &str, bool); 15] = [
        ("PUT", "/f", "value=2", true),
        ("PUT", "/f?prevExist=false", "value=2", false),
        ("PUT", "/f?prevValue=x", "value=3", false),
        ("PUT", "/f?prevIndex=1", "value=3", false),
        ("PUT", "/f?prevValue=2", "value=3", true),
        ("PUT", "/f", "refresh=true&ttl=100", true),
        ("PUT", "/f/below", "value=1", false),
        ("PUT", "/nope?prevExist=true", "value=1", false),
        ("PUT", "/d?dir=true", "", true),
        ("PUT", "/d?dir=true", "", false),
        ("PUT", "/d?dir=true&prevExist=true", "ttl=100", true),
        ("POST", "/d", "value=1", true),
        ("DELETE", "/d?dir=true", "", false),
        ("DELETE", "/d?recursive=true", "", true),
        ("DELETE", "/nope", "", false),
    ];
    last = last.max(created);
    for (method, key, form, succeeds) in steps {
        let answer = match method {
            "PUT" => own.put(key, form)?,
            "POST" => own.post(key, form)?,
            _ => own.delete(key)?,
        };
        let now = index(&answer)?;
        let what = format!("{method} {key}");
        expect_equal(&what, matches!(answer.status(), 200 | 201), succeeds)?;
        expect(now < 1 << 53, || format!("{now} is too large for a double"))?;
        if succeeds {
            expect(now > last, || format!("{what}: {now} after {last}"))?;
        } else {
            expect_equal(&what, now, last)?;
        }
        last = now;
    }
    Ok(())
}

fn made_directories(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    let put = success(&own.put("/a/b/c", "value=1")?)?;
    let written = number(&put, "node.modifiedIndex")?;
    for key in ["/a", "/a/b"] {
        let json = success(&own.get(key)?)?;
        expect_equal(key, number(&json, "node.modifiedIndex")?, written)?;
        expect_equal(key, number(&json, "node.createdIndex")?, written)?;
    }
    let next = success(&own.put("/a/b/d", "value=1")?)?;
    expect(number(&next, "node.modifiedIndex")? > written, || "it did not rise".to_owned())?;
    let json = success(&own.get("/a/b")?)?;
    expect_equal("the directory", number(&json, "node.modifiedIndex")?, written)
}

fn reads(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    for round in 0..20 {
        let written = index(&own.put(&format!("/k{}", round % 3), "value=1")?)?;
        expect_equal("get", index(&own.get("/k0")?)?, written)?;
        expect_equal("missing", index(&own.get("/nope")?)?, written)?;
        expect_equal("listing", index(&own.get("?recursive=true")?)?, written)?;
        let refused = own.put("/k0?prevValue=zzz", "value=2")?;
        expect_status(&refused, 412)?;
        expect_equal("refused", index(&refused)?, written)?;
        expect_equal("bad", index(&own.get("/k0?ttl=x")?)?, 0)?;
    }
    Ok(())
}

fn lives(context: &Context) -> Outcome {
    let (_server, own) = context.own_server()?;
    let mut last = 0;
    for _ in 0..10 {
        let made = success(&own.put("/k?prevExist=false", "value=1")?)?;
        let created = number(&made, "node.createdIndex")?;
        expect(created > last, || format!("created at {created} after {last}"))?;
        let gone = success(&own.delete("/k")?)?;
        expect_equal("createdIndex", number(&gone, "node.createdIndex")?, created)?;
        expect_equal("prevNode", number(&gone, "prevNode.modifiedIndex")?, created)?;
        last = number(&gone, "node.modifiedIndex")?;
        expect(last > created, || format!("deleted at {last}, created at {created}"))?;
    }
    Ok(())
}
