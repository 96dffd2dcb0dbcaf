//! A subquery in the place of a value is NULL when it has no row, also where its column is never NULL.
//!
//! DataFusion takes the column's word for it and fails then. An analyzer rule puts the column through a function that says no
//! more than its type.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule; what is above it learns of it from DataFusion's coercion, which comes after.
#[derive(Debug)]
pub(super) struct NullableSubqueries;

impl AnalyzerRule for NullableSubqueries {
    fn name(&self) -> &str {
        "nullable_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            if !has_values_of_subqueries(&plan)? {
                return Ok(Transformed::no(plan));
            }
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|part| match part {
                    Expr::ScalarSubquery(subquery) if may_be_missing(&subquery) => {
                        Ok(Transformed::yes(Expr::ScalarSubquery(nullable(subquery)?)))
                    }
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }
}

fn has_values_of_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = found || expr.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_))))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether the subquery may have no row while its column is never NULL. One that depends on the row around it becomes an outer
/// join, whose columns may be NULL.
fn may_be_missing(subquery: &Subquery) -> bool {
    let is_never_null = subquery.subquery.schema().fields().first().is_some_and(|field| !field.is_nullable());
    is_never_null && subquery.outer_ref_columns.is_empty() && !has_one_row(&subquery.subquery)
}

fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(shown) => has_one_row(&shown.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

fn nullable(subquery: Subquery) -> Result<Subquery> {
    let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
    let (qualifier, field) = plan.schema().qualified_field(0);
    let name = field.name().clone();
    let column = Expr::from((qualifier, field));
    let function = Arc::new(ScalarUDF::from(Nullable { signature: Signature::any(1, Volatility::Immutable) }));
    let value = Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![column])).alias(name);
    let plan = LogicalPlan::Projection(Projection::try_new(vec![value], plan)?);
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans })
}

/// Its argument; what it answers may be NULL, as of any function that does not say otherwise.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Nullable {
    signature: Signature,
}

impl ScalarUDFImpl for Nullable {
    fn name(&self) -> &str {
        "adlake_nullable"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
