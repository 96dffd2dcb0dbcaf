//! SQL type names to Arrow types where ours differ: timestamps are microseconds, `TIMESTAMP WITH TIME ZONE` is UTC.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// The zone of every stored and computed timestamp.
pub(super) const UTC: &str = "UTC";

/// Digits of a second that a timestamp has.
const DIGITS: u64 = 6;

/// Plans `TIMESTAMP [(p)] [WITH TIME ZONE]` and `DATETIME`; leaves other types to DataFusion.
#[derive(Debug)]
pub(in crate::query) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let (precision, zone) = match sql_type {
            SqlType::Timestamp(precision, zone) => (precision, zone),
            SqlType::Datetime(precision) => (precision, &TimezoneInfo::None),
            _ => return Ok(None),
        };
        match precision {
            Some(digits) if *digits < DIGITS => {
                return plan_err!(
                    "{sql_type} is not supported: a TIMESTAMP has microseconds; write TIMESTAMP, and date_trunc for less"
                );
            }
            Some(digits) if *digits > DIGITS => return Ok(None),
            Some(_) | None => {}
        }
        let zone = match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Some(UTC.into()),
        };
        Ok(Some(Arc::new(Field::new("", DataType::Timestamp(TimeUnit::Microsecond, zone), true))))
    }
}

/// Refuses `CAST(number AS TIMESTAMP)`: it would count microseconds where `to_timestamp` counts seconds.
///
/// # Errors
/// There is such a cast in the plan.
pub(in crate::query) fn refuse_numbers_as_times(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let mut schema: Option<DFSchema> = None;
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) = part
                else {
                    return Ok(TreeNodeRecursion::Continue);
                };
                if !matches!(field.data_type(), DataType::Timestamp(..)) {
                    return Ok(TreeNodeRecursion::Continue);
                }
                let schema = schema.get_or_insert_with(|| merge_schema(&node.inputs()));
                if inner.get_type(schema).is_ok_and(|from| from.is_numeric()) {
                    return plan_err!(
                        "a number is not cast to TIMESTAMP, as its unit would be a guess; write to_timestamp(seconds), \
                         to_timestamp_millis(…) or to_timestamp_micros(…)"
                    );
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}
