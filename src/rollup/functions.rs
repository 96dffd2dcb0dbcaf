//! The functions that plans of this module call. Query makes them; the algebra only names them.

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::sketch::SketchKind;

/// See each field; all are registered with the engine too.
#[derive(Clone, Debug)]
pub struct Functions {
    pub count: Arc<AggregateUDF>,
    /// The engine's own: integers without wrapping, decimals widened.
    pub sum: Arc<AggregateUDF>,
    pub min: Arc<AggregateUDF>,
    pub max: Arc<AggregateUDF>,
    pub bool_and: Arc<AggregateUDF>,
    pub bool_or: Arc<AggregateUDF>,
    /// BIGINT → DECIMAL(38,0): a sum that may leave BIGINT until it is merged.
    pub partial_sum: Arc<AggregateUDF>,
    /// DECIMAL(38,0) → DECIMAL(38,0).
    pub fold_sum: Arc<AggregateUDF>,
    /// DECIMAL(38,0) → BIGINT; an error when the total does not fit.
    pub merge_sum: Arc<AggregateUDF>,
    /// (DECIMAL(38,0) total, BIGINT count) → DOUBLE, bit-equal to `avg` of integers; NULL when the count is 0.
    pub average: Arc<ScalarUDF>,
    pub coalesce: Arc<ScalarUDF>,
    pub hll: Sketching,
    pub theta: Sketching,
    pub kll: Sketching,
    /// The sketch of `hll` (of values, of no size said) → how many distinct values, BIGINT: what `approx_distinct` gives.
    pub hll_distinct: Arc<ScalarUDF>,
}

/// The aggregates of one kind of sketch. Both take a size as second argument; the answer is BINARY, never NULL.
#[derive(Clone, Debug)]
pub struct Sketching {
    /// Values → their sketch.
    pub sketch: Arc<AggregateUDF>,
    /// Sketches → the sketch of all their values. NULLs are left out.
    pub union: Arc<AggregateUDF>,
}

impl Functions {
    pub(super) fn sketching(&self, kind: SketchKind) -> &Sketching {
        match kind {
            SketchKind::Hll => &self.hll,
            SketchKind::Theta => &self.theta,
            SketchKind::Kll => &self.kll,
        }
    }
}
