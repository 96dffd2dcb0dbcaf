//! `system.listeners`: the ports of this process, and the certificate that new connections get.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, moment, moments, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::state::ListenerRow;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("protocol", DataType::Utf8),
        ("address", DataType::Utf8),
        // 'none', 'tls'; the rest is NULL without.
        ("encryption", DataType::Utf8),
        ("client_auth", DataType::Utf8),
        ("certificate_subject", DataType::Utf8),
        ("certificate_names", DataType::Utf8),
        ("not_before", moment()),
        ("not_after", moment()),
        ("loaded_at", moment()),
        // Why the files as they are now are not in use; NULL = they are.
        ("last_error", DataType::Utf8),
    ])
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all: Vec<ListenerRow> = engine.state().map(|state| state.listeners()).unwrap_or_default();
    let certificates = || all.iter().map(|row| row.certificate.as_ref());
    batch(
        schema(),
        vec![
            texts(all.iter().map(|row| Some(row.protocol))),
            texts(all.iter().map(|row| Some(&row.address))),
            texts(certificates().map(|found| Some(if found.is_some() { "tls" } else { "none" }))),
            texts(certificates().map(|found| found.map(|found| found.client_auth))),
            texts(certificates().map(|found| found.map(|found| &found.subject))),
            texts(certificates().map(|found| found.map(|found| &found.names))),
            moments(certificates().map(|found| found.map(|found| found.not_before))),
            moments(certificates().map(|found| found.map(|found| found.not_after))),
            moments(certificates().map(|found| found.map(|found| found.loaded_at))),
            texts(certificates().map(|found| found.and_then(|found| found.last_error.as_ref()))),
        ],
    )
}
