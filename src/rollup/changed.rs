//! What differs between rows and those that take their place: of a rollup the groups whose answer is another one, of a view kept by
//! partitions the rows themselves.
//!
//! ```text
//! old ─ +1 ─┐
//!           ├─ UNION ALL ─ group by everything ─ sum ≠ 0 ─► rows that only one of the two has, those of one group together
//! new ─ −1 ─┘
//! ```
//! What is by chance (`chance`) differs without having changed: it is neither compared nor shown.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::answer::{Piece, Scan, answer};
use super::cover::Cover;
use super::design::Design;
use super::functions::Functions;
use super::partials::{call, column};
use super::question::{Call, Function};
use super::sketch::SketchKind;
use super::times::Times;
use crate::base::Timestamp;

/// The last column of what differs: how many more of such rows the old ones have; less than nothing: the new ones.
pub const MORE: &str = "__adlake_more";

/// Windows of time by the key that they are the windows of.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Which key of the design.
    pub key: usize,
    /// Those that begin at or after a moment; `None`: all before the other one.
    pub from: Option<Timestamp>,
    /// Those that begin before a moment.
    pub before: Timestamp,
}

impl Windows {
    fn hold(&self, time: &Expr, design: &Design) -> Expr {
        let data_type = design.time_keys.iter().find(|key| key.index == self.key).map(|key| key.data_type.clone());
        let from = self.from.map_or(i64::MIN, Timestamp::micros);
        Times::between(from, self.before.micros()).inside(time, &data_type.unwrap_or(DataType::Null))
    }
}

impl Design {
    /// The same, its question asking how many rows a group has as well: the last call.
    pub fn counting(&self) -> Self {
        let mut counting = self.clone();
        let rows = Call { function: Function::CountRows, argument: None, filter: None, total: None };
        counting.question.calls.push(rows);
        counting.question.fields.push((None, Arc::new(Field::new("__adlake_rows", DataType::Int64, false))));
        counting
    }

    /// The calls that have the same answer whenever they are asked, by their places.
    pub fn certain_calls(&self) -> Vec<usize> {
        let is_certain =
            |call: &Call| !matches!(call.function, Function::Sketch { kept, .. } if kept.kind == SketchKind::Kll);
        let calls = self.question.calls.iter().enumerate();
        calls.filter(|(_, call)| is_certain(call)).map(|(place, _)| place).collect()
    }

    /// Stored rows of it, those that pass `predicate`.
    pub fn stored(&self, rows: Scan, predicate: Option<Expr>) -> Piece {
        Piece::Stored { rows, cover: Box::new(Cover { predicate, ..Cover::of_design(self) }) }
    }
}

/// Groups in `windows` whose answers from `old` and from `new` pieces differ: the keys, the certain calls, then [`MORE`]; in the
/// order of the keys.
///
/// # Errors
/// There is no piece; a piece lacks a column.
pub fn changed_groups(
    design: &Design,
    (old, new): (Vec<Piece>, Vec<Piece>),
    windows: Windows,
    functions: &Functions,
) -> Result<LogicalPlan> {
    let keys: Vec<String> = (0..design.keys.len()).map(|index| format!("key_{index}")).collect();
    let certain = design.certain_calls();
    let named = |pieces: Vec<Piece>| -> Result<LogicalPlanBuilder> {
        let answered = answer(&design.question, pieces, functions)?;
        let shown: Vec<Expr> = answered.schema().iter().map(Expr::from).collect();
        let calls = certain.iter().map(|place| (keys.len() + place, format!("call_{place}")));
        let columns = keys.iter().cloned().enumerate().chain(calls);
        let columns = columns.filter_map(|(place, name)| Some(shown.get(place)?.clone().alias(name)));
        let rows = LogicalPlanBuilder::from(answered).project(columns.collect::<Vec<_>>())?;
        match keys.get(windows.key) {
            Some(key) => rows.filter(windows.hold(&column(key), design)),
            None => Ok(rows),
        }
    };
    differing(named(old)?, named(new)?, &keys, functions)
}

/// Rows of `old` and `new`, those that pass `within`, that the other does not have: `columns`, then [`MORE`]; in the order of `key`.
///
/// # Errors
/// The rows lack a column.
pub fn changed_rows(
    (old, new): (Scan, Scan),
    within: &Expr,
    (columns, key): (&[String], &str),
    functions: &Functions,
) -> Result<LogicalPlan> {
    let named = |rows: Scan| -> Result<LogicalPlanBuilder> {
        let rows = LogicalPlanBuilder::scan(rows.table, rows.source, None)?.filter(within.clone())?;
        rows.project(columns.iter().map(|name| column(name).alias(name)).collect::<Vec<_>>())
    };
    differing(named(old)?, named(new)?, &[key.to_owned()], functions)
}

fn differing(
    old: LogicalPlanBuilder,
    new: LogicalPlanBuilder,
    order: &[String],
    functions: &Functions,
) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = old.schema().fields().iter().map(|field| column(field.name())).collect();
    let side = |rows: LogicalPlanBuilder, one: i64| {
        rows.project(
            columns.iter().cloned().chain([lit(ScalarValue::Int64(Some(one))).alias(MORE)]).collect::<Vec<_>>(),
        )
    };
    let both = side(old, 1)?.union(side(new, -1)?.build()?)?;
    let more = call(&functions.sum, column(MORE), None).alias(MORE);
    let counted = both.aggregate(columns.clone(), vec![more])?.filter(column(MORE).not_eq(lit(0_i64)))?;
    counted.sort(order.iter().map(|name| column(name).sort(true, true)).collect::<Vec<_>>())?.build()
}
