//! Aggregates over a join of one fact table with dimensions, answered from partial rows of the fact alone.
//!
//! ```text
//! partial rows of the fact ─ join dimensions ─ filters ─ group by the query's keys ─ merge ─ finish
//!        └─ keyed by every expression of the fact that joins, filters, FILTERs and keys look at
//! ```
//! Rows of the fact that agree in those expressions are joined with the same rows of the dimensions, pass the same filters and
//! fall into the same groups. So it is the same whether each is joined by itself or their partial row for all of them: where a
//! dimension has a key twice, a partial row is repeated just as its rows would be. Nothing has to be known of the dimensions, and
//! nothing of them is stored.
//!
//! Identities it rests on, besides those of [`super::answer`]: a partial row stands for at least one row (there is at least one key);
//! expressions worked out before the join fail for no row that the join drops ([`super::total`]); `count(d)` counts the rows for which
//! `d` is not NULL; minimum, maximum, `bool_and` and `bool_or` do not count repetitions.
//!
//! Source: Yan & Larson, "Eager Aggregation and Lazy Aggregation" (VLDB 1995).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult, TableReference};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection};

use super::answer::{Merges, Piece, as_asked, together};
use super::functions::Functions;
use super::joins::{Joins, is_of_dimensions, is_of_fact};
use super::normalize::{Rows, call, conjuncts, is_storable_key};
use super::partials::{Partials, column, fold_call};
use super::parts::PartKind;
use super::question::{Call, Function, Question, Unfit};
use super::sketch::SketchOf;
use super::total::is_total;

/// What partial rows are called in plans.
const FACT: &str = "fact";
/// A total of decimals of more digits has no ten digits to spare.
const DIGITS_MAX: u8 = 28;

/// An aggregate over a join of a fact table with dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Star {
    /// What is asked of the fact alone: the keys and parts that the answer is made from.
    pub fact: Question,
    joins: Joins,
    /// Conjuncts that look at dimensions. Columns here and below are `fact.key_…` and those of dimensions.
    filters: Vec<Expr>,
    keys: Vec<Expr>,
    calls: Vec<Merged>,
    fields: Vec<(Option<TableReference>, FieldRef)>,
}

/// How a call is answered from joined partial rows.
#[derive(Clone, Debug, PartialEq)]
enum Merged {
    /// From the parts of a call on the fact.
    Parts { call: usize, filter: Option<Expr> },
    /// From values of dimensions.
    Values { kind: PartKind, argument: Expr, filter: Option<Expr> },
}

impl Star {
    /// The normal form of an aggregate over a join, `fact` being the table that is aggregated.
    ///
    /// # Errors
    /// Why it has none.
    pub fn of(aggregate: &Aggregate, fact: &str) -> Result<Self, Unfit> {
        let mut joins = Joins::default();
        let Rows { source, filters, columns, schema, base, groups } = joins.rows(&aggregate.input, fact)?;
        let (own_filters, filters): (Vec<Expr>, Vec<Expr>) = filters.into_iter().partition(is_of_fact);
        let rows = Rows { source, filters: own_filters, columns, schema, base, groups };
        let mut keys = Keys { base, keys: Vec::new(), fields: Vec::new() };
        let asked = aggregate.group_expr.iter().map(|expr| match expr {
            Expr::GroupingSet(_) => Err(Unfit::GroupingSets),
            other => keys.over(&rows.express(other)?),
        });
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        for step in &mut joins.steps {
            step.on = step.on.iter().map(|condition| keys.over(condition)).collect::<Result<_, _>>()?;
        }
        let filters = filters.iter().map(|filter| keys.over(filter)).collect::<Result<Vec<_>, _>>()?;
        let drops = match joins.may_drop() || !filters.is_empty() {
            true => Drops::Some,
            false => Drops::None,
        };
        let mut calls = Calls { keys: &mut keys, drops, calls: Vec::new(), fields: Vec::new() };
        let answers = aggregate.schema.fields().iter().skip(asked.len()).map(|field| field.data_type());
        let merged = aggregate.aggr_expr.iter().zip(answers).map(|(expr, answer)| calls.merged(expr, answer, &rows));
        let merged = merged.collect::<Result<Vec<_>, _>>()?;
        let Calls { calls, fields: answers, .. } = calls;
        if keys.keys.is_empty() {
            return Err(Unfit::NotJoined(fact.to_owned()));
        }
        let fields = keys.fields.into_iter().chain(answers).map(|field| (None, field)).collect();
        let Rows { source, filters: own_filters, .. } = rows;
        Ok(Self {
            fact: Question { source, filters: own_filters, keys: keys.keys, calls, fields },
            joins,
            filters,
            keys: asked,
            calls: merged,
            fields: aggregate.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect(),
        })
    }

    /// For each key of the fact, which key of the aggregate it is, if any.
    pub(super) fn shown(&self) -> Vec<Option<usize>> {
        (0..self.fact.keys.len()).map(|index| self.keys.iter().position(|key| *key == of_fact(index))).collect()
    }

    /// How many keys the aggregate has.
    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The tables that the dimensions are made of, in alphabetical order, those in subqueries included.
    pub(super) fn dimension_tables(&self) -> Vec<String> {
        self.joins.tables().into_iter().collect()
    }

    /// The answer of the aggregate from pieces that together hold each row of the fact once; as [`super::answer()`].
    ///
    /// # Errors
    /// There is no piece; a piece lacks a column.
    pub(super) fn answer(&self, pieces: Vec<Piece>, functions: &Functions) -> DataFusionResult<LogicalPlan> {
        let partials = Partials::of(&self.fact);
        let rows = together(&partials, pieces, functions)?.alias(FACT)?;
        let mut rows = self.joins.joined(rows)?;
        if let Some(predicate) = conjunction(self.filters.clone()) {
            rows = rows.filter(predicate)?;
        }
        // As columns: two expressions may have one name.
        let inputs = Projection::try_new(self.inputs(&partials), Arc::new(rows.build()?))?;
        let rows = LogicalPlanBuilder::from(LogicalPlan::Projection(inputs));
        let keys: Vec<Expr> = (0..self.keys.len()).map(|index| column(&group_name(index))).collect();
        let mut merges = Merges { partials: &partials, functions, exprs: Vec::new() };
        let calls = self.calls.iter().enumerate().map(|(index, merged)| {
            let filter = merged.filter().map(|_| filter_name(index));
            match merged {
                Merged::Parts { call, .. } => merges.finish(&self.fact.calls[*call], filter.as_deref()),
                Merged::Values { kind, .. } => {
                    let (argument, filter) = (column(&argument_name(index)), filter.as_deref().map(column));
                    let aggregate = fold_call(*kind, argument, filter, functions);
                    Ok(merges.aggregated(aggregate, &format!("of_{}", argument_name(index))))
                }
            }
        });
        let calls = calls.collect::<DataFusionResult<Vec<_>>>()?;
        let merged = rows.aggregate(keys.clone(), merges.exprs)?.build()?;
        as_asked(merged, keys.into_iter().chain(calls), &self.fields)
    }

    /// What is aggregated, over the joined rows.
    fn inputs(&self, partials: &Partials) -> Vec<Expr> {
        let keys = self.keys.iter().enumerate().map(|(index, key)| key.clone().alias(group_name(index)));
        let parts = partials.parts.iter().map(|(_, name, _)| of_fact_named(name).alias(name));
        let mut inputs: Vec<Expr> = keys.chain(parts).collect();
        for (index, merged) in self.calls.iter().enumerate() {
            if let Merged::Values { argument, .. } = merged {
                inputs.push(argument.clone().alias(argument_name(index)));
            }
            if let Some(filter) = merged.filter() {
                inputs.push(filter.clone().alias(filter_name(index)));
            }
        }
        inputs
    }
}

impl Merged {
    fn filter(&self) -> Option<&Expr> {
        match self {
            Self::Parts { filter, .. } | Self::Values { filter, .. } => filter.as_ref(),
        }
    }
}

/// Whether a row of the fact may take part in no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drops {
    Some,
    None,
}

/// The expressions of the fact that partial rows are keyed by, found one after another.
struct Keys<'a> {
    base: &'a DFSchema,
    keys: Vec<Expr>,
    fields: Vec<FieldRef>,
}

impl Keys<'_> {
    /// The expression over keys and dimensions. The largest parts of it that can be keys become keys: `date_trunc('day', ts)`, not
    /// `ts`; but of `1 / n` only `n`, and the rest is worked out for joined rows.
    fn over(&mut self, expr: &Expr) -> Result<Expr, Unfit> {
        let mut unfit = None;
        let over = expr.clone().transform_down(|part| {
            if !is_of_fact(&part) || !part.any_column_refs() {
                return Ok(Transformed::no(part));
            }
            match self.key(&part) {
                Some(index) => Ok(Transformed::new(of_fact(index), true, TreeNodeRecursion::Jump)),
                None if matches!(part, Expr::Column(_)) => {
                    unfit = Some(Unfit::JoinKey(part.to_string()));
                    Ok(Transformed::new(part, false, TreeNodeRecursion::Stop))
                }
                None => Ok(Transformed::no(part)),
            }
        });
        match (unfit, over) {
            (Some(unfit), _) => Err(unfit),
            (None, Ok(over)) => Ok(over.data),
            (None, Err(_)) => Err(Unfit::Nested("an expression too deep to read")),
        }
    }

    fn key(&mut self, expr: &Expr) -> Option<usize> {
        if let Some(known) = self.keys.iter().position(|key| key == expr) {
            return Some(known);
        }
        let data_type = expr.get_type(self.base).ok()?;
        if !is_storable_key(expr, &data_type, self.base) || !is_total(expr, self.base) {
            return None;
        }
        self.keys.push(expr.clone());
        self.fields.push(Arc::new(Field::new(format!("key_{}", self.fields.len()), data_type, true)));
        Some(self.keys.len() - 1)
    }
}

/// The calls on the fact that an answer is merged from, found one after another.
struct Calls<'a, 'b> {
    keys: &'a mut Keys<'b>,
    drops: Drops,
    calls: Vec<Call>,
    fields: Vec<FieldRef>,
}

impl Calls<'_, '_> {
    /// How a call of the aggregate, whose answer has the type `answer`, is answered.
    fn merged(&mut self, expr: &Expr, answer: &DataType, rows: &Rows) -> Result<Merged, Unfit> {
        let Call { function, argument, filter, .. } = call(expr, answer, true, rows)?;
        let Some(argument) = argument else { return self.parts(function, None, filter, answer, None) };
        if is_of_fact(&argument) {
            return self.parts(function, Some(argument), filter, answer, None);
        }
        let over_dimensions = is_of_dimensions(&argument);
        let kind = match function {
            Function::Count if over_dimensions => {
                return self.parts(Function::CountRows, None, filter, answer, Some(argument.is_not_null()));
            }
            Function::Min if over_dimensions => PartKind::Min,
            Function::Max if over_dimensions => PartKind::Max,
            Function::BoolAnd if over_dimensions => PartKind::And,
            Function::BoolOr if over_dimensions => PartKind::Or,
            Function::CountRows
            | Function::Count
            | Function::Sum
            | Function::DecimalSum
            | Function::Min
            | Function::Max
            | Function::Average
            | Function::BoolAnd
            | Function::BoolOr
            | Function::Sketch { .. }
            | Function::ApproxDistinct => return Err(Unfit::OfDimensions(expr.to_string())),
        };
        let filter = filter.map(|filter| self.keys.over(&filter)).transpose()?;
        Ok(Merged::Values { kind, argument, filter })
    }

    /// A call on the fact; of its filter, and `also` one over dimensions, what looks at dimensions applies to joined partial rows.
    fn parts(
        &mut self,
        function: Function,
        argument: Option<Expr>,
        filter: Option<Expr>,
        answer: &DataType,
        also: Option<Expr>,
    ) -> Result<Merged, Unfit> {
        // A FILTER keeps rows from the argument too.
        if let Some(argument) = &argument
            && (self.drops == Drops::Some || filter.is_some())
            && !self.is_total(argument, function)
        {
            return Err(Unfit::NotTotal(argument.to_string()));
        }
        let conjuncts = filter.map(conjuncts).unwrap_or_default();
        let (inside, outside): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(is_of_fact);
        // Where one of them may fail, the others may be there to keep rows from it.
        let is_safe = self.drops == Drops::None || inside.iter().all(|conjunct| is_total(conjunct, self.keys.base));
        let (inside, outside) = match is_safe {
            true => (inside, outside),
            false => (Vec::new(), inside.into_iter().chain(outside).collect()),
        };
        let outside = outside.iter().chain(&also).map(|conjunct| self.keys.over(conjunct));
        let filter = conjunction(outside.collect::<Result<Vec<_>, _>>()?);
        let call = Call { function, argument, filter: conjunction(inside), total: None };
        let index = self
            .calls
            .iter()
            .zip(&self.fields)
            .position(|(known, field)| *known == call && field.data_type() == answer);
        let index = index.unwrap_or_else(|| {
            self.fields.push(Arc::new(Field::new(format!("call_{}", self.fields.len()), answer.clone(), true)));
            self.calls.push(call);
            self.calls.len() - 1
        });
        Ok(Merged::Parts { call: index, filter })
    }

    fn is_total(&self, argument: &Expr, function: Function) -> bool {
        let has_digits_left = match argument.get_type(self.keys.base) {
            Ok(DataType::Decimal128(digits, _)) => function != Function::DecimalSum || digits <= DIGITS_MAX,
            _ => true,
        };
        // The bytes of a row may be no sketch.
        let is_of_sketches = matches!(function, Function::Sketch { kept, .. } if kept.of == SketchOf::Sketches);
        has_digits_left && !is_of_sketches && is_total(argument, self.keys.base)
    }
}

fn of_fact(key: usize) -> Expr {
    of_fact_named(&format!("key_{key}"))
}

fn of_fact_named(name: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(FACT)), name))
}

fn group_name(index: usize) -> String {
    format!("group_{index}")
}

fn argument_name(index: usize) -> String {
    format!("argument_{index}")
}

fn filter_name(index: usize) -> String {
    format!("filter_{index}")
}
