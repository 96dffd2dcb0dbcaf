//! By which windows of time the changes of a view that is kept in full are told, or why they are not.

use super::lab::decided;
use crate::base::Span;
use crate::rollup::{RowWindows, StoredLayout, Strategy, Wanted};

/// `day by 1 day`, with how far its times may be ahead; or the reason why there are none.
async fn check(sql: &str, expected: &str) {
    check_as(sql, Wanted::Full, expected).await;
    check_as(sql, Wanted::FullManual, expected).await;
}

async fn check_as(sql: &str, wanted: Wanted, expected: &str) {
    let decision = decided(sql, wanted, &StoredLayout::default()).await.unwrap();
    let found = match decision.strategy {
        Strategy::Full(Ok(RowWindows { key, grain, ahead: 0 })) => format!("{key} by {grain}"),
        Strategy::Full(Ok(RowWindows { key, grain, ahead })) => {
            format!("{key} by {grain}, {} ahead", Span::from_secs(ahead.unsigned_abs() / 1_000_000))
        }
        Strategy::Full(Err(obstacle)) => obstacle.to_string(),
        Strategy::Incremental(_) | Strategy::Partition(_) => panic!("{sql}: {}", decision.reason),
    };
    assert_eq!(found, expected, "{sql}");
}

const NONE: &str = "no column of it is a time of its sources, such as date_trunc('day', …)";

#[tokio::test]
async fn a_time_is_a_group_key_or_passes_through() {
    check("SELECT k, date_trunc('day', ts) AS day, sum(n) AS n FROM f GROUP BY 1, 2", "day by 1 day").await;
    check("SELECT CAST(ts AS DATE) AS day, count(*) AS n FROM f GROUP BY 1", "day by 1 day").await;
    check("SELECT date_bin(INTERVAL '5 minutes', ts) AS t, k FROM f", "t by 5 minutes").await;
    check("SELECT k, ts FROM f WHERE n > 0", "ts by 1 hour").await;
    // A time may be missing: such rows are in no window.
    check("SELECT date_trunc('month', late) AS month, k FROM f", "month by 1 month").await;
    check("SELECT k, max(ts) AS seen FROM f GROUP BY k", NONE).await;
    check("SELECT k, count(*) AS n FROM f GROUP BY k", NONE).await;
    check("SELECT date_part('year', ts) AS year, count(*) AS n FROM f GROUP BY 1", NONE).await;
    check("SELECT date_trunc('day', ts) AS day, count(*) AS n FROM f GROUP BY ROLLUP (date_trunc('day', ts))", NONE)
        .await;
}

#[tokio::test]
async fn a_time_is_followed_through_the_query() {
    let nested = "SELECT date_trunc('day', hour) AS day, max(users) AS most FROM (SELECT date_trunc('hour', ts) AS hour, \
         count(DISTINCT k) AS users FROM f GROUP BY 1) GROUP BY 1";
    check(nested, "day by 1 day").await;
    let windows = "SELECT DISTINCT day, k FROM (SELECT date_trunc('day', ts) AS day, k, rank() OVER (ORDER BY n) AS r FROM f) \
         WHERE r < 3";
    check(windows, "day by 1 day").await;
    let unbounded = "SELECT date_trunc('day', g.ts) AS day, count(*) AS n FROM f JOIN g ON f.k = g.k GROUP BY 1";
    check(unbounded, "day by 1 day").await;
    // The side that may be missing has no time there.
    check("SELECT date_trunc('day', g.ts) AS day FROM f LEFT JOIN g ON f.k = g.k", NONE).await;
    check("SELECT date_trunc('day', f.ts) AS day FROM f LEFT JOIN g ON f.k = g.k", "day by 1 day").await;
    let days = |grain: &str| format!("SELECT date_trunc('{grain}', ts) AS t FROM g");
    check(&format!("SELECT ts AS t FROM f UNION ALL {}", days("day")), "t by 1 day").await;
    check(&format!("{} UNION ALL {}", days("month"), days("day")), "t by 1 month").await;
    check(&format!("{} UNION ALL {}", days("month"), days("week")), NONE).await;
    let subquery =
        "SELECT date_trunc('day', ts) AS day, count(*) AS n FROM f WHERE n > (SELECT max(n) FROM g) GROUP BY 1";
    check(subquery, "day by 1 day").await;
}

/// When a window was over is known though its times are not those of the source.
#[tokio::test]
async fn times_may_be_ahead_and_not_behind() {
    let seoul = "SELECT date_trunc('day', ts + INTERVAL '9 hours') AS day, count(*) AS n FROM f GROUP BY 1";
    check(seoul, "day by 1 day, 9 hours ahead").await;
    check("SELECT ts + INTERVAL '7 days' AS due, k FROM f", "due by 1 hour, 7 days ahead").await;
    check("SELECT date_trunc('day', ts - INTERVAL '9 hours') AS day, k FROM f", NONE).await;
}

#[tokio::test]
async fn events_come_first_and_then_the_order_of_columns() {
    let joined = |columns: &str| format!("SELECT {columns} FROM f JOIN other ON f.k = other.k");
    check(&joined("other.ts AS made, date_trunc('day', f.ts) AS day"), "day by 1 day").await;
    check(&joined("other.ts AS made, f.k"), "made by 1 hour").await;
    check("SELECT date_trunc('month', ts) AS month, date_trunc('day', ts) AS day FROM f", "month by 1 month").await;
}

#[tokio::test]
async fn stored_rows_of_a_view_have_the_windows_of_that_view() {
    check("SELECT day, sum(n) AS n FROM days GROUP BY day", "day by 1 day").await;
    check("SELECT date_trunc('month', day) AS month, sum(n) AS n FROM days GROUP BY 1", "month by 1 month").await;
    check("SELECT date_trunc('hour', day) AS hour, sum(n) AS n FROM days GROUP BY 1", "hour by 1 day").await;
    check("SELECT date_trunc('day', day + INTERVAL '9 hours') AS day, n FROM days", NONE).await;
}

/// Two runs over the same rows would differ, and nothing had changed.
#[tokio::test]
async fn rows_that_are_not_the_same_again_have_no_windows() {
    let day = |more: &str| format!("SELECT date_trunc('day', ts) AS day, {more}");
    check(
        &day("sum(x) AS x FROM f GROUP BY 1"),
        "sum over floating-point numbers depends on the order of rows; use DECIMAL",
    )
    .await;
    check(&day("array_agg(k) AS ks FROM f GROUP BY 1"), "array_agg may depend on the order of rows").await;
    let ties = day("row_number() OVER (PARTITION BY k ORDER BY ts) AS place FROM f");
    check(&ties, "rows that tie are in no order for row_number: order by the event key too").await;
    let subquery = day("k FROM f WHERE n > (SELECT sum(x) FROM g)");
    check(&subquery, "sum over floating-point numbers depends on the order of rows; use DECIMAL").await;
    // What is by chance is not compared, the rest is.
    check(&day("kll_sketch(n) AS ns, count(*) AS n FROM f GROUP BY 1"), "day by 1 day").await;
    let moment = day("k FROM f WHERE ts > now() - INTERVAL '7 days'");
    check_as(&moment, Wanted::FullManual, "now() changes from one run to the next").await;
    check_as(&day("k, random() AS r FROM f"), Wanted::FullManual, "random() changes from one run to the next").await;
    check_as(&day("k FROM f ORDER BY k LIMIT 3"), Wanted::FullManual, "it contains LIMIT").await;
}
