//! `append`: one request → one commit, then the answer.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::batch::{Batch, Rejection, Unique, Valid};
use super::decode::open_payload;
use super::ingestor::Core;
use super::rejects::RejectSource;
use super::target::Target;
use super::validate::{Arrival, Validator, bad_rows_policy};
use super::writer::{CommitLabel, Sealed, Staged};
use super::{AppendReport, AppendRequest, IngestError, Payload};
use crate::catalog::UnknownFields;
use crate::storage::{InputOrder, StagedFile, StorageError, TableVersion, WriteOptions};

/// Times a request's rows are looked at again because another process committed some of the same events.
pub(super) const DEDUP_ATTEMPTS: usize = 20;

/// What a decoded body holds.
struct Body {
    batches: Vec<Batch<Valid>>,
    rejected: Vec<Rejection>,
}

impl Core {
    pub(super) async fn append(&self, request: AppendRequest) -> Result<AppendReport, IngestError> {
        let AppendRequest { table, payload, source, on_bad_row, .. } = request;
        let target = self.targets.resolve(&table).await?;
        let validator = self.targets.validator(&target, Arrival::Event)?;
        let limit = self.config.max_row_size.as_usize();
        let (columns, options) = (target.columns.clone(), target.definition.ingest.clone());
        let decode = move || decode_payload(payload, (&columns, options.unknown_fields), &validator, limit);
        let Body { batches, rejected } = blocking(decode).await?;
        bad_rows_policy(target.definition.ingest.on_error, on_bad_row, &rejected)?;
        let from = RejectSource { table: &target.name, source };
        self.rejects.record(from, &rejected, &self.task).await?;
        let (accepted, duplicates, version) = match target.snapshot_key() {
            Some(_) => self.upsert(&target, batches, label("APPEND"), &self.task).await?.counts(),
            None => self.append_batches(&target, &batches).await?,
        };
        tracing::debug!(table = %target.name, accepted, duplicates, rejected = rejected.len(), %version, "rows appended");
        Ok(AppendReport { accepted, duplicates, rejected, version, replayed: false })
    }

    /// Rows accepted, duplicates, version.
    async fn append_batches(
        &self,
        target: &Target,
        batches: &[Batch<Valid>],
    ) -> Result<(u64, u64, TableVersion), IngestError> {
        let guard = target.writer.lock().await;
        for _ in 0..DEDUP_ATTEMPTS {
            let snapshot = guard.advance(&self.task).await?;
            let mut dedup = self.targets.dedup(target)?;
            let unique: Vec<Batch<Unique>> =
                batches.iter().map(|batch| dedup.apply(batch.clone())).collect::<Result<_, _>>()?;
            let accepted = unique.iter().map(|batch| batch.row_count() as u64).sum();
            let duplicates = dedup.duplicates();
            if accepted == 0 {
                return Ok((0, duplicates, snapshot.version()));
            }
            let files = self.write_batches(target, unique).await?;
            let staged = Staged { files, pending: dedup.into_pending() };
            match guard.seal(staged, label("APPEND"), &self.task).await? {
                Sealed::Committed(version) | Sealed::AlreadyCommitted(version) => {
                    return Ok((accepted, duplicates, version));
                }
                Sealed::Repeats => {}
            }
        }
        Err(StorageError::Crowded { table: target.name.clone() }.into())
    }

    async fn write_batches(
        &self,
        target: &Target,
        batches: Vec<Batch<Unique>>,
    ) -> Result<Vec<StagedFile>, IngestError> {
        let rows = stream(target.columns.clone(), batches.into_iter().map(|batch| batch.rows).collect());
        let options = WriteOptions { order: InputOrder::Unsorted, context: self.task.clone() };
        Ok(target.writer.table.write_files(rows, options).await?)
    }
}

/// A commit without transaction or details.
pub(super) fn label(operation: &'static str) -> CommitLabel {
    CommitLabel { operation, transaction: None, info: BTreeMap::new() }
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
