//! From the log of a view's table, where a refresh leaves what it restated, to the table of restatements, each version once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;

use super::record::{Restated, batch, carried_by, newest, uncarried};
use crate::catalog::{CatalogSnapshot, Definition};
use crate::materialize::MaterializeError;
use crate::query::{RESTATED_AT, RESTATEMENTS_PATH, restatements_schema};
use crate::storage::{Lake, OwnCommit, OwnTable, StorageError, Table, Transaction};

/// Other writers to the table of restatements that are let pass.
const ATTEMPTS: u32 = 20;

/// The table of restatements, shared by all views.
pub(in crate::materialize) struct RestatementLog {
    lake: Lake,
    table: OwnTable,
    /// Versions up to which those of a view's table are known to be carried, by its path.
    carried: Mutex<HashMap<String, i64>>,
}

impl RestatementLog {
    pub fn new(lake: Lake) -> Self {
        let table = OwnTable::new(lake.clone(), RESTATEMENTS_PATH, restatements_schema()).by_day(RESTATED_AT);
        Self { lake, table, carried: Mutex::default() }
    }

    /// Copies what is in the log of the table of `view` and not yet in the table of restatements. Killed anywhere it is done by
    /// the next call; until then readers find it in the log.
    ///
    /// # Errors
    /// Storage trouble.
    pub async fn carry(&self, view: &str, table: &Table, task: &Arc<TaskContext>) -> Result<(), MaterializeError> {
        let stored = table.current();
        let Some(newest) = newest(&stored) else { return Ok(()) };
        if self.carried.lock().get(table.path()).is_some_and(|carried| *carried >= newest) {
            return Ok(());
        }
        let app_id = carried_by(table.path());
        for _ in 0..ATTEMPTS {
            let kept = self.table.get().await?.refresh().await?;
            let carried = kept.transaction_version(&app_id);
            if carried.is_none_or(|carried| carried < newest) {
                let found = uncarried(table, &stored, carried).await?;
                let found: Vec<(String, Restated)> = found.into_iter().map(|one| (view.to_owned(), one)).collect();
                let files = self.table.stage(batch(&found)?, task).await?;
                let transaction = Some(Transaction { app_id: app_id.clone(), version: newest });
                let commit = OwnCommit { operation: "RESTATE", transaction, expected: Some(kept.version()) };
                match self.table.commit(files, commit).await {
                    Ok(_) => {}
                    Err(StorageError::VersionMoved { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            self.carried.lock().insert(table.path().to_owned(), newest);
            return Ok(());
        }
        Err(StorageError::Crowded { table: RESTATEMENTS_PATH.to_owned() }.into())
    }

    /// What is in the logs of views and not yet in the table of restatements, as rows of it.
    ///
    /// # Errors
    /// Storage trouble.
    pub async fn uncarried(&self, catalog: &CatalogSnapshot) -> Result<RecordBatch, MaterializeError> {
        let kept = self.table.newest().await?;
        let mut found = Vec::new();
        for object in catalog.relations.values() {
            let (Definition::MaterializedView(_), Some(path)) = (&object.definition, &object.table_path) else {
                continue;
            };
            let table = self.lake.open_table(path).await?;
            let carried = kept.as_ref().and_then(|kept| kept.transaction_version(&carried_by(path)));
            let restated = uncarried(&table, table.snapshot().await?.as_ref(), carried).await?;
            found.extend(restated.into_iter().map(|one| (object.name.clone(), one)));
        }
        batch(&found)
    }
}
