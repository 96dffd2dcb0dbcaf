//! Where a table's files are, and what all readers of the lake share.

use std::fmt;
use std::sync::Arc;

use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::ObjectStore;
use object_store::path::Path;

/// One table's place in the lake's store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TableRoot {
    /// The folder's name, for messages and plans.
    pub name: Arc<str>,
    /// The lake's store.
    pub store: Arc<dyn ObjectStore>,
    /// The name under which plans find `store` (`Lake::register`).
    pub store_url: ObjectStoreUrl,
    /// The table's folder in `store`.
    pub prefix: Path,
    /// Parsed Parquet footers and page indexes.
    pub metadata_cache: Arc<FileMetadataCache>,
}

impl TableRoot {
    /// `_delta_log`.
    pub fn log(&self) -> Path {
        self.below("_delta_log")
    }

    /// A file of the log.
    pub fn log_file(&self, name: &str) -> Path {
        self.below(&format!("_delta_log/{name}"))
    }

    /// A data file; `relative` is decoded (as a store sees it).
    pub fn data_file(&self, relative: &Path) -> Path {
        self.below(relative.as_ref())
    }

    fn below(&self, relative: &str) -> Path {
        if self.prefix.as_ref().is_empty() {
            return Path::from_iter(Path::parse(relative).iter().flat_map(Path::parts));
        }
        let raw = format!("{}/{relative}", self.prefix);
        Path::parse(&raw).unwrap_or_else(|_| Path::from(raw))
    }
}

impl fmt::Debug for TableRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRoot").field("name", &self.name).field("prefix", &self.prefix.as_ref()).finish()
    }
}
