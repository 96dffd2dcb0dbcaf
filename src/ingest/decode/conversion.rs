//! Arrow columns by name → the table's columns: what Parquet files and Arrow messages share.
//!
//! Columns are matched by name and cast to the table's types by [`super::parquet_cast`], whole columns at once; a value
//! that does not fit its column rejects its row. A column of the table without a source is NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Step;
use super::column::text_map_builder;
use super::mapping::ColumnMap;
use super::parquet_cast::{Caster, Failure};
use super::rows::nullable;
use super::time::TimeReader;
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, Decoded, Lines, Rejection, RowFormat};

/// How batches of one schema become rows of one table.
pub struct Conversion {
    schema: SchemaRef,
    /// One per column of the table; `None` where the source has nothing for it.
    columns: Vec<Option<SourceColumn>>,
    /// The column that keeps sources without one of their own, and these: position and name.
    extra: Option<(usize, Vec<(usize, String)>)>,
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
        let extra = map.extra_column().map(|column| {
            (column, map.extras(&names).into_iter().map(|position| (position, names[position].clone())).collect())
        });
        Ok(Self { schema: nullable(columns), columns: casters, extra })
    }

    /// Positions of the source columns that are read, ascending.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions: Vec<usize> = self.columns.iter().flatten().map(|column| column.position).collect();
        positions.extend(self.extra.iter().flat_map(|(_, extras)| extras).map(|(position, _)| *position));
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
        for (position, _) in self.extra.iter_mut().flat_map(|(_, extras)| extras) {
            *position = positions.binary_search(position).unwrap_or_default();
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
        if let Some((column, extras)) = self.extra.as_ref().filter(|(_, extras)| !extras.is_empty()) {
            arrays[*column] = kept_extras(source, extras, &arrays[*column]).map_err(|error| IngestError::Invalid {
                message: format!("its columns without a place in the table cannot be kept: {error}"),
            })?;
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
        rejected.push(arrow_rejection(line, Some(name), reason, (RowFormat::Arrow, source, row)));
    }
    let lines = (first_row..).zip(&keep).filter(|(_, keep)| **keep).map(|(line, _)| line).collect();
    let rows = filter_record_batch(rows, &BooleanArray::from(keep))
        .map_err(|error| IngestError::Invalid { message: format!("cannot drop bad rows: {error}") })?;
    Ok(Step { batch: Batch { rows, state: Decoded { lines: Lines::Each(lines), texts: None } }, rejected })
}

/// The values of columns without a place in the table, by name, behind what the map has already. NULL is left out.
fn kept_extras(source: &RecordBatch, extras: &[(usize, String)], kept: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::default();
    let formatters = extras.iter().map(|(position, name)| {
        let column = source.column(*position);
        Ok((name, column, ArrayFormatter::try_new(column.as_ref(), &options)?))
    });
    let formatters: Vec<_> = formatters.collect::<Result<_, ArrowError>>()?;
    let kept = kept.as_map_opt();
    let mut builder = text_map_builder();
    for row in 0..source.num_rows() {
        let mut any = false;
        if let Some(kept) = kept.filter(|kept| kept.is_valid(row)) {
            any = true;
            let entries = kept.value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            for (key, value) in keys.iter().zip(values) {
                builder.keys().append_option(key);
                builder.values().append_option(value);
            }
        }
        for (name, column, formatter) in &formatters {
            if column.is_valid(row) {
                any = true;
                builder.keys().append_value(name);
                builder.values().append_value(formatter.value(row).try_to_string()?);
            }
        }
        builder.append(any)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// A rejection of one row of a batch: readable, and as Arrow IPC so that nothing of it is lost.
pub(in crate::ingest) fn arrow_rejection(
    line: u64,
    field: Option<&str>,
    reason: impl Into<String>,
    (format, batch, row): (RowFormat, &RecordBatch, usize),
) -> Rejection {
    let rejection = Rejection::new(line, field, reason, format, row_text(batch, row).as_bytes());
    match ipc_row(batch, row) {
        Ok(raw) => Rejection { raw: Some(raw), ..rejection },
        Err(error) => {
            tracing::warn!(%error, "a rejected row is kept as text only; it cannot be replayed");
            Rejection { format: RowFormat::Cut, ..rejection }
        }
    }
}

/// One row as an Arrow IPC stream; dictionaries and views as plain values, so that it does not carry their whole buffers.
fn ipc_row(batch: &RecordBatch, row: usize) -> Result<Vec<u8>, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let plain = match field.data_type() {
            DataType::Dictionary(_, value) => value.as_ref().clone(),
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        arrays.push(cast(&column.slice(row, 1), &plain)?);
        fields.push(Field::new(field.name(), plain, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&one)?;
    writer.into_inner()
}

/// `{name: value, …}` of one row, for its rejection.
fn row_text(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let values = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = ArrayFormatter::try_new(Arc::as_ref(column) as &dyn Array, &options)
            .and_then(|formatter| formatter.value(row).try_to_string());
        format!("{}: {}", field.name(), value.unwrap_or_else(|_| "?".to_owned()))
    });
    format!("{{{}}}", values.collect::<Vec<_>>().join(", "))
}
