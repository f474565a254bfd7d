//! One watch: its head, which must come at once, and its events line by line.

use std::time::Duration;

use compat_tests::http::{Framing, Piece, Request, Stream};

use super::context::{Context, Outcome, expect, expect_equal};

/// How long an event may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a watch is listened to that must say nothing.
const SILENCE: Duration = Duration::from_millis(400);

/// A watch that has its head and waits for events.
pub(crate) struct Watch {
    pub(crate) stream: Stream,
    lines: Vec<u8>,
}

impl Watch {
    /// Begins to watch `key`, which ends in a query that says `wait=true`.
    pub(crate) fn open(context: &Context, key: &str) -> Result<Self, String> {
        let request = Request::new("GET", &context.path(key));
        let stream =
            context.connect()?.stream(&request).map_err(|error| format!("{key}: {error}"))?;
        expect_equal("status", stream.head.status, 200)?;
        expect_equal("framing", stream.head.framing, Framing::Chunked)?;
        expect_equal("Content-Type", stream.head.header("Content-Type"), Some("application/json"))?;
        for name in ["X-Etcd-Index", "X-Raft-Index", "X-Raft-Term"] {
            expect(stream.head.number(name).is_some(), || format!("no {name}"))?;
        }
        expect(stream.head.header("X-Etcd-Cluster-Id").is_some(), || "no cluster id".to_owned())?;
        Ok(Self { stream, lines: Vec::new() })
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.lines.drain(..=end).collect();
                return String::from_utf8(line).map_err(|error| error.to_string());
            }
            match self.stream.next(PATIENCE).map_err(|error| error.to_string())? {
                Piece::Data(data) => self.lines.extend(data),
                Piece::End => return Err("the watch ended without an event".to_owned()),
                Piece::Silence => return Err("no event came".to_owned()),
            }
        }
    }

    /// The only event of a long poll, and its end.
    pub(crate) fn last_event(mut self) -> Result<String, String> {
        let event = self.event()?;
        match self.stream.next(PATIENCE).map_err(|error| error.to_string())? {
            Piece::End if self.lines.is_empty() => Ok(event),
            other @ (Piece::Data(_) | Piece::End | Piece::Silence) => {
                Err(format!("after the event came {other:?}"))
            }
        }
    }

    pub(crate) fn is_silent(&mut self) -> Outcome {
        match self.stream.next(SILENCE).map_err(|error| error.to_string())? {
            Piece::Silence => Ok(()),
            other @ (Piece::Data(_) | Piece::End) => Err(format!("not silent: {other:?}")),
        }
    }
}
