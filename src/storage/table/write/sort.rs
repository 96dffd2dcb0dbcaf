//! Rows into the table's order: partition, then `sort_by`; ascending, nulls last.
//!
//! Few rows (an insert, a request) are sorted where they are. More go through DataFusion's sort, which spills: several
//! sorts share one input, a merge joins them, so that all cores work.

use std::fmt;
use std::sync::Arc;

use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::{SortExec, sort_batch};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use super::prepare::{prepare, prepared};
use super::{WritePlan, by_rows};
use crate::storage::StorageError;

/// Up to this many rows and bytes are sorted at once, without a plan.
const SMALL_ROWS: usize = 65_536;
const SMALL_BYTES: usize = 32 << 20;
/// Sorts sharing one input.
const LANES_MAX: usize = 4;

/// The working rows in order.
pub(super) async fn sorted(
    plan: Arc<WritePlan>,
    mut rows: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, StorageError> {
    let Some(order) = order(&plan) else { return Ok(prepared(plan, rows)) };
    let mut first = Vec::new();
    let (mut row_count, mut bytes) = (0, 0);
    while row_count <= SMALL_ROWS && bytes <= SMALL_BYTES {
        match rows.next().await {
            Some(Ok(batch)) => {
                row_count += batch.num_rows();
                bytes += batch.get_array_memory_size();
                first.push(batch);
            }
            Some(Err(error)) => return Err(StorageError::engine("read the rows to write", error)),
            None => return sorted_in_memory(plan, first, order).await,
        }
    }
    sorted_by_engine(plan, first, rows, order, context)
}

/// `None` when the table has neither partitions nor an order.
pub(super) fn order(plan: &WritePlan) -> Option<LexOrdering> {
    let partitions = 0..plan.partition_fields.len();
    let named = plan.sort_columns.iter().filter_map(|name| {
        let within = plan.file_schema.index_of(name).ok()?;
        Some(plan.partition_fields.len() + within)
    });
    let options = SortOptions { descending: false, nulls_first: false };
    let keys = partitions.chain(named).map(|at| {
        let column = Column::new(plan.working_schema.field(at).name(), at);
        PhysicalSortExpr::new(Arc::new(column), options)
    });
    LexOrdering::new(keys)
}

async fn sorted_in_memory(
    plan: Arc<WritePlan>,
    batches: Vec<RecordBatch>,
    order: LexOrdering,
) -> Result<SendableRecordBatchStream, StorageError> {
    let schema = plan.working_schema.clone();
    let work = move || {
        let failed = |error: DataFusionError| StorageError::engine("sort the rows to write", error);
        let working = batches.iter().map(|batch| prepare(&plan, batch)).collect::<Result<Vec<_>, _>>()?;
        if order.len() > 1 {
            return by_rows::sorted(&plan, &working, &order).and_then(Iterator::collect).map_err(failed);
        }
        let joined = concat_batches(&plan.working_schema, &working).map_err(|error| failed(error.into()))?;
        match joined.num_rows() {
            0 => Ok(vec![joined]),
            _ => Ok(vec![sort_batch(&joined, &order, None).map_err(failed)?]),
        }
    };
    let sorted: Vec<RecordBatch> = tokio::task::spawn_blocking(work).await.map_err(|error| {
        StorageError::Invalid { message: format!("sorting the rows to write did not finish: {error}") }
    })??;
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(sorted.into_iter().map(Ok)))))
}

pub(super) fn sorted_by_engine(
    plan: Arc<WritePlan>,
    first: Vec<RecordBatch>,
    rest: SendableRecordBatchStream,
    order: LexOrdering,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, StorageError> {
    let failed = |error: DataFusionError| StorageError::engine("sort the rows to write", error);
    let incoming = rest.schema();
    let all = stream::iter(first.into_iter().map(Ok)).chain(rest);
    let all: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(incoming, all));
    let input = Arc::new(Mutex::new(all));
    let lanes = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(LANES_MAX));
    let schema = plan.working_schema.clone();
    let sources: Vec<Arc<dyn PartitionStream>> = (0..lanes)
        .map(|_| Arc::new(Lane { plan: plan.clone(), input: input.clone() }) as Arc<dyn PartitionStream>)
        .collect();
    let source = StreamingTableExec::try_new(schema, sources, None, [], false, None).map_err(failed)?;
    let sort = SortExec::new(order.clone(), Arc::new(source)).with_preserve_partitioning(true);
    let merge = SortPreservingMergeExec::new(order, Arc::new(sort));
    merge.execute(0, context).map_err(failed)
}

/// One of several readers of one stream; each batch goes to one of them.
struct Lane {
    plan: Arc<WritePlan>,
    input: Arc<Mutex<SendableRecordBatchStream>>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane")
    }
}

impl PartitionStream for Lane {
    fn schema(&self) -> &SchemaRef {
        &self.plan.working_schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let shared = (self.plan.clone(), self.input.clone());
        let batches = stream::unfold(shared, |(plan, input)| async move {
            let batch = input.lock().await.next().await?;
            let working = batch.and_then(|batch| prepare(&plan, &batch).map_err(super::prepare::external));
            Some((working, (plan, input)))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.plan.working_schema.clone(), batches))
    }
}
