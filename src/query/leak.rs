//! Keeps a caller's own filters from being tried on rows that a policy hides: one that fails there, such as `1 / (x - 5) > 0`,
//! would tell of them.
//!
//! The optimizer joins a policy's filter and the filters written above it into one, and evaluates its parts in any order. Parts
//! that cannot fail (comparisons of columns and values) may be; all others are evaluated only where those are true:
//! `CASE WHEN <what cannot fail> THEN <the others> ELSE false END`. Policies consist of parts that cannot fail (`protect`).
//!
//! Steps of planning that evaluate other expressions of a caller further down, where rows are that a policy's filter has not seen yet,
//! are left out where policies hold ([`careful`]).

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::{Between, Case, Cast, InList, Like};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, lit, when};

use super::QueryError;
use super::fault::external;
use super::functions::MASK_HASH;
use crate::rollup::never_fails;

/// What a statement's policies are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    /// There are none.
    Open,
    /// Tables, whose filter stands right above the rows.
    Tables,
    /// Views too: what is written above a view may be evaluated far below its policy.
    Views,
}

/// Rules that evaluate an expression below a filter that it stood above: one puts what several expressions share below them all, one
/// swaps a projection with the filter under it.
const MOVING_DOWN: [&str; 2] = ["common_sub_expression_eliminate", "ProjectionPushdown"];

/// A state whose plans evaluate what stands above a filter only on rows that pass it. Without its filters of joins and of `ORDER BY
/// … LIMIT`, which scans would try on all rows, and with all others in their own order.
pub(super) fn careful(mut state: SessionState) -> SessionState {
    let options = state.config_mut().options_mut();
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.execution.parquet.reorder_filters = false;
    let options = state.config_options().clone();
    state.execution_props_mut().config_options = Some(options);
    let stays = |name: &str| !MOVING_DOWN.contains(&name);
    let logical = state.optimizers().iter().filter(|rule| stays(rule.name())).cloned().collect();
    let physical = state.physical_optimizers().iter().filter(|rule| stays(rule.name())).cloned().collect();
    let builder = SessionStateBuilder::new_from_existing(state);
    builder.with_optimizer_rules(logical).with_physical_optimizer_rules(physical).build()
}

/// A plan the optimizer is done with, its filters put in order.
///
/// # Errors
/// `Denied` where an order cannot be kept.
pub(super) fn guarded(plan: LogicalPlan, guard: Guard) -> DataFusionResult<LogicalPlan> {
    if guard == Guard::Open {
        return Ok(plan);
    }
    let ordered = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) => ordered(filter, guard).map(Transformed::yes),
        LogicalPlan::TableScan(mut scan) => {
            let schema = scan.projected_schema.clone();
            // These choose files, and whether rows are filtered while they are decoded; the rows' own filter stands above.
            scan.filters.retain(|filter| is_leakproof(filter, &schema).unwrap_or(false));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(ordered.data)
}

fn ordered(filter: Filter, guard: Guard) -> DataFusionResult<LogicalPlan> {
    let schema = filter.input.schema().clone();
    let (mut safe, mut others) = (Vec::new(), Vec::new());
    for part in split_conjunction_owned(filter.predicate.clone()) {
        match is_leakproof(&part, &schema)? {
            true => safe.push(part),
            false => others.push(part),
        }
    }
    let Some(others) = conjunction(others) else { return Ok(LogicalPlan::Filter(filter)) };
    if guard == Guard::Views || stands_on_filter(&filter.input) {
        let message = "a row policy holds here: filters may only compare columns with values (=, <>, <, >, IN, BETWEEN, LIKE, \
                       IS NULL); compute in the SELECT list or in a subquery with LIMIT instead";
        return Err(external(QueryError::Denied { message: message.to_owned() }));
    }
    let predicate = match conjunction(safe) {
        None => others,
        Some(safe) => when(safe, others).otherwise(lit(false))?,
    };
    Filter::try_new(predicate, filter.input).map(LogicalPlan::Filter)
}

/// Whether another filter is below that the physical optimizer could join this one with.
fn stands_on_filter(plan: &Arc<LogicalPlan>) -> bool {
    match plan.as_ref() {
        LogicalPlan::Filter(_) => true,
        LogicalPlan::Projection(projection) => stands_on_filter(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => stands_on_filter(&alias.input),
        _ => false,
    }
}

/// Whether evaluating it fails on no row and has no other effect. What is not known is not.
///
/// # Errors
/// Columns that are not in `schema`.
pub(super) fn is_leakproof(expr: &Expr, schema: &DFSchema) -> DataFusionResult<bool> {
    let both = |left: &Expr, right: &Expr| Ok(is_leakproof(left, schema)? && is_leakproof(right, schema)?);
    match expr {
        Expr::Column(_) | Expr::Literal(..) => Ok(true),
        Expr::Alias(alias) => is_leakproof(&alias.expr, schema),
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsNotUnknown(inner) => is_leakproof(inner, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => both(left, right),
        Expr::Between(Between { expr, low, high, .. }) => Ok(both(expr, low)? && is_leakproof(high, schema)?),
        Expr::InList(InList { expr, list, .. }) => {
            let mut all = is_leakproof(expr, schema)?;
            for item in list {
                all &= is_leakproof(item, schema)?;
            }
            Ok(all)
        }
        Expr::Like(Like { expr, pattern, .. }) => Ok(is_value(pattern) && is_leakproof(expr, schema)?),
        cast @ Expr::Cast(_) if is_value(cast) => Ok(true),
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema)?;
            Ok(never_fails(&from, cast.field.data_type()) && is_leakproof(&cast.expr, schema)?)
        }
        // How an aggregate that is put together from stored parts says that there were none.
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let branches = when_then_expr.iter().flat_map(|(when, then)| [when, then]);
            let mut all = true;
            for part in expr.iter().chain(branches).chain(else_expr) {
                all &= is_leakproof(part, schema)?;
            }
            Ok(all)
        }
        Expr::ScalarFunction(call) if call.name() == MASK_HASH => match call.args.as_slice() {
            [argument] => is_leakproof(argument, schema),
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

/// Comparisons, AND and OR.
fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
            | Operator::And
            | Operator::Or
    )
}

/// A value, also one of another type: it is cast once, while planning.
fn is_value(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(Cast { expr, .. }) => matches!(expr.as_ref(), Expr::Literal(..)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::logical_expr::{TableProviderFilterPushDown, TableSource, cast, col, table_scan};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)])
    }

    #[test]
    fn what_can_fail_is_told_from_what_cannot() {
        let (a, b, schema) = (|| col("a"), || col("b"), DFSchema::try_from(schema()).unwrap());
        let leakproof = |expr: &Expr| is_leakproof(expr, &schema).unwrap();
        for safe in [
            a().eq(lit(1_i64)),
            a().is_null().or(b().like(lit("x%"))),
            b().in_list(vec![lit("x"), lit("y")], true),
            a().between(lit(1_i64), lit(2_i64)),
            cast(a(), DataType::Utf8).not_eq(b()),
            cast(lit("7"), DataType::Int64).gt(a()),
            cast(b(), DataType::Utf8View).like(cast(lit("x%"), DataType::Utf8View)),
            when(a().is_not_null(), a()).otherwise(lit(0_i64)).unwrap().gt(lit(1_i64)),
        ] {
            assert!(leakproof(&safe), "{safe}");
        }
        for risky in [
            (lit(100_i64) / a()).gt(lit(0_i64)),
            (a() + lit(1_i64)).eq(lit(1_i64)),
            when(a().is_not_null(), lit(1_i64) / a()).otherwise(lit(0_i64)).unwrap().gt(lit(1_i64)),
            cast(b(), DataType::Int64).eq(lit(1_i64)),
            b().like(b()),
            a().eq(lit(1_i64)).and(cast(b(), DataType::Int64).is_null()),
        ] {
            assert!(!leakproof(&risky), "{risky}");
        }
    }

    fn guarded_text(predicate: Expr, guard: Guard) -> Result<String, String> {
        let plan = table_scan(Some("t"), &schema(), None).and_then(|plan| plan.filter(predicate)).unwrap();
        let plan = plan.build().unwrap();
        guarded(plan, guard).map(|plan| plan.display_indent().to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_can_fail_is_evaluated_last() {
        let policy = || col("b").eq(lit("mine"));
        let risky = || (lit(100_i64) / col("a")).gt(lit(0_i64));
        let text = guarded_text(risky().and(policy()), Guard::Tables).unwrap();
        let expected = "CASE WHEN t.b = Utf8(\"mine\") THEN Int64(100) / t.a > Int64(0) ELSE Boolean(false) END";
        assert!(text.contains(expected), "{text}");
        let safe = col("a").gt(lit(5_i64)).and(policy());
        assert!(!guarded_text(safe.clone(), Guard::Tables).unwrap().contains("CASE"));
        assert!(!guarded_text(safe, Guard::Views).unwrap().contains("CASE"));
        assert!(!guarded_text(risky().and(policy()), Guard::Open).unwrap().contains("CASE"));
        assert!(guarded_text(risky(), Guard::Views).unwrap_err().contains("a row policy holds here"));
    }

    #[test]
    fn filters_that_could_be_joined_again_are_refused() {
        let risky = (lit(100_i64) / col("a")).gt(lit(0_i64));
        let below = table_scan(Some("t"), &schema(), None).and_then(|plan| plan.filter(col("b").eq(lit("mine"))));
        let above = LogicalPlanBuilder::from(below.unwrap().build().unwrap()).filter(risky).unwrap().build().unwrap();
        assert!(guarded(above, Guard::Tables).is_err());
    }

    /// Takes filters as a table of the lake does: to choose files, while the rows' own filter stays.
    #[derive(Debug)]
    struct Files;

    impl TableSource for Files {
        fn schema(&self) -> SchemaRef {
            Arc::new(schema())
        }

        fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
            Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
        }
    }

    /// What the optimizer makes of a policy's filter and a caller's above it.
    fn planned(policy: Expr, caller: Expr) -> String {
        let plan =
            LogicalPlanBuilder::scan("t", Arc::new(Files), None).and_then(|plan| plan.filter(policy)?.filter(caller));
        let state = careful(SessionStateBuilder::new().with_default_features().build());
        let optimised = state.optimize(&plan.unwrap().build().unwrap()).unwrap();
        guarded(optimised, Guard::Tables).unwrap().display_indent().to_string()
    }

    /// DataFusion joins the two into one, the lower one's parts first, and then puts what it takes for cheap before the rest: which
    /// order it comes to is not relied on.
    #[test]
    fn nothing_of_a_caller_that_could_fail_is_evaluated_before_the_policy() {
        let share = || lit(100_i64) / col("a");
        for policy in
            [col("b").eq(lit("mine")), col("b").like(lit("%mine%")), col("b").is_not_null().or(col("a").is_null())]
        {
            for caller in [
                share().gt(lit(0_i64)),
                share().gt(lit(0_i64)).and(share().lt(lit(9_i64))),
                col("a").gt(lit(5_i64)).and(cast(col("b"), DataType::Int64).eq(share())),
            ] {
                let text = planned(policy.clone(), caller.clone());
                let filter =
                    text.lines().find(|line| line.contains("Filter: ")).unwrap_or_else(|| panic!("no filter: {text}"));
                let (before, after) = filter.split_once(" THEN ").unwrap_or_else(|| panic!("no CASE: {text}"));
                assert!(before.trim_start().starts_with("Filter: CASE WHEN ") && before.contains("t.b "), "{text}");
                assert!(!before.contains(" / ") && !before.contains("CAST"), "{text}");
                assert_eq!(text.matches(" / t.a").count(), after.matches(" / t.a").count(), "{text}");
            }
        }
    }
}
