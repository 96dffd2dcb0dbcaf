//! Parquet → rows, a batch at a time, whole columns at once: no work per row unless a row is bad.
//!
//! Columns are matched by name and cast to the table's types by [`super::parquet_cast`]; a value that does not fit its
//! column rejects its row. Only the columns the table wants are read. A damaged or truncated file is an error.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::mapping::ColumnMap;
use super::parquet_cast::{Caster, Failure};
use super::rows::{BATCH_ROWS, nullable};
use super::time::TimeReader;
use super::{Decoder, Step};
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, Decoded, Lines, Rejection};

pub struct ParquetDecoder {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// One per column of the table; `None` where the file has nothing for it.
    casters: Vec<Option<SourceColumn>>,
    /// Row number of the next batch's first row, from 1.
    next_row: u64,
    unfilled: Vec<String>,
    row_total: u64,
}

struct SourceColumn {
    /// Position among the columns read.
    position: usize,
    name: String,
    caster: Caster,
}

impl ParquetDecoder {
    /// Opens the file and matches its columns with the table's.
    ///
    /// # Errors
    /// When the file is not (whole) Parquet, a column fits nothing, or a type can never become the table's.
    pub fn new(file: File, columns: &Schema, map: &ColumnMap, times: &TimeReader) -> Result<Self, IngestError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
        let file_schema = builder.schema().clone();
        let names: Vec<String> = file_schema.fields().iter().map(|field| field.name().clone()).collect();
        let source_of = map.resolve(&names)?;
        let mut wanted: Vec<usize> = source_of.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut casters = Vec::with_capacity(source_of.len());
        let mut unfilled = Vec::new();
        for (field, source) in columns.fields().iter().zip(source_of) {
            let Some(source) = source else {
                unfilled.push(field.name().clone());
                casters.push(None);
                continue;
            };
            let file_field = file_schema.field(source);
            let caster = Caster::new(file_field.data_type(), field.data_type(), times).map_err(|reason| {
                let message = format!("its column '{}' {reason} of column '{}'", file_field.name(), field.name());
                IngestError::Invalid { message }
            })?;
            let position = wanted.binary_search(&source).unwrap_or_default();
            casters.push(Some(SourceColumn { position, name: file_field.name().clone(), caster }));
        }
        let row_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader =
            builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(&error))?;
        Ok(Self { reader, schema: nullable(columns), casters, next_row: 1, unfilled, row_total })
    }

    /// Rows the file says it has.
    pub fn row_total(&self) -> u64 {
        self.row_total
    }

    /// Names of the table's columns that the file has nothing for.
    pub fn unfilled(&self) -> impl Iterator<Item = &str> {
        self.unfilled.iter().map(String::as_str)
    }

    fn convert(&self, source: &RecordBatch) -> Result<Step, IngestError> {
        let row_count = source.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.casters.len());
        let mut failures: Vec<(&str, Failure)> = Vec::new();
        for (field, column) in self.schema.fields().iter().zip(&self.casters) {
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
            let state = Decoded { lines: Lines::From(self.next_row), texts: None };
            return Ok(Step { batch: Batch { rows, state }, rejected: Vec::new() });
        }
        self.without_failed(source, &rows, failures)
    }

    fn without_failed(
        &self,
        source: &RecordBatch,
        rows: &RecordBatch,
        mut failures: Vec<(&str, Failure)>,
    ) -> Result<Step, IngestError> {
        failures.sort_by_key(|(_, failure)| failure.row);
        // A row is rejected once, for the first of its bad columns.
        failures.dedup_by_key(|(_, failure)| failure.row);
        let mut keep = vec![true; rows.num_rows()];
        let mut rejected = Vec::with_capacity(failures.len());
        for (name, Failure { row, reason }) in failures {
            keep[row] = false;
            let line = self.next_row + row as u64;
            rejected.push(Rejection::new(line, Some(name), reason, row_text(source, row).as_bytes()));
        }
        let lines = (self.next_row..).zip(&keep).filter(|(_, keep)| **keep).map(|(line, _)| line).collect();
        let rows = filter_record_batch(rows, &BooleanArray::from(keep))
            .map_err(|error| IngestError::Invalid { message: format!("cannot drop bad rows: {error}") })?;
        Ok(Step { batch: Batch { rows, state: Decoded { lines: Lines::Each(lines), texts: None } }, rejected })
    }
}

impl Decoder for ParquetDecoder {
    fn next_step(&mut self) -> Result<Option<Step>, IngestError> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| damaged(&error))?;
        let step = self.convert(&batch)?;
        self.next_row += batch.num_rows() as u64;
        Ok(Some(step))
    }
}

fn damaged(error: &dyn std::error::Error) -> IngestError {
    IngestError::Invalid { message: format!("is not a whole Parquet file: {error}") }
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
