//! DELETE: rows go, file by file, in one commit.
//!
//! ```text
//!   files that may hold such rows (statistics) ─► how many rows of each? ─┬─ none: the file stays
//!        ▲                                                                ├─ all:  it goes, unread
//!        │ what came in the place of those gone                           └─ some: the others become a file, in its order
//!        │                                                                                  │
//!        └──── one of them is gone (compacted, expired) ◄──── commit: old out, new in ◄─────┘
//! ```
//!
//! The rows that go are those of one version: the one it began with, or, when others have rewritten files under it, the one it
//! looked at last; rows committed after that version stay. Files are looked at once each, however often it looks again, so
//! beside steady compaction it comes to an end. Appends never wait for it and are never lost.
//!
//! Memory: files are counted several at once, on the columns of the predicate alone; one is rewritten at a time.
//!
//! - **RUN-1** Killed before its commit it leaves files no version names; vacuum deletes them.
//! - **SCN-1** What is left of a sorted file is sorted. Rows counted and rows written must add up, else nothing changes.
//!
//! Not here: what a condition means (`query`), what becomes of event keys (`ingest`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{CommitMode, CommitOutcome, CommitRequest, InputOrder, StagedFile, Table, TableVersion, WriteOptions};
use crate::base::Timestamp;
use crate::storage::index::DataFile;
use crate::storage::scan::{RowPredicate, Selector};
use crate::storage::spec::ROWS_UNTIL_TAG;
use crate::storage::{StorageError, TableSnapshot};

/// Looks at the table before it gives up, when others keep rewriting its files.
const ROUNDS_MAX: usize = 20;
/// Files counted at once.
const FILES_AT_ONCE: usize = 4;

/// How far a delete is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteProgress {
    /// Files of so many bytes are to be looked at, from the first one on.
    Found {
        bytes: u64,
    },
    /// One of them is done.
    Done {
        bytes: u64,
        rows_deleted: u64,
    },
    Committing,
}

/// What a delete needs beside its rows.
pub struct DeleteOptions {
    pub cancel: CancellationToken,
    pub progress: Arc<dyn Fn(DeleteProgress) + Send + Sync>,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteReport {
    /// Rows that went.
    pub rows: u64,
    /// Files all of whose rows went.
    pub files_removed: u64,
    /// Files of which some rows went.
    pub files_rewritten: u64,
    /// Rows that stayed, in new files.
    pub rows_rewritten: u64,
    /// The version without the rows; the one looked at, when there were none.
    pub version: TableVersion,
}

/// What becomes of one file.
#[derive(Debug)]
enum Fate {
    Stays,
    Goes { rows: u64 },
    Shrinks { rows: u64, left: Vec<StagedFile> },
}

/// Files looked at, by their path below the table's folder.
#[derive(Default)]
struct Fates {
    by_path: BTreeMap<Path, Fate>,
    /// When the first file was written.
    written_since: Option<Timestamp>,
    bytes_found: u64,
}

impl Fates {
    fn staged(&self) -> impl Iterator<Item = &StagedFile> {
        self.by_path.values().flat_map(|fate| match fate {
            Fate::Shrinks { left, .. } => left.as_slice(),
            Fate::Stays | Fate::Goes { .. } => &[],
        })
    }

    /// Files that do not stay as they are.
    fn leaving(&self) -> BTreeSet<String> {
        let leaves = |fate: &Fate| !matches!(fate, Fate::Stays);
        self.by_path.iter().filter(|(_, fate)| leaves(fate)).map(|(path, _)| path.to_string()).collect()
    }

    fn report(&self) -> DeleteReport {
        let mut report = DeleteReport::default();
        for fate in self.by_path.values() {
            match fate {
                Fate::Stays => {}
                Fate::Goes { rows } => {
                    report.rows += rows;
                    report.files_removed += 1;
                }
                Fate::Shrinks { rows, left } => {
                    report.rows += rows;
                    report.files_rewritten += 1;
                    report.rows_rewritten += left.iter().map(|file| file.rows).sum::<u64>();
                }
            }
        }
        report
    }

    /// Takes out the files that are not `kept`, and what was written for them.
    fn take_unless(&mut self, kept: impl Fn(&Path, &Fate) -> bool) -> Vec<StagedFile> {
        let mut taken = Vec::new();
        self.by_path.retain(|path, fate| {
            let keep = kept(path, fate);
            if let (false, Fate::Shrinks { left, .. }) = (keep, fate) {
                taken.append(left);
            }
            keep
        });
        taken
    }
}

impl Table {
    /// Deletes the rows of `base` for which `predicate` is true, in one commit; see the module for what happens beside it.
    /// `right` is waited for before each try to commit, and what it gives held meanwhile.
    ///
    /// # Errors
    /// A predicate that fails on a row; storage trouble; `Cancelled`; `Crowded` when others rewrite the table faster than it
    /// comes to an end. Nothing has changed then.
    pub async fn delete_rows<F>(
        &self,
        (base, predicate): (Arc<TableSnapshot>, &RowPredicate),
        options: &DeleteOptions,
        right: impl Fn() -> F + Send + Sync,
    ) -> Result<DeleteReport, StorageError>
    where
        F: Future<Output: Send> + Send,
    {
        let mut fates = Fates::default();
        let deleted = Box::pin(self.delete_in_rounds((base, predicate), options, &mut fates, right)).await;
        if deleted.is_err() {
            // Files of a commit that may have landed after all are kept: see `discard`.
            self.discard(fates.staged().cloned().collect()).await;
        }
        deleted
    }

    async fn delete_in_rounds<F>(
        &self,
        (mut base, predicate): (Arc<TableSnapshot>, &RowPredicate),
        options: &DeleteOptions,
        fates: &mut Fates,
        right: impl Fn() -> F + Send + Sync,
    ) -> Result<DeleteReport, StorageError>
    where
        F: Future<Output: Send> + Send,
    {
        let cancelled = || StorageError::Cancelled { action: format!("DELETE of rows of table '{}'", self.parts.path) };
        for _ in 0..ROUNDS_MAX {
            let looking = self.look_at_files(&base, predicate, options, fates);
            options.cancel.run_until_cancelled(looking).await.ok_or_else(cancelled)??;
            let report = fates.report();
            if report.rows == 0 {
                return Ok(DeleteReport { version: base.version(), ..report });
            }
            (options.progress)(DeleteProgress::Committing);
            let _right = options.cancel.run_until_cancelled(right()).await.ok_or_else(cancelled)?;
            if !self.are_staged(fates).await? {
                continue;
            }
            if options.cancel.is_cancelled() {
                return Err(cancelled());
            }
            match self.commit(request(fates, &report, &base)).await {
                Ok(CommitOutcome::Committed(version) | CommitOutcome::AlreadyCommitted(version)) => {
                    return Ok(DeleteReport { version, ..report });
                }
                Err(StorageError::FilesGone { .. }) => {}
                Err(error) => return Err(error),
            }
            base = self.refresh().await?;
            tracing::debug!(table = %self.parts.path, version = %base.version(), "files were rewritten under a delete; it looks again");
            let unused = fates.take_unless(|path, _| base.index().file(path).is_some());
            self.discard(unused).await;
        }
        Err(StorageError::Crowded { table: self.parts.path.clone() })
    }

    /// Looks at the files of `base` that were not looked at before.
    async fn look_at_files(
        &self,
        base: &Arc<TableSnapshot>,
        predicate: &RowPredicate,
        options: &DeleteOptions,
        fates: &mut Fates,
    ) -> Result<(), StorageError> {
        let selector = Selector::new(base, predicate).map_err(|error| self.unfindable(error))?;
        let mut files = selector.candidates();
        files.retain(|file| !fates.by_path.contains_key(&file.relative));
        fates.bytes_found += files.iter().map(|file| file.size).sum::<u64>();
        (options.progress)(DeleteProgress::Found { bytes: fates.bytes_found });
        let (selector, one_at_a_time) = (&selector, &tokio::sync::Mutex::new(()));
        let mut work = stream::iter(files)
            .map(|file| async move {
                let fate = self.fate_of(&file, selector, one_at_a_time).await?;
                Ok::<_, StorageError>((file, fate))
            })
            .buffer_unordered(FILES_AT_ONCE);
        while let Some(done) = work.next().await {
            let (file, fate) = done?;
            let rows_deleted = match &fate {
                Fate::Stays => 0,
                Fate::Goes { rows } | Fate::Shrinks { rows, .. } => *rows,
            };
            if matches!(fate, Fate::Shrinks { .. }) && fates.written_since.is_none() {
                fates.written_since = Some(self.parts.clock.now());
            }
            fates.by_path.insert(file.relative.clone(), fate);
            (options.progress)(DeleteProgress::Done { bytes: file.size, rows_deleted });
        }
        Ok(())
    }

    async fn fate_of(
        &self,
        file: &Arc<DataFile>,
        selector: &Selector,
        one_at_a_time: &tokio::sync::Mutex<()>,
    ) -> Result<Fate, StorageError> {
        let rows = selector.count(file).await.map_err(|error| self.unfindable(error))?;
        if rows == 0 {
            return Ok(Fate::Stays);
        }
        let total = match file.rows() {
            Some(total) => total,
            None => selector.count_all(file).await.map_err(|error| self.unfindable(error))?,
        };
        if rows == total {
            return Ok(Fate::Goes { rows });
        }
        let _turn = one_at_a_time.lock().await;
        let left = self.rest_of(file, selector).await?;
        let written: u64 = left.iter().map(|file| file.rows).sum();
        if written.saturating_add(rows) != total {
            self.discard(left).await;
            let path = &file.relative;
            return Err(StorageError::Damaged {
                message: format!(
                    "of {total} rows in file '{path}' of table '{}' {rows} were to go and {written} were kept; nothing was changed",
                    self.parts.path
                ),
            });
        }
        Ok(Fate::Shrinks { rows, left })
    }

    /// A file of the rows that stay.
    async fn rest_of(&self, file: &Arc<DataFile>, selector: &Selector) -> Result<Vec<StagedFile>, StorageError> {
        let rows = selector.others(file).await.map_err(|error| self.unfindable(error))?;
        let wanted = self.current().spec().file_sort_columns().join(",");
        let is_sorted = wanted.is_empty() || file.sorted_by.as_deref() == Some(wanted.as_str());
        let order = if is_sorted { InputOrder::Sorted } else { InputOrder::Unsorted };
        let mut left = self.write_files(rows, WriteOptions { order, context: selector.task() }).await?;
        for staged in &mut left {
            staged.add.tags.insert(ROWS_UNTIL_TAG.to_owned(), file.rows_until.to_string());
        }
        Ok(left)
    }

    /// Whether all files that were written are there still; those that are not are forgotten, and so looked at again.
    async fn are_staged(&self, fates: &mut Fates) -> Result<bool, StorageError> {
        if fates.written_since.is_none_or(|since| self.is_surely_there(since)) {
            return Ok(true);
        }
        let written = fates.staged().map(|file| self.file_path(&file.add.path)).collect();
        let gone: BTreeSet<Path> = self.missing(written).await?.into_iter().collect();
        let has_gone = |fate: &Fate| match fate {
            Fate::Shrinks { left, .. } => left.iter().any(|file| gone.contains(&self.file_path(&file.add.path))),
            Fate::Stays | Fate::Goes { .. } => false,
        };
        let unused = fates.take_unless(|_, fate| !has_gone(fate));
        self.discard(unused).await;
        Ok(gone.is_empty())
    }

    fn unfindable(&self, error: datafusion::error::DataFusionError) -> StorageError {
        StorageError::engine(format!("find the rows to delete from table '{}'", self.parts.path), error)
    }
}

fn request(fates: &Fates, report: &DeleteReport, base: &TableSnapshot) -> CommitRequest {
    let numbers = [
        ("rows", report.rows),
        ("files_removed", report.files_removed),
        ("files_rewritten", report.files_rewritten),
        ("rows_rewritten", report.rows_rewritten),
        ("read_version", base.version().0),
    ];
    CommitRequest {
        files: fates.staged().cloned().collect(),
        mode: CommitMode::ReplaceFiles(fates.leaving()),
        transactions: Vec::new(),
        fence: None,
        expected: None,
        operation: "DELETE",
        info: numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect(),
    }
}
