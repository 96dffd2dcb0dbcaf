//! What a view that is kept by partitions is made of, pinned once: which times are behind, and its query, run for one time after
//! another.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use tokio_util::sync::CancellationToken;

use super::designs::kind_of;
use super::open::opened;
use super::partitioned::{Behind, SourceAt, behind, paths};
use super::pending::{may_hold, touched};
use crate::base::Timestamp;
use crate::catalog::{Definition, MaterializedViewDefinition};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::planner::{Planner, parse};
use crate::query::statement::query::{Threads, open_plan};
use crate::query::tables::{Relations, references};
use crate::query::viewer::Viewer;
use crate::rollup::{Needed, PartitionDesign, Spread, Strategy, Times};
use crate::storage::{FileTimes, Table, TableSnapshot, TableVersion};

/// The tables at their newest versions, the stored rows at one that holds none newer.
pub struct PartitionAt {
    pub design: Arc<PartitionDesign>,
    /// The view's own rows, before.
    pub stored: Arc<TableSnapshot>,
    pub table: Arc<Table>,
    pub behind: Behind,
    /// Every commit made before this moment is in the tables.
    pub seen: Timestamp,
    sources: BTreeMap<String, (String, Arc<TableSnapshot>)>,
    files: Vec<Files>,
}

/// The same with the query over these tables.
pub struct PartitionRun {
    pub at: PartitionAt,
    engine: Arc<Inner>,
    plan: LogicalPlan,
}

/// What a scan of the query reads: rows and times of every file of its table.
struct Files {
    needed: Needed,
    files: Vec<(u64, FileTimes)>,
}

impl Files {
    /// Rows of the files that rows of these times of the view may depend on.
    fn rows_in(&self, times: &Times) -> u64 {
        let times = times.widened(self.needed.before, self.needed.after);
        self.files.iter().filter(|(_, file)| may_hold(file, &times)).map(|(rows, _)| *rows).sum()
    }

    fn spread(&self) -> Spread {
        let between = |(rows, file): &(u64, FileTimes)| match file {
            FileTimes::Between { earliest, latest, .. } => Some((earliest.micros(), latest.micros(), *rows)),
            FileTimes::NoRows | FileTimes::Without | FileTimes::Unknown => None,
        };
        let unknown = self.files.iter().filter(|(_, file)| *file == FileTimes::Unknown).map(|(rows, _)| *rows);
        Spread::of(self.files.iter().filter_map(between), unknown.sum())
    }
}

impl PartitionAt {
    /// Tables, with the folder and the version that is read.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str, TableVersion)> {
        self.sources.iter().map(|(name, (path, snapshot))| (name.as_str(), path.as_str(), snapshot.version()))
    }

    /// Rows of the files that these times of the view depend on, each scan for itself.
    pub fn rows_in(&self, times: &Times) -> u64 {
        let of_times = self.files.iter().map(|scan| scan.rows_in(times));
        let whole = self.design.lineage.whole.iter().filter_map(|name| self.sources.get(name));
        of_times.chain(whole.map(|(_, snapshot)| snapshot.row_count())).fold(0, u64::saturating_add)
    }

    /// Times to be worked through at once, each of about so many rows.
    pub fn pieces(&self, times: &Times, rows_max: u64) -> Vec<Times> {
        let scans: Vec<(&Needed, Spread)> = self.files.iter().map(|scan| (&scan.needed, scan.spread())).collect();
        self.design.pieces(times, rows_max, &scans)
    }

    /// The times at which the view may have rows; `None`: they cannot be told.
    pub fn times(&self) -> Option<Times> {
        let mut all = Times::default();
        for Files { needed, files } in &self.files {
            let times = touched(files.iter().map(|(_, times)| *times))?;
            all.add_all(&self.design.touched_by(needed, &times)?);
        }
        self.design.whole(all)
    }

    /// The times at which there may be stored rows; `None`: they cannot be told.
    pub fn stored_times(&self) -> Option<Times> {
        let files = self.stored.file_times(&self.design.key).into_iter().map(|(_, times)| times);
        self.design.whole(touched(files)?)
    }
}

impl PartitionRun {
    /// The rows of these times, whole grains of the design; `None`: all rows. Runs inside the caller's work: takes no turn, has no
    /// time limit of its own and is not in `system.queries`.
    ///
    /// # Errors
    /// As for a query.
    pub async fn open(
        &self,
        times: Option<Times>,
        cancel: CancellationToken,
    ) -> Result<SendableRecordBatchStream, QueryError> {
        let (plan, design) = (self.plan.clone(), self.at.design.clone());
        let make = move || match times {
            None => Ok(plan),
            Some(times) => design.restricted(plan, &times),
        };
        open_plan(&self.engine, make, Threads::All, cancel).await
    }
}

/// Pins what the view called `name` is made of; `None`: it is not kept by partitions, or the catalog has changed meanwhile.
///
/// # Errors
/// Tables that cannot be opened; a query that no longer works.
pub(in crate::query) async fn pin_partitions(
    engine: &Arc<Inner>,
    (name, path, view): (&str, &str, &MaterializedViewDefinition),
) -> Result<Option<(PartitionAt, Relations)>, QueryError> {
    let table = engine.lake.open_table(path).await?;
    let stored = table.refresh().await?;
    let catalog = engine.catalog.snapshot();
    let decision = engine.designs.of(engine, &catalog, (name, view))?;
    let Strategy::Partition(design) = &decision.strategy else { return Ok(None) };
    for path in paths(&catalog, (name, design))?.into_values() {
        engine.lake.open_table(path).await?.refresh().await?;
    }
    let relations = Relations::pinned(engine, references(&parse(&view.query)?)?, &Viewer::trusted()).await?;
    // Rows of a query that reads otherwise are not to be stored as the design's.
    if relations.catalog().version != catalog.version {
        return Ok(None);
    }
    let mut sources = BTreeMap::new();
    for (table, path) in paths(relations.catalog(), (name, design))? {
        let Some(snapshot) = relations.snapshot(table) else {
            return Err(QueryError::Internal { message: format!("'{table}' was not pinned") });
        };
        sources.insert(table.to_owned(), (path.to_owned(), snapshot.clone()));
    }
    let files = design.scans().filter_map(|needed| {
        let (_, snapshot) = sources.get(&needed.table)?;
        let files = snapshot.file_times(&needed.column).into_iter().map(|(file, times)| (file.rows, times)).collect();
        Some(Files { needed: needed.clone(), files })
    });
    let files = files.collect();
    let at = sources.iter().map(|(name, (path, snapshot))| (name.as_str(), SourceAt { path, snapshot })).collect();
    let behind = behind(engine, design, &stored, &at).await?;
    let seen = relations.data_as_of;
    Ok(Some((PartitionAt { design: design.clone(), stored, table, behind, seen, sources, files }, relations)))
}

/// The same with the query, planned over these tables.
///
/// # Errors
/// As [`pin_partitions`].
pub(in crate::query) async fn pin_run(
    engine: &Arc<Inner>,
    (name, path, view): (&str, &str, &MaterializedViewDefinition),
) -> Result<Option<PartitionRun>, QueryError> {
    let Some((at, relations)) = pin_partitions(engine, (name, path, view)).await? else { return Ok(None) };
    let statement = parse(&view.query)?;
    let state = engine.shared.state_at(engine.clock.now());
    let planning = async move {
        // Views below are looked through, as when it was decided how this one is kept.
        let plan = opened(Planner::new(&state, &relations).query_over_open_views(&statement, Vec::new())?)?;
        Ok::<_, QueryError>((plan, relations.catalog().clone()))
    };
    let (plan, catalog) = engine.shared.cpu.spawn(planning).await??;
    if !at.design.fits(&plan, &|name| kind_of(&catalog, name)) {
        return Err(QueryError::Invalid { message: format!("what '{name}' reads has changed; refresh it again") });
    }
    Ok(Some(PartitionRun { at, engine: engine.clone(), plan }))
}

/// The definition of a view and the folder of its rows.
///
/// # Errors
/// Not a materialized view.
pub(in crate::query) fn view_called(
    engine: &Inner,
    name: &str,
) -> Result<(MaterializedViewDefinition, String), QueryError> {
    let catalog = engine.catalog.snapshot();
    let object = catalog.relation(name)?;
    match (&object.definition, &object.table_path) {
        (Definition::MaterializedView(view), Some(path)) => Ok((view.clone(), path.clone())),
        _ => Err(QueryError::Invalid { message: format!("'{name}' is a {}, not a materialized view", object.kind) }),
    }
}
