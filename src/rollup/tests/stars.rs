//! Aggregates over joins with dimensions: their form, what has none, and the rules with their negations. Whatever is answered from
//! partial rows is also run over the tables.

use super::lab::{Described, Row, Rows, Text, at, by_base_in, decided, design, plan, session};
use crate::rollup::{Asked, StoredLayout, Strategy, Wanted, aggregates};

/// The form of the aggregate with `f` as the fact.
async fn form(sql: &str) -> String {
    let plan = plan(&session(&[], Text::Declared), sql).await;
    match Asked::of(aggregates(&plan)[0], "f") {
        Ok(asked) => {
            let question = asked.question();
            let texts = |exprs: &[datafusion::logical_expr::Expr]| {
                exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let calls = question.calls.iter().map(|call| {
                let filter = call.filter.as_ref().map(|filter| format!(" FILTER {filter}")).unwrap_or_default();
                let argument = call.argument.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{:?}({argument}){filter}", call.function)
            });
            let calls = calls.collect::<Vec<_>>().join(", ");
            format!("{} | {} | {calls}", texts(&question.filters), texts(&question.keys))
        }
        Err(unfit) => unfit.to_string(),
    }
}

async fn check(sql: &str, expected: &str) {
    assert_eq!(form(sql).await, expected, "{sql}");
}

#[tokio::test]
async fn the_fact_is_asked_for_what_joins_filters_and_keys_look_at() {
    let joined = "FROM f JOIN d1 ON f.k = d1.k";
    check(&format!("SELECT d1.name, count(*), sum(n) {joined} GROUP BY d1.name"), " | k | CountRows(), Sum(n)").await;
    check(&format!("SELECT count(*) {joined} WHERE f.b AND d1.ok AND f.c > d1.name"), "b | k, c | CountRows()").await;
    check("SELECT count(*) FROM f, d1 WHERE f.k = d1.k AND n > 0", "n > Int64(0) | k | CountRows()").await;
    check("SELECT count(*) FROM d1 JOIN f USING (k)", " | k | CountRows()").await;
    check("SELECT count(*) FROM f JOIN d1 ON f.k = d1.k AND f.b", "b | k | CountRows()").await;
    // An outer join keeps the row all the same.
    check("SELECT count(*) FROM f LEFT JOIN d1 ON f.k = d1.k AND f.b", " | k, b | CountRows()").await;
    check("SELECT count(*) FROM f LEFT ANTI JOIN d1 ON f.k = d1.k AND f.b", " | k, b | CountRows()").await;
    check("SELECT count(*) FROM f LEFT SEMI JOIN d1 ON f.k = d1.k AND f.b", "b | k | CountRows()").await;
    check(
        "SELECT date_trunc('hour', ts), count(*) FROM f JOIN d1 ON lower(f.k) = d1.k AND f.n BETWEEN d1.j AND d1.w GROUP BY 1",
        " | date_trunc(Utf8(\"hour\"), ts), lower(k), n | CountRows()",
    )
    .await;
    // FILTERs are split; count(d) is a count of rows; what is over dimensions alone asks nothing.
    check(
        &format!("SELECT sum(m) FILTER (WHERE b AND d1.ok AND f.k = 'a'), count(d1.w), min(d1.name), max(d1.w) FILTER (WHERE c = 'a') {joined}"),
        " | k, c = Utf8(\"a\") | Sum(m) FILTER b AND k = Utf8(\"a\"), CountRows()",
    )
    .await;
    check("SELECT count(*) FROM (SELECT upper(k) AS u, ts AS t FROM f WHERE b) x JOIN (SELECT k FROM d1 WHERE ok) y ON x.u = y.k", "b | upper(k) | CountRows()").await;
    check(
        "SELECT count(*) FROM f JOIN d1 ON f.k = d1.k JOIN d2 ON d1.j = d2.j LEFT JOIN d3 ON d3.k = f.c",
        " | k, c | CountRows()",
    )
    .await;
    check("SELECT count(*) FROM f JOIN (d1 JOIN d2 ON d1.j = d2.j) ON f.k = d2.k", " | k | CountRows()").await;
}

#[tokio::test]
async fn what_is_no_star_says_why() {
    check("SELECT count(*) FROM f RIGHT JOIN d1 ON f.k = d1.k", "a Right join does not go by the rows of 'f'").await;
    check("SELECT count(*) FROM f FULL JOIN d1 ON f.k = d1.k", "a Full join does not go by the rows of 'f'").await;
    check("SELECT count(*) FROM d1 LEFT JOIN f ON f.k = d1.k", "a Left join does not go by the rows of 'f'").await;
    check("SELECT count(*) FROM d1 LEFT SEMI JOIN f ON f.k = d1.k", "a LeftSemi join does not go by the rows of 'f'")
        .await;
    check("SELECT count(*) FROM f JOIN f AS g ON f.k = g.k", "'f' is joined with itself").await;
    check("SELECT count(*) FROM f JOIN (SELECT k FROM f GROUP BY k) AS g ON f.k = g.k", "'f' is joined with itself")
        .await;
    check(
        "SELECT count(*) FROM f JOIN (SELECT * FROM d1 WHERE k IN (SELECT k FROM f)) AS g ON f.k = g.k",
        "'f' is joined with itself",
    )
    .await;
    check(
        "SELECT d1.name, count(*) FROM f CROSS JOIN d1 GROUP BY d1.name",
        "no column of 'f' decides what its rows are joined with, nor how they are grouped",
    )
    .await;
    let joined = "FROM f JOIN d1 ON f.k = d1.k";
    let refused = |call: &str| format!("SELECT {call} {joined}");
    for call in ["sum(d1.w)", "avg(d1.w)", "sum(n * d1.w)", "min(n + d1.w)", "count(n + d1.w)"] {
        let form = form(&refused(call)).await;
        assert!(form.contains("is not over columns of one table, or counts how often"), "{call}: {form}");
    }
    check(&refused("count(DISTINCT n)"), "count(DISTINCT …) cannot be merged from parts").await;
    check(&refused("median(n)"), "median cannot be merged from parts; use strategy='full'").await;
    check(
        &format!("SELECT count(*) {joined} GROUP BY ROLLUP (name)"),
        "GROUPING SETS, CUBE and ROLLUP are several aggregates in one",
    )
    .await;
    check(&format!("SELECT count(*) {joined} AND d1.w > random()"), "random() changes from one run to the next").await;
    check(&format!("SELECT count(*) {joined} WHERE ts > (SELECT max(ts) FROM other)"), "it contains a subquery").await;
    check(
        "SELECT count(*) FROM (SELECT * FROM f LIMIT 5) x JOIN d1 ON x.k = d1.k",
        "LIMIT and ORDER BY belong to the query that reads the view",
    )
    .await;
    let floats = form(&format!("SELECT count(*) {joined} AND f.x > d1.w")).await;
    assert_eq!(
        floats,
        "x decides what rows are joined with or how they are grouped, and groups cannot be stored by its type"
    );
}

/// What fails for a row that joins nothing is worked out after the join, or not at all.
#[tokio::test]
async fn no_row_fails_before_the_join_drops_it() {
    let keyed =
        "SELECT 1 / n, CAST(f.k AS BIGINT), count(*) FROM f JOIN d1 ON f.c = d1.k AND 7 / m > d1.w GROUP BY 1, 2";
    check(keyed, " | n, k, c, m | CountRows()").await;
    let filtered = "SELECT sum(n) FILTER (WHERE 1 / m = 1 AND b) FROM f JOIN d1 ON f.c = d1.k";
    check(filtered, " | c, m, b | Sum(n)").await;
    let summed = |join: &str| format!("SELECT sum(1 / n) FROM f {join} JOIN d1 ON f.k = d1.k");
    check(
        &summed(""),
        "Int64(1) / n may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none",
    )
    .await;
    check(&summed("LEFT"), " | k | Sum(Int64(1) / n)").await;
    check(
        &format!("{} WHERE d1.ok IS NULL", summed("LEFT")),
        "Int64(1) / n may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none",
    )
    .await;
    check(&format!("{} WHERE f.b IS NULL", summed("LEFT")), "b IS NULL | k | Sum(Int64(1) / n)").await;
    // What is united may be no sketch.
    let united = "SELECT hll_union(f.c) FROM f JOIN d1 ON f.k = d1.k";
    check(united, "c may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none").await;

    check(
        "SELECT sum(1 / n) FILTER (WHERE d1.ok) FROM f LEFT JOIN d1 ON f.k = d1.k",
        "Int64(1) / n may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none",
    )
    .await;

    let rows = [
        Row { n: Some(0), m: 0, k: Some("x"), c: Some("x"), b: Some(true), ..Row::default() },
        Row { n: Some(1), m: 1, k: Some("1"), c: Some("a"), b: Some(true), ..Row::default() },
    ];
    let dimension = [Described { k: Some("a"), w: Some(1), ..Described::default() }];
    let rows = Rows { absorbed: &[&rows], tail: &rows, gone: &[] };
    let session = rows.session_with([&dimension, &[], &[]]);
    for sql in [keyed, filtered] {
        let design = design(sql).await;
        let stored = rows.stored(&design).await.unwrap();
        let answer = rows.reading_in(&session, &design, &stored, sql).await.unwrap();
        assert_eq!(answer.len(), 2, "{answer:?}");
        assert_eq!(Ok(answer), by_base_in(&session, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn which_table_is_the_fact() {
    let decided = async |sql: &str| {
        let decision = decided(sql, Wanted::Auto, &StoredLayout::default()).await.unwrap();
        format!("{}: {}", decision.strategy.name(), decision.reason)
    };
    let star = "SELECT d1.name, count(*) FROM d2 JOIN f ON f.c = d2.k LEFT JOIN d1 ON f.k = d1.k GROUP BY d1.name";
    assert_eq!(
        decided(star).await,
        "incremental with dimensions: an aggregate of 'f' that merges from parts, joined with 'd1', 'd2' when it is read"
    );
    let constants =
        "SELECT v.name, count(*) FROM f JOIN (VALUES ('a', 'A')) AS v(k, name) ON f.k = v.k GROUP BY v.name";
    assert_eq!(
        decided(constants).await,
        "incremental with dimensions: an aggregate of 'f' that merges from parts, joined with constants when it is read"
    );
    let no_time = "; its rows cannot be told apart by time either: no column of it is a time of its sources, such as \
         date_trunc('day', …)";
    let full = |reason: &str| format!("full: {reason}{no_time}");
    let snapshots = "SELECT d1.name, count(*) FROM d1 JOIN d2 ON d1.k = d2.k GROUP BY d1.name";
    assert_eq!(decided(snapshots).await, full("it reads d1, d2"));
    let selfish = "SELECT f.k, count(*) FROM f JOIN f AS g ON f.k = g.k GROUP BY f.k";
    assert_eq!(decided(selfish).await, full("its aggregate does not read a table directly, but a join or union of it"));
    let outer = "SELECT d1.name, count(*) FROM f RIGHT JOIN d1 ON f.k = d1.k GROUP BY d1.name";
    assert_eq!(decided(outer).await, full("a Right join does not go by the rows of 'f'"));
    let above = "SELECT x.k, x.c, d1.name FROM (SELECT k, count(*) AS c FROM f GROUP BY k) AS x JOIN d1 ON x.k = d1.k";
    assert_eq!(decided(above).await, full("it reads d1, f"));
}

#[tokio::test]
async fn stored_columns_are_keys_of_the_fact() {
    let view = "SELECT date_trunc('day', f.ts) AS day, d1.name, f.b AS flag, count(*) AS rows, avg(f.n) AS mean, max(d1.w) AS most \
                FROM f LEFT JOIN d1 ON f.k = d1.k GROUP BY 1, 2, 3";
    let found = design(view).await;
    let columns = ["day", "flag", "__adlake_key_2", "__adlake_0_rows", "__adlake_1_sum", "__adlake_2_count"];
    assert_eq!(found.columns(), columns);
    assert_eq!(found.dimensions.as_deref(), Some(["d1".to_owned()].as_slice()));
    assert_eq!(found.shown_time_key(), Some("day"));
    let hidden = "SELECT d1.name, count(*) AS c FROM f JOIN d1 ON f.k = d1.k GROUP BY date_trunc('day', f.ts), d1.name";
    assert_eq!(design(hidden).await.shown_time_key(), None);
    // What is not stored makes no difference.
    let fingerprint = async |sql: &str| design(sql).await.fingerprint;
    let counts = fingerprint("SELECT d1.name, count(*) AS c FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name").await;
    assert_eq!(counts, fingerprint("SELECT upper(e.name) AS n, count(*) AS c FROM f LEFT JOIN d2 AS e ON f.k = e.k AND e.ok GROUP BY 1 HAVING count(*) > 1").await);
    assert_ne!(
        counts,
        fingerprint("SELECT d1.name, count(*) AS c FROM f JOIN d1 ON f.c = d1.k GROUP BY d1.name").await
    );
    assert_ne!(
        counts,
        fingerprint("SELECT d1.name, count(*) AS c FROM f JOIN d1 ON f.k = d1.k AND f.b GROUP BY d1.name").await
    );
    assert_ne!(
        counts,
        fingerprint("SELECT d1.name, f.k, count(*) AS c FROM f JOIN d1 ON f.k = d1.k GROUP BY 1, 2").await
    );

    let refused = async |partition_by: &str, sort_by: &str| {
        let names = |text: &str| text.split_terminator(',').map(str::to_owned).collect();
        let layout = StoredLayout { partition_by: names(partition_by), sort_by: names(sort_by) };
        decided(view, Wanted::Auto, &layout).await.err().map(|refusal| refusal.to_string())
    };
    assert_eq!(refused("day", "flag,day").await, None);
    assert_eq!(
        refused("", "name").await.as_deref(),
        Some(
            "'name' is of a dimension, which is joined when the view is read and not stored; sort by one of day, flag"
        )
    );
    assert_eq!(refused("rows", "").await.as_deref(), Some("'rows' is an aggregate; partition by one of day, flag"));
}

fn some_rows() -> Vec<Row> {
    let words = [None, Some(""), Some("a"), Some("b"), Some("nobody")];
    (0..40)
        .map(|index: i64| Row {
            ts: at("2023-12-31T22:00:00") + index * 600_000_000,
            late: None,
            k: words[index as usize % 5],
            c: words[index as usize / 5 % 5],
            n: Some(index * 3 - 10).filter(|_| index % 4 != 1),
            m: index,
            d: Some(i128::from(index) * 7 - 50).filter(|_| index % 3 != 0),
            b: [None, Some(true), Some(false)][index as usize % 3],
        })
        .collect()
}

/// A key twice, a key that is NULL, one that is '', one that no row of `f` has.
fn some_dimension() -> Vec<Described> {
    let row = |k, j, name, w, ok| Described { k, j: Some(j), name, w, ok };
    vec![
        row(Some("a"), 1, Some("A"), Some(10), Some(true)),
        row(Some("a"), 2, Some("A again"), Some(20), None),
        row(None, 3, Some("nothing"), Some(30), Some(true)),
        row(Some(""), 4, None, Some(40), Some(false)),
        row(Some("unused"), 5, Some("unused"), None, Some(true)),
        row(Some("b"), 6, Some("A"), Some(60), Some(true)),
    ]
}

async fn answers(view: &str, sql: &str) -> bool {
    let all = some_rows();
    let dimension = some_dimension();
    for rows in [
        Rows { absorbed: &[&all[..13], &all[13..30]], tail: &all[30..], gone: &[] },
        Rows { absorbed: &[&all], tail: &[], gone: &[] },
        Rows { absorbed: &[], tail: &[], gone: &[] },
    ] {
        let session = rows.session_with([&dimension, &dimension, &dimension[..2]]);
        let design = design(view).await;
        for stored in [rows.stored(&design).await.unwrap(), rows.folded(&design).await.unwrap()] {
            if design.dimensions.is_some() {
                let read = rows.reading_in(&session, &design, &stored, view).await;
                assert_eq!(read, by_base_in(&session, view).await, "{view}");
            }
            match rows.by_rollup_in(&session, &design, &stored, sql).await {
                Some(answer) => assert_eq!(answer, by_base_in(&session, sql).await, "{view}\n{sql}"),
                None => return false,
            }
        }
    }
    true
}

async fn covers(view: &str, sql: &str) {
    assert!(answers(view, sql).await, "not covered\n{view}\n{sql}");
}

async fn leaves(view: &str, sql: &str) {
    assert!(!answers(view, sql).await, "covered\n{view}\n{sql}");
}

#[tokio::test]
async fn a_rollup_of_the_fact_alone_answers_joins() {
    let rollup = "SELECT date_trunc('hour', ts) AS hour, k, b, count(*) AS rows, sum(n) AS s, count(n) AS c, min(d) AS d FROM f GROUP BY 1, 2, 3";
    covers(rollup, "SELECT d1.name, count(*), sum(f.n), avg(f.n) FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name").await;
    covers(
        rollup,
        "SELECT d1.name, count(*), min(f.d) FROM f LEFT JOIN d1 ON f.k = d1.k GROUP BY d1.name HAVING count(*) > 2",
    )
    .await;
    covers(rollup, "SELECT date_trunc('day', ts), d1.ok, sum(n) FROM d1 RIGHT JOIN f USING (k) GROUP BY 1, 2").await;
    covers(rollup, "SELECT count(*), sum(n) FROM f JOIN d1 ON lower(f.k) = d1.k AND (f.b OR d1.ok)").await;
    covers(rollup, "SELECT d2.name, count(d1.w), max(d2.w) FROM f JOIN d1 ON f.k = d1.k LEFT JOIN d2 ON d1.j = d2.j GROUP BY d2.name").await;
    covers(rollup, "SELECT d1.name, sum(n) FILTER (WHERE d1.ok), count(*) FILTER (WHERE b AND NOT d1.ok) FROM f JOIN d1 ON f.k = d1.k GROUP BY 1").await;
    covers(rollup, "SELECT count(*) FROM f LEFT SEMI JOIN d1 ON f.k = d1.k").await;
    covers(rollup, "SELECT b, count(*) FROM f LEFT ANTI JOIN d1 ON f.k = d1.k AND d1.ok GROUP BY b").await;
    // The edges of a range of time come from the table.
    covers(rollup, "SELECT d1.name, count(*) FROM f JOIN d1 ON f.k = d1.k WHERE ts >= '2023-12-31T22:15:00' AND ts < '2024-01-01T01:00:00' AND d1.ok GROUP BY 1").await;
    leaves(rollup, "SELECT d1.name, count(*) FROM f JOIN d1 ON f.c = d1.k GROUP BY d1.name").await;
    leaves(rollup, "SELECT d1.name, count(*) FROM f JOIN d1 ON f.k = d1.k AND f.m > d1.w GROUP BY d1.name").await;
    leaves(rollup, "SELECT d1.name, sum(f.m) FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name").await;
    leaves(rollup, "SELECT d1.name, count(*) FROM f JOIN d1 ON f.k = d1.k WHERE f.n > 1 GROUP BY d1.name").await;
    leaves(rollup, "SELECT d1.name, count(*) FROM f RIGHT JOIN d1 ON f.k = d1.k GROUP BY d1.name").await;
    leaves(rollup, "SELECT count(*) FROM f CROSS JOIN d1").await;
    leaves(rollup, "SELECT sum(d1.w) FROM f JOIN d1 ON f.k = d1.k").await;
}

#[tokio::test]
async fn a_view_with_dimensions_answers_other_queries_on_its_fact() {
    let view =
        "SELECT d1.name, f.b, count(*) AS rows, sum(f.n) AS s FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name, f.b";
    covers(view, "SELECT k, b, count(*) FROM f GROUP BY k, b").await;
    covers(view, "SELECT d2.w, sum(n) FROM f LEFT JOIN d2 ON f.k = d2.k AND f.b GROUP BY d2.w").await;
    covers(view, "SELECT d1.name, count(*) FROM d1 JOIN f ON f.k = d1.k WHERE d1.ok GROUP BY d1.name").await;
    leaves(view, "SELECT c, count(*) FROM f GROUP BY c").await;
    // Rows that the view's filter on its fact leaves out are not stored.
    let some = "SELECT d1.name, count(*) AS rows FROM f JOIN d1 ON f.k = d1.k AND f.b GROUP BY d1.name";
    leaves(some, "SELECT k, count(*) FROM f GROUP BY k").await;
    covers(some, "SELECT k, count(*) FROM f WHERE b GROUP BY k").await;
}

/// Parts may leave BIGINT; only a group's total has to fit.
#[tokio::test]
async fn only_the_whole_sum_has_to_fit() {
    let view = "SELECT d1.name, sum(n) AS s FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name";
    let row = |k, n| Row { k: Some(k), n: Some(n), ..Row::default() };
    let rows = [row("a", i64::MAX), row("a", 5), row("b", -i64::MAX), row("nobody", i64::MAX), row("nobody", i64::MAX)];
    let one = |k, name| Described { k: Some(k), name: Some(name), ..Described::default() };
    let rows = Rows { absorbed: &[&rows], tail: &[], gone: &[] };
    let design = design(view).await;
    let stored = rows.stored(&design).await.unwrap();
    let together = [one("a", "both"), one("b", "both")];
    let answer = rows.reading_in(&rows.session_with([&together, &[], &[]]), &design, &stored, view).await.unwrap();
    assert_eq!(answer, ["d1.name Utf8View, s Int64", "\"both\" \"5\""]);
    let apart = [one("a", "one"), one("b", "other")];
    let error = rows.reading_in(&rows.session_with([&apart, &[], &[]]), &design, &stored, view).await.unwrap_err();
    assert!(error.contains("out of the range"), "{error}");
}

#[tokio::test]
async fn a_view_of_a_star_is_incremental() {
    let found = decided(
        "SELECT d1.name, count(*) FROM f JOIN d1 ON f.k = d1.k GROUP BY d1.name",
        Wanted::Full,
        &StoredLayout::default(),
    )
    .await;
    assert!(matches!(found.unwrap().strategy, Strategy::Full(_)), "strategy='full' was asked for");
}
