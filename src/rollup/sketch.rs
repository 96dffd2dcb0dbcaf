//! Sketches as parts: which aggregate makes them, and which unites them.
//!
//! HLL and theta sketches depend on the values alone, so a sketch of all rows *is* the union of sketches of parts, to the byte.
//! KLL keeps numbers by chance: united parts agree with the sketch of all rows within its error only, so no query is answered
//! from stored ones that has not asked for them (RW-1), and views that hold them are compared otherwise ([`super::chance`]).

use std::sync::Arc;

use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, lit};

use super::functions::{Functions, Sketching};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SketchKind {
    Hll,
    Theta,
    Kll,
}

/// What is sketched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SketchOf {
    Values,
    Sketches,
}

/// A sketch as an aggregate makes it; `size` is its second argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sketch {
    pub kind: SketchKind,
    pub of: SketchOf,
    pub size: Option<i64>,
}

impl Sketch {
    /// The sketch that the aggregate called `name` makes.
    pub(super) fn named(name: &str, size: Option<i64>) -> Option<Self> {
        let (kind, of) = match name {
            "hll_sketch" => (SketchKind::Hll, SketchOf::Values),
            "hll_union" => (SketchKind::Hll, SketchOf::Sketches),
            "theta_sketch" => (SketchKind::Theta, SketchOf::Values),
            "theta_union" => (SketchKind::Theta, SketchOf::Sketches),
            "kll_sketch" => (SketchKind::Kll, SketchOf::Values),
            "kll_merge" => (SketchKind::Kll, SketchOf::Sketches),
            _ => return None,
        };
        Some(Self { kind, of, size })
    }

    /// What `approx_distinct` counts.
    pub(super) const DISTINCT: Self = Self { kind: SketchKind::Hll, of: SketchOf::Values, size: None };

    /// Whether it depends on the values alone, each of them counting once.
    pub(super) fn is_of_a_set(self) -> bool {
        match self.kind {
            SketchKind::Hll | SketchKind::Theta => true,
            SketchKind::Kll => false,
        }
    }

    /// Whether a union of size `size` of sketches like this one, of groups, is the same union of any parts of those groups.
    pub(super) fn unites(self, kind: SketchKind, size: Option<i64>) -> bool {
        self.kind == kind
            && match kind {
                SketchKind::Hll | SketchKind::Kll => true,
                // A larger union would tell by the number of parts how many values each has left out.
                SketchKind::Theta => self.size == size,
            }
    }

    /// Base rows → sketch.
    pub(super) fn partial(self, functions: &Functions) -> &Arc<AggregateUDF> {
        let Sketching { sketch, union } = functions.sketching(self.kind);
        match self.of {
            SketchOf::Values => sketch,
            SketchOf::Sketches => union,
        }
    }

    /// Sketches → the sketch of all of them.
    pub(super) fn union(self, functions: &Functions) -> &Arc<AggregateUDF> {
        &functions.sketching(self.kind).union
    }
}

/// A call that makes or unites sketches.
pub(super) fn call(function: &Arc<AggregateUDF>, argument: Expr, size: Option<i64>, filter: Option<Box<Expr>>) -> Expr {
    let arguments = [Some(argument), size.map(lit)].into_iter().flatten().collect();
    Expr::AggregateFunction(AggregateFunction::new_udf(function.clone(), arguments, false, filter, Vec::new(), None))
}
