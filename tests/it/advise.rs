//! ADVISE MATERIALIZED VIEWS: what it proposes can be run as it is, and then answers what was asked.

use crate::lab::Lab;
use crate::process::scans_of;

const CLICKS: &str = "CREATE TABLE clicks (ts TIMESTAMP WITH TIME ZONE NOT NULL, ad VARCHAR, country VARCHAR, price BIGINT) \
     WITH (event_time='ts', partition_by='day(ts)', sort_by='ad, ts')";

/// Ten days of clicks, one a minute: 100 ads, 3 countries.
const ROWS: &str = "INSERT INTO clicks SELECT to_timestamp(1767225600 + value * 60), concat('ad', CAST(value * 7 % 100 AS VARCHAR)), \
     CASE value % 3 WHEN 0 THEN 'KR' WHEN 1 THEN 'US' ELSE 'JP' END, value % 1000 FROM generate_series(0, 14399)";

async fn lab() -> Lab {
    let lab = Lab::open().await;
    lab.run(CLICKS).await;
    lab.run(ROWS).await;
    lab
}

/// Columns of the advice by name.
async fn advice(lab: &Lab, sql: &str) -> Vec<Vec<String>> {
    lab.run(sql).await.rows
}

async fn scans(lab: &Lab, query: &str) -> Vec<String> {
    scans_of(&lab.rows(&format!("EXPLAIN {query}")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn advised_views_answer_what_was_asked() {
    let lab = lab().await;
    let queries = [
        "SELECT country, count(*) FROM clicks GROUP BY country ORDER BY country",
        "SELECT date_trunc('day', ts) AS day, sum(price) FROM clicks WHERE country = 'KR' GROUP BY 1 ORDER BY 1",
        "SELECT count(*), avg(price) FROM clicks WHERE ts >= TIMESTAMPTZ '2026-01-02T06:00:00Z' \
         AND ts < TIMESTAMPTZ '2026-01-03T00:00:00Z'",
    ];
    let mut answers = Vec::new();
    for query in queries {
        answers.push(lab.rows(query).await);
        assert_eq!(scans(&lab, query).await, ["clicks"]);
    }
    // What fails, what is no aggregate and what reads no table is no reason for a view.
    lab.error("SELECT nope FROM clicks").await;
    lab.run("SELECT ad FROM clicks LIMIT 3").await;
    lab.run("SELECT sql, count(*) FROM system.queries GROUP BY sql").await;
    let advised = advice(&lab, "ADVISE MATERIALIZED VIEWS").await;
    assert!(!advised.is_empty() && advised.len() <= 5, "{advised:?}");
    let mut runs = 0;
    for (index, row) in advised.iter().enumerate() {
        let [rank, ddl, rows, bytes, ratio, queries, saved, reason] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(*rank, (index + 1).to_string());
        assert!(bytes.parse::<u64>().unwrap() > 0 && saved.parse::<u64>().is_ok(), "{row:?}");
        assert!(reason.contains("counted in all 14400 rows of 'clicks'"), "{reason}");
        runs += queries.parse::<u64>().unwrap();
        lab.run(ddl).await;
        let name = ddl.split_whitespace().nth(3).unwrap().to_owned();
        lab.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        let stored = lab.rows(&format!("SELECT \"rows\" FROM system.tables WHERE name = '{name}'")).await;
        assert_eq!(
            std::slice::from_ref(rows),
            stored.as_slice(),
            "a table that is read as a whole has no estimate: {ddl}"
        );
        assert!((ratio.parse::<f64>().unwrap() - stored[0].parse::<f64>().unwrap() / 14_400.0).abs() < 1e-9);
    }
    assert_eq!(runs, 3, "{advised:?}");
    for (query, answer) in queries.iter().zip(&answers) {
        let scans = scans(&lab, query).await;
        assert!(scans.iter().any(|scan| scan.starts_with("rollup.")), "{query}: {scans:?} with {advised:?}");
        assert!(!scans.contains(&"clicks".to_owned()), "{query}: {scans:?}");
        assert_eq!(lab.rows(query).await, *answer);
    }
    // Nothing is left to gain.
    let again = advice(&lab, &format!("ADVISE MATERIALIZED VIEWS FOR '{}'", queries[0])).await;
    assert_eq!((again.len(), again[0][1].as_str()), (1, "NULL"), "{again:?}");
    assert!(again[0][7].contains("answers it already"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_query_is_told_why_no_view_helps() {
    let lab = lab().await;
    for (query, reason) in [
        ("SELECT count(DISTINCT ad) FROM clicks", "no view: count(DISTINCT …) cannot be merged from parts"),
        ("SELECT ad FROM clicks", "no view: the query has no aggregate of a table"),
        (
            "SELECT count(*) FROM clicks",
            "no view: it is answered from what is known of the table''s files, without reading them",
        ),
        (
            "SELECT ts, count(*) FROM clicks GROUP BY ts",
            "no view: a view that answers it would have about 14400 rows, of 14400 in ''clicks''",
        ),
    ] {
        let told = advice(&lab, &format!("ADVISE MATERIALIZED VIEWS FOR '{query}'")).await;
        let expected = reason.replace("''", "'");
        assert_eq!((told.len(), told[0][1].as_str(), told[0][7].as_str()), (1, "NULL", expected.as_str()), "{query}");
    }
    let error = lab.error("ADVISE MATERIALIZED VIEWS FOR 'SELECT nope, count(*) FROM clicks GROUP BY nope'").await;
    assert!(error.starts_with("invalid_argument") && error.contains("'nope' not found"), "{error}");
    let error = lab.error("ADVISE MATERIALIZED VIEWS FOR 'DROP TABLE clicks'").await;
    assert!(error.contains("advice is given for a query"), "{error}");
    let parameter = "SELECT count(*), sum(price) FROM clicks WHERE ad = $ad AND ts >= $from AND ts < $to";
    let told = advice(&lab, &format!("ADVISE MATERIALIZED VIEWS FOR '{parameter}'")).await;
    assert_eq!(told[0][1], "NULL", "an ad and a minute are as many as the rows: {told:?}");
    assert!(told[0][7].contains("would have about 14400 rows"), "{told:?}");
}

/// A large table is sampled; what is told is near the truth.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_large_tables_are_estimated_from_rows() {
    let lab = Lab::open().await;
    lab.run(CLICKS).await;
    // 20 days of 15,000 clicks, of 1,500 ads each.
    lab.run(
        "INSERT INTO clicks SELECT to_timestamp(1767225600 + value * 86400 / 15000), concat('ad', CAST(value % 1500 AS VARCHAR)), \
         CASE value % 3 WHEN 0 THEN 'KR' WHEN 1 THEN 'US' ELSE 'JP' END, 1 FROM generate_series(0, 299999)",
    )
    .await;
    for (keys, truth) in
        [("country", 3.0), ("ad", 1_500.0), ("date_trunc('day', ts)", 20.0), ("ad, date_trunc('day', ts)", 30_000.0)]
    {
        let query = format!("SELECT {keys}, sum(price) FROM clicks GROUP BY {keys}").replace('\'', "''");
        let told = advice(&lab, &format!("ADVISE MATERIALIZED VIEWS FOR '{query}'")).await;
        let rows: f64 = told[0][2].parse().unwrap_or_else(|_| panic!("{keys}: {told:?}"));
        assert!(rows / truth < 1.5 && truth / rows < 1.5, "{keys}: {rows} of {truth}");
        assert!(told[0][7].contains("rows of 10 of 20 files"), "{told:?}");
    }
}
