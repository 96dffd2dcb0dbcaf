//! How far two columns of the same row can be from each other, both being times.

use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan, Operator};

use super::bounds::{Comparison, comparisons};
use super::normalize::conjuncts;
use super::offset::Offset;
use super::time::Reach;

/// Ends of a difference in microseconds, both included; none: it has no such end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) least: Option<i64>,
    pub(super) most: Option<i64>,
}

impl Apart {
    pub(super) const NOT: Self = Self { least: Some(0), most: Some(0) };

    /// The difference of a sum.
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = |one: Option<i64>, other: Option<i64>| one?.checked_add(other?);
        Self { least: sum(self.least, other.least), most: sum(self.most, other.most) }
    }

    /// Both hold.
    pub(super) fn and(self, other: Self) -> Self {
        let most = match (self.most, other.most) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { least: self.least.max(other.least), most }
    }

    /// The difference the other way round.
    pub(super) fn reversed(self) -> Self {
        let negated = |end: Option<i64>| end?.checked_neg();
        Self { least: negated(self.most), most: negated(self.least) }
    }

    /// Of an expression from its column.
    pub(super) fn of(offset: Offset) -> Self {
        Self { least: Some(offset.least), most: Some(offset.most) }
    }
}

/// How one column is told from another.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// Both are made of one column below, so that neither is NULL without the other.
    Origin,
    /// Conditions of joins count too; these hold of all rows that are looked at.
    Conditions(&'a [Expr]),
}

impl By<'_> {
    /// Where columns have other names.
    fn below(self) -> Self {
        match self {
            Self::Origin => Self::Origin,
            Self::Conditions(_) => Self::Conditions(&[]),
        }
    }
}

/// By how much `column` is later than `than` in every row of the plan where neither is NULL.
pub(super) fn apart(plan: &LogicalPlan, column: usize, than: usize, by: By) -> Apart {
    if column == than {
        return Apart::NOT;
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => apart(&alias.input, column, than, by.below()),
        LogicalPlan::Sort(sort) => apart(&sort.input, column, than, by.below()),
        LogicalPlan::Distinct(Distinct::All(input)) => apart(input, column, than, by.below()),
        LogicalPlan::Filter(filter) => {
            let By::Conditions(above) = by else { return apart(&filter.input, column, than, by) };
            let conditions = [conjuncts(filter.predicate.clone()), above.to_vec()].concat();
            apart(&filter.input, column, than, By::Conditions(&conditions))
        }
        LogicalPlan::Window(window) if column.max(than) < window.input.schema().fields().len() => {
            apart(&window.input, column, than, by.below())
        }
        LogicalPlan::Projection(projection) => {
            through((projection.expr.get(column), projection.expr.get(than)), &projection.input, by)
        }
        // Any row of a group has its keys.
        LogicalPlan::Aggregate(aggregate) => {
            let keys = &aggregate.group_expr;
            through((keys.get(column), keys.get(than)), &aggregate.input, by)
        }
        LogicalPlan::Join(join) => across(join, column, than, by),
        _ => Apart::default(),
    }
}

fn through((column, than): (Option<&Expr>, Option<&Expr>), input: &LogicalPlan, by: By) -> Apart {
    let offset = |expr: Option<&Expr>| Offset::of(expr?, input.schema());
    let Some((one, other)) = offset(column).zip(offset(than)) else { return Apart::default() };
    // What `date_bin` does not know is NULL, and its column is not.
    if matches!(by, By::Origin) && one.reach.and(other.reach) == Reach::Domain {
        return Apart::default();
    }
    let below = apart(input, one.column, other.column, by.below());
    below.plus(Apart::of(one)).plus(Apart::of(other).reversed())
}

/// Rows of a join that have both columns meet its condition.
fn across(join: &Join, column: usize, than: usize, by: By) -> Apart {
    let left_count = join.left.schema().fields().len();
    let of_left = |column: usize| match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => column < left_count,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
    };
    let by = if join.join_type == JoinType::Inner { by } else { by.below() };
    let right = |column: usize| column.checked_sub(left_count).unwrap_or(column);
    match (of_left(column), of_left(than)) {
        (true, true) if column.max(than) < left_count => apart(&join.left, column, than, by),
        (false, false) => apart(&join.right, right(column), right(than), by),
        (true, false) => between_sides(join, column, right(than), by),
        (false, true) => between_sides(join, than, right(column), by).reversed(),
        (true, true) => Apart::default(),
    }
}

/// By how much a column of the left side is later than one of the right.
fn between_sides(join: &Join, left: usize, right: usize, by: By) -> Apart {
    let By::Conditions(conditions) = by else { return Apart::default() };
    let mut all = Apart::default();
    for comparison in comparisons(join, conditions) {
        let (own, other) = (comparison.left.column, comparison.right.column);
        // Two NULLs that meet tell nothing of the columns asked for, unless they are these.
        if comparison.nulls_meet && own != left && other != right {
            continue;
        }
        let to = apart(&join.left, left, own, by.below());
        let from = apart(&join.right, other, right, by.below());
        all = all.and(to.plus(comparison.left_later()).plus(from));
    }
    all
}

impl Comparison {
    /// By how much the left column is later than the right one.
    pub(super) fn left_later(&self) -> Apart {
        // left + (left offset) op right + (right offset)
        let all = Apart::of(self.right).plus(Apart::of(self.left).reversed());
        Apart {
            least: all.least.filter(|_| matches!(self.op, Operator::Eq | Operator::Gt | Operator::GtEq)),
            most: all.most.filter(|_| matches!(self.op, Operator::Eq | Operator::Lt | Operator::LtEq)),
        }
    }
}
