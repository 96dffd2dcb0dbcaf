//! Which columns of a plan are by chance: two runs over the same rows give them differently.
//!
//! ```text
//! kll_sketch(x) AS s, count(*) AS n        ─►  s: a sketch, n: certain
//! kll_quantile(s, 0.5) AS median, n        ─►  median: derived, n: certain
//! … WHERE median > 3                       ─►  which rows there are is by chance: no view
//! ```
//! KLL sketches keep numbers by chance, and DataFusion's `approx_percentile_cont` depends on the order of rows. Such columns agree
//! within an error that is known; VERIFY compares what of them is exact. (Sums of floating-point numbers are not looked at here:
//! they are off by roundings only, and money is none.)

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::normalize::{is_percentile, without_alias};
use super::question::Unfit;
use super::sketch::{Sketch, SketchKind};

/// How far a column is the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    Certain,
    /// A KLL sketch: how many numbers it has, the least and the greatest are certain.
    Sketch,
    /// Made of something that is by chance.
    Derived,
}

/// That of every column of the plan.
///
/// # Errors
/// Which rows there are is by chance.
pub(super) fn certainties(plan: &LogicalPlan) -> Result<Vec<Certainty>, Unfit> {
    let inputs = plan.inputs().into_iter().map(certainties).collect::<Result<Vec<_>, _>>()?;
    let below = Below { plan, columns: inputs.concat() };
    let count = plan.schema().fields().len();
    match plan {
        LogicalPlan::Projection(projection) => Ok(projection.expr.iter().map(|expr| below.expr(expr)).collect()),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => Ok(below.columns),
        LogicalPlan::Filter(filter) => {
            below.all_certain(std::slice::from_ref(&filter.predicate), "rows are chosen by")?;
            Ok(below.columns)
        }
        LogicalPlan::Aggregate(aggregate) => {
            below.all_certain(&aggregate.group_expr, "groups are made by")?;
            // Grouping sets have more columns than expressions.
            let keys = std::iter::repeat_n(Certainty::Certain, count - aggregate.aggr_expr.len());
            Ok(keys.chain(aggregate.aggr_expr.iter().map(|expr| below.call(expr))).collect())
        }
        LogicalPlan::Window(window) => {
            let windows = window.window_expr.iter().map(|expr| below.expr(expr));
            Ok(below.columns.iter().copied().chain(windows).collect())
        }
        LogicalPlan::Union(_) => {
            let of = |index: usize| below.columns.iter().skip(index).step_by(count).max().copied();
            Ok((0..count).map(|index| of(index).unwrap_or(Certainty::Certain)).collect())
        }
        LogicalPlan::Join(_) if below.columns.len() == count => {
            below.all_certain(&plan.expressions(), "rows are joined by")?;
            Ok(below.columns)
        }
        _ => match below.columns.iter().all(|column| *column == Certainty::Certain) {
            true => Ok(vec![Certainty::Certain; count]),
            false => Err(Unfit::Chance(format!("rows are chosen by {}", plan.display()))),
        },
    }
}

/// What expressions of a plan's node are made of.
struct Below<'a> {
    plan: &'a LogicalPlan,
    /// Those of all its inputs, one input after the other.
    columns: Vec<Certainty>,
}

impl Below<'_> {
    fn all_certain(&self, exprs: &[Expr], what: &str) -> Result<(), Unfit> {
        match exprs.iter().find(|expr| self.expr(expr) != Certainty::Certain) {
            Some(expr) => Err(Unfit::Chance(format!("{what} {expr}"))),
            None => Ok(()),
        }
    }

    fn column(&self, column: &Column) -> Option<Certainty> {
        let mut start = 0;
        for input in self.plan.inputs() {
            if let Some(index) = input.schema().maybe_index_of_column(column) {
                return self.columns.get(start + index).copied();
            }
            start += input.schema().fields().len();
        }
        None
    }

    fn expr(&self, expr: &Expr) -> Certainty {
        if let Expr::Column(column) = without_alias(expr) {
            return self.column(column).unwrap_or(Certainty::Certain);
        }
        let mut is_certain = true;
        let walked = expr.apply(|part| {
            is_certain &= match part {
                Expr::Column(column) => self.column(column).unwrap_or(Certainty::Certain) == Certainty::Certain,
                Expr::AggregateFunction(call) => !is_by_chance(call.func.name()),
                Expr::WindowFunction(call) => !is_by_chance(call.fun.name()),
                Expr::ScalarSubquery(asked) => is_all_certain(&asked.subquery),
                Expr::Exists(exists) => is_all_certain(&exists.subquery.subquery),
                Expr::InSubquery(within) => is_all_certain(&within.subquery.subquery),
                _ => true,
            };
            Ok(TreeNodeRecursion::Continue)
        });
        match walked.is_ok() && is_certain {
            true => Certainty::Certain,
            false => Certainty::Derived,
        }
    }

    /// Of a call of an aggregate.
    fn call(&self, expr: &Expr) -> Certainty {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = without_alias(expr) else {
            return self.expr(expr);
        };
        let inputs = params.args.iter().map(|argument| self.expr(argument));
        let is_filter_certain = params.filter.iter().all(|filter| self.expr(filter) == Certainty::Certain);
        match inputs.max().unwrap_or(Certainty::Certain) {
            Certainty::Certain | Certainty::Sketch if is_filter_certain && is_kll(func.name()) => Certainty::Sketch,
            Certainty::Certain if is_filter_certain && !is_by_chance(func.name()) => Certainty::Certain,
            _ => Certainty::Derived,
        }
    }
}

fn is_kll(function: &str) -> bool {
    Sketch::named(function, None).is_some_and(|sketch| sketch.kind == SketchKind::Kll)
}

pub(super) fn is_by_chance(function: &str) -> bool {
    is_kll(function) || is_percentile(function)
}

fn is_all_certain(plan: &LogicalPlan) -> bool {
    certainties(plan).is_ok_and(|columns| columns.iter().all(|column| *column == Certainty::Certain))
}
