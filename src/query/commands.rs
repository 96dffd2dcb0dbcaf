//! The plug for statements whose work lies above query: INSERT, COPY, REPLAY, REFRESH, OPTIMIZE, VACUUM. `app.rs` plugs in
//! ingest, materialize and storage's maintenance.
use super::QueryId;
use crate::base::{Classify, Kind, Span};
use crate::catalog::{CopyInto, Maintain, Refresh, Replay};
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
    /// Another process that would carry it out: `host:port` of its HTTP and of its gRPC server.
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
    /// Memory pool, spill folder and object stores of this statement.
    pub task: Arc<TaskContext>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
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
    /// One row per file: file, status, rows, duplicates, rejected.
    async fn copy_into(&self, copy: CopyInto, context: CommandContext) -> Result<RecordBatch, CommandError>;
    /// Reads rows of `system.rejects` again; `accepted` counts those that are in the table now for the first time.
    async fn replay(&self, replay: Replay, context: CommandContext) -> Result<WriteReport, CommandError>;
    /// Files of landing folders, the rows of `system.ingest`; `None` where nothing is ingested.
    async fn landed_files(&self) -> Result<Option<RecordBatch>, CommandError> {
        Ok(None)
    }
    async fn refresh(&self, refresh: Refresh, context: CommandContext) -> Result<u64, CommandError>;
    /// One row that says what was done, and a sentence.
    async fn maintain(
        &self,
        maintain: Maintain,
        context: CommandContext,
    ) -> Result<(RecordBatch, String), CommandError>;
}
