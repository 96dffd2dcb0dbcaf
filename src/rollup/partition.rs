//! Views whose rows are finished ones, told apart by a time: the rows of a time are made anew when their sources change.
//!
//! ```text
//! plan ─ an output column that is a time ─ Lineage ─► which times of the view a change of a source touches
//!                                             └─────► the plan that gives the rows of some times, reading what they need
//! reading = stored rows outside the dirty times ∪ the restricted plan inside
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use xxhash_rust::xxh3::xxh3_64;

use super::answer::Scan;
use super::bounds::Sides;
use super::identity;
use super::lineage::{Kinds, Lineage, Needed, Relations};
use super::obstacle::Obstacle;
use super::offset::{Offset, Shape};
use super::orderless;
use super::partials::column;
use super::row_windows::RowWindows;
use super::spread::Spread;
use super::time::{DOMAIN, Grain, Reach};
use super::times::Times;

/// Counts up when what is stored for a query changes, so that old rows are not taken for new ones.
const FORMAT: u64 = 2;

/// How the rows of a view are told apart by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDesign {
    /// Place and name of the column of the view that is a time.
    pub index: usize,
    pub key: String,
    pub grain: Grain,
    pub lineage: Lineage,
    /// Of the rows, as they are stored: see [`Self::stored_as`].
    pub columns: SchemaRef,
    /// Of the query, the lineage and the columns. Rows stored under another fingerprint are another design's.
    pub fingerprint: u64,
}

impl PartitionDesign {
    /// By the first column of the plan that works.
    ///
    /// # Errors
    /// What stands in the way of the first column that is a time.
    pub(super) fn of(plan: &LogicalPlan, relations: &Relations) -> Result<Self, Obstacle> {
        orderless::check(plan, relations)?;
        let mut obstacle = None;
        for (index, field) in plan.schema().fields().iter().enumerate().filter(|(_, field)| is_key(field.data_type())) {
            let grain = grain_of(plan, index).unwrap_or(Grain::HOUR);
            match Lineage::of(plan, index, grain, relations.kind) {
                Ok(lineage) => return Ok(Self::new(plan, (index, grain), lineage)),
                Err(error) => obstacle = obstacle.or(Some((field.name(), error))),
            }
        }
        Err(obstacle.map_or(Obstacle::NoTime, |(_, error)| error))
    }

    fn new(plan: &LogicalPlan, (index, grain): (usize, Grain), lineage: Lineage) -> Self {
        let text = format!("{FORMAT}\n{}\n{index} {grain:?} {lineage:?}", identity::of_plan(plan));
        let key = plan.schema().field(index).name().clone();
        let columns = Arc::new(plan.schema().as_arrow().clone());
        Self { index, key, grain, lineage, columns, fingerprint: xxh3_64(text.as_bytes()) }
    }

    /// The same, of rows stored in these columns: those of the query once its types are settled.
    pub fn stored_as(&self, columns: SchemaRef) -> Self {
        let types: Vec<_> = columns.fields().iter().map(|field| (field.name(), field.data_type())).collect();
        let text = format!("{:016x} {types:?}", self.fingerprint);
        Self { columns, fingerprint: xxh3_64(text.as_bytes()), ..self.clone() }
    }

    /// The first column, by its place, that rows stored in these columns have otherwise. Such rows are another query's.
    pub fn differs(&self, stored: &Schema) -> Option<usize> {
        let (own, stored) = (self.columns.fields(), stored.fields());
        let is_same = |place: &usize| match (own.get(*place), stored.get(*place)) {
            (Some(own), Some(stored)) => {
                own.name() == stored.name() && own.data_type().equals_datatype(stored.data_type())
            }
            _ => false,
        };
        (0..own.len().max(stored.len())).find(|place| !is_same(place))
    }

    /// Whether a day has several grains.
    pub fn is_within_days(&self) -> bool {
        self.grain.divides(Grain::DAY) && !Grain::DAY.divides(self.grain)
    }

    /// All tables, each once.
    pub fn tables(&self) -> Vec<&str> {
        let mut tables: Vec<&str> = self.scans().map(|needed| needed.table.as_str()).collect();
        tables.extend(self.lineage.whole.iter().map(String::as_str));
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// What rows of one time depend on.
    pub fn scans(&self) -> impl Iterator<Item = &Needed> {
        self.lineage.scans.iter().flatten()
    }

    /// The times of the view that rows of a table at these times touch; None: they cannot be told from others.
    pub fn touched_by(&self, needed: &Needed, times: &Times) -> Option<Times> {
        // Rows without a time are not to be there.
        if times.has_missing() {
            return None;
        }
        let touched = times.widened(needed.after, needed.before);
        let is_known = match self.lineage.reach {
            Reach::AllTimes => true,
            Reach::Domain => times.is_within(DOMAIN) && touched.is_within(DOMAIN),
        };
        is_known.then(|| self.whole(touched)).flatten()
    }

    /// Whole grains that have these times.
    pub fn whole(&self, times: Times) -> Option<Times> {
        times.whole(self.grain)
    }

    /// Passed by the stored rows of these times; `stored` is their schema.
    pub fn stored_inside(&self, times: &Times, stored: &Schema) -> Expr {
        times.inside(&column(&self.key), &stored_type(&self.key, stored))
    }

    /// Passed by the stored rows of other times; `stored` is their schema.
    pub fn stored_outside(&self, times: &Times, stored: &Schema) -> Expr {
        times.outside(&column(&self.key), &stored_type(&self.key, stored))
    }

    /// The windows of time that its rows are in: whole grains.
    pub fn windows(&self) -> RowWindows {
        let ahead = self.scans().map(|needed| needed.before).max().unwrap_or_default().max(0);
        RowWindows { key: self.key.clone(), grain: self.grain, ahead }
    }

    /// The times in the order of a calendar, cut into days, or months where a grain lasts longer.
    pub fn units(&self, times: &Times) -> Vec<(i64, i64)> {
        let unit = [Grain::DAY, Grain::Months { count: 1 }].into_iter().find(|unit| self.grain.divides(*unit));
        times.cut(unit.unwrap_or(self.grain))
    }

    /// The times cut into pieces to be worked through one after another: as many [`units`](Self::units) together as read no more
    /// than `rows_max` rows, about, but at least one. `scans` tell of each scan when its table has rows.
    pub fn pieces(&self, times: &Times, rows_max: u64, scans: &[(&Needed, Spread)]) -> Vec<Times> {
        let anywhere: u64 = scans.iter().map(|(_, spread)| spread.anywhere()).fold(0, u64::saturating_add);
        let mut pieces: Vec<Times> = Vec::new();
        let (mut rows, mut reached) = (0.0, i64::MIN);
        for (from, to) in self.units(times) {
            // What the piece reads already is read once.
            let read = |reached: i64| -> f64 {
                let of_scan = |(needed, spread): &(&Needed, Spread)| {
                    let behind = if reached == i64::MIN { reached } else { reached.saturating_add(needed.after) };
                    spread.between(from.saturating_sub(needed.before).max(behind), to.saturating_add(needed.after))
                };
                scans.iter().map(of_scan).sum()
            };
            let grown = rows + read(reached);
            match pieces.last_mut() {
                Some(last) if (grown.round() as u64).saturating_add(anywhere) <= rows_max => {
                    last.add(from, to);
                    rows = grown;
                }
                _ => {
                    pieces.push(Times::between(from, to));
                    rows = read(i64::MIN);
                }
            }
            reached = to;
        }
        pieces
    }

    /// Whether a plan of the same query is walked as the one this was made of, so that the design holds for it.
    pub fn fits(&self, plan: &LogicalPlan, kinds: &Kinds) -> bool {
        Lineage::of(plan, self.index, self.grain, kinds).is_ok_and(|lineage| lineage == self.lineage)
    }

    /// The rows of these times, whole grains, of a plan that the design fits.
    ///
    /// # Errors
    /// It does not fit.
    pub fn restricted(&self, plan: LogicalPlan, times: &Times) -> Result<LogicalPlan> {
        let mut place = 0;
        let narrowed = plan.transform_up(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            let Some(needed) = self.lineage.scans.get(place) else { return plan_err!("a scan more than designed for") };
            place += 1;
            let Some(needed) = needed else { return Ok(Transformed::no(node)) };
            let time = Expr::Column(Column::new(Some(scan.table_name.clone()), &needed.column));
            let data_type = scan.projected_schema.field_with_unqualified_name(&needed.column)?.data_type();
            let within = times.widened(needed.before, needed.after).inside(&time, data_type);
            Ok(Transformed::yes(LogicalPlanBuilder::from(node).filter(within)?.build()?))
        })?;
        let (qualifier, field) = narrowed.data.schema().qualified_field(self.index);
        let key = Expr::from((qualifier, field));
        let within = match field.data_type() {
            // Of a UNION with times it becomes one when types are settled: days would be too coarse then.
            DataType::Date32 => {
                let time = DataType::Timestamp(TimeUnit::Microsecond, None);
                times.inside(&cast(key, time.clone()), &time)
            }
            other => times.inside(&key, &moment_type(other)),
        };
        LogicalPlanBuilder::from(narrowed.data).filter(within)?.build()
    }

    /// The rows of `plan`, which the design fits: those of the dirty times are asked for, all others are stored ones. Stored columns
    /// are called as those of the plan, and have the types of the answer.
    ///
    /// # Errors
    /// The stored rows lack a column.
    pub fn reading(&self, plan: LogicalPlan, stored: Scan, dirty: &Times) -> Result<LogicalPlan> {
        let columns = stored.source.schema();
        let rows = LogicalPlanBuilder::scan(stored.table, stored.source, None)?;
        if dirty.is_empty() {
            return rows.build();
        }
        let asked = as_columns(self.restricted(plan, dirty)?, &columns)?;
        rows.filter(self.stored_outside(dirty, &columns))?.union(asked)?.build()
    }
}

/// The rows under these names, with these types. (Types of a plan are settled only when it is analysed: UNION has others then.)
pub fn as_columns(plan: LogicalPlan, columns: &Schema) -> Result<LogicalPlan> {
    if plan.schema().fields().len() != columns.fields().len() {
        return plan_err!("{} columns in the place of {}", plan.schema().fields().len(), columns.fields().len());
    }
    let named = plan.schema().iter().zip(columns.fields()).map(|((qualifier, field), column)| {
        cast(Expr::from((qualifier, field)), column.data_type().clone()).alias(column.name())
    });
    let named = named.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(named)?.build()
}

/// Columns that rows can be told apart by.
pub(super) fn is_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 => true,
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, zone) => {
            zone.as_deref().is_none_or(|zone| zone == super::time::UTC)
        }
        _ => false,
    }
}

/// The type that moments are compared as with a stored column.
pub(super) fn stored_type(key: &str, stored: &Schema) -> DataType {
    let field = stored.field_with_name(key);
    field.map_or(DataType::Null, |field| moment_type(field.data_type()))
}

/// The type a moment is compared as.
fn moment_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

/// The grain that an output column is cut to, by the first expression on its way down that is.
fn grain_of(plan: &LogicalPlan, column: usize) -> Option<Grain> {
    let through = |expr: &Expr, input: &LogicalPlan| {
        let offset = Offset::of(expr, input.schema())?;
        match offset.shape {
            Shape::Cut(_, grain) => Some(grain),
            Shape::Moved(_) => grain_of(input, offset.column),
            Shape::Near => None,
        }
    };
    match plan {
        LogicalPlan::Projection(projection) => through(projection.expr.get(column)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => through(aggregate.group_expr.get(column)?, &aggregate.input),
        LogicalPlan::Join(join) => {
            let sides = Sides::of(join, column, Grain::HOUR)?;
            grain_of(sides.own, sides.column)
        }
        LogicalPlan::TableScan(_) => None,
        _ => grain_of(plan.inputs().first()?, column),
    }
}
