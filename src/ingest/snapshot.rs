//! Snapshot tables (`kind='snapshot', key='…'`): each load is the new state of its keys.
//!
//! Of several rows with one key in a load the last wins. When none of the keys is in the table the rows are appended;
//! otherwise the table is written anew, old rows of these keys left out, and replaced in one commit. That is right for
//! catalogs of a few million rows; the rows of one load are held in memory, up to [`LOAD_BYTES_MAX`].

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use super::IngestError;
use super::append::stream;
use super::batch::{Batch, Valid};
use super::ingestor::Core;
use super::key_hash::hash_keys;
use super::key_probe::read_columns;
use super::key_set::KeySet;
use super::target::Target;
use super::writer::CommitLabel;
use crate::base::ByteSize;
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, InputOrder, StorageError, TableSnapshot, TableVersion, WriteOptions,
};

/// Memory for the rows of one load into a snapshot table.
pub const LOAD_BYTES_MAX: ByteSize = ByteSize::mib(1_024);
const UPSERT_ATTEMPTS: usize = 20;

/// What an upsert did.
#[derive(Debug)]
pub enum Upserted {
    Committed { accepted: u64, superseded: u64, version: TableVersion },
    AlreadyCommitted(TableVersion),
}

impl Upserted {
    /// Rows accepted, rows superseded by a later one of the same load, version.
    pub fn counts(&self) -> (u64, u64, TableVersion) {
        match self {
            Self::Committed { accepted, superseded, version } => (*accepted, *superseded, *version),
            Self::AlreadyCommitted(version) => (0, 0, *version),
        }
    }
}

/// The last row of each key, in the order they came, and the keys.
struct NewState {
    batches: Vec<RecordBatch>,
    keys: Arc<KeySet>,
    accepted: u64,
    superseded: u64,
}

/// Fails when rows gathered for one load are more than a snapshot table's load may hold.
pub fn check_size(bytes: usize) -> Result<(), IngestError> {
    if bytes as u64 <= LOAD_BYTES_MAX.bytes() {
        return Ok(());
    }
    let message =
        format!("one load into a snapshot table is limited to {LOAD_BYTES_MAX} of rows in memory; split the file");
    Err(IngestError::Exhausted { message })
}

impl Core {
    /// Makes the rows the new state of their keys, in one commit.
    pub(super) async fn upsert(
        &self,
        target: &Target,
        batches: Vec<Batch<Valid>>,
        label: CommitLabel,
        task: &Arc<TaskContext>,
    ) -> Result<Upserted, IngestError> {
        check_size(batches.iter().map(|batch| batch.rows.get_array_memory_size()).sum())?;
        let key = target.snapshot_key().unwrap_or_default();
        let new = last_of_each_key(batches, key)?;
        let table = &target.writer.table;
        let guard = target.writer.lock().await;
        for _ in 0..UPSERT_ATTEMPTS {
            let snapshot = table.current();
            if new.accepted == 0 && label.transaction.is_none() {
                return Ok(Upserted::Committed { accepted: 0, superseded: 0, version: snapshot.version() });
            }
            let replaces = holds_any(&snapshot, key, &new.keys, task).await?;
            // A column added since the rows were decoded is kept for the others, and NULL in these.
            let columns = snapshot.columns();
            let new_rows = stream(columns.clone(), widened(&new.batches, &columns)?);
            let (mode, rows) = match replaces {
                false => (CommitMode::Append, new_rows),
                true => {
                    let others = others(&columns, &snapshot, key, &new.keys, task).await?;
                    (CommitMode::Replace, chain(columns, others, new_rows))
                }
            };
            let options = WriteOptions { order: InputOrder::Unsorted, context: task.clone() };
            let files = if new.accepted == 0 { Vec::new() } else { table.write_files(rows, options).await? };
            let request = CommitRequest {
                files: files.clone(),
                mode,
                transactions: label.transaction.iter().cloned().collect(),
                fence: None,
                expected: Some(snapshot.version()),
                operation: label.operation,
                info: label.info.clone(),
            };
            match table.commit(request).await {
                Ok(CommitOutcome::Committed(version)) => {
                    drop(guard);
                    let NewState { accepted, superseded, .. } = new;
                    return Ok(Upserted::Committed { accepted, superseded, version });
                }
                Ok(CommitOutcome::AlreadyCommitted(version)) => return Ok(Upserted::AlreadyCommitted(version)),
                Err(StorageError::VersionMoved { .. }) => {
                    table.discard(files).await;
                    table.refresh().await?;
                }
                // Files of a commit that may have landed after all are kept: storage knows which.
                Err(error) => {
                    table.discard(files).await;
                    return Err(error.into());
                }
            }
        }
        Err(StorageError::Crowded { table: target.name.clone() }.into())
    }
}

fn key_hashes(batch: &RecordBatch, key: &[String]) -> Result<Vec<u128>, DataFusionError> {
    let column = |name: &String| {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| DataFusionError::Execution(format!("the table's files have no column '{name}', its key")))
    };
    let columns: Vec<ArrayRef> = key.iter().map(column).collect::<Result<_, _>>()?;
    Ok(hash_keys(&columns)?)
}

fn engine(error: DataFusionError) -> IngestError {
    StorageError::engine("read the present rows of a snapshot table", error).into()
}

fn last_of_each_key(batches: Vec<Batch<Valid>>, key: &[String]) -> Result<NewState, IngestError> {
    let mut keys = KeySet::default();
    let mut kept = Vec::with_capacity(batches.len());
    let (mut accepted, mut superseded) = (0, 0);
    for batch in batches.into_iter().rev() {
        let rows = batch.rows;
        let hashes = key_hashes(&rows, key).map_err(engine)?;
        let mut last: Vec<bool> = hashes.iter().rev().map(|hash| keys.insert(*hash, 0)).collect();
        last.reverse();
        let last = BooleanArray::from(last);
        accepted += last.true_count() as u64;
        superseded += last.false_count() as u64;
        let rows = if last.false_count() == 0 {
            rows
        } else {
            filter_record_batch(&rows, &last).map_err(|error| engine(error.into()))?
        };
        kept.push(rows);
    }
    kept.reverse();
    Ok(NewState { batches: kept, keys: Arc::new(keys), accepted, superseded })
}

/// Whether the table has any of the keys.
async fn holds_any(
    snapshot: &Arc<TableSnapshot>,
    key: &[String],
    keys: &KeySet,
    task: &Arc<TaskContext>,
) -> Result<bool, IngestError> {
    if snapshot.row_count() == 0 || keys.is_empty() {
        return Ok(false);
    }
    let columns: Vec<&str> = key.iter().map(String::as_str).collect();
    let mut present = read_columns(snapshot.provider(), &columns, None, task).await.map_err(engine)?;
    while let Some(batch) = present.try_next().await.map_err(engine)? {
        if key_hashes(&batch, key).map_err(engine)?.into_iter().any(|hash| keys.contains(hash)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The present rows of all other keys.
async fn others(
    columns: &SchemaRef,
    snapshot: &Arc<TableSnapshot>,
    key: &[String],
    keys: &Arc<KeySet>,
    task: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, IngestError> {
    let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    let present = read_columns(snapshot.provider(), &names, None, task).await.map_err(engine)?;
    let (keys, key, schema) = (keys.clone(), key.to_vec(), columns.clone());
    let kept = present.map(move |batch| {
        let batch = batch?;
        let known = keys.contains_each(&key_hashes(&batch, &key)?);
        let other: BooleanArray = known.into_iter().map(|known| Some(!known)).collect();
        let batch = filter_record_batch(&batch, &other)?;
        let pairs = batch.columns().iter().zip(schema.fields());
        let arrays = pairs.map(|(array, field)| arrow::compute::cast(array, field.data_type()));
        Ok(RecordBatch::try_new(schema.clone(), arrays.collect::<Result<_, _>>()?)?)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(columns.clone(), kept)))
}

fn chain(
    columns: SchemaRef,
    one: SendableRecordBatchStream,
    other: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(columns, one.chain(other)))
}

/// The batches with the columns at the end of `columns` that they do not have yet.
fn widened(batches: &[RecordBatch], columns: &SchemaRef) -> Result<Vec<RecordBatch>, IngestError> {
    let widen = |batch: &RecordBatch| {
        let mut arrays = batch.columns().to_vec();
        let added = columns.fields().iter().skip(arrays.len());
        arrays.extend(added.map(|field| new_null_array(field.data_type(), batch.num_rows())));
        RecordBatch::try_new(columns.clone(), arrays).map_err(|error| engine(error.into()))
    };
    batches.iter().map(widen).collect()
}
