//! That every metric is there under its name.

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
    dynamodb_called("GetItem", Units { read: 0.5, write: 1.0 }, true);
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
        r#"etcdynamo_dynamodb_calls_total{operation="GetItem"} "#,
        r#"etcdynamo_dynamodb_read_request_units_total{operation="GetItem"} 0.5"#,
        r#"etcdynamo_dynamodb_write_request_units_total{operation="GetItem"} 1"#,
        r#"etcdynamo_dynamodb_turned_away_total{operation="GetItem"} "#,
        r#"etcdynamo_read_request_units_total{operation="compareAndSwap"} 0.5"#,
        r#"etcdynamo_write_request_units_total{operation="sweep"} 0"#,
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
