//! `system.restatements`: groups and windows of time of materialized views that changed after their window had been over for longer than
//! the view's `restate_after`: old and new value, and what did it. `materialize` writes them into a Delta table of the lake.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;

use super::kept::KeptView;
use crate::query::engine::Inner;
pub(super) use crate::query::state::restatements_schema as schema;
use crate::query::{QueryError, RESTATEMENTS_PATH};
use crate::storage::StorageError;

const HIDDEN: &str = "_restatements";
const HIDDEN_UNCARRIED: &str = "_restatements_uncarried";

/// The table, and what has not been put into it yet. What is put there while both are looked at is in both: it counts once.
pub(super) async fn view(engine: &Inner) -> Result<KeptView, QueryError> {
    let uncarried = match engine.state() {
        Some(state) => state.restatements().await?,
        None => RecordBatch::new_empty(schema()),
    };
    // Looked at anew: it must have whatever the rows before were told to be in it.
    let stored = match engine.lake.open_table(RESTATEMENTS_PATH).await {
        Ok(table) => Some(table.refresh().await?),
        Err(StorageError::TableNotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let names: Vec<String> = schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let names = names.join(", ");
    let has_both = uncarried.num_rows() > 0;
    let uncarried = MemTable::try_new(schema(), vec![vec![uncarried]])?;
    let mut tables: Vec<(&'static str, Arc<dyn TableProvider>)> = vec![(HIDDEN_UNCARRIED, Arc::new(uncarried))];
    let query = match &stored {
        None => format!("SELECT {names} FROM system.{HIDDEN_UNCARRIED}"),
        Some(_) if !has_both => format!("SELECT {names} FROM system.{HIDDEN}"),
        Some(_) => format!(
            "SELECT {names} FROM system.{HIDDEN} UNION ALL SELECT {names} FROM system.{HIDDEN_UNCARRIED} AS u \
             WHERE NOT EXISTS (SELECT 1 FROM system.{HIDDEN} AS c WHERE c.view_version = u.view_version \
             AND c.view_name = u.view_name AND c.restated_at = u.restated_at)"
        ),
    };
    tables.extend(stored.map(|stored| (HIDDEN, stored.provider())));
    Ok(KeptView { query, tables, is_limited: false })
}
