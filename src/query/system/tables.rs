//! `system.tables`: what has rows of its own: tables and materialized views, with size and newest version.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::future::try_join_all;

use super::rows::{batch, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("name", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("version", DataType::Int64),
        ("committed_at", moment()),
        ("rows", DataType::Int64),
        ("bytes", DataType::Int64),
        ("files", DataType::Int64),
        ("path", DataType::Utf8),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let tables = catalog.relations.values().filter_map(|object| Some((object, object.table_path.as_ref()?)));
    let all = try_join_all(tables.map(|(object, path)| async move {
        let snapshot = engine.lake.open_table(path).await?.snapshot().await?;
        Ok::<_, QueryError>((object, path, snapshot))
    }))
    .await?;
    batch(
        schema(),
        vec![
            texts(all.iter().map(|(object, ..)| Some(&object.name))),
            texts(all.iter().map(|(object, ..)| Some(object.kind.to_string()))),
            numbers(all.iter().map(|(_, _, snapshot)| Some(snapshot.version().0))),
            moments(all.iter().map(|(_, _, snapshot)| Some(snapshot.committed_at()))),
            numbers(all.iter().map(|(_, _, snapshot)| Some(snapshot.row_count()))),
            numbers(all.iter().map(|(_, _, snapshot)| Some(snapshot.bytes()))),
            numbers(all.iter().map(|(_, _, snapshot)| u64::try_from(snapshot.file_count()).ok())),
            texts(all.iter().map(|(_, path, _)| Some(path))),
        ],
    )
}
