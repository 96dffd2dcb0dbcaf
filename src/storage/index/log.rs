//! The files of `_delta_log`: finding and fetching them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Deserialize;

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
