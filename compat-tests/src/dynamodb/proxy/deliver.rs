//! What becomes of one call: held, silenced, struck by a fault, or simply forwarded.
//!
//! Not here: how likely what is, and how a connection is cut. Invariant: a fault is counted when
//! it really is injected, and each does to the engine exactly what [`Fault`] says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::Shared;
use super::call::{Call, Kind};
use super::hold::{Arming, Moment, Verdict};
use super::reply::Reply;
use crate::dynamodb::fault::Fault;

/// What the sender of a call gets.
pub(super) enum Delivery {
    /// A reply.
    Reply(Reply),
    /// Half of it.
    Half(Reply),
    /// Nothing; its connection is cut.
    Cut,
}

impl From<Option<Reply>> for Delivery {
    fn from(reply: Option<Reply>) -> Self {
        reply.map_or(Self::Cut, Self::Reply)
    }
}

impl Delivery {
    /// Whether the engine did what the call asked for, and its sender is told so.
    fn is_applied(&self) -> bool {
        matches!(self, Self::Reply(reply) if reply.status.is_success())
    }
}

/// A call and how it was sent.
struct Sent {
    shared: Arc<Shared>,
    head: Parts,
    call: Call,
}

/// Carries a call out, whatever is to become of it.
pub(super) async fn deliver(shared: Arc<Shared>, head: Parts, call: Call) -> Delivery {
    let is_denied = shared.state().guard.as_mut().is_some_and(|guard| !guard.allows(&call));
    if is_denied {
        return Delivery::Reply(Reply::access_denied(&call));
    }
    let sent = Sent { shared, head, call };
    if sent.call.kind == Kind::Other {
        return sent.forward().await;
    }
    let Drawn { silent_until, fault, dice, armed } = sent.draw();
    if silent_until > Instant::now() {
        sleep_until(silent_until.into()).await;
        return Delivery::Cut;
    }
    let Some(armed) = armed else { return sent.strike(fault, dice).await };
    match armed.moment() {
        Moment::Before => match armed.decided(&sent.call).await {
            Verdict::Release => sent.forward().await,
            Verdict::Abandon => Delivery::Cut,
        },
        Moment::After => {
            let delivery = sent.forward().await;
            match armed.decided(&sent.call).await {
                Verdict::Release => delivery,
                Verdict::Abandon => Delivery::Cut,
            }
        }
    }
}

/// What was chosen for a call.
struct Drawn {
    silent_until: Instant,
    fault: Option<Fault>,
    /// For what is left to chance within the fault.
    dice: Rng,
    armed: Option<Arming>,
}

impl Sent {
    fn draw(&self) -> Drawn {
        let mut state = self.shared.state();
        let state = &mut *state;
        let is_write = self.call.kind == Kind::Write;
        state.counts.calls += u64::from(self.call.kind != Kind::Stream);
        state.counts.writes += u64::from(is_write);
        let is_held = is_write && state.armed.as_mut().is_some_and(|arm| arm.meets(&self.call));
        let mut fault = state.odds.draw(&self.call, &mut state.random);
        let mut dice = state.random.fork();
        if fault == Some(Fault::BlackHole) {
            state.counts.add(Fault::BlackHole);
            state.silent_until = Instant::now() + millis(&mut dice, 200, 2500);
            fault = None;
        }
        let armed = if is_held { state.armed.take() } else { None };
        Drawn { silent_until: state.silent_until, fault, dice, armed }
    }

    fn count(&self, fault: Fault) {
        self.shared.state().counts.add(fault);
    }

    /// Carries the call out under a fault.
    async fn strike(self, fault: Option<Fault>, mut dice: Rng) -> Delivery {
        let Some(fault) = fault else { return self.forward().await };
        if !matches!(fault, Fault::Stale | Fault::Partial) {
            self.count(fault);
        }
        match fault {
            // Whether these can happen shows only later.
            Fault::Stale => self.recall().await,
            Fault::Partial => self.forward_part(dice).await,
            // Not applied.
            Fault::Throttled => Delivery::Reply(Reply::throttled(&self.call, &mut dice)),
            Fault::StreamThrottled => Delivery::Reply(Reply::stream_throttled(&mut dice)),
            Fault::IteratorExpired => Delivery::Reply(Reply::iterator_expired()),
            Fault::RecordsTrimmed => Delivery::Reply(Reply::records_trimmed()),
            Fault::Conflict => Delivery::Reply(Reply::conflict(&self.call, &mut dice)),
            Fault::ServerError => Delivery::Reply(Reply::server_error(&mut dice)),
            Fault::Outage => {
                self.shared.refuse(Instant::now() + millis(&mut dice, 200, 2500));
                Delivery::Cut
            }
            // Applied, now or later, once or twice.
            Fault::InProgress => {
                self.forward_later(millis(&mut dice, 20, 500));
                Delivery::Reply(Reply::in_progress())
            }
            Fault::Slow if dice.bool() => {
                let delivery = self.forward().await;
                sleep(millis(&mut dice, 20, 900)).await;
                delivery
            }
            Fault::Slow => {
                sleep(millis(&mut dice, 20, 900)).await;
                self.forward().await
            }
            Fault::Late => {
                sleep(millis(&mut dice, 1600, 3500)).await;
                self.forward().await
            }
            Fault::Twice => {
                let first = self.forward().await;
                let second = self.forward().await;
                // A refusal that was told is never followed by a second delivery that applies: who
                // delivers again has not got the first answer.
                if first.is_applied() && dice.bool() { first } else { second }
            }
            Fault::LateTwin => {
                let first = self.forward().await;
                if first.is_applied() {
                    self.forward_later(millis(&mut dice, 5, 2500));
                }
                first
            }
            // Applied, and the answer is lost.
            Fault::ErrorAfter => {
                let error = |_| Reply::server_error(&mut dice);
                self.ask_engine().await.map(error).into()
            }
            Fault::HalfReply => match self.ask_engine().await {
                Some(reply) => Delivery::Half(reply),
                None => Delivery::Cut,
            },
            Fault::CutAfter => {
                self.forward().await;
                Delivery::Cut
            }
            Fault::CutBefore | Fault::BlackHole => Delivery::Cut,
        }
    }

    /// Hands the call to the engine after a while, and nobody its answer.
    fn forward_later(self, pause: Duration) {
        tokio::spawn(async move {
            sleep(pause).await;
            self.forward().await
        });
    }

    /// An earlier answer, where there is one; else the present one.
    async fn recall(self) -> Delivery {
        let recalled = self.shared.state().memory.recall(self.call.digest());
        match recalled {
            Some(reply) => {
                self.count(Fault::Stale);
                Delivery::Reply(reply)
            }
            None => self.forward().await,
        }
    }

    /// A page that ends early, or a batch of which a part is left over.
    async fn forward_part(self, mut dice: Rng) -> Delivery {
        let Some(mut json) = self.call.json() else { return self.forward().await };
        let left = if self.call.operation == "Query" {
            json["Limit"] = dice.u32(1..6).into();
            None
        } else {
            let left = take_keys(&mut json, &mut dice);
            if left.is_none() {
                return self.forward().await;
            }
            left
        };
        self.count(Fault::Partial);
        let call = self.call.with(&json);
        let reply = Sent { call, ..self }.ask_engine().await;
        let reply = reply.map(|reply| match left {
            Some(left) => leave_over(reply, left),
            None => reply,
        });
        reply.into()
    }

    /// Hands the call to the engine, and gives its answer.
    async fn forward(&self) -> Delivery {
        let Some(reply) = self.ask_engine().await else { return Delivery::Cut };
        if reply.status.is_success() && self.call.is_eventual() {
            self.shared.state().memory.keep(self.call.digest(), &reply);
        }
        Delivery::Reply(reply)
    }

    async fn ask_engine(&self) -> Option<Reply> {
        let path = self.head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(self.head.method.clone())
            .uri(format!("http://{}{path}", self.shared.engine))
            .body(Full::new(self.call.body.clone()))
            .ok()?;
        for (name, value) in &self.head.headers {
            let is_ours = *name == HOST || name == "content-length" || name == "connection";
            if !is_ours {
                request.headers_mut().append(name, value.clone());
            }
        }
        let answer = self.shared.client.request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Some(Reply {
            status: head.status,
            content_type: content_type.unwrap_or("application/x-amz-json-1.0").to_owned(),
            body: body.collect().await.ok()?.to_bytes(),
        })
    }
}

/// Takes some keys out of a batch, and gives them as a batch of their own.
fn take_keys(batch: &mut Value, dice: &mut Rng) -> Option<Value> {
    let (table, request) = batch["RequestItems"].as_object_mut()?.iter_mut().next()?;
    let mut left = request.clone();
    let keys = request["Keys"].as_array_mut().filter(|keys| keys.len() > 1)?;
    let taken = keys.split_off(dice.usize(1..keys.len()));
    left["Keys"] = taken.into();
    Some(json!({ table.as_str(): left }))
}

fn leave_over(reply: Reply, left: Value) -> Reply {
    let Ok(mut json) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
    if !reply.status.is_success() {
        return reply;
    }
    json["UnprocessedKeys"] = left;
    Reply::json(reply.status, &json)
}

fn millis(dice: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(dice.u64(least..=most))
}
