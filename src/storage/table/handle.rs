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

use super::changes::RecentCommits;
use super::vacuum::RemovedFiles;
use crate::base::{Clock, Stopwatch, Tasks, Timestamp};
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

/// Whether a table takes more versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Its files are being deleted, or another table's are in their place.
    Dropped,
}

/// The right to add to the log, held by one writer of this process at a time.
pub(super) struct Turn<'a> {
    _writing: tokio::sync::MutexGuard<'a, ()>,
    _life: tokio::sync::RwLockReadGuard<'a, Life>,
}

/// When the log was looked at: every commit made before is known.
#[derive(Clone, Copy)]
struct Look {
    stopwatch: Stopwatch,
    at: Timestamp,
}

impl Look {
    fn begin(parts: &TableParts) -> Self {
        Self { stopwatch: Stopwatch::start(), at: parts.clock.now() }
    }
}

/// One Delta table. The lake gives one shared instance per path.
pub struct Table {
    pub(super) parts: TableParts,
    current: RwLock<Arc<TableSnapshot>>,
    /// The last look at the log; what `current` says is at least as new.
    looked: Mutex<Look>,
    /// Held while the log is read, so that many readers look once.
    looking: tokio::sync::Mutex<()>,
    /// Held by the one writer.
    writing: tokio::sync::Mutex<()>,
    /// Held for reading by whoever writes to the log's folder, checkpoints too.
    pub(super) life: Arc<tokio::sync::RwLock<Life>>,
    /// Files whose commit may have landed: never deleted.
    pub(super) in_doubt: Mutex<BTreeSet<String>>,
    /// What the log says about files removed lately; kept between vacuums.
    pub(super) removed: tokio::sync::Mutex<RemovedFiles>,
    /// Commits that need not be read again to tell changes.
    pub(super) recent: Mutex<RecentCommits>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}@{})", self.parts.path, self.current().version())
    }
}

impl Table {
    /// The existing table.
    pub(crate) async fn open(parts: TableParts) -> Result<Table, StorageError> {
        let looked = Look::begin(&parts);
        let snapshot = TableSnapshot::new(Arc::new(FileIndex::load(&parts.root()).await?));
        Ok(Self {
            parts,
            current: RwLock::new(Arc::new(snapshot)),
            looked: Mutex::new(looked),
            looking: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            life: Arc::new(tokio::sync::RwLock::new(Life::Open)),
            in_doubt: Mutex::default(),
            removed: tokio::sync::Mutex::default(),
            recent: Mutex::default(),
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
        self.snapshot_and_moment().await.map(|(snapshot, _)| snapshot)
    }

    /// As [`Table::snapshot`], with the moment before which every commit is in it, by this process's clock.
    pub async fn snapshot_and_moment(&self) -> Result<(Arc<TableSnapshot>, Timestamp), StorageError> {
        if let Some(at) = self.fresh_look() {
            return Ok((self.current(), at));
        }
        let turn = self.looking.lock().await;
        if let Some(at) = self.fresh_look() {
            return Ok((self.current(), at));
        }
        self.look(turn).await
    }

    /// The newest version, always looking at the log.
    pub async fn refresh(&self) -> Result<Arc<TableSnapshot>, StorageError> {
        let turn = self.looking.lock().await;
        self.look(turn).await.map(|(snapshot, _)| snapshot)
    }

    /// Waits for the right to commit.
    ///
    /// # Errors
    /// `TableNotFound` when the table has been dropped: its path may be another table's by now.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, StorageError> {
        let writing = self.writing.lock().await;
        let life = self.life.read().await;
        match *life {
            Life::Open => Ok(Turn { _writing: writing, _life: life }),
            Life::Dropped => Err(StorageError::TableNotFound { path: self.parts.path.clone() }),
        }
    }

    /// Takes no more commits; those under way, and checkpoints, have ended when this returns.
    pub(crate) async fn retire(&self) {
        *self.life.write().await = Life::Dropped;
    }

    /// The moment of the last look, when that was lately.
    fn fresh_look(&self) -> Option<Timestamp> {
        let look = *self.looked.lock();
        (look.stopwatch.elapsed() < self.parts.config.poll_interval.duration()).then_some(look.at)
    }

    /// Takes a commit of ours into the snapshot, without reading it back.
    pub(super) async fn adopt(&self, version: TableVersion, content: Bytes) -> Result<(), StorageError> {
        self.recent.lock().put(version, content.clone());
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

    async fn look(
        &self,
        turn: tokio::sync::MutexGuard<'_, ()>,
    ) -> Result<(Arc<TableSnapshot>, Timestamp), StorageError> {
        let look = Look::begin(&self.parts);
        let known = self.current();
        let newest = known.index().advance().await?;
        if !Arc::ptr_eq(&newest, known.index()) {
            *self.current.write() = Arc::new(TableSnapshot::new(newest));
        }
        *self.looked.lock() = look;
        drop(turn);
        Ok((self.current(), look.at))
    }
}
