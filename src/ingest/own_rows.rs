//! Reading the tables ingest keeps for itself.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use futures::TryStreamExt;

use super::IngestError;
use super::key_probe::read_columns;
use crate::storage::{OwnTable, StorageError, TableVersion};

/// The newest rows of some columns, and their version; None while there is no such table.
pub async fn own_rows(
    table: &OwnTable,
    columns: &[&str],
    task: &Arc<TaskContext>,
) -> Result<Option<(TableVersion, Vec<RecordBatch>)>, IngestError> {
    let Some(snapshot) = table.newest().await? else { return Ok(None) };
    let unreadable = |error| StorageError::engine("read a table of ingest's own", error);
    let stream = read_columns(snapshot.provider(), columns, None, task).await.map_err(unreadable)?;
    let rows = stream.try_collect().await.map_err(unreadable)?;
    Ok(Some((snapshot.version(), rows)))
}
