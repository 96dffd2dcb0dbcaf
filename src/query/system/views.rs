//! `system.views`: how each materialized view is kept true, how far behind its sources its stored rows are, and how its
//! refreshes go.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("view_name", DataType::Utf8),
        ("strategy", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("refresh", DataType::Utf8),
        ("absorbed_version", DataType::Int64),
        ("source_version", DataType::Int64),
        ("pending_rows", DataType::Int64),
        ("stored_rows", DataType::Int64),
        ("stored_bytes", DataType::Int64),
        ("lag_ms", DataType::Int64),
        ("data_as_of", moment()),
        ("last_refresh_at", moment()),
        ("last_refresh_ms", DataType::Int64),
        ("last_rows_in", DataType::Int64),
        ("last_rows_out", DataType::Int64),
        ("failures", DataType::Int64),
        ("last_error", DataType::Utf8),
        ("next_refresh_at", moment()),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = match engine.state() {
        Some(state) => state.views().await,
        None => Vec::new(),
    };
    batch(
        schema(),
        vec![
            texts(all.iter().map(|row| Some(&row.view))),
            texts(all.iter().map(|row| Some(&row.strategy))),
            texts(all.iter().map(|row| Some(&row.reason))),
            texts(all.iter().map(|row| Some(&row.refresh))),
            numbers(all.iter().map(|row| row.absorbed_version.map(|version| version.0))),
            numbers(all.iter().map(|row| row.source_version.map(|version| version.0))),
            numbers(all.iter().map(|row| row.pending_rows)),
            numbers(all.iter().map(|row| Some(row.stored_rows))),
            numbers(all.iter().map(|row| Some(row.stored_bytes))),
            numbers(all.iter().map(|row| row.lag_ms)),
            moments(all.iter().map(|row| row.as_of)),
            moments(all.iter().map(|row| row.last_refresh_at)),
            numbers(all.iter().map(|row| row.last_refresh_ms)),
            numbers(all.iter().map(|row| row.last_rows_in)),
            numbers(all.iter().map(|row| row.last_rows_out)),
            numbers(all.iter().map(|row| Some(row.failures))),
            texts(all.iter().map(|row| row.last_error.as_ref())),
            moments(all.iter().map(|row| row.next_refresh_at)),
        ],
    )
}
