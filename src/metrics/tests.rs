//! That every metric is there under its name.

use std::collections::BTreeSet;

use super::*;

fn counted(line: &str) -> bool {
    String::from_utf8(text()).unwrap().lines().any(|shown| shown.starts_with(line))
}

#[test]
fn metrics_carry_etcds_names() {
    http_received(Method::QGet);
    http_succeeded(Method::Put, Duration::from_millis(1));
    http_failed(Method::Delete, 404);
    store_read(true, false);
    store_write(WriteAction::CompareAndDelete, false);
    store_expired(2);
    watch_requested();
    index_refused();
    outcome_found_out();
    creations_gathered(2);
    let (units, took) = (Units { read: 0.5, write: 1.0 }, Duration::from_millis(3));
    dynamodb_called(DynamodbCall { operation: "GetItem", outcome: "throttled", units, took });
    dynamodb_retried();
    health_told(true);
    clock_ahead(Duration::from_millis(6));
    request_was_slow();
    units_spent(Operation::CompareAndSwap, Units { read: 0.5, write: 1.0 });
    watcher_dropped();
    key_doubted();
    stream_gap();
    stream_lags(Duration::from_millis(7), Duration::from_millis(5));
    gateways_seen(2);
    for line in [
        r#"etcd_http_received_total{method="QGET"} "#,
        r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="0.0005"} 0"#,
        r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="2.048"} "#,
        r#"etcd_http_failed_total{code="404",method="DELETE"} "#,
        r#"etcd_debugging_store_reads_total{action="getRecursive"} "#,
        r#"etcd_debugging_store_reads_failed_total{action="getRecursive"} "#,
        r#"etcd_debugging_store_writes_total{action="compareAndDelete"} "#,
        r#"etcd_debugging_store_writes_failed_total{action="compareAndDelete"} "#,
        "etcd_debugging_store_expires_total ",
        "etcd_debugging_store_watch_requests_total ",
        "etcdynamo_index_refused_total ",
        "etcdynamo_unknown_outcomes_total ",
        "etcdynamo_gathered_creations_total ",
        "etcdynamo_watchers_dropped_total ",
        "etcdynamo_watch_doubts_total ",
        "etcdynamo_stream_gaps_total ",
        "etcdynamo_stream_lag_ms 7",
        "etcdynamo_stream_hold_ms 5",
        "etcdynamo_gateways ",
        r#"etcdynamo_dynamodb_calls_total{operation="GetItem",outcome="throttled"} "#,
        r#"etcdynamo_dynamodb_call_duration_seconds_bucket{operation="GetItem",le="0.002"} 0"#,
        r#"etcdynamo_dynamodb_call_duration_seconds_bucket{operation="GetItem",le="0.004"} 1"#,
        "etcdynamo_dynamodb_retries_total ",
        "etcd_server_health_success ",
        "etcd_server_health_failures ",
        "etcdynamo_clock_ahead_ms ",
        "etcdynamo_slow_requests_total ",
        r#"etcdynamo_dynamodb_read_request_units_total{operation="GetItem"} 0.5"#,
        r#"etcdynamo_dynamodb_write_request_units_total{operation="GetItem"} 1"#,
        r#"etcdynamo_read_request_units_total{keyspace="default",operation="compareAndSwap"} 0.5"#,
        r#"etcdynamo_write_request_units_total{keyspace="default",operation="sweep"} 0"#,
        "etcdynamo_build_info{version=",
    ] {
        assert!(counted(line), "{line}");
    }
}

#[test]
fn a_guard_counts_while_it_lives() {
    // One of its own: other tests have watchers too.
    let gauge = IntGauge::new("held", "For this test.").expect("a valid name");
    let held = Held::one(&gauge);
    assert_eq!(gauge.get(), 1);
    drop(held);
    assert_eq!(gauge.get(), 0);
}

const PAGE: &str = include_str!("../../docs/operations.md");

const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");

#[test]
fn the_page_for_operators_has_a_line_for_each_metric_and_no_other() {
    let told = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let is_metric = |name: &&str| name.starts_with("etcd") || name.starts_with("process_");
    let told: BTreeSet<&str> = told.filter(is_metric).filter(|name| name.contains('_')).collect();
    let there: BTreeSet<&str> = names().iter().map(String::as_str).collect();
    let missing: Vec<_> = there.difference(&told).collect();
    let invented: Vec<_> = told.difference(&there).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, invented {invented:?}"
    );
}

#[test]
fn names_are_those_that_are_written() {
    // Families with labels are written once something was counted.
    let text = String::from_utf8(text()).expect("text");
    let written = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<&str> = names().iter().map(String::as_str).collect();
    assert_eq!(names().len(), there.len(), "each once");
    let unknown: Vec<_> = written.filter(|name| !there.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(there.contains("process_open_fds") && there.contains("etcdynamo_build_info"));
}

/// The words of an expression that can be names of metrics.
fn metrics_in(expression: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !is_word(c));
    let prefixes = ["etcd_", "etcdynamo_", "process_"];
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn expressions<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if ["expr", "definition"].contains(&name.as_str()) => {
                        found.push(text);
                    }
                    _ => expressions(field, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn the_dashboard_shows_only_metrics_that_there_are() {
    let dashboard = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 15, "only {} expressions", found.len());
    let is_there = |word: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|s| word.strip_suffix(s));
        let name = histogram.filter(|name| name.ends_with("_seconds")).unwrap_or(word);
        names().iter().any(|there| there == name)
    };
    for expression in found {
        let words = metrics_in(expression);
        assert!(!words.is_empty(), "{expression} shows nothing");
        let unknown: Vec<_> = words.into_iter().filter(|word| !is_there(word)).collect();
        assert!(unknown.is_empty(), "{expression} has {unknown:?}");
    }
}
