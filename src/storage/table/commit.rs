//! One atomic commit, exactly once.
//!
//! ```text
//!   look at the log ─► decide (pure) ─┬─► already committed: delete the staged files, say so
//!        ▲                            ├─► a later holder of the lease has committed, or the table moved: refuse
//!        │ somebody else's            └─► version + 1: PUT, create if absent ─► ours: look at the log, answer
//!        └──────────────────────────────────────────────┘
//! ```
//!
//! Within this process one commit per table runs at a time; between processes the PUT decides. An append never conflicts
//! with another commit, since rows it adds do not depend on rows it did not see; whoever depends on what it read says so
//! by `expected`, or names the files it puts its own in the place of.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use super::action::{self, Action, CommitInfo, Txn};
use super::handle::TableParts;
use super::log::Put;
use super::removal::{Rows, removal};
use super::replace::leaving;
use super::{CommitMode, CommitOutcome, CommitRequest, Fence, StagedFile, Table, TableVersion};
use crate::base::Timestamp;
use crate::storage::{StorageError, TableSnapshot, TableSpec};

/// Lost races before a commit gives up.
pub(super) const RACES_MAX: usize = 50;
/// Files deleted at once.
pub(super) const DELETES_AT_ONCE: usize = 8;

/// What the log of this program says of a commit.
pub(super) struct Told {
    pub operation: &'static str,
    /// Added.
    pub files: usize,
    pub rows: u64,
}

/// What a request means for a table at one version.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Already(TableVersion),
    Moved {
        expected: TableVersion,
    },
    /// A file to be replaced is not there.
    FilesGone,
    /// A later holder of the lease has committed.
    Fenced,
    Write(TableVersion),
}

fn decide(base: &TableSnapshot, request: &CommitRequest) -> Decision {
    if let Some(first) = request.transactions.first()
        && base.transaction_version(&first.app_id).is_some_and(|stored| stored >= first.version)
    {
        return Decision::Already(base.version());
    }
    let stored = |fence: &Fence| base.transaction_version(&fence.app_id);
    if request.fence.as_ref().is_some_and(|fence| stored(fence).is_some_and(|stored| stored > fence.version())) {
        return Decision::Fenced;
    }
    match request.expected {
        Some(expected) if expected != base.version() => Decision::Moved { expected },
        _ if leaving(base, &request.mode).is_none() => Decision::FilesGone,
        _ => Decision::Write(TableVersion(base.version().0 + 1)),
    }
}

impl Table {
    /// Makes the empty table; `spec` is storable.
    pub(crate) async fn create(parts: TableParts, spec: &TableSpec) -> Result<Table, StorageError> {
        let at = parts.clock.now();
        let commit_id = Uuid::new_v4();
        let actions = [
            Action::CommitInfo(CommitInfo::new("CREATE TABLE", at, commit_id, BTreeMap::new())),
            Action::Protocol(action::protocol(spec)),
            Action::MetaData(action::metadata(spec, at)?),
        ];
        let content = action::render(&actions)?;
        match parts.put_commit(TableVersion(0), commit_id, content).await? {
            Put::Ours => Table::open(parts).await,
            Put::SomebodyElses => Err(StorageError::TableExists { path: parts.path }),
        }
    }

    /// One atomic commit. On any error of the commit itself the version is read back before answering (the PUT may have
    /// landed); `CommitUnknown` when even that could not be known: committing the same transaction again settles it.
    pub async fn commit(&self, request: CommitRequest) -> Result<CommitOutcome, StorageError> {
        let _turn = self.turn().await?;
        let commit_id = Uuid::new_v4();
        for _ in 0..RACES_MAX {
            let base = self.refresh().await?;
            let version = match decide(&base, &request) {
                Decision::Already(version) => {
                    self.discard(request.files).await;
                    return Ok(CommitOutcome::AlreadyCommitted(version));
                }
                Decision::Moved { expected } => {
                    let (table, current) = (self.parts.path.clone(), base.version());
                    return Err(StorageError::VersionMoved { table, expected, current });
                }
                Decision::FilesGone => {
                    let (table, current) = (self.parts.path.clone(), base.version());
                    return Err(StorageError::FilesGone { table, current });
                }
                Decision::Fenced => return Err(StorageError::Fenced { table: self.parts.path.clone() }),
                Decision::Write(version) => version,
            };
            let at = self.parts.clock.now().max(base.committed_at());
            let content = action::render(&actions(&base, &request, commit_id, at))?;
            match self.parts.put_commit(version, commit_id, content.clone()).await {
                Ok(Put::Ours) => {
                    let rows = request.files.iter().map(|file| file.rows).sum();
                    let told = Told { operation: request.operation, files: request.files.len(), rows };
                    self.after_commit(version, content, told).await;
                    return Ok(CommitOutcome::Committed(version));
                }
                Ok(Put::SomebodyElses) => {}
                Err(error) => {
                    if matches!(error, StorageError::CommitUnknown { .. }) {
                        self.in_doubt.lock().extend(request.files.iter().map(|file| file.add.path.clone()));
                    }
                    return Err(error);
                }
            }
        }
        Err(StorageError::Crowded { table: self.parts.path.clone() })
    }

    /// The commit has happened: whatever fails here is only logged.
    pub(super) async fn after_commit(&self, version: TableVersion, content: Bytes, told: Told) {
        let Told { operation, files, rows } = told;
        if let Err(error) = self.adopt(version, content).await {
            tracing::warn!(table = %self.parts.path, %version, %error, "committed, but the log cannot be read back yet");
        }
        tracing::info!(table = %self.parts.path, %version, operation, files, rows, "committed");
        self.checkpoint_if_due(version);
    }

    /// Deletes staged files that will not be committed. Files that are committed, or may be, are kept.
    pub async fn discard(&self, files: Vec<StagedFile>) {
        let current = self.current();
        let unused = files.into_iter().filter(|file| {
            let committed = current.index().file(&Path::from(file.add.path.as_str())).is_some();
            !committed && !self.in_doubt.lock().contains(&file.add.path)
        });
        let paths: Vec<Path> = unused.map(|file| self.file_path(&file.add.path)).collect();
        stream::iter(paths)
            .for_each_concurrent(DELETES_AT_ONCE, |path| async move {
                match self.parts.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => tracing::warn!(%path, %error, "unused file not deleted"),
                }
            })
            .await;
    }

    /// The place of a file of ours; their names need no encoding.
    pub(super) fn file_path(&self, relative: &str) -> Path {
        Path::from(format!("{}/{relative}", self.parts.folder))
    }
}

fn actions(base: &TableSnapshot, request: &CommitRequest, commit_id: Uuid, at: Timestamp) -> Vec<Action> {
    let mut info = CommitInfo::new(request.operation, at, commit_id, request.info.clone());
    info.is_blind_append = request.mode == CommitMode::Append;
    let mut actions = vec![Action::CommitInfo(info)];
    actions.extend(request.transactions.iter().map(|transaction| {
        Action::Txn(Txn { app_id: transaction.app_id.clone(), version: transaction.version, last_updated: at.millis() })
    }));
    if let Some(fence) = &request.fence
        && base.transaction_version(&fence.app_id) != Some(fence.version())
    {
        let txn = Txn { app_id: fence.app_id.clone(), version: fence.version(), last_updated: at.millis() };
        actions.push(Action::Txn(txn));
    }
    let leaving = leaving(base, &request.mode).into_iter().flatten();
    actions.extend(leaving.map(|file| Action::Remove(removal(base, file, (Rows::Leave, at)))));
    actions.extend(request.files.iter().map(|file| Action::Add(file.add.clone())));
    actions
}
