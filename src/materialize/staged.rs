//! Files on their way into a view's table, gathered from several runs.
//!
//! Not here: the commit that brings them in, or deletes them (`commit`).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use tokio_util::sync::CancellationToken;

use super::rows::{conform, write};
use super::{MaterializeError, RefreshParts};
use crate::query::may_hold;
use crate::rollup::Times;
use crate::storage::{CommitMode, FileTimes, StagedFile, Table, TableSnapshot};

/// Where rows are written: a view, its table, and the version of it that the new rows go on from.
pub(super) struct Target<'a> {
    pub view: &'a str,
    pub table: &'a Table,
    pub stored: Arc<TableSnapshot>,
    pub task: &'a Arc<TaskContext>,
    pub cancel: &'a CancellationToken,
}

/// Files that no version names yet.
#[derive(Default)]
pub(super) struct Staged {
    files: Vec<StagedFile>,
}

/// Some of the stored rows: those of a time.
pub(super) struct Held<'a> {
    /// The stored column.
    pub key: &'a str,
    pub times: &'a Times,
    /// Passed by all other stored rows.
    pub others: Expr,
}

impl Staged {
    pub fn files(&self) -> &[StagedFile] {
        &self.files
    }

    /// Takes files in; how many rows they have.
    pub fn add(&mut self, files: Vec<StagedFile>) -> u64 {
        let rows = files.iter().map(|file| file.rows).sum();
        self.files.extend(files);
        rows
    }

    /// Writes rows; how many.
    ///
    /// # Errors
    /// What reading the rows meets; cancelled.
    pub async fn write(
        &mut self,
        target: &Target<'_>,
        rows: SendableRecordBatchStream,
    ) -> Result<u64, MaterializeError> {
        let Target { view, table, stored, task, cancel } = target;
        let rows = conform(view, rows, stored.columns(), (*cancel).clone())?;
        Ok(self.add(write(view, table, rows, task, cancel).await?))
    }

    /// Deletes them, but for those that are committed or may be.
    pub async fn discard(self, table: &Table) {
        table.discard(self.files).await;
    }

    /// Replaces the stored files that may have rows of these times. Their other rows are written again.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn take_out(
        &mut self,
        parts: &RefreshParts,
        target: &Target<'_>,
        held: Held<'_>,
    ) -> Result<CommitMode, MaterializeError> {
        let Held { key, times, others } = held;
        let (mut leaving, mut mixed) = (BTreeSet::new(), BTreeSet::new());
        for (file, has) in target.stored.file_times(key) {
            if may_hold(&has, times) {
                if !is_within(&has, times) {
                    mixed.insert(file.name.clone());
                }
                leaving.insert(file.name);
            }
        }
        if !mixed.is_empty() {
            let rows = target.stored.provider_of(&mixed);
            let rows = parts.engine.open_rows((rows, others), target.cancel.clone()).await?;
            self.write(target, rows).await?;
        }
        Ok(match leaving.is_empty() {
            true => CommitMode::Append,
            false => CommitMode::ReplaceFiles(leaving),
        })
    }
}

/// Whether all rows of a file are surely of these times.
fn is_within(file: &FileTimes, times: &Times) -> bool {
    match file {
        FileTimes::NoRows => true,
        FileTimes::Between { earliest, latest, or_none } => {
            times.has_all(earliest.micros(), latest.micros()) && (!*or_none || times.has_missing())
        }
        FileTimes::Without => times.has_missing(),
        FileTimes::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn a_file_is_left_unread_only_when_all_its_rows_go() {
        let between =
            |from, to, or_none| FileTimes::Between { earliest: Timestamp(from), latest: Timestamp(to), or_none };
        let mut times = Times::between(10, 20);
        let check = |times: &Times, file: FileTimes, expected: (bool, bool)| {
            assert_eq!((may_hold(&file, times), is_within(&file, times)), expected, "{file:?} {times:?}");
        };
        check(&times, between(10, 19, false), (true, true));
        check(&times, between(10, 19, true), (true, false));
        check(&times, between(10, 20, false), (true, false));
        check(&times, between(0, 9, true), (false, false));
        check(&times, FileTimes::Without, (false, false));
        check(&times, FileTimes::Unknown, (true, false));
        times.add_missing();
        check(&times, between(10, 19, true), (true, true));
        check(&times, between(0, 9, true), (true, false));
        check(&times, FileTimes::Without, (true, true));
        check(&Times::default(), FileTimes::Unknown, (false, false));
    }
}
