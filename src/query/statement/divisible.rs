//! Which queries' rows may be given out by several streams at once (`adlake.result_endpoints`).

use datafusion::logical_expr::{Distinct, FetchType, LogicalPlan};

use crate::query::runtime::BATCH_ROWS;

/// Whether a plan, as it is before the optimiser, has rows that nobody asked an order of, and that may be more than one batch.
///
/// An ORDER BY of a subquery or view counts as asked for where the rows come through as they are: SQL does not promise it, and
/// people count on it.
pub(super) fn is_divisible(mut plan: &LogicalPlan) -> bool {
    loop {
        plan = match plan {
            LogicalPlan::Projection(node) => node.input.as_ref(),
            LogicalPlan::Filter(node) => node.input.as_ref(),
            LogicalPlan::SubqueryAlias(node) => node.input.as_ref(),
            LogicalPlan::Limit(node) => match node.get_fetch_type() {
                Ok(FetchType::Literal(Some(rows))) if rows <= BATCH_ROWS => return false,
                _ => node.input.as_ref(),
            },
            LogicalPlan::Aggregate(node) => return !node.group_expr.is_empty(),
            LogicalPlan::Distinct(Distinct::On(node)) => return node.sort_expr.is_none(),
            LogicalPlan::Sort(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::DescribeTable(_) => return false,
            _ => return true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    async fn check(sql: &str, expected: bool) {
        let plan = SessionContext::new().state().create_logical_plan(sql).await.unwrap();
        assert_eq!(is_divisible(&plan), expected, "{sql}");
    }

    #[tokio::test]
    async fn rows_without_an_order_are_divisible() {
        for sql in [
            "SELECT value FROM generate_series(1, 10)",
            "SELECT value + 1 AS n FROM generate_series(1, 10) WHERE value > 3",
            "SELECT value FROM generate_series(1, 10) LIMIT 100000",
            "SELECT value, count(*) FROM generate_series(1, 10) GROUP BY value",
            "SELECT DISTINCT value FROM generate_series(1, 10)",
            "SELECT value FROM generate_series(1, 10) UNION ALL SELECT 1",
            "SELECT a.value FROM generate_series(1, 10) a, (SELECT value FROM generate_series(1, 10) ORDER BY 1) b",
            "WITH few AS (SELECT value FROM generate_series(1, 10) LIMIT 5) SELECT a.value FROM few a, few b",
        ] {
            check(sql, true).await;
        }
    }

    #[tokio::test]
    async fn what_has_an_order_or_is_one_batch_is_not() {
        for sql in [
            "SELECT value FROM generate_series(1, 10) ORDER BY value",
            "SELECT value + 1 AS n FROM generate_series(1, 10) ORDER BY value DESC LIMIT 100000",
            "SELECT value FROM generate_series(1, 10) UNION ALL SELECT 1 ORDER BY 1",
            "SELECT n FROM (SELECT value AS n FROM generate_series(1, 10) ORDER BY value LIMIT 9000) AS s WHERE n > 3",
            "SELECT DISTINCT ON (value) value FROM generate_series(1, 10) ORDER BY value",
            "SELECT value FROM generate_series(1, 10) LIMIT 10",
            "SELECT count(*), sum(value) FROM generate_series(1, 10)",
            "SELECT count(*) FROM generate_series(1, 10) HAVING count(*) > 3",
            "SELECT 1",
            "VALUES (1), (2)",
            "EXPLAIN SELECT value FROM generate_series(1, 10)",
            "EXPLAIN ANALYZE SELECT value FROM generate_series(1, 10)",
        ] {
            check(sql, false).await;
        }
    }
}
