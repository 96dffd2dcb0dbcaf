//! What was committed when, newest first, from the log itself.

use futures::StreamExt;
use futures::stream;

use super::action::CommitInfo;
use super::{CommitRecord, Table, TableVersion};
use crate::base::Timestamp;
use crate::storage::StorageError;

/// Commit files read at once.
const READS_AT_ONCE: usize = 16;

impl Table {
    /// Newest commits first, at most `limit`. Ends where the log was cleaned up.
    pub async fn history(&self, limit: usize) -> Result<Vec<CommitRecord>, StorageError> {
        let newest = self.refresh().await?.version();
        let versions = (0..=newest.0).rev().take(limit).map(TableVersion);
        let mut reads = stream::iter(versions)
            .map(|version| async move { (version, self.parts.commit_info(version).await) })
            .buffered(READS_AT_ONCE);
        let mut records = Vec::new();
        while let Some((version, info)) = reads.next().await {
            let Some(info) = info? else { break };
            records.push(record(version, info));
        }
        Ok(records)
    }

    /// The commit of one version; `None` where the log was cleaned up.
    pub async fn commit_of(&self, version: TableVersion) -> Result<Option<CommitRecord>, StorageError> {
        let info = self.parts.commit_info(version).await?;
        Ok(info.map(|info| record(version, info)))
    }
}

fn record(version: TableVersion, info: CommitInfo) -> CommitRecord {
    let own = info.adlake.map(|own| own.info.into_iter().collect()).unwrap_or_default();
    CommitRecord {
        version,
        committed_at: Timestamp::from_millis(info.timestamp),
        operation: info.operation,
        info: serde_json::Value::Object(own),
    }
}
