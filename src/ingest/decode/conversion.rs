//! Arrow columns by name → the table's columns: what Parquet files and Arrow messages share.
//!
//! Columns are matched by name and cast to the table's types by [`super::parquet_cast`], whole columns at once; a value
//! that does not fit its column rejects its row. A column of the table without a source is NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Step;
use super::mapping::ColumnMap;
use super::parquet_cast::{Caster, Failure};
use super::rows::nullable;
use super::time::TimeReader;
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, Decoded, Lines, Rejection};

/// How batches of one schema become rows of one table.
pub struct Conversion {
    schema: SchemaRef,
    /// One per column of the table; `None` where the source has nothing for it.
    columns: Vec<Option<SourceColumn>>,
}

struct SourceColumn {
    position: usize,
    name: String,
    caster: Caster,
}

impl Conversion {
    /// # Errors
    /// When a source column fits nothing, or a type can never become the table's.
    pub fn new(source: &Schema, columns: &Schema, map: &ColumnMap, times: &TimeReader) -> Result<Self, IngestError> {
        let names: Vec<String> = source.fields().iter().map(|field| field.name().clone()).collect();
        let source_of = map.resolve(&names)?;
        let mut casters = Vec::with_capacity(source_of.len());
        for (field, position) in columns.fields().iter().zip(source_of) {
            let Some(position) = position else {
                casters.push(None);
                continue;
            };
            let from = source.field(position);
            let caster = Caster::new(from.data_type(), field.data_type(), times).map_err(|reason| {
                let message = format!("its column '{}' {reason} of column '{}'", from.name(), field.name());
                IngestError::Invalid { message }
            })?;
            casters.push(Some(SourceColumn { position, name: from.name().clone(), caster }));
        }
        Ok(Self { schema: nullable(columns), columns: casters })
    }

    /// Positions of the source columns that are read, ascending.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = self.columns.iter().flatten().map(|column| column.position).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// The same for a source that holds only the columns of [`Conversion::positions`].
    pub fn projected(mut self) -> Self {
        let positions = self.positions();
        for column in self.columns.iter_mut().flatten() {
            column.position = positions.binary_search(&column.position).unwrap_or_default();
        }
        self
    }

    /// Names of the table's columns that the source has nothing for.
    pub fn unfilled(&self) -> impl Iterator<Item = &str> {
        let pairs = self.schema.fields().iter().zip(&self.columns);
        pairs.filter(|(_, column)| column.is_none()).map(|(field, _)| field.name().as_str())
    }

    /// The rows of `source`, the first of which is row `first_row` of its request or file.
    pub fn convert(&self, source: &RecordBatch, first_row: u64) -> Result<Step, IngestError> {
        let row_count = source.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        let mut failures: Vec<(&str, Failure)> = Vec::new();
        for (field, column) in self.schema.fields().iter().zip(&self.columns) {
            let Some(SourceColumn { position, name, caster }) = column else {
                arrays.push(new_null_array(field.data_type(), row_count));
                continue;
            };
            let cast = caster.cast(source.column(*position)).map_err(|error| IngestError::Invalid {
                message: format!("its column '{name}' cannot be read: {error}"),
            })?;
            arrays.push(cast.values);
            failures.extend(cast.failures.into_iter().map(|failure| (name.as_str(), failure)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| IngestError::Invalid { message: format!("cannot build a batch of rows: {error}") })?;
        if failures.is_empty() {
            let state = Decoded { lines: Lines::From(first_row), texts: None };
            return Ok(Step { batch: Batch { rows, state }, rejected: Vec::new() });
        }
        without_failed(source, &rows, failures, first_row)
    }
}

fn without_failed(
    source: &RecordBatch,
    rows: &RecordBatch,
    mut failures: Vec<(&str, Failure)>,
    first_row: u64,
) -> Result<Step, IngestError> {
    failures.sort_by_key(|(_, failure)| failure.row);
    // A row is rejected once, for the first of its bad columns.
    failures.dedup_by_key(|(_, failure)| failure.row);
    let mut keep = vec![true; rows.num_rows()];
    let mut rejected = Vec::with_capacity(failures.len());
    for (name, Failure { row, reason }) in failures {
        keep[row] = false;
        let line = first_row + row as u64;
        rejected.push(Rejection::new(line, Some(name), reason, row_text(source, row).as_bytes()));
    }
    let lines = (first_row..).zip(&keep).filter(|(_, keep)| **keep).map(|(line, _)| line).collect();
    let rows = filter_record_batch(rows, &BooleanArray::from(keep))
        .map_err(|error| IngestError::Invalid { message: format!("cannot drop bad rows: {error}") })?;
    Ok(Step { batch: Batch { rows, state: Decoded { lines: Lines::Each(lines), texts: None } }, rejected })
}

/// `{name: value, …}` of one row, for its rejection.
pub(in crate::ingest) fn row_text(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let values = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = ArrayFormatter::try_new(Arc::as_ref(column) as &dyn Array, &options)
            .and_then(|formatter| formatter.value(row).try_to_string());
        format!("{}: {}", field.name(), value.unwrap_or_else(|_| "?".to_owned()))
    });
    format!("{{{}}}", values.collect::<Vec<_>>().join(", "))
}
