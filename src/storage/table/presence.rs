//! Whether files that no version of the table needs are still there: replaced ones that are read once more, written ones that are
//! not committed yet. Vacuum may take either when they are old enough.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::Table;
use crate::base::Timestamp;
use crate::storage::StorageError;

/// A file that was written, or replaced, so short ago is there without asking. Far below what vacuum must leave alone
/// (`maintenance.retain_min`), so that clocks of several processes may differ.
const SURELY_THERE: Duration = Duration::from_secs(60);
/// Files asked for at once.
const ASKED_AT_ONCE: usize = 16;

impl Table {
    /// Whether a file that has been without a version since `since` need not be looked for.
    pub(super) fn is_surely_there(&self, since: Timestamp) -> bool {
        self.parts.clock.now().since(since) < SURELY_THERE
    }

    /// Those of the files, named by full paths in the store, that are not there.
    pub(super) async fn missing(&self, files: Vec<Path>) -> Result<Vec<Path>, StorageError> {
        let look = |file: Path| {
            let store = self.parts.store.clone();
            async move {
                match store.head(&file).await {
                    Ok(_) => Ok(None),
                    Err(object_store::Error::NotFound { .. }) => Ok(Some(file)),
                    Err(error) => Err(StorageError::store(format!("look for file '{file}'"), error)),
                }
            }
        };
        let looks: Vec<_> = files.into_iter().map(look).collect();
        let found = stream::iter(looks).buffer_unordered(ASKED_AT_ONCE);
        found.try_filter_map(|missing| async move { Ok(missing) }).try_collect().await
    }
}
