//! How every materialized view is kept: decided by planning its query, remembered for as long as its definition and those of
//! all it reads stay the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::Analyzer;
use parking_lot::Mutex;

use crate::base::Sealed;
use crate::catalog::{
    CatalogSnapshot, CatalogVersion, Definition, MaterializedViewDefinition, Object, RefreshTrigger, Rewrite,
    StrategyOption, TableDefinition, TableKind,
};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::planner::{Planner, parse};
use crate::query::storable::storable;
use crate::query::tables::{Relation, Relations, references};
use crate::rollup::{self, Decision, Design, RelationKind, RowWindows, Scan, StoredLayout, Strategy, Wanted};

/// See the module.
#[derive(Default)]
pub(in crate::query) struct Designs {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    version: CatalogVersion,
    decisions: BTreeMap<String, Decided>,
    rewriters: Option<Sealed<Arc<Rewriters>>>,
}

struct Decided {
    decision: Sealed<Arc<Decision>>,
    /// The view and everything below it.
    of: Vec<Arc<Object>>,
}

/// Views that queries on their source may be answered from, by that source.
pub(super) type Rewriters = BTreeMap<String, Vec<Rewriter>>;

/// One of them.
pub(super) struct Rewriter {
    pub name: String,
    /// Folder of its stored rows.
    pub path: String,
    pub design: Arc<Design>,
}

impl Known {
    /// Forgets what another version of the catalog defines otherwise.
    fn turn_to(&mut self, catalog: &CatalogSnapshot) {
        if self.version == catalog.version {
            return;
        }
        self.version = catalog.version;
        self.rewriters = None;
        let is_there =
            |object: &Arc<Object>| catalog.relations.get(&object.name).is_some_and(|now| Arc::ptr_eq(now, object));
        self.decisions.retain(|_, decided| decided.of.iter().all(is_there));
    }
}

impl Designs {
    /// How the view called `name` is kept.
    ///
    /// # Errors
    /// A query that no longer works.
    pub(in crate::query) fn of(
        &self,
        engine: &Arc<Inner>,
        catalog: &Arc<CatalogSnapshot>,
        (name, view): (&str, &MaterializedViewDefinition),
    ) -> Result<Arc<Decision>, QueryError> {
        {
            let mut known = self.known.lock();
            known.turn_to(catalog);
            if let Some(decided) = known.decisions.get(name) {
                return Ok(Arc::clone(&decided.decision));
            }
        }
        let decision = Arc::new(decide(engine, catalog, view)?);
        let mut known = self.known.lock();
        if known.version == catalog.version {
            let below =
                catalog.with_all_below(name).into_iter().filter_map(|name| catalog.relations.get(name).cloned());
            let decided = Decided { decision: Sealed::new(decision.clone()), of: below.collect() };
            known.decisions.insert(name.to_owned(), decided);
        }
        Ok(decision)
    }

    /// The views with `rewrite='on'` that are kept incrementally. A view that no longer works is none.
    pub(super) fn rewriters(&self, engine: &Arc<Inner>, catalog: &Arc<CatalogSnapshot>) -> Arc<Rewriters> {
        {
            let mut known = self.known.lock();
            known.turn_to(catalog);
            if let Some(rewriters) = &known.rewriters {
                return Arc::clone(rewriters);
            }
        }
        let mut rewriters = Rewriters::new();
        for object in catalog.relations.values() {
            let (Definition::MaterializedView(view), Some(path)) = (&object.definition, &object.table_path) else {
                continue;
            };
            if view.rewrite == Rewrite::Off {
                continue;
            }
            let Ok(decision) = self.of(engine, catalog, (&object.name, view)) else { continue };
            if let Strategy::Incremental(design) = &decision.strategy {
                let rewriter = Rewriter { name: object.name.clone(), path: path.clone(), design: design.clone() };
                rewriters.entry(design.question.source.clone()).or_default().push(rewriter);
            }
        }
        let rewriters = Arc::new(rewriters);
        let mut known = self.known.lock();
        if known.version == catalog.version {
            known.rewriters = Some(Sealed::new(rewriters.clone()));
        }
        rewriters
    }
}

/// Plans the view's query over the described relations and decides by the plan. Views below that are kept incrementally are
/// looked through, as they are when it is read.
///
/// # Errors
/// A query that cannot be planned, a view that cannot be kept as it is written.
pub(in crate::query) fn decide(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    view: &MaterializedViewDefinition,
) -> Result<Decision, QueryError> {
    Deciding { engine, catalog, below: RefCell::default() }.decide(view)
}

/// Decisions on a view and those below it.
struct Deciding<'a> {
    engine: &'a Arc<Inner>,
    catalog: &'a Arc<CatalogSnapshot>,
    /// Decisions on materialized views below; none: one that no longer works.
    below: RefCell<BTreeMap<String, Option<Arc<Decision>>>>,
}

impl Deciding<'_> {
    fn decide(&self, view: &MaterializedViewDefinition) -> Result<Decision, QueryError> {
        let Self { engine, catalog, .. } = *self;
        let statement = parse(&view.query)?;
        let is_incremental = |name: &str, below: &MaterializedViewDefinition| self.is_incremental(name, below);
        let relations = Relations::described_through(engine, catalog, references(&statement)?, &is_incremental)?;
        let state = engine.shared.state_at(engine.clock.now());
        let plan = Planner::new(&state, &relations).query(&statement, Vec::new())?;
        let layout = StoredLayout {
            partition_by: view.partition_by.iter().map(|part| part.column.clone()).collect(),
            sort_by: view.sort_by.clone(),
        };
        let relations = rollup::Relations {
            kind: &|name| kind_of(catalog, name),
            event_key: &|name| event_key(catalog, name),
            windows: &|name| self.windows(name),
        };
        let decision = rollup::decide(&plan, wanted(view), &relations, &layout)
            .map_err(|refusal| QueryError::Invalid { message: refusal.to_string() })?;
        let Strategy::Partition(design) = &decision.strategy else { return Ok(decision) };
        let settled = Analyzer::clone(state.analyzer()).execute_and_check(plan, state.config_options(), |_, _| {})?;
        let design = design.stored_as(storable(settled.schema().as_arrow())?);
        Ok(Decision { strategy: Strategy::Partition(Arc::new(design)), ..decision })
    }

    fn below(&self, name: &str, view: &MaterializedViewDefinition) -> Option<Arc<Decision>> {
        if let Some(known) = self.below.borrow().get(name) {
            return known.clone();
        }
        let found = self.decide(view).ok().map(Arc::new);
        self.below.borrow_mut().insert(name.to_owned(), found.clone());
        found
    }

    /// One that no longer works is not: planning the view says what is wrong with it.
    fn is_incremental(&self, name: &str, view: &MaterializedViewDefinition) -> bool {
        self.below(name, view).is_some_and(|found| matches!(found.strategy, Strategy::Incremental(_)))
    }

    /// The windows of time that the stored rows of a view are in, where those are its answer.
    fn windows(&self, name: &str) -> Option<RowWindows> {
        let Definition::MaterializedView(view) = &self.catalog.relations.get(name)?.definition else { return None };
        match &self.below(name, view)?.strategy {
            Strategy::Partition(design) => Some(design.windows()),
            Strategy::Full(windows) => windows.clone().ok(),
            Strategy::Incremental(_) => None,
        }
    }
}

fn wanted(view: &MaterializedViewDefinition) -> Wanted {
    match (view.strategy, &view.trigger) {
        (StrategyOption::Auto, _) => Wanted::Auto,
        (StrategyOption::Full, RefreshTrigger::Manual) => Wanted::FullManual,
        (StrategyOption::Full, _) => Wanted::Full,
    }
}

pub(super) fn kind_of(catalog: &CatalogSnapshot, name: &str) -> Option<RelationKind> {
    match &catalog.relations.get(name)?.definition {
        Definition::Table(table) => Some(match table.kind {
            TableKind::Event { .. } => RelationKind::Events,
            TableKind::Snapshot { .. } => RelationKind::Snapshot,
            TableKind::Plain => RelationKind::Plain,
        }),
        Definition::MaterializedView(_) => Some(RelationKind::FullView),
        Definition::View(_) | Definition::Endpoint(_) => None,
    }
}

fn event_key(catalog: &CatalogSnapshot, name: &str) -> Option<String> {
    match &catalog.relations.get(name)?.definition {
        Definition::Table(TableDefinition { kind: TableKind::Event { event_key, .. }, .. }) => event_key.clone(),
        _ => None,
    }
}

/// The columns of a view's own table: partial aggregates, or those of its answer.
///
/// # Errors
/// Columns that cannot be stored.
pub(in crate::query) fn stored_columns(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    (decision, answer): (&Decision, &LogicalPlan),
) -> Result<SchemaRef, QueryError> {
    let design = match &decision.strategy {
        Strategy::Incremental(design) => design,
        Strategy::Partition(design) => return Ok(design.columns.clone()),
        Strategy::Full(_) => return storable(answer.schema().as_arrow()),
    };
    let source = TableReference::bare(design.question.source.as_str());
    let relations = Relations::described(engine, catalog, vec![source.clone()])?;
    let Relation::Table(rows) = relations.find(&source)? else {
        return Err(QueryError::Internal { message: format!("'{source}' is no table") });
    };
    let scan = Scan { table: source, source: rows.clone() };
    let plan = rollup::partial_plan(design, scan, None, &engine.shared.rollup)?;
    let state = engine.shared.state_at(engine.clock.now());
    let settled = Analyzer::clone(state.analyzer()).execute_and_check(plan, state.config_options(), |_, _| {})?;
    storable(settled.schema().as_arrow())
}
