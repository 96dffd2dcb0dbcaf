//! What commits did to the rows of a table, as the log tells it.
//!
//! A commit names the files it adds and removes, and says of each whether rows come or go with it (`dataChange`). So the new
//! rows of a run of commits are those of the files that came with new rows, wherever compaction has put them since; and
//! rows are lost only where a file went and its rows with it.
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file>
//!
//! ```text
//!   a.json  +1 +2        new rows   1  2        (2 is read from its old file: 5 has rows of another age as well)
//!   b.json  -2 -0 +5     rewritten  0  2
//!   c.json  +6           new rows   6
//! ```
//!
//! Not here: which commits, where they are kept, whether old files are still there (`table::changes`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use super::action::{AddFile, parse_lines, relative_path};
use super::file::DataFile;
use super::file_index::FileIndex;
use super::log;
use super::removed::RemovedFile;
use super::root::TableRoot;
use crate::base::Timestamp;
use crate::storage::StorageError;

/// What one commit did to the rows. Immutable, as the commit is.
#[derive(Debug)]
pub(crate) struct CommitChange {
    pub version: u64,
    /// By the committer's clock; 1970 when neither the commit nor its files say.
    pub committed_at: Timestamp,
    /// Files of new rows, untyped: the version they are read at decides their columns.
    added: Vec<(Path, AddFile)>,
    /// Files that went with their rows.
    removed: Vec<Arc<RemovedFile>>,
    /// Files that went while their rows stayed, in other files.
    rewritten: Vec<Path>,
}

/// The content of commit `version`; `None` when the log has it no more.
pub(crate) async fn commit_content(root: &TableRoot, version: u64) -> Result<Option<Bytes>, StorageError> {
    log::commit(root, version).await
}

impl CommitChange {
    /// From the content of commit `version` of the table in folder `table`.
    pub fn parse(table: &str, version: u64, content: &[u8]) -> Result<CommitChange, StorageError> {
        let (mut added, mut removed, mut rewritten, mut told) = (Vec::new(), Vec::new(), Vec::new(), None);
        for line in parse_lines(&log::commit_name(version), content)? {
            match line.remove {
                Some(remove) if remove.data_change => removed.push(Arc::new(RemovedFile::parse(table, remove)?)),
                Some(remove) => rewritten.push(relative_path(table, &remove.path)?),
                None => {}
            }
            if let Some(add) = line.add.filter(|add| add.data_change) {
                added.push((relative_path(table, &add.path)?, AddFile { rows_until: version, ..add }));
            }
            told = line.commit_info.and_then(|info| info.time()).or(told);
        }
        // Not every writer says when; its files do.
        let written_at = || added.iter().map(|(_, add)| add.modification_time).max();
        let committed_at = Timestamp::from_millis(told.or_else(written_at).unwrap_or_default());
        Ok(CommitChange { version, committed_at, added, removed, rewritten })
    }

    /// Files that came with new rows.
    pub fn brought(&self) -> impl Iterator<Item = &Path> {
        self.added.iter().map(|(path, _)| path)
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// What a run of commits did together.
#[derive(Debug, Default)]
pub(crate) struct RowChanges<'a> {
    /// Commits that brought or took rows.
    pub commits: u64,
    /// The first of these.
    pub first_committed_at: Option<Timestamp>,
    /// Files that a commit took away with their rows, also those that came with a commit before it in this run.
    pub removed: Vec<&'a Arc<RemovedFile>>,
    /// Files that came with new rows and did not go with them.
    added: BTreeMap<&'a Path, &'a AddFile>,
    rewritten_at: HashMap<&'a Path, Timestamp>,
}

/// Files of new rows, under the columns of one version.
#[derive(Debug, Default)]
pub(crate) struct AddedFiles {
    /// The version has them.
    pub present: Vec<Arc<DataFile>>,
    /// The version has their rows in other files.
    pub replaced: Vec<ReplacedFile>,
}

/// A file that may be deleted any time.
#[derive(Debug)]
pub(crate) struct ReplacedFile {
    pub file: Arc<DataFile>,
    /// When its rows were put elsewhere.
    pub replaced_at: Option<Timestamp>,
}

impl<'a> RowChanges<'a> {
    /// Of commits that follow one another without a gap.
    pub fn of(commits: impl IntoIterator<Item = &'a CommitChange>) -> Self {
        let mut changes = Self::default();
        for commit in commits {
            changes.apply(commit);
        }
        changes
    }

    fn apply(&mut self, commit: &'a CommitChange) {
        self.rewritten_at.extend(commit.rewritten.iter().map(|path| (path, commit.committed_at)));
        if commit.is_empty() {
            return;
        }
        self.commits += 1;
        self.first_committed_at = self.first_committed_at.or(Some(commit.committed_at));
        for file in &commit.removed {
            self.added.remove(&file.path);
            self.removed.push(file);
        }
        // A path that comes again is one file, told anew.
        self.added.extend(commit.added.iter().map(|(path, add)| (path, add)));
    }

    /// The files of new rows as `to`, the version after the commits, reads them.
    ///
    /// # Errors
    /// A file that `to` does not have cannot be read with its columns.
    pub fn files(&self, to: &FileIndex) -> Result<AddedFiles, StorageError> {
        let mut files = AddedFiles::default();
        for (path, add) in &self.added {
            if let Some(file) = to.file(path) {
                files.present.push(file.clone());
                continue;
            }
            let file = Arc::new(DataFile::from_add(to.root(), to.layout(), add)?);
            files.replaced.push(ReplacedFile { file, replaced_at: self.rewritten_at.get(*path).copied() });
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn add(path: &str) -> Value {
        json!({"add": {"path": path, "size": 1, "partitionValues": {}, "modificationTime": 7000, "dataChange": true}})
    }

    fn rewrite(path: &str) -> Value {
        json!({"add": {"path": path, "size": 1, "partitionValues": {}, "modificationTime": 7000, "dataChange": false}})
    }

    fn remove(path: &str, data_change: Option<bool>) -> Value {
        json!({"remove": {"path": path, "deletionTimestamp": 1, "dataChange": data_change.unwrap_or(true)}})
    }

    fn at(seconds: i64) -> Value {
        json!({"commitInfo": {"timestamp": seconds * 1000, "operation": "WRITE"}})
    }

    /// Commits, removes-rows, first time in seconds, and the files of new rows.
    fn check(commits: &[Vec<Value>], expected: (u64, bool, Option<i64>, &[&str])) {
        let parse = |(lines, version): (&Vec<Value>, u64)| {
            let text: Vec<String> = lines.iter().map(Value::to_string).collect();
            CommitChange::parse("t", version, text.join("\n").as_bytes()).unwrap()
        };
        let parsed: Vec<CommitChange> = commits.iter().zip(1..).map(parse).collect();
        let changes = RowChanges::of(&parsed);
        let files: Vec<&str> = changes.added.keys().map(|path| path.as_ref()).collect();
        let first = changes.first_committed_at.map(|at| at.millis() / 1000);
        assert_eq!((changes.commits, !changes.removed.is_empty(), first, files.as_slice()), expected);
    }

    #[test]
    fn compaction_is_not_a_change() {
        let compaction = vec![at(3), remove("a", Some(false)), remove("0", Some(false)), rewrite("c")];
        check(std::slice::from_ref(&compaction), (0, false, None, &[]));
        check(&[vec![at(2), add("a")], compaction, vec![at(4), add("d")]], (2, false, Some(2), &["a", "d"]));
    }

    #[test]
    fn rows_that_go_are_told() {
        check(&[vec![at(2), remove("0", None)]], (1, true, Some(2), &[]));
        check(&[vec![at(2), add("a"), remove("0", Some(true)), add("b")]], (1, true, Some(2), &["a", "b"]));
        check(&[vec![at(2), add("a")], vec![at(3), remove("a", None)]], (2, true, Some(2), &[]));
        let back = [vec![at(2), add("a")], vec![at(3), remove("a", None)], vec![at(4), add("a")]];
        check(&back, (3, true, Some(2), &["a"]));
    }

    #[test]
    fn what_others_write() {
        let bare = json!({"remove": {"path": "0"}});
        check(&[vec![bare]], (1, true, Some(0), &[]));
        let bare = json!({"add": {"path": "a%20b", "size": 1}});
        check(&[vec![bare]], (1, false, Some(0), &["a b"]));
        check(&[vec![add("a")]], (1, false, Some(7), &["a"]));
        check(&[vec![at(1), add("a")], vec![at(2), add("a")], vec![rewrite("a")]], (2, false, Some(1), &["a"]));
        check(&[vec![at(1), json!({"txn": {"appId": "x", "version": 1}})], vec![at(2)], vec![]], (0, false, None, &[]));
    }
}
