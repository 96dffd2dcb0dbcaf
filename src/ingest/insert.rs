//! `append_stream`: the rows of an INSERT, all or none, in one commit.
//!
//! The statement holds the table's writer lock while it runs: its rows can be read only once, so nobody of this process
//! may commit the same events meanwhile. When another process does, the statement fails as a conflict and can be run again.

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Decoded, Lines, Valid};
use super::decode::rows::nullable;
use super::dedup::Dedup;
use super::ingestor::Core;
use super::snapshot::check_size;
use super::target::Target;
use super::validate::{Arrival, Validator};
use super::writer::{CommitLabel, Sealed, Staged};
use super::{AppendReport, IngestError};
use crate::storage::{InputOrder, StorageError, WriteOptions};

/// What the stream of an INSERT does to each batch, and what it has counted.
struct Inserting {
    columns: SchemaRef,
    nullable: SchemaRef,
    validator: Validator,
    next_row: u64,
    accepted: u64,
}

impl Inserting {
    fn new(target: &Target, validator: Validator) -> Self {
        let columns = target.columns.clone();
        Self { nullable: nullable(&columns), columns, validator, next_row: 1, accepted: 0 }
    }

    fn validate(&mut self, rows: &RecordBatch) -> Result<Batch<Valid>, IngestError> {
        let rows = conform(rows, &self.nullable)?;
        let state = Decoded { lines: Lines::From(self.next_row), texts: None };
        self.next_row += rows.num_rows() as u64;
        let validated = self.validator.validate(Batch { rows, state })?;
        match validated.rejected.first() {
            None => Ok(validated.batch),
            Some(first) => {
                let sentence = first.sentence().replacen("line", "row", 1);
                Err(IngestError::Invalid {
                    message: format!("{sentence}; nothing was inserted. The row: {}", first.shown()),
                })
            }
        }
    }
}

/// The rows in the table's types: query has cast them, layouts of the same type may still differ.
fn conform(rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, IngestError> {
    let failed = |error| IngestError::Invalid { message: format!("the rows do not fit the table: {error}") };
    // A column was added a moment ago: the rows have no value for it yet.
    let added = columns.fields().iter().skip(rows.num_columns());
    let fits = rows.num_columns() <= columns.fields().len() && added.clone().all(|field| field.is_nullable());
    if !fits {
        let (given, wanted) = (rows.num_columns(), columns.fields().len());
        return Err(IngestError::Invalid { message: format!("the rows have {given} columns, the table has {wanted}") });
    }
    let pairs = rows.columns().iter().zip(columns.fields());
    let arrays = pairs.map(|(array, field)| {
        if array.data_type() == field.data_type() { Ok(array.clone()) } else { cast(array, field.data_type()) }
    });
    let mut arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    arrays.extend(added.map(|field| new_null_array(field.data_type(), rows.num_rows())));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(columns.clone(), arrays, &options).map_err(failed)
}

impl Core {
    pub(super) async fn append_stream(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        let target = self.targets.resolve(table).await?;
        self.insert(target, rows, task, cancel).await
    }

    pub(super) async fn insert(
        &self,
        target: Target,
        rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        let validator = self.targets.validator(&target, Arrival::Backfill);
        let inserting = Inserting::new(&target, validator);
        let inserted = match target.snapshot_key() {
            Some(_) => self.insert_snapshot(&target, inserting, rows, &task).await,
            None => self.insert_events(&target, inserting, rows, &task, &cancel).await,
        };
        let report = self.told(&target, inserted).await?;
        let AppendReport { accepted, duplicates, version, .. } = &report;
        tracing::info!(table = %target.name, accepted, duplicates, %version, "rows inserted");
        Ok(report)
    }

    async fn insert_snapshot(
        &self,
        target: &Target,
        mut inserting: Inserting,
        mut rows: SendableRecordBatchStream,
        task: &Arc<TaskContext>,
    ) -> Result<AppendReport, IngestError> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = rows.try_next().await.map_err(source_failed)? {
            bytes += batch.get_array_memory_size();
            check_size(bytes)?;
            batches.push(inserting.validate(&batch)?);
        }
        let (accepted, duplicates, version) =
            self.upsert(target, batches, CommitLabel::plain("INSERT"), task).await?.counts();
        Ok(AppendReport { accepted, duplicates, rejected: Vec::new(), version, replayed: false })
    }

    async fn insert_events(
        &self,
        target: &Target,
        inserting: Inserting,
        rows: SendableRecordBatchStream,
        task: &Arc<TaskContext>,
        cancel: &CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        let guard = target.writer.lock().await;
        if target.writer.index.is_some() {
            // Keys of rows that another process has deleted are no duplicates.
            target.writer.table.refresh().await?;
        }
        let snapshot = guard.advance(task).await?;
        let schema = inserting.columns.clone();
        let work = Arc::new(tokio::sync::Mutex::new((inserting, target.dedup(task)?)));
        let failure: Arc<Mutex<Option<IngestError>>> = Arc::default();
        let checked = rows.then({
            let (work, failure, cancel) = (work.clone(), failure.clone(), cancel.clone());
            move |batch| {
                let (work, failure, cancel) = (work.clone(), failure.clone(), cancel.clone());
                async move {
                    let result = if cancel.is_cancelled() {
                        Err(IngestError::Cancelled)
                    } else {
                        Self::check(&work, batch).await
                    };
                    // The writer only sees that the stream failed; the reason comes back beside it.
                    result.map_err(|error| {
                        *failure.lock() = Some(error);
                        DataFusionError::Execution("the rows to insert were not accepted".to_owned())
                    })
                }
            }
        });
        let checked = Box::pin(RecordBatchStreamAdapter::new(schema, checked));
        let options = WriteOptions { order: InputOrder::Unsorted, context: task.clone() };
        let written = target.writer.table.write_files(checked, options).await;
        if let Some(error) = failure.lock().take() {
            return Err(error);
        }
        let files = written?;
        let Some((inserting, dedup)) = Arc::into_inner(work).map(tokio::sync::Mutex::into_inner) else {
            return Err(IngestError::Internal { message: "rows are still read after they were written".to_owned() });
        };
        let (accepted, duplicates) = (inserting.accepted, dedup.duplicates());
        let mut report =
            AppendReport { accepted, duplicates, rejected: Vec::new(), version: snapshot.version(), replayed: false };
        if accepted == 0 {
            return Ok(report);
        }
        let staged = Staged { files, pending: dedup.into_pending() };
        report.version = match guard.seal(staged, CommitLabel::plain("INSERT"), task).await? {
            Sealed::Committed(version) | Sealed::AlreadyCommitted(version) => version,
            Sealed::Repeats => return Err(StorageError::Crowded { table: target.name.clone() }.into()),
        };
        Ok(report)
    }

    async fn check(
        work: &tokio::sync::Mutex<(Inserting, Dedup)>,
        batch: Result<RecordBatch, DataFusionError>,
    ) -> Result<RecordBatch, IngestError> {
        let batch = batch.map_err(source_failed)?;
        let mut work = work.lock().await;
        let (inserting, dedup) = &mut *work;
        let valid = inserting.validate(&batch)?;
        let unique = dedup.apply(valid).await?;
        inserting.accepted += unique.row_count() as u64;
        Ok(unique.rows)
    }
}

/// The query that gives the rows failed; its own error says why.
fn source_failed(error: DataFusionError) -> IngestError {
    IngestError::Source(Box::new(error))
}
