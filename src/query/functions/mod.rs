//! Where our SQL differs from DataFusion's: integers never wrap, timestamps are microseconds in UTC, `now()` is the
//! engine's clock.

mod checked_arithmetic;
mod checked_sum;
mod now;
mod types;

use std::sync::Arc;

use datafusion::execution::SessionState;
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
