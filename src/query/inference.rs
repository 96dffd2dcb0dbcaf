//! Types of parameters that their place tells and DataFusion does not infer, or takes for others.
//!
//! | place | type |
//! |---|---|
//! | `LIMIT $1 OFFSET $2` | BIGINT |
//! | `at >= $1 - INTERVAL '1 day'`, also BETWEEN | that of `at`; DataFusion says interval |
//! | `$1 - INTERVAL '1 day'` elsewhere | unknown: that of the value bound |
//! | `CAST($1 AS T)` | T, for who binds; a value of another type is cast as the statement says, not refused |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Cast, Placeholder};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Limit, LogicalPlan, Operator};

use super::QueryError;
use super::params::has_placeholder;

/// Gives parameters the types that hold for binding as well as for who asks.
pub(super) fn settle(plan: LogicalPlan) -> Result<LogicalPlan, QueryError> {
    if !has_placeholder(&plan)? {
        return Ok(plan);
    }
    let settled = plan.transform_down_with_subqueries(|plan| match plan {
        LogicalPlan::Limit(limit) => {
            let typed = |side: Option<Box<Expr>>| -> DataFusionResult<Option<Box<Expr>>> {
                side.map(|expr| Ok(Box::new(whole_number(*expr)?))).transpose()
            };
            let limit = Limit { skip: typed(limit.skip)?, fetch: typed(limit.fetch)?, input: limit.input };
            Ok(Transformed::yes(LogicalPlan::Limit(limit)))
        }
        other => {
            let schema = merge_schema(&other.inputs());
            other.map_expressions(|expr| beside_intervals(expr, &schema))
        }
    })?;
    Ok(settled.data)
}

fn whole_number(expr: Expr) -> DataFusionResult<Expr> {
    let typed = expr.transform(|expr| match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Ok(Transformed::yes(Expr::Placeholder(typed(id, DataType::Int64))))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(typed.data)
}

fn typed(id: String, data_type: DataType) -> Placeholder {
    Placeholder::new_with_field(id, Some(Arc::new(Field::new("", data_type, true))))
}

/// A comparison comes before the sums inside it, so what is left to those has nothing to tell its type.
fn beside_intervals(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    expr.transform_down(|expr| match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if is_comparison(op) => {
            let (of_left, of_right) = (moment(&left, schema), moment(&right, schema));
            let changed = give(&mut left, of_right.as_ref(), schema) | give(&mut right, of_left.as_ref(), schema);
            Ok(transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let of_expr = moment(&expr, schema);
            let of_bounds = moment(&low, schema).or_else(|| moment(&high, schema));
            let changed = give(&mut low, of_expr.as_ref(), schema)
                | give(&mut high, of_expr.as_ref(), schema)
                | give(&mut expr, of_bounds.as_ref(), schema);
            Ok(transformed(Expr::Between(Between { expr, negated, low, high }), changed))
        }
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if is_sum(op) => {
            let changed = forget(&mut left, &right, schema) | forget(&mut right, &left, schema);
            Ok(transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn transformed(expr: Expr, changed: bool) -> Transformed<Expr> {
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_sum(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus)
}

/// The type of an expression that is a moment.
fn moment(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = expr.get_type(schema).ok()?;
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64).then_some(data_type)
}

/// Makes a parameter beside an interval, in a sum, a moment of the type `wanted`; whether there was one.
fn give(expr: &mut Expr, wanted: Option<&DataType>, schema: &DFSchema) -> bool {
    let (Some(wanted), Expr::BinaryExpr(BinaryExpr { left, op, right })) = (wanted, expr) else { return false };
    if !is_sum(*op) {
        return false;
    }
    let is_first = guessed(left, right, schema);
    if is_first || (*op == Operator::Plus && guessed(right, left, schema)) {
        let side = if is_first { left } else { right };
        if let Expr::Placeholder(placeholder) = side.as_mut() {
            *placeholder = typed(std::mem::take(&mut placeholder.id), wanted.clone());
        }
        return true;
    }
    give(left, Some(wanted), schema) || (*op == Operator::Plus && give(right, Some(wanted), schema))
}

/// Takes the type of an interval from a parameter that has it from `other` alone; whether it had.
fn forget(expr: &mut Expr, other: &Expr, schema: &DFSchema) -> bool {
    let was = guessed(expr, other, schema);
    if let (true, Expr::Placeholder(placeholder)) = (was, expr) {
        placeholder.field = None;
    }
    was
}

/// Whether `expr` is a parameter that DataFusion took for an interval because `other` is one: it then has its name as well.
fn guessed(expr: &Expr, other: &Expr, schema: &DFSchema) -> bool {
    let Expr::Placeholder(Placeholder { field: Some(field), .. }) = expr else { return false };
    let is_interval = matches!(field.data_type(), DataType::Interval(_) | DataType::Duration(_));
    is_interval && other.to_field(schema).is_ok_and(|(_, other)| other.name() == field.name())
}

/// The types that parameters of otherwise unknown type are cast to, where it is one type only.
pub(super) fn cast_types(plan: &LogicalPlan) -> Result<HashMap<String, DataType>, QueryError> {
    let mut found: HashMap<String, Option<DataType>> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::Cast(Cast { expr, field }) = part
                    && let Expr::Placeholder(Placeholder { id, field: None }) = expr.as_ref()
                {
                    let wanted = field.data_type();
                    let known = found.entry(id.clone()).or_insert_with(|| Some(wanted.clone()));
                    if known.as_ref().is_some_and(|known| known != wanted) {
                        *known = None;
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found.into_iter().filter_map(|(id, wanted)| Some((id, wanted?))).collect())
}
