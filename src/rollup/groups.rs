//! Aggregates of groups: an aggregate over an aggregate, asked as one question of the rows below both.
//!
//! ```text
//! SELECT country, sum(clicks) FROM (SELECT ad, country, count(*) AS clicks FROM t GROUP BY ad, country) GROUP BY country
//!      = SELECT country, count(*) FROM t GROUP BY country
//! ```
//! What it rests on, each with a test of its negation:
//! - *Keys and filters* of the upper aggregate are of the lower one's keys. Then a row below is in exactly one group of each, and a
//!   lower group is in an upper one, or passes a filter, as a whole. Groups chosen by an aggregate (HAVING) are not rows chosen.
//! - *Calls* go together: a sum of counts is a count, a sum of sums a sum, the least of the least is the least, a union of
//!   sketches a sketch. A count, sum or average of groups themselves is one of no rows.
//! - *Nothing.* Over no groups a sum of counts is NULL, where the count of no rows is 0; so is a sum of `coalesce(sum(x), 0)`.
//!   [`Total`] keeps that apart. What only looks at values, whatever their number (min, max, bool_and, bool_or, sets), may be
//!   asked of keys too.
//! - *Overflow.* A total is exact, and fails when it does not fit its type, as the sum above does. The sum below may
//!   fail at a group where the total fits (2^63 − 1 and 1 in one, −1 in another): then the query has no answer and this has one.
//!   Never has either another answer.
//!
//! Source: Gray et al., "Data Cube" (1997), section 5, on distributive aggregates as super-aggregates of themselves.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;

use super::normalize::conjuncts;
use super::question::{Call, Function, Total, Unfit};
use super::sketch::Sketch;

/// The relation of columns that stand for aggregates below; no column of a source has a relation.
const BELOW: &str = "__adlake_groups";

/// The calls of the aggregate below, with the types of their answers.
pub(super) struct Groups {
    pub(super) calls: Vec<(Call, DataType)>,
}

/// A call of the aggregate above, expressed over the source's columns and [`aggregate_below`].
pub(super) struct Above<'a> {
    pub(super) name: &'a str,
    pub(super) argument: &'a Expr,
    /// Of the argument.
    pub(super) taken: &'a DataType,
    pub(super) answer: &'a DataType,
    pub(super) filter: Option<Expr>,
    /// The second argument, of sketches.
    pub(super) size: Option<i64>,
    /// Whether it is asked for groups, each of which has a row.
    pub(super) has_keys: bool,
}

/// Stands for what call `index` of the aggregate below answers.
pub(super) fn aggregate_below(index: usize) -> Expr {
    Expr::Column(Column::new(Some(BELOW), index.to_string()))
}

/// Whether the expression depends on an aggregate below.
pub(super) fn is_of_aggregates(expr: &Expr) -> bool {
    expr.exists(|part| Ok(index(part).is_some())).unwrap_or(true)
}

fn index(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) if column.relation.as_ref().is_some_and(|relation| relation.table() == BELOW) => {
            column.name.parse().ok()
        }
        _ => None,
    }
}

/// Whether a call of this name says the same of keys of groups and of the rows in them, each row having its group's.
pub(super) fn is_of_values(name: &str) -> bool {
    let is_of_a_set = Sketch::named(name, None).is_some_and(Sketch::is_of_a_set);
    is_of_a_set || matches!(name, "min" | "max" | "bool_and" | "bool_or" | "approx_distinct")
}

/// The call, asked of the rows below.
///
/// # Errors
/// It is not the same as anything that can be asked of them.
pub(super) fn of_rows(groups: &Groups, above: Above<'_>) -> Result<Call, Unfit> {
    let Above { name, argument, filter, .. } = &above;
    let unlike = || Unfit::Groups(format!("{name} over them is no aggregate of rows"));
    if filter.as_ref().is_some_and(is_of_aggregates) {
        return Err(Unfit::Groups("groups are chosen by its answers (FILTER)".to_owned()));
    }
    let (below, is_zero_for_null) = match (index(argument), or_zero(argument)) {
        (Some(below), _) => (below, false),
        (None, Some(below)) => (below, true),
        (None, None) => return Err(unlike()),
    };
    let Some((call, data_type)) = groups.calls.get(below) else { return Err(unlike()) };
    // With a zero of another type the answers would be of another type too.
    if *above.taken != *data_type {
        return Err(unlike());
    }
    let function = match (*name, call.function) {
        ("sum", Function::CountRows | Function::Count | Function::Sum) if *above.answer == DataType::Int64 => {
            return Ok(total(call, &above, is_zero_for_null));
        }
        ("sum", Function::DecimalSum) => return Ok(total(call, &above, is_zero_for_null)),
        _ if is_zero_for_null => return Err(unlike()),
        ("min", Function::Min) => Function::Min,
        ("max", Function::Max) => Function::Max,
        ("bool_and", Function::BoolAnd) => Function::BoolAnd,
        ("bool_or", Function::BoolOr) => Function::BoolOr,
        (_, Function::Sketch { kept, size }) => match Sketch::named(name, above.size) {
            // United twice, by two sizes: what is between is not kept.
            Some(union) if size == kept.size && kept.unites(union.kind, union.size) && is_union(union) => {
                Function::Sketch { kept, size: union.size }
            }
            _ => return Err(unlike()),
        },
        _ => return Err(unlike()),
    };
    let filter = both(call.filter.as_ref(), filter.as_ref());
    Ok(Call { function, argument: call.argument.clone(), filter, total: None })
}

fn is_union(sketch: Sketch) -> bool {
    sketch.of == super::sketch::SketchOf::Sketches
}

/// A sum of counts or sums.
fn total(below: &Call, above: &Above<'_>, is_zero_for_null: bool) -> Call {
    let counts = matches!(below.function, Function::CountRows | Function::Count);
    let groups = match (&below.total, is_zero_for_null) {
        // A sum of no values below is NULL and not counted above: the sum of all rows is as that.
        (None, false) if !counts => None,
        (Some(below), false) => Some(Total { filter: both(below.filter.as_ref(), above.filter.as_ref()) }),
        (_, _) => Some(Total { filter: above.filter.clone() }),
    };
    let is_never_empty = |total: &Total| counts && above.has_keys && total.filter.is_none();
    Call {
        function: below.function,
        argument: below.argument.clone(),
        filter: both(below.filter.as_ref(), above.filter.as_ref()),
        total: groups.filter(|total| !is_never_empty(total)),
    }
}

/// Rows that pass both.
fn both(one: Option<&Expr>, other: Option<&Expr>) -> Option<Expr> {
    let mut all: Vec<Expr> = Vec::new();
    for filter in [one, other].into_iter().flatten() {
        for conjunct in conjuncts(filter.clone()) {
            if !all.contains(&conjunct) {
                all.push(conjunct);
            }
        }
    }
    conjunction(all)
}

/// The aggregate below in `coalesce(…, 0)`.
fn or_zero(expr: &Expr) -> Option<usize> {
    let Expr::ScalarFunction(coalesce) = expr else { return None };
    let ("coalesce", [value, Expr::Literal(zero, _)]) = (coalesce.name(), coalesce.args.as_slice()) else {
        return None;
    };
    let is_zero = !zero.is_null() && ScalarValue::new_zero(&zero.data_type()).is_ok_and(|nothing| nothing == *zero);
    index(value).filter(|_| is_zero)
}
