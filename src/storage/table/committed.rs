//! The new rows of a table by the commit that brought them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use object_store::path::Path;

use super::{ChangedFiles, TableVersion};
use crate::base::Timestamp;
use crate::storage::index::DataFile;
use crate::storage::scan::LakeTable;
use crate::storage::{FileTimes, TableSnapshot};

/// What one commit brought.
#[derive(Clone)]
pub struct CommittedRows {
    pub version: TableVersion,
    /// By the clock of who committed it.
    pub committed_at: Timestamp,
    snapshot: Arc<TableSnapshot>,
    files: Vec<Arc<DataFile>>,
}

impl ChangedFiles {
    /// The rows added, by commit, the oldest first. Commits that brought none, or whose rows are gone, are left out.
    pub fn by_commit(&self) -> Vec<CommittedRows> {
        let files: HashMap<&Path, &Arc<DataFile>> = self.files.iter().map(|file| (&file.relative, file)).collect();
        // A path that comes again is one file, told anew.
        let mut brought_by: HashMap<&Path, u64> = HashMap::new();
        for commit in &self.history {
            brought_by.extend(commit.brought().map(|path| (path, commit.version)));
        }
        let of_commit = |commit: &Arc<crate::storage::index::CommitChange>| {
            let own = commit.brought().filter(|path| brought_by.get(path) == Some(&commit.version));
            let files: Vec<Arc<DataFile>> =
                own.filter_map(|path| files.get(path)).map(|file| (*file).clone()).collect();
            (!files.is_empty()).then(|| CommittedRows {
                version: TableVersion(commit.version),
                committed_at: commit.committed_at,
                snapshot: self.snapshot.clone(),
                files,
            })
        };
        self.history.iter().filter_map(of_commit).collect()
    }
}

impl CommittedRows {
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Whether some row may have a time before `moment` in `column`; false only where statistics rule it out.
    pub fn may_be_before(&self, column: &str, moment: Timestamp) -> bool {
        self.files.iter().any(|file| match self.snapshot.times_in(file, column) {
            FileTimes::NoRows | FileTimes::Without => false,
            FileTimes::Between { earliest, .. } => earliest < moment,
            FileTimes::Unknown => true,
        })
    }

    /// The rows of several commits of one change, in the columns of its newest version; `None` without any.
    pub fn provider<'a>(commits: impl IntoIterator<Item = &'a CommittedRows>) -> Option<Arc<dyn TableProvider>> {
        let mut commits = commits.into_iter().peekable();
        let snapshot = commits.peek()?.snapshot.clone();
        let files: Vec<Arc<DataFile>> = commits.flat_map(|commit| commit.files.iter().cloned()).collect();
        Some(Arc::new(LakeTable::of_files(snapshot.index(), &files)))
    }
}

impl fmt::Debug for CommittedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommittedRows({}@{}, {} files)", self.version, self.committed_at, self.files.len())
    }
}
