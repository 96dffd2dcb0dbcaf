//! Rows from the CPU runtime to whoever asked: a few batches ahead, no more.
//!
//! ```text
//! plan ─► CPU runtime: poll, count ─► bounded channel ─► caller's stream
//!                ▲ cancel token, time limit, caller gone
//! ```
//! The statement's place in the list, its turn and its memory are given back when the last row is sent or the caller drops
//! the stream, whichever is first. A panic in a plan becomes the stream's error.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::QueryError;
use super::admission::Permit;
use super::digest::plan_digest;
use super::fault::external;
use super::running::{Run, State, Watch};
use super::runtime::{Shared, panicked};
use crate::auth::Allowance;
use crate::base::clock::deadline_after;
use crate::base::{ByteSize, Span};

/// Batches computed ahead of the reader.
const BATCHES_AHEAD: usize = 4;
/// How long the caller of a statement that is ended early waits for its end, before it is told.
const ENDS_WITHIN: Duration = Duration::from_millis(100);

/// When a statement has to be finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) deadline: Instant,
    pub(super) allowed: Duration,
    by_role: bool,
}

impl Limit {
    pub(super) fn starting_now(allowed: Duration) -> Self {
        let far = Duration::from_secs(365 * 24 * 3600);
        Self { deadline: deadline_after(allowed.min(far)).into(), allowed, by_role: false }
    }

    /// The same, or what the caller's roles allow where that is less.
    pub(super) fn of_role(self, most: Option<Span>) -> Self {
        match most.map(Span::duration).filter(|most| *most < self.allowed) {
            Some(most) => Self { by_role: true, ..Self::starting_now(most) },
            None => self,
        }
    }

    pub(super) fn error(&self) -> QueryError {
        let limit = Span(self.allowed).to_string();
        match self.by_role {
            true => QueryError::Timeout { limit: format!("{limit}, the most your roles allow (auth.limits)") },
            false => QueryError::Timeout { limit },
        }
    }
}

/// How much an answer may hold; none = anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Most {
    pub(super) rows: Option<u64>,
    pub(super) size: Option<ByteSize>,
}

impl From<Allowance> for Most {
    fn from(allowance: Allowance) -> Self {
        Self { rows: allowance.result_rows, size: allowance.result_bytes }
    }
}

/// What an answer holds so far.
#[derive(Default)]
struct Sum {
    rows: u64,
    bytes: u64,
}

impl Sum {
    /// # Errors
    /// `TooLarge` with this batch.
    fn add(&mut self, batch: &RecordBatch, most: Most) -> Result<(), QueryError> {
        self.rows = self.rows.saturating_add(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX));
        let too_large = |most: String| Err(QueryError::TooLarge { most });
        match most.rows {
            Some(rows) if self.rows > rows => return too_large(format!("{rows} rows")),
            _ => {}
        }
        let Some(size) = most.size else { return Ok(()) };
        let bytes: usize =
            batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        match self.bytes > size.bytes() {
            true => too_large(size.to_string()),
            false => Ok(()),
        }
    }
}

/// What a running query holds until its end.
pub(super) struct Held {
    /// `None` for work inside another statement.
    pub(super) watch: Option<Watch>,
    pub(super) permit: Option<Permit>,
    pub(super) cancel: CancellationToken,
    pub(super) limit: Limit,
    pub(super) most: Most,
    /// Memory pool, spill folder and object stores.
    pub(super) task: Arc<TaskContext>,
}

impl Held {
    /// Of work inside another statement, or of the process itself: no turn, no place in the list, the memory of all.
    pub(super) fn inside(shared: &Shared, cancel: CancellationToken, limit: Limit) -> Self {
        Self { watch: None, permit: None, cancel, limit, most: Most::default(), task: shared.task() }
    }
}

/// Starts a plan; its rows come from the returned stream.
///
/// `schema` has the plan's names and types.
pub(super) fn start(
    shared: &Shared,
    plan: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    held: Held,
) -> SendableRecordBatchStream {
    let told = Told {
        cancel: held.cancel.clone(),
        limit: held.limit,
        run: held.watch.as_ref().map(|watch| watch.run.clone()),
    };
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let rows = Rows { plan, task: held.task.clone(), schema: schema.clone(), sender };
    shared.cpu.detach(drive(rows, held));
    Box::pin(RecordBatchStreamAdapter::new(schema, received(receiver, told)))
}

type Batch = Result<RecordBatch, DataFusionError>;

/// What the caller reads. It watches token and time itself: a plan that computes for long without giving way learns of them
/// late, the caller must not. Mostly it ends at once, and then its place and turn are free when the caller knows.
fn received(receiver: mpsc::Receiver<Batch>, told: Told) -> impl Stream<Item = Batch> + Send + 'static {
    stream::unfold(Some(receiver), move |open| {
        let Told { cancel, limit, run } = told.clone();
        async move {
            let mut receiver = open?;
            let next = tokio::select! {
                biased;
                next = receiver.recv() => next?,
                () = cancel.cancelled() => Err(external(why_cancelled(run.as_deref()))),
                () = tokio::time::sleep_until(limit.deadline) => Err(external(limit.error())),
            };
            if next.is_err() {
                let _late = tokio::time::timeout(ENDS_WITHIN, ended(&mut receiver)).await;
            }
            let open = next.is_ok().then_some(receiver);
            Some((next, open))
        }
    })
}

/// Returns when nothing more is sent: the statement has given back all it held.
async fn ended(receiver: &mut mpsc::Receiver<Batch>) {
    while receiver.recv().await.is_some() {}
}

/// What tells a stream to end early.
#[derive(Clone)]
struct Told {
    cancel: CancellationToken,
    limit: Limit,
    run: Option<Arc<Run>>,
}

fn why_cancelled(run: Option<&Run>) -> QueryError {
    run.map_or(QueryError::Cancelled, Run::why_cancelled)
}

struct Rows {
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    schema: SchemaRef,
    sender: mpsc::Sender<Batch>,
}

async fn drive(rows: Rows, held: Held) {
    let sender = rows.sender.clone();
    let Held { watch, permit, cancel, limit, most, task: _ } = held;
    if let Some(watch) = &watch {
        watch.enter(State::Running);
        // A query is planned once.
        let _set = watch.run.plan.set(plan_digest(rows.plan.as_ref()));
    }
    let running = AssertUnwindSafe(forward(rows, watch.as_ref(), most)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(why_cancelled(watch.as_ref().map(|watch| &*watch.run))),
        () = tokio::time::sleep_until(limit.deadline) => Err(limit.error()),
        () = sender.closed() => Err(QueryError::Cancelled),
        ended = running => ended.unwrap_or_else(|payload| Err(panicked(&*payload))),
    };
    drop(permit);
    match outcome {
        Ok(()) => {
            if let Some(watch) = watch {
                watch.succeed();
            }
        }
        Err(error) => {
            if let Some(watch) = watch {
                watch.fail(&error);
            }
            // Nobody listening is fine: then nobody needs the error.
            let _ = sender.send(Err(external(error))).await;
        }
    }
}

async fn forward(rows: Rows, watch: Option<&Watch>, most: Most) -> Result<(), QueryError> {
    let Rows { plan, task, schema, sender } = rows;
    let mut batches = execute_stream(plan, task)?;
    let mut sum = Sum::default();
    while let Some(batch) = batches.next().await {
        let batch = under(&schema, batch?)?;
        sum.add(&batch, most)?;
        if let Some(watch) = watch {
            watch.add_rows(u64::try_from(batch.num_rows()).unwrap_or(0));
        }
        if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
            return Err(QueryError::Cancelled);
        }
    }
    Ok(())
}

/// The batch under the announced schema, which differs only in what it says about nulls.
fn under(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let (_, columns, _) = batch.into_parts();
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| QueryError::Internal { message: format!("rows do not have the planned columns: {error}") })
}
