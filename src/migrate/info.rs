//! What a server is, and what it holds.
//!
//! The tree is counted by reading it, which on a DynamoDB table costs as much as any reading.
//! Invariant: what the server does not say is absent, never 0.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::export::version;
use super::{Scope, Snapshot, TreeError};
use crate::units::Units;
use crate::v2client::Client;

/// What is known of a server. As JSON its fields are in camel case, and null where it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Its URLs.
    pub server: String,
    /// `etcd` or `etcdynamo`.
    pub kind: Option<&'static str>,
    /// The version of etcd that it is, or behaves as.
    pub version: Option<String>,
    /// `X-Etcd-Cluster-Id`.
    pub cluster_id: Option<String>,
    /// The id of the member that answered.
    pub member_id: Option<String>,
    /// The name of that member.
    pub member_name: Option<String>,
    /// `X-Etcd-Index`, when the counting began.
    pub index: Option<u64>,
    /// Which part of the tree was counted.
    pub counted: String,
    /// What there is of it.
    pub nodes: Nodes,
    /// Watchers that wait, on the member that answered.
    pub watchers: Option<u64>,
    /// What only etcdynamo says.
    pub etcdynamo: Option<Etcdynamo>,
}

/// What a tree has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Files.
    pub files: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Those of both that have a TTL.
    pub with_ttl: u64,
    /// The bytes of all keys.
    pub key_bytes: u64,
    /// The bytes of all values.
    pub value_bytes: u64,
}

/// What etcdynamo says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Etcdynamo {
    /// The program's version.
    pub version: Option<String>,
    /// `dynamodb` or `embedded`.
    pub store: &'static str,
    /// The keyspace in the table.
    pub keyspace: Option<String>,
    /// How many gateways are on the table.
    pub gateways: Option<u64>,
    /// What this gateway consumed since it started, by what for.
    pub consumed: BTreeMap<String, Units>,
    /// What it consumed while the tree was counted, for this and for all else that it did.
    pub consumed_meanwhile: Option<Units>,
}

/// Asks a server, and counts what it holds. `progress` is told nodes and bytes so far.
pub async fn info(
    client: &Client,
    scope: &Scope,
    mut progress: impl FnMut(u64, u64),
) -> Result<Info, TreeError> {
    let metrics = document(client, "/metrics").await.map(|text| parse(&text));
    let before = metrics.as_deref().and_then(etcdynamo);
    let mut snapshot = Snapshot::open(client, scope).await?;
    let (index, cluster) = (snapshot.index(), snapshot.cluster().map(str::to_owned));
    let nodes = count(&mut snapshot, &mut progress).await?;
    let after = match before {
        None => None,
        Some(_) => document(client, "/metrics").await.and_then(|text| etcdynamo(&parse(&text))),
    };
    let member = json(client, "/v2/stats/self").await;
    let text = |name: &str| Some(member.as_ref()?.get(name)?.as_str()?.to_owned());
    let store = json(client, "/v2/stats/store").await;
    Ok(Info {
        server: client.endpoints().to_string(),
        kind: metrics.as_deref().and_then(kind),
        version: version(client).await,
        cluster_id: cluster,
        member_id: text("id"),
        member_name: text("name"),
        index,
        counted: scope.to_string(),
        nodes,
        watchers: store.as_ref().and_then(|store| store.get("watchers")?.as_u64()),
        etcdynamo: after.map(|after| with_difference(before.as_ref(), after)),
    })
}

async fn count(
    snapshot: &mut Snapshot<'_>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Nodes, TreeError> {
    let mut nodes = Nodes::default();
    while let Some(node) = snapshot.next().await? {
        let counted = if node.is_dir() { &mut nodes.directories } else { &mut nodes.files };
        *counted += 1;
        nodes.with_ttl += u64::from(node.expiration.is_some());
        nodes.key_bytes += node.key.len() as u64;
        nodes.value_bytes += node.bytes() - node.key.len() as u64;
        progress(nodes.files + nodes.directories, nodes.key_bytes + nodes.value_bytes);
    }
    Ok(nodes)
}

/// What a path says, if it says anything.
async fn document(client: &Client, path: &str) -> Option<String> {
    let answer = client.raw(path).await.ok()?;
    (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
}

async fn json(client: &Client, path: &str) -> Option<Value> {
    serde_json::from_str(&document(client, path).await?).ok()
}

/// A line of Prometheus's text format.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, wanted: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels.find_map(|(name, value)| (name == wanted).then_some(value.as_str()))
    }
}

/// The lines that are understood. Neither server's labels here have escapes or commas.
fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (metric, value) = line.rsplit_once(' ')?;
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    let labels = pairs.map(pair).collect::<Option<_>>()?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

fn kind(metrics: &[Sample]) -> Option<&'static str> {
    let any = |prefix: &str| metrics.iter().any(|sample| sample.name.starts_with(prefix));
    match (any("etcdynamo_build_info"), any("etcd_server_")) {
        (true, _) => Some("etcdynamo"),
        (false, true) => Some("etcd"),
        (false, false) => None,
    }
}

fn etcdynamo(metrics: &[Sample]) -> Option<Etcdynamo> {
    let all = |name: &'static str| metrics.iter().filter(move |sample| sample.name == name);
    let version = all("etcdynamo_build_info").next()?.label("version").map(str::to_owned);
    let mut consumed = BTreeMap::<String, Units>::new();
    let (read, write) =
        ("etcdynamo_read_request_units_total", "etcdynamo_write_request_units_total");
    for sample in all(read).chain(all(write)) {
        let units = consumed.entry(sample.label("operation")?.to_owned()).or_default();
        let sum = if sample.name == read { &mut units.read } else { &mut units.write };
        *sum += sample.value;
    }
    let keyspace = all(read).find_map(|sample| sample.label("keyspace")).map(str::to_owned);
    let is_table = keyspace.is_some();
    let gateways = all("etcdynamo_gateways").next().map(|sample| sample.value);
    Some(Etcdynamo {
        version,
        // Only a table has request units.
        store: if is_table { "dynamodb" } else { "embedded" },
        keyspace,
        gateways: gateways.filter(|_| is_table).and_then(whole),
        consumed,
        consumed_meanwhile: None,
    })
}

/// A number that counts something.
fn whole(value: f64) -> Option<u64> {
    format!("{value}").parse().ok()
}

fn with_difference(before: Option<&Etcdynamo>, after: Etcdynamo) -> Etcdynamo {
    if after.keyspace.is_none() {
        return after;
    }
    let sum = |of: &Etcdynamo| {
        let mut sum = Units::default();
        of.consumed.values().for_each(|units| sum += *units);
        sum
    };
    let (before, now) = (before.map(sum), sum(&after));
    let since =
        |before: Units| Units { read: now.read - before.read, write: now.write - before.write };
    // Behind a balancer, the second answer may be another gateway's.
    let since = before.map(since).filter(|units| units.read >= 0.0 && units.write >= 0.0);
    Etcdynamo { consumed_meanwhile: since, ..after }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = concat!(
        "# HELP etcdynamo_build_info Always 1.\n",
        "etcdynamo_build_info{version=\"0.1.0\"} 1\n",
        "etcdynamo_gateways 2\n",
        "etcdynamo_read_request_units_total{keyspace=\"mine\",operation=\"get\"} 1.5\n",
        "etcdynamo_write_request_units_total{keyspace=\"mine\",operation=\"get\"} 0\n",
        "etcdynamo_write_request_units_total{keyspace=\"mine\",operation=\"set\"} 4\n",
    );

    #[test]
    fn what_etcdynamo_says_of_its_table_is_understood() {
        let samples = parse(TABLE);
        assert_eq!(kind(&samples), Some("etcdynamo"));
        let told = etcdynamo(&samples).expect("it is one");
        assert_eq!((told.version.as_deref(), told.store), (Some("0.1.0"), "dynamodb"));
        assert_eq!((told.keyspace.as_deref(), told.gateways), (Some("mine"), Some(2)));
        let expected = [
            ("get".to_owned(), Units { read: 1.5, write: 0.0 }),
            ("set".to_owned(), Units { read: 0.0, write: 4.0 }),
        ];
        assert_eq!(told.consumed, BTreeMap::from(expected));
        let later = etcdynamo(&parse(&TABLE.replace("1.5", "9"))).expect("it is one");
        let since = with_difference(Some(&told), later.clone()).consumed_meanwhile;
        assert_eq!(since, Some(Units { read: 7.5, write: 0.0 }));
        let other = with_difference(Some(&later), told.clone()).consumed_meanwhile;
        assert_eq!(other, None, "another gateway answered");
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        let embedded = parse("etcdynamo_build_info{version=\"0.1.0\"} 1\netcdynamo_gateways 0\n");
        let told = etcdynamo(&embedded).expect("it is one");
        assert_eq!((told.store, told.keyspace.clone(), told.gateways), ("embedded", None, None));
        assert_eq!(with_difference(Some(&told), told.clone()).consumed_meanwhile, None);
        let etcd = parse("etcd_server_has_leader 1\ngo_info{version=\"go1.19\"} 1\n");
        assert_eq!((kind(&etcd), etcdynamo(&etcd)), (Some("etcd"), None));
        for text in ["", "<html>", "x{y} z", "process_start 1\n"] {
            assert_eq!((kind(&parse(text)), etcdynamo(&parse(text))), (None, None), "{text}");
        }
    }
}
