//! `system.settings`: every configuration key, its value and where that came from. Secrets are hidden by `config`.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[("key", DataType::Utf8), ("value", DataType::Utf8), ("origin", DataType::Utf8)])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = &engine.settings;
    batch(
        schema(),
        vec![
            texts(all.iter().map(|(key, ..)| Some(key))),
            texts(all.iter().map(|(_, value, _)| Some(value))),
            texts(all.iter().map(|(_, _, origin)| Some(origin))),
        ],
    )
}
