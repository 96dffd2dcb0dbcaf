//! Gathers decoded rows, and rejections, into batches. Shared by the text formats.
//!
//! A row is appended whole or not at all: its cells are read first, then pushed.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::Step;
use super::column::ColumnBuilder;
use super::value::{Cell, ValueType};
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, Decoded, Lines, Rejection, RowFormat, RowTexts};

/// Rows of one decoded batch; also the most rejections of one step.
pub const BATCH_ROWS: usize = 8_192;
/// Row text of one decoded batch.
const BATCH_BYTES: usize = 16 << 20;

/// A column to fill: its name and what its text is read as.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub value_type: ValueType,
}

pub struct Rows {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    lines: Vec<u64>,
    texts: RowTexts,
    text_bytes: usize,
    rejected: Vec<Rejection>,
}

/// The table's columns as decoders fill them: everything may be null until validation.
pub fn nullable(columns: &Schema) -> SchemaRef {
    let fields: Vec<Field> = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// The columns as [`Target`]s.
///
/// # Errors
/// Names a column whose type text formats cannot fill.
pub fn targets(columns: &Schema) -> Result<Vec<Target>, IngestError> {
    let target = |field: &Arc<Field>| {
        let value_type = ValueType::of(field.data_type())
            .map_err(|reason| IngestError::Invalid { message: format!("column '{}' {reason}", field.name()) })?;
        Ok(Target { name: field.name().clone(), value_type })
    };
    columns.fields().iter().map(target).collect()
}

impl Rows {
    /// Rows written in `format`.
    ///
    /// # Errors
    /// Names a column whose type text formats cannot fill.
    pub fn new(columns: &Schema, format: RowFormat) -> Result<Self, IngestError> {
        let builder = |field: &Arc<Field>| {
            ColumnBuilder::new(field.data_type())
                .map_err(|reason| IngestError::Invalid { message: format!("column '{}' {reason}", field.name()) })
        };
        let builders = columns.fields().iter().map(builder).collect::<Result<_, _>>()?;
        Ok(Self {
            schema: nullable(columns),
            columns: builders,
            lines: Vec::new(),
            texts: RowTexts::new(format),
            text_bytes: 0,
            rejected: Vec::new(),
        })
    }

    /// Appends a row: one cell per column of the table.
    pub fn accept(&mut self, line: u64, cells: &[Cell<'_>], raw: &[u8]) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.lines.push(line);
        self.texts.push(raw);
        self.text_bytes += raw.len();
    }

    pub fn reject(&mut self, rejection: Rejection) {
        self.rejected.push(rejection);
    }

    pub fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_ROWS || self.rejected.len() >= BATCH_ROWS || self.text_bytes >= BATCH_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.rejected.is_empty()
    }

    /// Everything since the last call.
    pub fn take(&mut self) -> Result<Step, IngestError> {
        let internal = |error| IngestError::Invalid { message: format!("cannot build a batch of rows: {error}") };
        let arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<_, _>>().map_err(internal)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.lines.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(internal)?;
        let lines = Lines::Each(std::mem::take(&mut self.lines));
        let format = self.texts.format;
        let texts = Some(std::mem::replace(&mut self.texts, RowTexts::new(format)));
        self.text_bytes = 0;
        let batch = Batch { rows, state: Decoded { lines, texts } };
        Ok(Step { batch, rejected: std::mem::take(&mut self.rejected) })
    }
}
