//! Expressions that stay near a time column: cut to a grain, moved by an interval, or both.
//!
//! What is known of such an expression is how far it can be from its column. That is enough to bound which rows can meet each
//! other in a join, or can be in one group, without knowing any row.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::time::{DAY, Grain, Reach, UTC, floor_of, fold, is_time, whole_micros};

/// `expression ∈ column + [least, most]`, in microseconds, both ends included. NULL where the column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// Place in the schema.
    pub(super) column: usize,
    pub(super) least: i64,
    pub(super) most: i64,
    pub(super) shape: Shape,
    /// Whether it is NULL for times that `date_bin` does not know.
    pub(super) reach: Reach,
}

/// What an expression makes of its column, as far as it is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `column + by`
    Moved(i64),
    /// `column + by`, cut.
    Cut(i64, Grain),
    Near,
}

impl Offset {
    /// Of an expression over `schema`; None: it is not known to stay near a time column.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        match expr {
            Expr::Column(column) => {
                let column = schema.maybe_index_of_column(column)?;
                Self::is_near(schema.field(column).data_type()).then_some(Self::itself(column))
            }
            Expr::Alias(alias) => Self::of(&alias.expr, schema),
            Expr::Cast(cast) if *cast.field.data_type() == DataType::Date32 => {
                let (argument, grain, reach) = floor_of(expr, schema)?;
                Self::of(argument, schema)?.floored(grain, reach)
            }
            // The same microseconds, in UTC or without a zone.
            Expr::Cast(cast) if is_time(cast.field.data_type()) && is_time(&cast.expr.get_type(schema).ok()?) => {
                Self::of(&cast.expr, schema)
            }
            Expr::ScalarFunction(_) => {
                let (argument, grain, reach) = floor_of(expr, schema)?;
                // The zones of what is cut count: another than UTC has other days.
                let is_known = is_time(&argument.get_type(schema).ok()?);
                Self::of(argument, schema).filter(|_| is_known)?.floored(grain, reach)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let is_time = |side: &Expr| side.get_type(schema).is_ok_and(|data_type| is_time(&data_type));
                match op {
                    Operator::Plus if is_time(left) => Self::of(left, schema)?.moved(interval(right, schema)?),
                    Operator::Plus if is_time(right) => Self::of(right, schema)?.moved(interval(left, schema)?),
                    Operator::Minus if is_time(left) => {
                        Self::of(left, schema)?.moved(interval(right, schema)?.checked_neg()?)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub(super) fn itself(column: usize) -> Self {
        Self { column, least: 0, most: 0, shape: Shape::Moved(0), reach: Reach::AllTimes }
    }

    /// Types whose values are moments: times, days, and what `date_bin` gives.
    fn is_near(data_type: &DataType) -> bool {
        match data_type {
            DataType::Date32 => true,
            DataType::Timestamp(unit, zone) => {
                *unit != TimeUnit::Second && zone.as_deref().is_none_or(|zone| zone == UTC)
            }
            _ => false,
        }
    }

    fn floored(self, grain: Grain, reach: Reach) -> Option<Self> {
        let reach = self.reach.and(reach);
        let (shape, most) = match self.shape {
            Shape::Moved(by) => (Shape::Cut(by, grain), by),
            Shape::Cut(by, inner) if inner.divides(grain) => (Shape::Cut(by, grain), by),
            // Its boundaries are boundaries of `grain`: cutting again changes nothing.
            Shape::Cut(_, inner) if grain.divides(inner) => return Some(Self { reach, ..self }),
            Shape::Cut(..) | Shape::Near => {
                let least = self.least.checked_sub(grain.width_max() - 1)?;
                return Some(Self { least, shape: Shape::Near, reach, ..self });
            }
        };
        Some(Self { least: most.checked_sub(grain.width_max() - 1)?, most, shape, reach, ..self })
    }

    fn moved(self, by: i64) -> Option<Self> {
        let shape = match self.shape {
            Shape::Moved(before) => Shape::Moved(before.checked_add(by)?),
            Shape::Cut(..) | Shape::Near => Shape::Near,
        };
        Some(Self { least: self.least.checked_add(by)?, most: self.most.checked_add(by)?, shape, ..self })
    }
}

/// Microseconds of a constant interval, which has no months: those are of many lengths.
fn interval(expr: &Expr, schema: &DFSchema) -> Option<i64> {
    if expr.any_column_refs() {
        return None;
    }
    let Expr::Literal(value, _) = fold(expr, schema)? else { return None };
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            whole_micros(interval.nanoseconds)?.checked_add(i64::from(interval.days).checked_mul(DAY)?)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i64::from(interval.days).checked_mul(DAY)?.checked_add(i64::from(interval.milliseconds) * 1_000)
        }
        ScalarValue::DurationMicrosecond(Some(micros)) => Some(micros),
        _ => None,
    }
}
