//! Whether a query's rows depend on its sources' rows alone, not on the order those come in: two runs over the same rows of one
//! time give the same, to the last digit, though other rows are read beside them.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, LogicalPlan, Window, WindowFrame, WindowFrameUnits, WindowFunctionDefinition,
};

use super::chance::is_by_chance;
use super::lineage::Relations;
use super::normalize::public_name;
use super::obstacle::Obstacle;

/// Aggregates of any type. Of sketches, those of sets: one set has one sketch, to the byte.
const ANY: &[&str] = &[
    "count",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "approx_distinct",
    "hll_sketch",
    "hll_union",
    "theta_sketch",
    "theta_union",
];
/// Aggregates of anything but floating-point numbers.
const EXACT: &[&str] = &["sum", "avg", "min", "max", "median"];
/// Window functions of the order of rows, ties being equal.
const RANKS: &[&str] = &["rank", "dense_rank", "percent_rank", "cume_dist"];
/// Window functions of the place of a row, or of its neighbours.
const PLACES: &[&str] = &["row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"];

/// # Errors
/// The first part that may depend on the order of rows.
pub(super) fn check(plan: &LogicalPlan, relations: &Relations) -> Result<(), Obstacle> {
    if plan.expressions().iter().any(has_subquery) {
        return Err(Obstacle::Subquery);
    }
    node(plan, relations, |_| false)?;
    plan.inputs().into_iter().try_for_each(|input| check(input, relations))
}

/// The same of a query whose rows are compared with those of another run: of its subqueries too, and not of what is by chance, since
/// that is not compared.
///
/// # Errors
/// As [`check`].
pub(super) fn check_compared(plan: &LogicalPlan, relations: &Relations) -> Result<(), Obstacle> {
    let mut found = Ok(());
    let walk = plan.apply_with_subqueries(|one| {
        found = node(one, relations, is_by_chance);
        Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    match walk {
        Ok(_) => found,
        Err(error) => Err(Obstacle::Unrepeatable(error.to_string())),
    }
}

/// Of one node, but for its subqueries and the calls of aggregates that are `tolerated`.
fn node(plan: &LogicalPlan, relations: &Relations, tolerated: fn(&str) -> bool) -> Result<(), Obstacle> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let schema = aggregate.input.schema();
            if let Some(key) = aggregate.group_expr.iter().find(|key| is_float(key, schema)) {
                return Err(Obstacle::Float(format!("grouping by {key}")));
            }
            for call in &aggregate.aggr_expr {
                aggregate_call(call, schema, tolerated)?;
            }
        }
        LogicalPlan::Window(window) => {
            for call in &window.window_expr {
                window_call(call, window, relations)?;
            }
        }
        LogicalPlan::Distinct(Distinct::All(input)) if has_floats(input.schema()) => {
            return Err(Obstacle::Float("DISTINCT".to_owned()));
        }
        LogicalPlan::Distinct(Distinct::On(_)) => return Err(Obstacle::Ordered("DISTINCT ON".to_owned())),
        LogicalPlan::Unnest(_) => return Err(Obstacle::Node("unnest")),
        LogicalPlan::RecursiveQuery(_) => return Err(Obstacle::Node("WITH RECURSIVE")),
        _ => {}
    }
    Ok(())
}

fn has_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    });
    found.unwrap_or(true)
}

fn has_floats(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| field.data_type().is_floating())
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
}

/// The call below its aliases.
fn named(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => named(&alias.expr),
        other => other,
    }
}

fn aggregate_call(expr: &Expr, schema: &DFSchema, tolerated: fn(&str) -> bool) -> Result<(), Obstacle> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = named(expr) else {
        return Err(Obstacle::Ordered(expr.to_string()));
    };
    if tolerated(func.name()) {
        return Ok(());
    }
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(Obstacle::Ordered(func.name().to_owned()));
    }
    function(func.name(), &params.args, schema)
}

fn function(name: &str, args: &[Expr], schema: &DFSchema) -> Result<(), Obstacle> {
    match name {
        _ if ANY.contains(&name) => Ok(()),
        _ if EXACT.contains(&name) => match args.iter().any(|argument| is_float(argument, schema)) {
            true => Err(Obstacle::Float(name.to_owned())),
            false => Ok(()),
        },
        _ => Err(Obstacle::Ordered(name.to_owned())),
    }
}

fn window_call(expr: &Expr, window: &Window, relations: &Relations) -> Result<(), Obstacle> {
    let Expr::WindowFunction(call) = named(expr) else { return Err(Obstacle::Ordered(expr.to_string())) };
    let WindowFunction { fun, params: WindowFunctionParams { args, order_by, window_frame, .. } } = call.as_ref();
    let schema = window.input.schema();
    let name = fun.name();
    let is_total = || {
        let mut keys = order_by.iter().filter_map(|sort| match &sort.expr {
            Expr::Column(column) => schema.maybe_index_of_column(column),
            _ => None,
        });
        keys.any(|key| is_event_key(&window.input, key, relations))
    };
    match fun {
        WindowFunctionDefinition::AggregateUDF(_) => {
            function(name, args, schema)?;
            match by_peers(window_frame) || is_total() {
                true => Ok(()),
                false => Err(Obstacle::Ties(name.to_owned())),
            }
        }
        WindowFunctionDefinition::WindowUDF(_) if RANKS.contains(&name) => Ok(()),
        WindowFunctionDefinition::WindowUDF(_) if PLACES.contains(&name) => match is_total() {
            true => Ok(()),
            false => Err(Obstacle::Ties(name.to_owned())),
        },
        WindowFunctionDefinition::WindowUDF(_) => Err(Obstacle::Ordered(name.to_owned())),
    }
}

/// Whether rows that tie are all in a frame, or all not.
fn by_peers(frame: &WindowFrame) -> bool {
    match frame.units {
        WindowFrameUnits::Range | WindowFrameUnits::Groups => true,
        WindowFrameUnits::Rows => frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded(),
    }
}

/// Whether a column has another value in every row: that of a table's event key, rows not having been multiplied.
fn is_event_key(plan: &LogicalPlan, column: usize, relations: &Relations) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let field = scan.projected_schema.field(column);
            let key = public_name(&scan.table_name).and_then(|table| (relations.event_key)(table));
            key.is_some_and(|key| key == *field.name())
        }
        LogicalPlan::SubqueryAlias(alias) => is_event_key(&alias.input, column, relations),
        LogicalPlan::Filter(filter) => is_event_key(&filter.input, column, relations),
        LogicalPlan::Sort(sort) => is_event_key(&sort.input, column, relations),
        LogicalPlan::Window(window) if column < window.input.schema().fields().len() => {
            is_event_key(&window.input, column, relations)
        }
        LogicalPlan::Projection(projection) => match projection.expr.get(column).map(named) {
            Some(Expr::Column(below)) => {
                let place = projection.input.schema().maybe_index_of_column(below);
                place.is_some_and(|place| is_event_key(&projection.input, place, relations))
            }
            _ => false,
        },
        _ => false,
    }
}
