//! Working rows in order → files: a new one for every partition and whenever one has grown large; row groups within.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::Array;
use arrow::compute::partition;
use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::value::partition_text;
use super::{ENCODE_BUDGET_MIB, FILES_AT_ONCE, ROW_GROUP_BYTES_MAX, StagedFile, WritePlan, file};
use crate::storage::StorageError;

/// Values of the partition columns, as the log writes them.
pub(super) type PartitionKey = Vec<Option<String>>;

/// Rows to be encoded together, and the share of the memory budget they hold.
pub(super) struct RowGroup {
    pub batches: Vec<RecordBatch>,
    pub rows: usize,
    _share: OwnedSemaphorePermit,
}

/// The files of one write.
pub(super) struct Files {
    plan: Arc<WritePlan>,
    open: Option<OpenFile>,
    budget: Arc<Semaphore>,
    writing: JoinSet<Result<(usize, StagedFile), StorageError>>,
    begun: usize,
    done: Vec<(usize, StagedFile)>,
}

struct OpenFile {
    key: PartitionKey,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    groups: mpsc::Sender<RowGroup>,
    /// Encoded so far; lags behind by the row groups in work.
    written: Arc<AtomicU64>,
}

impl Files {
    pub fn new(plan: Arc<WritePlan>) -> Self {
        let budget = Arc::new(Semaphore::new(ENCODE_BUDGET_MIB as usize));
        Self { plan, open: None, budget, writing: JoinSet::new(), begun: 0, done: Vec::new() }
    }

    /// Takes the next working rows.
    pub async fn push(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let partition_count = self.plan.partition_fields.len();
        let (keys, _) = batch.columns().split_at(partition_count);
        let file_columns: Vec<usize> = (partition_count..batch.num_columns()).collect();
        let engine = |error: arrow::error::ArrowError| StorageError::engine("split rows by partition", error.into());
        let ranges = match keys {
            [] => std::iter::once(0..batch.num_rows()).collect(),
            keys => partition(keys).map_err(engine)?.ranges(),
        };
        let rows = batch.project(&file_columns).map_err(engine)?;
        for range in ranges {
            let named = self.plan.partition_fields.iter().zip(keys);
            let key = named.map(|(field, values)| partition_text(field.name(), values, range.start));
            let key = key.collect::<Result<PartitionKey, _>>()?;
            self.turn_to(key).await?;
            self.append(rows.slice(range.start, range.len())).await?;
        }
        Ok(())
    }

    /// Ends the open file unless it is of partition `key`, and opens one for it.
    async fn turn_to(&mut self, key: PartitionKey) -> Result<(), StorageError> {
        if self.open.as_ref().is_some_and(|open| open.key == key) {
            return Ok(());
        }
        self.close().await?;
        self.begin(key).await
    }

    async fn begin(&mut self, key: PartitionKey) -> Result<(), StorageError> {
        while self.writing.len() >= FILES_AT_ONCE {
            self.collect_one().await?;
        }
        let (groups, incoming) = mpsc::channel(1);
        let written = Arc::new(AtomicU64::new(0));
        let number = self.begun;
        self.begun += 1;
        let work = file::write(self.plan.clone(), key.clone(), incoming, written.clone());
        self.writing.spawn(async move { Ok((number, work.await?)) });
        self.open = Some(OpenFile { key, batches: Vec::new(), rows: 0, bytes: 0, groups, written });
        Ok(())
    }

    async fn append(&mut self, mut rows: RecordBatch) -> Result<(), StorageError> {
        while rows.num_rows() > 0 {
            let Some(open) = self.open.as_mut() else { return Ok(()) };
            let room = self.plan.config.row_group_rows.max(1) - open.rows;
            let part = rows.slice(0, room.min(rows.num_rows()));
            rows = rows.slice(part.num_rows(), rows.num_rows() - part.num_rows());
            open.rows += part.num_rows();
            open.bytes += bytes_of(&part);
            open.batches.push(part);
            if open.rows >= self.plan.config.row_group_rows || open.bytes >= ROW_GROUP_BYTES_MAX {
                self.send_row_group().await?;
                self.roll_over().await?;
            }
        }
        Ok(())
    }

    /// Begins another file of the same partition once the open one is large.
    async fn roll_over(&mut self) -> Result<(), StorageError> {
        let target = self.plan.config.target_file_size.0;
        let full = self.open.as_ref().filter(|open| open.written.load(Ordering::Relaxed) >= target);
        let Some(key) = full.map(|open| open.key.clone()) else { return Ok(()) };
        self.close().await?;
        self.begin(key).await
    }

    async fn send_row_group(&mut self) -> Result<(), StorageError> {
        let Some(open) = self.open.as_mut().filter(|open| open.rows > 0) else { return Ok(()) };
        let mib = u32::try_from(open.bytes >> 20).unwrap_or(u32::MAX).clamp(1, ENCODE_BUDGET_MIB);
        let closed = |_| StorageError::Invalid { message: "the write was stopped".to_owned() };
        let share = self.budget.clone().acquire_many_owned(mib).await.map_err(closed)?;
        let batches = std::mem::take(&mut open.batches);
        let group = RowGroup { batches, rows: std::mem::take(&mut open.rows), _share: share };
        open.bytes = 0;
        if open.groups.send(group).await.is_err() {
            // The file's task has ended before its input did: its error is the reason.
            while !self.writing.is_empty() {
                self.collect_one().await?;
            }
        }
        Ok(())
    }

    /// Ends the open file; the next row begins another.
    pub async fn close(&mut self) -> Result<(), StorageError> {
        self.send_row_group().await?;
        self.open = None;
        Ok(())
    }

    async fn collect_one(&mut self) -> Result<(), StorageError> {
        match self.writing.join_next().await {
            Some(Ok(Ok(numbered))) => self.done.extend((numbered.1.rows > 0).then_some(numbered)),
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(failure)) => {
                return Err(StorageError::Invalid { message: format!("writing a file did not finish: {failure}") });
            }
            None => {}
        }
        Ok(())
    }

    /// All files in the order of their rows, once each is durable in the store, and the first error. Unless
    /// `complete`, rows of the open file are left out.
    pub async fn finish(mut self, complete: bool) -> (Vec<StagedFile>, Option<StorageError>) {
        let mut failure = None;
        if complete {
            failure = self.close().await.err();
        }
        self.open = None;
        // Otherwise a file may be durable that nobody knows of: those in work are waited for, so that they can be deleted.
        if failure.is_some() {
            self.writing.abort_all();
        }
        while !self.writing.is_empty() {
            if let Err(error) = self.collect_one().await
                && failure.is_none()
            {
                failure = Some(error);
                self.writing.abort_all();
            }
        }
        self.done.sort_by_key(|(number, _)| *number);
        (self.done.into_iter().map(|(_, file)| file).collect(), failure)
    }
}

/// Bytes of the rows themselves: a slice shares its buffers with others.
fn bytes_of(rows: &RecordBatch) -> usize {
    let sizes = rows.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    sizes.map(|size| size.unwrap_or_default()).sum()
}
