//! Where our SQL differs from DataFusion's: integers never wrap, timestamps are microseconds in UTC, `now()` is the
//! engine's clock.

mod checked_arithmetic;
mod checked_distinct_sum;
mod checked_sum;
mod now;
mod types;

use std::sync::{Arc, LazyLock};

use datafusion::execution::{SessionState, SessionStateDefaults};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(super) use types::SqlTypes;

/// Scalar functions that replace DataFusion's of the same name.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(now::Now::new()))]
}

/// Aggregate functions that replace DataFusion's of the same name.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    vec![Arc::new(AggregateUDF::from(checked_sum::CheckedSum::new()))]
}

/// Rewrites that hold for every statement.
pub(super) fn add_rules(state: &mut SessionState) {
    state.add_analyzer_rule(Arc::new(checked_arithmetic::CheckedArithmetic::new()));
}

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names = Vec::new();
    for function in SessionStateDefaults::default_scalar_functions() {
        names.push(function.name().to_owned());
        names.extend(function.aliases().iter().cloned());
    }
    for function in SessionStateDefaults::default_aggregate_functions() {
        names.push(function.name().to_owned());
        names.extend(function.aliases().iter().cloned());
    }
    for function in SessionStateDefaults::default_window_functions() {
        names.push(function.name().to_owned());
        names.extend(function.aliases().iter().cloned());
    }
    names
});

/// `; did you mean 'count'?`, or nothing.
pub(super) fn suggestion(name: &str) -> String {
    crate::base::suggestion(name, NAMES.iter().map(String::as_str))
}
