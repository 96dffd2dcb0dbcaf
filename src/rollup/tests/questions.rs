//! Normal forms, strategies and designs.

use super::lab::{Text, decided, design, plan, session};
use crate::rollup::{StoredLayout, Unfit, Wanted, aggregates, question};

async fn asked(sql: &str) -> Result<String, Unfit> {
    let plan = plan(&session(&[], Text::Declared), sql).await;
    let question = question(aggregates(&plan).first().ok_or(Unfit::NoAggregate)?)?;
    let texts =
        |exprs: &[datafusion::logical_expr::Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let calls = question.calls.iter().map(|call| {
        let filter = call.filter.as_ref().map(|filter| format!(" FILTER {filter}")).unwrap_or_default();
        let argument = call.argument.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{:?}({argument}){filter}", call.function)
    });
    let calls = calls.collect::<Vec<_>>().join(", ");
    Ok(format!("{} | {} | {} | {calls}", question.source, texts(&question.filters), texts(&question.keys)))
}

async fn check(sql: &str, expected: &str) {
    assert_eq!(asked(sql).await.unwrap_or_else(|unfit| unfit.to_string()), expected, "{sql}");
}

#[tokio::test]
async fn an_aggregate_has_one_form() {
    check("SELECT k, count(*) FROM f GROUP BY k", "f |  | k | CountRows()").await;
    check("SELECT k AS word, count(1) FROM f AS g GROUP BY g.k", "f |  | k | CountRows()").await;
    check("SELECT count(k), sum(n), sum(d), avg(n) FROM f", "f |  |  | Count(k), Sum(n), DecimalSum(d), Average(n)")
        .await;
    check("SELECT max(word) FROM (SELECT k AS word, c AS k FROM f) GROUP BY k", "f |  | c | Max(k)").await;
    check("SELECT sum(n) FILTER (WHERE 'a' = k) FROM f", "f |  |  | Sum(n) FILTER k = Utf8(\"a\")").await;
    check(
        "SELECT count(*) FROM (SELECT * FROM f WHERE n BETWEEN 1 AND 5 AND true) WHERE k = 'a' AND 5 >= n",
        "f | n >= Int64(1), n <= Int64(5), k = Utf8(\"a\") |  | CountRows()",
    )
    .await;
    check(
        "SELECT count(*) FROM f GROUP BY date_trunc('HOUR', ts)",
        "f |  | date_trunc(Utf8(\"hour\"), ts) | CountRows()",
    )
    .await;
    check("SELECT k FROM f GROUP BY k", "f |  | k | ").await;
}

#[tokio::test]
async fn what_has_no_such_form_says_why() {
    check("SELECT k FROM f", "it has no aggregate").await;
    check("SELECT count(*) FROM f, other", "it reads f, other").await;
    check(
        "SELECT count(*) FROM f AS a, f AS b",
        "its aggregate does not read a table directly, but a join or union of it",
    )
    .await;
    check("SELECT count(DISTINCT k) FROM f", "count(DISTINCT …) cannot be merged from parts").await;
    check("SELECT array_agg(k ORDER BY k) FROM f", "array_agg depends on the order of rows").await;
    check("SELECT median(n) FROM f", "median cannot be merged from parts; use strategy='full'").await;
    for percentile in
        ["approx_median(n)", "approx_percentile_cont(n, 0.9)", "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY n)"]
    {
        let said = asked(&format!("SELECT {percentile} FROM f")).await.unwrap_err().to_string();
        assert!(said.ends_with("use kll_sketch(x), and kll_quantile(…, q) where the view is read"), "{said}");
    }
    check("SELECT avg(d) FROM f", "avg cannot be merged from parts; use sum(x) / count(x)").await;
    check("SELECT count(*) FROM f GROUP BY ROLLUP (k)", "GROUPING SETS, CUBE and ROLLUP are several aggregates in one")
        .await;
    check("SELECT count(*) FROM f WHERE n > random()", "random() changes from one run to the next").await;
    check("SELECT count(*) FROM f WHERE ts > now()", "now() changes from one run to the next").await;
    check("SELECT count(*) FROM f WHERE n > (SELECT max(n) FROM other)", "it contains a subquery").await;
    check(
        "SELECT count(*) FROM (SELECT * FROM f LIMIT 5)",
        "LIMIT and ORDER BY belong to the query that reads the view",
    )
    .await;
    check("SELECT sum(x) FROM f", "sum over floating-point numbers depends on the order of rows; use DECIMAL").await;
    check("SELECT min(x) FROM f", "min over floating-point numbers depends on the order of rows; use DECIMAL").await;
    check("SELECT count(*) FROM f GROUP BY x", "the group key f.x is a floating-point number").await;
    // Nanoseconds are not stored, unless they are whole microseconds.
    let nanos = asked("SELECT count(*) FROM f GROUP BY CAST(CAST(ts AS BIGINT) AS TIMESTAMP)").await;
    assert!(nanos.is_err_and(|unfit| unfit.to_string().ends_with("of a type that groups cannot be stored by")));
    let zoned =
        asked("SELECT max(ts AT TIME ZONE 'Asia/Kolkata') FROM f GROUP BY ts AT TIME ZONE 'Asia/Kolkata'").await;
    assert!(zoned.is_ok());
    check(
        "SELECT count(*) FROM f GROUP BY length(k), arrow_typeof(k)",
        "arrow_typeof cannot be merged from parts; use strategy='full'",
    )
    .await;
    check(
        "SELECT max(c) FROM (SELECT k, count(*) AS c FROM f GROUP BY k)",
        "it aggregates the groups of another aggregate, and max over them is no aggregate of rows",
    )
    .await;
    check(
        "SELECT count(*) FROM (SELECT DISTINCT k FROM f)",
        "its aggregate does not read a table directly, but DISTINCT rows",
    )
    .await;
}

async fn strategy(sql: &str, wanted: Wanted) -> String {
    match decided(sql, wanted, &StoredLayout::default()).await {
        Ok(decision) => format!("{}: {}", decision.strategy.name(), decision.reason),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

#[tokio::test]
async fn strategies_have_reasons() {
    let counts = "SELECT k, count(*) AS c FROM f GROUP BY k HAVING count(*) > 1";
    assert_eq!(strategy(counts, Wanted::Auto).await, "incremental: an aggregate of 'f' that merges from parts");
    assert_eq!(strategy(counts, Wanted::Full).await, "full: strategy='full' was asked for");
    let no_time = "; its rows cannot be told apart by time either: no column of it is a time of its sources, such as \
         date_trunc('day', …)";
    let full = |reason: &str| format!("full: {reason}{no_time}");
    let other = "SELECT count(*) FROM other";
    assert_eq!(strategy(other, Wanted::Auto).await, "full: every load replaces the rows of 'other'");
    assert_eq!(strategy("SELECT k FROM f", Wanted::Auto).await, full("it has no aggregate"));
    let over = "SELECT k, rank() OVER (ORDER BY count(*)) AS place FROM f GROUP BY k";
    assert_eq!(strategy(over, Wanted::Auto).await, full("more than expressions and HAVING stands above its aggregate"));
    let united = "SELECT k, count(*) FROM (SELECT k FROM f UNION ALL SELECT k FROM other) GROUP BY k";
    assert_eq!(strategy(united, Wanted::Auto).await, full("it reads f, other"));
    let above = "SELECT k, (SELECT max(n) FROM other) AS most FROM f GROUP BY k";
    assert_eq!(strategy(above, Wanted::Auto).await, "full: it contains a subquery");
    let ordered = "SELECT k, count(*) FROM f GROUP BY k ORDER BY k";
    assert_eq!(
        strategy(ordered, Wanted::Auto).await,
        full("LIMIT and ORDER BY belong to the query that reads the view")
    );
    for moving in ["SELECT k FROM f WHERE ts > now()", "SELECT k, count(*) FROM f GROUP BY k LIMIT 3"] {
        for wanted in [Wanted::Auto, Wanted::Full] {
            assert!(strategy(moving, wanted).await.starts_with("refused: "), "{moving}");
        }
        assert_eq!(strategy(moving, Wanted::FullManual).await, "full: strategy='full' was asked for");
    }
}

#[tokio::test]
async fn stored_columns_are_keys_then_parts() {
    let view = "SELECT date_trunc('hour', ts) AS hour, k, upper(c) = 'A' AS \"is it\", count(*) AS rows, avg(n) AS mean, \
                sum(n) / count(n) AS ratio, sum(n) FILTER (WHERE b) AS some FROM f GROUP BY 1, k, 3";
    let columns =
        ["hour", "k", "__adlake_key_2", "__adlake_0_rows", "__adlake_1_sum", "__adlake_2_count", "__adlake_3_sum"];
    assert_eq!(design(view).await.columns(), columns);
    assert_eq!(design("SELECT k AS c, c AS k FROM f GROUP BY c, k").await.columns(), ["k", "c", "__adlake_0_rows"]);
    assert_eq!(
        design("SELECT max(n) AS top FROM f GROUP BY k").await.columns(),
        ["__adlake_key_0", "__adlake_0_max", "__adlake_1_rows"]
    );
}

#[tokio::test]
async fn a_fingerprint_is_of_what_is_stored() {
    let of = |sql: &'static str| async move { design(sql).await.fingerprint };
    let counts = of("SELECT k, count(*) AS c FROM f GROUP BY k").await;
    assert_eq!(counts, of("SELECT k, count(*) AS rows FROM f AS g GROUP BY g.k").await);
    assert_ne!(counts, of("SELECT k AS word, count(*) AS c FROM f GROUP BY k").await);
    assert_ne!(counts, of("SELECT k, count(*) AS c FROM f WHERE b GROUP BY k").await);
    assert_ne!(counts, of("SELECT k, count(n) AS c FROM f GROUP BY k").await);
}

#[tokio::test]
async fn rows_are_laid_out_by_keys_only() {
    let view = "SELECT date_trunc('day', ts) AS day, k, count(*) AS rows FROM f GROUP BY 1, 2";
    let refused = |partition_by: &'static str, sort_by: &'static str| async move {
        let names = |text: &str| text.split_terminator(',').map(str::to_owned).collect();
        let layout = StoredLayout { partition_by: names(partition_by), sort_by: names(sort_by) };
        decided(view, Wanted::Auto, &layout).await.err().map(|refusal| refusal.to_string())
    };
    assert_eq!(refused("day", "k,day").await, None);
    assert_eq!(refused("rows", "").await.as_deref(), Some("'rows' is an aggregate; partition by one of day, k"));
    assert_eq!(refused("", "rows").await.as_deref(), Some("'rows' is an aggregate; sort by one of day, k"));
    let text = "the text 'k' may be empty, which no partition can be called; partition by a time or a number, and sort by this column";
    assert_eq!(refused("k", "").await.as_deref(), Some(text));
}
