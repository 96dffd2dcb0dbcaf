//! What a view must have to answer a question: keys, times cut fine enough, calls; filters become keys or stay filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::functions::datetime::expr_fn::date_trunc;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};

use crate::rollup::partials::column;
use crate::rollup::question::{Call, Function, Question};
use crate::rollup::ranges::Ranges;
use crate::rollup::time::{Cut, TimeKey};

/// Units that `date_trunc` cuts times to, coarsest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Unit {
    const ALL: [Self; 8] =
        [Self::Year, Self::Quarter, Self::Month, Self::Week, Self::Day, Self::Hour, Self::Minute, Self::Second];

    pub fn word(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }

    /// The time column cut to it.
    pub fn of(self, time: &str) -> Expr {
        date_trunc(lit(self.word()), column(time))
    }

    fn key(self, time: &str, schema: &DFSchema) -> Option<TimeKey> {
        let data_type = schema.field_with_unqualified_name(time).ok()?.data_type();
        TimeKey::of(0, &self.of(time), data_type)
    }

    /// The coarsest that `cut` can be made from.
    fn finer(cut: &Cut, schema: &DFSchema) -> Option<Self> {
        let divides = |unit: &Self| unit.key(&cut.column, schema).is_some_and(|key| key.grain.divides(cut.grain));
        Self::ALL.into_iter().find(divides)
    }

    /// The coarsest that both can be made from: weeks and months only have days in common.
    fn common(self, other: Self) -> Self {
        let finer = self.max(other);
        let has_weeks = self == Self::Week || other == Self::Week;
        if has_weeks && self.min(other) < Self::Week { finer.max(Self::Day) } else { finer }
    }
}

/// What a view's rows are kept apart by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Needs {
    /// Group keys that are no cut of time; columns of filters.
    pub keys: Vec<Expr>,
    /// Time columns, and how fine they are cut.
    pub times: BTreeMap<String, Unit>,
}

impl Needs {
    pub fn join(&mut self, other: &Self) {
        for key in &other.keys {
            self.key(key.clone());
        }
        for (time, unit) in &other.times {
            self.time(time, *unit);
        }
    }

    fn key(&mut self, key: Expr) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    fn time(&mut self, time: &str, unit: Unit) {
        let known = self.times.entry(time.to_owned()).or_insert(unit);
        *known = known.common(unit);
    }

    /// Everything an expression is made of: times as they are cut in it, other columns as they are.
    fn parts_of(&mut self, expr: &Expr, schema: &DFSchema) {
        // Nothing in it fails.
        let _ = expr.apply(|part| {
            if let Some((cut, unit)) =
                Cut::of(part, schema).and_then(|cut| Some((cut.clone(), Unit::finer(&cut, schema)?)))
            {
                self.time(&cut.column, unit);
                return Ok(TreeNodeRecursion::Jump);
            }
            if let Expr::Column(Column { name, .. }) = part {
                self.key(column(name));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
}

/// A view that does not exist yet: its query without a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub source: String,
    pub(super) needs: Needs,
    /// Filters that stay filters, and what they would need as keys.
    pub(super) filters: Vec<(Expr, Needs)>,
    pub(super) calls: Vec<Call>,
}

impl Shape {
    /// The keys of the view: those that are not made of others, then times.
    pub fn keys(&self) -> Vec<Expr> {
        let is_key = |name: &str| self.needs.keys.contains(&column(name));
        let is_made = |key: &&Expr| {
            !matches!(key, Expr::Column(_)) && key.column_refs().iter().all(|column| is_key(&column.name))
        };
        let keys = self.needs.keys.iter().filter(|key| !is_made(key)).cloned();
        keys.chain(self.needs.times.iter().map(|(time, unit)| unit.of(time))).collect()
    }

    /// What the view leaves out.
    pub fn filters(&self) -> impl Iterator<Item = &Expr> {
        self.filters.iter().map(|(filter, _)| filter)
    }

    /// Time columns of the source that a key is cut from.
    pub fn times(&self) -> impl Iterator<Item = &str> {
        self.needs.times.keys().map(String::as_str)
    }

    /// Columns of the source that the view reads, beside those of its calls.
    pub fn columns(&self) -> std::collections::BTreeSet<String> {
        let exprs = self.keys().into_iter().chain(self.filters().cloned());
        exprs
            .flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()).collect::<Vec<_>>())
            .collect()
    }

    /// The least view that answers what both answer; None: they are of different tables.
    pub(super) fn joined(&self, other: &Self) -> Option<Self> {
        if self.source != other.source {
            return None;
        }
        let mut joined = self.clone();
        joined.needs.join(&other.needs);
        joined.filters.clear();
        for (filter, needs) in self.filters.iter().chain(&other.filters) {
            let is_in = |shape: &Self| shape.filters.iter().any(|(known, _)| known == filter);
            match is_in(self) && is_in(other) {
                true if joined.filters.iter().any(|(known, _)| known == filter) => {}
                true => joined.filters.push((filter.clone(), needs.clone())),
                false => joined.needs.join(needs),
            }
        }
        for call in &other.calls {
            if !joined.calls.contains(call) {
                joined.calls.push(call.clone());
            }
        }
        Some(joined)
    }

    /// Whether both are the same view, in whatever order it is written.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(left: &[T], right: &[T]) -> bool {
            left.len() == right.len() && left.iter().all(|item| right.contains(item))
        }
        self.source == other.source
            && self.needs.times == other.needs.times
            && same(&self.needs.keys, &other.needs.keys)
            && same(&self.filters, &other.filters)
            && same(&self.calls, &other.calls)
    }
}

/// Whether the values in a question's filters are those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Given,
    /// They stand for parameters: no filter may stay as it is.
    StandIns,
}

/// The views that answer `question`: with its filters as keys, and with those that are no range of time as filters of its own.
/// `source` is the schema of its table.
pub fn shapes(question: &Question, source: &Schema, values: Values) -> Vec<Shape> {
    let Ok(schema) = DFSchema::try_from(source.clone()).map(Arc::new) else { return Vec::new() };
    let mut needs = Needs::default();
    for key in &question.keys {
        match Cut::of(key, &schema).and_then(|cut| Some((Unit::finer(&cut, &schema)?, cut))) {
            Some((unit, cut)) => needs.time(&cut.column, unit),
            None if has_time(key, &schema) => needs.parts_of(key, &schema),
            None => needs.key(key.clone()),
        }
    }
    let mut filters = Vec::new();
    for filter in &question.filters {
        match range(filter, &schema) {
            Some((time, unit)) => needs.time(&time, unit),
            None => {
                let mut own = Needs::default();
                own.parts_of(filter, &schema);
                filters.push((filter.clone(), own));
            }
        }
    }
    let (source, calls) = (question.source.clone(), question.calls.iter().fold(Vec::new(), with_call));
    let mut as_keys = Shape { source, needs, filters: Vec::new(), calls };
    let as_filters = Shape { filters: filters.clone(), ..as_keys.clone() };
    for (filter, own) in filters {
        // Groups are not kept apart by floating-point numbers.
        match values == Values::Given && has_float(&filter, &schema) {
            true => as_keys.filters.push((filter, own)),
            false => as_keys.needs.join(&own),
        }
    }
    match values == Values::StandIns || as_filters == as_keys {
        true => vec![as_keys],
        false => vec![as_keys, as_filters],
    }
}

/// Columns that filters of the question compare with one value or a few.
pub fn sought(question: &Question) -> Vec<String> {
    let column = |filter: &Expr| match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if !right.any_column_refs() => named(left),
        Expr::InList(list) if !list.negated => named(&list.expr),
        _ => None,
    };
    question.filters.iter().filter_map(column).collect()
}

fn named(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(column.name.clone()),
        _ => None,
    }
}

/// A total of groups is made of what the groups keep, and of which of them there are.
fn with_call(mut calls: Vec<Call>, call: &Call) -> Vec<Call> {
    let groups = call.total.as_ref().and_then(|total| total.filter.clone());
    let rows =
        groups.map(|filter| Call { function: Function::CountRows, argument: None, filter: Some(filter), total: None });
    for call in std::iter::once(Call { total: None, ..call.clone() }).chain(rows) {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    calls
}

/// A range of time, and the coarsest unit at whose boundaries it ends: a minute if there is none, the rest comes from the table.
fn range(filter: &Expr, schema: &DFSchema) -> Option<(String, Unit)> {
    let mut ranges = Ranges::default();
    ranges.narrow(filter, schema)?;
    let time = filter.column_refs().into_iter().next()?.name.clone();
    let is_whole = |unit: &Unit| {
        let covered = unit.key(&time, schema).and_then(|key| ranges.covered(&[key]));
        covered.is_some_and(|covered| covered.iter().all(|covered| !covered.is_cut))
    };
    let unit = Unit::ALL.into_iter().find(is_whole).filter(|unit| *unit < Unit::Minute).unwrap_or(Unit::Minute);
    Some((time, unit.max(Unit::Day)))
}

fn has_time(expr: &Expr, schema: &DFSchema) -> bool {
    expr.exists(|part| Ok(Cut::of(part, schema).is_some())).unwrap_or(false)
}

fn has_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.column_refs().iter().any(|column| {
        schema
            .field_with_unqualified_name(&column.name)
            .is_ok_and(|field| matches!(field.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64))
    })
}
