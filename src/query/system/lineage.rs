//! `system.lineage`: what every view, materialized view and endpoint reads, and from which columns each column of a view comes.
//!
//! One row without `column_name` for each relation an object reads; then one for each column of a view and each column below that
//! its values are computed from, in the relation the query names (a view below is not looked through). A column of no other column,
//! such as `count(*)`, has none. Conditions and keys of joins decide which rows there are, not what is in them: they do not count.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::rows::{batch, texts};
use crate::catalog::{Definition, Object};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::planner::{Planner, parse};
use crate::query::runtime::PUBLIC;
use crate::query::tables::{Relations, references};

pub(super) fn schema() -> SchemaRef {
    let text = DataType::Utf8;
    super::rows::schema(&[
        ("object_name", text.clone()),
        ("object_kind", text.clone()),
        ("column_name", text.clone()),
        ("reads_name", text.clone()),
        ("reads_kind", text.clone()),
        ("reads_column", text),
    ])
}

/// A row of the table.
struct Line {
    object: Arc<Object>,
    column: Option<String>,
    reads: String,
    reads_column: Option<String>,
}

pub(super) fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let catalog = engine.catalog.snapshot();
    let mut lines = Vec::new();
    for object in catalog.all() {
        let whole =
            |reads: &String| Line { object: object.clone(), column: None, reads: reads.clone(), reads_column: None };
        lines.extend(object.reads.iter().map(whole));
        // A view that no longer works has no columns.
        for (column, origins) in columns(engine, object).unwrap_or_default() {
            lines.extend(origins.into_iter().map(|(reads, reads_column)| Line {
                object: object.clone(),
                column: Some(column.clone()),
                reads,
                reads_column: Some(reads_column),
            }));
        }
    }
    let kind = |name: &str| catalog.relations.get(name).map(|object| object.kind.to_string());
    batch(
        schema(),
        vec![
            texts(lines.iter().map(|line| Some(&line.object.name))),
            texts(lines.iter().map(|line| Some(line.object.kind.to_string()))),
            texts(lines.iter().map(|line| line.column.as_ref())),
            texts(lines.iter().map(|line| Some(&line.reads))),
            texts(lines.iter().map(|line| kind(&line.reads))),
            texts(lines.iter().map(|line| line.reads_column.as_ref())),
        ],
    )
}

/// Relation and column.
type Origin = (String, String);

/// The columns of a view, in order, each with those it comes from.
///
/// # Errors
/// A query that no longer works.
fn columns(engine: &Arc<Inner>, object: &Object) -> Result<Vec<(String, BTreeSet<Origin>)>, QueryError> {
    let query = match &object.definition {
        Definition::View(view) => &view.query,
        Definition::MaterializedView(view) => &view.query,
        Definition::Table(_) | Definition::Endpoint(_) => return Ok(Vec::new()),
    };
    let statement = parse(query)?;
    let relations = Relations::by_columns(engine, references(&statement)?)?;
    let state = engine.shared.state_at(engine.clock.now());
    let plan = Planner::new(&state, &relations).query(&statement, Vec::new())?;
    let fields = plan.schema().fields().iter().enumerate();
    Ok(fields.map(|(place, field)| (field.name().clone(), origins(&plan, place))).collect())
}

/// Where column `place` of a plan comes from.
fn origins(plan: &LogicalPlan, place: usize) -> BTreeSet<Origin> {
    let computed = |exprs: &[Expr], place: usize| exprs.get(place).map(|expr| of_expr(plan, expr)).unwrap_or_default();
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = match scan.table_name.schema() {
                Some(schema) if schema != PUBLIC => format!("{schema}.{}", scan.table_name.table()),
                _ => scan.table_name.table().to_owned(),
            };
            let field = scan.projected_schema.fields().get(place);
            field.map(|field| (table, field.name().clone())).into_iter().collect()
        }
        LogicalPlan::Projection(projection) => computed(&projection.expr, place),
        LogicalPlan::Aggregate(aggregate) => {
            // GROUPING SETS are one expression and several columns.
            let sets = matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)));
            let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
            match place.checked_sub(keys) {
                Some(call) => computed(&aggregate.aggr_expr, call),
                None if sets => passed(plan, place),
                None => computed(&aggregate.group_expr, place),
            }
        }
        LogicalPlan::Window(window) => match place.checked_sub(window.input.schema().fields().len()) {
            Some(call) => computed(&window.window_expr, call),
            None => origins(&window.input, place),
        },
        LogicalPlan::Union(union) => union.inputs.iter().flat_map(|input| origins(input, place)).collect(),
        LogicalPlan::SubqueryAlias(alias) => origins(&alias.input, place),
        LogicalPlan::Filter(filter) => origins(&filter.input, place),
        LogicalPlan::Sort(sort) => origins(&sort.input, place),
        LogicalPlan::Limit(limit) => origins(&limit.input, place),
        _ => passed(plan, place),
    }
}

/// A column that a node passes on under its name, or makes of the expressions it has.
fn passed(plan: &LogicalPlan, place: usize) -> BTreeSet<Origin> {
    let (qualifier, field) = plan.schema().qualified_field(place);
    let column = Column::new(qualifier.cloned(), field.name());
    match of_column(plan, &column) {
        Some(below) => below,
        None => plan.expressions().iter().flat_map(|expr| of_expr(plan, expr)).collect(),
    }
}

fn of_expr(plan: &LogicalPlan, expr: &Expr) -> BTreeSet<Origin> {
    let columns = expr.column_refs().into_iter();
    let mut found: BTreeSet<Origin> = columns.filter_map(|column| of_column(plan, column)).flatten().collect();
    let walked = expr.apply(|part| {
        let subquery = match part {
            Expr::ScalarSubquery(subquery) => Some(subquery),
            Expr::InSubquery(within) => Some(&within.subquery),
            _ => None,
        };
        if let Some(subquery) = subquery {
            found.extend(origins(&subquery.subquery, 0));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk itself does not fail");
    found
}

/// Where a column of one of the inputs of `plan` comes from; None: none of them has it.
fn of_column(plan: &LogicalPlan, column: &Column) -> Option<BTreeSet<Origin>> {
    let place = |input: &LogicalPlan| input.schema().maybe_index_of_column(column);
    plan.inputs().into_iter().find_map(|input| Some(origins(input, place(input)?)))
}
