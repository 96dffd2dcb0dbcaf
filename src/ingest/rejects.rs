//! The table of rejected rows (LATE-1): nothing that came in is dropped silently.
//!
//! An ordinary Delta table at `tables/_rejects`, made by the first rejection, outside the catalog; `system.rejects` reads
//! it. Rejections are committed before the rows that were accepted with them, so an acknowledged request has its
//! rejections on record; those of a file carry its transaction, so a file loaded again after a crash adds none. A request
//! over HTTP whose accepted rows could not be committed may leave its rejections twice when it is sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::OnceCell;

use super::IngestError;
use super::batch::Rejection;
use crate::base::Clock;
use crate::storage::{
    CommitMode, CommitRequest, InputOrder, Lake, StagedFile, StorageError, Table, TableSpec, Transaction, WriteOptions,
};

/// Folder of the rejects table below `tables/`.
pub const REJECTS_PATH: &str = "_rejects";

/// Writes rejections. Shared by all tables.
pub struct RejectLog {
    lake: Lake,
    clock: Clock,
    table: OnceCell<Arc<Table>>,
}

/// Where rejections come from.
#[derive(Clone, Copy, Debug)]
pub struct RejectSource<'a> {
    pub table: &'a str,
    /// `http`, or the file.
    pub source: &'a str,
}

fn columns() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("rejected_at", time, false),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("field", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("row", DataType::Utf8, false),
    ]))
}

impl RejectLog {
    pub fn new(lake: Lake, clock: Clock) -> Self {
        Self { lake, clock, table: OnceCell::new() }
    }

    async fn table(&self) -> Result<&Arc<Table>, StorageError> {
        self.table
            .get_or_try_init(|| async {
                match self.lake.open_table(REJECTS_PATH).await {
                    Err(StorageError::TableNotFound { .. }) => {}
                    opened => return opened,
                }
                let spec = TableSpec {
                    path: REJECTS_PATH.to_owned(),
                    columns: columns(),
                    event_time: None,
                    event_key: None,
                    partition_by: Vec::new(),
                    sort_by: Vec::new(),
                    bloom_columns: Vec::new(),
                };
                match self.lake.create_table(&spec).await {
                    // Another process was faster.
                    Err(StorageError::TableExists { .. }) => self.lake.open_table(REJECTS_PATH).await,
                    created => created,
                }
            })
            .await
    }

    /// Writes rejections as files that nobody sees until [`RejectLog::commit`].
    pub async fn stage(
        &self,
        from: RejectSource<'_>,
        rejections: &[Rejection],
        task: &Arc<TaskContext>,
    ) -> Result<Vec<StagedFile>, IngestError> {
        let batch = self.batch(from, rejections)?;
        let rows = RecordBatchStreamAdapter::new(columns(), futures::stream::iter([Ok(batch)]));
        let options = WriteOptions { order: InputOrder::Sorted, context: task.clone() };
        Ok(self.table().await?.write_files(Box::pin(rows), options).await?)
    }

    /// Commits staged rejections; at most once per transaction.
    pub async fn commit(&self, files: Vec<StagedFile>, transaction: Option<Transaction>) -> Result<(), IngestError> {
        let table = self.table().await?;
        let request = CommitRequest {
            files: files.clone(),
            mode: CommitMode::Append,
            transactions: transaction.into_iter().collect(),
            fence: None,
            expected: None,
            operation: "REJECT",
            info: BTreeMap::new(),
        };
        if let Err(error) = table.commit(request).await {
            table.discard(files).await;
            return Err(error.into());
        }
        Ok(())
    }

    /// Stages and commits the rejections of one request.
    pub async fn record(
        &self,
        from: RejectSource<'_>,
        rejections: &[Rejection],
        task: &Arc<TaskContext>,
    ) -> Result<(), IngestError> {
        if rejections.is_empty() {
            return Ok(());
        }
        let files = self.stage(from, rejections, task).await?;
        self.commit(files, None).await
    }

    /// Deletes staged rejections of a file that is not loaded.
    pub async fn discard(&self, files: Vec<StagedFile>) {
        if files.is_empty() {
            return;
        }
        if let Ok(table) = self.table().await {
            table.discard(files).await;
        }
    }

    fn batch(&self, from: RejectSource<'_>, rejections: &[Rejection]) -> Result<RecordBatch, IngestError> {
        let now = self.clock.now().micros();
        let count = rejections.len();
        let text = |pick: fn(&Rejection) -> Option<&str>| -> ArrayRef {
            Arc::new(rejections.iter().map(pick).collect::<StringArray>())
        };
        let lines = rejections.iter().map(|rejection| i64::try_from(rejection.line).unwrap_or(i64::MAX));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![now; count]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec![from.table; count])),
            Arc::new(StringArray::from(vec![from.source; count])),
            Arc::new(lines.collect::<Int64Array>()),
            text(|rejection| rejection.field.as_deref()),
            text(|rejection| Some(&rejection.reason)),
            text(|rejection| Some(&rejection.row)),
        ];
        RecordBatch::try_new(columns(), arrays)
            .map_err(|error| IngestError::Invalid { message: format!("cannot record rejected rows: {error}") })
    }
}
