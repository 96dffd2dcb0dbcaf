//! `append`: one request → decoded and valid → its table's queue → the answer of the group commit.
//!
//! ```text
//! admission (bytes) ─ decode ─ validate ─► queue ─► group commit ─► answer
//! ```

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::oneshot;

use super::batch::{Batch, Rejection, Valid};
use super::decode::open_payload;
use super::group;
use super::ingestor::Core;
use super::queue::Job;
use super::rejects::RejectSource;
use super::target::Target;
use super::validate::{Arrival, Validator, bad_rows_policy};
use super::writer::CommitLabel;
use super::{AppendReport, AppendRequest, IngestError, Payload};
use crate::catalog::UnknownFields;

/// Times a request's rows are looked at again because another process committed some of the same events.
pub(super) const DEDUP_ATTEMPTS: usize = 20;
/// Smaller bodies are decoded where they are: a hop to another thread costs more.
const INLINE_BYTES: usize = 16 << 10;

/// What a decoded body holds.
struct Body {
    batches: Vec<Batch<Valid>>,
    rejected: Vec<Rejection>,
}

/// A request in its table's queue. Dropped unanswered (its client is gone), it leaves the queue and gives its room back: when all who
/// wait leave at once there is nobody to lead a group that would pass it over.
struct Waiting {
    target: Target,
    answer: oneshot::Receiver<Result<AppendReport, IngestError>>,
    is_answered: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answer.close();
            self.target.writer.queue.forget_closed();
        }
    }
}

impl Core {
    pub(super) async fn append(self: &Arc<Self>, request: AppendRequest) -> Result<AppendReport, IngestError> {
        let AppendRequest { table, payload, producer, on_bad_row, source } = request;
        let place = producer.as_ref().map(|producer| self.arrivals.arrive(&table, producer));
        let size = payload.bytes();
        let permit =
            self.admission.admit(&table, producer.as_ref().map(|producer| producer.id.as_str()), size as u64)?;
        let target = self.targets.resolve(&table).await?;
        self.own(&target).await?;
        let body = self.decode(&target, payload, size).await?;
        bad_rows_policy(target.definition.ingest.on_error, on_bad_row, &body.rejected)?;
        if target.snapshot_key().is_some() {
            let appended = self.append_snapshot(&target, body, source).await;
            return self.told(&target, appended).await;
        }
        let (reply, answer) = oneshot::channel();
        if let Some(place) = &place {
            place.first().await;
        }
        let Body { batches, rejected } = body;
        target.writer.queue.push(Job { batches, rejected, producer, source, reply, permit });
        drop(place);
        self.answered(Waiting { target, answer, is_answered: false }).await
    }

    /// Waits for the answer, leading a group whenever nobody else does.
    async fn answered(self: &Arc<Self>, mut waiting: Waiting) -> Result<AppendReport, IngestError> {
        let writer = waiting.target.writer.clone();
        loop {
            tokio::select! {
                biased;
                told = &mut waiting.answer => {
                    waiting.is_answered = true;
                    return told.map_err(|_| lost())?;
                }
                guard = writer.lock() => {
                    let (core, target) = (self.clone(), waiting.target.clone());
                    self.tasks.spawn("group commit", group::lead(core, target, guard));
                }
            }
        }
    }

    /// A failure told by what has become of the table.
    pub(super) async fn told<T>(&self, target: &Target, outcome: Result<T, IngestError>) -> Result<T, IngestError> {
        match outcome {
            Err(error) => Err(self.targets.told(&target.object, error).await),
            done => done,
        }
    }

    async fn append_snapshot(
        &self,
        target: &Target,
        body: Body,
        source: &'static str,
    ) -> Result<AppendReport, IngestError> {
        let Body { batches, rejected } = body;
        let from = RejectSource { table: &target.name, source };
        self.rejects.record(from, &rejected, &self.task).await?;
        let (accepted, duplicates, version) =
            self.upsert(target, batches, CommitLabel::plain("APPEND"), &self.task).await?.counts();
        Ok(AppendReport { accepted, duplicates, rejected, version, replayed: false })
    }

    async fn decode(&self, target: &Target, payload: Payload, size: usize) -> Result<Body, IngestError> {
        let validator = self.targets.validator(target, Arrival::Event);
        let limit = self.config.max_row_size.as_usize();
        let (columns, unknown) = (target.columns.clone(), target.definition.ingest.unknown_fields);
        let decode = move || decode_payload(payload, (&columns, unknown), &validator, limit);
        if size <= INLINE_BYTES { decode() } else { blocking(decode).await }
    }
}

fn lost() -> IngestError {
    IngestError::Internal { message: "the commit ended without an answer; send the rows again".to_owned() }
}

impl Payload {
    /// Bytes in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Ndjson(body) | Self::JsonArray(body) => body.len(),
            Self::Arrow(batches) => batches.iter().map(RecordBatch::get_array_memory_size).sum(),
        }
    }
}

/// The rows in these columns, by name: a column added since they were decoded is NULL.
///
/// # Errors
/// When a column is NOT NULL, or one of the rows' is gone.
pub(super) fn conform_columns(rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, IngestError> {
    if rows.schema_ref() == columns || rows.schema_ref().fields() == columns.fields() {
        return Ok(rows.clone());
    }
    let changed = |name: &str| IngestError::Invalid {
        message: format!("the table's columns changed while the rows came in (column '{name}'); send them again"),
    };
    if let Some(gone) = rows.schema_ref().fields().iter().find(|field| columns.index_of(field.name()).is_err()) {
        return Err(changed(gone.name()));
    }
    let arrays = columns.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows.num_rows())),
        _ => Err(changed(field.name())),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(columns.clone(), arrays.collect::<Result<_, _>>()?, &options)
        .map_err(|error| IngestError::Internal { message: format!("rows do not fit the table: {error}") })
}

/// Batches in memory as a stream.
pub(super) fn stream(schema: SchemaRef, batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let batches = batches.into_iter().filter(|batch| batch.num_rows() > 0).map(Ok);
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
}

/// Runs work that computes for more than a moment off the async threads.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, IngestError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, IngestError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(IngestError::Cancelled),
        Err(_) => Err(IngestError::Internal {
            message: "decoding stopped unexpectedly; this is a bug, please report it".to_owned(),
        }),
    }
}

fn decode_payload(
    payload: Payload,
    (columns, unknown): (&SchemaRef, UnknownFields),
    validator: &Validator,
    limit: usize,
) -> Result<Body, IngestError> {
    let mut decoder = open_payload(payload, columns, unknown, limit)?;
    let (mut batches, mut rejected) = (Vec::new(), Vec::new());
    while let Some(step) = decoder.next_step()? {
        rejected.extend(step.rejected);
        let validated = validator.validate(step.batch)?;
        rejected.extend(validated.rejected);
        if validated.batch.row_count() > 0 {
            batches.push(validated.batch);
        }
    }
    rejected.sort_by_key(|rejection: &Rejection| rejection.line);
    Ok(Body { batches, rejected })
}
