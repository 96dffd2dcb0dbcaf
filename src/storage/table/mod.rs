//! One Delta table: versions, files, writing and committing.
use super::{StorageError, TableSnapshot, TableSpec};
use crate::base::Timestamp;
use arrow::datatypes::FieldRef;
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
    /// Parsed Parquet footers and page indexes, shared by the lake's tables.
    pub metadata_cache: Arc<datafusion::execution::cache::cache_manager::FileMetadataCache>,
    pub config: super::StorageConfig,
    pub clock: crate::base::Clock,
}

impl TableParts {
    /// What readers of the table need.
    pub(crate) fn root(&self) -> super::index::TableRoot {
        super::index::TableRoot {
            name: self.path.as_str().into(),
            store: self.store.clone(),
            store_url: super::store::LakeStore::plan_url(),
            prefix: self.folder.clone(),
            metadata_cache: self.metadata_cache.clone(),
        }
    }
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
