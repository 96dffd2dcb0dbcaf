//! `system.commits`: the newest commits of every table, newest first.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::histories;
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

pub(super) async fn rows(
    engine: &Arc<Inner>,
    is_shown: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<RecordBatch, QueryError> {
    let mut all = histories::of_all_tables(engine, PER_TABLE, is_shown).await?;
    all.sort_by(|left, right| right.1.committed_at.cmp(&left.1.committed_at).then_with(|| left.0.cmp(&right.0)));
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
