//! Rows on their way into a view's table: brought to the stored columns, written to files nobody sees yet.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::MaterializeError;
use crate::storage::{InputOrder, StagedFile, Table, WriteOptions, storable_type};

/// Files of `rows`, which are in the stored columns.
///
/// # Errors
/// What reading the rows meets; cancelled.
pub(super) async fn write(
    view: &str,
    table: &Table,
    rows: SendableRecordBatchStream,
    task: &Arc<TaskContext>,
    cancel: &CancellationToken,
) -> Result<Vec<StagedFile>, MaterializeError> {
    let options = WriteOptions { order: InputOrder::Unsorted, context: task.clone() };
    match table.write_files(rows, options).await {
        Err(_) if cancel.is_cancelled() => Err(MaterializeError::Cancelled { view: view.to_owned() }),
        other => Ok(other?),
    }
}

/// The query's rows in the stored column types (such as view strings to plain ones), ending in an error once cancelled.
pub(super) fn conform(
    view: &str,
    rows: SendableRecordBatchStream,
    stored: SchemaRef,
    cancel: CancellationToken,
) -> Result<SendableRecordBatchStream, MaterializeError> {
    let found = rows.schema();
    for (field, wanted) in found.fields().iter().zip(stored.fields()) {
        if field.name() != wanted.name() || !is_stored_as(field.data_type(), wanted.data_type()) {
            return Err(changed(view, field.name(), &field.data_type().to_string(), &wanted.to_string()));
        }
    }
    if found.fields().len() != stored.fields().len() {
        let counts = (format!("one of {} columns", found.fields().len()), format!("one of {}", stored.fields().len()));
        return Err(changed(view, "*", &counts.0, &counts.1));
    }
    let schema = stored.clone();
    let batches = rows.map(move |batch| {
        if cancel.is_cancelled() {
            return Err(DataFusionError::Execution("refresh was cancelled".to_owned()));
        }
        conform_batch(&batch?, &stored)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
}

/// Any other type would be cast to the stored one, with what it cannot hold left out: as of a view below that was changed.
fn is_stored_as(found: &DataType, stored: &DataType) -> bool {
    match found {
        // Counts.
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => *stored == DataType::Int64,
        _ => storable_type(found).is_ok_and(|as_stored| as_stored.equals_datatype(stored)),
    }
}

/// The rows of a query are not those that are stored any more.
pub(super) fn changed(view: &str, column: &str, found: &str, stored: &str) -> MaterializeError {
    MaterializeError::SchemaChanged {
        view: view.to_owned(),
        column: column.to_owned(),
        found: found.to_owned(),
        stored: stored.to_owned(),
    }
}

fn conform_batch(batch: &RecordBatch, stored: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(stored.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(stored.clone(), columns)?)
}
