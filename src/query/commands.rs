//! The plug for statements whose work lies above query: INSERT, DELETE, COPY, REPLAY, REFRESH, EXPLAIN REFRESH, VERIFY,
//! OPTIMIZE, VACUUM. `app.rs` plugs in ingest, materialize and storage's maintenance.
use super::{QueryId, Reach};
use crate::base::{Classify, Kind, Span};
use crate::catalog::{CopyInto, Maintain, Refresh, Replay};
use crate::storage::{DeleteReport, RowPredicate, TableSnapshot};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An error of a plugged-in command, already classified.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    pub kind: Kind,
    pub message: String,
    /// Running the same again may help after this long.
    pub retry_after: Option<Span>,
    /// Another process that would carry it out: the URLs of its HTTP and of its gRPC server.
    pub owner: Option<(String, String)>,
}
impl Classify for CommandError {
    fn kind(&self) -> Kind {
        self.kind
    }
}
impl CommandError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, owner: None }
    }

    pub fn from_error(error: &(impl Classify + 'static)) -> Self {
        Self::new(error.kind(), error.public_message())
    }
}

/// Told about how far a long statement is; shown by the CLI and `system.queries`.
pub trait Progress: Send + Sync {
    fn total_bytes(&self, _bytes: u64) {}
    fn advance(&self, _bytes: u64, _rows: u64) {}
    fn phase(&self, _name: &str) {}
}

#[derive(Clone)]
pub struct CommandContext {
    pub query_id: QueryId,
    pub cancel: CancellationToken,
    pub progress: Arc<dyn Progress>,
    /// Where files that the statement names have to be.
    pub reach: Reach,
    /// Memory pool, spill folder and object stores of this statement.
    pub task: Arc<TaskContext>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
}
/// Rows of a table to be deleted.
#[derive(Clone, Debug)]
pub struct DeleteRows {
    pub table: String,
    /// The version whose rows go; subqueries were answered at the same moment.
    pub base: Arc<TableSnapshot>,
    pub rows: RowPredicate,
}
/// First column of what VERIFY answers, VARCHAR: who has the row, `view` or `query`.
pub const VERIFIED_SIDE: &str = "side";

/// What EXPLAIN REFRESH answers: `property` and `value`, both VARCHAR.
pub fn explained_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![text("property"), text("value")]))
}

/// Properties and values as rows of [`explained_schema`].
///
/// # Errors
/// Arrow's; none in practice.
pub fn explained(rows: Vec<(&'static str, String)>) -> Result<RecordBatch, CommandError> {
    let (properties, values): (Vec<&str>, Vec<String>) = rows.into_iter().unzip();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(properties)), Arc::new(StringArray::from(values))];
    RecordBatch::try_new(explained_schema(), columns)
        .map_err(|error| CommandError::new(Kind::Internal, error.to_string()))
}

#[async_trait]
pub trait Commands: Send + Sync {
    /// Rows are in the table's column order and types (query has cast them); missing columns are null.
    async fn insert(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        context: CommandContext,
    ) -> Result<WriteReport, CommandError>;
    /// All or none, in one commit; see [`Table::delete_rows`](crate::storage::Table::delete_rows). Runs on the threads of the
    /// engine.
    async fn delete(&self, _delete: DeleteRows, _context: CommandContext) -> Result<DeleteReport, CommandError> {
        Err(CommandError::new(Kind::Unimplemented, "DELETE is not supported here"))
    }
    /// One row per file: file, status, rows, duplicates, rejected.
    async fn copy_into(&self, copy: CopyInto, context: CommandContext) -> Result<RecordBatch, CommandError>;
    /// Reads rows of `system.rejects` again; `accepted` counts those that are in the table now for the first time.
    async fn replay(&self, replay: Replay, context: CommandContext) -> Result<WriteReport, CommandError>;
    /// Files of landing folders, the rows of `system.ingest`; `None` where nothing is ingested.
    async fn landed_files(&self) -> Result<Option<RecordBatch>, CommandError> {
        Ok(None)
    }
    /// Rows written, when all of the scope is in the view's rows.
    async fn refresh(&self, refresh: Refresh, context: CommandContext) -> Result<u64, CommandError>;
    /// What the next refresh of `view` would do, and why: rows of [`explained_schema`]. Changes nothing, so it also runs
    /// where the lake is read only.
    async fn explain_refresh(&self, _view: &str, _context: CommandContext) -> Result<RecordBatch, CommandError> {
        Err(CommandError::new(Kind::Unimplemented, "EXPLAIN REFRESH is not supported yet"))
    }
    /// Rows that `view` answers and its query over the sources does not, or the other way round, both at one version of the
    /// sources: the column [`VERIFIED_SIDE`], then the view's columns. No rows = the view is right. `range` is as in
    /// [`RefreshScope::Between`](crate::catalog::RefreshScope::Between). Changes nothing.
    async fn verify(
        &self,
        _view: &str,
        _range: Option<(String, String)>,
        _context: CommandContext,
    ) -> Result<RecordBatch, CommandError> {
        Err(CommandError::new(Kind::Unimplemented, "VERIFY is not supported yet"))
    }
    /// One row that says what was done, and a sentence.
    async fn maintain(
        &self,
        maintain: Maintain,
        context: CommandContext,
    ) -> Result<(RecordBatch, String), CommandError>;
}
