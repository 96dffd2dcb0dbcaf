//! `system.objects`: everything defined, with its text.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment, moments, texts};
use crate::catalog::{DefinedBy, Object};
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("name", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("reads", DataType::Utf8),
        ("defined_by", DataType::Utf8),
        ("created_at", moment()),
        ("changed_at", moment()),
        ("sql", DataType::Utf8),
    ])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let all: Vec<&Arc<Object>> = catalog.all().collect();
    let defined_by = |object: &Object| match object.defined_by {
        DefinedBy::Statement => "statement",
        DefinedBy::Project => "project",
    };
    batch(
        schema(),
        vec![
            texts(all.iter().map(|object| Some(&object.name))),
            texts(all.iter().map(|object| Some(object.kind.to_string()))),
            texts(all.iter().map(|object| Some(object.reads.join(", ")))),
            texts(all.iter().map(|object| Some(defined_by(object)))),
            moments(all.iter().map(|object| Some(object.created_at))),
            moments(all.iter().map(|object| Some(object.changed_at))),
            texts(all.iter().map(|object| Some(&object.sql))),
        ],
    )
}
