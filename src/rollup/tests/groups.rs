//! Aggregates over aggregates: which are one question of the rows below, and why the others are not.

use super::lab::{Row, Rows, Text, at, design, plan, session};
use crate::rollup::{Unfit, aggregates, is_worthwhile, question};

/// The question in words, or why there is none.
async fn asked(sql: &str) -> String {
    let plan = plan(&session(&[], Text::Declared), sql).await;
    let texts =
        |exprs: &[datafusion::logical_expr::Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match aggregates(&plan).first().ok_or(Unfit::NoAggregate).and_then(|aggregate| question(aggregate)) {
        Err(unfit) => unfit.to_string(),
        Ok(question) => {
            let calls = question.calls.iter().map(|call| {
                let filter = call.filter.as_ref().map(|filter| format!(" FILTER {filter}")).unwrap_or_default();
                let argument = call.argument.as_ref().map(ToString::to_string).unwrap_or_default();
                let total = match &call.total {
                    None => String::new(),
                    Some(total) => format!(
                        " TOTAL{}",
                        total.filter.as_ref().map(|filter| format!(" {filter}")).unwrap_or_default()
                    ),
                };
                format!("{:?}({argument}){filter}{total}", call.function)
            });
            let calls = calls.collect::<Vec<_>>().join(", ");
            format!("{} | {} | {} | {calls}", question.source, texts(&question.filters), texts(&question.keys))
        }
    }
}

const BELOW: &str = "(SELECT k, c, date_trunc('minute', ts) AS minute, count(*) AS rows, count(n) AS counted, sum(n) AS total, \
                     coalesce(sum(n), 0) AS spent, sum(d) AS money, min(n) AS least, avg(n) AS mean, hll_sketch(k) AS words, \
                     hll_sketch(k, 14) AS fine, theta_sketch(k) AS set, kll_sketch(n) AS spread, count(*) FILTER (WHERE b) AS some \
                     FROM f WHERE m > 0 GROUP BY k, c, date_trunc('minute', ts)) AS v";

async fn check(upper: &str, expected: &str) {
    assert_eq!(asked(&upper.replace("BELOW", BELOW)).await, expected, "{upper}");
}

/// The groups have to be made before it is known that there is one.
#[tokio::test]
async fn a_count_of_groups_is_not_known_without_reading() {
    let of_groups = "SELECT sum(rows) FROM (SELECT k, count(*) AS rows FROM f GROUP BY k)";
    for (sql, expected) in [("SELECT count(*) FROM f", false), (of_groups, true)] {
        let plan = plan(&session(&[], Text::Declared), sql).await;
        let asked = question(aggregates(&plan).first().unwrap()).unwrap();
        assert_eq!(is_worthwhile(&asked), expected, "{sql}");
    }
}

#[tokio::test]
async fn one_question_of_the_rows_below() {
    check(
        "SELECT k, sum(rows), sum(counted), sum(total), sum(money), min(least) FROM BELOW GROUP BY k",
        "f | m > Int64(0) | k | CountRows(), Count(n), Sum(n), DecimalSum(d), Min(n)",
    )
    .await;
    // Over no groups a sum of counts is NULL, and so is the sum of what is 0 for NULL.
    check(
        "SELECT sum(rows), sum(spent), sum(total) FROM BELOW",
        "f | m > Int64(0) |  | CountRows() TOTAL, Sum(n) TOTAL, Sum(n)",
    )
    .await;
    check("SELECT k, sum(spent) FROM BELOW GROUP BY k", "f | m > Int64(0) | k | Sum(n) TOTAL").await;
    check(
        "SELECT c, sum(rows) FILTER (WHERE k = 'a'), sum(some) FROM BELOW GROUP BY c",
        "f | m > Int64(0) | c | CountRows() FILTER k = Utf8(\"a\") TOTAL k = Utf8(\"a\"), CountRows() FILTER b",
    )
    .await;
    // Filters and keys are of keys; cuts of cuts are cuts.
    check(
        "SELECT date_trunc('DAY', minute), upper(k), sum(rows) FROM BELOW WHERE c = 'x' AND minute > '2024-01-01' GROUP BY 1, 2",
        "f | m > Int64(0), c = Utf8(\"x\"), date_trunc(Utf8(\"minute\"), ts) > Utf8(\"2024-01-01\") | date_trunc(Utf8(\"day\"), ts), \
         upper(k) | CountRows()",
    )
    .await;
    check(
        "SELECT CAST(minute AS DATE), max(minute), approx_distinct(c) FROM BELOW GROUP BY 1",
        "f | m > Int64(0) | CAST(ts AS Date32) | Max(date_trunc(Utf8(\"minute\"), ts)), ApproxDistinct(c)",
    )
    .await;
    let sketch = |kind: &str, size: &str, union: &str| {
        format!("Sketch {{ kept: Sketch {{ kind: {kind}, of: Values, size: {size} }}, size: {union} }}")
    };
    check(
        "SELECT hll_union(words), hll_union(words, 9), hll_union(fine), theta_union(set), kll_merge(spread) FROM BELOW",
        &format!(
            "f | m > Int64(0) |  | {}(k), {}(k), {}(k), {}(k), {}(n)",
            sketch("Hll", "None", "None"),
            sketch("Hll", "None", "Some(9)"),
            sketch("Hll", "Some(14)", "None"),
            sketch("Theta", "None", "None"),
            sketch("Kll", "None", "None"),
        ),
    )
    .await;
}

#[tokio::test]
async fn three_aggregates_deep() {
    let hours = format!(
        "(SELECT date_trunc('hour', minute) AS hour, k, sum(rows) AS rows, coalesce(sum(spent), 0) AS spent, \
                         sum(spent) FILTER (WHERE c = 'a') AS part FROM {BELOW} GROUP BY 1, 2) AS h"
    );
    check(
        &format!("SELECT date_trunc('day', hour) AS day, sum(rows), sum(spent), sum(part), sum(coalesce(part, 0)) FROM {hours} \
                  WHERE k = 'b' GROUP BY 1"),
        "f | m > Int64(0), k = Utf8(\"b\") | date_trunc(Utf8(\"day\"), ts) | CountRows(), Sum(n) TOTAL, Sum(n) FILTER c = Utf8(\"a\") TOTAL \
         c = Utf8(\"a\"), Sum(n) FILTER c = Utf8(\"a\") TOTAL",
    )
    .await;
}

#[tokio::test]
async fn what_is_none_says_why() {
    let no = |reason: &str| format!("it aggregates the groups of another aggregate, and {reason}");
    check("SELECT count(*) FROM BELOW", &no("count over them is no aggregate of rows")).await;
    check("SELECT k, count(c) FROM BELOW GROUP BY k", &no("count over them is no aggregate of rows")).await;
    check("SELECT sum(rows + 1) FROM BELOW", &no("sum over them is no aggregate of rows")).await;
    check("SELECT sum(least) FROM BELOW", &no("sum over them is no aggregate of rows")).await;
    check("SELECT max(least) FROM BELOW", &no("max over them is no aggregate of rows")).await;
    check("SELECT min(coalesce(least, 0)) FROM BELOW", &no("min over them is no aggregate of rows")).await;
    check("SELECT sum(coalesce(total, 1)) FROM BELOW", &no("sum over them is no aggregate of rows")).await;
    check("SELECT avg(mean) FROM BELOW", &no("avg over them is no aggregate of rows")).await;
    check("SELECT avg(total) FROM BELOW", &no("avg over them is no aggregate of rows")).await;
    check("SELECT hll_sketch(rows) FROM BELOW", &no("hll_sketch over them is no aggregate of rows")).await;
    check("SELECT hll_union(set) FROM BELOW", &no("hll_union over them is no aggregate of rows")).await;
    // A union of more slots than the sketches have keeps more or fewer values by how the rows are divided.
    check("SELECT theta_union(set, 14) FROM BELOW", &no("theta_union over them is no aggregate of rows")).await;
    check(
        "SELECT kll_sketch(m) FROM (SELECT m FROM f GROUP BY m)",
        &no("kll_sketch over them is no aggregate of rows"),
    )
    .await;
    check("SELECT sum(rows) FROM BELOW WHERE rows > 1", &no("groups are chosen by its answers (HAVING)")).await;
    check("SELECT sum(rows) FILTER (WHERE rows > 1) FROM BELOW", &no("groups are chosen by its answers (FILTER)"))
        .await;
    check("SELECT rows, sum(rows) FROM BELOW GROUP BY rows", &no("groups are made by its answers")).await;
    check("SELECT sum(c) FROM (SELECT count(*) AS c FROM f)", &no("there is one, with or without rows")).await;
    check(
        "SELECT sum(c) FROM (SELECT k, count(DISTINCT c) AS c FROM f GROUP BY k)",
        "count(DISTINCT …) cannot be merged from parts",
    )
    .await;
    check(
        "SELECT sum(rows) FROM (SELECT * FROM BELOW LIMIT 3)",
        "LIMIT and ORDER BY belong to the query that reads the view",
    )
    .await;
}

#[tokio::test]
async fn a_rollup_of_the_rows_answers_it() {
    let row = |ts: &str, k, n| Row { ts: at(ts), k, n, m: 1, b: Some(true), ..Row::default() };
    let all = [
        row("2024-01-01T10:00:00", Some("a"), Some(3)),
        row("2024-01-01T10:00:59", Some("a"), None),
        row("2024-01-01T10:01:00", None, Some(-5)),
        row("2024-01-01T11:00:00", Some(""), Some(7)),
        row("2024-01-02T00:00:00", Some("a"), None),
    ];
    let hourly = "SELECT date_trunc('hour', ts) AS hour, k, c, b, count(*) AS rows, sum(n) AS total FROM f WHERE m > 0 GROUP BY 1, k, c, b";
    let stored_by = design(hourly).await;
    for rows in [
        Rows { absorbed: &[&all[..2], &all[2..4]], tail: &all[4..], gone: &[] },
        Rows { absorbed: &[&all], tail: &[], gone: &[] },
        Rows { absorbed: &[&[]], tail: &[], gone: &[] },
    ] {
        let stored = rows.stored(&stored_by).await.unwrap();
        for upper in [
            "SELECT sum(rows), sum(spent), sum(total) FROM BELOW",
            "SELECT sum(rows) FROM BELOW WHERE k = 'nobody'",
            "SELECT date_trunc('day', minute), sum(rows), sum(spent) FILTER (WHERE k = 'a') FROM BELOW GROUP BY 1",
            "SELECT k, sum(rows) FILTER (WHERE k = 'a'), sum(some) FROM BELOW GROUP BY k",
            // The first hour is cut, and a minute that the filter lets in is let in as a whole.
            "SELECT k, sum(rows) FROM BELOW WHERE minute >= '2024-01-01T10:00:30' AND minute <= '2024-01-01T12:00:30' GROUP BY k",
        ] {
            let sql = upper.replace("BELOW", BELOW);
            let answer = rows.by_rollup(&stored_by, &stored, &sql).await;
            assert_eq!(answer.unwrap_or_else(|| panic!("not covered: {sql}")), rows.by_base(&sql).await, "{sql}");
        }
    }
}

/// The query fails at a group, its total does not: 2^63 − 1 and 1 for one word, −1 for another.
#[tokio::test]
async fn only_the_whole_total_has_to_fit() {
    let row = |k, n| Row { k, n: Some(n), ..Row::default() };
    let all = [row(Some("a"), i64::MAX), row(Some("a"), 1), row(Some("b"), -1)];
    let rows = Rows { absorbed: &[&all], tail: &[], gone: &[] };
    let sql = "SELECT sum(total) AS total FROM (SELECT k, sum(n) AS total FROM f GROUP BY k) AS v";
    let kept = design(sql).await;
    let stored = rows.stored(&kept).await.unwrap();
    assert_eq!(rows.reading(&kept, &stored, sql).await.unwrap().unwrap()[1], format!("\"{}\"", i64::MAX));
    let more = [row(Some("b"), 2)];
    let rows = Rows { absorbed: &[&all, &more], tail: &[], gone: &[] };
    let stored = rows.stored(&kept).await.unwrap();
    let error = rows.reading(&kept, &stored, sql).await.unwrap().unwrap_err();
    assert!(error.contains("out of the range"), "{error}");
}
