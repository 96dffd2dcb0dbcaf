//! Appends of the streaming protocols: bounded, in order per producer, not stopped by a client that goes away.
//!
//! ```text
//! incoming ─► room? (batches, bytes of this call; bytes of all) ─► decode ─► turn of its producer ─► Ingestor::append ─► answer
//!    ▲ not read meanwhile: HTTP/2 stops the client                               room is given back when the answer is sent ┘
//! ```
//! - Every batch is answered; a bad one does not end its call.
//! - Batches of one producer are appended one after the other, as they came; others side by side.
//! - When the server stops, no more batches are read, those in work are answered, then the call ends with UNAVAILABLE.
//!
//! What a batch and an answer look like on the wire is each protocol's matter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::ServerConfig;
use super::audit::Noted;
use super::error::Fault;
use crate::base::{ByteSize, Kind, Span, Tasks};
use crate::ingest::{AppendReport, AppendRequest, IngestError, Ingestor, Producer};
use crate::telemetry::metrics;

/// Unit in which memory is counted.
const BLOCK_BYTES: usize = 1 << 10;
/// When a request is refused for want of memory: time for a commit or two.
const RETRY_AFTER: Span = Span(Duration::from_millis(200));

/// Appends of one server. Cheap to clone; clones share the limits.
#[derive(Clone)]
pub struct Appends {
    ingestor: Ingestor,
    tasks: Tasks,
    protocol: &'static str,
    batches_max: usize,
    size_max: ByteSize,
    memory_max: ByteSize,
    memory: Arc<Semaphore>,
}

/// A batch as it came.
pub struct Incoming<T> {
    /// Comes back in the answer.
    pub tag: T,
    pub bytes: usize,
    pub noted: Noted,
    /// Run off the I/O threads.
    pub decode: Box<dyn FnOnce() -> Result<AppendRequest, Fault> + Send>,
}

/// What became of a batch.
pub struct Answer<T> {
    pub tag: T,
    pub outcome: Result<AppendReport, Fault>,
}

/// Room taken by one batch, given back when dropped.
struct Room {
    _call: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    _memory: OwnedSemaphorePermit,
}

/// The limits of one call.
struct CallLimits {
    batches: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

type Told<T> = Result<(Answer<T>, Room), Status>;

impl Appends {
    pub fn new(ingestor: Ingestor, tasks: Tasks, config: &ServerConfig, protocol: &'static str) -> Self {
        Self {
            ingestor,
            tasks,
            protocol,
            batches_max: config.append_batches.max(1),
            size_max: config.append_size,
            memory_max: config.append_memory,
            memory: Arc::new(Semaphore::new(blocks(config.append_memory.as_usize()) as usize)),
        }
    }

    /// One batch, to its end even when the caller goes away.
    ///
    /// # Errors
    /// What decoding or appending says; no memory.
    pub async fn one(
        &self,
        (bytes, noted): (usize, Noted),
        decode: impl FnOnce() -> Result<AppendRequest, Fault> + Send + 'static,
    ) -> Result<AppendReport, Fault> {
        let wanted = blocks(bytes).min(blocks(self.memory_max.as_usize()));
        let Ok(memory) = self.memory.clone().try_acquire_many_owned(wanted) else {
            let message = format!("requests already fill {} (server.append_memory)", self.memory_max);
            let busy = Fault::from(&IngestError::Busy { message, retry_after: RETRY_AFTER });
            noted.ended(Err(busy.kind));
            return Err(busy);
        };
        let (tell, told) = oneshot::channel();
        let appends = self.clone();
        self.tasks.spawn("append", async move {
            let outcome = match decoded(Box::new(decode)).await {
                Ok(request) => appends.append(request).await,
                Err(fault) => Err(fault),
            };
            drop(memory);
            note(&noted, &outcome);
            // The receiver is gone when the client is; the rows are committed all the same.
            let _ = tell.send(outcome);
        });
        told.await.unwrap_or_else(|_| Err(Fault::new(Kind::Internal, "appending the rows failed; send them again")))
    }

    /// The answers to a call's batches. Errors of `incoming` follow the answers and end the stream.
    pub fn many<T, S>(&self, incoming: S) -> impl Stream<Item = Result<Answer<T>, Status>> + Send + use<T, S>
    where
        T: Send + 'static,
        S: Stream<Item = Result<Incoming<T>, Status>> + Send + Unpin + 'static,
    {
        let (tell, told) = mpsc::channel(self.batches_max);
        let appends = self.clone();
        let owed = Arc::new(AtomicI64::new(1));
        let counted = owed.clone();
        self.tasks.spawn("append stream", async move {
            appends.serve(incoming, &tell, &counted).await;
            // Before the channel can end.
            counted.fetch_sub(1, Ordering::SeqCst);
            drop(tell);
        });
        let given = owed.clone();
        // Room is held until the protocol takes the answer: a client that does not read cannot make us keep more.
        let answers = ReceiverStream::new(told).map(move |told: Told<T>| {
            given.fetch_sub(1, Ordering::SeqCst);
            told.map(|(answer, _room)| answer)
        });
        // A task that died owes its answer: then the call must not look as if all was done.
        let end = futures::stream::once(async move { (owed.load(Ordering::SeqCst) > 0).then(|| Err(died())) });
        answers.chain(end.filter_map(futures::future::ready))
    }

    /// `owed` counts the batches taken; whoever hands out an answer counts it off.
    async fn serve<T, S>(&self, mut incoming: S, tell: &mpsc::Sender<Told<T>>, owed: &AtomicI64)
    where
        T: Send + 'static,
        S: Stream<Item = Result<Incoming<T>, Status>> + Send + Unpin,
    {
        let stop = self.tasks.stop_signal();
        let limits = CallLimits {
            batches: Arc::new(Semaphore::new(self.batches_max)),
            bytes: Arc::new(Semaphore::new(blocks(self.size_max.as_usize()) as usize)),
        };
        let mut turns = Turns::default();
        let failure = loop {
            let next = tokio::select! {
                () = stop.cancelled() => break Some(stopping()),
                () = tell.closed() => return,
                next = incoming.next() => next,
            };
            let Incoming { tag, bytes, noted, decode } = match next {
                None => break None,
                Some(Err(status)) => break Some(status),
                Some(Ok(batch)) => batch,
            };
            let room = tokio::select! {
                () = tell.closed() => return,
                room = self.room(&limits, bytes) => room,
            };
            let Some(room) = room else { break Some(stopping()) };
            owed.fetch_add(1, Ordering::SeqCst);
            match decoded(decode).await {
                Ok(request) => self.dispatch((tag, noted), request, room, &mut turns, tell),
                Err(fault) => {
                    self.count(Some(&fault));
                    noted.ended(Err(fault.kind));
                    let _gone = tell.send(Ok((Answer { tag, outcome: Err(fault) }, room))).await;
                }
            }
        };
        if let Some(status) = failure {
            let all = u32::try_from(self.batches_max).unwrap_or(u32::MAX);
            tokio::select! {
                () = tell.closed() => {}
                _all = limits.batches.acquire_many(all) => {
                    owed.fetch_add(1, Ordering::SeqCst);
                    let _gone = tell.send(Err(status)).await;
                }
            }
        }
    }

    async fn room(&self, limits: &CallLimits, bytes: usize) -> Option<Room> {
        let batch = limits.batches.clone().acquire_owned().await.ok()?;
        // A batch larger than a limit passes alone.
        let call = blocks(bytes).min(blocks(self.size_max.as_usize()));
        let call = limits.bytes.clone().acquire_many_owned(call).await.ok()?;
        let all = blocks(bytes).min(blocks(self.memory_max.as_usize()));
        let memory = self.memory.clone().acquire_many_owned(all).await.ok()?;
        Some(Room { _call: Some((batch, call)), _memory: memory })
    }

    fn dispatch<T: Send + 'static>(
        &self,
        (tag, noted): (T, Noted),
        request: AppendRequest,
        room: Room,
        turns: &mut Turns,
        tell: &mpsc::Sender<Told<T>>,
    ) {
        let turn = turns.next(request.producer.as_ref(), self.batches_max);
        let (appends, tell) = (self.clone(), tell.clone());
        self.tasks.spawn("append batch", async move {
            let Turn { before, done } = turn;
            if let Some(before) = before {
                // Ends when the batch before has: its side is dropped, never sent.
                let _ended = before.await;
            }
            let outcome = appends.append(request).await;
            note(&noted, &outcome);
            drop(done);
            let _gone = tell.send(Ok((Answer { tag, outcome }, room))).await;
        });
    }

    async fn append(&self, request: AppendRequest) -> Result<AppendReport, Fault> {
        let outcome = self.ingestor.append(request).await.map_err(|error| Fault::from(&error));
        self.count(outcome.as_ref().err());
        outcome
    }

    fn count(&self, fault: Option<&Fault>) {
        let result = fault.map_or("ok", |fault| fault.kind.as_str());
        let labels = [("protocol", self.protocol), ("result", result)];
        metrics().count("server_append_batches", "Batches of gRPC and Flight answered, by result", &labels, 1);
        let bytes = (blocks(self.memory_max.as_usize()) as usize - self.memory.available_permits()) * BLOCK_BYTES;
        let labels = [("protocol", self.protocol)];
        metrics().set("server_append_bytes", "Bytes of batches in work when the last one ended", &labels, bytes as f64);
    }
}

/// Who goes after whom among the batches of one call.
#[derive(Default)]
struct Turns(HashMap<Producer, oneshot::Receiver<()>>);

struct Turn {
    before: Option<oneshot::Receiver<()>>,
    done: Option<oneshot::Sender<()>>,
}

impl Turns {
    fn next(&mut self, producer: Option<&Producer>, batches_max: usize) -> Turn {
        let Some(producer) = producer else { return Turn { before: None, done: None } };
        // At most `batches_max` are in work; the others have had their turn.
        if self.0.len() > batches_max {
            self.0.retain(|_, before| matches!(before.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
        let (done, ended) = oneshot::channel();
        // One turn per producer, whatever the sequence.
        let key = Producer { id: producer.id.clone(), sequence: 0 };
        Turn { before: self.0.insert(key, ended), done: Some(done) }
    }
}

fn note(noted: &Noted, outcome: &Result<AppendReport, Fault>) {
    noted.ended(outcome.as_ref().map(|report| report.accepted).map_err(|fault| fault.kind));
}

/// Decodes where computing does not hold up connections.
async fn decoded(decode: Box<dyn FnOnce() -> Result<AppendRequest, Fault> + Send>) -> Result<AppendRequest, Fault> {
    let decoding = tokio::task::spawn_blocking(decode).await;
    decoding.unwrap_or_else(|_| {
        Err(Fault::new(Kind::Internal, "decoding the rows failed; this is a bug, please report it"))
    })
}

fn stopping() -> Status {
    let fault = Fault::new(
        Kind::Unavailable,
        "the server is stopping; batches that were not answered were not taken, send them again elsewhere or later",
    );
    fault.into_status()
}

fn died() -> Status {
    let message = "appending failed; what became of the unanswered batches is unknown: send them again";
    Fault::new(Kind::Internal, message).into_status()
}

fn blocks(bytes: usize) -> u32 {
    let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
    u32::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(most).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_producer_waits_for_its_own_batches_only() {
        let mut turns = Turns::default();
        let producer = |id: &str, sequence| Producer::new(id, sequence).unwrap();
        let first = turns.next(Some(&producer("a", 1)), 4);
        let other = turns.next(Some(&producer("b", 1)), 4);
        let second = turns.next(Some(&producer("a", 2)), 4);
        assert!(first.before.is_none() && other.before.is_none());
        assert!(turns.next(None, 4).before.is_none());
        let mut before = second.before.unwrap();
        assert!(before.try_recv().is_err());
        drop(first.done);
        assert!(before.await.is_err(), "ended");
    }

    #[tokio::test]
    async fn producers_that_are_done_are_forgotten() {
        let mut turns = Turns::default();
        for index in 0..1_000 {
            drop(turns.next(Some(&Producer::new(&format!("p{index}"), 0).unwrap()), 4));
        }
        assert!(turns.0.len() <= 6, "{}", turns.0.len());
    }

    #[test]
    fn memory_is_counted_in_blocks() {
        assert_eq!((blocks(0), blocks(1), blocks(1 << 10), blocks((1 << 10) + 1)), (1, 1, 1, 2));
    }
}
