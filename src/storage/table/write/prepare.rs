//! Incoming rows → working rows: the table's exact types, no null where none may be, partition values computed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::WritePlan;
use crate::storage::StorageError;
use crate::storage::spec::partition_arrays;

/// Values that do not fit are errors, never nulls.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Rows must have the table's columns, in order; those added last may be absent when rows may have no value for them.
pub(super) fn check_columns(plan: &WritePlan, incoming: &Schema) -> Result<(), StorageError> {
    let columns = plan.spec.columns.fields();
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let same = incoming.fields().iter().zip(columns).all(|(given, column)| given.name() == column.name());
    let absent_are_nullable = columns.iter().skip(incoming.fields().len()).all(|field| field.is_nullable());
    if same && incoming.fields().len() <= columns.len() && !incoming.fields().is_empty() && absent_are_nullable {
        return Ok(());
    }
    Err(StorageError::Invalid {
        message: format!(
            "rows for table files '{}' have columns ({}), the table has {} columns ({})",
            plan.spec.path,
            names(incoming).join(", "),
            columns.len(),
            names(&plan.spec.columns).join(", "),
        ),
    })
}

/// The working rows of a stream.
pub(super) fn prepared(plan: Arc<WritePlan>, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = plan.working_schema.clone();
    let batches = rows.map(move |batch| prepare(&plan, &batch?).map_err(external));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

pub(super) fn external(error: StorageError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The working rows of one batch.
pub(super) fn prepare(plan: &WritePlan, batch: &RecordBatch) -> Result<RecordBatch, StorageError> {
    let typed = with_types(plan, batch)?;
    let mut columns = partition_arrays(&plan.spec, &typed)?;
    for field in plan.file_schema.fields() {
        columns.extend(typed.column_by_name(field.name()).cloned());
    }
    rebuild(&plan.working_schema, columns, batch.num_rows())
}

fn with_types(plan: &WritePlan, batch: &RecordBatch) -> Result<RecordBatch, StorageError> {
    let mut columns = Vec::with_capacity(plan.spec.columns.fields().len());
    for (field, column) in plan.spec.columns.fields().iter().zip(batch.columns()) {
        let column = match column.data_type() == field.data_type() {
            true => column.clone(),
            false => cast_with_options(column, field.data_type(), &STRICT)
                .map_err(|error| StorageError::Invalid { message: format!("column '{}': {error}", field.name()) })?,
        };
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(StorageError::Invalid {
                message: format!("column '{}' is NOT NULL, but a row has no value for it", field.name()),
            });
        }
        columns.push(column);
    }
    // Added while the rows were on their way.
    let absent = plan.spec.columns.fields().iter().skip(batch.num_columns());
    columns.extend(absent.map(|field| new_null_array(field.data_type(), batch.num_rows())));
    rebuild(&plan.spec.columns, columns, batch.num_rows())
}

fn rebuild(schema: &Arc<Schema>, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, StorageError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| StorageError::Invalid { message: format!("rows do not fit the table: {error}") })
}
