//! Where our SQL differs from DataFusion's: integers never wrap, averages of integers are exact, decimals beside DOUBLEs are
//! DOUBLEs, quotients of decimals keep their digits, timestamps are microseconds in UTC, `now()` is the engine's clock, values do not grow without bounds; and what DataFusion has not:
//! sketches, and the functions that plans of `rollup` call.

mod bounded;
mod caller;
mod checked_arithmetic;
mod checked_distinct_sum;
mod checked_sum;
mod exact_average;
mod mask;
mod now;
mod nullable;
mod numbers;
mod partial_sum;
mod product;
mod quotient;
mod sketch;
mod types;
mod zoned;

use std::sync::{Arc, LazyLock};

use datafusion::execution::{SessionState, SessionStateDefaults};
use datafusion::functions_aggregate;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use crate::rollup;
use exact_average::{AverageOfParts, ExactAverage};
use partial_sum::{PartialSum, Step};

pub(super) use caller::{CURRENT_ATTRIBUTE, CURRENT_USER, Caller, depends_on_caller};
pub(super) use mask::{MASK_HASH, mask_hash};
pub(super) use numbers::settled as settled_numbers;
pub(super) use types::{SqlTypes, refuse_numbers_as_times};

/// Functions whose names begin so are ours to call, in plans; users are not shown them.
const INTERNAL_PREFIX: &str = "adlake_";

/// Whether lists of functions show the name.
pub(super) fn is_shown(name: &str) -> bool {
    !name.starts_with(INTERNAL_PREFIX)
}

/// Our scalar functions; those named as one of DataFusion's replace it.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let of_caller =
        [caller::OfCaller::user(), caller::OfCaller::attribute()].map(|asked| Arc::new(ScalarUDF::from(asked)));
    let ours = [Arc::new(ScalarUDF::from(now::Now::new())), average()].into_iter().chain(of_caller);
    let bounded = SessionStateDefaults::default_scalar_functions().into_iter().filter_map(bounded::bounded);
    let zoned = SessionStateDefaults::default_scalar_functions().into_iter().filter_map(zoned::zoned);
    ours.chain(sketch::scalars().map(Arc::new)).chain(bounded).chain(zoned).collect()
}

/// Our aggregate functions; those named as one of DataFusion's replace it.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let exact = [sum(), Arc::new(AggregateUDF::from(ExactAverage::new()))];
    let parts = [Step::Partial, Step::Fold, Step::Merge].map(part);
    exact.into_iter().chain(parts).chain(sketch::aggregates().map(Arc::new)).collect()
}

fn sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(checked_sum::CheckedSum::new()))
}

fn part(step: Step) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(PartialSum::new(step)))
}

fn average() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(AverageOfParts::new()))
}

/// The functions that plans of `rollup` call: the session's own, so that a plan made there equals one made of SQL.
pub(in crate::query) fn rollup(state: &SessionState) -> rollup::Functions {
    let aggregate = |built_in: Arc<AggregateUDF>| -> Arc<AggregateUDF> {
        state.aggregate_functions().get(built_in.name()).cloned().unwrap_or(built_in)
    };
    let scalar = |built_in: Arc<ScalarUDF>| -> Arc<ScalarUDF> {
        state.scalar_functions().get(built_in.name()).cloned().unwrap_or(built_in)
    };
    let sketching = |[sketch, union]: [AggregateUDF; 2]| rollup::Sketching {
        sketch: aggregate(Arc::new(sketch)),
        union: aggregate(Arc::new(union)),
    };
    rollup::Functions {
        count: aggregate(functions_aggregate::count::count_udaf()),
        sum: aggregate(sum()),
        min: aggregate(functions_aggregate::min_max::min_udaf()),
        max: aggregate(functions_aggregate::min_max::max_udaf()),
        bool_and: aggregate(functions_aggregate::bool_and_or::bool_and_udaf()),
        bool_or: aggregate(functions_aggregate::bool_and_or::bool_or_udaf()),
        partial_sum: aggregate(part(Step::Partial)),
        fold_sum: aggregate(part(Step::Fold)),
        merge_sum: aggregate(part(Step::Merge)),
        average: scalar(average()),
        coalesce: scalar(datafusion::functions::core::coalesce()),
        hll: sketching(sketch::hll()),
        theta: sketching(sketch::theta()),
        kll: sketching(sketch::kll()),
        hll_distinct: scalar(Arc::new(sketch::hll_distinct())),
    }
}

/// Whether an aggregate or window function may answer otherwise over the same rows: it keeps some of them by chance, or takes
/// them in the order in which threads bring them.
pub(in crate::query) fn depends_on_chance(name: &str) -> bool {
    const BY_ORDER: [&str; 3] = ["approx_median", "approx_percentile_cont", "approx_percentile_cont_with_weight"];
    sketch::kll().iter().any(|sketch| sketch.name() == name) || BY_ORDER.contains(&name)
}

/// Rewrites that hold for every statement, in order: before DataFusion settles types, and after.
pub(super) fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let coercion = rules.iter().position(|rule| rule.name() == TypeCoercion::new().name()).unwrap_or(rules.len());
    rules.insert(coercion, Arc::new(numbers::Numbers));
    rules.insert(coercion, Arc::new(nullable::NullableSubqueries));
    rules.push(Arc::new(checked_arithmetic::CheckedArithmetic::new()));
    rules
}

/// What plans expressions of SQL.
pub(super) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.push(Arc::new(quotient::Quotients));
    planners
}

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names = Vec::new();
    let mut add = |name: &str, aliases: &[String]| {
        names.push(name.to_owned());
        names.extend(aliases.iter().cloned());
    };
    for function in SessionStateDefaults::default_scalar_functions().into_iter().chain(scalar()) {
        add(function.name(), function.aliases());
    }
    for function in SessionStateDefaults::default_aggregate_functions().into_iter().chain(aggregate()) {
        add(function.name(), function.aliases());
    }
    for function in SessionStateDefaults::default_window_functions() {
        add(function.name(), function.aliases());
    }
    names.retain(|name| is_shown(name));
    names
});

/// `; did you mean 'count'?`, or nothing.
pub(super) fn suggestion(name: &str) -> String {
    crate::base::suggestion(name, NAMES.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
