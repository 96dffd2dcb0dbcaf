//! `system.ingest`: what this process is writing, table by table: group commits, watermark, cost of the event-key index.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::state::IngestRow;

pub(super) fn schema() -> SchemaRef {
    let number = DataType::Int64;
    super::rows::schema(&[
        ("table_name", DataType::Utf8),
        ("requests_waiting", number.clone()),
        ("requests", number.clone()),
        ("commits", number.clone()),
        ("accepted", number.clone()),
        ("duplicates", number.clone()),
        ("rejected", number.clone()),
        ("late_events", number.clone()),
        ("last_commit_ms", number.clone()),
        ("watermark", moment()),
        ("keys", number.clone()),
        ("key_bytes", number.clone()),
        ("keys_resident_from", moment()),
        ("probes", number.clone()),
        ("probe_keys", number.clone()),
        ("probe_hits", number.clone()),
        ("probe_rows", number.clone()),
        ("rebuild_ms", number.clone()),
        ("rebuild_rows", number),
    ])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = engine.state().map(|state| state.ingest()).unwrap_or_default();
    let count = |pick: fn(&IngestRow) -> u64| numbers(all.iter().map(|row| Some(pick(row))));
    batch(
        schema(),
        vec![
            texts(all.iter().map(|row| Some(&row.table))),
            count(|row| row.requests_waiting),
            count(|row| row.requests),
            count(|row| row.commits),
            count(|row| row.accepted),
            count(|row| row.duplicates),
            count(|row| row.rejected),
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
