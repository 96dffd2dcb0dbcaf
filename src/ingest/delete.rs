//! DELETE: the rows of a table that a condition names, in one commit.
//!
//! Files are looked at and rewritten without the table's writer lock, so others go on writing; the lock is held for the commit
//! alone, so that an INSERT under way, which holds it, is not disturbed in the middle. Any process may delete: no lease is
//! needed, as for INSERT.
//!
//! DED-1: event keys of the rows that went are free again. This and every other process learn of them from the log, before
//! the next commit to the table: see [`super::key_index`]. What a producer or a loaded file has been answered stays: their
//! repeats bring nothing back.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::IngestError;
use super::ingestor::Core;
use crate::storage::{DeleteOptions, DeleteProgress, DeleteReport, RowPredicate, StorageError, TableSnapshot};
use crate::telemetry::metrics;

/// What is to be deleted.
pub struct DeleteRequest {
    pub table: String,
    /// The version whose rows go.
    pub base: Arc<TableSnapshot>,
    pub rows: RowPredicate,
}

impl Core {
    pub(super) async fn delete(
        &self,
        request: DeleteRequest,
        progress: Arc<dyn Fn(DeleteProgress) + Send + Sync>,
        cancel: CancellationToken,
    ) -> Result<DeleteReport, IngestError> {
        let DeleteRequest { table, base, rows } = request;
        let target = self.targets.resolve(&table).await?;
        let writer = target.writer.clone();
        let options = DeleteOptions { cancel, progress };
        let deleted = writer.table.delete_rows((base, &rows), &options, || writer.lock()).await;
        let deleted = deleted.map_err(|error| match error {
            StorageError::Cancelled { .. } => IngestError::Cancelled,
            other => other.into(),
        });
        let report = self.told(&target, deleted).await?;
        let DeleteReport { rows, files_removed, files_rewritten, rows_rewritten, version } = report;
        tracing::info!(table, rows, files_removed, files_rewritten, rows_rewritten, %version, "rows deleted");
        metrics().count("ingest_rows_deleted", "Rows deleted by statements", &[("table", table.as_str())], rows);
        Ok(report)
    }
}
