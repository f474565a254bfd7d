//! Makes one kind of DynamoDB call, from several tasks at once, for some seconds, and says what it cost this process.
//!
//!     sdk-loop ENDPOINT TABLE get|put CLIENTS SECONDS
//!
//! `get` is a consistent `GetItem`; `put` an `UpdateItem` on the condition that a live item with a smaller index is
//! there, giving back the item before: the single calls that etcdynamo makes for the same requests, as seen on its
//! wire, and nothing else.
//! The table is etcdynamo's own, since a stream or an index makes a write dearer; the keys are a keyspace of its own.
//! It prints one JSON object. It is not a client of etcdynamo, and shares no code with it.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use aws_smithy_http_client::{Builder, tls};

type Failure = Box<dyn Error + Send + Sync>;

type Item = HashMap<String, AttributeValue>;

const CONDITION: &str = "(attribute_not_exists(m) OR m < :i) AND (attribute_not_exists(k) OR k < :i) \
    AND attribute_exists(v) AND attribute_not_exists(r) AND (attribute_not_exists(e) OR e > :x)";
/// The kernel's clock ticks a second, as `/proc/self/stat` counts them on every Linux that matters here.
const TICKS_PER_S: f64 = 100.0;

#[derive(Clone, Copy)]
enum Call {
    Get,
    Put,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, table, call, clients, seconds] = words.as_slice() else {
        return Err("usage: sdk-loop ENDPOINT TABLE get|put CLIENTS SECONDS".into());
    };
    let call = match call.as_str() {
        "get" => Call::Get,
        "put" => Call::Put,
        other => return Err(format!("no such call: {other}").into()),
    };
    let clients: u64 = clients.parse()?;
    let length = Duration::from_secs(seconds.parse()?);

    let client = connect(endpoint);
    fill(&client, table, clients).await?;

    let (began, used) = (Instant::now(), cpu_seconds()?);
    let tasks: Vec<_> = (0..clients)
        .map(|task| tokio::spawn(repeat(client.clone(), table.clone(), call, task, began + length)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let (took, used) = (began.elapsed(), cpu_seconds()? - used);
    report(latencies, took, used)
}

fn connect(endpoint: &str) -> Client {
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .http_client(http)
        .build();
    Client::from_conf(config)
}

/// Puts the key of every task back to index 1.
async fn fill(client: &Client, table: &str, clients: u64) -> Result<(), Failure> {
    for task in 0..clients {
        let put = client.put_item().table_name(table).set_item(Some(item_key(task)));
        put.item("v", value()).item("c", number(1)).item("m", number(1)).send().await?;
    }
    Ok(())
}

/// One client with a key of its own: the same call again and again until the deadline. Gives back how long each took,
/// in microseconds.
async fn repeat(
    client: Client,
    table: String,
    call: Call,
    task: u64,
    deadline: Instant,
) -> Result<Vec<u64>, Failure> {
    let mut latencies = Vec::new();
    for index in 2.. {
        if Instant::now() >= deadline {
            break;
        }
        let began = Instant::now();
        match call {
            Call::Get => get(&client, &table, task).await?,
            Call::Put => put(&client, &table, task, index).await?,
        }
        latencies.push(u64::try_from(began.elapsed().as_micros())?);
    }
    Ok(latencies)
}

async fn get(client: &Client, table: &str, task: u64) -> Result<(), Failure> {
    let call = client.get_item().table_name(table).set_key(Some(item_key(task)));
    let call = call.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
    let answer = call.send().await?;
    answer.item.map(drop).ok_or_else(|| "an item is missing".into())
}

async fn put(client: &Client, table: &str, task: u64, index: u64) -> Result<(), Failure> {
    client
        .update_item()
        .table_name(table)
        .set_key(Some(item_key(task)))
        .update_expression("SET v = :v, c = :i, m = :i, w0 = :w, a = :a REMOVE d, k, e, t, r, b, g")
        .condition_expression(CONDITION)
        .expression_attribute_values(":v", value())
        .expression_attribute_values(":i", number(index))
        .expression_attribute_values(":w", AttributeValue::B(Blob::new(index.to_be_bytes())))
        .expression_attribute_values(":a", AttributeValue::S("set".to_owned()))
        .expression_attribute_values(":x", number(index))
        .return_values(ReturnValue::AllOld)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await?;
    Ok(())
}

fn item_key(task: u64) -> Item {
    let text = |text: String| AttributeValue::S(text);
    Item::from([
        ("pk".to_owned(), text("sdk-loop/bench".to_owned())),
        ("sk".to_owned(), text(format!("003/bench/known/{task:03}"))),
    ])
}

fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

fn value() -> AttributeValue {
    AttributeValue::S("v".repeat(200))
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
}

fn report(mut latencies: Vec<u64>, took: Duration, cpu_s: f64) -> Result<(), Failure> {
    latencies.sort_unstable();
    let percentile =
        |p: usize| latencies.get(latencies.len() * p / 100).copied().ok_or("no call was made");
    println!(
        r#"{{"requests": {}, "duration_us": {}, "p50_us": {}, "p99_us": {}, "cpu_s": {cpu_s}, "refused": 0, "broken": 0}}"#,
        latencies.len(),
        took.as_micros(),
        percentile(50)?,
        percentile(99)?,
    );
    Ok(())
}
