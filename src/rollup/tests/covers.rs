//! The rules of covering, each with its negation. Whatever is covered is also run both ways.

use super::lab::{Row, Rows, at, design};

/// Around the edges of seconds, hours, days, weeks, months and years, before and after 1970.
fn around_edges() -> Vec<Row> {
    let edges = [
        "1969-12-29T00:00:00",
        "1970-01-01T00:00:00",
        "1969-03-01T00:00:00",
        "2023-12-31T00:00:00",
        "2024-01-01T00:00:00",
        "2024-01-29T00:00:00",
        "2024-02-29T12:00:00",
        "2024-03-01T00:00:00",
        "2024-03-10T07:15:00",
        "2261-01-01T00:00:00",
    ];
    let shifts = [-3_600_000_000, -60_000_001, -1, 0, 1, 59_999_999, 900_000_000];
    let words = [None, Some(""), Some("a"), Some("b")];
    edges
        .iter()
        .flat_map(|edge| shifts.map(|shift| at(edge) + shift))
        .enumerate()
        .map(|(index, ts)| Row {
            ts,
            late: Some(ts).filter(|_| index % 5 != 0),
            k: words[index % 4],
            c: words[index % 3],
            n: Some(index as i64 - 9).filter(|_| index % 4 != 1),
            m: index as i64,
            d: Some(index as i128 * 31),
            b: [None, Some(true), Some(false)][index % 3],
        })
        .collect()
}

async fn answers(view: &str, sql: &str) -> bool {
    let all = around_edges();
    let parts: Vec<&[Row]> = all.chunks(13).collect();
    let (tail, absorbed) = parts.split_last().unwrap();
    let rows = Rows { absorbed, tail, gone: &[] };
    let design = design(view).await;
    let stored = rows.stored(&design).await.unwrap();
    match rows.by_rollup(&design, &stored, sql).await {
        Some(answer) => {
            assert_eq!(answer, rows.by_base(sql).await, "{view}\n{sql}");
            true
        }
        None => false,
    }
}

async fn covers(view: &str, sql: &str) {
    assert!(answers(view, sql).await, "not covered\n{view}\n{sql}");
}

async fn leaves(view: &str, sql: &str) {
    assert!(!answers(view, sql).await, "covered\n{view}\n{sql}");
}

#[tokio::test]
async fn filters() {
    let all = "SELECT k, c, count(*) FROM f GROUP BY k, c";
    covers(all, "SELECT c, count(*) FROM f WHERE k = 'a' AND upper(c) IS NOT NULL GROUP BY c").await;
    covers(all, "SELECT c, count(*) FROM f WHERE k IS NULL OR c IN ('a', 'b') GROUP BY c").await;
    leaves(all, "SELECT c, count(*) FROM f WHERE n > 1 GROUP BY c").await;
    leaves(all, "SELECT c, count(*) FROM f WHERE k = 'a' OR n > 1 GROUP BY c").await;
    leaves(all, "SELECT count(*) FROM other WHERE k = 'a'").await;
    let some = "SELECT k, count(*) FROM f WHERE b AND n > 1 GROUP BY k";
    covers(some, "SELECT k, count(*) FROM f WHERE 1 < n AND b GROUP BY k").await;
    covers(some, "SELECT count(*) FROM f WHERE n > 1 AND b AND k = ''").await;
    leaves(some, "SELECT k, count(*) FROM f WHERE b GROUP BY k").await;
    leaves(some, "SELECT k, count(*) FROM f WHERE b AND n > 2 GROUP BY k").await;
    leaves(some, "SELECT k, count(*) FROM f WHERE b AND n >= 1 GROUP BY k").await;
}

#[tokio::test]
async fn keys() {
    let view = "SELECT k, upper(c) AS u, count(*), sum(n) FROM f GROUP BY k, upper(c)";
    covers(view, "SELECT k, count(*) FROM f GROUP BY k").await;
    covers(view, "SELECT coalesce(k, upper(c)) AS w, sum(n) FROM f GROUP BY 1 HAVING sum(n) > 0 ORDER BY 1").await;
    covers(view, "SELECT sum(n), count(*) FROM f").await;
    covers(view, "SELECT DISTINCT k FROM f GROUP BY k, upper(c)").await;
    covers(view, "SELECT max(rows) FROM (SELECT k, count(*) AS rows FROM f GROUP BY k)").await;
    leaves(view, "SELECT c, count(*) FROM f GROUP BY c").await;
    leaves(view, "SELECT k, lower(c), count(*) FROM f GROUP BY 1, 2").await;
    // A view's column may have the name of another column of the table.
    let swapped = "SELECT k AS c, count(*) FROM f GROUP BY k";
    covers(swapped, "SELECT k, count(*) FROM f GROUP BY k").await;
    leaves(swapped, "SELECT c, count(*) FROM f GROUP BY c").await;
}

#[tokio::test]
async fn calls() {
    let view = "SELECT k, count(*), avg(n), sum(d), max(m), bool_or(b) FROM f GROUP BY k";
    covers(view, "SELECT sum(n), count(n), avg(n), sum(d), max(m), bool_or(b) FROM f").await;
    leaves(view, "SELECT sum(m) FROM f").await;
    leaves(view, "SELECT min(m) FROM f").await;
    leaves(view, "SELECT bool_and(b) FROM f").await;
    leaves(view, "SELECT avg(m) FROM f").await;
    // count(x) is count(*) for what is never NULL only.
    covers(view, "SELECT count(m), count(ts) FROM f").await;
    leaves(view, "SELECT count(d) FROM f").await;
    leaves(view, "SELECT count(m + n) FROM f").await;
    // Over keys.
    covers(view, "SELECT count(k), min(k), max(upper(k)), bool_and(k = 'a') FROM f").await;
    covers(view, "SELECT count(k) FILTER (WHERE k <> ''), min(k) FILTER (WHERE k <> 'a') FROM f").await;
    leaves(view, "SELECT count(c) FROM f").await;
    leaves(view, "SELECT max(c) FROM f").await;
    leaves(view, "SELECT sum(length(k)) FROM f").await;
    // Nothing is known of a group without rows.
    leaves("SELECT count(*) FROM f", "SELECT min(1) FROM f").await;
}

#[tokio::test]
async fn call_filters() {
    let view = "SELECT k, count(*), sum(n) FILTER (WHERE b), sum(m) FROM f GROUP BY k";
    covers(view, "SELECT sum(n) FILTER (WHERE b) FROM f").await;
    covers(view, "SELECT sum(n) FILTER (WHERE k = 'a' AND b) FROM f").await;
    covers(view, "SELECT sum(m) FILTER (WHERE k = 'a'), count(*) FILTER (WHERE k IS NULL) FROM f").await;
    covers(view, "SELECT c FROM (SELECT k, count(*) FILTER (WHERE k = 'none') AS c FROM f GROUP BY k)").await;
    covers(view, "SELECT count(m) FILTER (WHERE k = 'a') FROM f").await;
    leaves(view, "SELECT sum(n) FROM f").await;
    leaves(view, "SELECT sum(n) FILTER (WHERE NOT b) FROM f").await;
    leaves(view, "SELECT sum(n) FILTER (WHERE k = 'a') FROM f").await;
    leaves(view, "SELECT sum(m) FILTER (WHERE b) FROM f").await;
    leaves(view, "SELECT count(*) FILTER (WHERE c = 'a') FROM f").await;
    leaves(view, "SELECT sum(n) FROM f WHERE b").await;
}

const HOURS: &str = "SELECT date_trunc('hour', ts) AS hour, k, count(*), sum(n) FROM f GROUP BY 1, 2";

#[tokio::test]
async fn times_cut_coarser() {
    for word in ["hour", "day", "week", "month", "quarter", "year", "MONTH"] {
        covers(HOURS, &format!("SELECT date_trunc('{word}', ts), count(*) FROM f GROUP BY 1")).await;
    }
    for part in ["hour", "day", "dow", "doy", "week", "month", "quarter", "year"] {
        covers(HOURS, &format!("SELECT extract({part} FROM ts), count(*) FROM f GROUP BY 1")).await;
    }
    covers(HOURS, "SELECT ts::date, count(*) FROM f WHERE date_trunc('day', ts) < '2024-01-01' GROUP BY 1").await;
    leaves(HOURS, "SELECT date_trunc('minute', ts), count(*) FROM f GROUP BY 1").await;
    leaves(HOURS, "SELECT extract(minute FROM ts), count(*) FROM f GROUP BY 1").await;
    leaves(HOURS, "SELECT extract(epoch FROM ts), count(*) FROM f GROUP BY 1").await;
    leaves(HOURS, "SELECT date_trunc('day', late), count(*) FROM f GROUP BY 1").await;
    leaves(HOURS, "SELECT date_trunc('day', ts AT TIME ZONE 'Asia/Kolkata'), count(*) FROM f GROUP BY 1").await;
    leaves(HOURS, "SELECT ts, count(*) FROM f GROUP BY 1").await;
    let grains = |grain: &str| format!("SELECT date_trunc('{grain}', ts) AS t, count(*) FROM f GROUP BY 1");
    for (fine, coarse) in
        [("day", "week"), ("month", "quarter"), ("month", "year"), ("quarter", "year"), ("second", "minute")]
    {
        covers(&grains(fine), &grains(coarse)).await;
        leaves(&grains(coarse), &grains(fine)).await;
    }
    for coarse in ["month", "quarter", "year"] {
        leaves(&grains("week"), &grains(coarse)).await;
        leaves(&grains(coarse), &grains("week")).await;
    }
    let local = "SELECT date_trunc('day', local) AS t, count(*) FROM f GROUP BY 1";
    covers(local, "SELECT date_trunc('month', local), count(*) FROM f WHERE local >= '2024-01-01' GROUP BY 1").await;
}

#[tokio::test]
async fn times_binned_coarser() {
    let bins = |stride: &str| format!("SELECT date_bin(INTERVAL '{stride}', ts) AS t, count(*) FROM f GROUP BY 1");
    for stride in ["1 hour", "3 hours", "1 day", "7 days", "1 month", "5 months"] {
        covers(HOURS, &bins(stride)).await;
    }
    for stride in ["30 minutes", "90 minutes", "1 second"] {
        leaves(HOURS, &bins(stride)).await;
    }
    covers(&bins("15 minutes"), &bins("45 minutes")).await;
    leaves(&bins("15 minutes"), &bins("40 minutes")).await;
    covers(&bins("15 minutes"), HOURS.replace("sum(n)", "count(ts)").replace("k,", "").replace("1, 2", "1").as_str())
        .await;
    covers(&bins("2 months"), &bins("6 months")).await;
    leaves(&bins("2 months"), &bins("3 months")).await;
    let odd = |stride: &str, origin: &str| {
        format!("SELECT date_bin(INTERVAL '{stride}', ts, TIMESTAMP '{origin}') AS t, count(*) FROM f GROUP BY 1")
    };
    covers(&odd("15 minutes", "2024-01-01T00:05:00"), &odd("30 minutes", "2024-01-01T00:20:00")).await;
    leaves(&odd("15 minutes", "2024-01-01T00:05:00"), &odd("30 minutes", "2024-01-01T00:00:00")).await;
    leaves(&odd("15 minutes", "2024-01-01T00:05:00"), &bins("1 hour")).await;
    // A week that does not begin on Monday.
    leaves("SELECT date_trunc('week', ts) AS w, count(*) FROM f GROUP BY 1", &bins("7 days")).await;
    covers("SELECT date_trunc('week', ts) AS w, count(*) FROM f GROUP BY 1", &odd("7 days", "2024-01-01")).await;
    // Without a time, a row would be neither inside nor outside of what date_bin knows.
    let late = bins("15 minutes").replace("ts", "late");
    leaves(&late, &bins("1 hour").replace("ts", "late")).await;
    covers(&late, "SELECT date_bin(INTERVAL '1 hour', late), count(*) FROM f WHERE late < '2024-01-01' GROUP BY 1")
        .await;
}

#[tokio::test]
async fn ranges_of_time() {
    let count = |filter: &str| format!("SELECT k, count(*), sum(n) FROM f WHERE {filter} GROUP BY k");
    for filter in [
        "ts >= '2024-01-01'",
        "ts < '2024-01-01' AND k = 'a'",
        "ts > '2023-12-30T23:59:59.999999' AND ts <= '2023-12-31T11:59:59.999999'",
        "ts >= '2023-12-31T00:00:00.000001' AND ts < '2024-01-02'",
        "ts > '2023-12-31' AND ts <= '2024-02-29T12:00:00'",
        "ts BETWEEN '1969-12-29' AND '1970-01-01'",
        "'2024-01-01' <= ts",
        "ts >= TIMESTAMP '2024-01-01' - INTERVAL '2 days' AND ts < TIMESTAMP '2024-03-01' AND ts >= '2024-01-15'",
        "ts >= to_timestamp_micros(0)",
        "ts >= DATE '2024-01-01' AND ts < TIMESTAMP '2024-02-29T12:30:00Z'",
        "date_trunc('hour', ts) = '2024-01-01'",
        "ts::date = '2024-01-01'",
    ] {
        covers(HOURS, &count(filter)).await;
    }
    for filter in [
        "ts = '2024-01-01'",
        "ts <> '2024-01-01'",
        "ts >= '2024-01-01' OR ts < '1970-01-01'",
        "ts >= '2024-01-01T00:10:00' AND ts < '2024-01-01T00:50:00'",
        "late >= '2024-01-01'",
        "ts > late",
        "ts + INTERVAL '1 hour' > '2024-01-01'",
        "ts >= NULL",
    ] {
        leaves(HOURS, &count(filter)).await;
    }
    let both = "SELECT date_trunc('day', ts) AS a, date_trunc('day', late) AS b, count(*) FROM f GROUP BY 1, 2";
    covers(both, "SELECT count(*) FROM f WHERE ts >= '2024-01-01' AND late < '2024-03-01T12:00:00'").await;
    leaves(both, "SELECT count(*) FROM f WHERE ts >= '2024-01-01T12:00:00' AND late < '2024-03-01T12:00:00'").await;
    let months = "SELECT date_trunc('month', ts) AS t, count(*) FROM f GROUP BY 1";
    covers(months, "SELECT count(*) FROM f WHERE ts >= '1969-02-11' AND ts < '2024-02-29T13:00:00'").await;
    leaves(months, "SELECT count(*) FROM f WHERE ts >= '2024-02-11' AND ts < '2024-02-29T13:00:00'").await;
    let weeks = "SELECT date_trunc('week', ts) AS t, count(*) FROM f GROUP BY 1";
    covers(weeks, "SELECT count(*) FROM f WHERE ts >= '1969-12-28' AND ts < '2024-01-02'").await;
}

/// `date_bin` gives NULL where the distance to its origin overflows; rows of such times are counted all the same.
#[tokio::test]
async fn times_beyond_the_domain() {
    let row = |text: &str| Row { ts: at(text), m: 1, ..Row::default() };
    let all = [
        row("1700-01-01T00:00:00"),
        row("2024-01-01T00:10:00"),
        row("2255-01-01T00:00:00"),
        row("1800-01-01T00:00:00"),
    ];
    let view = "SELECT date_bin(INTERVAL '15 minutes', ts, TIMESTAMP '2045-01-01') AS t, count(*) FROM f GROUP BY 1";
    for sql in [
        "SELECT count(*) FROM f WHERE ts >= '2024-01-01'",
        "SELECT count(*) FROM f WHERE ts < '2024-01-02'",
        "SELECT date_bin(INTERVAL '1 hour', ts), count(*) FROM f GROUP BY 1",
        "SELECT date_bin(INTERVAL '1 hour', ts, TIMESTAMP '2045-01-01'), count(*) FROM f GROUP BY 1",
        "SELECT date_bin(INTERVAL '15 minutes', ts, TIMESTAMP '2045-01-01'), count(*) FROM f GROUP BY 1",
        "SELECT extract(year FROM ts), count(*) FROM f GROUP BY 1",
        "SELECT sum(c) FROM (SELECT date_bin(INTERVAL '1 month', ts), count(*) AS c FROM f GROUP BY 1)",
    ] {
        let rows = Rows { absorbed: &[&all[..2], &all[2..]], tail: &all[1..], gone: &[] };
        let design = design(view).await;
        let stored = rows.stored(&design).await.unwrap();
        let answer = rows.by_rollup(&design, &stored, sql).await.unwrap_or_else(|| panic!("not covered: {sql}"));
        assert_eq!(answer, rows.by_base(sql).await, "{sql}");
    }
}
