//! Finds what rows restate that take the place of stored ones: where events were removed, and where a rebuild was asked for.
//!
//! ```text
//! removed events: stored rows of these times            ─┐
//! rebuild:        stored rows of the others ∪ new events ─┴─ answers ─ compared ─ those of the new rows, staged already
//! ```
//! Told are windows that had been over for long enough when the first change since the stored rows was committed: whatever came
//! for them since then was late. A rebuild gives what readers saw before (MV-1), so it restates something only where stored rows
//! were wrong.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::find::scan;
use super::listing::Listing;
use super::record::{Cause, Restatement};
use super::terms::Terms;
use super::values::{json, times};
use crate::base::{Classify, Kind, Timestamp, chain};
use crate::materialize::absorb::ViewAt;
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::{Pending, QueryError};
use crate::rollup::{self, Design, Dirty, Piece, Windows};
use crate::storage::TableSnapshot;

/// What a refresh puts in place.
pub(in crate::materialize) struct Replaced<'a> {
    pub stored: &'a Arc<TableSnapshot>,
    /// Partial rows of all that was read.
    pub new: Arc<dyn TableProvider>,
    pub lacks: &'a Pending,
    pub rebuilt: Rebuilt,
    /// Version of the source.
    pub version: u64,
}

/// What was asked for beside what is pending.
pub(in crate::materialize) enum Rebuilt {
    Nothing,
    /// With what is dirty anyway.
    Times(Dirty),
    Everything,
}

/// Lists the groups whose answers are other ones.
///
/// # Errors
/// Cancelled. Answers that cannot be told are a warning in the log.
pub(in crate::materialize) async fn find_replaced(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    replaced: &Replaced<'_>,
    (cancel, listing): (&CancellationToken, &mut Listing),
) -> Result<(), MaterializeError> {
    let Some(terms) = Terms::of(&parts.catalog.snapshot(), view) else { return Ok(()) };
    let Replaced { stored, new, lacks, rebuilt, version } = replaced;
    let design = Arc::new(view.design.counting());
    let rows = |predicate: Option<Expr>| {
        let old = design.stored(scan("stored", stored.provider()), predicate.clone());
        (vec![old], vec![design.stored(scan("new", new.clone()), predicate)])
    };
    let mut compare = Compare { parts, view, design: &design, cancel, listing };
    if let (Some(removed), Some(changed), Some(since)) = (&lacks.dirty, &lacks.changed, lacks.since)
        && let Some(windows) = terms.closed(since, &parts.clock)
    {
        let versions = (changed.from.0 + 1, changed.to.0);
        compare.list(rows(Some(removed.stored_inside())), windows, (Cause::RemovedEvents, versions)).await?;
    }
    let asked = match rebuilt {
        Rebuilt::Nothing => return Ok(()),
        Rebuilt::Times(dirty) => Some(dirty),
        Rebuilt::Everything => None,
    };
    let Some(windows) = terms.closed(parts.clock.now(), &parts.clock) else { return Ok(()) };
    let removed = lacks.dirty.as_ref();
    let both = |asked: Option<Expr>, others: Option<Expr>| conjunction(asked.into_iter().chain(others));
    let (mut old, new) = rows(both(asked.map(Dirty::stored_inside), removed.map(Dirty::stored_outside)));
    old.extend(lacks.tail.clone().map(|tail| Piece::Base {
        rows: scan("tail", tail),
        within: both(asked.map(Dirty::inside), removed.map(Dirty::outside)),
    }));
    compare.list((old, new), windows, (Cause::Rebuild, (*version, *version))).await
}

struct Compare<'a> {
    parts: &'a RefreshParts,
    view: &'a ViewAt<'a>,
    /// Of the view, counting rows.
    design: &'a Arc<Design>,
    cancel: &'a CancellationToken,
    listing: &'a mut Listing,
}

/// One side's answer of a group.
struct Row {
    key: String,
    window_start: Option<Timestamp>,
    is_old: bool,
    answer: Answer,
}

/// The answers of one group.
#[derive(Default)]
struct Group {
    key: String,
    window_start: Option<Timestamp>,
    old: Option<Answer>,
    new: Option<Answer>,
}

struct Answer {
    text: String,
    rows: u64,
}

impl Compare<'_> {
    async fn list(
        &mut self,
        (old, new): (Vec<Piece>, Vec<Piece>),
        windows: Windows,
        cause: (Cause, (u64, u64)),
    ) -> Result<(), MaterializeError> {
        match self.differences(old, new, windows, cause).await {
            Err(error) if error.kind() == Kind::Cancelled => Err(error),
            // Such as a total beyond BIGINT, which readers of the group are told.
            Err(error) => {
                tracing::warn!(view = self.view.name, error = %chain(&error), "values of replaced groups not told");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn differences(
        &mut self,
        old: Vec<Piece>,
        new: Vec<Piece>,
        windows: Windows,
        cause: (Cause, (u64, u64)),
    ) -> Result<(), MaterializeError> {
        let design = self.design.clone();
        let plan = move |functions: &rollup::Functions| rollup::changed_groups(&design, (old, new), windows, functions);
        let mut found = self.parts.engine.open_rollup(plan, self.cancel.clone()).await?;
        let mut group: Option<Group> = None;
        while let Some(batch) = found.try_next().await.map_err(QueryError::from)? {
            for Row { key, window_start, is_old, answer } in self.answers(&batch, windows)? {
                if group.as_ref().is_none_or(|group| group.key != key) {
                    let next = Group { key, window_start, ..Group::default() };
                    self.put(group.replace(next), cause);
                }
                if let Some(group) = &mut group {
                    *(if is_old { &mut group.old } else { &mut group.new }) = Some(answer);
                }
            }
        }
        self.put(group, cause);
        Ok(())
    }

    fn answers(&self, batch: &RecordBatch, windows: Windows) -> Result<Vec<Row>, MaterializeError> {
        let keys = self.design.keys.len();
        // Behind the keys: the certain calls, the number of rows the last of them, and which side has the row.
        let calls = batch.num_columns().saturating_sub(keys + 2);
        let names = self.design.certain_calls().into_iter().filter_map(|place| self.design.call_names.get(place));
        let names: Vec<String> = names.cloned().collect();
        let columns = |from: usize, count: usize| batch.columns().get(from..from + count).unwrap_or_default();
        let texts = match calls {
            0 => vec!["{}".to_owned(); batch.num_rows()],
            _ => json(&names, columns(keys, calls))?,
        };
        let starts = times(batch.column(windows.key))?;
        let rows = batch.column(keys + calls).as_primitive::<Int64Type>();
        let more = batch.column(keys + calls + 1).as_primitive::<Int64Type>();
        let key_texts = json(&self.design.keys, columns(0, keys))?;
        let answer = |row: usize, text| Answer { text, rows: u64::try_from(rows.value(row)).unwrap_or_default() };
        let each = key_texts.into_iter().zip(starts).zip(texts).enumerate();
        let row = |(row, ((key, window_start), text))| Row {
            key,
            window_start,
            is_old: more.value(row) > 0,
            answer: answer(row, text),
        };
        Ok(each.map(row).collect())
    }

    /// Lists the group if its values differ: events may go without a trace.
    fn put(&mut self, group: Option<Group>, (cause, (first, last)): (Cause, (u64, u64))) {
        let Some(Group { key, window_start, old, new }) = group else { return };
        let rows = |answer: &Option<Answer>| answer.as_ref().map_or(0, |answer| answer.rows);
        let removed_events = match cause {
            Cause::RemovedEvents => rows(&old).saturating_sub(rows(&new)),
            Cause::LateEvents | Cause::ChangedRows | Cause::Rebuild => 0,
        };
        let (old_value, new_value) = (old.map(|answer| answer.text), new.map(|answer| answer.text));
        if old_value != new_value {
            self.listing.list(Restatement {
                cause,
                group_key: Some(key),
                window_start,
                old_value,
                new_value,
                source: self.view.design.question.source.clone(),
                first_version: Some(first),
                last_version: Some(last),
                late_events: 0,
                removed_events,
                groups: 1,
            });
        }
    }
}
