//! The words of writing: versions, what is to be committed, what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::execution::TaskContext;

use super::action::AddFile;
use crate::base::Timestamp;

/// A Delta table version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableVersion(pub u64);

impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A written, uncommitted Parquet file.
#[derive(Clone, Debug)]
pub struct StagedFile {
    pub rows: u64,
    pub bytes: u64,
    /// What the log will say about it.
    pub(super) add: AddFile,
}

/// How [`Table::write_files`](super::Table::write_files) works.
#[derive(Clone)]
pub struct WriteOptions {
    pub order: InputOrder,
    /// Where sorting takes its memory and spill files from.
    pub context: Arc<TaskContext>,
}

/// Whether the rows come in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputOrder {
    /// Sort by partition and `sort_by` first, spilling when large.
    Unsorted,
    /// Already in that order. It is believed: wrong order gives wrong answers.
    Sorted,
}

/// What one commit shall do.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    pub files: Vec<StagedFile>,
    pub mode: CommitMode,
    /// Idempotency: when the first is already stored with a version ≥ ours, the commit is a no-op (`AlreadyCommitted`).
    pub transactions: Vec<Transaction>,
    /// Whose lease the writer holds; refused (`Fenced`) when a later holder has committed.
    pub fence: Option<Fence>,
    /// Fail with `VersionMoved` unless the table is still at this version.
    pub expected: Option<TableVersion>,
    /// Shown in `system.commits`: `LOAD`, `INSERT`, `REFRESH` …
    pub operation: &'static str,
    pub info: BTreeMap<String, serde_json::Value>,
}

/// What happens to the files already there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// Add files.
    Append,
    /// Remove all present files, then add.
    Replace,
    /// Remove the files of these names ([`FileSummary::name`](super::FileSummary::name)), then add. Other commits in between
    /// do not matter as long as all of the files are there; else `FilesGone`, and the staged files stay for another try or
    /// [`Table::discard`](super::Table::discard).
    ReplaceFiles(BTreeSet<String>),
}

/// The newest step of one application, stored with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub app_id: String,
    pub version: i64,
}

/// The number of the lease under which a commit is made, stored with it: a table never takes a commit with a lower number
/// than it has seen. Until the next holder's first commit, an earlier holder's still lands; who must not miss it says
/// `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub app_id: String,
    pub number: u64,
}

impl Fence {
    /// The fence of whoever owns a table's ingest.
    pub fn of_lease(number: u64) -> Self {
        Self { app_id: "adlake.fence".to_owned(), number }
    }

    /// As Delta stores it.
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.number).unwrap_or(i64::MAX)
    }
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed(TableVersion),
    /// The transaction was committed before, at or below this version. The staged files are deleted.
    AlreadyCommitted(TableVersion),
}

/// One commit as the log remembers it.
#[derive(Clone, Debug)]
pub struct CommitRecord {
    pub version: TableVersion,
    pub committed_at: Timestamp,
    pub operation: String,
    /// What the committer said: [`CommitRequest::info`].
    pub info: serde_json::Value,
}
