//! Finds what a refresh of a view kept by partitions restates: partitions whose rows are other ones. Which event did it is not known
//! there, only which table has changed.
//!
//! Told are partitions that had been over for long enough when the first change since the stored rows was committed.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::find::scan;
use super::listing::Listing;
use super::record::{Cause, Restatement};
use super::terms::{restate_after, retention};
use super::values::{json, times};
use crate::base::{Classify, Kind, Timestamp, chain};
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::{PartitionAt, QueryError};
use crate::rollup::{self, Certainty, Times};

/// Rows of a partition that are shown of each side, and the bytes of their text.
const ROWS_SHOWN: usize = 10;
const BYTES_SHOWN: usize = 4 << 10;

/// Lists the partitions of these times (`None`: all) whose rows differ; `new` are those that take the place of the stored ones.
///
/// # Errors
/// Cancelled. Rows that cannot be told are a warning in the log.
pub(in crate::materialize) async fn find_partitions(
    parts: &RefreshParts,
    (view, at): (&str, &PartitionAt),
    (new, replaced): (Arc<dyn TableProvider>, Option<&Times>),
    cancel: &CancellationToken,
) -> Result<Vec<Restatement>, MaterializeError> {
    // Rows of another design, or of tables whose log is gone: nothing is known of when they changed.
    if !at.behind.is_told {
        return Ok(Vec::new());
    }
    let always = Times::always();
    let replaced = replaced.unwrap_or(&always);
    let dirty = at.behind.dirty.as_ref().unwrap_or(&always);
    let stored = at.stored.provider().schema();
    let mut search = Search { parts, view, at, new, cancel, listing: Listing::new(&changed_tables(at)) };
    if let Some(closed) = at.behind.since.and_then(|since| search.closed(since)) {
        let within = at.design.stored_inside(&replaced.and(dirty).and(&closed), &stored);
        search.list(within, Cause::ChangedRows).await?;
    }
    if let Some(closed) = search.closed(parts.clock.now()).filter(|_| replaced != dirty && *dirty != always) {
        let asked = at.design.stored_inside(&replaced.and(&closed), &stored);
        search.list(asked.and(at.design.stored_outside(dirty, &stored)), Cause::Rebuild).await?;
    }
    Ok(search.listing.told(view))
}

/// Tables that have changed; all, when none has.
fn changed_tables(at: &PartitionAt) -> String {
    let all = || at.sources().map(|(name, ..)| name.to_owned()).collect();
    let changed: Vec<String> = if at.behind.changed.is_empty() { all() } else { at.behind.changed.clone() };
    changed.join(", ")
}

struct Search<'a> {
    parts: &'a RefreshParts,
    view: &'a str,
    at: &'a PartitionAt,
    new: Arc<dyn TableProvider>,
    cancel: &'a CancellationToken,
    listing: Listing,
}

/// What differs of one partition.
#[derive(Default)]
struct Partition {
    start: Timestamp,
    old: Rows,
    new: Rows,
}

#[derive(Default)]
struct Rows {
    shown: Vec<String>,
    count: u64,
}

impl Rows {
    fn add(&mut self, text: &str, count: u64) {
        self.count += count;
        for _ in 0..count.min(ROWS_SHOWN as u64) {
            let bytes: usize = self.shown.iter().map(String::len).sum();
            if self.shown.len() < ROWS_SHOWN && bytes + text.len() <= BYTES_SHOWN {
                self.shown.push(text.to_owned());
            }
        }
    }

    /// A JSON array; None: there are no rows.
    fn text(mut self) -> Option<String> {
        let hidden = self.count.saturating_sub(self.shown.len() as u64);
        if hidden > 0 {
            self.shown.push(format!("\"{hidden} more\""));
        }
        (!self.shown.is_empty()).then(|| format!("[{}]", self.shown.join(",")))
    }
}

impl Search<'_> {
    /// Partitions that had been over for so long at `moment`, but for those of rows that are too old to be kept by their tables.
    fn closed(&self, moment: Timestamp) -> Option<Times> {
        let catalog = self.parts.catalog.snapshot();
        let before = self.at.design.grain_start(moment.minus(restate_after(&catalog, self.view)?.duration()))?;
        let now = self.parts.clock.now();
        let kept = self.at.design.scans().filter_map(|needed| {
            let kept_from = now.minus(retention(&catalog, &needed.table)?.duration());
            Some(kept_from.micros().saturating_add(needed.before))
        });
        Some(Times::between(kept.max().unwrap_or(i64::MIN), before.micros()))
    }

    async fn list(&mut self, within: Expr, cause: Cause) -> Result<(), MaterializeError> {
        match self.differences(within, cause).await {
            Err(error) if error.kind() == Kind::Cancelled => Err(error),
            Err(error) => {
                tracing::warn!(view = self.view, error = %chain(&error), "rows of replaced partitions not told");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn differences(&mut self, within: Expr, cause: Cause) -> Result<(), MaterializeError> {
        let design = &self.at.design;
        let certainties = self.parts.engine.view_decision(self.view)?.certainties.clone();
        let is_certain = |place: usize| certainties.get(place).is_none_or(|known| *known == Certainty::Certain);
        let fields = design.columns.fields().iter().enumerate().filter(|(place, _)| is_certain(*place));
        let columns: Vec<String> = fields.map(|(_, field)| field.name().clone()).collect();
        let Some(key_place) = columns.iter().position(|name| *name == design.key) else { return Ok(()) };
        let (old, new) = (scan("stored", self.at.stored.provider()), scan("new", self.new.clone()));
        let (names, key) = (columns.clone(), design.key.clone());
        let plan =
            move |functions: &rollup::Functions| rollup::changed_rows((old, new), &within, (&names, &key), functions);
        let mut found = self.parts.engine.open_rollup(plan, self.cancel.clone()).await?;
        let mut partition: Option<Partition> = None;
        while let Some(batch) = found.try_next().await.map_err(QueryError::from)? {
            for (start, text, more) in self.rows(&batch, &columns, key_place)? {
                if partition.as_ref().is_none_or(|partition| partition.start != start) {
                    self.put(partition.replace(Partition { start, ..Partition::default() }), cause);
                }
                if let Some(partition) = &mut partition {
                    let side = if more > 0 { &mut partition.old } else { &mut partition.new };
                    side.add(&text, more.unsigned_abs());
                }
            }
        }
        self.put(partition, cause);
        Ok(())
    }

    /// Of each row where its partition begins, the row, and how many more of it the stored ones have.
    fn rows(
        &self,
        batch: &RecordBatch,
        columns: &[String],
        key_place: usize,
    ) -> Result<Vec<(Timestamp, String, i64)>, MaterializeError> {
        let values = batch.columns().get(..columns.len()).unwrap_or_default();
        let texts = json(columns, values)?;
        let times = times(batch.column(key_place))?;
        let more = batch.column(columns.len()).as_primitive::<Int64Type>();
        let start = |time: Option<Timestamp>| self.at.design.grain_start(time?);
        let each = times.into_iter().zip(texts).enumerate();
        Ok(each.filter_map(|(row, (time, text))| Some((start(time)?, text, more.value(row)))).collect())
    }

    fn put(&mut self, partition: Option<Partition>, cause: Cause) {
        let Some(Partition { start, old, new }) = partition else { return };
        let versions = self.versions(cause);
        let shown = start.to_string().replace(".000000Z", "Z");
        let key = serde_json::json!({ (self.at.design.key.as_str()): shown });
        let source = match cause {
            Cause::Rebuild => self.at.sources().map(|(name, ..)| name).collect::<Vec<_>>().join(", "),
            Cause::ChangedRows | Cause::LateEvents | Cause::RemovedEvents => changed_tables(self.at),
        };
        self.listing.list(Restatement {
            cause,
            group_key: Some(key.to_string()),
            window_start: Some(start),
            old_value: old.text(),
            new_value: new.text(),
            source,
            first_version: versions.map(|(first, _)| first),
            last_version: versions.map(|(_, last)| last),
            late_events: 0,
            removed_events: 0,
            groups: 1,
        });
    }

    /// The first and the last version of the one table that did it.
    fn versions(&self, cause: Cause) -> Option<(u64, u64)> {
        let changed = |name: &str| match cause {
            Cause::Rebuild => true,
            Cause::ChangedRows | Cause::LateEvents | Cause::RemovedEvents => {
                self.at.behind.changed.iter().any(|one| one == name)
            }
        };
        let mut tables = self.at.sources().filter(|(name, ..)| changed(name));
        let (name, _, newest) = tables.next()?;
        let first = match (cause, self.at.behind.absorbed.get(name)) {
            (Cause::ChangedRows, Some(absorbed)) => absorbed.0 + 1,
            (_, _) => newest.0,
        };
        tables.next().is_none().then_some((first, newest.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rows_of_a_partition_are_shown_and_the_others_counted() {
        let text = |counts: &[u64]| {
            let mut rows = Rows::default();
            counts.iter().enumerate().for_each(|(row, count)| rows.add(&row.to_string(), *count));
            rows.text()
        };
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[1, 2]), Some("[0,1,1]".to_owned()));
        assert_eq!(text(&[9, 3, 1]), Some("[0,0,0,0,0,0,0,0,0,1,\"3 more\"]".to_owned()));
        let mut long = Rows::default();
        long.add(&"9".repeat(BYTES_SHOWN + 1), 2);
        assert_eq!(long.text(), Some("[\"2 more\"]".to_owned()));
    }
}
