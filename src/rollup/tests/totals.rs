//! Which expressions are known to have a value for every row.

use datafusion::logical_expr::LogicalPlan;

use super::lab::{Text, plan, session};
use crate::rollup::total::is_total;

/// Of an expression over `f`.
async fn total(sql: &str) -> bool {
    let plan = plan(&session(&[], Text::Read), &format!("SELECT {sql} FROM f")).await;
    let LogicalPlan::Projection(projection) = &plan else { panic!("{sql} is no projection") };
    is_total(&projection.expr[0], projection.input.schema())
}

#[tokio::test]
async fn some_expressions_have_a_value_for_every_row() {
    for sql in [
        "k",
        "n IS NULL OR NOT b",
        "k = c",
        "k <> 'a'",
        "n > 5",
        "n < 1.5",
        "m BETWEEN 1 AND n",
        "d >= 1",
        "x = n",
        "k IN ('a', NULL)",
        "k LIKE 'a%'",
        "ts >= '2024-01-01'",
        "ts > TIMESTAMP '2024-01-01T00:00:00'",
        "local < late",
        "k IS NOT DISTINCT FROM c",
        "date_trunc('day', ts)",
        "date_trunc('day', ts AT TIME ZONE 'Asia/Kolkata')",
        "date_bin(INTERVAL '1 hour', ts)",
        "extract(hour FROM ts)",
        "CAST(ts AS DATE)",
        "CAST(n AS VARCHAR)",
        "CAST(b AS INTEGER)",
        "TRY_CAST(k AS BIGINT)",
        "lower(coalesce(k, c, 'none'))",
        "nullif(n, 0)",
        "CASE WHEN b THEN n ELSE 0 END",
        "CASE k WHEN 'a' THEN c WHEN 'b' THEN 'c' END",
    ] {
        assert!(total(sql).await, "{sql}");
    }
}

#[tokio::test]
async fn others_may_fail_for_some_row() {
    for sql in [
        "1 / n",
        "n + 1",
        "n * m",
        "-n",
        "n % m",
        "CAST(k AS BIGINT)",
        "CAST(n AS INTEGER)",
        "CAST(d AS BIGINT)",
        "CAST(k AS TIMESTAMP)",
        "k = n",
        "k > ts",
        "k IN ('a', n)",
        "coalesce(k, n)",
        "CAST(d AS DECIMAL(38, 20)) > n",
        "n > 1 / m",
        "CASE WHEN m > 0 THEN 1 / m ELSE 0 END",
        "CASE k WHEN n THEN 1 ELSE 2 END",
        "lower(CAST(CAST(k AS BIGINT) AS VARCHAR))",
        "date_trunc('day', CAST(k AS TIMESTAMP))",
        "k LIKE c",
        "k ~ c",
        "repeat(k, m)",
        "to_timestamp(k)",
    ] {
        assert!(!total(sql).await, "{sql}");
    }
}
