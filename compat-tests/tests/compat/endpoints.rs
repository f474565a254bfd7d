//! Everything beside the keys: version, health, members, machines, statistics, metrics.

use compat_tests::http::{Answer, Request};

use super::context::{Case, Context, Outcome, expect, expect_equal, expect_status, text};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("version", version),
        Case::new("health", health),
        Case::new("machines names this server", machines),
        Case::new("members names this server", members),
        Case::new("the leader is a member", leader),
        Case::new("statistics of self", stats_self),
        Case::new("statistics of the leader", stats_leader),
        Case::new("statistics of the store count", stats_store),
        Case::new("metrics are Prometheus text", metrics),
        Case::new("wrong methods are named", wrong_methods),
        Case::new("no key headers outside the keys", no_key_headers),
        Case::new("pages that are not there", missing_pages),
    ]
}

fn ask(context: &Context, method: &str, target: &str) -> Result<Answer, String> {
    context.send(&Request::new(method, target))
}

fn get(context: &Context, target: &str) -> Result<Answer, String> {
    let answer = ask(context, "GET", target)?;
    expect_status(&answer, 200)?;
    Ok(answer)
}

fn content_type(answer: &Answer, wanted: &str) -> Outcome {
    expect_equal("Content-Type", answer.header("Content-Type"), Some(wanted))
}

fn version(context: &Context) -> Outcome {
    for target in ["/version", "/version?quorum=false&recursive=false&sorted=false"] {
        let answer = get(context, target)?;
        content_type(&answer, "application/json")?;
        let json = answer.json()?;
        expect_equal("fields", json.fields(), vec!["etcdserver", "etcdcluster"])?;
        for field in ["etcdserver", "etcdcluster"] {
            let number = text(&json, field)?;
            let parts = number.split('.').filter(|part| part.parse::<u32>().is_ok());
            expect_equal(&number, parts.count(), 3)?;
        }
    }
    Ok(())
}

fn health(context: &Context) -> Outcome {
    let answer = get(context, "/health")?;
    expect_equal("health", answer.json()?.text("health"), Some("true"))
}

fn own_url(context: &Context) -> String {
    format!("http://{}", context.client.address())
}

fn machines(context: &Context) -> Outcome {
    let answer = get(context, "/v2/machines")?;
    let body = answer.text();
    expect(body.split(", ").any(|url| url == own_url(context)), || format!("not in {body:?}"))?;
    let head = ask(context, "HEAD", "/v2/machines")?;
    expect_status(&head, 200)
}

fn members(context: &Context) -> Outcome {
    let answer = get(context, "/v2/members")?;
    content_type(&answer, "application/json")?;
    expect(answer.body.ends_with(b"\n"), || "no newline".to_owned())?;
    let json = answer.json()?;
    expect_equal("fields", json.fields(), vec!["members"])?;
    let member = json.list("members").first().ok_or("no members")?;
    expect_equal("fields", member.fields(), vec!["id", "name", "peerURLs", "clientURLs"])?;
    let id = text(member, "id")?;
    expect(u64::from_str_radix(&id, 16).is_ok(), || format!("{id:?} is not hexadecimal"))?;
    let urls = format!("{:?}", member.list("clientURLs"));
    expect(urls.contains(&own_url(context)), || format!("not in {urls}"))?;
    expect_equal("with a slash", get(context, "/v2/members/")?.text(), answer.text())?;
    for other in ["/v2/members/nobody", "/v2/members/1234", "/v2/members/leader/"] {
        let answer = ask(context, "GET", other)?;
        expect_status(&answer, 404)?;
        expect_equal(other, answer.text().trim_end(), r#"{"message":"Not found"}"#)?;
    }
    Ok(())
}

fn leader(context: &Context) -> Outcome {
    let members = get(context, "/v2/members")?.json()?;
    let leader = get(context, "/v2/members/leader")?.json()?;
    expect(members.list("members").contains(&leader), || format!("{leader:?} is no member"))
}

fn stats_self(context: &Context) -> Outcome {
    let json = get(context, "/v2/stats/self")?.json()?;
    for field in [
        "name",
        "id",
        "state",
        "startTime",
        "leaderInfo.leader",
        "leaderInfo.uptime",
        "leaderInfo.startTime",
    ] {
        text(&json, field)?;
    }
    let members = get(context, "/v2/members")?.json()?;
    let leader = text(&json, "leaderInfo.leader")?;
    let known = members.list("members").iter().any(|member| member.text("id") == Some(&leader));
    expect(known, || format!("the leader {leader} is no member"))
}

fn stats_leader(context: &Context) -> Outcome {
    let json = get(context, "/v2/stats/leader")?.json()?;
    expect_equal("fields", json.fields(), vec!["leader", "followers"])?;
    let own = get(context, "/v2/stats/self")?.json()?;
    expect_equal("leader", text(&json, "leader")?, text(&own, "leaderInfo.leader")?)
}

fn stats_store(context: &Context) -> Outcome {
    let before = get(context, "/v2/stats/store")?.json()?;
    let fields = [
        "getsSuccess",
        "getsFail",
        "setsSuccess",
        "setsFail",
        "deleteSuccess",
        "deleteFail",
        "updateSuccess",
        "updateFail",
        "createSuccess",
        "createFail",
        "compareAndSwapSuccess",
        "compareAndSwapFail",
        "compareAndDeleteSuccess",
        "compareAndDeleteFail",
        "expireCount",
        "watchers",
    ];
    expect_equal("fields", before.fields(), fields.to_vec())?;
    context.put("/f", "value=1")?;
    context.put("/f?prevExist=false", "value=1")?;
    context.put("/f?prevValue=1", "value=2")?;
    context.put("/f?prevExist=true", "value=3")?;
    context.put("/g?prevExist=false", "value=1")?;
    context.get("/nope")?;
    context.get("/f")?;
    context.delete("/g?prevValue=1")?;
    context.delete("/f")?;
    let after = get(context, "/v2/stats/store")?.json()?;
    for field in [
        "setsSuccess",
        "createFail",
        "compareAndSwapSuccess",
        "updateSuccess",
        "createSuccess",
        "getsFail",
        "getsSuccess",
        "compareAndDeleteSuccess",
        "deleteSuccess",
    ] {
        let (then, now) = (before.number(field), after.number(field));
        expect(now > then, || format!("{field} was {then:?} and is {now:?}"))?;
    }
    Ok(())
}

fn metrics(context: &Context) -> Outcome {
    let answer = get(context, "/metrics")?;
    let kind = answer.header("Content-Type").unwrap_or_default();
    expect(kind.starts_with("text/plain; version=0.0.4"), || format!("Content-Type {kind:?}"))?;
    let body = answer.text();
    expect(body.contains("# TYPE "), || "no metric has a type".to_owned())
}

fn wrong_methods(context: &Context) -> Outcome {
    for (target, allowed) in [
        ("/version", "GET"),
        ("/health", "GET"),
        ("/v2/machines", "GET,HEAD"),
        ("/v2/members", "GET,POST,DELETE,PUT"),
        ("/v2/stats/self", "GET"),
        ("/v2/stats/leader", "GET"),
        ("/v2/stats/store", "GET"),
    ] {
        let answer = ask(context, "PATCH", target)?;
        expect_status(&answer, 405)?;
        expect_equal(target, answer.header("Allow"), Some(allowed))?;
        expect(answer.text().contains("Method Not Allowed"), || answer.describe())?;
    }
    expect_status(&ask(context, "HEAD", "/version")?, 405)
}

fn no_key_headers(context: &Context) -> Outcome {
    for target in
        ["/version", "/health", "/v2/machines", "/v2/members", "/v2/stats/self", "/v2/stats/store"]
    {
        let answer = get(context, target)?;
        for name in ["X-Etcd-Index", "X-Raft-Index", "X-Raft-Term"] {
            expect_equal(target, answer.header(name), None)?;
        }
        let has_id = answer.header("X-Etcd-Cluster-Id").is_some();
        expect_equal(target, has_id, target == "/v2/members")?;
    }
    Ok(())
}

fn missing_pages(context: &Context) -> Outcome {
    for target in [
        "/v2/stats",
        "/v2/leader",
        "/v2/config",
        "/v2/speedTest",
        "/v2/admin/machines",
        "/v1/keys",
        "/v2/auth",
    ] {
        let answer = ask(context, "GET", target)?;
        expect_status(&answer, 404)?;
        expect_equal(target, answer.text().as_str(), "404 page not found\n")?;
    }
    Ok(())
}
