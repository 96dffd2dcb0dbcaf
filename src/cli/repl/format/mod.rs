//! Results as bytes: one writer per format, fed batch by batch, never holding the whole result.
//!
//! Only the table format looks ahead (its column widths come from the first rows, see [`table`]).
//! NULL stays distinct from the empty text in every format: `NULL` (a text `NULL` is quoted) in tables, nothing against
//! `""` in CSV, `\N` in TSV, `null` in JSON.

mod cells;
mod json;
mod parquet;
mod separated;
mod table;

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::super::args::OutputFormat;
use super::super::failure::Failure;

/// Where a writer puts its bytes.
pub type Sink = Box<dyn Write + Send>;

/// Writes one result.
pub trait RowWriter: Send {
    /// # Errors
    /// The sink's, or a value the format has no form for.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure>;

    /// Writes what is still held back, and the end. Nothing may be written after it.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    fn finish(&mut self) -> Result<(), Failure>;
}

/// How a result looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub format: OutputFormat,
    /// `\x`: one column per line (tables only).
    pub expanded: bool,
    pub colour: bool,
}

/// A writer for rows of `schema`.
///
/// # Errors
/// Columns the format has no form for.
pub fn writer(style: Style, schema: &SchemaRef, sink: Sink) -> Result<Box<dyn RowWriter>, Failure> {
    Ok(match style.format {
        OutputFormat::Table if style.expanded => Box::new(table::Expanded::new(schema, sink, style.colour)),
        OutputFormat::Table => Box::new(table::Aligned::new(schema, sink, style.colour)),
        OutputFormat::Csv => Box::new(separated::Separated::new(separated::Kind::Csv, schema, sink)),
        OutputFormat::Tsv => Box::new(separated::Separated::new(separated::Kind::Tsv, schema, sink)),
        OutputFormat::Markdown => Box::new(separated::Separated::new(separated::Kind::Markdown, schema, sink)),
        OutputFormat::Json => Box::new(json::Json::array(sink)),
        OutputFormat::Ndjson => Box::new(json::Json::lines(sink)),
        OutputFormat::Parquet => Box::new(parquet::Parquet::new(schema, sink)?),
    })
}

#[cfg(test)]
mod tests;
