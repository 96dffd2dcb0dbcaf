//! One table's door: who may commit, which event keys it has, how a commit is tried until it fits.
//!
//! ```text
//! lock ─ advance index to newest version ─ keys repeated meanwhile? ─ commit expecting that version ─ absorb keys
//!              ▲                                   │ yes: caller looks at its rows again      │ VersionMoved
//!              └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! GC-1: the files of one request are in one commit. DED-1: see [`super::key_index`].

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::IngestError;
use super::bucket::Buckets;
use super::dedup::Pending;
use super::key_budget::KeyBudget;
use super::key_index::KeyIndex;
use super::producers::Producers;
use super::queue::Queue;
use super::state::Totals;
use super::watermark::Watermark;
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, Fence, StagedFile, StorageError, Table, TableSnapshot, TableVersion,
    Transaction,
};

/// Commits tried before giving up, when other processes keep being faster.
const COMMIT_ATTEMPTS: usize = 20;

/// The writing side of one table, shared by all requests of the process.
pub struct Writer {
    pub table: Arc<Table>,
    pub index: Option<Arc<KeyIndex>>,
    /// Requests waiting for the next group commit.
    pub queue: Queue,
    pub producers: Arc<Producers>,
    pub watermark: Mutex<Watermark>,
    pub totals: Totals,
    lock: Arc<tokio::sync::Mutex<()>>,
}

/// The right to commit to a table; one at a time in this process.
pub struct WriterGuard {
    writer: Arc<Writer>,
    _guard: OwnedMutexGuard<()>,
}

/// Files written for one request.
#[derive(Debug)]
pub struct Staged {
    pub files: Vec<StagedFile>,
    /// Their event keys, for a table that has some.
    pub pending: Option<Pending>,
}

/// How a commit is recorded.
#[derive(Clone, Debug)]
pub struct CommitLabel {
    pub operation: &'static str,
    pub transaction: Option<Transaction>,
    /// Sequences this commit answers; when one is in the log already, the rows have to be looked at again.
    pub producers: Vec<Transaction>,
    /// The lease this is committed under.
    pub fence: Option<Fence>,
    pub info: BTreeMap<String, serde_json::Value>,
}

impl CommitLabel {
    /// Without transaction or details.
    pub fn plain(operation: &'static str) -> Self {
        Self { operation, transaction: None, producers: Vec::new(), fence: None, info: BTreeMap::new() }
    }
}

#[derive(Debug)]
pub enum Sealed {
    Committed(TableVersion),
    /// The transaction was committed before; our files were deleted.
    AlreadyCommitted(TableVersion),
    /// Somebody committed some of the same keys meanwhile; our files were deleted, the rows have to be looked at again.
    Repeats,
}

impl Writer {
    /// `key` is the event-key column and how the table's events fall into buckets.
    pub fn new(table: Arc<Table>, key: Option<(&str, Buckets)>, budget: &KeyBudget) -> Self {
        let index = key.map(|(column, buckets)| Arc::new(KeyIndex::new(table.path(), column, buckets, budget)));
        Self {
            table,
            index,
            queue: Queue::default(),
            producers: Arc::default(),
            watermark: Mutex::default(),
            totals: Totals::default(),
            lock: Arc::default(),
        }
    }

    pub async fn lock(self: &Arc<Self>) -> WriterGuard {
        let guard = self.lock.clone().lock_owned().await;
        WriterGuard { writer: self.clone(), _guard: guard }
    }
}

impl WriterGuard {
    /// Brings the key index to the newest version known here; a commit finds out when there is a newer one.
    pub async fn advance(&self, task: &Arc<TaskContext>) -> Result<Arc<TableSnapshot>, IngestError> {
        let snapshot = self.writer.table.current();
        if let Some(index) = &self.writer.index {
            index.advance(&snapshot, task).await?;
        }
        Ok(snapshot)
    }

    /// Commits the files as one version.
    pub async fn seal(
        &self,
        staged: Staged,
        label: CommitLabel,
        task: &Arc<TaskContext>,
    ) -> Result<Sealed, IngestError> {
        let Staged { files, mut pending } = staged;
        let table = &self.writer.table;
        for _ in 0..COMMIT_ATTEMPTS {
            let mut expected = None;
            if let (Some(index), Some(pending)) = (&self.writer.index, &mut pending) {
                expected = Some(self.advance(task).await?.version());
                if pending.repeats_in(index) {
                    table.discard(files).await;
                    return Ok(Sealed::Repeats);
                }
                pending.mark = index.mark();
            }
            if !label.producers.is_empty() {
                let current = table.current();
                let stored = |step: &Transaction| current.transaction_version(&step.app_id) >= Some(step.version);
                if label.producers.iter().any(stored) {
                    table.discard(files).await;
                    return Ok(Sealed::Repeats);
                }
                expected = Some(current.version());
            }
            let request = CommitRequest {
                files: files.clone(),
                mode: CommitMode::Append,
                transactions: label.transaction.iter().chain(&label.producers).cloned().collect(),
                fence: label.fence.clone(),
                expected,
                operation: label.operation,
                info: label.info.clone(),
            };
            match table.commit(request).await {
                Ok(CommitOutcome::Committed(version)) => {
                    self.committed(version, pending);
                    return Ok(Sealed::Committed(version));
                }
                Ok(CommitOutcome::AlreadyCommitted(version)) => return Ok(Sealed::AlreadyCommitted(version)),
                Err(StorageError::VersionMoved { .. }) => {
                    table.refresh().await?;
                }
                // Files of a commit that may have landed after all are kept: storage knows which.
                Err(error) => {
                    table.discard(files).await;
                    return Err(error.into());
                }
            }
        }
        table.discard(files).await;
        Err(StorageError::Crowded { table: table.path().to_owned() }.into())
    }

    fn committed(&self, version: TableVersion, pending: Option<Pending>) {
        if let (Some(index), Some(pending)) = (&self.writer.index, pending) {
            // When the newest version is not ours, the next advance reads our files with the other's.
            let snapshot = self.writer.table.current();
            index.absorb(pending, (snapshot.version() == version).then_some(snapshot));
        }
    }
}
