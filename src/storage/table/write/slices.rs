//! Rows that come in slices, one behind the other in the table's order: each is sorted by itself while the one before it is
//! written, so that many rows are sorted in little memory and nothing is merged.
//!
//! ```text
//!   slice 1 ─ collect ─ sort ─► ┐
//!   slice 2 ─ collect ─ sort ─► ├─ in their order ─► split ─► files
//!   slice 3 ─ collect …         ┘
//! ```
//! That slices follow one another is checked at each seam: one that does not begins new files, and every file is in order.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter};
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use super::by_rows::{self, converter};
use super::prepare::{check_columns, prepare, prepared};
use super::sort::{order, sorted_by_engine};
use super::split::Files;
use super::{StagedFile, Table, WritePlan};
use crate::storage::StorageError;

/// Slices in work behind the one that is written, at most.
const AHEAD_MAX: usize = 4;

/// Opens the rows of a slice; not started before it is its turn.
pub type Slice<E = DataFusionError> = BoxFuture<'static, Result<SendableRecordBatchStream, E>>;

impl Table {
    /// Writes slices as [`Table::write_files`] writes rows: in `spec.columns` order, in any order within a slice. Each should belong
    /// behind the one before it.
    ///
    /// # Errors
    /// The first of a slice; files already written are deleted.
    pub async fn write_slices(
        &self,
        slices: Vec<Slice>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<StagedFile>, StorageError> {
        let plan = Arc::new(WritePlan::of(self));
        let mut files = Files::new(plan.clone());
        let written = self.write_each(&plan, slices, context, &mut files).await;
        let (staged, ending) = files.finish(written.is_ok()).await;
        match written.err().or(ending) {
            None => Ok(staged),
            Some(error) => {
                self.discard(staged).await;
                Err(error)
            }
        }
    }

    async fn write_each(
        &self,
        plan: &Arc<WritePlan>,
        slices: Vec<Slice>,
        context: Arc<TaskContext>,
        files: &mut Files,
    ) -> Result<(), StorageError> {
        let failed = |error: DataFusionError| StorageError::engine(self.writing_rows(), error);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(AHEAD_MAX));
        let sorting = |slice: Slice| -> Slice<StorageError> { Box::pin(sorted(plan.clone(), slice, context.clone())) };
        let sorting: Vec<Slice<StorageError>> = slices.into_iter().map(sorting).collect();
        let mut sorted = stream::iter(sorting).buffered(cores);
        let mut seam = Seam::of(plan).map_err(failed)?;
        while let Some(slice) = sorted.next().await {
            let mut slice = slice?;
            let mut is_first = true;
            while let Some(batch) = slice.next().await {
                let batch = batch.map_err(failed)?;
                if batch.num_rows() == 0 {
                    continue;
                }
                if std::mem::take(&mut is_first) && !seam.follows(&batch).map_err(failed)? {
                    files.close().await?;
                }
                files.push(&batch).await?;
                seam.reaches(&batch).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The last row written so far, by the order columns. Batches have rows.
struct Seam {
    by: Option<(datafusion::physical_expr::LexOrdering, RowConverter)>,
    last: Option<OwnedRow>,
}

impl Seam {
    fn of(plan: &WritePlan) -> Result<Self, DataFusionError> {
        let by = order(plan).map(|order| Ok::<_, DataFusionError>((order.clone(), converter(&order, plan)?)));
        Ok(Self { by: by.transpose()?, last: None })
    }

    /// Whether the first row of `batch` belongs behind what has been written.
    fn follows(&self, batch: &RecordBatch) -> Result<bool, DataFusionError> {
        let Some(last) = &self.last else { return Ok(true) };
        let first = self.row(batch, 0)?;
        Ok(first.is_none_or(|first| first >= *last))
    }

    fn reaches(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        self.last = self.row(batch, batch.num_rows() - 1)?;
        Ok(())
    }

    fn row(&self, batch: &RecordBatch, at: usize) -> Result<Option<OwnedRow>, DataFusionError> {
        let Some((order, converter)) = &self.by else { return Ok(None) };
        let columns = by_rows::columns(order, &batch.slice(at, 1))?;
        Ok(Some(converter.convert_columns(&columns)?.row(0).owned()))
    }
}

/// The working rows of a slice in order: sorted at once where memory is left for it, else by the engine, which spills.
async fn sorted(
    plan: Arc<WritePlan>,
    slice: Slice,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, StorageError> {
    let failed = |error: DataFusionError| StorageError::engine("read the rows to write", error);
    let mut rows = slice.await.map_err(failed)?;
    check_columns(&plan, &rows.schema())?;
    let Some(order) = order(&plan) else { return Ok(prepared(plan, rows)) };
    let reservation = MemoryConsumer::new("slice").register(context.memory_pool());
    let mut batches = Vec::new();
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        let bytes = by_rows::memory_of(&batch);
        batches.push(batch);
        if reservation.try_grow(bytes).is_err() {
            reservation.free();
            return sorted_by_engine(plan, batches, rows, order, context);
        }
    }
    let work = move || sorted_in_memory(&plan, &batches, &order, reservation);
    tokio::task::spawn_blocking(work).await.map_err(|error| StorageError::Invalid {
        message: format!("sorting the rows to write did not finish: {error}"),
    })?
}

fn sorted_in_memory(
    plan: &WritePlan,
    batches: &[RecordBatch],
    order: &datafusion::physical_expr::LexOrdering,
    reservation: MemoryReservation,
) -> Result<SendableRecordBatchStream, StorageError> {
    let failed = |error: DataFusionError| StorageError::engine("sort the rows to write", error);
    let working = batches.iter().map(|batch| prepare(plan, batch)).collect::<Result<Vec<_>, _>>()?;
    let sorted = by_rows::sorted(plan, &working, order).map_err(failed)?;
    // What is left are the joined rows and their order.
    reservation.shrink(reservation.size() / 2);
    // The memory is given back with the last batch.
    let held = stream::iter(sorted).map(move |batch| {
        let _held = &reservation;
        batch
    });
    Ok(Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(plan.working_schema.clone(), held)))
}
