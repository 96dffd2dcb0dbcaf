//! The files of `_delta_log`: finding and fetching them.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Deserialize;

use super::action::parse_lines;
use super::features::cannot_read;
use super::root::TableRoot;
use crate::storage::StorageError;

/// Log files fetched at once.
const FETCHES_AT_ONCE: usize = 16;

const VERSION_DIGITS: usize = 20;

/// What has to be read for the newest version.
#[derive(Debug, Default)]
pub(super) struct LogListing {
    pub checkpoint: Option<(u64, Vec<ObjectMeta>)>,
    /// Commits after the checkpoint, without gaps.
    pub commits: Vec<(u64, ObjectMeta)>,
    /// The commit the checkpoint was made of, when it is still there: it knows the time.
    pub checkpoint_commit: Option<ObjectMeta>,
}

impl LogListing {
    /// The newest version and when the log says its last file was written (milliseconds).
    pub fn newest(&self) -> Option<(u64, i64)> {
        let commit = self.commits.last().map(|(version, meta)| (*version, meta));
        let checkpoint =
            self.checkpoint.as_ref().and_then(|(version, parts)| parts.last().map(|meta| (*version, meta)));
        commit.or(checkpoint).map(|(version, meta)| (version, meta.last_modified.timestamp_millis()))
    }
}

/// Lists the log of a table: its newest complete checkpoint and the commits after it.
pub(super) async fn list(root: &TableRoot) -> Result<LogListing, StorageError> {
    let hint = last_checkpoint(root).await?;
    let files = list_from(root, hint).await?;
    match select(root, &files) {
        Ok(listing) if listing.newest().is_some() => Ok(listing),
        listing if hint.is_none() => listing,
        // The hint named a checkpoint that is not whole; the log may still be without it.
        _ => select(root, &list_from(root, None).await?),
    }
}

/// The version `_last_checkpoint` names.
pub(super) async fn last_checkpoint(root: &TableRoot) -> Result<Option<u64>, StorageError> {
    #[derive(Deserialize)]
    struct LastCheckpoint {
        version: u64,
    }
    let Some(bytes) = get(root, &root.log_file("_last_checkpoint")).await? else { return Ok(None) };
    // A hint only: what cannot be read is not used.
    Ok(serde_json::from_slice::<LastCheckpoint>(&bytes).ok().map(|last| last.version))
}

/// The commit of `version`; `None` when nobody has committed it yet (or the log was cleaned up).
pub(super) async fn commit(root: &TableRoot, version: u64) -> Result<Option<Bytes>, StorageError> {
    get(root, &root.log_file(&commit_name(version))).await
}

/// The commits from `first` on, as many as there are. The first is fetched alone: usually there is none, or one.
pub(super) async fn commits_from(root: &TableRoot, first: u64) -> Result<Vec<(u64, Bytes)>, StorageError> {
    let mut found = Vec::new();
    let mut width = 1_u64;
    loop {
        let next = first + found.len() as u64;
        let fetched: Vec<(u64, Option<Bytes>)> = futures::stream::iter(next..next + width)
            .map(|version| async move { commit(root, version).await.map(|bytes| (version, bytes)) })
            .buffered(FETCHES_AT_ONCE)
            .try_collect()
            .await?;
        for (version, bytes) in fetched {
            let Some(bytes) = bytes else { return Ok(found) };
            found.push((version, bytes));
        }
        width = (width * 2).min(FETCHES_AT_ONCE as u64);
    }
}

/// Fetches files that were listed, in order.
pub(super) async fn fetch(root: &TableRoot, files: &[ObjectMeta]) -> Result<Vec<Bytes>, StorageError> {
    let paths: Vec<Path> = files.iter().map(|meta| meta.location.clone()).collect();
    futures::stream::iter(paths)
        .map(|path| async move {
            get(root, &path).await?.ok_or_else(|| StorageError::Damaged {
                message: format!("log file '{path}' of table '{}' vanished while it was read; try again", root.name),
            })
        })
        .buffered(FETCHES_AT_ONCE)
        .try_collect()
        .await
}

pub(super) fn commit_name(version: u64) -> String {
    format!("{version:0width$}.json", width = VERSION_DIGITS)
}

async fn get(root: &TableRoot, path: &Path) -> Result<Option<Bytes>, StorageError> {
    let failed = |source| StorageError::Store { action: format!("read the log of table '{}'", root.name), source };
    match root.store.get(path).await {
        Ok(result) => result.bytes().await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

async fn list_from(root: &TableRoot, version: Option<u64>) -> Result<Vec<ObjectMeta>, StorageError> {
    let log = root.log();
    let stream = match version {
        // Names of this version start with its digits, so they come after the digits alone.
        Some(version) => root
            .store
            .list_with_offset(Some(&log), &root.log_file(&format!("{version:0width$}", width = VERSION_DIGITS))),
        None => root.store.list(Some(&log)),
    };
    stream
        .try_collect()
        .await
        .map_err(|source| StorageError::Store { action: format!("list the log of table '{}'", root.name), source })
}

enum LogFile {
    Commit(u64),
    Checkpoint { version: u64, part: usize, parts: usize },
    V2Checkpoint,
}

fn select(root: &TableRoot, files: &[ObjectMeta]) -> Result<LogListing, StorageError> {
    let mut commits = Vec::new();
    let mut checkpoints: Vec<(u64, usize, usize, &ObjectMeta)> = Vec::new();
    for meta in files {
        match meta.location.filename().and_then(classify) {
            Some(LogFile::Commit(version)) => commits.push((version, meta.clone())),
            Some(LogFile::Checkpoint { version, part, parts }) => checkpoints.push((version, parts, part, meta)),
            Some(LogFile::V2Checkpoint) => return Err(cannot_read(&root.name, "v2Checkpoint")),
            None => {}
        }
    }
    commits.sort_by_key(|(version, _)| *version);
    checkpoints.sort_by_key(|(version, parts, part, _)| (*version, *parts, *part));
    let checkpoint = newest_complete(&checkpoints);
    let first = checkpoint.as_ref().map_or(0, |(version, _)| version + 1);
    let checkpoint_commit = commits.iter().find(|(version, _)| version + 1 == first).map(|(_, meta)| meta.clone());
    commits.retain(|(version, _)| *version >= first);
    for ((version, _), expected) in commits.iter().zip(first..) {
        if *version != expected {
            return Err(StorageError::Damaged {
                message: format!("the log of table '{}' misses version {expected}", root.name),
            });
        }
    }
    Ok(LogListing { checkpoint, commits, checkpoint_commit })
}

/// The newest checkpoint all of whose parts are there. `checkpoints` is sorted.
fn newest_complete(checkpoints: &[(u64, usize, usize, &ObjectMeta)]) -> Option<(u64, Vec<ObjectMeta>)> {
    let groups = checkpoints.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
    let mut complete = groups.filter(|group| group.first().is_some_and(|first| group.len() == first.1));
    let newest = complete.next_back()?;
    Some((newest.first()?.0, newest.iter().map(|(.., meta)| (*meta).clone()).collect()))
}

fn classify(name: &str) -> Option<LogFile> {
    let (version, rest) = name.split_at_checked(VERSION_DIGITS)?;
    if !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let version = version.parse().ok()?;
    let pieces: Vec<&str> = rest.split('.').collect();
    match pieces.as_slice() {
        ["", "json"] => Some(LogFile::Commit(version)),
        ["", "checkpoint", "parquet"] => Some(LogFile::Checkpoint { version, part: 1, parts: 1 }),
        ["", "checkpoint", part, parts, "parquet"] => {
            Some(LogFile::Checkpoint { version, part: part.parse().ok()?, parts: parts.parse().ok()? })
        }
        ["", "checkpoint", _, "parquet" | "json"] => Some(LogFile::V2Checkpoint),
        _ => None,
    }
}

/// Log files nobody needs who reads versions from `cutoff` on: commits and checkpoints before the newest complete
/// checkpoint that is older than `cutoff`. Oldest first, so that deleting them one after another never leaves a gap.
pub(crate) fn expendable(files: &[ObjectMeta], cutoff: DateTime<Utc>) -> Vec<Path> {
    let mut checkpoints: Vec<(u64, usize, usize, &ObjectMeta)> = Vec::new();
    let mut versions: BTreeMap<(u64, &Path), &ObjectMeta> = BTreeMap::new();
    for meta in files {
        match meta.location.filename().and_then(classify) {
            Some(LogFile::Checkpoint { version, part, parts }) => {
                versions.insert((version, &meta.location), meta);
                if meta.last_modified < cutoff {
                    checkpoints.push((version, parts, part, meta));
                }
            }
            Some(LogFile::Commit(version)) => {
                versions.insert((version, &meta.location), meta);
            }
            // Somebody else's format: their program knows what it needs.
            Some(LogFile::V2Checkpoint) => return Vec::new(),
            None => {}
        }
    }
    checkpoints.sort_by_key(|(version, parts, part, _)| (*version, *parts, *part));
    let Some((kept, _)) = newest_complete(&checkpoints) else { return Vec::new() };
    let before = versions.into_iter().take_while(|((version, _), meta)| *version < kept && meta.last_modified < cutoff);
    before.map(|((_, path), _)| path.clone()).collect()
}

/// What one commit took out of the table's file list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removals {
    /// Milliseconds.
    pub committed_at: i64,
    /// Relative to the table's folder.
    pub paths: Vec<Path>,
}

/// The removals of commit `version`; `None` when the log has it no more.
pub(crate) async fn removals(root: &TableRoot, version: u64) -> Result<Option<Removals>, StorageError> {
    let name = commit_name(version);
    let failed = |source| StorageError::Store { action: format!("read the log of table '{}'", root.name), source };
    let found = match root.store.get(&root.log_file(&name)).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Not every writer says when.
    let written_at = found.meta.last_modified.timestamp_millis();
    let bytes = found.bytes().await.map_err(failed)?;
    let mut removals = Removals { committed_at: written_at, paths: Vec::new() };
    for line in parse_lines(&name, &bytes)? {
        if let Some(remove) = line.remove {
            removals.paths.push(super::action::relative_path(&root.name, &remove.path)?);
        }
        if let Some(time) = line.commit_info.and_then(|info| info.time()) {
            removals.committed_at = time;
        }
    }
    Ok(Some(removals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expendable_of(files: &[(&str, i64)], cutoff: i64) -> Vec<String> {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let meta = |(name, written): &(&str, i64)| ObjectMeta {
            location: Path::from(format!("t/_delta_log/{name}")),
            last_modified: at(*written),
            size: 1,
            e_tag: None,
            version: None,
        };
        let files: Vec<ObjectMeta> = files.iter().map(meta).collect();
        let name = |path: &Path| path.filename().unwrap().trim_start_matches('0').replace(".parquet", "");
        expendable(&files, at(cutoff)).iter().map(name).collect()
    }

    #[test]
    fn a_whole_checkpoint_and_everything_after_it_stay() {
        let log = [
            ("00000000000000000000.json", 1),
            ("00000000000000000001.json", 2),
            ("00000000000000000001.checkpoint.parquet", 3),
            ("00000000000000000002.json", 4),
            ("00000000000000000002.checkpoint.0000000001.0000000002.parquet", 5),
            ("00000000000000000003.json", 6),
            ("00000000000000000003.checkpoint.parquet", 7),
            ("_last_checkpoint", 7),
        ];
        let none: [&str; 0] = [];
        assert_eq!(expendable_of(&log, 3), none, "no checkpoint is old enough");
        assert_eq!(expendable_of(&log, 4), [".json"]);
        assert_eq!(expendable_of(&log, 7), [".json"], "half a checkpoint does not count");
        let all = [".json", "1.checkpoint", "1.json", "2.checkpoint.0000000001.0000000002", "2.json"];
        assert_eq!(expendable_of(&log, 8), all);
        let (first, _) = log.split_at(2);
        assert_eq!(expendable_of(first, 100), none, "without a checkpoint every commit is needed");
    }

    #[test]
    fn a_young_file_among_old_ones_stops_the_clean_up() {
        let log = [
            ("00000000000000000000.json", 1),
            ("00000000000000000001.json", 50),
            ("00000000000000000002.json", 2),
            ("00000000000000000003.checkpoint.parquet", 3),
        ];
        assert_eq!(expendable_of(&log, 10), [".json"]);
    }
}
