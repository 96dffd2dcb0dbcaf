//! The lake: one folder or bucket prefix holding every table and document.
//!
//! ```text
//! <location>/tables/<path>/         one Delta table: Parquet files and _delta_log/
//! <location>/documents/<name>/      versions of one small document
//! <location>/dropped/               which tables were dropped whose files are still there
//! ```
//!
//! Not here: which tables there are (the catalog knows), what is in them (`table`).

mod dropped;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;
use futures::stream::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::location::resolved;
use super::locations::Locations;
use super::maintenance::Board;
use super::read_only::ReadOnly;
use super::store::LakeStore;
use super::table::{TableParts, encoded_bytes};
use super::{Documents, ExternalFile, LakeLocation, StorageConfig, StorageError, Table, TableSpec, external};
use crate::base::{Clock, Tasks};

/// An open lake. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    shared: Arc<Shared>,
}

struct Shared {
    location: LakeLocation,
    process_id: Uuid,
    config: StorageConfig,
    clock: Clock,
    store: LakeStore,
    read_only: Option<ReadOnly>,
    metadata_cache: Arc<FileMetadataCache>,
    /// Checkpoints in work.
    tasks: Tasks,
    board: Arc<Board>,
    tables: Mutex<HashMap<String, Arc<OnceCell<Arc<Table>>>>>,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({})", self.shared.location)
    }
}

impl Lake {
    /// Opens the lake, making the folder when it is absent. The store has answered once when this returns.
    pub async fn open(location: &LakeLocation, config: &StorageConfig, clock: Clock) -> Result<Lake, StorageError> {
        let store = LakeStore::open(location, &config.s3)?;
        let lake = Self::over(store, location, config, clock, None);
        lake.probe().await?;
        if let LakeLocation::S3 { .. } = location {
            check_create_if_absent(location, lake.shared.store.lake().as_ref()).await?;
        }
        Ok(lake)
    }

    /// Opens the lake for reading only: nothing is ever written, and the folder must be there. Whoever tries to change
    /// something is told `ReadOnly` with `write_at`.
    pub async fn open_read_only(
        location: &LakeLocation,
        config: &StorageConfig,
        clock: Clock,
        write_at: &str,
    ) -> Result<Lake, StorageError> {
        if let LakeLocation::Folder(path) = location
            && !path.is_dir()
        {
            let reason = "it is not there, and a read-only server makes none".to_owned();
            return Err(StorageError::BadLocation { location: location.to_string(), reason });
        }
        let write_at = if write_at.is_empty() { "a server of this lake that is not" } else { write_at };
        let reason = ReadOnly { write_at: write_at.into() };
        let store = LakeStore::open(location, &config.s3)?.read_only(&reason);
        let lake = Self::over(store, location, config, clock, Some(reason));
        lake.probe().await?;
        Ok(lake)
    }

    fn over(
        store: LakeStore,
        location: &LakeLocation,
        config: &StorageConfig,
        clock: Clock,
        read_only: Option<ReadOnly>,
    ) -> Lake {
        let shared = Shared {
            location: location.clone(),
            process_id: Uuid::new_v4(),
            config: config.clone(),
            clock,
            store,
            read_only,
            metadata_cache: Arc::new(DefaultCache::new(config.metadata_cache.as_usize())),
            tasks: Tasks::new(),
            board: Arc::default(),
            tables: Mutex::default(),
        };
        Lake { shared: Arc::new(shared) }
    }

    /// # Errors
    /// `ReadOnly` when this lake was opened for reading only. Asked before work that would only fail at its end.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        match &self.shared.read_only {
            Some(reason) => Err(StorageError::ReadOnly { write_at: reason.write_at.to_string() }),
            None => Ok(()),
        }
    }

    pub fn location(&self) -> &LakeLocation {
        &self.shared.location
    }

    /// Names this opening of the lake among all processes that have it open: the holder of its leases.
    pub fn process_id(&self) -> Uuid {
        self.shared.process_id
    }

    /// Makes an empty Delta table at `tables/<spec.path>`.
    pub async fn create_table(&self, spec: &TableSpec) -> Result<Arc<Table>, StorageError> {
        let spec = spec.clone().storable()?;
        let table = Table::create(self.table_parts(&spec.path)?, &spec).await?;
        let table = Arc::new(table);
        self.shared.tables.lock().insert(spec.path, Arc::new(OnceCell::new_with(Some(table.clone()))));
        Ok(table)
    }

    /// Bytes that rows (of one schema) would take in a file of a table.
    ///
    /// # Errors
    /// Types that files cannot hold.
    pub fn encoded_bytes(&self, rows: &[RecordBatch]) -> Result<u64, StorageError> {
        encoded_bytes(rows, &self.shared.config)
    }

    /// The open table at `tables/<path>`; one shared instance per path in this process.
    pub async fn open_table(&self, path: &str) -> Result<Arc<Table>, StorageError> {
        let cell = self.shared.tables.lock().entry(path.to_owned()).or_default().clone();
        let opened =
            cell.get_or_try_init(|| async { Ok(Arc::new(Table::open(self.table_parts(path)?).await?)) }).await.cloned();
        if opened.is_err() {
            self.forget_unopened(path, &cell);
        }
        opened
    }

    fn forget_unopened(&self, path: &str, cell: &Arc<OnceCell<Arc<Table>>>) {
        let mut tables = self.shared.tables.lock();
        let same = tables.get(path).is_some_and(|present| Arc::ptr_eq(present, cell));
        if same && !cell.initialized() {
            tables.remove(path);
        }
    }

    /// Deletes the table's files, the log first. The caller has already removed it from the catalog, or never put it there; see
    /// [`Lake::drop_table`] for one that may be read. Commits under way end before, later ones are refused as `TableNotFound`:
    /// none lands in a table made at the same path meanwhile.
    pub async fn delete_table(&self, path: &str) -> Result<(), StorageError> {
        self.retired(path, self.delete_files(path)).await
    }

    /// Does `work`, which takes a table away, when that takes no more commits, and forgets the table then.
    async fn retired<F>(&self, path: &str, work: F) -> Result<(), StorageError>
    where
        F: Future<Output = Result<(), StorageError>>,
    {
        // Whoever opens the path until its files are gone gets this one, which takes no commits.
        let cell = self.shared.tables.lock().entry(path.to_owned()).or_default().clone();
        let open = || async { Ok::<_, StorageError>(Arc::new(Table::open(self.table_parts(path)?).await?)) };
        match cell.get_or_try_init(open).await {
            Ok(table) => table.retire().await,
            Err(error) => tracing::debug!(table = path, %error, "a table that cannot be opened is dropped"),
        }
        let done = work.await;
        let mut tables = self.shared.tables.lock();
        if tables.get(path).is_some_and(|present| Arc::ptr_eq(present, &cell)) {
            tables.remove(path);
        }
        done
    }

    async fn delete_files(&self, path: &str) -> Result<(), StorageError> {
        let folder = table_folder(path);
        self.delete_below(&folder.clone().join("_delta_log")).await?;
        self.delete_below(&folder).await?;
        // Object stores have no folders; a file system keeps the empty ones.
        if let LakeLocation::Folder(root) = &self.shared.location {
            let local = root.join(folder.as_ref());
            match tokio::task::spawn_blocking(move || remove_empty(&local)).await {
                Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(table = path, %error, "empty folders of the dropped table not deleted");
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete_below(&self, folder: &Path) -> Result<(), StorageError> {
        let store = self.shared.store.lake();
        let locations = store.list(Some(folder)).map_ok(|file| file.location).boxed();
        let deleted = store.delete_stream(locations);
        let gone = deleted.try_for_each(|_| async { Ok(()) }).await;
        match gone {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::store(format!("delete files below '{folder}'"), error)),
        }
    }

    /// A free `path` for a new table called `name` (`clicks`, then `clicks.2` when files of a dropped one are still there).
    pub async fn free_table_path(&self, name: &str) -> Result<String, StorageError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        let base: String = name.chars().map(plain).collect();
        let base = if base.is_empty() { "table".to_owned() } else { base };
        let mut path = base.clone();
        let mut next = 2u64;
        // In this order: a table is noted as dropped before its files go.
        while self.has_files(&table_folder(&path)).await? || self.dropped_paths().await?.contains(&path) {
            path = format!("{base}.{next}");
            next += 1;
        }
        Ok(path)
    }

    async fn has_files(&self, folder: &Path) -> Result<bool, StorageError> {
        let first = self.shared.store.lake().list(Some(folder)).try_next().await;
        first
            .map(|file| file.is_some())
            .map_err(|error| StorageError::store(format!("list files below '{folder}'"), error))
    }

    /// The size files grow to: `storage.target_file_size`.
    pub fn target_file_bytes(&self) -> u64 {
        self.shared.config.target_file_size.bytes()
    }

    /// What was and is done to keep the tables in shape, by this process.
    pub fn board(&self) -> &Arc<Board> {
        &self.shared.board
    }

    /// Versioned documents under `documents/<name>/`.
    pub fn documents(&self, name: &str) -> Documents {
        Documents::new(self.shared.store.lake().clone(), name)
    }

    /// Names below `documents/<group>/`, sorted.
    pub(crate) async fn document_names(&self, group: &str) -> Result<Vec<String>, StorageError> {
        let folder = Path::from(format!("documents/{group}"));
        let listed = self.shared.store.lake().list_with_delimiter(Some(&folder)).await;
        let listed = listed.map_err(|error| StorageError::store(format!("list documents below '{group}'"), error))?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    /// Makes the lake's files readable to plans running on `runtime`.
    pub fn register(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(LakeStore::plan_url().as_ref(), self.shared.store.lake().clone());
    }

    /// Files matching a path, glob, `file://` or `s3://bucket/prefix*` pattern, sorted by path.
    /// With `within`, only those in there.
    ///
    /// # Errors
    /// A pattern or a file out of reach, files of the lake itself, whatever keeps files from being listed.
    pub async fn list_external(
        &self,
        pattern: &str,
        within: Option<&Locations>,
    ) -> Result<Vec<ExternalFile>, StorageError> {
        if let Some(locations) = within {
            locations.check(pattern)?;
        }
        if self.holds(pattern) {
            let message =
                format!("'{pattern}' names files inside the lake, which are not to be loaded; name another folder");
            return Err(StorageError::Invalid { message });
        }
        let files = external::list(pattern, &self.shared.config.s3).await?;
        match within {
            None => Ok(files),
            Some(locations) => files.into_iter().map(|file| file.confined(locations)).collect(),
        }
    }

    /// Files in a landing place: a folder, `s3://bucket/prefix/` or a pattern; perhaps none.
    pub async fn list_landing(&self, place: &str) -> Result<Vec<ExternalFile>, StorageError> {
        external::list_place(place, &self.shared.config.s3).await
    }

    /// Whether files of a landing place would be files of this lake.
    pub fn holds(&self, place: &str) -> bool {
        let fixed = external::fixed_part(place);
        match (&self.shared.location, fixed.parse::<LakeLocation>()) {
            (LakeLocation::Folder(root), Ok(LakeLocation::Folder(inside))) => {
                resolved(&inside).starts_with(resolved(root))
                    || (place.contains("**") && resolved(root).starts_with(resolved(&inside)))
            }
            (LakeLocation::S3 { bucket, prefix }, Ok(LakeLocation::S3 { bucket: other, prefix: inside })) => {
                let below = |inner: &str, outer: &str| {
                    outer.is_empty() || inner == outer || inner.starts_with(&format!("{outer}/"))
                };
                bucket == &other && (below(&inside, prefix) || (place.contains("**") && below(prefix, &inside)))
            }
            // A pattern of the working directory.
            (LakeLocation::Folder(root), Err(_)) => {
                place.contains("**") && resolved(root).starts_with(resolved(std::path::Path::new(".")))
            }
            (LakeLocation::Folder(_) | LakeLocation::S3 { .. }, _) => false,
        }
    }

    /// A cheap read proving that the store answers (for `/readyz`).
    pub async fn probe(&self) -> Result<(), StorageError> {
        let action = || format!("reach the lake at '{}'", self.shared.location);
        if let LakeLocation::Folder(path) = &self.shared.location {
            // A listing of an absent folder is empty, not an error.
            return tokio::fs::read_dir(path).await.map(drop).map_err(|error| StorageError::io(action(), error));
        }
        match self.shared.store.lake().head(&Path::from("documents/probe")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::store(action(), error)),
        }
    }

    /// Waits for work in the background (checkpoints), at most `grace`; what does not end in time is repeated later.
    pub async fn close(&self, grace: Duration) {
        if !self.shared.tasks.stop(grace).await {
            tracing::warn!(lake = %self.shared.location, "checkpoints did not end in time; they are made later");
        }
    }

    fn table_parts(&self, path: &str) -> Result<TableParts, StorageError> {
        let folder = table_folder(path);
        Ok(TableParts {
            path: path.to_owned(),
            log_store: self.shared.store.log_store(folder.as_ref())?,
            store: self.shared.store.lake().clone(),
            folder,
            metadata_cache: self.shared.metadata_cache.clone(),
            remote: matches!(self.shared.location, LakeLocation::S3 { .. }),
            tasks: self.shared.tasks.clone(),
            board: self.shared.board.clone(),
            config: self.shared.config.clone(),
            clock: self.shared.clock.clone(),
        })
    }
}

/// Removes a folder and those in it. One that is not empty stays: a new table may have been made there.
fn remove_empty(folder: &std::path::Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

/// Every commit relies on the store refusing to create what exists. Some servers accept the condition and ignore it;
/// with those, commits of two processes would overwrite each other.
pub(super) async fn check_create_if_absent(
    location: &LakeLocation,
    store: &dyn ObjectStore,
) -> Result<(), StorageError> {
    let path = Path::from(format!("documents/.probe/{}", Uuid::new_v4()));
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(&path, "1".into(), create()).await {
        Ok(_) => {}
        Err(object_store::Error::NotFound { .. }) => {
            return Err(StorageError::BadLocation {
                location: location.to_string(),
                reason: "the bucket does not exist; make it first".to_owned(),
            });
        }
        Err(error) => {
            // Reading may still be allowed; writing will say so when it is tried.
            tracing::warn!(%error, "the lake cannot be written to");
            return Ok(());
        }
    }
    let second = store.put_opts(&path, "2".into(), create()).await;
    if let Err(error) = store.delete(&path).await {
        tracing::warn!(%path, %error, "probe not deleted");
    }
    match second {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(()),
        Err(error) => Err(StorageError::store("try the lake's store", error)),
        Ok(_) => Err(StorageError::Invalid {
            message:
                "the lake's store overwrites objects although told to create only (If-None-Match: *); commits would \
                      be lost, use a store with conditional writes"
                    .to_owned(),
        }),
    }
}

fn table_folder(path: &str) -> Path {
    Path::from(format!("tables/{path}"))
}
