//! `system.commits`: the newest commits of every table, newest first.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::future::try_join_all;

use super::rows::{batch, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;

/// Commits shown per table.
const PER_TABLE: usize = 100;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_name", DataType::Utf8),
        ("version", DataType::Int64),
        ("committed_at", moment()),
        ("operation", DataType::Utf8),
        ("info", DataType::Utf8),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let tables = catalog.relations.values().filter_map(|object| Some((&object.name, object.table_path.as_ref()?)));
    let histories = try_join_all(tables.map(|(name, path)| async move {
        let history = engine.lake.open_table(path).await?.history(PER_TABLE).await?;
        Ok::<_, QueryError>((name, history))
    }))
    .await?;
    let mut all: Vec<_> =
        histories.iter().flat_map(|(name, history)| history.iter().map(move |commit| (*name, commit))).collect();
    all.sort_by(|left, right| right.1.committed_at.cmp(&left.1.committed_at).then(left.0.cmp(right.0)));
    batch(
        schema(),
        vec![
            texts(all.iter().map(|(name, _)| Some(name))),
            numbers(all.iter().map(|(_, commit)| Some(commit.version.0))),
            moments(all.iter().map(|(_, commit)| Some(commit.committed_at))),
            texts(all.iter().map(|(_, commit)| Some(&commit.operation))),
            texts(all.iter().map(|(_, commit)| Some(commit.info.to_string()))),
        ],
    )
}
