//! Tables ingest keeps for itself: rejects, replays, landed files. Ordinary Delta tables outside the catalog, made by the
//! first row, widened when a newer version of the program has more columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use tokio::sync::OnceCell;

use super::IngestError;
use super::key_probe::read_columns;
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, InputOrder, Lake, StagedFile, StorageError, Table, TableSnapshot,
    TableSpec, TableVersion, Transaction, WriteOptions,
};

pub struct OwnTable {
    lake: Lake,
    /// Folder below `tables/`; begins with `_`, which no user's table does.
    path: &'static str,
    columns: SchemaRef,
    table: OnceCell<Arc<Table>>,
}

/// How rows are committed.
#[derive(Clone, Debug)]
pub struct OwnCommit {
    pub operation: &'static str,
    pub transaction: Option<Transaction>,
    pub expected: Option<TableVersion>,
}

impl OwnTable {
    pub fn new(lake: Lake, path: &'static str, columns: SchemaRef) -> Self {
        Self { lake, path, columns, table: OnceCell::new() }
    }

    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The table; made when there is none.
    pub async fn get(&self) -> Result<&Arc<Table>, IngestError> {
        let opened = self.table.get_or_try_init(|| async {
            let table = match self.lake.open_table(self.path).await {
                Err(StorageError::TableNotFound { .. }) => self.create().await?,
                opened => opened?,
            };
            self.widen(&table).await?;
            Ok::<_, StorageError>(table)
        });
        Ok(opened.await?)
    }

    async fn create(&self) -> Result<Arc<Table>, StorageError> {
        let spec = TableSpec {
            path: self.path.to_owned(),
            columns: self.columns.clone(),
            event_time: None,
            event_key: None,
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            bloom_columns: Vec::new(),
        };
        match self.lake.create_table(&spec).await {
            // Another process was faster.
            Err(StorageError::TableExists { .. }) => self.lake.open_table(self.path).await,
            created => created,
        }
    }

    async fn widen(&self, table: &Table) -> Result<(), StorageError> {
        for field in self.columns.fields() {
            let is_there = |snapshot: &TableSnapshot| snapshot.columns().field_with_name(field.name()).is_ok();
            if is_there(table.snapshot().await?.as_ref()) {
                continue;
            }
            if let Err(error) = table.add_column(field.clone()).await
                // Unless another process was faster.
                && !is_there(table.refresh().await?.as_ref())
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes rows as files that nobody sees until [`OwnTable::commit`].
    pub async fn stage(&self, batch: RecordBatch, task: &Arc<TaskContext>) -> Result<Vec<StagedFile>, IngestError> {
        let rows = RecordBatchStreamAdapter::new(self.columns.clone(), futures::stream::iter([Ok(batch)]));
        let options = WriteOptions { order: InputOrder::Sorted, context: task.clone() };
        Ok(self.get().await?.write_files(Box::pin(rows), options).await?)
    }

    /// Commits staged files; on an error they are deleted, unless the commit may have landed.
    pub async fn commit(&self, files: Vec<StagedFile>, commit: OwnCommit) -> Result<CommitOutcome, IngestError> {
        let table = self.get().await?;
        let request = CommitRequest {
            files: files.clone(),
            mode: CommitMode::Append,
            transactions: commit.transaction.into_iter().collect(),
            fence: None,
            expected: commit.expected,
            operation: commit.operation,
            info: BTreeMap::new(),
        };
        let committed = table.commit(request).await;
        if committed.is_err() {
            table.discard(files).await;
        }
        Ok(committed?)
    }

    pub async fn discard(&self, files: Vec<StagedFile>) {
        if let Some(table) = self.table.get() {
            table.discard(files).await;
        }
    }

    /// The newest rows of some columns, and their version. Not made by reading.
    pub async fn rows(
        &self,
        columns: &[&str],
        task: &Arc<TaskContext>,
    ) -> Result<Option<(TableVersion, Vec<RecordBatch>)>, IngestError> {
        if self.table.get().is_none() {
            match self.lake.open_table(self.path).await {
                Err(StorageError::TableNotFound { .. }) => return Ok(None),
                opened => opened.map(drop)?,
            }
        }
        let snapshot = self.get().await?.refresh().await?;
        let unreadable = |error| StorageError::engine(format!("read the table '{}'", self.path), error);
        let stream = read_columns(snapshot.provider(), columns, None, task).await.map_err(unreadable)?;
        let rows = stream.try_collect().await.map_err(unreadable)?;
        Ok(Some((snapshot.version(), rows)))
    }
}
