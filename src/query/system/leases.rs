//! `system.leases`: which process owns what (a table's ingest), as the lake says it at this moment.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, flags, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::storage::Leases;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("name", DataType::Utf8),
        // NULL: given back.
        ("holder", DataType::Utf8),
        ("http", DataType::Utf8),
        ("grpc", DataType::Utf8),
        ("fence", DataType::Int64),
        ("held_here", DataType::Boolean),
        // By the holder's clock.
        ("renewed_at", moment()),
    ])
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = Leases::list(&engine.lake).await?;
    let here = Some(engine.lake.process_id());
    batch(
        schema(),
        vec![
            texts(all.iter().map(|lease| Some(&lease.name))),
            texts(all.iter().map(|lease| lease.holder.map(|holder| holder.to_string()))),
            texts(all.iter().map(|lease| Some(&lease.address.http))),
            texts(all.iter().map(|lease| Some(&lease.address.grpc))),
            numbers(all.iter().map(|lease| Some(lease.fence))),
            flags(all.iter().map(|lease| Some(lease.holder == here))),
            moments(all.iter().map(|lease| Some(lease.renewed_at))),
        ],
    )
}
