//! The open table: what it is made of, and the newest version known here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::{Mutex, RwLock};

use super::vacuum::RemovedFiles;
use crate::base::{Clock, Stopwatch, Tasks};
use crate::storage::index::{FileIndex, TableRoot};
use crate::storage::maintenance::Board;
use crate::storage::store::LakeStore;
use crate::storage::{StorageConfig, StorageError, TableSnapshot, TableVersion};

/// What a table is made of; the lake knows it.
pub(crate) struct TableParts {
    pub path: String,
    /// delta-rs's view of the table.
    pub log_store: LogStoreRef,
    /// Paths relative to the lake.
    pub store: Arc<dyn ObjectStore>,
    /// `tables/<path>` within `store`.
    pub folder: Path,
    /// Parsed Parquet footers and page indexes, shared by the lake's tables.
    pub metadata_cache: Arc<FileMetadataCache>,
    /// Whether `store` is reached over a network, where a request's fate can stay unknown.
    pub remote: bool,
    pub config: StorageConfig,
    pub clock: Clock,
    /// Where checkpoints are made.
    pub tasks: Tasks,
    /// Where work on the table is written down.
    pub board: Arc<Board>,
}

impl TableParts {
    /// What readers of the table need.
    pub(crate) fn root(&self) -> TableRoot {
        TableRoot {
            name: self.path.as_str().into(),
            store: self.store.clone(),
            store_url: LakeStore::plan_url(),
            prefix: self.folder.clone(),
            metadata_cache: self.metadata_cache.clone(),
        }
    }
}

/// One Delta table. The lake gives one shared instance per path.
pub struct Table {
    pub(super) parts: TableParts,
    current: RwLock<Arc<TableSnapshot>>,
    /// Started when the log was last looked at; what `current` says is at least as new.
    looked: Mutex<Stopwatch>,
    /// Held while the log is read, so that many readers look once.
    looking: tokio::sync::Mutex<()>,
    /// Held by the one writer.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Files whose commit may have landed: never deleted.
    pub(super) in_doubt: Mutex<BTreeSet<String>>,
    /// What the log says about files removed lately; kept between vacuums.
    pub(super) removed: tokio::sync::Mutex<RemovedFiles>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}@{})", self.parts.path, self.current().version())
    }
}

impl Table {
    /// The existing table.
    pub(crate) async fn open(parts: TableParts) -> Result<Table, StorageError> {
        let looked = Stopwatch::start();
        let snapshot = TableSnapshot::new(Arc::new(FileIndex::load(&parts.root()).await?));
        Ok(Self {
            parts,
            current: RwLock::new(Arc::new(snapshot)),
            looked: Mutex::new(looked),
            looking: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            in_doubt: Mutex::default(),
            removed: tokio::sync::Mutex::default(),
        })
    }

    /// Folder below `tables/`.
    pub fn path(&self) -> &str {
        &self.parts.path
    }

    /// The newest version known here, without I/O.
    pub fn current(&self) -> Arc<TableSnapshot> {
        self.current.read().clone()
    }

    /// The newest version, looking at the log when the known one is older than `storage.poll_interval`.
    pub async fn snapshot(&self) -> Result<Arc<TableSnapshot>, StorageError> {
        if self.is_fresh() {
            return Ok(self.current());
        }
        let turn = self.looking.lock().await;
        if self.is_fresh() {
            return Ok(self.current());
        }
        self.look(turn).await
    }

    /// The newest version, always looking at the log.
    pub async fn refresh(&self) -> Result<Arc<TableSnapshot>, StorageError> {
        let turn = self.looking.lock().await;
        self.look(turn).await
    }

    fn is_fresh(&self) -> bool {
        self.looked.lock().elapsed() < self.parts.config.poll_interval.duration()
    }

    /// Takes a commit of ours into the snapshot, without reading it back.
    pub(super) async fn adopt(&self, version: TableVersion, content: Bytes) -> Result<(), StorageError> {
        let turn = self.looking.lock().await;
        let known = self.current();
        if known.version().0 + 1 != version.0 {
            // Somebody's look has met it already, or others are between.
            return self.look(turn).await.map(drop);
        }
        let next = known.index().with_commits(&[(version.0, content)])?;
        *self.current.write() = Arc::new(TableSnapshot::new(Arc::new(next)));
        Ok(())
    }

    async fn look(&self, turn: tokio::sync::MutexGuard<'_, ()>) -> Result<Arc<TableSnapshot>, StorageError> {
        let started = Stopwatch::start();
        let known = self.current();
        let newest = known.index().advance().await?;
        if !Arc::ptr_eq(&newest, known.index()) {
            *self.current.write() = Arc::new(TableSnapshot::new(newest));
        }
        *self.looked.lock() = started;
        drop(turn);
        Ok(self.current())
    }
}
