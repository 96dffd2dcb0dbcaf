//! The table of rejected rows (LATE-1): nothing that came in is dropped silently.
//!
//! An ordinary Delta table at `tables/_rejects`, made by the first rejection, outside the catalog; `system.rejects` reads
//! it. Rows are kept whole, with what is needed to read them again (`replay`). Rejections are committed before the rows that were accepted with them, so an acknowledged request has its
//! rejections on record; those of a file carry its transaction, so a file loaded again after a crash adds none. A request
//! over HTTP whose accepted rows could not be committed may leave its rejections twice when it is sent again.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::execution::TaskContext;
use uuid::Uuid;

use super::IngestError;
use super::batch::Rejection;
use crate::base::Clock;
use crate::storage::{Lake, OwnCommit, OwnTable, StagedFile, Transaction};

/// Folder of the rejects table below `tables/`.
pub const REJECTS_PATH: &str = "_rejects";

/// Writes rejections. Shared by all tables.
pub struct RejectLog {
    clock: Clock,
    table: OwnTable,
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
        // Nullable, and last: tables of earlier versions gain them.
        Field::new("reject_id", DataType::Utf8, true),
        Field::new("format", DataType::Utf8, true),
        Field::new("read_as", DataType::Utf8, true),
        Field::new("raw", DataType::Binary, true),
    ]))
}

impl RejectLog {
    pub fn new(lake: Lake, clock: Clock) -> Self {
        Self { clock, table: OwnTable::new(lake, REJECTS_PATH, columns()) }
    }

    /// Writes rejections as files that nobody sees until [`RejectLog::commit`].
    pub async fn stage(
        &self,
        from: RejectSource<'_>,
        rejections: &[Rejection],
        task: &Arc<TaskContext>,
    ) -> Result<Vec<StagedFile>, IngestError> {
        Ok(self.table.stage(self.batch(from, rejections)?, task).await?)
    }

    /// Commits staged rejections; at most once per transaction.
    pub async fn commit(&self, files: Vec<StagedFile>, transaction: Option<Transaction>) -> Result<(), IngestError> {
        self.table.commit(files, OwnCommit { operation: "REJECT", transaction, expected: None }).await?;
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
        self.table.discard(files).await;
    }

    fn batch(&self, from: RejectSource<'_>, rejections: &[Rejection]) -> Result<RecordBatch, IngestError> {
        let now = self.clock.now().micros();
        let count = rejections.len();
        let batch_id = Uuid::new_v4();
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
            Arc::new((0..count).map(|index| Some(format!("{batch_id}-{index}"))).collect::<StringArray>()),
            text(|rejection| Some(rejection.format.as_str())),
            text(|rejection| rejection.read_as.as_deref()),
            Arc::new(rejections.iter().map(|rejection| rejection.raw.as_deref()).collect::<BinaryArray>()),
        ];
        RecordBatch::try_new(columns(), arrays)
            .map_err(|error| IngestError::Invalid { message: format!("cannot record rejected rows: {error}") })
    }
}
