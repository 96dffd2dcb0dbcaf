//! Reads a checkpoint: a Parquet file whose rows are the actions that are still in force.
//!
//! Rows have the shape of the log's JSON lines, so they are turned into lines and parsed by the same code (`action`):
//! one way to read an action, and a checkpoint can hold more columns than this program knows.

use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::action::{LogLine, parse_lines};
use crate::storage::StorageError;

/// The columns read, by the start of their Parquet path. Not the typed copies of `stats` and `partitionValues`.
const COLUMNS: [&str; 15] = [
    "add.path",
    "add.partitionValues.",
    "add.size",
    "add.modificationTime",
    "add.stats",
    "add.tags.",
    "add.deletionVector.storageType",
    "metaData.schemaString",
    "metaData.partitionColumns.",
    "metaData.configuration.",
    "protocol.minReaderVersion",
    "protocol.readerFeatures.",
    "txn.appId",
    "txn.version",
    "sidecar.path",
];

/// The actions of one checkpoint file. `source` names it in errors.
pub(super) fn parse_checkpoint(source: &str, bytes: Bytes) -> Result<Vec<LogLine>, StorageError> {
    let damaged =
        |reason: String| StorageError::Damaged { message: format!("checkpoint '{source}' is not readable: {reason}") };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| damaged(error.to_string()))?;
    let schema = builder.parquet_schema();
    let wanted = schema.columns().iter().enumerate().filter(|(_, column)| is_wanted(&column.path().string()));
    let mask = ProjectionMask::leaves(schema, wanted.map(|(leaf, _)| leaf));
    let reader = builder.with_projection(mask).build().map_err(|error| damaged(error.to_string()))?;
    let mut lines = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|error| damaged(error.to_string()))?;
        lines.extend(parse_lines(source, &writer.into_inner())?);
    }
    Ok(lines)
}

fn is_wanted(path: &str) -> bool {
    COLUMNS.iter().any(|column| if column.ends_with('.') { path.starts_with(column) } else { path == *column })
}
