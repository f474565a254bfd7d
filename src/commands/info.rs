//! `etcdynamo info`: what a server is and what it holds, for people or as JSON.
//!
//! Not here: the asking and counting ([`crate::migrate::info`]).

use std::fmt::{self, Write as _};

use super::progress::{Progress, size};
use crate::config::InfoConfig;
use crate::migrate::info::{Etcdynamo, Info, info};
use crate::v2client::Client;

/// Why there is nothing to tell, for a person to read.
#[derive(Debug)]
pub struct NoInfo(String);

impl fmt::Display for NoInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoInfo {}

/// Asks, counts, and gives the text.
pub async fn run(config: &InfoConfig) -> Result<String, NoInfo> {
    let InfoConfig { server, scope, json, client } = config;
    let client = Client::new(server.clone(), &client.tls, client.limits).map_err(NoInfo)?;
    let mut progress = Progress::new();
    let info = info(&client, scope, |nodes, bytes| progress.step(nodes, bytes)).await;
    let info = info.map_err(|error| NoInfo(format!("{server}: {error}")))?;
    if *json {
        return serde_json::to_string_pretty(&info).map_err(|error| NoInfo(error.to_string()));
    }
    Ok(text(&info))
}

fn text(info: &Info) -> String {
    let mut lines = vec![
        ("server", info.server.clone()),
        ("kind", known(info.kind)),
        ("etcd version", known(info.version.as_ref())),
        ("cluster id", known(info.cluster_id.as_ref())),
        (
            "member",
            format!("{} {}", known(info.member_id.as_ref()), known(info.member_name.as_ref())),
        ),
        ("index", known(info.index)),
        ("counted", info.counted.clone()),
        ("files", info.nodes.files.to_string()),
        ("directories", info.nodes.directories.to_string()),
        ("with a TTL", info.nodes.with_ttl.to_string()),
        ("keys", size(info.nodes.key_bytes)),
        ("values", size(info.nodes.value_bytes)),
        ("watchers", known(info.watchers)),
    ];
    if let Some(own) = &info.etcdynamo {
        lines.extend(own_lines(own));
    }
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a string does not fail. A name may come from anybody.
        let _ = writeln!(text, "{name:<22}{}", value.escape_debug());
    }
    text.truncate(text.trim_end().len());
    text
}

fn own_lines(own: &Etcdynamo) -> Vec<(&'static str, String)> {
    let mut lines =
        vec![("etcdynamo version", known(own.version.as_ref())), ("store", own.store.to_owned())];
    if own.keyspace.is_none() {
        return lines;
    }
    lines.push(("keyspace", known(own.keyspace.as_ref())));
    lines.push(("gateways", known(own.gateways)));
    for (operation, units) in &own.consumed {
        if units.read > 0.0 || units.write > 0.0 {
            let used = format!("{operation}: {} read, {} write", units.read, units.write);
            lines.push(("units since its start", used));
        }
    }
    let meanwhile = own.consumed_meanwhile;
    let meanwhile = meanwhile.map(|units| format!("{} read, {} write", units.read, units.write));
    lines.push(("units meanwhile", known(meanwhile)));
    lines
}

fn known(what: Option<impl ToString>) -> String {
    what.map_or_else(|| "unknown".to_owned(), |what| what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let info = Info { server: "http://a:1".to_owned(), index: Some(7), ..Info::default() };
        let text = text(&info);
        let expected = ["server                http://a:1", "kind                  unknown"];
        assert_eq!(text.lines().take(2).collect::<Vec<_>>(), expected);
        for line in ["member                unknown unknown", "watchers              unknown"] {
            assert!(text.lines().any(|told| told == line), "{text}");
        }
        assert!(text.lines().any(|told| told == "index                 7"), "{text}");
    }
}
