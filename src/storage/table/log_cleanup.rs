//! Deleting the beginning of the log, which checkpoints have summed up.
//!
//! What stays: the newest complete checkpoint older than the retention, and everything after it. So every version within
//! the retention can still be opened, by any Delta reader. Files go oldest first; killed half-way the log is only longer.

use std::time::Duration;

use chrono::DateTime;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use tokio_util::sync::CancellationToken;

use super::Table;
use crate::storage::StorageError;
use crate::storage::index::expendable;

impl Table {
    /// Deletes log files not needed for versions younger than `retention`. Gives how many, and their bytes.
    pub(crate) async fn clean_log(
        &self,
        retention: Duration,
        cancel: &CancellationToken,
    ) -> Result<(u64, u64), StorageError> {
        let store = &self.parts.store;
        let folder = self.parts.folder.clone().join("_delta_log");
        let failed =
            |error| StorageError::store(format!("clean up the log of table files '{}'", self.parts.path), error);
        let files: Vec<_> = store.list(Some(&folder)).try_collect().await.map_err(failed)?;
        let cutoff = self.parts.clock.now().minus(retention);
        let cutoff = DateTime::from_timestamp_micros(cutoff.micros()).unwrap_or_default();
        let (mut count, mut bytes) = (0, 0);
        let sizes: std::collections::HashMap<_, _> = files.iter().map(|file| (&file.location, file.size)).collect();
        for path in expendable(&files, cutoff) {
            if cancel.is_cancelled() {
                break;
            }
            match store.delete(&path).await {
                Ok(()) => {
                    count += 1;
                    bytes += sizes.get(&path).copied().unwrap_or_default();
                }
                // Another process was faster.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if count > 0 {
            tracing::info!(table = %self.parts.path, files = count, bytes, "log cleaned up");
        }
        Ok((count, bytes))
    }
}
