//! The times of one side of a join that the times of the other side bound.
//!
//! ```text
//! conversions.event_time >= clicks.event_time AND conversions.event_time < clicks.event_time + INTERVAL '7 days'
//!   ⟹ clicks.event_time ∈ (conversions.event_time − 7 days, conversions.event_time]
//! ```
//! Every conjunct that compares an expression near a time of the one side with one near a time of the other gives an end.

use std::collections::BTreeMap;

use datafusion::common::{DFSchema, NullEquality};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator};

use super::lineage::Asked;
use super::normalize::conjuncts;
use super::offset::{Offset, Shape};
use super::origin::{Apart, By, apart};
use super::time::Grain;

/// A conjunct of a join's condition: an expression near a time of the left side, compared with one of the right.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    pub(super) left: Offset,
    pub(super) op: Operator,
    pub(super) right: Offset,
    /// Whether two NULLs meet too.
    pub(super) nulls_meet: bool,
}

/// The comparisons of the two sides in a join's own condition and among `conditions`; columns are those of each side.
pub(super) fn comparisons(join: &Join, conditions: &[Expr]) -> Vec<Comparison> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let nulls_meet = join.null_equality == NullEquality::NullEqualsNull;
    let equal = join.on.iter().filter_map(|(one, other)| {
        let (left, right) = Offset::of(one, left).zip(Offset::of(other, right))?;
        Some(Comparison { left, op: Operator::Eq, right, nulls_meet })
    });
    let mut all: Vec<Comparison> = equal.collect();
    let Ok(both) = left.join(right) else { return all };
    let filter = join.filter.clone().map(conjuncts).unwrap_or_default();
    all.extend(filter.iter().chain(conditions).filter_map(|conjunct| comparison(conjunct, left.fields().len(), &both)));
    all
}

fn comparison(conjunct: &Expr, left_count: usize, both: &DFSchema) -> Option<Comparison> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { return None };
    let (one, two) = (Offset::of(left, both)?, Offset::of(right, both)?);
    let of_right = |offset: Offset| Offset { column: offset.column - left_count, ..offset };
    let (left, op, right) = match (one.column < left_count, two.column < left_count) {
        (true, false) => (one, *op, of_right(two)),
        (false, true) => (two, op.swap()?, of_right(one)),
        _ => return None,
    };
    Some(Comparison { left, op, right, nulls_meet: false })
}

/// A join, seen from the column that a time is asked of.
pub(super) struct Sides<'a> {
    join: &'a Join,
    pub(super) own: &'a LogicalPlan,
    pub(super) other: &'a LogicalPlan,
    pub(super) own_is_left: bool,
    /// The column, in the columns of `own`.
    pub(super) column: usize,
    grain: Grain,
}

/// How much later than the asked column one of the other side is; or that it is of the very times asked for, moved by so much.
#[derive(Clone, Copy, Default)]
struct Later {
    by: Apart,
    same: Option<i64>,
}

impl<'a> Sides<'a> {
    /// None: the column may be of a side that is missing.
    pub(super) fn of(join: &'a Join, column: usize, grain: Grain) -> Option<Self> {
        let left = join.left.schema().fields().len();
        let (own_is_left, column) = match join.join_type {
            JoinType::Inner | JoinType::Left if column < left => (true, column),
            JoinType::Inner | JoinType::Right if column >= left => (false, column - left),
            JoinType::LeftSemi | JoinType::LeftAnti => (true, column),
            JoinType::RightSemi | JoinType::RightAnti => (false, column),
            _ => return None,
        };
        let (own, other) = if own_is_left { (&join.left, &join.right) } else { (&join.right, &join.left) };
        Some(Self { join, own, other, own_is_left, column, grain })
    }

    /// For each column of the other side that is bounded at both ends the times of it that rows of the asked times can meet.
    /// `conditions` hold of all rows that count; they may be the join's own.
    pub(super) fn needed(&self, asked: Asked, conditions: &[Expr]) -> Vec<Asked> {
        let asked = Asked { column: self.column, ..asked };
        // NOT IN looks at every row of the other side.
        if self.join.null_aware {
            return Vec::new();
        }
        let mut later: BTreeMap<usize, Later> = BTreeMap::new();
        for comparison in comparisons(self.join, conditions) {
            let (own, other, by) = match self.own_is_left {
                true => (comparison.left, comparison.right, comparison.left_later().reversed()),
                false => (comparison.right, comparison.left, comparison.left_later()),
            };
            // The asked column is never NULL, so that no two NULLs meet by it.
            if comparison.nulls_meet && own.column != asked.column {
                continue;
            }
            let own_later = apart(self.own, own.column, asked.column, By::Conditions(conditions));
            let entry = later.entry(other.column).or_default();
            entry.by = entry.by.and(own_later.plus(by));
            if comparison.op == Operator::Eq && own_later == Apart::NOT {
                entry.same = entry.same.or(self.same(asked, own, other));
            }
        }
        later.into_iter().filter_map(|(column, later)| later.times(asked, column)).collect()
    }

    /// The asked column and the other one are cut alike to the same value: the times of the other are the asked ones, moved.
    fn same(&self, asked: Asked, own: Offset, other: Offset) -> Option<i64> {
        let by = |offset: Offset| match offset.shape {
            Shape::Moved(by) => Some((by, None)),
            Shape::Cut(by, grain) => Some((by, Some(grain))),
            Shape::Near => None,
        };
        let ((own_by, own_grain), (other_by, other_grain)) = (by(own)?, by(other)?);
        let value = asked.widened(-own_by, own_by, asked.column).ok()?;
        let mut grains = own_grain.into_iter().chain(other_grain);
        grains.all(|grain| value.is_whole(grain, self.grain)).then_some(own_by - other_by)
    }
}

impl Later {
    fn times(self, asked: Asked, column: usize) -> Option<Asked> {
        if let Some(by) = self.same {
            return asked.widened(-by, by, column).ok();
        }
        let (least, most) = (self.by.least?, self.by.most?);
        // Bounds that exclude each other let no rows meet; any times will do.
        asked.widened(least.checked_neg()?, most.max(least), column).ok()
    }
}
