//! Which queries can be told apart by time, and what their rows of one time depend on; the rest says why not.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::lab::{decided, plan, session};
use crate::rollup::{Needed, Spread, StoredLayout, Strategy, Times, Wanted};

/// `day by 1 day: f.ts, g.ts -7d +0s, whole other`, or the reason why it is kept otherwise.
async fn lineage(sql: &str) -> String {
    let decision = decided(sql, Wanted::Auto, &StoredLayout::default()).await.unwrap();
    let design = match &decision.strategy {
        Strategy::Partition(design) => design,
        Strategy::Incremental(_) => return "incremental".to_owned(),
        Strategy::Full(_) => return decision.reason,
    };
    let width = |sign: char, micros: i64| match micros {
        0 => String::new(),
        _ => format!(" {sign}{}", crate::base::Span::from_secs(micros.unsigned_abs().div_ceil(1_000_000))),
    };
    let scan = |Needed { table, column, before, after }: &Needed| {
        let (before, after) =
            (width(if *before > 0 { '-' } else { '+' }, *before), width(if *after > 0 { '+' } else { '-' }, *after));
        format!("{table}.{column}{before}{after}")
    };
    let mut reads: Vec<String> = design.scans().map(scan).collect();
    reads.extend(design.lineage.whole.iter().map(|table| format!("whole {table}")));
    format!("{} by {}: {}", design.key, design.grain, reads.join(", "))
}

async fn check(sql: &str, expected: &str) {
    assert_eq!(lineage(sql).await, expected, "{sql}");
}

#[tokio::test]
async fn groups_by_a_cut_of_time_depend_on_the_rows_of_that_time() {
    check("SELECT date_trunc('day', ts) AS day, count(DISTINCT k) FROM f GROUP BY 1", "day by 1 day: f.ts").await;
    check("SELECT k, date_trunc('month', ts) AS m, median(n) FROM f WHERE b GROUP BY 1, 2", "m by 1 month: f.ts").await;
    check("SELECT CAST(ts AS DATE) AS day, avg(d) FROM f GROUP BY 1", "day by 1 day: f.ts").await;
    check("SELECT date_bin(INTERVAL '5 minutes', ts) AS t, avg(d) FROM f GROUP BY 1", "t by 5 minutes: f.ts").await;
    check("SELECT DISTINCT date_trunc('hour', ts) AS hour, k FROM f", "hour by 1 hour: f.ts").await;
    let sketched = "SELECT date_trunc('day', ts) AS day, hll_sketch(k) AS ks, theta_sketch(n) AS ns, count(DISTINCT k) AS n FROM f GROUP BY 1";
    check(sketched, "day by 1 day: f.ts").await;
    check("SELECT k, ts FROM f WHERE n > 0", "ts by 1 hour: f.ts").await;
    let nested = "SELECT date_trunc('day', hour) AS day, max(users) FROM (SELECT date_trunc('hour', ts) AS hour, \
         count(DISTINCT k) AS users FROM f GROUP BY 1) GROUP BY 1";
    check(nested, "day by 1 day: f.ts").await;
    // Days of Seoul.
    let seoul = "SELECT date_trunc('day', ts + INTERVAL '9 hours') AS day, count(DISTINCT k) FROM f GROUP BY 1";
    check(seoul, "day by 1 day: f.ts -9 hours -9 hours").await;
    let weeks = "SELECT date_trunc('month', date_trunc('week', ts)) AS m, count(DISTINCT k) FROM f GROUP BY 1";
    check(weeks, "m by 1 hour: f.ts +38 days").await;
}

/// The grain is that of the side which the column is of.
#[tokio::test]
async fn semi_joins_show_the_columns_of_one_side() {
    for (join, first, second) in [("RIGHT SEMI", "f", "g"), ("RIGHT ANTI", "f", "g"), ("LEFT SEMI", "g", "f")] {
        let cut = |table: &str| match table {
            "g" => "SELECT date_trunc('day', ts) AS day, k FROM g",
            _ => "SELECT date_trunc('month', ts) AS month, k FROM f",
        };
        let (one, other) = (cut(first), cut(second));
        let sql = format!(
            "SELECT day, g.k FROM ({one}) AS {first} {join} JOIN ({other}) AS {second} ON f.k = g.k AND \
             f.month = date_trunc('month', g.day)"
        );
        let found = lineage(&sql).await;
        assert!(found.starts_with("day by 1 day: "), "{found} of {sql}");
    }
}

#[tokio::test]
async fn windows_are_whole_partitions() {
    let ranked = |by: &str, order: &str| {
        format!(
            "SELECT date_trunc('day', ts) AS day, k, {} OVER (PARTITION BY {by} ORDER BY {order}) AS place FROM f",
            if order.contains('m') { "row_number()" } else { "rank()" }
        )
    };
    check(&ranked("k, date_trunc('day', ts)", "n"), "day by 1 day: f.ts").await;
    check(&ranked("date_trunc('hour', ts)", "n"), "day by 1 day: f.ts").await;
    check(&ranked("date_trunc('day', ts)", "ts, m"), "day by 1 day: f.ts").await;
    check(&ranked("ts", "n"), "day by 1 day: f.ts").await;
    let week = ranked("date_trunc('week', ts)", "n");
    check(&week, "day by 1 day: f.ts -7 days +7 days").await;
    let by_column = "SELECT day, k, rank() OVER (PARTITION BY day ORDER BY n) FROM (SELECT date_trunc('day', ts) AS day, k, n FROM f)";
    check(by_column, "day by 1 day: f.ts").await;
    let why = "it has no aggregate; its rows cannot be told apart by time either: ";
    check(
        &ranked("k", "n"),
        &format!("{why}PARTITION BY of rank() PARTITION BY [f.k] ORDER BY [f.n ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW does not contain 'ts'"),
    )
    .await;
    // Rows that have no match are one partition of all times.
    let unmatched = "SELECT date_trunc('day', f.ts) AS day, rank() OVER (PARTITION BY g.ts ORDER BY f.n) AS place FROM f LEFT JOIN g \
         ON f.ts = g.ts";
    assert!(lineage(unmatched).await.contains("does not contain 'ts'"), "{}", lineage(unmatched).await);
    let ties = "SELECT ts, row_number() OVER (PARTITION BY ts ORDER BY n) FROM f";
    check(ties, &format!("{why}rows that tie are in no order for row_number: order by the event key too")).await;
}

#[tokio::test]
async fn joins_depend_on_what_their_condition_bounds() {
    let join = |on: &str| {
        format!(
            "SELECT date_trunc('day', g.ts) AS day, f.k, count(*) AS n FROM g JOIN f ON g.k = f.k AND {on} GROUP BY 1, 2"
        )
    };
    let week = "g.ts >= f.ts AND g.ts < f.ts + INTERVAL '7 days'";
    check(&join(week), "day by 1 day: g.ts, f.ts -7 days").await;
    check(&join(week).replace("JOIN", "LEFT JOIN"), "day by 1 day: g.ts, f.ts -7 days").await;
    check(
        &join("f.ts BETWEEN g.ts - INTERVAL '1 hour' AND g.ts + INTERVAL '1 hour'"),
        "day by 1 day: g.ts, f.ts -1 hour +1 hour",
    )
    .await;
    check(&join("date_trunc('day', f.ts) = date_trunc('day', g.ts)"), "day by 1 day: g.ts, f.ts").await;
    check(&join("date_trunc('week', f.ts) = date_trunc('week', g.ts)"), "day by 1 day: g.ts, f.ts -7 days +7 days")
        .await;
    check(&join("f.ts = g.ts"), "day by 1 day: g.ts, f.ts").await;
    let comma = "SELECT date_trunc('day', a.ts) AS day, count(*) AS n FROM f AS a, g AS b, f AS c WHERE a.k = b.k AND b.ts > a.ts \
         AND b.ts <= a.ts + INTERVAL '1 day' AND c.ts = b.ts GROUP BY 1";
    check(comma, "day by 1 day: f.ts, g.ts +1 day, f.ts +1 day").await;
    // Each is bounded by the one before.
    let chain = "SELECT date_trunc('day', v.ts) AS day, count(*) AS n FROM f v JOIN g c ON v.k = c.k AND c.ts BETWEEN v.ts - INTERVAL \
         '7 days' AND v.ts LEFT JOIN f i ON c.n = i.n AND i.ts BETWEEN c.ts - INTERVAL '1 day' AND c.ts GROUP BY 1";
    check(chain, "day by 1 day: f.ts, g.ts -7 days, f.ts -8 days").await;
    let days = "SELECT a.day, a.n, b.n AS m FROM (SELECT date_trunc('day', ts) AS day, count(DISTINCT k) AS n FROM f GROUP BY 1) a \
         JOIN (SELECT date_trunc('day', ts) AS day, count(*) AS n FROM g GROUP BY 1) b ON a.day = b.day";
    check(days, "day by 1 day: f.ts, g.ts").await;
    let why = "it reads f, g; its rows cannot be told apart by time either: ";
    let unbounded = format!(
        "{why}'f' is joined without bounds on its time, such as b.ts >= a.ts AND b.ts < a.ts + INTERVAL '7 days'"
    );
    check(&join("g.ts >= f.ts"), &unbounded).await;
    check(&join("g.n = f.n"), &unbounded).await;
    check(&join("f.late BETWEEN g.ts AND g.ts + INTERVAL '1 day'"), &format!("{why}'late' of 'f' may be NULL")).await;
    check(
        &join(week).replace("JOIN", "RIGHT JOIN"),
        &format!("{why}'ts' is of the side of an outer join that may be missing"),
    )
    .await;
    check(
        &join(week).replace("JOIN", "FULL JOIN"),
        &format!("{why}'ts' is of the side of an outer join that may be missing"),
    )
    .await;
}

#[tokio::test]
async fn dimensions_are_read_whole_and_unions_side_by_side() {
    let dimension = "SELECT date_trunc('day', f.ts) AS day, o.c, count(DISTINCT f.k) AS n FROM f LEFT JOIN other o ON f.k = o.k GROUP BY 1, 2";
    check(dimension, "day by 1 day: f.ts, whole other").await;
    let events = "SELECT day, sum(n) AS n FROM (SELECT date_trunc('day', ts) AS day, m AS n FROM f UNION ALL \
         SELECT date_trunc('day', ts), -m FROM g) GROUP BY 1";
    check(events, "day by 1 day: f.ts, g.ts").await;
    let constant = "SELECT ts, k FROM f UNION ALL SELECT TIMESTAMPTZ '2020-01-01', 'x'";
    let why = "its rows cannot be told apart by time either: ";
    let said = lineage(constant).await;
    assert!(said.contains(why) && said.contains("is not near a time column"), "{said}");
    let nothing = "SELECT k, count(DISTINCT c) FROM f GROUP BY 1";
    check(nothing, &format!("count(DISTINCT …) cannot be merged from parts; {why}no column of it is a time of its sources, such as date_trunc('day', …)")).await;
    let float = "SELECT date_trunc('day', ts) AS day, avg(x) FROM f GROUP BY 1";
    check(float, "avg over floating-point numbers depends on the order of rows; use DECIMAL").await;
    let distinct = "SELECT DISTINCT date_trunc('day', ts) AS day, x FROM f";
    check(
        distinct,
        &format!(
            "it has no aggregate; {why}DISTINCT over floating-point numbers depends on the order of rows; use DECIMAL"
        ),
    )
    .await;
    let ordered = "SELECT date_trunc('day', ts) AS day, array_agg(k) FROM f GROUP BY 1";
    let said = lineage(ordered).await;
    assert!(said.ends_with("array_agg may depend on the order of rows"), "{said}");
    let subquery =
        "SELECT date_trunc('day', ts) AS day, count(DISTINCT k) FROM f WHERE k IN (SELECT k FROM g) GROUP BY 1";
    check(subquery, "it contains a subquery").await;
}

/// Rows of one query are not taken for another's.
#[tokio::test]
async fn what_is_asked_for_is_told_apart() {
    let design = async |sql: &str| {
        let decision = decided(sql, Wanted::Auto, &StoredLayout::default()).await.unwrap();
        match decision.strategy {
            Strategy::Partition(design) => design,
            Strategy::Incremental(_) | Strategy::Full(_) => panic!("{sql}: {}", decision.reason),
        }
    };
    let by_day = "SELECT date_trunc('day', ts) AS day, count(DISTINCT k) AS n FROM f GROUP BY 1";
    let one = design(by_day).await;
    assert_eq!(one, design(by_day).await);
    for other in
        [by_day.replace("day", "month"), by_day.replace("FROM f", "FROM g"), by_day.replace("DISTINCT k", "DISTINCT c")]
    {
        assert_ne!(one.fingerprint, design(&other).await.fingerprint, "{other}");
    }
    let both = design("SELECT k, ts FROM f INTERSECT ALL SELECT k, ts FROM g").await;
    let semi =
        design("SELECT f.k, f.ts FROM f LEFT SEMI JOIN (SELECT k, ts FROM g) AS g ON f.k = g.k AND f.ts = g.ts").await;
    assert_ne!(both.fingerprint, semi.fingerprint, "NULLs meet in the one only");

    let stored = |fields: &[(&str, DataType)]| {
        let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = stored(&[("day", time.clone()), ("n", DataType::Int64)]);
    let kept = one.stored_as(columns.clone());
    assert_eq!(kept.differs(&columns), None);
    for (fields, place) in [
        (vec![("day", time.clone())], 1),
        (vec![("day", time.clone()), ("n", DataType::Int32)], 1),
        (vec![("n", time.clone()), ("day", DataType::Int64)], 0),
        (vec![("day", time.clone()), ("n", DataType::Int64), ("more", DataType::Int64)], 2),
    ] {
        let others = stored(&fields);
        assert_eq!(kept.differs(&others), Some(place), "{fields:?}");
        assert_ne!(one.stored_as(others).fingerprint, kept.fingerprint);
    }
}

/// Times come in as whole grains of the view, and go out as the rows needed for them.
#[tokio::test]
async fn a_change_touches_what_depends_on_it() {
    let sql = "SELECT date_trunc('day', g.ts) AS day, count(*) AS n FROM g JOIN f ON g.k = f.k AND g.ts >= f.ts AND \
         g.ts < f.ts + INTERVAL '7 days' GROUP BY 1";
    let decision = decided(sql, Wanted::Auto, &StoredLayout::default()).await.unwrap();
    let Strategy::Partition(design) = decision.strategy else { panic!("{}", decision.reason) };
    const DAY: i64 = 86_400_000_000;
    let of = |table: &str| design.scans().find(|needed| needed.table == table).unwrap();
    let touched = |table: &str, from: i64, to: i64| design.touched_by(of(table), &Times::between(from, to)).unwrap();
    assert_eq!(touched("g", 5, 6).ranges(), [(0, DAY)]);
    assert_eq!(touched("f", 5, 6).ranges(), [(0, 8 * DAY)]);
    let mut missing = Times::between(0, 1);
    missing.add_missing();
    assert_eq!(design.touched_by(of("g"), &missing), None);
    let restricted =
        design.restricted(plan(&session(&[], super::lab::Text::Read), sql).await, &Times::between(DAY, 2 * DAY));
    let shown = restricted.unwrap().display_indent().to_string().replace("TimestampMicrosecond", "");
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let micros = |n: i64| format!("({}, Some(\"UTC\"))", n * DAY);
    for expected in [
        format!("Filter: day >= {} AND day < {}", micros(1), micros(2)),
        format!("Filter: g.ts >= {} AND g.ts < {} TableScan: g", micros(1), micros(2)),
        format!("Filter: f.ts >= {} AND f.ts < {} TableScan: f", micros(-6), micros(2)),
    ] {
        assert!(shown.contains(&expected), "{expected} is not in\n{shown}");
    }
    // One row on every day.
    let days = || Spread::of((-20..20).map(|day| (day * DAY, day * DAY + DAY - 1, 1)), 0);
    let pieces = |rows_max: u64, scans: &[&str]| -> Vec<Vec<(i64, i64)>> {
        let scans: Vec<_> = scans.iter().map(|table| (of(table), days())).collect();
        let pieces = design.pieces(&Times::between(DAY / 2, 4 * DAY), rows_max, &scans);
        pieces.iter().map(|piece| piece.ranges().to_vec()).collect()
    };
    assert_eq!(pieces(2, &["g"]), [[(DAY / 2, 2 * DAY)], [(2 * DAY, 4 * DAY)]]);
    assert_eq!(pieces(9, &["g"]), [[(DAY / 2, 4 * DAY)]]);
    // Seven days before the piece are read once for it; alone each day reads eight.
    assert_eq!(pieces(9, &["f"]), [[(DAY / 2, 2 * DAY)], [(2 * DAY, 4 * DAY)]]);
    assert_eq!(pieces(11, &["f"]), [[(DAY / 2, 4 * DAY)]]);
    assert_eq!(pieces(0, &["f"]).len(), 4);
}
