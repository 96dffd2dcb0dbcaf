//! `system.rejects`: rows that were not accepted, with the reason. `ingest` writes them into a Delta table of the lake.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::rows::moment;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::storage::{StorageError, TableSnapshot};

/// Folder of the table below `tables/`; no user's table can have this name.
pub(super) const PATH: &str = "_rejects";

/// Columns, also while there is no such table yet.
pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("rejected_at", moment()),
        ("table_name", DataType::Utf8),
        ("source", DataType::Utf8),
        ("line", DataType::Int64),
        ("field", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("row", DataType::Utf8),
    ])
}

/// The newest rejects; `None` when no row was ever rejected.
pub(in crate::query) async fn rejects_snapshot(engine: &Inner) -> Result<Option<Arc<TableSnapshot>>, QueryError> {
    match engine.lake.open_table(PATH).await {
        Ok(table) => Ok(Some(table.snapshot().await?)),
        Err(StorageError::TableNotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
