//! `system.ingest`: what is being taken in. One row per table written to by requests (`source` = `requests`: group
//! commits, watermark, cost of the event-key index; of this process, since it started) and one per file of a landing
//! folder (`source` = `landing`: pending, loading, loaded, already loaded, failed).

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::state::IngestRow;

/// Columns that a landing file has.
const FILE_COLUMNS: usize = 14;

pub(super) fn schema() -> SchemaRef {
    let number = || DataType::Int64;
    super::rows::schema(&[
        ("source", DataType::Utf8),
        ("table_name", DataType::Utf8),
        ("file", DataType::Utf8),
        ("status", DataType::Utf8),
        ("rows", number()),
        ("duplicates", number()),
        ("rejected", number()),
        ("bytes", number()),
        ("error", DataType::Utf8),
        ("started_at", moment()),
        ("finished_at", moment()),
        ("version", number()),
        ("modified_at", moment()),
        ("tag", DataType::Utf8),
        ("requests_waiting", number()),
        ("requests", number()),
        ("commits", number()),
        ("late_events", number()),
        ("last_commit_ms", number()),
        ("watermark", moment()),
        ("keys", number()),
        ("key_bytes", number()),
        ("keys_resident_from", moment()),
        ("probes", number()),
        ("probe_keys", number()),
        ("probe_hits", number()),
        ("probe_rows", number()),
        ("rebuild_ms", number()),
        ("rebuild_rows", number()),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let tables = tables(&engine.state().map(|state| state.ingest()).unwrap_or_default())?;
    let files = match engine.commands()?.landed_files().await? {
        Some(files) => widened(&files)?,
        None => RecordBatch::new_empty(schema()),
    };
    concat_batches(&schema(), [&tables, &files]).map_err(|error| QueryError::Internal { message: error.to_string() })
}

/// Rows of files, without what only tables have.
fn widened(files: &RecordBatch) -> Result<RecordBatch, QueryError> {
    let schema = schema();
    let missing = schema.fields().iter().skip(FILE_COLUMNS);
    let missing = missing.map(|field| new_null_array(field.data_type(), files.num_rows()));
    batch(schema.clone(), files.columns().iter().cloned().chain(missing).collect())
}

fn tables(all: &[IngestRow]) -> Result<RecordBatch, QueryError> {
    let count = |pick: fn(&IngestRow) -> u64| numbers(all.iter().map(|row| Some(pick(row))));
    let schema = schema();
    let none = |data_type: &DataType| new_null_array(data_type, all.len());
    let (text, number, time) = (none(&DataType::Utf8), none(&DataType::Int64), none(&moment()));
    batch(
        schema,
        vec![
            texts(all.iter().map(|_| Some("requests"))),
            texts(all.iter().map(|row| Some(&row.table))),
            text.clone(),
            texts(all.iter().map(|_| Some("open"))),
            count(|row| row.accepted),
            count(|row| row.duplicates),
            count(|row| row.rejected),
            number.clone(),
            text.clone(),
            time.clone(),
            time.clone(),
            number,
            time,
            text,
            count(|row| row.requests_waiting),
            count(|row| row.requests),
            count(|row| row.commits),
            count(|row| row.late_events),
            count(|row| row.last_commit_ms),
            moments(all.iter().map(|row| row.watermark)),
            numbers(all.iter().map(|row| row.keys)),
            numbers(all.iter().map(|row| row.key_bytes)),
            moments(all.iter().map(|row| row.keys_resident_from)),
            count(|row| row.probes),
            count(|row| row.probe_keys),
            count(|row| row.probe_hits),
            count(|row| row.probe_rows),
            count(|row| row.rebuild_ms),
            count(|row| row.rebuild_rows),
        ],
    )
}
