//! Views whose stored rows are finished ones of a time, when they are read.
//!
//! ```text
//! absorbed versions … pinned versions of all tables ─► times of what came and went ─► dirty times of the view
//! reading = stored rows outside ∪ the view's query, narrowed to the dirty times, inside
//! ```
//! MV-1: all tables are read at the versions the statement has pinned.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;

use super::open::opened;
use super::pending::touched;
use super::pin::absorbed_version;
use crate::base::{Timestamp, quoted};
use crate::catalog::CatalogSnapshot;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::views::designs::kind_of;
use crate::rollup::{PartitionDesign, Scan, Times, as_columns};
use crate::storage::{TableChanges, TableSnapshot, TableVersion};

/// A view that a statement reads.
pub(in crate::query) struct PartitionedToPin {
    pub name: String,
    /// Folder of its stored rows.
    pub path: String,
    pub design: Arc<PartitionDesign>,
}

/// Its rows at the statement's versions: those of `stored` at other times than the dirty ones.
pub(in crate::query) struct PinnedPartitioned {
    pub name: String,
    pub design: Arc<PartitionDesign>,
    pub stored: Arc<TableSnapshot>,
    /// None: the stored rows cannot be used, the query answers alone.
    pub dirty: Option<Times>,
}

/// A table that a view is made of, at the version a statement has pinned.
pub(in crate::query) struct SourceAt<'a> {
    pub path: &'a str,
    pub snapshot: &'a Arc<TableSnapshot>,
}

/// How far stored rows are behind the tables they are made of.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    /// Versions that the stored rows hold, by table; of a table without one they hold nothing.
    pub absorbed: BTreeMap<String, TableVersion>,
    /// Times of the view at which stored rows may not hold any more; `None`: at any time.
    pub dirty: Option<Times>,
    /// When the oldest commit that is not absorbed was made.
    pub since: Option<Timestamp>,
    /// Tables whose rows have changed since.
    pub changed: Vec<String>,
    /// Whether it is known of all tables what has changed since.
    pub is_told: bool,
}

/// Looks again at sources that are older than what the view has absorbed: another process has refreshed it.
///
/// # Errors
/// Tables that cannot be opened.
pub(super) async fn keep_up(
    engine: &Arc<Inner>,
    catalog: &CatalogSnapshot,
    (view, stored): (&PartitionedToPin, &TableSnapshot),
    sources: &mut BTreeMap<String, Arc<TableSnapshot>>,
) -> Result<(), QueryError> {
    for (table, path) in paths(catalog, (&view.name, &view.design))? {
        if let (Some(absorbed), Some(pinned)) =
            (absorbed_version(stored, view.design.fingerprint, path), sources.get_mut(table))
            && absorbed > pinned.version()
        {
            *pinned = engine.lake.open_table(path).await?.refresh().await?;
        }
    }
    Ok(())
}

/// The view over sources that do not move any more.
///
/// # Errors
/// A log that cannot be read.
pub(super) async fn pin_partitioned(
    engine: &Arc<Inner>,
    catalog: &CatalogSnapshot,
    (view, stored): (PartitionedToPin, Arc<TableSnapshot>),
    sources: &BTreeMap<String, Arc<TableSnapshot>>,
) -> Result<PinnedPartitioned, QueryError> {
    let PartitionedToPin { name, design, .. } = view;
    let paths = paths(catalog, (&name, &design))?;
    let at = paths.into_iter().filter_map(|(table, path)| {
        let snapshot = sources.get(table)?;
        Some((table, SourceAt { path, snapshot }))
    });
    let dirty = behind(engine, &design, &stored, &at.collect()).await?.dirty;
    Ok(PinnedPartitioned { name, design, stored, dirty })
}

/// Which times of the view are dirty, given its stored rows and its tables, by name.
///
/// # Errors
/// A log that cannot be read.
pub(in crate::query) async fn behind(
    engine: &Arc<Inner>,
    design: &PartitionDesign,
    stored: &TableSnapshot,
    sources: &BTreeMap<&str, SourceAt<'_>>,
) -> Result<Behind, QueryError> {
    if design.differs(&stored.columns()).is_some() {
        return Ok(Behind::default());
    }
    let mut behind = Behind { dirty: Some(Times::default()), is_told: true, ..Behind::default() };
    for table in design.tables() {
        let Some(source) = sources.get(table) else {
            (behind.dirty, behind.is_told) = (None, false);
            continue;
        };
        let absorbed = absorbed_version(stored, design.fingerprint, source.path);
        behind.absorbed.extend(absorbed.map(|version| (table.to_owned(), version)));
        let changed = match absorbed.filter(|version| *version <= source.snapshot.version()) {
            None => None,
            Some(version) if version == source.snapshot.version() => continue,
            Some(version) => {
                let changes = engine.lake.open_table(source.path).await?.changes(version, source.snapshot).await?;
                match changes {
                    TableChanges::Known(changed) => Some(changed),
                    TableChanges::Unknown { .. } => None,
                }
            }
        };
        let Some(changed) = changed else {
            (behind.dirty, behind.is_told) = (None, false);
            continue;
        };
        if changed.is_empty() {
            continue;
        }
        behind.changed.push(table.to_owned());
        behind.since = behind.since.into_iter().chain(changed.first_committed_at).min();
        let is_whole = design.lineage.whole.iter().any(|whole| whole == table);
        let mut dirty = behind.dirty.take().filter(|_| !is_whole);
        for needed in design.scans().filter(|needed| needed.table == table) {
            let files = changed.times_added(&needed.column).into_iter().chain(changed.times_removed(&needed.column));
            let times = touched(files).and_then(|times| design.touched_by(needed, &times));
            dirty = dirty.zip(times).map(|(mut dirty, times)| {
                dirty.add_all(&times);
                dirty
            });
        }
        behind.dirty = dirty.and_then(|dirty| design.whole(dirty));
    }
    Ok(behind)
}

/// Where the tables of a design have their files, by name.
///
/// # Errors
/// One of them has none.
pub(super) fn paths<'a>(
    catalog: &'a CatalogSnapshot,
    (view, design): (&str, &'a PartitionDesign),
) -> Result<BTreeMap<&'a str, &'a str>, QueryError> {
    let path = |table: &'a str| match catalog.relations.get(table).and_then(|object| object.table_path.as_deref()) {
        Some(path) => Ok((table, path)),
        None => {
            let message = format!("'{table}', a source of view '{view}', has no files");
            Err(QueryError::Internal { message })
        }
    };
    design.tables().into_iter().map(path).collect()
}

/// The plan that reads the view, in the columns of its design; `plan` is its own query over the pinned tables, the views
/// below it may be open.
///
/// # Errors
/// Stored rows that are not what the design says.
pub(in crate::query) fn reading_partitioned(
    view: &PinnedPartitioned,
    catalog: &CatalogSnapshot,
    plan: LogicalPlan,
) -> DataFusionResult<LogicalPlan> {
    let Some(dirty) = &view.dirty else { return as_columns(plan, &view.design.columns) };
    let whole = opened(plan.clone())?;
    if !view.design.fits(&whole, &|name| kind_of(catalog, name)) {
        tracing::debug!(view = view.name, "planned otherwise than when it was made; answered from its sources");
        return as_columns(plan, &view.design.columns);
    }
    let source = provider_as_source(view.stored.provider());
    let stored = Scan { table: format!("stored.{}", quoted(&view.name)).into(), source };
    view.design.reading(whole, stored, dirty)
}
