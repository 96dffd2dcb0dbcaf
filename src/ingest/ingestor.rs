//! The one door for rows.
use super::*;
use crate::base::Clock;
use crate::catalog::Catalog;
use crate::storage::{Lake, TableVersion};
use bytes::Bytes;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct IngestParts {
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub config: IngestConfig,
    pub clock: Clock,
    /** memory and spill space for work outside a statement */
    pub task: Arc<TaskContext>,
}
/// Cheap to clone.
#[derive(Clone)]
pub struct Ingestor {}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    Ndjson,
    JsonArray,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Parquet,
    Csv,
    Tsv,
    Ndjson,
}
#[derive(Clone, Debug)]
pub struct AppendReport {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: Vec<Rejection>,
    pub version: TableVersion,
}
#[derive(Clone, Debug)]
pub struct LoadRequest {
    pub table: String,
    pub from: Vec<String>,
    /** by extension when `None` */
    pub format: Option<FileFormat>,
    /** (source column, table column) */
    pub map: Vec<(String, String)>,
    pub time_format: Option<String>,
    pub max_rejects: Option<u64>,
    /** false: columns are named `column_1`… (headerless TSV) */
    pub header: bool,
    pub delimiter: Option<u8>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    Loaded,
    AlreadyLoaded,
}
#[derive(Clone, Debug)]
pub struct FileReport {
    pub file: String,
    pub status: FileStatus,
    pub rows: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub version: TableVersion,
}
/// Told how far a load is.
pub trait LoadProgress: Send + Sync {
    fn total_bytes(&self, bytes: u64);
    fn advance(&self, bytes: u64, rows: u64);
    fn phase(&self, name: &str);
}
impl Ingestor {
    pub fn new(_parts: IngestParts) -> Self {
        todo!()
    }
    /// One request: all its valid rows in one commit, before this returns (ACK-1, GC-1).
    pub async fn append_rows(
        &self,
        _table: &str,
        _body: Bytes,
        _format: RowFormat,
    ) -> Result<AppendReport, IngestError> {
        todo!()
    }
    /// Typed rows in table column order (SQL INSERT, later Arrow over Flight).
    pub async fn append_stream(
        &self,
        _table: &str,
        _rows: SendableRecordBatchStream,
        _task: Arc<TaskContext>,
        _cancel: CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        todo!()
    }
    /// Loads files, each exactly once by content.
    pub async fn load(
        &self,
        _request: LoadRequest,
        _progress: Arc<dyn LoadProgress>,
        _task: Arc<TaskContext>,
        _cancel: CancellationToken,
    ) -> Result<Vec<FileReport>, IngestError> {
        todo!()
    }
}
