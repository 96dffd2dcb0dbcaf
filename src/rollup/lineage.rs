//! Which rows of a query's sources the rows of one time depend on.
//!
//! A query is *local* in an output column when its rows whose column lies in some whole grains depend only on those rows of each
//! table whose own time lies in these grains, widened by what is found here. With all other rows of the tables left out, the
//! query gives the same rows of these grains; what else it gives then is left out by a filter on the column. Plans are walked
//! from the output column down, and every node says which times of its inputs it needs for the times asked of it:
//!
//! | node | needs |
//! |---|---|
//! | projection, group key | the times of the column that the expression stays near ([`Offset`]) |
//! | filter, alias, DISTINCT, UNION ALL | the same |
//! | window functions | all rows of each PARTITION BY, which contains the time, or a cut of it |
//! | join | of the one side the same; of the other what the condition bounds by a time of the first ([`super::bounds`]) |
//!
//! The time asked for is never NULL: it comes from a NOT NULL column, by the side of outer joins that is always there. Tables
//! that no time reaches (dimensions) are read whole; they have no events, and when they change every time is touched.

use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, JoinType, LogicalPlan, TableScan, Window};

use super::bounds::Sides;
use super::normalize::{conjuncts, public_name};
use super::obstacle::Obstacle;
use super::offset::{Offset, Shape};
use super::origin::{Apart, By, apart};
use super::row_windows::RowWindows;
use super::strategy::RelationKind;
use super::time::{Grain, Reach, is_time};

/// What names in a query stand for.
pub struct Relations<'a> {
    pub kind: &'a dyn Fn(&str) -> Option<RelationKind>,
    /// The column of a table that has another value in every row.
    pub event_key: &'a dyn Fn(&str) -> Option<String>,
    /// The windows of time that the stored rows of a materialized view are in.
    pub windows: &'a dyn Fn(&str) -> Option<RowWindows>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Of the scans of the plan, from left to right; None: it is read whole.
    pub scans: Vec<Option<Needed>>,
    /// Tables that are read whole, each once.
    pub whole: Vec<String>,
    pub(super) reach: Reach,
}

/// The rows of a table that rows of whole grains depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    pub table: String,
    /// NOT NULL.
    pub column: String,
    /// Microseconds before the first of the times, and after the last: less than nothing, when it is the other way.
    pub before: i64,
    pub after: i64,
}

/// Times asked of one column: those of whole grains, begun earlier and ended later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) column: usize,
    pub(super) before: i64,
    pub(super) after: i64,
}

impl Lineage {
    /// Of output column `column` of a plan whose rows do not depend on the order of its sources' rows. Times are told apart by
    /// whole grains.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) fn of(plan: &LogicalPlan, column: usize, grain: Grain, kinds: &Kinds) -> Result<Self, Obstacle> {
        let lineage = Self { scans: vec![None; scans(plan).len()], whole: Vec::new(), reach: Reach::AllTimes };
        let mut walk = Walk { lineage, grain, kinds };
        walk.node(plan, Asked { column, before: 0, after: 0 }, At { scan: 0, conditions: &[] })?;
        Ok(walk.lineage)
    }
}

pub(super) type Kinds<'a> = dyn Fn(&str) -> Option<RelationKind> + 'a;

/// The scans of a plan, from left to right.
pub(super) fn scans(plan: &LogicalPlan) -> Vec<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => vec![scan],
        _ => plan.inputs().into_iter().flat_map(scans).collect(),
    }
}

struct Walk<'a> {
    lineage: Lineage,
    grain: Grain,
    kinds: &'a Kinds<'a>,
}

/// Where in the plan.
#[derive(Clone, Copy)]
struct At<'a> {
    /// How many scans are to the left.
    scan: usize,
    /// What holds of all rows that count, over the node's columns.
    conditions: &'a [Expr],
}

impl At<'_> {
    fn plain(scan: usize) -> Self {
        Self { scan, conditions: &[] }
    }
}

impl Walk<'_> {
    fn node(&mut self, plan: &LogicalPlan, asked: Asked, at: At) -> Result<(), Obstacle> {
        let below = At::plain(at.scan);
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, asked, at.scan),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, asked, below),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.node(&sort.input, asked, below),
            LogicalPlan::Distinct(Distinct::All(input)) => self.node(input, asked, below),
            LogicalPlan::Projection(projection) => {
                let expr = projection.expr.get(asked.column).ok_or(Obstacle::NoTime)?;
                let needed = self.through(expr, &projection.input, asked)?;
                self.node(&projection.input, needed, below)
            }
            LogicalPlan::Filter(filter) => {
                let mut conditions = conjuncts(filter.predicate.clone());
                conditions.extend_from_slice(at.conditions);
                self.node(&filter.input, asked, At { scan: at.scan, conditions: &conditions })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, asked, below),
            LogicalPlan::Window(window) => self.window(window, asked, below),
            LogicalPlan::Join(join) => self.join(join, asked, at),
            LogicalPlan::Union(union) => {
                let mut scan = at.scan;
                for input in &union.inputs {
                    self.node(input, asked, At::plain(scan))?;
                    scan += scans(input).len();
                }
                Ok(())
            }
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Err(Obstacle::Node("rows without a time")),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(Obstacle::Node("LIMIT")),
            _ => Err(Obstacle::Node("what has no known lineage")),
        }
    }

    fn scan(&mut self, scan: &TableScan, asked: Asked, place: usize) -> Result<(), Obstacle> {
        match self.kind(scan) {
            Some(RelationKind::Events | RelationKind::Plain | RelationKind::Snapshot) => {}
            Some(RelationKind::FullView) | None => return Err(Obstacle::NotATable(scan.table_name.to_string())),
        }
        let table = scan.table_name.table().to_owned();
        let field = scan.projected_schema.field(asked.column);
        if !is_time(field.data_type()) || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Obstacle::NotATime(field.name().clone()));
        }
        if field.is_nullable() {
            return Err(Obstacle::Nullable { table, column: field.name().clone() });
        }
        let Asked { before, after, .. } = asked;
        self.lineage.scans[place] = Some(Needed { table, column: field.name().clone(), before, after });
        Ok(())
    }

    /// The times of its input's column that an expression's times come from.
    fn through(&mut self, expr: &Expr, input: &LogicalPlan, asked: Asked) -> Result<Asked, Obstacle> {
        let offset = Offset::of(expr, input.schema()).ok_or_else(|| Obstacle::NotATime(expr.to_string()))?;
        self.lineage.reach = self.lineage.reach.and(offset.reach);
        match offset.shape {
            Shape::Cut(by, grain) if asked.is_whole(grain, self.grain) => asked.widened(by, -by, offset.column),
            _ => asked.widened(offset.most, offset.least.saturating_neg(), offset.column),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, asked: Asked, at: At) -> Result<(), Obstacle> {
        if aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
            return Err(Obstacle::Node("GROUPING SETS, CUBE or ROLLUP"));
        }
        let key = aggregate.group_expr.get(asked.column).ok_or(Obstacle::Group)?;
        let needed = self.through(key, &aggregate.input, asked)?;
        self.node(&aggregate.input, needed, at)
    }

    fn window(&mut self, window: &Window, asked: Asked, at: At) -> Result<(), Obstacle> {
        let schema = window.input.schema();
        if asked.column >= schema.fields().len() {
            return Err(Obstacle::NotATime(window.schema.field(asked.column).name().clone()));
        }
        let mut needed = asked;
        for call in &window.window_expr {
            let all = partition(call).iter().find_map(|by| self.together(by, &window.input, asked));
            let time = || schema.field(asked.column).name().clone();
            let all = all.ok_or_else(|| Obstacle::Window(call.schema_name().to_string(), time()))?;
            needed = Asked { before: needed.before.max(all.before), after: needed.after.max(all.after), ..needed };
        }
        self.node(&window.input, needed, at)
    }

    /// The times of all rows that have the same value of an expression as a row of the times asked for.
    fn together(&mut self, by: &Expr, input: &LogicalPlan, asked: Asked) -> Option<Asked> {
        let offset = Offset::of(by, input.schema())?;
        // Rows without a value would be one partition of any time.
        let later = apart(input, offset.column, asked.column, By::Origin);
        self.lineage.reach = self.lineage.reach.and(offset.reach);
        if let Shape::Cut(by, grain) = offset.shape
            && later == Apart::NOT
            && asked.widened(-by, by, asked.column).ok()?.is_whole(grain, self.grain)
        {
            return Some(asked);
        }
        let spread = offset.most.checked_sub(offset.least)?.checked_add(later.most?.checked_sub(later.least?)?)?;
        asked.widened(spread, spread, asked.column).ok()
    }

    fn join(&mut self, join: &Join, asked: Asked, at: At) -> Result<(), Obstacle> {
        let sides = Sides::of(join, asked.column, self.grain).ok_or_else(|| {
            let field = join.schema.field(asked.column);
            Obstacle::OuterJoin(field.name().clone())
        })?;
        let right = at.scan + scans(&join.left).len();
        let (own_at, other_at) = if sides.own_is_left { (at.scan, right) } else { (right, at.scan) };
        // A row of either side that counts meets them too, as far as they are of its columns.
        let conditions = match join.join_type {
            JoinType::Inner => [at.conditions, &join.filter.clone().map(conjuncts).unwrap_or_default()].concat(),
            _ => Vec::new(),
        };
        let conditions = conditions.as_slice();
        self.node(sides.own, Asked { column: sides.column, ..asked }, At { scan: own_at, conditions })?;
        let events = scans(sides.other)
            .into_iter()
            .find(|scan| !matches!(self.kind(scan), Some(RelationKind::Plain | RelationKind::Snapshot)));
        let mut obstacle = None;
        for needed in sides.needed(asked, conditions) {
            let before = self.lineage.clone();
            match self.node(sides.other, needed, At { scan: other_at, conditions }) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.lineage = before;
                    obstacle = obstacle.or(Some(error));
                }
            }
        }
        match events {
            None => {
                self.read_whole(sides.other);
                Ok(())
            }
            Some(scan) => {
                let name = scan.table_name.to_string();
                Err(match self.kind(scan) {
                    Some(RelationKind::Events | RelationKind::Plain | RelationKind::Snapshot) => {
                        obstacle.unwrap_or(Obstacle::Unbounded(name))
                    }
                    Some(RelationKind::FullView) | None => Obstacle::NotATable(name),
                })
            }
        }
    }

    /// Of a table in schema `public`; those of others have no log to tell what has changed.
    fn kind(&self, scan: &TableScan) -> Option<RelationKind> {
        (self.kinds)(public_name(&scan.table_name)?)
    }

    fn read_whole(&mut self, plan: &LogicalPlan) {
        for scan in scans(plan) {
            let name = scan.table_name.table();
            if !self.lineage.whole.iter().any(|known| known == name) {
                self.lineage.whole.push(name.to_owned());
            }
        }
    }
}

fn partition(call: &Expr) -> &[Expr] {
    match call {
        Expr::Alias(alias) => partition(&alias.expr),
        Expr::WindowFunction(call) => &call.params.partition_by,
        _ => &[],
    }
}

impl Asked {
    /// Whether the times are whole grains of `grain`, given that they are widened whole grains of `of`.
    pub(super) fn is_whole(&self, grain: Grain, of: Grain) -> bool {
        let is_kept = |by: i64| match grain {
            Grain::Even { width, .. } => by % width == 0,
            Grain::Months { .. } => by == 0,
        };
        grain.divides(of) && is_kept(self.before) && is_kept(self.after)
    }

    /// Begun earlier and ended later, of another column.
    pub(super) fn widened(self, before: i64, after: i64, column: usize) -> Result<Self, Obstacle> {
        let wide = || {
            let (before, after) = (self.before.checked_add(before)?, self.after.checked_add(after)?);
            let is_sane = |by: i64| (-WIDEST..=WIDEST).contains(&by);
            (is_sane(before) && is_sane(after)).then_some(Self { column, before, after })
        };
        wide().ok_or(Obstacle::Node("an interval of more than a thousand years"))
    }
}

/// A thousand years.
const WIDEST: i64 = 366_000 * super::time::DAY;

impl Reach {
    /// Of what is made of two.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::AllTimes, Self::AllTimes) => Self::AllTimes,
            (Self::Domain, _) | (_, Self::Domain) => Self::Domain,
        }
    }
}
