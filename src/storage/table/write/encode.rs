//! One row group: its columns encoded in parallel.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;

use super::split::RowGroup;

/// Columns of one row group encoded at once, at most.
const LANES_MAX: usize = 4;
/// Below this many rows a second thread costs more than it saves.
const PARALLEL_ROWS_MIN: usize = 16_384;

/// One top-level column: its place, the writers of its leaves.
type Job = (usize, Vec<ArrowColumnWriter>);
type Encoded = (usize, Vec<ArrowColumnChunk>);

/// The column chunks of `group`, in leaf order.
pub(super) async fn encode(
    schema: SchemaRef,
    parquet_schema: &SchemaDescriptor,
    writers: Vec<ArrowColumnWriter>,
    group: RowGroup,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut jobs: Vec<Job> = (0..schema.fields().len()).map(|root| (root, Vec::new())).collect();
    for (leaf, writer) in writers.into_iter().enumerate() {
        if let Some((_, leaves)) = jobs.get_mut(parquet_schema.get_column_root_idx(leaf)) {
            leaves.push(writer);
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let lanes = if group.rows < PARALLEL_ROWS_MIN { 1 } else { cores.min(LANES_MAX) };
    let queue = Arc::new(Mutex::new(jobs));
    let group = Arc::new(group);
    let workers: Vec<_> = (0..lanes)
        .map(|_| {
            let (schema, queue, group) = (schema.clone(), queue.clone(), group.clone());
            tokio::task::spawn_blocking(move || encode_jobs(&schema, &queue, &group.batches))
        })
        .collect();
    let mut encoded: Vec<Encoded> = Vec::with_capacity(schema.fields().len());
    for worker in workers {
        let chunks = worker.await.map_err(|failure| ParquetError::External(Box::new(failure)))?;
        encoded.extend(chunks?);
    }
    encoded.sort_by_key(|(root, _)| *root);
    Ok(encoded.into_iter().flat_map(|(_, chunks)| chunks).collect())
}

/// Takes columns from the queue until it is empty.
fn encode_jobs(
    schema: &SchemaRef,
    queue: &Mutex<Vec<Job>>,
    batches: &[RecordBatch],
) -> Result<Vec<Encoded>, ParquetError> {
    let mut encoded = Vec::new();
    loop {
        let Some((root, mut writers)) = queue.lock().pop() else { return Ok(encoded) };
        for batch in batches {
            let leaves = compute_leaves(schema.field(root), batch.column(root))?;
            for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                writer.write(leaf)?;
            }
        }
        let chunks = writers.into_iter().map(ArrowColumnWriter::close).collect::<Result<Vec<_>, _>>()?;
        encoded.push((root, chunks));
    }
}
