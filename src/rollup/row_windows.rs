//! The windows of time that finished rows are in, by a column that is a time of their sources. When rows are replaced, changes are
//! told by them.
//!
//! A design by partitions has such a column ([`PartitionDesign`](super::PartitionDesign)). Of a view that is kept in full one is
//! looked for, from each output column down:
//!
//! | node | the column's times are those of |
//! |---|---|
//! | projection, group key | the column that the expression is, cut to a grain or moved ahead ([`Offset`]) |
//! | filter, alias, DISTINCT, window functions | the input |
//! | join | the side that is always there |
//! | UNION ALL | all inputs |
//! | stored rows of another view | that view's windows, by the same column |
//!
//! And two runs over the same sources have to give the same rows; if not, they differ though nothing has changed.
//!
//! Not here: which rows of the sources those of one window depend on (`lineage`). In full all of them are run again.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};

use super::bounds::Sides;
use super::chance::certainties;
use super::lineage::Relations;
use super::normalize::public_name;
use super::obstacle::Obstacle;
use super::offset::{Offset, Shape};
use super::orderless;
use super::partials::column;
use super::partition::{is_key, stored_type};
use super::question::Unfit;
use super::strategy::{RelationKind, unrepeatable};
use super::time::{Grain, is_time};
use super::times::Times;
use crate::base::Timestamp;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWindows {
    /// The column, as it is called in the rows.
    pub key: String,
    /// Times of one grain are one window.
    pub grain: Grain,
    /// Microseconds that times of the column may be ahead of those of the source.
    pub ahead: i64,
}

impl RowWindows {
    /// By the first column that is a time of a table of events; without one, by the first that is a time of any table.
    ///
    /// # Errors
    /// There is none, or rows may differ though nothing has changed.
    pub(super) fn of(plan: &LogicalPlan, relations: &Relations) -> Result<Self, Obstacle> {
        let times = plan.schema().fields().iter().enumerate().filter(|(_, field)| is_key(field.data_type()));
        let traced = times.filter_map(|(place, field)| Some((field.name(), origin(plan, place, relations)?)));
        let traced: Vec<_> = traced.collect();
        let chosen = traced.iter().find(|(_, origin)| origin.is_of_events).or(traced.first());
        let (key, Origin { grain, ahead, .. }) = chosen.ok_or(Obstacle::NoTime)?;
        check_repeatable(plan, relations)?;
        Ok(Self { key: key.to_string(), grain: grain.unwrap_or(Grain::HOUR), ahead: *ahead })
    }

    /// Where the window of a time begins: windows before it were over at that time. None: outside the calendar.
    pub fn start(&self, time: Timestamp) -> Option<Timestamp> {
        self.grain.floor(time.micros()).map(Timestamp)
    }

    /// Passed by the stored rows of these times; `stored` is their schema.
    pub fn stored_inside(&self, times: &Times, stored: &Schema) -> Expr {
        times.inside(&column(&self.key), &stored_type(&self.key, stored))
    }
}

/// Where the times of a column come from.
#[derive(Clone, Copy)]
struct Origin {
    /// None: they are moments.
    grain: Option<Grain>,
    ahead: i64,
    is_of_events: bool,
}

impl Origin {
    /// Of an expression over the column.
    fn through(self, offset: Offset) -> Option<Self> {
        let grain = match (offset.shape, self.grain) {
            (Shape::Near, _) => return None,
            (Shape::Moved(_), below) => below,
            (Shape::Cut(_, grain), None) => Some(grain),
            (Shape::Cut(0, grain), Some(below)) => Some(coarser(grain, below)?),
            (Shape::Cut(..), Some(_)) => return None,
        };
        // Moved back, a window would be over before its rows are there.
        let ahead = (offset.most >= 0).then(|| self.ahead.checked_add(offset.most))??;
        Some(Self { grain, ahead, ..self })
    }

    /// Of rows of both.
    fn and(self, other: Self) -> Option<Self> {
        let grain = match (self.grain, other.grain) {
            (Some(one), Some(two)) => Some(coarser(one, two)?),
            (one, two) => one.or(two),
        };
        let is_of_events = self.is_of_events || other.is_of_events;
        Some(Self { grain, ahead: self.ahead.max(other.ahead), is_of_events })
    }
}

/// The grain whose boundaries are all boundaries of the other too.
fn coarser(one: Grain, two: Grain) -> Option<Grain> {
    match (one.divides(two), two.divides(one)) {
        (true, _) => Some(two),
        (false, true) => Some(one),
        (false, false) => None,
    }
}

fn origin(plan: &LogicalPlan, column: usize, relations: &Relations) -> Option<Origin> {
    let through = |expr: &Expr, input: &LogicalPlan| {
        let offset = Offset::of(expr, input.schema())?;
        origin(input, offset.column, relations)?.through(offset)
    };
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan, column, relations),
        LogicalPlan::Projection(projection) => through(projection.expr.get(column)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => through(aggregate.group_expr.get(column)?, &aggregate.input),
        LogicalPlan::Join(join) => {
            let sides = Sides::of(join, column, Grain::HOUR)?;
            origin(sides.own, sides.column, relations)
        }
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| origin(input, column, relations));
            let first = inputs.next()??;
            inputs.try_fold(first, |all, one| all.and(one?))
        }
        LogicalPlan::Window(window) if column >= window.input.schema().fields().len() => None,
        LogicalPlan::Window(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => origin(plan.inputs().first()?, column, relations),
        _ => None,
    }
}

fn of_scan(scan: &TableScan, column: usize, relations: &Relations) -> Option<Origin> {
    let field = scan.projected_schema.field(column);
    let table = public_name(&scan.table_name)?;
    let kind = (relations.kind)(table)?;
    let (grain, ahead) = match kind {
        RelationKind::Events | RelationKind::Plain | RelationKind::Snapshot => match field.data_type() {
            DataType::Date32 => (Some(Grain::DAY), 0),
            time if is_time(time) => (None, 0),
            _ => return None,
        },
        RelationKind::FullView => {
            let below = (relations.windows)(table).filter(|below| below.key == *field.name())?;
            (Some(below.grain), below.ahead)
        }
    };
    let is_of_events = match kind {
        RelationKind::Events | RelationKind::FullView => true,
        RelationKind::Plain | RelationKind::Snapshot => false,
    };
    Some(Origin { grain, ahead, is_of_events })
}

/// # Errors
/// What may make two runs over the same tables differ, other than in columns that are known to be by chance.
fn check_repeatable(plan: &LogicalPlan, relations: &Relations) -> Result<(), Obstacle> {
    let obstacle = |unfit: Unfit| match unfit {
        Unfit::Limit => Obstacle::Node("LIMIT"),
        other => Obstacle::Unrepeatable(other.to_string()),
    };
    if let Some(unfit) = unrepeatable(plan) {
        return Err(obstacle(unfit));
    }
    certainties(plan).map_err(obstacle)?;
    orderless::check_compared(plan, relations)?;
    let mut unknown = None;
    let walk = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && public_name(&scan.table_name).and_then(|table| (relations.kind)(table)).is_none()
        {
            unknown = Some(scan.table_name.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match (walk, unknown) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(table)) => Err(Obstacle::NotATable(table)),
        (Err(error), _) => Err(Obstacle::Unrepeatable(error.to_string())),
    }
}
