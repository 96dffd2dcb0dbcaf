//! Partial rows: one set of keys and parts, made from base rows or read from stored ones, under plain column names.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use std::sync::Arc;

use super::answer::Scan;
use super::cover::Cover;
use super::design::Design;
use super::functions::Functions;
use super::parts::{Part, PartKind, parts_of_all};
use super::question::Question;
use super::sketch;

/// The columns of partial rows: keys, then parts, each with its name and type.
pub(super) struct Partials<'a> {
    pub(super) question: &'a Question,
    pub(super) keys: Vec<(String, DataType)>,
    pub(super) parts: Vec<(Part, String, DataType)>,
}

impl<'a> Partials<'a> {
    /// Those a question is finished from.
    pub(super) fn of(question: &'a Question) -> Self {
        let keys = question.fields.iter().take(question.keys.len()).enumerate();
        let keys = keys.map(|(index, (_, field))| (format!("key_{index}"), field.data_type().clone())).collect();
        let answers = question.fields.iter().skip(question.keys.len()).map(|(_, field)| field.data_type());
        let parts = parts_of_all(&question.calls, answers).into_iter().enumerate();
        let parts = parts.map(|(index, (part, data_type))| (part, format!("part_{index}"), data_type)).collect();
        Self { question, keys, parts }
    }

    /// Those a design stores, under their stored names.
    pub(super) fn stored(design: &'a Design) -> Self {
        let keys = design.keys.iter().zip(&design.question.fields);
        let keys = keys.map(|(name, (_, field))| (name.clone(), field.data_type().clone())).collect();
        let parts = design.parts.iter().cloned().map(|stored| (stored.part, stored.column, stored.data_type)).collect();
        Self { question: &design.question, keys, parts }
    }

    /// Partial rows of base rows, those that pass `within` and the question's filters; types are what functions give.
    pub(super) fn aggregated(
        &self,
        base: Scan,
        within: Option<Expr>,
        functions: &Functions,
    ) -> Result<LogicalPlanBuilder> {
        let mut rows = LogicalPlanBuilder::scan(base.table, base.source, None)?;
        if let Some(predicate) = conjunction(self.question.filters.iter().cloned().chain(within)) {
            rows = rows.filter(predicate)?;
        }
        let inputs = self.inputs(rows.schema())?;
        if !inputs.is_empty() {
            rows = rows.project(inputs)?;
        }
        let keys: Vec<Expr> = self.keys.iter().map(|(name, _)| column(name)).collect();
        let parts = self.parts.iter().enumerate().map(|(index, (part, name, _))| {
            let argument = match part.kind {
                PartKind::Rows => lit(1_i64),
                _ => column(&argument_name(index)),
            };
            let filter = part.filter.is_some().then(|| column(&filter_name(index)));
            partial_call(part.kind, argument, filter, functions).alias(name)
        });
        rows.aggregate(keys, parts.collect::<Vec<_>>())
    }

    /// As [`Self::aggregated`], with exactly these types.
    pub(super) fn of_base(&self, base: Scan, within: Option<Expr>, functions: &Functions) -> Result<LogicalPlan> {
        let columns = self.columns().map(|(name, data_type)| (column(name), name, data_type)).collect();
        typed(self.aggregated(base, within, functions)?, columns)
    }

    /// Partial rows of stored ones, `cover` being expressions over their columns.
    pub(super) fn of_stored(&self, stored: Scan, cover: Cover) -> Result<LogicalPlan> {
        let mut rows = LogicalPlanBuilder::scan(stored.table, stored.source, None)?;
        if let Some(predicate) = cover.predicate {
            rows = rows.filter(predicate)?;
        }
        let exprs = cover.keys.into_iter().chain(cover.parts);
        let columns = exprs.zip(self.columns()).map(|(expr, (name, data_type))| (expr, name, data_type));
        typed(rows, columns.collect())
    }

    fn columns(&self) -> impl Iterator<Item = (&str, &DataType)> {
        let keys = self.keys.iter().map(|(name, data_type)| (name.as_str(), data_type));
        keys.chain(self.parts.iter().map(|(_, name, data_type)| (name.as_str(), data_type)))
    }

    /// Keys, arguments and filters as columns: two expressions may have one name (`CAST` shows none).
    fn inputs(&self, schema: &DFSchema) -> Result<Vec<Expr>> {
        let keys = self.question.keys.iter().zip(&self.keys);
        let mut inputs: Vec<Expr> = keys.map(|(key, (name, _))| key.clone().alias(name)).collect();
        for (index, (part, ..)) in self.parts.iter().enumerate() {
            if let Some(argument) = &part.argument {
                let argument = match part.kind {
                    PartKind::Sum => as_type(argument.clone(), &DataType::Int64, schema)?,
                    _ => argument.clone(),
                };
                inputs.push(argument.alias(argument_name(index)));
            }
            if let Some(filter) = &part.filter {
                inputs.push(filter.clone().alias(filter_name(index)));
            }
        }
        Ok(inputs)
    }
}

fn argument_name(index: usize) -> String {
    format!("argument_{index}")
}

fn filter_name(index: usize) -> String {
    format!("filter_{index}")
}

/// A column by its exact name.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

pub(super) fn call(function: &Arc<AggregateUDF>, argument: Expr, filter: Option<Expr>) -> Expr {
    let filter = filter.map(Box::new);
    Expr::AggregateFunction(AggregateFunction::new_udf(
        function.clone(),
        vec![argument],
        false,
        filter,
        Vec::new(),
        None,
    ))
}

/// The expression, cast unless it has the type already.
pub(super) fn as_type(expr: Expr, data_type: &DataType, schema: &DFSchema) -> Result<Expr> {
    match expr.get_type(schema)? == *data_type {
        true => Ok(expr),
        false => Ok(cast(expr, data_type.clone())),
    }
}

/// A projection to named columns of given types.
pub(super) fn typed(rows: LogicalPlanBuilder, columns: Vec<(Expr, &str, &DataType)>) -> Result<LogicalPlan> {
    let schema = rows.schema().clone();
    let columns = columns.into_iter().map(|(expr, name, data_type)| Ok(as_type(expr, data_type, &schema)?.alias(name)));
    rows.project(columns.collect::<Result<Vec<_>>>()?)?.build()
}

/// Base rows → part.
fn partial_call(kind: PartKind, argument: Expr, filter: Option<Expr>, functions: &Functions) -> Expr {
    let function = match kind {
        PartKind::Rows | PartKind::Count => &functions.count,
        PartKind::Sum => &functions.partial_sum,
        PartKind::DecimalSum => &functions.sum,
        PartKind::Min => &functions.min,
        PartKind::Max => &functions.max,
        PartKind::And => &functions.bool_and,
        PartKind::Or => &functions.bool_or,
        PartKind::Sketch(made) => {
            return sketch::call(made.partial(functions), argument, made.size, filter.map(Box::new));
        }
    };
    call(function, argument, filter)
}

/// Parts → the part of all of them.
pub(super) fn fold_call(kind: PartKind, parts: Expr, filter: Option<Expr>, functions: &Functions) -> Expr {
    let function = match kind {
        PartKind::Rows | PartKind::Count | PartKind::DecimalSum => &functions.sum,
        PartKind::Sum => &functions.fold_sum,
        PartKind::Min => &functions.min,
        PartKind::Max => &functions.max,
        PartKind::And => &functions.bool_and,
        PartKind::Or => &functions.bool_or,
        PartKind::Sketch(made) => return sketch::call(made.union(functions), parts, made.size, filter.map(Box::new)),
    };
    call(function, parts, filter)
}
