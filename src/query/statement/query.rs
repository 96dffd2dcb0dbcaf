//! Queries: SELECT, VALUES, WITH, EXPLAIN.
//!
//! ```text
//! parse ─► names ─► turn ─► snapshots (Relations) ─► CPU runtime: logical plan, parameters, optimiser, physical plan ─► stream
//! ```

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use tokio_util::sync::CancellationToken;

use super::{Work, within};
use crate::base::Timestamp;
use crate::query::engine::{Inner, PinnedQuery};
use crate::query::params::{self, may_have_parameters};
use crate::query::planner::{ParameterTypes, Planner, parse};
use crate::query::running::State;
use crate::query::stream::{self, Held, Limit};
use crate::query::tables::{Relations, reads_only_system, references};
use crate::query::{Answer, Outcome, Params, Prepared, QueryError, StatementKind};

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
        Ok(Self { statement: parse(sql)?, types: declared.iter().cloned().map(Some).collect(), values })
    }

    fn logical(&self, state: &SessionState, relations: &Relations) -> Result<LogicalPlan, QueryError> {
        let plan = Planner::new(state, relations).query(&self.statement, self.types.clone())?;
        match &self.values {
            None => Ok(plan),
            Some((params, declared)) => params::bind(params::type_limits(plan)?, params, declared),
        }
    }
}

/// Runs a query; the answer's rows hold its turn until they are read or dropped.
pub(super) async fn run(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let question = Question::new(sql, &work.params, &work.declared)?;
    let names = references(&question.statement)?;
    let permit = match reads_only_system(&names) {
        true => None,
        false => Some(work.engine.admission.enter().await?),
    };
    work.enter(State::Planning);
    let relations = Relations::pinned(&work.engine, names).await?;
    let data_as_of = relations.data_as_of;
    let state = relations.state();
    let Planned { plan, is_repeatable } = physical(&work.engine, question, relations, work.now).await?;
    let held = Held { watch: work.watch.take(), permit, cancel: work.cancel.clone(), limit: work.limit };
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

/// A physical plan, and whether the query depends on its tables and values alone.
pub(super) struct Planned {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    is_repeatable: bool,
}

/// Plans on the CPU runtime.
pub(super) async fn physical(
    engine: &Arc<Inner>,
    question: Question,
    relations: Relations,
    now: Timestamp,
) -> Result<Planned, QueryError> {
    let state = engine.shared.state_at(now);
    let planning = async move {
        let logical = question.logical(&state, &relations)?;
        let is_repeatable = is_repeatable(&logical)?;
        Ok(Planned { plan: state.create_physical_plan(&logical).await?, is_repeatable })
    };
    engine.shared.cpu.spawn(planning).await?
}

/// Whether no function of the query, its views included, answers otherwise at another time: `now()`, `random()`.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool, QueryError> {
    let mut is_repeatable = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    is_repeatable &= call.func.signature().volatility == Volatility::Immutable;
                }
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
        let relations = Relations::pinned(engine, references(&question.statement)?).await?;
        let sources = relations.sources();
        let planned = physical(engine, question, relations, engine.clock.now()).await?;
        Ok((planned.plan, sources))
    };
    let (plan, sources) = within(cancel.clone(), limit, opened).await?;
    let schema = answer_schema(&plan.schema());
    let held = Held { watch: None, permit: None, cancel, limit };
    let stream = stream::start(&engine.shared, plan, schema.clone(), held);
    Ok(PinnedQuery { schema, stream, sources })
}

/// Columns and parameters of a query. Tables are pinned as for a run: the layout of columns (`Utf8View`) is the files'.
pub(super) async fn prepare(engine: &Arc<Inner>, sql: &str) -> Result<Prepared, QueryError> {
    let statement = parse(sql)?;
    let relations = Relations::pinned(engine, references(&statement)?).await?;
    let state = engine.shared.state_at(engine.clock.now());
    let planning = async move {
        let plan = Planner::new(&state, &relations).query(&statement, Vec::new())?;
        let plan = params::type_limits(plan)?;
        let parameters = params::parameter_schema(&plan)?;
        Ok(Prepared { kind: StatementKind::Query, schema: planned_schema(&state, &plan)?, parameters })
    };
    engine.shared.cpu.spawn(planning).await?
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
