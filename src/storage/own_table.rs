//! Tables the program keeps for itself: rejects, replays, landed files, restatements, verifications, the audit. Ordinary Delta tables
//! outside the catalog, made by the first row, widened when a newer version of the program has more columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::OnceCell;

use super::{
    CommitMode, CommitOutcome, CommitRequest, InputOrder, Lake, Partitioning, StagedFile, StorageError, Table,
    TableSnapshot, TableSpec, TableVersion, Transaction, Transform, WriteOptions,
};

pub struct OwnTable {
    lake: Lake,
    /// Folder below `tables/`; begins with `_`, which no user's table does.
    path: &'static str,
    columns: SchemaRef,
    /// A time: rows lie in one partition for each day of it, so that whole days can expire.
    by_day: Option<&'static str>,
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
        Self { lake, path, columns, by_day: None, table: OnceCell::new() }
    }

    /// The same with a partition for each day of `column`.
    pub fn by_day(self, column: &'static str) -> Self {
        Self { by_day: Some(column), ..self }
    }

    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The table; made when there is none.
    pub async fn get(&self) -> Result<&Arc<Table>, StorageError> {
        let opened = self.table.get_or_try_init(|| async {
            let table = match self.lake.open_table(self.path).await {
                Err(StorageError::TableNotFound { .. }) => self.create().await?,
                opened => opened?,
            };
            self.widen(&table).await?;
            Ok(table)
        });
        opened.await
    }

    /// The newest version, if there is a table; it is not made by reading.
    pub async fn newest(&self) -> Result<Option<Arc<TableSnapshot>>, StorageError> {
        if self.table.get().is_none() {
            match self.lake.open_table(self.path).await {
                Err(StorageError::TableNotFound { .. }) => return Ok(None),
                opened => opened.map(drop)?,
            }
        }
        self.get().await?.refresh().await.map(Some)
    }

    async fn create(&self) -> Result<Arc<Table>, StorageError> {
        let day = |column: &str| Partitioning { column: column.to_owned(), transform: Transform::Day };
        let spec = TableSpec {
            path: self.path.to_owned(),
            columns: self.columns.clone(),
            event_time: self.by_day.map(str::to_owned),
            event_key: None,
            partition_by: self.by_day.map(day).into_iter().collect(),
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
    pub async fn stage(&self, batch: RecordBatch, task: &Arc<TaskContext>) -> Result<Vec<StagedFile>, StorageError> {
        let rows = RecordBatchStreamAdapter::new(self.columns.clone(), futures::stream::iter([Ok(batch)]));
        let order = if self.by_day.is_some() { InputOrder::Unsorted } else { InputOrder::Sorted };
        let options = WriteOptions { order, context: task.clone() };
        self.get().await?.write_files(Box::pin(rows), options).await
    }

    /// Commits staged files; on an error they are deleted, unless the commit may have landed.
    pub async fn commit(&self, files: Vec<StagedFile>, commit: OwnCommit) -> Result<CommitOutcome, StorageError> {
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
        committed
    }

    pub async fn discard(&self, files: Vec<StagedFile>) {
        if let Some(table) = self.table.get() {
            table.discard(files).await;
        }
    }
}
