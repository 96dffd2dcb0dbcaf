//! What was committed between two versions of a table, exactly: every new row once, whatever compaction did since.
//!
//! ```text
//!   from+1 … to ── in memory? ─► commits of ours, and those read before (immutable: nothing to invalidate)
//!                 └ no ────────► the log ── gone ─► Unknown
//!        │
//!        ▼
//!   files of new rows ── in `to`, or rewritten a moment ago ─► Known
//!                       └ rewritten long ago ─► still there? ── no ─► Unknown
//! ```
//!
//! `TableSnapshot::provider_of_files_added_since` answers from two file lists and gives rewritten files whole. That is
//! enough for sets of keys; who adds numbers up needs this.
//!
//! Not here: what one commit says (`index::changes`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Table, TableVersion};
use crate::base::Timestamp;
use crate::storage::index::{CommitChange, DataFile, RemovedFile, ReplacedFile, RowChanges, TableRoot, commit_content};
use crate::storage::scan::LakeTable;
use crate::storage::{FileTimes, StorageError, TableSnapshot};

/// Commits of one table kept in memory, and the bytes of their content.
const COMMITS_MAX: usize = 4096;
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// Commits read at once.
const READS_AT_ONCE: usize = 16;

/// What happened between two versions of a table.
#[derive(Clone, Debug)]
pub enum TableChanges {
    Known(ChangedFiles),
    /// The log or the files that would tell are gone; only the table as a whole can be read.
    Unknown {
        reason: &'static str,
    },
}

/// The rows committed after `from`, up to and with `to`.
#[derive(Clone)]
pub struct ChangedFiles {
    pub from: TableVersion,
    pub to: TableVersion,
    /// Commits that brought or took rows. Compaction and changes of columns do neither.
    pub commits: u64,
    /// Rows of the provider; files of other programs that do not say their rows count as none.
    pub rows_added: u64,
    /// When the first of `commits` was made, by the clock of who made it; `None` without one.
    pub first_committed_at: Option<Timestamp>,
    pub(super) snapshot: Arc<TableSnapshot>,
    pub(super) files: Vec<Arc<DataFile>>,
    removed: Vec<Arc<RemovedFile>>,
    /// All commits in between, in order.
    pub(super) history: Vec<Arc<CommitChange>>,
}

impl ChangedFiles {
    /// Whether both versions have the same rows.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.removes_rows()
    }

    /// Whether rows went: of `from`, or rows that came after `from` and went before `to`. The rows added do not tell the
    /// whole difference then, and may hold some that went again after they were rewritten.
    pub fn removes_rows(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Exactly the rows added, in the columns of `to` (null where a row is older than a column); `None` when there are none.
    /// A file that went as a whole, its rows with it, is not among them.
    pub fn provider(&self) -> Option<Arc<dyn TableProvider>> {
        let table = || LakeTable::of_files(self.snapshot.index(), &self.files);
        (!self.files.is_empty()).then(|| Arc::new(table()) as Arc<dyn TableProvider>)
    }

    /// The times of `column` in each file whose rows came. With [`Self::times_removed`]: rows of other times are in both
    /// versions alike, and all rows added of those times are the provider's.
    pub fn times_added(&self, column: &str) -> Vec<FileTimes> {
        self.files.iter().map(|file| self.snapshot.times_in(file, column)).collect()
    }

    /// The times of `column` in each file whose rows went, compacted ones included.
    pub fn times_removed(&self, column: &str) -> Vec<FileTimes> {
        self.removed.iter().map(|file| file.times(self.snapshot.index().layout(), column)).collect()
    }
}

impl fmt::Debug for ChangedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangedFiles")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("commits", &self.commits)
            .field("rows_added", &self.rows_added)
            .field("removes_rows", &self.removes_rows())
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// What was committed after version `from` up to `to`, a version of this table. I/O only for commits not seen before,
    /// and for files that were rewritten some time ago.
    pub async fn changes(&self, from: TableVersion, to: &Arc<TableSnapshot>) -> Result<TableChanges, StorageError> {
        let unknown = |reason| Ok(TableChanges::Unknown { reason });
        if from > to.version() {
            return unknown("the table has not come to that version");
        }
        let Some(commits) = self.commits_between(from, to.version()).await? else {
            return unknown("log cleaned up");
        };
        let changes = RowChanges::of(commits.iter().map(Arc::as_ref));
        let added = match changes.files(to.index()) {
            Ok(added) => added,
            Err(error) => {
                tracing::debug!(table = %self.parts.path, %from, to = %to.version(), %error, "older files cannot be read");
                return unknown("files of other columns");
            }
        };
        if !self.are_there(&added.replaced).await? {
            return unknown("files vacuumed");
        }
        let mut files = added.present;
        files.extend(added.replaced.into_iter().map(|replaced| replaced.file));
        let (count, first_committed_at) = (changes.commits, changes.first_committed_at);
        let removed: Vec<Arc<RemovedFile>> = changes.removed.into_iter().cloned().collect();
        Ok(TableChanges::Known(ChangedFiles {
            from,
            to: to.version(),
            commits: count,
            rows_added: files.iter().filter_map(|file| file.rows()).sum(),
            first_committed_at,
            snapshot: to.clone(),
            files,
            removed,
            history: commits,
        }))
    }

    /// The commits after `from` up to `to`, in order; `None` when the log has one of them no more.
    async fn commits_between(
        &self,
        from: TableVersion,
        to: TableVersion,
    ) -> Result<Option<Vec<Arc<CommitChange>>>, StorageError> {
        let root = self.parts.root();
        let mut found = self.recent.lock().between(from, to);
        let missing: Vec<u64> = (from.0 + 1..=to.0).filter(|version| !found.contains_key(version)).collect();
        let of_log = root.clone();
        let reads = stream::iter(missing).map(move |version| {
            let root = of_log.clone();
            async move { Ok::<_, StorageError>((version, commit_content(&root, version).await?)) }
        });
        let mut reads = reads.buffered(READS_AT_ONCE);
        while let Some((version, content)) = reads.try_next().await? {
            let Some(content) = content else { return Ok(None) };
            found.insert(version, Commit::Content(content));
        }
        drop(reads);
        if found.values().all(|commit| matches!(commit, Commit::Parsed { .. })) {
            return Ok(Some(found.into_values().filter_map(Commit::change).collect()));
        }
        // Long commits take longer than an async thread should be held.
        let parsed = tokio::task::spawn_blocking(move || parsed(&root, found))
            .await
            .map_err(|error| StorageError::Damaged { message: format!("reading the log did not finish: {error}") })??;
        let changes = parsed.values().cloned().filter_map(Commit::change).collect();
        self.recent.lock().extend(parsed);
        Ok(Some(changes))
    }

    /// Whether files that no version needs any more can still be read.
    async fn are_there(&self, files: &[ReplacedFile]) -> Result<bool, StorageError> {
        let may_be_gone = |file: &&ReplacedFile| file.replaced_at.is_none_or(|at| !self.is_surely_there(at));
        let asked = files.iter().filter(may_be_gone).map(|replaced| replaced.file.location.clone()).collect();
        Ok(self.missing(asked).await?.is_empty())
    }
}

/// The newest commits seen, by version.
#[derive(Debug, Default)]
pub(super) struct RecentCommits {
    by_version: BTreeMap<u64, Commit>,
    /// Of the content.
    bytes: usize,
}

/// Parsed when first asked for: most tables are never asked.
#[derive(Clone, Debug)]
enum Commit {
    Content(Bytes),
    Parsed { change: Arc<CommitChange>, bytes: usize },
}

impl Commit {
    fn bytes(&self) -> usize {
        match self {
            Commit::Content(content) => content.len(),
            Commit::Parsed { bytes, .. } => *bytes,
        }
    }

    fn change(self) -> Option<Arc<CommitChange>> {
        match self {
            Commit::Content(_) => None,
            Commit::Parsed { change, .. } => Some(change),
        }
    }
}

impl RecentCommits {
    /// Remembers the content of a commit that is in the log.
    pub fn put(&mut self, version: TableVersion, content: Bytes) {
        self.extend([(version.0, Commit::Content(content))]);
    }

    fn between(&self, from: TableVersion, to: TableVersion) -> BTreeMap<u64, Commit> {
        let range = self.by_version.range(from.0 + 1..to.0 + 1);
        range.map(|(version, commit)| (*version, commit.clone())).collect()
    }

    /// The oldest go first.
    fn extend(&mut self, commits: impl IntoIterator<Item = (u64, Commit)>) {
        for (version, commit) in commits {
            self.bytes += commit.bytes();
            self.bytes -= self.by_version.insert(version, commit).map_or(0, |before| before.bytes());
            while self.by_version.len() > COMMITS_MAX || self.bytes > COMMIT_BYTES_MAX {
                let Some((_, oldest)) = self.by_version.pop_first() else { break };
                self.bytes -= oldest.bytes();
            }
        }
    }
}

fn parsed(root: &TableRoot, commits: BTreeMap<u64, Commit>) -> Result<BTreeMap<u64, Commit>, StorageError> {
    let parse = |(version, commit)| match commit {
        Commit::Content(content) => {
            let change = Arc::new(CommitChange::parse(&root.name, version, &content)?);
            Ok((version, Commit::Parsed { change, bytes: content.len() }))
        }
        parsed @ Commit::Parsed { .. } => Ok((version, parsed)),
    };
    commits.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_commits_and_by_bytes() {
        let mut recent = RecentCommits::default();
        for version in 0..COMMITS_MAX as u64 + 10 {
            recent.put(TableVersion(version), Bytes::from_static(b"0123456789"));
        }
        let versions = |recent: &RecentCommits| {
            let known = recent.between(TableVersion(0), TableVersion(1 << 20));
            (known.first_key_value().unwrap().0.to_owned(), known.len(), recent.bytes)
        };
        assert_eq!(versions(&recent), (10, COMMITS_MAX, COMMITS_MAX * 10));
        recent.put(TableVersion(9_000), Bytes::from(vec![b' '; COMMIT_BYTES_MAX - 30]));
        recent.put(TableVersion(9_000), Bytes::from(vec![b' '; COMMIT_BYTES_MAX - 20]));
        assert_eq!(versions(&recent).1, 3, "the long commit and the two before it");
        recent.put(TableVersion(9_001), Bytes::from(vec![b' '; COMMIT_BYTES_MAX + 1]));
        assert_eq!((recent.by_version.len(), recent.bytes), (0, 0));
    }
}
