//! One Delta table: versions, files, writing and committing.
use super::{StorageError, TableSpec};
use crate::base::Timestamp;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A Delta table version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableVersion(pub u64);
impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a table is made of; the lake knows it.
pub(crate) struct TableParts {
    pub path: String,
    /// delta-rs's view of the table.
    pub log_store: deltalake_core::logstore::LogStoreRef,
    /// Paths relative to the lake.
    pub store: Arc<dyn object_store::ObjectStore>,
    /// `tables/<path>` within `store`.
    pub folder: object_store::path::Path,
    pub config: super::StorageConfig,
    pub clock: crate::base::Clock,
}

#[derive(Debug)]
pub struct Table {}
impl Table {
    pub(crate) async fn create(_parts: TableParts, _spec: &TableSpec) -> Result<Table, StorageError> {
        todo!()
    }
    pub(crate) async fn open(_parts: TableParts) -> Result<Table, StorageError> {
        todo!()
    }
    pub fn path(&self) -> &str {
        todo!()
    }
    /// The newest version known here, without I/O.
    pub fn current(&self) -> Arc<TableSnapshot> {
        todo!()
    }
    /// The newest version, looking at the log when the known one is older than `storage.poll_interval`.
    pub async fn snapshot(&self) -> Result<Arc<TableSnapshot>, StorageError> {
        todo!()
    }
    /// The newest version, always looking at the log.
    pub async fn refresh(&self) -> Result<Arc<TableSnapshot>, StorageError> {
        todo!()
    }
    /// Writes rows (in `spec.columns` order and types) as Parquet files that no reader sees until they are committed.
    pub async fn write_files(
        &self,
        _rows: SendableRecordBatchStream,
        _options: WriteOptions,
    ) -> Result<Vec<StagedFile>, StorageError> {
        todo!()
    }
    /// One atomic commit. On any error of the commit itself the version is read back before answering (the PUT may have landed).
    pub async fn commit(&self, _request: CommitRequest) -> Result<CommitOutcome, StorageError> {
        todo!()
    }
    /// Deletes staged files that will not be committed.
    pub async fn discard(&self, _files: Vec<StagedFile>) {
        todo!()
    }
    pub async fn add_column(&self, _field: FieldRef) -> Result<TableVersion, StorageError> {
        todo!()
    }
    /// Newest commits first.
    pub async fn history(&self, _limit: usize) -> Result<Vec<CommitRecord>, StorageError> {
        todo!()
    }
}

/// The files of one version, immutable.
#[derive(Debug)]
pub struct TableSnapshot {}
impl TableSnapshot {
    pub fn version(&self) -> TableVersion {
        todo!()
    }
    pub fn committed_at(&self) -> Timestamp {
        todo!()
    }
    pub fn spec(&self) -> &TableSpec {
        todo!()
    }
    pub fn columns(&self) -> SchemaRef {
        todo!()
    }
    pub fn file_count(&self) -> usize {
        todo!()
    }
    pub fn row_count(&self) -> u64 {
        todo!()
    }
    pub fn bytes(&self) -> u64 {
        todo!()
    }
    /// The version last committed under a transaction id.
    pub fn transaction_version(&self, _app_id: &str) -> Option<i64> {
        todo!()
    }
    /// A provider that reads exactly this version.
    pub fn provider(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        todo!()
    }
    /// The files of `self` that are not in `older` (for advancing an index), as a provider; `None` when nothing is new.
    pub fn provider_of_files_added_since(self: &Arc<Self>, _older: &TableSnapshot) -> Option<Arc<dyn TableProvider>> {
        todo!()
    }
}

/// A written, uncommitted Parquet file.
#[derive(Clone, Debug)]
pub struct StagedFile {
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Clone)]
pub struct WriteOptions {
    pub order: InputOrder,
    /// Where sorting takes its memory and spill files from.
    pub context: Arc<TaskContext>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputOrder {
    /** sort by partition and `sort_by` first, spilling when large */
    Unsorted,
    /** already in that order */
    Sorted,
}

#[derive(Clone, Debug)]
pub struct CommitRequest {
    pub files: Vec<StagedFile>,
    pub mode: CommitMode,
    /// Idempotency: when the first is already stored with a version ≥ ours, the commit is a no-op (`AlreadyCommitted`).
    pub transactions: Vec<Transaction>,
    /// Fail with `VersionMoved` unless the table is still at this version.
    pub expected: Option<TableVersion>,
    /// Shown in `system.commits`: `LOAD`, `INSERT`, `REFRESH` …
    pub operation: &'static str,
    pub info: BTreeMap<String, serde_json::Value>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /** add files */
    Append,
    /** remove all present files, then add */
    Replace,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub app_id: String,
    pub version: i64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed(TableVersion),
    AlreadyCommitted(TableVersion),
}

#[derive(Clone, Debug)]
pub struct CommitRecord {
    pub version: TableVersion,
    pub committed_at: Timestamp,
    pub operation: String,
    pub info: serde_json::Value,
}
