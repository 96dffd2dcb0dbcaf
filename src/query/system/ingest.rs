//! `system.ingest`: files of landing folders: on record (loaded, already loaded, failed) and on their way (pending,
//! loading). `ingest` knows them, behind the `Commands` plug.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("source", DataType::Utf8),
        ("table_name", DataType::Utf8),
        ("file", DataType::Utf8),
        ("status", DataType::Utf8),
        ("rows", DataType::Int64),
        ("duplicates", DataType::Int64),
        ("rejected", DataType::Int64),
        ("bytes", DataType::Int64),
        ("error", DataType::Utf8),
        ("started_at", moment()),
        ("finished_at", moment()),
        ("version", DataType::Int64),
        ("modified_at", moment()),
        ("tag", DataType::Utf8),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    match engine.commands()?.landed_files().await? {
        Some(files) => batch(schema(), files.columns().to_vec()),
        None => Ok(RecordBatch::new_empty(schema())),
    }
}
