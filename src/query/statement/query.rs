//! Queries: SELECT, VALUES, WITH, EXPLAIN.
//!
//! ```text
//! parse ─► names ─► turn ─► snapshots (Relations) ─► CPU runtime: logical plan, parameters, optimiser, physical plan ─► stream
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use tokio_util::sync::CancellationToken;

use super::divisible::is_divisible;
use super::turn::needs_no_turn;
use super::{REWRITE, Work, within};
use crate::base::Timestamp;
use crate::query::engine::Inner;
use crate::query::functions::depends_on_chance;
use crate::query::inference::settle;
use crate::query::leak::{Guard, careful, guarded};
use crate::query::params::{self, may_have_parameters};
use crate::query::planner::{ParameterTypes, Planner, parse};
use crate::query::running::State;
use crate::query::stream::{self, Held, Limit};
use crate::query::tables::{Relations, references};
use crate::query::verification;
use crate::query::viewer::Viewer;
use crate::query::views::{Answered, Rewritten, rewritten};
use crate::query::{Answer, Origin, Outcome, Params, PinnedQuery, Prepared, QueryError, StatementKind};

/// Longest planning of work that runs inside another statement; its rows have no limit of their own.
const UNLIMITED: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3600);

/// A parsed query and the values for its parameters, ready to be planned off the caller's thread.
pub(super) struct Question {
    pub(super) statement: Statement,
    pub(super) types: ParameterTypes,
    /// Values, and the declared parameters they belong to; `None` when the text has no parameters.
    pub(super) values: Option<(Params, Vec<FieldRef>)>,
}

impl Question {
    pub(super) fn new(sql: &str, params: &Params, declared: &[FieldRef]) -> Result<Self, QueryError> {
        let values = may_have_parameters(sql, params).then(|| (params.clone(), declared.to_vec()));
        // NULL is what a statement that was prepared says of a type that nothing tells.
        let known = |field: &FieldRef| (*field.data_type() != DataType::Null).then(|| field.clone());
        Ok(Self { statement: parse(sql)?, types: declared.iter().map(known).collect(), values })
    }

    fn is_explain(&self) -> bool {
        matches!(&self.statement, Statement::Explain(_))
            || matches!(&self.statement, Statement::Statement(inner) if matches!(inner.as_ref(), Sql::Explain { .. } | Sql::ExplainTable { .. }))
    }

    pub(super) fn logical(
        &self,
        state: &SessionState,
        relations: &Relations,
        use_views: UseViews,
    ) -> Result<LogicalPlan, QueryError> {
        let planner = Planner::new(state, relations);
        let plan = match use_views {
            UseViews::Yes => planner.query_over_open_views(&self.statement, self.types.clone())?,
            UseViews::No => planner.query(&self.statement, self.types.clone())?,
        };
        match &self.values {
            None => Ok(plan),
            Some((params, declared)) => params::bind(settle(plan)?, params, declared),
        }
    }
}

/// Runs a query; the answer's rows hold its turn until they are read or dropped.
pub(super) async fn run(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let question = Question::new(sql, &work.params, &work.declared)?;
    let names = references(&question.statement)?;
    if let Some(watch) = &work.watch {
        watch.run.note_names(&names);
    }
    let permit = match needs_no_turn(&question.statement) {
        true => None,
        false => Some(work.engine.admission.enter(&work.whose).await?),
    };
    work.enter(State::Planning);
    let named = if question.is_explain() { names.clone() } else { Vec::new() };
    let oldest = work.session.oldest_allowed(work.now);
    let relations = Relations::pinned_since(&work.engine, names, &work.viewer, oldest).await?;
    for name in named {
        relations.reading(&name, true)?;
    }
    if question.is_explain() && !relations.are_whole() {
        let message =
            "EXPLAIN shows names and counts of all that is read, which grants, policies or masks keep from you here";
        return Err(QueryError::Denied { message: message.to_owned() });
    }
    // Only answers of endpoints have a tag.
    let state = (work.session.origin == Origin::Endpoint).then(|| relations.state()).flatten();
    let use_views = match work.session.get(REWRITE).as_deref() {
        Some("off") => UseViews::No,
        _ => UseViews::Yes,
    };
    let planned = physical(&work.engine, question, relations, work.now, use_views).await?;
    let Planned { plan, is_repeatable, data_as_of, answered } = planned;
    if let Some(watch) = &work.watch {
        verification::submit(&work.engine, (&watch.run, &work.viewer), answered);
    }
    let most = work.allowance.into();
    let held = Held {
        watch: work.watch.take(),
        permit,
        cancel: work.cancel.clone(),
        limit: work.limit,
        most,
        task: work.task.clone(),
    };
    let schema = answer_schema(&plan.schema());
    let rows = stream::start(&work.engine.shared, plan, schema.clone(), held);
    Ok(Answer {
        query_id: work.query_id.clone(),
        schema,
        outcome: Outcome::Rows(rows),
        details: None,
        data_as_of,
        state: state.filter(|_| is_repeatable),
    })
}

/// A physical plan.
pub(super) struct Planned {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Whether the query depends on its tables and values alone.
    is_repeatable: bool,
    /// Everything committed before this moment is in its rows.
    data_as_of: Timestamp,
    /// What views answer of it.
    answered: Vec<Answered>,
}

/// Whether aggregates on tables may be answered from materialized views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UseViews {
    Yes,
    No,
}

/// Plans on the CPU runtime.
pub(super) async fn physical(
    engine: &Arc<Inner>,
    question: Question,
    relations: Relations,
    now: Timestamp,
    use_views: UseViews,
) -> Result<Planned, QueryError> {
    let state = engine.shared.state_for(relations.viewer(), now);
    let asking = engine.clone();
    let planning = async move {
        let logical = question.logical(&state, &relations, use_views)?;
        let is_repeatable = is_repeatable(&logical)?;
        let Rewritten { plan, answered } = match use_views {
            UseViews::Yes => rewritten(&asking, &state, logical, &relations).await?,
            UseViews::No => Rewritten::nothing(logical),
        };
        let behind: Vec<Timestamp> = answered.iter().filter_map(|answered| answered.as_of).collect();
        Ok(Planned {
            plan: with_guard(&state, &plan, relations.guard()).await?,
            is_repeatable: is_repeatable && behind.is_empty(),
            data_as_of: behind.into_iter().fold(relations.data_as_of, Timestamp::min),
            answered,
        })
    };
    engine.shared.cpu.spawn(planning).await?
}

/// The physical plan, in which a viewer's own filters are kept from rows that policies hide.
///
/// # Errors
/// `Denied` where they cannot be kept.
pub(super) async fn with_guard(
    state: &SessionState,
    plan: &LogicalPlan,
    guard: Guard,
) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    match guard {
        Guard::Open => Ok(state.create_physical_plan(plan).await?),
        guard => {
            let state = careful(state.clone());
            let optimised = guarded(state.optimize(plan)?, guard)?;
            Ok(state.query_planner().create_physical_plan(&optimised, &state).await?)
        }
    }
}

/// Whether no function of the query, its views included, answers otherwise at another time or by chance: `now()`, `random()`,
/// `kll_sketch`.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool, QueryError> {
    let mut is_repeatable = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                is_repeatable &= match part {
                    Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
                    Expr::AggregateFunction(call) => !depends_on_chance(call.func.name()),
                    Expr::WindowFunction(call) => !depends_on_chance(call.fun.name()),
                    _ => true,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(is_repeatable)
}

/// See [`Engine::open_query`](crate::query::Engine::open_query).
pub(in crate::query) async fn open(
    engine: &Arc<Inner>,
    sql: &str,
    cancel: CancellationToken,
) -> Result<PinnedQuery, QueryError> {
    let limit = Limit::starting_now(UNLIMITED);
    let opened = async {
        let question = Question::new(sql, &Params::None, &[])?;
        let relations = Relations::pinned(engine, references(&question.statement)?, &Viewer::trusted()).await?;
        let read = (relations.sources(), relations.source_rows(), relations.catalog().clone());
        let planned = physical(engine, question, relations, engine.clock.now(), UseViews::No).await?;
        Ok((planned, read))
    };
    let (Planned { plan, data_as_of, .. }, read) = within(cancel.clone(), limit, opened).await?;
    let (sources, source_rows, catalog) = read;
    let schema = answer_schema(&plan.schema());
    let held = Held::inside(&engine.shared, cancel, limit);
    let stream = stream::start(&engine.shared, plan, schema.clone(), held);
    Ok(PinnedQuery { schema, stream, sources, source_rows, data_as_of, catalog })
}

/// How many threads work on a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Threads {
    One,
    /// Those of the engine.
    All,
}

/// Runs a plan that is made on the CPU runtime; limits as for [`open`].
pub(in crate::query) async fn open_plan<F>(
    engine: &Arc<Inner>,
    make: F,
    threads: Threads,
    cancel: CancellationToken,
) -> Result<SendableRecordBatchStream, QueryError>
where
    F: FnOnce() -> DataFusionResult<LogicalPlan> + Send + 'static,
{
    let limit = Limit::starting_now(UNLIMITED);
    let mut state = engine.shared.state_at(engine.clock.now());
    if threads == Threads::One {
        *state.config_mut() = state.config().clone().with_target_partitions(1);
    }
    let planning = async move { Ok::<_, QueryError>(state.create_physical_plan(&make()?).await?) };
    let plan = within(cancel.clone(), limit, async { engine.shared.cpu.spawn(planning).await? }).await?;
    let schema = answer_schema(&plan.schema());
    Ok(stream::start(&engine.shared, plan, schema, Held::inside(&engine.shared, cancel, limit)))
}

/// Columns and parameters of a query, of which some have the types that the client says; the columns are those of a run with
/// `params`. Tables are pinned as for a run: the layout of columns (`Utf8View`) is the files'.
pub(super) async fn prepare(
    engine: &Arc<Inner>,
    (sql, types): (&str, ParameterTypes),
    params: &Params,
    viewer: &Viewer,
) -> Result<Prepared, QueryError> {
    let statement = parse(sql)?;
    let names = references(&statement)?;
    let is_small = needs_no_turn(&statement);
    // Planning may take as long as running, with as many views.
    let _turn = match is_small {
        true => None,
        false => Some(engine.admission.enter(&viewer.principal()).await?),
    };
    let relations = Relations::pinned(engine, names, viewer).await?;
    let state = engine.shared.state_for(viewer, engine.clock.now());
    let params = params.clone();
    let planning = async move {
        let planned = |types| settle(Planner::new(&state, &relations).query(&statement, types)?);
        let plan = planned(types.clone())?;
        let is_divisible = !is_small && is_divisible(&plan);
        let parameters = params::parameter_schema(&plan)?;
        let schema = match (&params, unknown_as_text(&parameters, &types)) {
            (Params::None, None) => planned_schema(&state, &plan)?,
            (Params::None, Some(types)) => planned(types)
                .and_then(|plan| planned_schema(&state, &plan))
                // Where text does not fit, another type will be bound.
                .or_else(|_| planned_schema(&state, &plan))?,
            _ => planned_schema(&state, &params::bind(plan, &params, &[])?)?,
        };
        Ok(Prepared { kind: StatementKind::Query, schema, parameters, is_divisible })
    };
    engine.shared.cpu.spawn(planning).await?
}

/// The types that the client says of a plan's parameters, with VARCHAR, what clients are told to bind, for those that nothing
/// tells the type of; `None` when there are no such.
fn unknown_as_text(parameters: &Schema, said: &[Option<FieldRef>]) -> Option<ParameterTypes> {
    let unknown = |field: &FieldRef| *field.data_type() == DataType::Null;
    // Named ones cannot be told apart by position.
    let number = |field: &FieldRef| field.name().strip_prefix('$')?.parse::<usize>().ok();
    let positional = parameters.fields().iter().all(|field| number(field).is_some());
    if !positional || !parameters.fields().iter().any(unknown) {
        return None;
    }
    let text = |(index, field): (usize, &FieldRef)| match said.get(index) {
        Some(Some(said)) => Some(said.clone()),
        Some(None) | None => unknown(field).then(|| Arc::new(Field::new("", DataType::Utf8, true))),
    };
    Some(parameters.fields().iter().enumerate().map(text).collect())
}

/// The columns a plan will answer. Types settle during analysis; a parameter of unknown type can keep that from
/// finishing, and then the types are those of the plan as it is.
fn planned_schema(state: &SessionState, plan: &LogicalPlan) -> Result<SchemaRef, QueryError> {
    match state.optimize(plan) {
        Ok(settled) => Ok(answer_schema(settled.schema().inner())),
        Err(_) if params::has_placeholder(plan)? => Ok(answer_schema(plan.schema().inner())),
        Err(error) => Err(error.into()),
    }
}

/// Names and types of a plan's columns, all nullable: what the optimiser proves about nulls differs between a statement
/// prepared and the same statement run, and clients compare the two schemas.
pub(in crate::query) fn answer_schema(planned: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        planned.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    Arc::new(Schema::new(fields))
}
