//! Sketches: small summaries that merge, kept as BINARY in Apache DataSketches' own serialized form, so that its Java,
//! C++ and Python libraries read ours and we read theirs. A view can store them by day and a query union them by month.
//!
//! | function | gives |
//! |---|---|
//! | `hll_sketch(x [, lg_k])`, `theta_sketch(x [, lg_k])` | the distinct values of a group; 2^lg_k slots, 12 when not said |
//! | `hll_union(sketch [, lg_k])`, `theta_union(sketch [, lg_k])` | the values that are in any sketch of a group |
//! | `hll_combine(a, b)`, `theta_combine(a, b)` | the values in either |
//! | `theta_intersect(a, b)`, `theta_difference(a, b)` | the values in both; those in the first only |
//! | `hll_estimate(sketch)`, `theta_estimate(sketch)` | how many distinct values, DOUBLE |
//! | `hll_lower`, `hll_upper`, `theta_lower`, `theta_upper` | bounds of that: two standard deviations, about 95 % |
//! | `approx_distinct(x)` | `hll_estimate(hll_sketch(x))` to the nearest BIGINT |
//! | `kll_sketch(x [, k])`, `kll_merge(sketch [, k])` | the distribution of numbers (as DOUBLEs); k is 200 when not said |
//! | `kll_count(sketch)` | how many numbers, BIGINT, exact |
//! | `kll_quantile(sketch, q)` | the smallest number that at least the share q of all is not above, about; NULL of nothing |
//! | `kll_lower(sketch, q)`, `kll_upper(sketch, q)` | bounds of that: 99 % |
//!
//! NULLs are left out; so are empty texts from hll and theta, and NaN from kll, as in DataSketches. A group of nothing has
//! an empty sketch, of which the estimate is 0. What each type is hashed as: [`hash`].
//!
//! HLL and theta sketches depend on the values alone: in any order, in any parts (of one lg_k), united in any order, they have
//! the same bytes, and so the same estimate. So a view can store them in parts and be equal to its query.
//! - HLL keeps the largest rank seen in each slot; the bytes are in a normal form ([`hll`]).
//! - Theta keeps the 2^lg_k smallest hashes, and theta is the next one: both are a function of the set, since whatever is
//!   among the smallest of a union is among the smallest of each part that has it.
//!
//! KLL does so while it holds about k numbers. Beyond, which numbers it keeps is by chance, and two sketches of the same
//! numbers agree within the error of ranks only; `kll_count`, and the quantiles 0 and 1, are exact always.
//!
//! Bytes that are no such sketch are an error. The bytes come from tables anyone may write, so what the library takes on
//! trust is checked before it sees it.
//!
//! Sources: Flajolet et al., "HyperLogLog" (2007); Dasgupta et al., "A Framework for Estimating Stream Expression
//! Cardinalities" (2016); Karnin, Lang, Liberty, "Optimal Quantile Approximation in Streams" (2016).

mod aggregate;
mod distinct;
mod hash;
mod hll;
mod kll;
mod scalar;
mod theta;

use datafusion::common::DataFusionError;
use datafusion::common::exec_datafusion_err;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use aggregate::{Kind, Of, SketchAggregate};
use distinct::ApproxDistinct;
use scalar::{Call, SketchFunction};

pub(super) fn aggregates() -> impl Iterator<Item = AggregateUDF> {
    [hll(), theta(), kll()].into_iter().flatten().chain([AggregateUDF::from(ApproxDistinct::new())])
}

/// `hll_sketch` and `hll_union`.
pub(super) fn hll() -> [AggregateUDF; 2] {
    of_kind(Kind::Hll)
}

/// `theta_sketch` and `theta_union`.
pub(super) fn theta() -> [AggregateUDF; 2] {
    of_kind(Kind::Theta)
}

/// `kll_sketch` and `kll_merge`.
pub(super) fn kll() -> [AggregateUDF; 2] {
    of_kind(Kind::Kll)
}

fn of_kind(kind: Kind) -> [AggregateUDF; 2] {
    [Of::Values, Of::Sketches].map(|of| AggregateUDF::from(SketchAggregate::new(kind, of)))
}

/// Sketch of `hll_sketch` → what `approx_distinct` gives.
pub(super) fn hll_distinct() -> ScalarUDF {
    ScalarUDF::from(SketchFunction::new(Call::HllDistinct))
}

pub(super) fn scalars() -> impl Iterator<Item = ScalarUDF> {
    Call::ALL.into_iter().map(|call| ScalarUDF::from(SketchFunction::new(call)))
}

/// Bytes that are not the sketch they are used as. `kind` with its article.
fn damaged(kind: &str, why: impl std::fmt::Display) -> DataFusionError {
    exec_datafusion_err!("the bytes are not {kind} sketch: {why}")
}

#[cfg(test)]
mod tests;
