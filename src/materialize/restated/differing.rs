//! Compares finished rows that are stored with those that take their place, window by window of time: of views kept by partitions,
//! and of those kept in full.
//!
//! Not here: which windows had been over for long enough, and what changed them (`partitions`, `full`).

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
use super::terms::restate_after;
use super::values::{json, times};
use crate::base::{Classify, Kind, Timestamp, chain};
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::QueryError;
use crate::rollup::{self, Certainty, RowWindows, Times};
use crate::storage::TableSnapshot;

/// Rows of a window that are shown of each side, and the bytes of their text.
const ROWS_SHOWN: usize = 10;
const BYTES_SHOWN: usize = 4 << 10;

/// Rows of a view, and those that take their place.
pub(super) struct Differing<'a> {
    pub parts: &'a RefreshParts,
    pub view: &'a str,
    pub windows: &'a RowWindows,
    pub stored: &'a Arc<TableSnapshot>,
    pub new: Arc<dyn TableProvider>,
    pub cancel: &'a CancellationToken,
    pub listing: Listing,
}

/// What made rows other ones.
pub(super) struct By {
    pub cause: Cause,
    /// Names of tables.
    pub source: String,
    /// The first and the last version of the one table that did it.
    pub versions: Option<(u64, u64)>,
}

/// What differs of one window.
#[derive(Default)]
struct Window {
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

impl Differing<'_> {
    /// Windows that had been over for so long at `moment`, but for those of rows that are too old to be kept by their tables: before
    /// `kept_from`, in microseconds.
    pub fn closed(&self, moment: Timestamp, kept_from: Option<i64>) -> Option<Times> {
        let restate_after = restate_after(&self.parts.catalog.snapshot(), self.view)?;
        let before = self.windows.start(moment.minus(restate_after.duration()))?;
        Some(Times::between(kept_from.unwrap_or(i64::MIN), before.micros()))
    }

    /// Lists the windows whose rows that pass `within` differ.
    ///
    /// # Errors
    /// Cancelled. Rows that cannot be told are a warning in the log.
    pub async fn list(&mut self, within: Expr, by: &By) -> Result<(), MaterializeError> {
        match self.differences(within, by).await {
            Err(error) if error.kind() == Kind::Cancelled => Err(error),
            Err(error) => {
                tracing::warn!(view = self.view, error = %chain(&error), "rows of replaced windows not told");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn differences(&mut self, within: Expr, by: &By) -> Result<(), MaterializeError> {
        let certainties = self.parts.engine.view_decision(self.view)?.certainties.clone();
        let is_certain = |place: usize| certainties.get(place).is_none_or(|known| *known == Certainty::Certain);
        let stored = self.stored.columns();
        let fields = stored.fields().iter().enumerate().filter(|(place, _)| is_certain(*place));
        let columns: Vec<String> = fields.map(|(_, field)| field.name().clone()).collect();
        let Some(key_place) = columns.iter().position(|name| *name == self.windows.key) else { return Ok(()) };
        let (old, new) = (scan("stored", self.stored.provider()), scan("new", self.new.clone()));
        let (names, key) = (columns.clone(), self.windows.key.clone());
        let plan =
            move |functions: &rollup::Functions| rollup::changed_rows((old, new), &within, (&names, &key), functions);
        let mut found = self.parts.engine.open_rollup(plan, self.cancel.clone()).await?;
        let mut window: Option<Window> = None;
        while let Some(batch) = found.try_next().await.map_err(QueryError::from)? {
            for (start, text, more) in self.rows(&batch, &columns, key_place)? {
                if window.as_ref().is_none_or(|window| window.start != start) {
                    self.put(window.replace(Window { start, ..Window::default() }), by);
                }
                if let Some(window) = &mut window {
                    let side = if more > 0 { &mut window.old } else { &mut window.new };
                    side.add(&text, more.unsigned_abs());
                }
            }
        }
        self.put(window, by);
        Ok(())
    }

    /// Of each row where its window begins, the row, and how many more of it the stored ones have.
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
        let start = |time: Option<Timestamp>| self.windows.start(time?);
        let each = times.into_iter().zip(texts).enumerate();
        Ok(each.filter_map(|(row, (time, text))| Some((start(time)?, text, more.value(row)))).collect())
    }

    fn put(&mut self, window: Option<Window>, by: &By) {
        let Some(Window { start, old, new }) = window else { return };
        let shown = start.to_string().replace(".000000Z", "Z");
        let key = serde_json::json!({ (self.windows.key.as_str()): shown });
        self.listing.list(Restatement {
            cause: by.cause,
            group_key: Some(key.to_string()),
            window_start: Some(start),
            old_value: old.text(),
            new_value: new.text(),
            source: by.source.clone(),
            first_version: by.versions.map(|(first, _)| first),
            last_version: by.versions.map(|(_, last)| last),
            late_events: 0,
            removed_events: 0,
            groups: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rows_of_a_window_are_shown_and_the_others_counted() {
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
