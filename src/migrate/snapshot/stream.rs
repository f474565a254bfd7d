//! One listing as a stream: the answer comes in on a task, is parsed on a thread, and nodes come
//! out here.
//!
//! Invariant: what is under way between the three is bounded, so a listing comes as fast as its
//! nodes are taken; its end is told by a word, never by silence.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::Node;
use super::super::listing::{self, Misread};
use crate::v2client::Body;

/// Pieces of the answer that wait to be parsed; hyper gives some tens of KB at a time.
const PIECES: usize = 4;

/// Batches of nodes that wait to be taken, and how large one grows: a node is a small thing to
/// wake somebody for.
const BATCHES: usize = 2;
const BATCH_BYTES: u64 = 64 << 10;
const BATCH_NODES: usize = 512;

enum Batch {
    Nodes(Vec<Node>),
    End,
    Problem(Misread),
}

/// A listing that comes.
pub(super) struct Stream {
    batches: mpsc::Receiver<Batch>,
    ready: std::vec::IntoIter<Node>,
    is_over: bool,
    _feeder: AbortOnDropHandle<()>,
}

impl Stream {
    /// The answer to a GET of this key. Its bytes are counted.
    pub(super) fn begin(body: Body, key: String, bytes: Arc<AtomicU64>) -> io::Result<Stream> {
        let (pieces, answer) = mpsc::channel(PIECES);
        let (batches, taken) = mpsc::channel(BATCHES);
        let feeder = AbortOnDropHandle::new(tokio::spawn(feed(body, pieces, bytes)));
        thread::Builder::new()
            .name("listing".to_owned())
            .stack_size(listing::STACK_BYTES)
            .spawn(move || parse(Answer { pieces: answer, piece: Bytes::new() }, &key, &batches))?;
        let ready = Vec::new().into_iter();
        Ok(Stream { batches: taken, ready, is_over: false, _feeder: feeder })
    }

    /// The next node; `None` behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Node>, Misread> {
        loop {
            if let Some(node) = self.ready.next() {
                return Ok(Some(node));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.batches.recv().await {
                Some(Batch::Nodes(nodes)) => self.ready = nodes.into_iter(),
                Some(Batch::End) => self.is_over = true,
                Some(Batch::Problem(problem)) => return Err(problem),
                None => return Err(Misread::Broken("its answer was not read on".to_owned())),
            }
        }
    }
}

async fn feed(
    mut body: Body,
    pieces: mpsc::Sender<Result<Option<Bytes>, String>>,
    bytes: Arc<AtomicU64>,
) {
    loop {
        let piece = body.chunk().await.map_err(|error| error.to_string());
        let is_last = !matches!(piece, Ok(Some(_)));
        if let Ok(Some(piece)) = &piece {
            bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        // Where nobody takes it, nobody reads on.
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// The answer, for a thread that may wait.
struct Answer {
    pieces: mpsc::Receiver<Result<Option<Bytes>, String>>,
    piece: Bytes,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => return Ok(0),
                Some(Err(problem)) => return Err(io::Error::other(problem)),
                None => return Err(io::Error::other("its answer was not read on")),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn parse(answer: Answer, key: &str, batches: &mpsc::Sender<Batch>) {
    let (mut nodes, mut bytes) = (Vec::new(), 0);
    let parsed = listing::parse(answer, key, &mut |node| {
        bytes += node.bytes();
        nodes.push(node);
        if bytes < BATCH_BYTES && nodes.len() < BATCH_NODES {
            return true;
        }
        bytes = 0;
        batches.blocking_send(Batch::Nodes(std::mem::take(&mut nodes))).is_ok()
    });
    let end = match parsed {
        Ok(()) => Batch::End,
        Err(problem) => Batch::Problem(problem),
    };
    // Whoever takes no more needs no end.
    if batches.blocking_send(Batch::Nodes(nodes)).is_ok() {
        let _ = batches.blocking_send(end);
    }
}
