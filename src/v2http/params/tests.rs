//! etcd's cases: what is well formed, what is complained of first, and what a PUT is.

use super::*;

const NOW: UnixMs = UnixMs(1_795_300_700_654);

fn request(verb: Verb, query: &str, body: &str) -> Result<Request, Error> {
    let (query, body) = (query.as_bytes(), body.as_bytes());
    parse(Source { verb, path: b"/k", query, body }, NOW).map(|parsed| parsed.request)
}

fn refused(verb: Verb, query: &str) -> (u16, String) {
    let error = request(verb, query, "").expect_err(query);
    assert_eq!(error.index, EtcdIndex(0), "{query}");
    (error.code.number(), String::from_utf8(error.cause).unwrap())
}

fn write(verb: Verb, query: &str, body: &str) -> Operation {
    match request(verb, query, body) {
        Ok(Request::Write(write, _)) => write.operation,
        other => panic!("{query} {body}: {other:?}"),
    }
}

fn put(query: &str, body: &str) -> Operation {
    write(Verb::Put, query, body)
}

fn draft(value: &str) -> Draft {
    Draft { value: Value::from(value), ..Draft::default() }
}

fn compare(prev_value: Option<&str>, prev_index: Option<u64>) -> Compare {
    let prev_value = prev_value.map(Value::from);
    Compare { prev_value, prev_index: prev_index.map(EtcdIndex) }
}

const VERBS: [Verb; 5] = [Verb::Head, Verb::Get, Verb::Put, Verb::Post, Verb::Delete];

#[test]
fn bad_values_are_refused_by_every_method() {
    for verb in VERBS {
        for field in ["recursive", "sorted", "wait", "dir", "quorum", "stream", "noValueOnSuccess"]
        {
            let cause = format!("invalid value for \"{field}\"");
            for bad in ["", "=", "=yes", "=tRUE", "=+true", "=2"] {
                assert_eq!(refused(verb, &format!("{field}{bad}")), (209, cause.clone()));
            }
        }
        for field in ["prevExist", "refresh"] {
            let cause = format!("invalid value for {field}");
            assert_eq!(refused(verb, &format!("{field}=")), (209, cause.clone()));
            assert_eq!(refused(verb, &format!("{field}=x")), (209, cause));
        }
        for field in ["prevIndex", "waitIndex"] {
            let cause = format!("invalid value for \"{field}\"");
            for bad in
                ["", "=", "=-1", "=%2B1", "=+1", "=0x1", "=1e3", "=1_0", "=18446744073709551616"]
            {
                assert_eq!(refused(verb, &format!("{field}{bad}")), (203, cause.clone()));
            }
        }
        for bad in ["=-1", "=%2B1", "=1.5", "=x", "=18446744073709551616"] {
            let cause = "invalid value for \"ttl\"".to_owned();
            assert_eq!(refused(verb, &format!("ttl{bad}")), (202, cause));
        }
        for bad in ["prevValue", "prevValue="] {
            assert_eq!(refused(verb, bad), (201, "\"prevValue\" cannot be empty".to_owned()));
        }
        let cause = "No TTL value set".to_owned();
        assert_eq!(refused(verb, "refresh=true"), (212, cause.clone()));
        assert_eq!(refused(verb, "refresh=true&ttl=&value="), (212, cause));
        let cause = "A value was provided on a refresh".to_owned();
        assert_eq!(refused(verb, "refresh=1&value=x&ttl=5"), (211, cause));
        let cause = "invalid URL escape \"%zz\"".to_owned();
        assert_eq!(refused(verb, "unknown=%zz"), (210, cause));
    }
}

#[test]
fn only_a_get_may_wait() {
    for verb in [Verb::Head, Verb::Put, Verb::Post, Verb::Delete] {
        let cause = "\"wait\" can only be used with GET requests".to_owned();
        assert_eq!(refused(verb, "wait=true"), (209, cause));
        assert!(request(verb, "wait=false", "").is_ok());
    }
}

#[test]
fn the_first_complaint_wins() {
    // Each of these is about the first field that is still there.
    let mut fields = vec![
        ("a=%zz", 210),
        ("prevIndex=x", 203),
        ("waitIndex=x", 203),
        ("recursive=x", 209),
        ("sorted=x", 209),
        ("dir=x", 209),
        ("quorum=x", 209),
        ("stream=x", 209),
        ("wait=1", 209),
        ("prevValue=", 201),
        ("noValueOnSuccess=x", 209),
        ("ttl=x", 202),
        ("prevExist=x", 209),
        ("refresh=1&value=1", 211),
    ];
    while let Some((_, code)) = fields.first() {
        let code = *code;
        // The order in which they are written does not matter.
        let query: Vec<&str> = fields.iter().rev().map(|(field, _)| *field).collect();
        let (told, cause) = refused(Verb::Put, &query.join("&"));
        assert_eq!(told, code, "{query:?}");
        let (field, _) = fields.remove(0);
        if let Some(name) = field.strip_suffix("=x") {
            assert!(cause.contains(name), "{cause} is about {name}");
        }
    }
}

#[test]
fn the_body_comes_first_and_the_first_value_wins() {
    assert_eq!(put("value=q", "value=b"), Operation::Set(draft("b")));
    assert_eq!(put("value=q", "value=&value=b"), Operation::Set(draft("")));
    assert_eq!(put("ttl=100&value=q", "ttl="), Operation::Set(draft("q")));
    // What is repeated is not looked at.
    assert_eq!(put("dir=x&ttl=x", "dir=false&ttl="), Operation::Set(draft("")));
    let error = request(Verb::Put, "a;b", "value=%zz").unwrap_err();
    assert_eq!(error.cause, b"invalid URL escape \"%zz\"");
}

#[test]
fn which_operation_a_put_is() {
    let old = |index| compare(None, Some(index));
    for (query, operation) in [
        ("value=v", Operation::Set(draft("v"))),
        ("value=v&prevExist=true", Operation::Update(draft("v"))),
        ("value=v&prevExist=false", Operation::Create(draft("v"))),
        ("value=v&prevIndex=7", Operation::CompareAndSwap(draft("v"), old(7))),
        ("value=v&prevIndex=007&prevExist=1", Operation::CompareAndSwap(draft("v"), old(7))),
        ("value=v&prevIndex=7&prevExist=false", Operation::Create(draft("v"))),
        ("value=v&prevValue=o&prevExist=0", Operation::Create(draft("v"))),
        ("value=v&prevValue=o", Operation::CompareAndSwap(draft("v"), compare(Some("o"), None))),
        (
            "value=v&prevValue=o&prevIndex=7",
            Operation::CompareAndSwap(draft("v"), compare(Some("o"), Some(7))),
        ),
        // A prevIndex of 0 is none, which libkv and Patroni count on.
        ("value=v&prevIndex=0", Operation::Set(draft("v"))),
        ("value=v&prevIndex=0&prevExist=true", Operation::Update(draft("v"))),
        ("dir=true", Operation::Set(Draft { dir: true, ..draft("") })),
        ("dir=true&prevExist=false", Operation::Create(Draft { dir: true, ..draft("") })),
    ] {
        assert_eq!(put(query, ""), operation, "{query}");
        assert_eq!(put("", query), operation, "{query} in the body");
    }
}

#[test]
fn a_ttl_becomes_an_expiration() {
    let expiring = |ms| Draft { expiration: Some(NOW.plus_ms(ms)), ..draft("v") };
    assert_eq!(put("ttl=10", "value=v"), Operation::Set(expiring(10_000)));
    assert_eq!(put("ttl=0", "value=v"), Operation::Set(expiring(0)));
    assert_eq!(put("ttl=018", "value=v"), Operation::Set(expiring(18_000)));
    assert_eq!(put("ttl=18446744073709551615", "value=v"), Operation::Set(expiring(-1000)));
    assert_eq!(put("ttl", "value=v"), Operation::Set(draft("v")));
}

#[test]
fn there_is_nothing_to_refresh_where_a_node_is_created() {
    let refresh =
        |refresh| Draft { refresh, expiration: Some(NOW.plus_ms(5000)), ..Draft::default() };
    let query = "refresh=true&ttl=5";
    assert_eq!(put(query, ""), Operation::Set(refresh(true)));
    assert_eq!(put(&format!("{query}&prevExist=1"), "value="), Operation::Update(refresh(true)));
    assert_eq!(put(&format!("{query}&prevExist=0"), ""), Operation::Create(refresh(false)));
    assert_eq!(write(Verb::Post, query, ""), Operation::CreateInOrder(refresh(false)));
    let swap = Operation::CompareAndSwap(refresh(true), compare(None, Some(3)));
    assert_eq!(put(&format!("{query}&prevIndex=3"), ""), swap);
    assert_eq!(put("refresh=false", "value=v"), Operation::Set(draft("v")));
}

#[test]
fn a_post_knows_no_conditions() {
    let query = "prevExist=true&prevIndex=3&prevValue=x";
    assert_eq!(write(Verb::Post, query, "value=v"), Operation::CreateInOrder(draft("v")));
}

#[test]
fn what_a_delete_may_remove() {
    let delete = |query| write(Verb::Delete, query, "");
    let removal = |dir, recursive| Operation::Delete(Removal { dir, recursive });
    assert_eq!(delete(""), removal(false, false));
    assert_eq!(delete("dir=true"), removal(true, false));
    assert_eq!(delete("dir=false&recursive=true"), removal(false, true));
    assert_eq!(delete("prevExist=false&prevIndex=0"), removal(false, false));
    let compared = Operation::CompareAndDelete(compare(Some("o"), Some(7)));
    assert_eq!(delete("prevValue=o&prevIndex=7&recursive=true"), compared);
}

#[test]
fn reads_and_watches() {
    let key = Key::parse(b"/k").unwrap();
    let read = |recursive, sorted, quorum| {
        Ok(Request::Read(Read { key: key.clone(), recursive, sorted, quorum }))
    };
    assert_eq!(request(Verb::Get, "", ""), read(false, false, false));
    assert_eq!(request(Verb::Head, "recursive=T&sorted=1", ""), read(true, true, false));
    // Not a watch at all.
    assert_eq!(request(Verb::Get, "wait=true&quorum=true", ""), read(false, false, true));
    let watch = |recursive, stream, since: Option<u64>| {
        let since = since.map(EtcdIndex);
        Ok(Request::Watch(Watch { key: key.clone(), recursive, stream, since }))
    };
    assert_eq!(request(Verb::Get, "wait=true", ""), watch(false, false, None));
    assert_eq!(request(Verb::Get, "wait=true&waitIndex=0", ""), watch(false, false, None));
    let query = "wait=true&recursive=true&stream=true&waitIndex=18446744073709551615";
    assert_eq!(request(Verb::Get, query, ""), watch(true, true, Some(u64::MAX)));
    assert_eq!(request(Verb::Get, "waitIndex=5&stream=true", ""), read(false, false, false));
}

#[test]
fn the_answer_may_be_asked_to_show_no_nodes() {
    for (query, no_value) in [("", false), ("noValueOnSuccess=true", true)] {
        match request(Verb::Post, query, "") {
            Ok(Request::Write(_, flag)) => assert_eq!(flag, no_value),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn keys_are_what_is_left_of_the_path() {
    let key = |path| {
        let source = Source { verb: Verb::Get, path, query: b"", body: b"" };
        match parse(source, NOW).map(|parsed| parsed.request) {
            Ok(Request::Read(read)) => Ok(read.key),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.code.number()),
        }
    };
    assert_eq!(key(b""), Ok(Key::root()));
    assert_eq!(key(b"/"), Ok(Key::root()));
    assert_eq!(key(b"/a\xff/"), Ok(Key::parse(b"/a\xff").unwrap()));
    assert_eq!(key(&b"/a".repeat(70_000)), Err(210));
}
