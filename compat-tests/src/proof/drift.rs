//! A gateway whose clock is further ahead than is allowed: the others refuse what it writes, with
//! an error that says why and a metric, and go on with everything else.

use super::fleet::{clock, counter};
use super::{Row, Setting};
use crate::engine::{Engine, new_table};
use crate::http::{Answer, Request};
use crate::server::Server;

/// Ten minutes: twice what is allowed.
const AHEAD_S: i64 = 600;

/// What the error of a refused write says.
const AHEAD: &str = "s ahead of this gateway's clock";

/// The metric of refused indexes.
const REFUSED: &str = "etcdynamo_index_refused_total";

/// A gateway that is right and one that is far ahead, and what each may do.
///
/// # Errors
/// What kept it from running.
pub fn too_far_ahead(setting: &Setting) -> Result<Vec<Row>, String> {
    let (engine, table) = (Engine::start(setting.engine)?, new_table());
    let right = Server::gateway(engine.target(), &table, &engine.url(), &[])?;
    let ahead = Server::gateway_in(&clock(AHEAD_S)?, engine.target(), &table, &engine.url(), &[])?;
    let mut trial = Trial { operations: 0, violations: Vec::new() };
    let before = counter(&right, REFUSED)?;
    let far = trial.expect(&ahead, put("k", "ahead"), 201, "");
    let near = trial.expect(&right, put("j", "right"), 201, "");
    trial.expect(&right, put("k", "right"), 500, AHEAD);
    trial.expect(&right, put("k?prevValue=ahead", "right"), 500, AHEAD);
    trial.expect(&right, Request::new("DELETE", "/v2/keys/k"), 500, AHEAD);
    trial.expect(&right, Request::new("GET", "/v2/keys/k"), 200, "\"ahead\"");
    let again = trial.expect(&right, put("j", "again"), 200, "\"again\"");
    trial.expect(&ahead, put("k", "mended"), 200, "\"mended\"");
    if counter(&right, REFUSED)? <= before {
        trial.violations.push(format!("{REFUSED} did not rise"));
    }
    match (index(&far), index(&near), index(&again)) {
        (Some(far), Some(near), Some(again)) if near < again && again < far => {}
        found => trial.violations.push(format!("the clock was carried on: {found:?}")),
    }
    Ok(vec![Row {
        workload: "writes of what another gateway wrote".to_owned(),
        fault: format!("its clock {AHEAD_S} s ahead"),
        operations: trial.operations,
        unknown_resolved: 0,
        violations: trial.violations,
    }])
}

struct Trial {
    operations: u64,
    violations: Vec<String>,
}

impl Trial {
    /// Asks, and notes where the answer has not this status or does not say this.
    fn expect(
        &mut self,
        server: &Server,
        request: Request,
        status: u16,
        says: &str,
    ) -> Option<Answer> {
        self.operations += 1;
        let Request { method, target, .. } = &request;
        match server.client().send(&request) {
            Ok(answer) if answer.status() == status && answer.text().contains(says) => Some(answer),
            Ok(answer) => {
                self.violations.push(format!("{method} {target}: {}", answer.describe()));
                None
            }
            Err(error) => {
                self.violations.push(format!("{method} {target}: {error}"));
                None
            }
        }
    }
}

fn put(key: &str, value: &str) -> Request {
    Request::new("PUT", &format!("/v2/keys/{key}")).form(&format!("value={value}"))
}

fn index(answer: &Option<Answer>) -> Option<u64> {
    answer.as_ref()?.head.number("X-Etcd-Index")
}
