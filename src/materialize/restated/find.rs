//! Finds what the new rows of a view's source restate.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::Expr;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::listing::{Events, Listing};
use super::record::{Cause, Restatement};
use super::terms::Terms;
use super::values::{internal, json, times};
use crate::base::{Classify, Kind, Span, Timestamp, chain};
use crate::materialize::absorb::ViewAt;
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::{Pending, QueryError};
use crate::rollup::{self, CommitRows, Dirty, Piece, Scan, Window};
use crate::storage::{CommittedRows, TableSnapshot};

/// Parts of one refresh whose restatements are told apart: with more commits of late rows, several together are one cause.
const CAUSES_MAX: usize = 16;
/// Files read for all causes together, about: each cause reads those before it, so a refresh that is far behind has fewer causes.
const READS_MAX: usize = 1024;
/// Ends of windows in one cause that are told apart; with more, rows are late by the first of several.
const ENDS_MAX: usize = 16;

/// What the rows that the source has got, about to be added to `stored`, change of windows that were over. Times from which rows
/// went as well are left out: there more is put in place than what came late.
///
/// # Errors
/// A query that fails on the source's rows, storage trouble, cancelled.
pub(in crate::materialize) async fn find(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    (stored, lacks): (&Arc<TableSnapshot>, &Pending),
    (cancel, listing): (&CancellationToken, &mut Listing),
) -> Result<(), MaterializeError> {
    let Some(Terms { window, restate_after, .. }) = Terms::of(&parts.catalog.snapshot(), view) else { return Ok(()) };
    let Some(changed) = &lacks.changed else { return Ok(()) };
    let commits = changed.by_commit();
    let late = late_commits(&commits, &window, restate_after);
    let files: usize = commits.iter().map(CommittedRows::file_count).sum();
    let causes = (READS_MAX / files.max(1)).clamp(1, CAUSES_MAX);
    let within = lacks.dirty.as_ref().map(Dirty::outside);
    let mut search = Search { parts, view, window, commits, within, stored, cancel, listing };
    for cause in late.chunks(late.len().div_ceil(causes).max(1)) {
        search.look_at(cause).await?;
    }
    Ok(())
}

/// A commit that may have brought late rows: its place, and the time before which its rows are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Late {
    place: usize,
    end: Timestamp,
}

fn late_commits(commits: &[CommittedRows], window: &Window, restate_after: Span) -> Vec<Late> {
    let late = |(place, commit): (usize, &CommittedRows)| {
        let end = window.closed_before(commit.committed_at.minus(restate_after.duration()))?;
        commit.may_be_before(&window.column, end).then_some(Late { place, end })
    };
    commits.iter().enumerate().filter_map(late).collect()
}

/// The commits of a cause, together where their rows are late by the same time.
fn by_end(cause: &[Late]) -> Vec<&[Late]> {
    let alike: Vec<&[Late]> = cause.chunk_by(|a, b| a.end == b.end).collect();
    if alike.len() <= ENDS_MAX { alike } else { cause.chunks(cause.len().div_ceil(ENDS_MAX)).collect() }
}

/// Groups of late rows: the keys, then [`rollup::LATE_COLUMNS`].
struct Groups {
    rows: RecordBatch,
    keys: usize,
}

impl Groups {
    fn count(&self) -> u64 {
        self.rows.num_rows() as u64
    }

    fn number(&self, row: usize, which: usize) -> u64 {
        let column = self.rows.column(self.keys + which).as_primitive::<Int64Type>();
        u64::try_from(column.value(row)).unwrap_or_default()
    }

    fn late_events(&self) -> u64 {
        (0..self.rows.num_rows()).map(|row| self.number(row, 0)).sum()
    }
}

struct Search<'a> {
    parts: &'a RefreshParts,
    view: &'a ViewAt<'a>,
    window: Window,
    commits: Vec<CommittedRows>,
    /// Rows of the source that do not pass it are looked at elsewhere.
    within: Option<Expr>,
    stored: &'a Arc<TableSnapshot>,
    cancel: &'a CancellationToken,
    listing: &'a mut Listing,
}

impl Search<'_> {
    /// Lists what the late rows of some commits, which follow one another, change.
    async fn look_at(&mut self, cause: &[Late]) -> Result<(), MaterializeError> {
        let Some(groups) = self.groups(cause).await? else { return Ok(()) };
        match self.restated(cause, &groups).await {
            Ok(restated) => restated.into_iter().for_each(|group| self.listing.list(group)),
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            // Such as a total beyond BIGINT, which readers of the group are told.
            Err(error) => {
                tracing::warn!(view = self.view.name, error = %chain(&error), "values of late groups not told");
                self.sum_up(cause, &groups);
            }
        }
        Ok(())
    }

    /// The groups that late rows of these commits belong to, as many as are still listed; the others are counted.
    async fn groups(&mut self, cause: &[Late]) -> Result<Option<Groups>, MaterializeError> {
        let (design, rows, window) = (self.view.design.clone(), self.commit_rows(cause), self.window.clone());
        let plan = move |functions: &rollup::Functions| rollup::late_groups(&design, &window, &rows, functions);
        let mut found = self.parts.engine.open_rollup(plan, self.cancel.clone()).await?;
        let keys = self.view.design.keys.len();
        let mut kept: Vec<RecordBatch> = Vec::new();
        let mut room = self.listing.room();
        while let Some(batch) = found.try_next().await.map_err(QueryError::from)? {
            let taken = batch.num_rows().min(room);
            room -= taken;
            if taken > 0 {
                kept.push(batch.slice(0, taken));
            }
            if taken < batch.num_rows() {
                let rest = Groups { rows: batch.slice(taken, batch.num_rows() - taken), keys };
                self.sum_up(cause, &rest);
            }
        }
        let Some(first) = kept.first() else { return Ok(None) };
        let rows = arrow::compute::concat_batches(&first.schema(), &kept).map_err(|error| internal(&error))?;
        Ok(Some(Groups { rows, keys }))
    }

    /// The answers of the groups without the late rows and with them, where they differ.
    async fn restated(&self, cause: &[Late], groups: &Groups) -> Result<Vec<Restatement>, MaterializeError> {
        let design = &self.view.design;
        let starts = self.window_starts(cause, groups)?;
        let (without, with) = self.pieces(cause, &starts);
        let old = self.values(without, groups).await?;
        let new = self.values(with, groups).await?;
        let keys = groups.rows.columns().get(..groups.keys).unwrap_or_default();
        let keys = json(&design.keys, keys)?;
        let mut restated = Vec::new();
        for (row, key) in keys.into_iter().enumerate() {
            let (old_value, new_value) = (old.get(&key).cloned(), new.get(&key).cloned());
            if old_value == new_value {
                continue;
            }
            restated.push(Restatement {
                cause: Cause::LateEvents,
                group_key: Some(key),
                window_start: starts.get(row).copied().flatten(),
                old_value,
                new_value,
                source: design.question.source.clone(),
                first_version: Some(groups.number(row, 1)),
                last_version: Some(groups.number(row, 2)),
                late_events: groups.number(row, 0),
                removed_events: 0,
                groups: 1,
            });
        }
        Ok(restated)
    }

    /// Where each group's window begins.
    fn window_starts(&self, cause: &[Late], groups: &Groups) -> Result<Vec<Option<Timestamp>>, MaterializeError> {
        let end = cause.last().map_or(Timestamp::default(), |late| late.end);
        let Some(key) = self.window.key(end) else { return Ok(Vec::new()) };
        times(groups.rows.column(key))
    }

    /// Everything that was committed before the late rows of `cause`, of the windows that begin at `starts`; and the same with
    /// these rows. Rows of later commits are in neither.
    fn pieces(&self, cause: &[Late], starts: &[Option<Timestamp>]) -> (Vec<Piece>, Vec<Piece>) {
        let design = &self.view.design;
        let (first, last) = (starts.iter().flatten().min(), starts.iter().flatten().max());
        let end = cause.iter().map(|late| late.end).max().unwrap_or_default();
        let mut windows = self.window.between(first.copied(), end);
        if let Some(within) = &self.within {
            windows = windows.and(within.clone());
        }
        let stored = scan("stored", self.stored.provider());
        let mut without = match (self.window.key(end), first, last) {
            (Some(key), Some(first), Some(last)) => vec![rollup::stored_between(design, stored, (key, *first, *last))],
            _ => Vec::new(),
        };
        let until = cause.last().map_or(0, |late| late.place + 1);
        let late: HashSet<usize> = cause.iter().map(|late| late.place).collect();
        let is_late = |place: usize| late.contains(&place);
        let others = self.commits.iter().take(until).enumerate().filter(|(place, _)| !is_late(*place));
        if let Some(rows) = CommittedRows::provider(others.map(|(_, commit)| commit)) {
            without.push(Piece::Base { rows: scan("before", rows), within: Some(windows.clone()) });
        }
        let commits = self.commit_rows(cause);
        without.extend(commits.iter().map(|commit| narrowed(commit.in_time(&self.window), &windows)));
        let late = commits.iter().map(|commit| narrowed(commit.late(&self.window), &windows));
        let with = without.iter().cloned().chain(late).collect();
        (without, with)
    }

    fn commit_rows(&self, cause: &[Late]) -> Vec<CommitRows> {
        let rows = |late: &[Late]| {
            let versions = self.versions(late);
            let commits = late.iter().filter_map(|late| self.commits.get(late.place));
            let rows = scan(&format!("commit_{}", versions.0), CommittedRows::provider(commits)?);
            let end = late.iter().map(|late| late.end).min()?;
            Some(CommitRows { versions, rows, end, within: self.within.clone() })
        };
        by_end(cause).into_iter().filter_map(rows).collect()
    }

    /// The aggregates of the groups, by the text of their keys.
    async fn values(&self, pieces: Vec<Piece>, groups: &Groups) -> Result<HashMap<String, String>, MaterializeError> {
        let wanted = MemTable::try_new(groups.rows.schema(), vec![vec![groups.rows.clone()]]);
        let wanted = scan("late", Arc::new(wanted.map_err(QueryError::from)?));
        let design = self.view.design.clone();
        let plan = move |functions: &rollup::Functions| rollup::answers_of(&design, pieces, wanted, functions);
        let mut answers = self.parts.engine.open_rollup(plan, self.cancel.clone()).await?;
        let mut values = HashMap::new();
        while let Some(batch) = answers.try_next().await.map_err(QueryError::from)? {
            let (keys, calls) = batch.columns().split_at(groups.keys.min(batch.num_columns()));
            let keys = json(&self.view.design.keys, keys)?;
            values.extend(keys.into_iter().zip(json(&self.view.design.call_names, calls)?));
        }
        Ok(values)
    }

    fn sum_up(&mut self, cause: &[Late], groups: &Groups) {
        let events = Events { late: groups.late_events(), removed: 0 };
        let versions = self.versions(cause);
        self.listing.sum_up(Cause::LateEvents, groups.count(), events, Some(versions));
    }

    fn versions(&self, cause: &[Late]) -> (u64, u64) {
        let version = |late: Option<&Late>| late.and_then(|late| self.commits.get(late.place)).map(|one| one.version.0);
        (version(cause.first()).unwrap_or_default(), version(cause.last()).unwrap_or_default())
    }
}

fn narrowed(piece: Piece, windows: &Expr) -> Piece {
    match piece {
        Piece::Base { rows, within } => {
            let within = within.map_or(windows.clone(), |within| within.and(windows.clone()));
            Piece::Base { rows, within: Some(within) }
        }
        stored @ Piece::Stored { .. } => stored,
    }
}

pub(super) fn scan(table: &str, rows: Arc<dyn TableProvider>) -> Scan {
    Scan { table: table.into(), source: provider_as_source(rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of the parts of a cause, by the ends of its commits.
    fn parts(ends: impl IntoIterator<Item = i64>) -> Vec<usize> {
        let late = |(place, end)| Late { place, end: Timestamp(end) };
        let cause: Vec<Late> = ends.into_iter().enumerate().map(late).collect();
        by_end(&cause).into_iter().map(<[Late]>::len).collect()
    }

    #[test]
    fn commits_late_by_the_same_time_are_one_part_and_parts_are_bounded() {
        assert_eq!(parts([]), Vec::<usize>::new());
        assert_eq!(parts([1, 1, 1, 2, 2, 1]), [3, 2, 1]);
        assert_eq!(parts(0..16), [1; 16]);
        assert_eq!(parts(0..33), [[3; 11].as_slice()].concat());
    }
}
