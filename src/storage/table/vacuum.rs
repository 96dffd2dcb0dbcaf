//! Vacuum: deletes Parquet files that no version within the retention names.
//!
//! ```text
//!   files in the folder ── written before the cutoff, not in the newest version ─► candidates
//!                                                                                   │
//!   log since the cutoff ── removed after it: some version within has them ────────►│ kept
//!   commits of unknown fate ── may name them ──────────────────────────────────────►│ kept
//!                                                                                   ▼
//!                              newest version once more ─► still unnamed ─► deleted
//! ```
//!
//! A file nobody has named yet may be one a writer is about to commit: it is left alone while younger than the retention,
//! by the store's own time of writing. What crashed writers left goes the same way, later. So a write must not take longer
//! than the retention from its first finished file to its commit.
//!
//! What was removed is remembered between runs, as a hash of the name and the time: a run reads the commits since the last
//! one. Equal hashes only keep a file longer.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::DateTime;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::Table;
use super::commit::DELETES_AT_ONCE;
use crate::base::Timestamp;
use crate::storage::index::{Removals, TableRoot, removals};
use crate::storage::{StorageError, TableSnapshot};

/// Commits read at once.
const READS_AT_ONCE: usize = 16;

/// Files removed from the table lately.
#[derive(Debug, Default)]
pub(super) struct RemovedFiles {
    /// Hash of the path, and when it was removed (milliseconds).
    by_hash: HashMap<u64, i64>,
    /// The first version not read yet, and since when everything is known; nothing is before the first run.
    covers: Option<(u64, i64)>,
}

/// What a vacuum did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VacuumReport {
    pub files_deleted: u64,
    pub bytes_deleted: u64,
    /// Files in the folder that stay, named by the newest version or not.
    pub files_kept: u64,
}

impl Table {
    /// Deletes what no version younger than `retention` needs.
    pub(crate) async fn vacuum(
        &self,
        retention: Duration,
        cancel: &CancellationToken,
    ) -> Result<VacuumReport, StorageError> {
        let cutoff = self.parts.clock.now().minus(retention);
        let listed = self.data_files().await?;
        // After the listing: a file committed meanwhile is named here.
        let newest = self.refresh().await?;
        let old = DateTime::from_timestamp_micros(cutoff.micros()).unwrap_or_default();
        let total = listed.len() as u64;
        let mut candidates: Vec<(Path, ObjectMeta)> = listed;
        candidates.retain(|(relative, meta)| meta.last_modified < old && newest.index().file(relative).is_none());
        if !candidates.is_empty() {
            let removed = self.removed_since(&newest, cutoff).await?;
            candidates.retain(|(relative, _)| !removed.contains(&hash(relative)));
        }
        let deleted = self.delete_unnamed(candidates, cancel).await?;
        let report = VacuumReport { files_kept: total - deleted.files_deleted, ..deleted };
        if report.files_deleted > 0 {
            let VacuumReport { files_deleted, bytes_deleted, .. } = report;
            tracing::info!(table = %self.parts.path, files_deleted, bytes_deleted, "vacuumed");
        }
        Ok(report)
    }

    /// Parquet files in the table's folder, by path below it. Names that begin with `_` or `.` are not data.
    async fn data_files(&self) -> Result<Vec<(Path, ObjectMeta)>, StorageError> {
        let failed = |error| StorageError::store(format!("list the files of table '{}'", self.parts.path), error);
        let listed: Vec<ObjectMeta> =
            self.parts.store.list(Some(&self.parts.folder)).try_collect().await.map_err(failed)?;
        let below = |meta: ObjectMeta| {
            let parts: Vec<_> = meta.location.prefix_match(&self.parts.folder)?.collect();
            let hidden = parts.iter().any(|part| part.as_ref().starts_with(['_', '.']));
            let relative = Path::from_iter(parts);
            (!hidden && relative.as_ref().ends_with(".parquet")).then_some((relative, meta))
        };
        Ok(listed.into_iter().filter_map(below).collect())
    }

    async fn delete_unnamed(
        &self,
        candidates: Vec<(Path, ObjectMeta)>,
        cancel: &CancellationToken,
    ) -> Result<VacuumReport, StorageError> {
        let newest = self.refresh().await?;
        let in_doubt: HashSet<Path> = self.in_doubt.lock().iter().map(|path| Path::from(path.as_str())).collect();
        // By place too, should a name be spelled in two ways.
        let named: HashSet<&Path> = newest.index().files().map(|file| &file.location).collect();
        let unnamed = candidates.into_iter().filter(|(relative, meta)| {
            newest.index().file(relative).is_none() && !named.contains(&meta.location) && !in_doubt.contains(relative)
        });
        let mut deletions = stream::iter(unnamed.take_while(|_| !cancel.is_cancelled()))
            .map(|(_, meta)| async move {
                match self.parts.store.delete(&meta.location).await {
                    Ok(()) => Ok(Some(meta.size)),
                    // Another process was faster.
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(StorageError::store(format!("delete file '{}'", meta.location), error)),
                }
            })
            .buffer_unordered(DELETES_AT_ONCE);
        let mut report = VacuumReport::default();
        while let Some(deleted) = deletions.next().await {
            if let Some(bytes) = deleted? {
                report.files_deleted += 1;
                report.bytes_deleted += bytes;
            }
        }
        Ok(report)
    }

    /// Hashes of the files removed since `cutoff`: versions within the retention have them.
    async fn removed_since(&self, newest: &TableSnapshot, cutoff: Timestamp) -> Result<HashSet<u64>, StorageError> {
        let root = self.parts.root();
        let cutoff = cutoff.millis();
        let mut known = self.removed.lock().await;
        // A longer retention than before needs commits that were forgotten.
        let first = match known.covers {
            Some((next, since)) if since <= cutoff => next,
            _ => {
                known.by_hash.clear();
                0
            }
        };
        for removal in removals_back_to(&root, newest.version().0, first, cutoff).await? {
            for path in &removal.paths {
                let at = known.by_hash.entry(hash(path)).or_insert(removal.committed_at);
                *at = (*at).max(removal.committed_at);
            }
        }
        known.by_hash.retain(|_, at| *at >= cutoff);
        known.covers = Some((newest.version().0 + 1, cutoff));
        Ok(known.by_hash.keys().copied().collect())
    }
}

/// Removals of the versions from `newest` down to `first`, or to the first commit before `cutoff`, or to where the log ends.
async fn removals_back_to(
    root: &TableRoot,
    newest: u64,
    first: u64,
    cutoff: i64,
) -> Result<Vec<Removals>, StorageError> {
    let mut reads = stream::iter((first..=newest).rev())
        .map(|version| async move { removals(root, version).await })
        .buffered(READS_AT_ONCE);
    let mut found = Vec::new();
    while let Some(read) = reads.next().await {
        match read? {
            Some(removal) if removal.committed_at >= cutoff => found.push(removal),
            Some(_) | None => break,
        }
    }
    Ok(found)
}

fn hash(relative: &Path) -> u64 {
    xxh3_64(relative.as_ref().as_bytes())
}
