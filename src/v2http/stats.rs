//! `/v2/stats`: what this gateway did, in etcd's words.
//!
//! Every gateway is the leader of a cluster of one, so that clients which look the leader up among
//! the members find it.

use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::Api;
use super::json::rfc3339;
use super::reply::{self, Reply};
use crate::keyspace::{Keys, Statistics};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfStats<'a> {
    name: &'a str,
    id: &'a str,
    state: &'static str,
    start_time: String,
    leader_info: LeaderInfo<'a>,
    recv_append_request_cnt: u64,
    send_append_request_cnt: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderInfo<'a> {
    leader: &'a str,
    uptime: String,
    start_time: String,
}

#[derive(Serialize)]
struct LeaderStats<'a> {
    leader: &'a str,
    followers: Followers,
}

#[derive(Serialize)]
struct Followers {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

impl From<Statistics> for StoreStats {
    fn from(counted: Statistics) -> StoreStats {
        StoreStats {
            gets_success: counted.gets.success,
            gets_fail: counted.gets.fail,
            sets_success: counted.sets.success,
            sets_fail: counted.sets.fail,
            delete_success: counted.deletes.success,
            delete_fail: counted.deletes.fail,
            update_success: counted.updates.success,
            update_fail: counted.updates.fail,
            create_success: counted.creates.success,
            create_fail: counted.creates.fail,
            compare_and_swap_success: counted.compare_and_swaps.success,
            compare_and_swap_fail: counted.compare_and_swaps.fail,
            compare_and_delete_success: counted.compare_and_deletes.success,
            compare_and_delete_fail: counted.compare_and_deletes.fail,
            expire_count: counted.expired,
            watchers: counted.watchers,
        }
    }
}

/// `/v2/stats/self`.
pub(super) fn serve_self<K: Keys>(api: &Api<K>, method: &Method) -> Reply {
    let start_time = rfc3339(api.started_at).unwrap_or_default();
    document(method, || SelfStats {
        name: &api.config.name,
        id: &api.member_id,
        state: "StateLeader",
        start_time: start_time.clone(),
        leader_info: LeaderInfo {
            leader: &api.member_id,
            uptime: go_duration(api.started.elapsed()),
            start_time,
        },
        recv_append_request_cnt: 0,
        send_append_request_cnt: 0,
    })
}

/// `/v2/stats/leader`.
pub(super) fn serve_leader<K: Keys>(api: &Api<K>, method: &Method) -> Reply {
    document(method, || LeaderStats { leader: &api.member_id, followers: Followers {} })
}

/// `/v2/stats/store`.
pub(super) fn serve_store<K: Keys>(api: &Api<K>, method: &Method) -> Reply {
    document(method, || StoreStats::from(api.keys.statistics()))
}

fn document<T: Serialize>(method: &Method, stats: impl FnOnce() -> T) -> Reply {
    if method != Method::GET {
        return reply::method_not_allowed(Some("GET"));
    }
    reply::json_document(serde_json::to_vec(&stats()).unwrap_or_default())
}

/// A duration as Go prints it: `1h2m3.5s`, `12.5ms`.
fn go_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(ns, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(ns, 6)),
        _ => {
            let (minutes, ns) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = decimal(ns, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// A number with its point so many digits from the right, without trailing zeros.
fn decimal(number: u128, digits: usize) -> String {
    let text = format!("{number:0width$}", width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5\u{b5}s"),
            (350_500_000, "350.5ms"),
            (1_420_579_920, "1.42057992s"),
            (60_000_000_000, "1m0s"),
            (171_670_000_000, "2m51.67s"),
            (3_723_500_000_000, "1h2m3.5s"),
            (360_000_000_000_000, "100h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn the_store_counts_in_etcds_order() {
        let text = serde_json::to_string(&StoreStats::from(Statistics::default())).unwrap();
        let etcd = concat!(
            r#"{"getsSuccess":0,"getsFail":0,"setsSuccess":0,"setsFail":0,"deleteSuccess":0,"#,
            r#""deleteFail":0,"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,"#,
            r#""compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,"#,
            r#""compareAndDeleteFail":0,"expireCount":0,"watchers":0}"#
        );
        assert_eq!(text, etcd);
    }
}
