//! `DELETE FROM table WHERE predicate`: the predicate is planned as that of a query; the rows go through `Commands`.
//!
//! ```text
//! WHERE … ─► SELECT * FROM table WHERE … ─► planned, parameters bound ─► subqueries answered, once ─► a condition on one row
//! ```
//! Table and subqueries are read at one set of versions. A subquery that names the table's columns would be a join, row by
//! row; it is refused with what to write instead.
//!
//! Of a table with row policies, those rows go that the caller sees: the policies' condition is joined to the statement's. That is
//! exact only where trying the statement's on a hidden row tells nothing of it (`leak`), so any other is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{Exists, InList, InSubquery};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Subquery, Volatility, lit};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
use futures::TryStreamExt;

use super::query::{Question, UseViews, with_guard};
use super::{Work, within};
use crate::base::{Sealed, quoted};
use crate::catalog::{Definition, Delete, Object};
use crate::query::authorise::denied;
use crate::query::engine::Inner;
use crate::query::inference::settle;
use crate::query::leak::{Guard, is_leakproof};
use crate::query::params;
use crate::query::planner::parse;
use crate::query::tables::{Relations, references};
use crate::query::viewer::Viewer;
use crate::query::{Answer, CommandContext, DeleteRows, Params, Prepared, QueryError, StatementKind};
use crate::storage::RowPredicate;

/// Values one `IN (SELECT …)` may give.
const VALUES_MAX: usize = 100_000;

/// Deletes the rows; returns when they are gone.
pub(super) async fn run(work: &Work, delete: Delete, context: CommandContext) -> Result<Answer, QueryError> {
    let engine = &work.engine;
    let path = target(engine, &delete.table, &work.viewer).await?;
    let question = question(&delete, &work.params, work)?;
    // What was committed before the statement goes, whoever has committed it.
    engine.lake.open_table(&path).await?.refresh().await?;
    let relations = Relations::pinned(engine, references(&question.statement)?, &work.viewer).await?;
    let Some(base) = relations.snapshot(&delete.table).cloned() else {
        return Err(QueryError::Internal { message: format!("table '{}' was not pinned", delete.table) });
    };
    let state = engine.shared.state_for(&work.viewer, work.now);
    let planning =
        async move { condition(question.logical(&state, &relations, UseViews::No)?, state, relations.guard()).await };
    let planned = Box::pin(async { engine.shared.cpu.spawn(planning).await? });
    let rows = within(work.cancel.clone(), work.limit, planned).await?;
    let (commands, table) = (engine.commands()?.clone(), delete.table.clone());
    let deleting = async move { commands.delete(DeleteRows { table, base, rows }, context).await };
    let report = engine.shared.cpu.spawn(deleting).await??;
    let mut message = format!("{} rows deleted from {}", report.rows, delete.table);
    if report.rows > 0 && !work.viewer.has_policies(&delete.table) {
        let (removed, rewritten) = (report.files_removed, report.files_rewritten);
        message.push_str(&format!(" ({removed} files removed, {rewritten} rewritten)"));
    }
    Ok(work.done(Some(report.rows), message))
}

/// Parameters of the predicate.
pub(super) async fn prepare(
    engine: &Arc<Inner>,
    delete: Delete,
    (schema, viewer): (SchemaRef, &Viewer),
) -> Result<Prepared, QueryError> {
    target(engine, &delete.table, viewer).await?;
    let question = Question { statement: as_query(&delete)?, types: Vec::new(), values: None };
    let relations = Relations::pinned(engine, references(&question.statement)?, viewer).await?;
    let state = engine.shared.state_for(viewer, engine.clock.now());
    let planning = async move {
        let plan = settle(question.logical(&state, &relations, UseViews::No)?)?;
        let parameters = params::parameter_schema(&plan)?;
        Ok(Prepared { kind: StatementKind::Update, schema, parameters, is_divisible: false })
    };
    engine.shared.cpu.spawn(planning).await?
}

/// The folder of a table rows can be deleted from.
async fn target(engine: &Arc<Inner>, name: &str, viewer: &Viewer) -> Result<String, QueryError> {
    let mut catalog = engine.catalog.snapshot();
    if !catalog.relations.contains_key(name) {
        catalog = engine.catalog.refresh().await?;
    }
    let object = catalog.relation(name)?;
    let refused = |why: &str| refused(object, viewer.sees_whole(&catalog, name), why);
    match (&object.definition, &object.table_path) {
        (Definition::Table(_), Some(path)) => Ok(path.clone()),
        (Definition::Table(_), None) => Err(QueryError::Internal { message: format!("table '{name}' has no files") }),
        (Definition::View(_) | Definition::Endpoint(_), _) => Err(refused("it has no rows of its own")),
        (Definition::MaterializedView(_), _) => Err(refused("its rows follow from its query")),
    }
}

/// What it reads is named to those who see all of that.
fn refused(object: &Object, is_seen_whole: bool, why: &str) -> QueryError {
    let reads = object.reads.iter().filter(|_| is_seen_whole);
    let mut from = reads.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    if from.is_empty() {
        "the tables it reads".clone_into(&mut from);
    }
    QueryError::Invalid {
        message: format!("nothing is deleted from '{}', a {}: {why}; delete from {from}", object.name, object.kind),
    }
}

fn question(delete: &Delete, params: &Params, work: &Work) -> Result<Question, QueryError> {
    let values = params::may_have_parameters(&delete.sql, params).then(|| (params.clone(), work.declared.clone()));
    let types = work.declared.iter().cloned().map(Some).collect();
    Ok(Question { statement: as_query(delete)?, types, values })
}

/// `SELECT * FROM table WHERE …`; the predicate keeps its places in the user's text.
fn as_query(delete: &Delete) -> Result<SqlStatement, QueryError> {
    let other = || QueryError::Internal { message: "DELETE was not read as one".to_owned() };
    let SqlStatement::Statement(written) = parse(&delete.sql)? else { return Err(other()) };
    let Statement::Delete(written) = *written else { return Err(other()) };
    let mut query = parse(&format!("SELECT * FROM {}", quoted(&delete.table)))?;
    let SqlStatement::Statement(statement) = &mut query else { return Err(other()) };
    let Statement::Query(inner) = statement.as_mut() else { return Err(other()) };
    let SetExpr::Select(select) = inner.body.as_mut() else { return Err(other()) };
    select.selection = written.selection;
    Ok(query)
}

/// What the plan of the query asks of each row: typed, subqueries answered.
async fn condition(plan: LogicalPlan, state: SessionState, guard: Guard) -> Result<RowPredicate, QueryError> {
    let other = || QueryError::Internal { message: "the condition of DELETE was planned as something else".to_owned() };
    let LogicalPlan::Projection(shown) = &plan else { return Err(other()) };
    let LogicalPlan::Filter(filter) = shown.input.as_ref() else { return Err(other()) };
    let asked = answered(filter.predicate.clone(), &state, guard).await?;
    let (rows, policies) = table_beneath(&filter.input)?;
    let mut condition = settled(&state, asked, &rows)?;
    if let Some(policy) = conjunction(policies) {
        if !is_leakproof(&condition, rows.schema())? {
            let message = "a row policy holds here: DELETE may only compare columns with values (=, <>, <, >, IN, BETWEEN, \
                           LIKE, IS NULL)";
            return Err(denied(message.to_owned()));
        }
        condition = settled(&state, policy.and(condition), &rows)?;
    }
    refuse_chance(&condition)?;
    let condition = match condition {
        Expr::Literal(value, _) if value.is_null() => lit(ScalarValue::Boolean(None)),
        other => other,
    };
    Ok(RowPredicate { condition: Sealed::new(unnormalize_col(condition)), state: Sealed::new(state) })
}

/// The table that a plan shows rows of, and the conditions that policies put on them.
///
/// # Errors
/// Masked columns: what is compared would not be what is stored.
fn table_beneath(plan: &LogicalPlan) -> Result<(LogicalPlan, Vec<Expr>), QueryError> {
    match plan {
        LogicalPlan::TableScan(_) => Ok((plan.clone(), Vec::new())),
        LogicalPlan::SubqueryAlias(alias) => table_beneath(&alias.input),
        LogicalPlan::Filter(filter) => {
            let (rows, mut conditions) = table_beneath(&filter.input)?;
            conditions.push(filter.predicate.clone());
            Ok((rows, conditions))
        }
        // Columns that are granted.
        LogicalPlan::Projection(shown) if shown.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) => {
            table_beneath(&shown.input)
        }
        LogicalPlan::Projection(_) => {
            Err(denied("masks hold for you on this table: nothing is deleted from it".to_owned()))
        }
        _ => Err(QueryError::Internal { message: "rows to delete were planned as those of no table".to_owned() }),
    }
}

/// The condition with its types as they are compared, in its simplest form.
fn settled(state: &SessionState, condition: Expr, rows: &LogicalPlan) -> Result<Expr, QueryError> {
    let filter = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(rows.clone()))?);
    let settled = Analyzer::clone(state.analyzer()).execute_and_check(filter, state.config_options(), |_, _| {})?;
    let LogicalPlan::Filter(filter) = settled else {
        return Err(QueryError::Internal { message: "a condition was settled as something else".to_owned() });
    };
    let simplify = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::clone(filter.input.schema())))
        .with_config_options(state.config_options().clone())
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    Ok(ExprSimplifier::new(simplify).simplify(filter.predicate)?)
}

/// A row is looked at more than once.
fn refuse_chance(condition: &Expr) -> Result<(), QueryError> {
    let mut found = None;
    condition.apply(|part| {
        if let Expr::ScalarFunction(call) = part
            && call.func.signature().volatility == Volatility::Volatile
        {
            found = Some(call.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(QueryError::Invalid {
            message: format!("{name}() answers otherwise each time; DELETE needs a condition that stays the same"),
        }),
    }
}

/// The condition with its subqueries' answers in their place.
async fn answered(condition: Expr, state: &SessionState, guard: Guard) -> Result<Expr, QueryError> {
    let mut subqueries = Vec::new();
    condition.apply(|part| {
        let is_subquery =
            matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_));
        if is_subquery {
            subqueries.push(part.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut answers = Vec::with_capacity(subqueries.len());
    for subquery in subqueries {
        let answer = answer_of(&subquery, state, guard).await?;
        answers.push((subquery, answer));
    }
    // From the inside out: `a IN (SELECT …)` has its left side's subqueries answered by then.
    let replaced = condition.transform_up(|part| {
        let found = answers.iter().position(|(subquery, _)| same_subquery(subquery, &part));
        Ok(match found {
            Some(at) => Transformed::yes(answers[at].1.clone().put_in(part)),
            None => Transformed::no(part),
        })
    })?;
    Ok(replaced.data)
}

/// What a subquery has given.
#[derive(Clone)]
enum Given {
    Value(Expr),
    Values(Vec<ScalarValue>),
}

impl Given {
    /// The expression that was `asked`, answered.
    fn put_in(self, asked: Expr) -> Expr {
        match (self, asked) {
            (Given::Value(value), _) => value,
            (Given::Values(values), Expr::InSubquery(InSubquery { expr, negated, .. })) => match values.is_empty() {
                true => lit(negated),
                false => {
                    let list = values.into_iter().map(|value| Expr::Literal(value, None)).collect();
                    Expr::InList(InList { expr, list, negated })
                }
            },
            (Given::Values(_), asked) => asked,
        }
    }
}

/// Whether both hold the same subquery; the left side of an IN may have changed since.
fn same_subquery(one: &Expr, other: &Expr) -> bool {
    let plan = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery.subquery.clone()),
        Expr::InSubquery(InSubquery { subquery, .. }) | Expr::Exists(Exists { subquery, .. }) => {
            Some(subquery.subquery.clone())
        }
        _ => None,
    };
    match (plan(one), plan(other)) {
        (Some(one), Some(other)) => Arc::ptr_eq(&one, &other),
        _ => false,
    }
}

async fn answer_of(asked: &Expr, state: &SessionState, guard: Guard) -> Result<Given, QueryError> {
    match asked {
        Expr::ScalarSubquery(subquery) => {
            let values = values_of(subquery, (state, guard), 2).await?;
            match values.as_slice() {
                [] => Ok(Given::Value(lit(ScalarValue::try_from(&column_type(subquery)?)?))),
                [value] => Ok(Given::Value(Expr::Literal(value.clone(), None))),
                _ => Err(QueryError::Invalid {
                    message: "a subquery used as a value gives more than one row".to_owned(),
                }),
            }
        }
        Expr::Exists(Exists { subquery, negated }) => {
            let is_empty = values_of(subquery, (state, guard), 1).await?.is_empty();
            Ok(Given::Value(lit(is_empty == *negated)))
        }
        Expr::InSubquery(InSubquery { subquery, .. }) => {
            let values = values_of(subquery, (state, guard), VALUES_MAX + 1).await?;
            if values.len() > VALUES_MAX {
                return Err(QueryError::Invalid {
                    message: format!(
                        "the subquery of IN gives more than {VALUES_MAX} values; delete in several statements"
                    ),
                });
            }
            Ok(Given::Values(values))
        }
        _ => Err(QueryError::Unimplemented {
            message: "ANY and ALL over a subquery are not supported in DELETE; write column IN (SELECT …)".to_owned(),
        }),
    }
}

/// The first column of the subquery's rows, `rows_max` at most.
async fn values_of(
    subquery: &Subquery,
    (state, guard): (&SessionState, Guard),
    rows_max: usize,
) -> Result<Vec<ScalarValue>, QueryError> {
    if !subquery.outer_ref_columns.is_empty() {
        let column = &subquery.outer_ref_columns[0];
        return Err(QueryError::Unimplemented {
            message: format!(
                "a subquery of DELETE cannot depend on the row ({column}); write column IN (SELECT …) without the table's \
                 own columns"
            ),
        });
    }
    let plan = with_guard(state, &subquery.subquery, guard).await?;
    let mut rows = execute_stream(plan, state.task_ctx())?;
    let mut values = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let column = batch.columns().first();
        for row in 0..batch.num_rows() {
            if values.len() == rows_max {
                return Ok(values);
            }
            values.push(match column {
                Some(column) => ScalarValue::try_from_array(column, row)?,
                None => ScalarValue::Null,
            });
        }
    }
    Ok(values)
}

fn column_type(subquery: &Subquery) -> Result<DataType, QueryError> {
    match subquery.subquery.schema().fields().first() {
        Some(field) => Ok(field.data_type().clone()),
        None => Err(QueryError::Invalid { message: "a subquery used as a value has no column".to_owned() }),
    }
}
