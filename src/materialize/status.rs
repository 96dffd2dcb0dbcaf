//! How far a view has come: what it holds, what its source has, what is between. For `system.views` and EXPLAIN REFRESH.

use std::sync::Arc;

use super::behind::behind;
use super::last_refresh::LastRefresh;
use super::restated::event_time;
use super::{MaterializeError, PartitionStatus, Refresher};
use crate::base::{Timestamp, chain};
use crate::catalog::{Definition, MaterializedViewDefinition};
use crate::query::{MadeOf, Pending, ViewRow, absorbed_version, pending, stored_as_of};
use crate::rollup::{Certainty, Decision, Strategy, Window};
use crate::storage::TableVersion;

/// Said of views with a KLL sketch, or a column made of one.
const BY_CHANCE: &str = "columns of KLL sketches are equal within their error; VERIFY compares count, least and greatest of a \
                         sketch, and no column that is made of one";

/// See the module.
#[derive(Clone, Debug)]
pub struct ViewStatus {
    pub decision: Arc<Decision>,
    pub definition: MaterializedViewDefinition,
    pub stored_rows: u64,
    pub stored_bytes: u64,
    pub stored_files: u64,
    /// Of the source of an incremental view.
    pub absorbed_version: Option<TableVersion>,
    pub source_version: Option<TableVersion>,
    /// `None`: all of the source has to be read, or the view is not kept incrementally.
    pub pending_rows: Option<u64>,
    /// The part of them that is read again, at which times of the source; `None`: only new rows are read.
    pub dirty: Option<(u64, String)>,
    /// When the oldest commit that is not absorbed was made.
    pub pending_since: Option<Timestamp>,
    /// Everything committed before this moment is in the stored rows; `None`: not known.
    pub as_of: Option<Timestamp>,
    /// The time column of the source, when that is an event table.
    event_time: Option<String>,
    /// The last refresh, by whichever process.
    last_refresh: Option<LastRefresh>,
    /// Of a view that is kept by partitions.
    pub partition: Option<PartitionStatus>,
}

impl ViewStatus {
    /// What is told of events that come late.
    fn late_events(&self) -> String {
        let restate_after = self.definition.restate_after;
        match &self.decision.strategy {
            Strategy::Full(Ok(windows)) => format!(
                "windows of {} are listed in system.restatements when they change after they were over for {restate_after}",
                windows.key
            ),
            Strategy::Full(Err(obstacle)) => format!("not told: {obstacle}"),
            Strategy::Partition(design) => format!(
                "partitions of {} are listed in system.restatements when they change after they were over for {restate_after}",
                design.key
            ),
            Strategy::Incremental(design) => match Window::of(design, self.event_time.as_deref()) {
                Some(window) => format!(
                    "listed in system.restatements when their window of {} was over for {restate_after}",
                    window.column
                ),
                None => "not told: no group has a window of time".to_owned(),
            },
        }
    }

    /// Whether the stored rows lack something, be it only that rows went.
    fn is_behind(&self) -> bool {
        match &self.partition {
            Some(partition) => partition.is_behind(),
            None => self.pending_rows != Some(0) || self.dirty.is_some(),
        }
    }

    /// What share of the answers from the view is checked.
    fn verified(&self) -> String {
        let share = self.definition.verify.map(|share| format!("{share} of the queries answered from it"));
        share.unwrap_or_else(|| "no query answered from it".to_owned())
    }

    /// What all views have in common.
    fn tell_partition(&mut self) {
        let Some(partition) = &self.partition else { return };
        (self.pending_rows, self.pending_since) = (partition.times.as_ref().map(|_| partition.rows), partition.since);
        self.as_of = partition.as_of;
        if let Some((absorbed, newest)) = partition.of_one() {
            (self.absorbed_version, self.source_version) = (absorbed, Some(newest));
        }
    }

    /// What EXPLAIN REFRESH says: property and value.
    pub fn explained(&self) -> Vec<(&'static str, String)> {
        let known = |version: Option<TableVersion>| version.map_or_else(|| "none".to_owned(), |at| at.to_string());
        let mut rows = vec![
            ("strategy", self.decision.strategy.name().to_owned()),
            ("reason", self.decision.reason.clone()),
            ("refresh", self.definition.trigger.to_string()),
            ("stored rows", self.stored_rows.to_string()),
            ("stored bytes", self.stored_bytes.to_string()),
            ("stored files", self.stored_files.to_string()),
        ];
        if self.decision.certainties.iter().any(|certainty| *certainty != Certainty::Certain) {
            rows.push(("by chance", BY_CHANCE.to_owned()));
        }
        if let Strategy::Incremental(design) = &self.decision.strategy {
            rows.push(("source", design.question.source.clone()));
            if let Some(dimensions) = &design.dimensions {
                rows.push(("dimensions", dimensions.join(", ")));
            }
            rows.push(("stored keys", design.keys.join(", ")));
            rows.push((
                "stored parts",
                design.parts.iter().map(|part| part.column.as_str()).collect::<Vec<_>>().join(", "),
            ));
            rows.push(("absorbed version", known(self.absorbed_version)));
            rows.push(("source version", known(self.source_version)));
            rows.push((
                "pending rows",
                self.pending_rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string()),
            ));
        }
        if let (Strategy::Partition(design), Some(status)) = (&self.decision.strategy, &self.partition) {
            rows.extend(status.explained(design));
        }
        rows.extend(self.dirty.iter().map(|(_, times)| ("rows were removed at", times.clone())));
        rows.push(("late events", self.late_events()));
        rows.push(("verified", self.verified()));
        rows.push(("next refresh", self.next()));
        rows
    }

    fn next(&self) -> String {
        match (&self.decision.strategy, self.pending_rows, &self.dirty) {
            (Strategy::Full(_), _, _) => "run the whole query, replace all rows".to_owned(),
            (Strategy::Partition(_), _, _) => self.partition.as_ref().map(PartitionStatus::next).unwrap_or_default(),
            (Strategy::Incremental(_), None, _) => "aggregate the whole source, replace all rows".to_owned(),
            (Strategy::Incremental(_), Some(rows), Some((again, _))) => format!(
                "aggregate {} new rows and {again} rows of times at which rows were removed, replace what is stored of these \
                 times in one commit",
                rows.saturating_sub(*again)
            ),
            (Strategy::Incremental(_), Some(0), None) => "nothing: all rows are absorbed".to_owned(),
            (Strategy::Incremental(_), Some(rows), None) => {
                format!("aggregate {rows} new rows, add them in one commit")
            }
        }
    }
}

impl Refresher {
    /// A row for every materialized view.
    pub async fn view_rows(&self) -> Vec<ViewRow> {
        let catalog = self.0.parts.catalog.snapshot();
        let views = catalog.relations.values().filter_map(|object| match &object.definition {
            Definition::MaterializedView(view) => Some((&object.name, view)),
            Definition::Table(_) | Definition::View(_) | Definition::Endpoint(_) => None,
        });
        let mut rows = Vec::new();
        for (name, view) in views {
            let row = match self.status(name).await {
                Ok(status) => self.row(name, &status),
                Err(error) => ViewRow { last_error: Some(chain(&error)), ..ViewRow::default() },
            };
            rows.push(ViewRow { view: name.clone(), refresh: view.trigger.to_string(), ..row });
        }
        rows
    }

    fn row(&self, view: &str, status: &ViewStatus) -> ViewRow {
        let state = self.0.states.of(view);
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let now = self.0.parts.clock.now();
        let lag = match status.is_behind() {
            false => Some(0),
            true => status.pending_since.map(|since| millis(now.since(since))),
        };
        // The newer of what this process and what the lake knows.
        let kept = status.last_refresh.as_ref().filter(|kept| state.last_refresh_at.is_none_or(|own| own < kept.at));
        let told = kept.map(|kept| &kept.told);
        ViewRow {
            strategy: status.decision.strategy.name().to_owned(),
            reason: status.decision.reason.clone(),
            absorbed_version: status.absorbed_version,
            source_version: status.source_version,
            pending_rows: status.pending_rows,
            stored_rows: status.stored_rows,
            stored_bytes: status.stored_bytes,
            lag_ms: lag,
            as_of: status.as_of,
            last_refresh_at: kept.map(|kept| kept.at).or(state.last_refresh_at),
            last_refresh_ms: told.map_or(state.last_took.map(millis), |told| told.elapsed_ms),
            last_rows_in: told.map_or(state.last_rows_in, |told| told.source_rows),
            last_rows_out: told.map_or(state.last_rows_out, |told| told.rows),
            failures: u64::from(state.failures),
            last_error: state.last_error,
            next_refresh_at: state.next_refresh_at,
            ..ViewRow::default()
        }
    }

    /// # Errors
    /// Not a materialized view, storage trouble.
    pub async fn status(&self, view: &str) -> Result<ViewStatus, MaterializeError> {
        let parts = &self.0.parts;
        let object = parts.catalog.snapshot().relation(view)?.clone();
        let (Definition::MaterializedView(definition), Some(path)) = (&object.definition, &object.table_path) else {
            return Err(MaterializeError::NotMaterialized { name: view.to_owned(), kind: object.kind.to_string() });
        };
        let decision = parts.engine.view_decision(view)?;
        let table = parts.lake.open_table(path).await?;
        let stored = table.snapshot().await?;
        let last_refresh = self.0.last_refreshes.of(&table, &stored).await?;
        let mut status = ViewStatus {
            decision: decision.clone(),
            definition: definition.clone(),
            stored_rows: stored.row_count(),
            stored_bytes: stored.bytes(),
            stored_files: stored.file_count() as u64,
            absorbed_version: None,
            source_version: None,
            pending_rows: None,
            dirty: None,
            pending_since: None,
            as_of: None,
            event_time: None,
            last_refresh,
            partition: None,
        };
        let design = match &decision.strategy {
            Strategy::Incremental(design) => design,
            Strategy::Partition(_) => {
                status.partition = self.partition_status(view).await?;
                status.tell_partition();
                return Ok(status);
            }
            Strategy::Full(_) => {
                if let Some(last) = &status.last_refresh
                    && let Some(behind) = behind(&parts.lake, &parts.catalog.snapshot(), last).await?
                {
                    (status.pending_rows, status.pending_since) = (Some(behind.rows), behind.since);
                }
                let is_shown = MadeOf::today(&parts.catalog.snapshot(), view).is_of(&stored);
                status.as_of = is_shown.then(|| stored_as_of(&stored));
                return Ok(status);
            }
        };
        let (source, source_path) = self.source(view, design).await?;
        status.event_time = event_time(&parts.catalog.snapshot(), &design.question.source);
        let (newest, seen) = source.snapshot_and_moment().await?;
        status.source_version = Some(newest.version());
        status.absorbed_version = absorbed_version(&stored, design.fingerprint, &source_path);
        let lacks = match status.absorbed_version {
            Some(absorbed) if absorbed >= newest.version() => Some(Pending::default()),
            Some(absorbed) => pending(design, &source, (absorbed, &newest)).await?,
            None => None,
        };
        if let Some(lacks) = lacks {
            status.pending_rows = Some(lacks.rows());
            status.pending_since = lacks.since;
            status.as_of = Some(lacks.since.unwrap_or(seen));
            status.dirty = lacks.dirty.map(|dirty| (lacks.dirty_rows, dirty.times().to_string()));
        }
        Ok(status)
    }
}
