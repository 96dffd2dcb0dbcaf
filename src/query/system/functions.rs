//! `system.functions`: every function SQL can call.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[("name", DataType::Utf8), ("kind", DataType::Utf8)])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all: BTreeSet<(String, &'static str)> = engine.shared.functions();
    batch(schema(), vec![texts(all.iter().map(|(name, _)| Some(name))), texts(all.iter().map(|(_, kind)| Some(kind)))])
}
