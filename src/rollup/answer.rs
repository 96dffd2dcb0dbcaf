//! Answers put together from pieces: rows of a rollup and rows of its source.
//!
//! ```text
//! stored rows ─ predicate ─ keys and parts ──────────┐
//! base rows ─── filters ─── group by keys ─── parts ─┴─ UNION ALL ─ group by keys ─ merge ─ finish ─► the aggregate's columns
//! ```
//! Identities it rests on: a group without rows does not exist; without keys there is one answer even over nothing; a filter
//! that no row passes counts 0 and sums NULL; NULL keys are one group.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, TableReference, plan_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableSource, lit, when};

use super::cover::Cover;
use super::design::Design;
use super::dirty::Dirty;
use super::functions::Functions;
use super::partials::{Partials, as_type, call, column, fold_call};
use super::parts::{Part, PartKind, parts_of};
use super::question::{Call, Function, Question};
use super::sketch;

/// Rows to read, under the name that EXPLAIN shows.
#[derive(Clone)]
pub struct Scan {
    pub table: TableReference,
    pub source: Arc<dyn TableSource>,
}

/// Rows that take part in an answer.
#[derive(Clone)]
pub enum Piece {
    /// Partial rows of some design; `cover` is over their columns.
    Stored { rows: Scan, cover: Box<Cover> },
    /// Rows of the question's source, those that pass `within`.
    Base { rows: Scan, within: Option<Expr> },
}

/// What there is to read for an answer.
#[derive(Clone)]
pub struct Sources {
    pub stored: Scan,
    /// Rows that the stored ones do not hold yet; none: there are none.
    pub tail: Option<Scan>,
    /// The source, tail included.
    pub whole: Scan,
    /// Where the stored rows are not used, nor the tail; none: nowhere.
    pub dirty: Option<Dirty>,
}

/// The pieces of an answer: what `cover` takes of the stored rows, the tail, and base rows where the stored ones do not hold and
/// outside the cover's edges. No row is in two pieces.
pub fn pieces(mut cover: Cover, sources: Sources) -> Vec<Piece> {
    let Sources { stored, tail, whole, dirty } = sources;
    let (inside, outside) = match cover.edges.take() {
        Some(edges) => (Some(edges.inside), Some(edges.outside)),
        None => (None, None),
    };
    cover.predicate = both(cover.predicate, dirty.as_ref().map(Dirty::stored_outside));
    let tail = tail.map(|rows| Piece::Base { rows, within: both(inside.clone(), dirty.as_ref().map(Dirty::outside)) });
    let again = dirty.map(|dirty| Piece::Base { rows: whole.clone(), within: both(inside, Some(dirty.inside())) });
    let edges = outside.map(|outside| Piece::Base { rows: whole, within: Some(outside) });
    let stored = Piece::Stored { rows: stored, cover: Box::new(cover) };
    [stored].into_iter().chain(tail).chain(again).chain(edges).collect()
}

fn both(one: Option<Expr>, other: Option<Expr>) -> Option<Expr> {
    conjunction(one.into_iter().chain(other))
}

/// The partial rows of base rows, as `design` stores them: the columns are [`Design::columns`]. Types are those of the parts, not
/// yet those that a table can hold.
///
/// # Errors
/// The source lacks a column.
pub fn partial_plan(design: &Design, base: Scan, within: Option<Expr>, functions: &Functions) -> Result<LogicalPlan> {
    Partials::stored(design).aggregated(base, within, functions)?.build()
}

/// Stored partial rows with each group once: the same columns and types.
///
/// # Errors
/// The stored rows lack a column of the design.
pub fn fold_plan(design: &Design, stored: Scan, functions: &Functions) -> Result<LogicalPlan> {
    let rows = LogicalPlanBuilder::scan(stored.table, stored.source, None)?;
    let types = rows.schema().clone();
    let keys: Vec<Expr> = design.keys.iter().map(|key| column(key)).collect();
    let folded = design
        .parts
        .iter()
        .map(|stored| fold_call(stored.part.kind, column(&stored.column), None, functions).alias(&stored.column));
    let rows = rows.aggregate(keys, folded.collect::<Vec<_>>())?;
    let schema = rows.schema().clone();
    let columns = design.columns().into_iter().map(|name| {
        let data_type = types.field_with_unqualified_name(name)?.data_type();
        Ok(as_type(column(name), data_type, &schema)?.alias(name))
    });
    rows.project(columns.collect::<Result<Vec<_>>>()?)?.build()
}

/// The answer of the aggregate that asks `question`, with the columns, qualifiers and types of that aggregate. The pieces together
/// hold each row once; without keys one of them must be there at any rate.
///
/// # Errors
/// There is no piece; a piece lacks a column.
pub fn answer(question: &Question, pieces: Vec<Piece>, functions: &Functions) -> Result<LogicalPlan> {
    let partials = Partials::of(question);
    let all = together(&partials, pieces, functions)?;
    let keys: Vec<Expr> = partials.keys.iter().map(|(name, _)| column(name)).collect();
    let mut merges = Merges { partials: &partials, functions, exprs: Vec::new() };
    let calls: Vec<Expr> = question.calls.iter().map(|call| merges.finish(call, None)).collect::<Result<_>>()?;
    let merged = all.aggregate(keys.clone(), merges.exprs)?.build()?;
    as_asked(merged, keys.into_iter().chain(calls), &question.fields)
}

/// The partial rows of all pieces.
pub(super) fn together(partials: &Partials, pieces: Vec<Piece>, functions: &Functions) -> Result<LogicalPlanBuilder> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for piece in pieces {
        let rows = match piece {
            Piece::Stored { rows, cover } => partials.of_stored(rows, *cover)?,
            Piece::Base { rows, within } => partials.of_base(rows, within, functions)?,
        };
        all = Some(match all {
            None => LogicalPlanBuilder::from(rows),
            Some(before) => before.union(rows)?,
        });
    }
    match all {
        Some(all) => Ok(all),
        None => plan_err!("an answer needs at least one piece"),
    }
}

/// The merged columns as the columns, qualifiers and types that were asked for.
pub(super) fn as_asked(
    merged: LogicalPlan,
    exprs: impl Iterator<Item = Expr>,
    fields: &[(Option<TableReference>, FieldRef)],
) -> Result<LogicalPlan> {
    let schema = merged.schema().clone();
    let columns = exprs.zip(fields).map(|(expr, (qualifier, field))| {
        Ok(as_type(expr, field.data_type(), &schema)?.alias_qualified(qualifier.clone(), field.name()))
    });
    // Not by the builder: it takes `f.ts` (qualified) and "f.ts" (what a cast of it is called) for one name.
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(merged))?))
}

/// The aggregates over partial rows that a question's calls are finished from.
pub(super) struct Merges<'a> {
    pub(super) partials: &'a Partials<'a>,
    pub(super) functions: &'a Functions,
    pub(super) exprs: Vec<Expr>,
}

impl Merges<'_> {
    /// The call's answer, over the merged columns. Only partial rows for which column `filter` is true take part.
    pub(super) fn finish(&mut self, call: &Call, filter: Option<&str>) -> Result<Expr> {
        let functions = self.functions;
        let mut parts = parts_of(call);
        let count = |merged: Expr| functions.coalesce.call(vec![merged, lit(0_i64)]);
        if let Some(rows) = parts.pop_if(|_| call.total.is_some()) {
            let zero = self.zero(&parts)?;
            let total = self.finished(call.function, &parts, filter)?;
            let is_there = count(self.folded(&rows, filter)?).gt(lit(0_i64));
            return when(is_there, functions.coalesce.call(vec![total, zero])).end();
        }
        self.finished(call.function, &parts, filter)
    }

    fn finished(&mut self, function: Function, parts: &[Part], filter: Option<&str>) -> Result<Expr> {
        let functions = self.functions;
        let count = |merged: Expr| functions.coalesce.call(vec![merged, lit(0_i64)]);
        Ok(match (function, parts) {
            (Function::CountRows | Function::Count, [rows]) => count(self.folded(rows, filter)?),
            (Function::Sum, [total]) => {
                self.merged(total, "total", filter, |parts, filter| call(&functions.merge_sum, parts, filter))?
            }
            (Function::Sketch { kept, size }, [sketches]) if size != kept.size => {
                let what = size.map_or_else(|| "union".to_owned(), |size| format!("union_{size}"));
                self.merged(sketches, &what, filter, |sketches, filter| {
                    sketch::call(kept.union(functions), sketches, size, filter.map(Box::new))
                })?
            }
            (Function::ApproxDistinct, [sketch]) => functions.hll_distinct.call(vec![self.folded(sketch, filter)?]),
            (Function::Average, [total, rows]) => {
                functions.average.call(vec![self.folded(total, filter)?, count(self.folded(rows, filter)?)])
            }
            (Function::DecimalSum | Function::Min | Function::Max, [part]) => self.folded(part, filter)?,
            (Function::BoolAnd | Function::BoolOr | Function::Sketch { .. }, [part]) => self.folded(part, filter)?,
            (_, _) => return plan_err!("{function:?} is not finished from {} parts", parts.len()),
        })
    }

    /// Of the type of what is totalled.
    fn zero(&self, parts: &[Part]) -> Result<Expr> {
        let [part] = parts else { return plan_err!("a total of groups has {} parts", parts.len()) };
        Ok(match (part.kind, &known(self.partials, part)?.2) {
            (PartKind::DecimalSum, DataType::Decimal128(precision, scale)) => {
                lit(ScalarValue::Decimal128(Some(0), *precision, *scale))
            }
            (_, _) => lit(0_i64),
        })
    }

    fn folded(&mut self, part: &Part, filter: Option<&str>) -> Result<Expr> {
        let functions = self.functions;
        self.merged(part, "folded", filter, |parts, filter| fold_call(part.kind, parts, filter, functions))
    }

    /// The column that `merge` brings the part's values together in.
    fn merged(
        &mut self,
        part: &Part,
        what: &str,
        filter: Option<&str>,
        merge: impl FnOnce(Expr, Option<Expr>) -> Expr,
    ) -> Result<Expr> {
        let (_, name, _) = known(self.partials, part)?;
        let alias = [what, name].into_iter().chain(filter).collect::<Vec<_>>().join("_");
        Ok(self.aggregated(merge(column(name), filter.map(column)), &alias))
    }

    /// The column that an aggregate over partial rows is called.
    pub(super) fn aggregated(&mut self, aggregate: Expr, alias: &str) -> Expr {
        let aggregate = aggregate.alias(alias);
        if !self.exprs.contains(&aggregate) {
            self.exprs.push(aggregate);
        }
        column(alias)
    }
}

fn known<'p>(partials: &'p Partials<'p>, part: &Part) -> Result<&'p (Part, String, DataType)> {
    match partials.parts.iter().find(|(known, ..)| known == part) {
        Some(known) => Ok(known),
        None => plan_err!("partial rows have no {:?}", part.kind),
    }
}
