//! Row policies, masks and granted columns: SEC-1, applied in this one place, to every relation a statement reads, before
//! rewriting.
//!
//! ```text
//! relation ─► its rows, filtered by the viewer's policies ─► masked columns replaced ─► columns that are granted
//! ```
//! A relation comes out as a plan of filter and projection over it. So views read it filtered, and an aggregate over it is
//! answered from a materialized view only where the policy is a condition on that view's own keys (`rewrite`): a filter of a
//! policy and one that the user wrote look alike to it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableSource, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::QueryError;
use super::fault::external;
use super::functions::{CURRENT_ATTRIBUTE, CURRENT_USER, mask_hash, settled_numbers};
use super::leak::is_leakproof;
use super::planner::Planner;
use crate::auth::{Access, MaskRule, Policy, Reading, Rows};

/// What a viewer may have of the relation `name`, whose rows are those of `source`.
///
/// # Errors
/// A policy or mask that no longer fits the relation: then nothing is shown.
pub(super) fn protected(
    planner: &Planner<'_>,
    access: &Access,
    (name, source): (&str, Arc<dyn TableSource>),
    reading: &Reading,
) -> DataFusionResult<Arc<dyn TableSource>> {
    let (rows, masks) = (access.rows(name), access.masks(name));
    if rows == Rows::All && masks.is_empty() && *reading == Reading::All {
        return Ok(source);
    }
    let plan = LogicalPlanBuilder::scan(TableReference::bare(name.to_owned()), source, None)?.build()?;
    let plan = match &rows {
        Rows::All => plan,
        Rows::Where(policies) => filtered(planner, access, plan, policies)?,
    };
    let plan = match masks.is_empty() && *reading == Reading::All {
        true => plan,
        false => projected(access, plan, &masks, reading)?,
    };
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

fn filtered(
    planner: &Planner<'_>,
    access: &Access,
    plan: LogicalPlan,
    policies: &[Policy],
) -> DataFusionResult<LogicalPlan> {
    let mut predicates = Vec::with_capacity(policies.len());
    for policy in policies {
        let predicate = predicate(planner, policy, plan.schema(), Some(access)).map_err(external)?;
        predicates.push(predicate);
    }
    // Without any policy for this viewer: no rows.
    let predicate = disjunction(predicates).unwrap_or_else(|| lit(false));
    LogicalPlanBuilder::from(plan).filter(predicate)?.build()
}

/// The predicate of a policy over `schema`, with the caller's name and attributes in the place of the functions that ask for
/// them; without a caller, with values that stand for any.
///
/// # Errors
/// A predicate that does not fit the relation, or whose evaluation could fail on a row (see `leak`).
pub(super) fn predicate(
    planner: &Planner<'_>,
    policy: &Policy,
    schema: &DFSchema,
    access: Option<&Access>,
) -> Result<Expr, QueryError> {
    let Policy { relation, name, .. } = policy;
    let invalid =
        |reason: String| QueryError::Invalid { message: format!("policy '{name}' on '{relation}': {reason}") };
    let planned = planner.expression(&policy.predicate, schema).map_err(|error| invalid(error.to_string()))?;
    let planned = with_caller(planned, access)?;
    let settled = settled(planner.state(), planned.clone(), schema)
        .map_err(|error| invalid(QueryError::from(error).to_string()))?;
    let data_type = settled.get_type(schema)?;
    if !matches!(data_type, arrow::datatypes::DataType::Boolean) {
        return Err(invalid(format!("it gives {}, not true or false", super::params::sql_name(&data_type))));
    }
    if !is_leakproof(&settled, schema)? {
        return Err(invalid(
            "a policy compares columns with values, current_attribute('…') and current_user() by =, <>, <, >, IN, BETWEEN, \
             LIKE and IS NULL, joined by AND, OR and NOT; anything else could fail on rows it hides"
                .to_owned(),
        ));
    }
    Ok(planned)
}

/// Types as they will be compared.
fn settled(state: &SessionState, expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(state.config_options().clone())
        .build();
    ExprSimplifier::new(context).coerce(settled_numbers(expr, schema)?, schema)
}

/// `current_user()` and `current_attribute('name')` as values; an attribute the user does not have is NULL.
fn with_caller(expr: Expr, access: Option<&Access>) -> DataFusionResult<Expr> {
    let text = |value: Option<&str>| Expr::Literal(ScalarValue::Utf8(value.map(str::to_owned)), None);
    let replaced = expr.transform_up(|part| {
        let Expr::ScalarFunction(call) = &part else { return Ok(Transformed::no(part)) };
        let value = match (call.name(), call.args.first()) {
            (CURRENT_USER, _) => Some(access.map_or("anybody", Access::user).to_owned()),
            (CURRENT_ATTRIBUTE, Some(Expr::Literal(name, _))) => {
                let name = name.try_as_str().flatten().unwrap_or_default();
                access.map_or(Some("anything"), |access| access.attribute(name)).map(str::to_owned)
            }
            _ => return Ok(Transformed::no(part)),
        };
        Ok(Transformed::yes(text(value.as_deref())))
    })?;
    Ok(replaced.data)
}

fn projected(
    access: &Access,
    plan: LogicalPlan,
    masks: &[(&str, MaskRule)],
    reading: &Reading,
) -> DataFusionResult<LogicalPlan> {
    let schema = plan.schema().clone();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (qualifier, field) in schema.iter() {
        if let Reading::Columns(granted) = reading
            && !granted.contains(field.name())
        {
            continue;
        }
        let column = Expr::from((qualifier, field));
        let rule = masks.iter().find(|(masked, _)| masked == field.name()).map(|(_, rule)| rule);
        columns.push(match rule {
            None => column,
            Some(MaskRule::Null) => Expr::Literal(ScalarValue::try_from(field.data_type())?, None).alias(field.name()),
            Some(MaskRule::Hash) => mask_hash(access.snapshot().mask_key()).call(vec![column]).alias(field.name()),
        });
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
