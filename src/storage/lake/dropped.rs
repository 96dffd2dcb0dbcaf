//! Dropped tables: the log goes at once, so that nobody opens one or commits to it any more; the data files stay a while, for
//! statements in this and other processes that read them.
//!
//! ```text
//! drop ─► note dropped/<moment>.<path> ─► log deleted      …      sweep, when the note is old ─► files deleted ─► note deleted
//! ```
//! The note is there first and goes last: whoever is stopped in between leaves it, and any process's sweep ends the work. A path
//! with a note is taken, so no new table's files are swept away.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};

use super::{Lake, table_folder};
use crate::base::Timestamp;
use crate::storage::StorageError;

/// Folder of the notes.
const NOTES: &str = "dropped";

/// That a table's files may go, some time after `at`.
struct Note {
    location: Path,
    path: String,
    at: Timestamp,
}

impl Note {
    fn new(path: &str, at: Timestamp) -> Self {
        Self { location: Path::from(format!("{NOTES}/{}.{path}", at.0)), path: path.to_owned(), at }
    }

    /// The note an object is.
    fn read(location: &Path) -> Option<Self> {
        let (at, path) = location.filename()?.split_once('.')?;
        Some(Self { location: location.clone(), path: path.to_owned(), at: Timestamp(at.parse().ok()?) })
    }
}

impl Lake {
    /// Takes the table away: nobody opens it or commits to it from now on, as after [`Lake::delete_table`]; whoever reads it
    /// already reads on, until [`Lake::sweep`].
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn drop_table(&self, path: &str) -> Result<(), StorageError> {
        let note = Note::new(path, self.shared.clock.now());
        let noted = self.shared.store.lake().put(&note.location, PutPayload::new()).await;
        noted.map_err(|error| StorageError::store(format!("note that table '{path}' was dropped"), error))?;
        let log = table_folder(path).join("_delta_log");
        self.retired(path, self.delete_below(&log)).await
    }

    /// Deletes the files of tables that were dropped `after` ago or earlier, but of none that is `named` by the catalog.
    ///
    /// # Errors
    /// A store that cannot be written; what is left comes next time.
    pub async fn sweep(&self, after: Duration, named: &BTreeSet<&str>) -> Result<(), StorageError> {
        let now = self.shared.clock.now();
        for note in self.notes().await? {
            if note.at.plus(after) > now || named.contains(note.path.as_str()) {
                continue;
            }
            self.delete_table(&note.path).await?;
            match self.shared.store.lake().delete(&note.location).await {
                // Another process was here too.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(StorageError::store(format!("delete '{}'", note.location), error)),
            }
            tracing::info!(table = note.path, "files of a dropped table deleted");
        }
        Ok(())
    }

    /// Folders of tables that were dropped and have files still.
    pub(in crate::storage) async fn dropped_paths(&self) -> Result<BTreeSet<String>, StorageError> {
        Ok(self.notes().await?.into_iter().map(|note| note.path).collect())
    }

    async fn notes(&self) -> Result<Vec<Note>, StorageError> {
        let listed: Result<Vec<ObjectMeta>, _> =
            self.shared.store.lake().list(Some(&Path::from(NOTES))).try_collect().await;
        let listed = listed.map_err(|error| StorageError::store("list dropped tables", error))?;
        Ok(listed.iter().filter_map(|object| Note::read(&object.location)).collect())
    }
}
