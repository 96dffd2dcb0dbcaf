//! The lake: one folder or bucket prefix holding every table and document.
use super::*;
use crate::base::Clock;
use datafusion::execution::runtime_env::RuntimeEnv;
use std::sync::Arc;

/// `./lake`, `/data/lake` or `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeLocation {
    Folder(std::path::PathBuf),
    S3 { bucket: String, prefix: String },
}
impl std::str::FromStr for LakeLocation {
    type Err = StorageError;
    fn from_str(_text: &str) -> Result<Self, StorageError> {
        todo!()
    }
}

/// An open lake. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lake {}
impl Lake {
    /// Opens the lake, making the folder when it is absent.
    pub async fn open(_location: &LakeLocation, _config: &StorageConfig, _clock: Clock) -> Result<Lake, StorageError> {
        todo!()
    }
    pub fn location(&self) -> &LakeLocation {
        todo!()
    }
    /// Makes an empty Delta table at `tables/<spec.path>`.
    pub async fn create_table(&self, _spec: &TableSpec) -> Result<Arc<Table>, StorageError> {
        todo!()
    }
    /// The open table at `tables/<path>`; one shared instance per path in this process.
    pub async fn open_table(&self, _path: &str) -> Result<Arc<Table>, StorageError> {
        todo!()
    }
    /// Deletes the table's files. The caller has already removed it from the catalog.
    pub async fn delete_table(&self, _path: &str) -> Result<(), StorageError> {
        todo!()
    }
    /// A free `path` for a new table called `name` (`clicks`, then `clicks.2` when files of a dropped one are still there).
    pub async fn free_table_path(&self, _name: &str) -> Result<String, StorageError> {
        todo!()
    }
    /// Versioned documents under `documents/<name>/`.
    pub fn documents(&self, _name: &str) -> Documents {
        todo!()
    }
    /// Makes the lake's files readable to plans running on `runtime`.
    pub fn register(&self, _runtime: &RuntimeEnv) {
        todo!()
    }
    /// Files matching a path, glob, `file://` or `s3://bucket/prefix*` pattern, sorted by path.
    pub async fn list_external(&self, _pattern: &str) -> Result<Vec<ExternalFile>, StorageError> {
        todo!()
    }
    /// A cheap read proving that the store answers (for `/readyz`).
    pub async fn probe(&self) -> Result<(), StorageError> {
        todo!()
    }
}
