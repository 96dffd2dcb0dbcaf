//! Materialized views over a real lake: what a plan says of them, the shipped ones, kills, deletes.
//!
//! Not here: whatever happens at random (`materialize_at_random`), what is made anew under a view (`redefined`).

use crate::process::Process;

/// Events, with a key, a dimension, numbers and money; nothing is ever too late for it.
pub(crate) const FACTS: &str = "CREATE TABLE facts (ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR, c VARCHAR, n BIGINT, \
     d DECIMAL(12,2), b BOOLEAN) WITH (event_time='ts', partition_by='day(ts)', lateness='100000 days', retention='100000 days')";

/// Which view answers, and what comes from the table, is in the plan.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_view_and_what_comes_from_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let view =
        "SELECT date_trunc('minute', ts) AS minute, k, count(*) AS rows, sum(n) AS total FROM facts GROUP BY 1, 2";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    let insert = "INSERT INTO facts (ts, k, n) SELECT to_timestamp(1509530400 + (value / 100) * 86400), 'a', 1 FROM generate_series(0, 999)";
    lake.run(insert).await;
    let hourly = "SELECT date_trunc('hour', ts) AS hour, k, count(*), avg(n) FROM facts GROUP BY 1, 2";
    assert_eq!(lake.scans(hourly).await, ["facts"], "nothing is absorbed");
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(lake.scans("SELECT k, sum(n) FROM facts GROUP BY k").await, ["rollup.v"]);
    assert_eq!(lake.scans(hourly).await, ["facts"], "avg needs count(n), which is not stored");
    let cut = "SELECT k, sum(n) FROM facts WHERE ts >= TIMESTAMPTZ '2017-11-01T10:00:30Z' AND ts < TIMESTAMPTZ '2017-11-09T00:00:00Z' GROUP BY k";
    assert_eq!(lake.scans(cut).await, ["rollup.v", "base.facts"], "the first minute is cut");
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-01T10:00:00Z', 'b', 5)").await;
    assert_eq!(lake.scans("SELECT k, sum(n) FROM facts GROUP BY k").await, ["rollup.v", "tail.facts"]);
    assert_eq!(lake.all(&lake.session, "(SELECT k, sum(n) FROM facts GROUP BY k)").await.unwrap(), ["a|1000", "b|5"]);
    assert_eq!(lake.scans("SELECT k, sum(n) FROM facts WHERE n > 0 GROUP BY k").await, ["facts"], "n is no key");
    // NOON is six days after the first of the rows.
    let lately = "SELECT k, sum(n) FROM facts WHERE ts >= now() - INTERVAL '4 days' GROUP BY k";
    assert!(
        lake.scans(lately).await.contains(&"rollup.v".to_owned()),
        "now() is one moment: {:?}",
        lake.scans(lately).await
    );
    lake.run("ALTER MATERIALIZED VIEW v SET (rewrite='off')").await;
    assert_eq!(lake.scans("SELECT k, sum(n) FROM facts GROUP BY k").await, ["facts"]);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
}

fn shipped(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Minutes, hours of minutes, days of hours: each costs the new clicks, and a query on any is answered from the cheapest.
#[tokio::test(flavor = "multi_thread")]
async fn shipped_rollups_stand_on_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    let views = ["clicks_by_ad_minute", "clicks_by_ad_hour", "clicks_by_ad_day"];
    for name in ["tables/clicks"].map(str::to_owned).into_iter().chain(views.map(|view| format!("materialized/{view}")))
    {
        lake.run(&shipped(&format!("{name}.sql"))).await;
    }
    let clicks = |from: u32, to: u32| {
        format!(
            "INSERT INTO clicks (event_id, event_time, ad_id, country, price_micros) SELECT CAST(value AS VARCHAR) AS event_id, \
             to_timestamp(1509840000 + value * 60), 'a', 'KR', value FROM generate_series({from}, {to})"
        )
    };
    lake.run(&clicks(0, 299)).await;
    for view in views {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
    }
    lake.run(&clicks(300, 309)).await;
    for view in views {
        let explained = lake.run(&format!("EXPLAIN REFRESH {view}")).await;
        for said in ["strategy|incremental", "source|clicks", "pending rows|10"] {
            assert!(explained.contains(&said.to_owned()), "{view}: {explained:?}");
        }
    }
    let daily = ["rollup.clicks_by_ad_day", "tail.clicks"];
    for view in views {
        let by_country = format!("SELECT country, sum(clicks), sum(spend_micros) FROM {view} GROUP BY country");
        assert_eq!(lake.scans(&by_country).await, daily, "{view}");
        assert_eq!(lake.run(&by_country).await, ["KR|310|47895"], "{view}");
    }
    let hours = "SELECT date_trunc('hour', minute) AS hour, sum(clicks) FROM clicks_by_ad_minute WHERE minute < '2017-11-05T05:05:00Z' GROUP BY 1";
    assert!(lake.scans(hours).await.contains(&"rollup.clicks_by_ad_hour".to_owned()), "{:?}", lake.scans(hours).await);
    let mut rows = lake.run(hours).await;
    rows.sort();
    assert_eq!(rows.last().unwrap(), "2017-11-05T05:00:00Z|5");
    // As it is written: no table, no finer rollup.
    assert_eq!(lake.scans("SELECT * FROM clicks_by_ad_hour").await, ["rollup.clicks_by_ad_hour", "tail.clicks"]);
    lake.run("ALTER MATERIALIZED VIEW clicks_by_ad_day SET (rewrite='off')").await;
    let by_country = "SELECT country, sum(clicks) FROM clicks_by_ad_minute GROUP BY country";
    assert_eq!(lake.scans(by_country).await, ["rollup.clicks_by_ad_hour", "tail.clicks"]);
    for view in views {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
        assert!(lake.run(&format!("VERIFY MATERIALIZED VIEW {view}")).await.is_empty(), "{view}");
    }
    let error = lake.sql("DROP MATERIALIZED VIEW clicks_by_ad_minute").await.unwrap_err();
    assert!(error.contains("clicks_by_ad_hour"), "{error}");
}

/// A KLL sketch is kept by parts; it is verified by what of it is exact, and answers no query but those on its view.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_by_chance_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let view = "SELECT k, kll_sketch(n) AS spread, count(*) AS rows FROM facts GROUP BY k";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    lake.run("CREATE MATERIALIZED VIEW w WITH (refresh='manual') AS SELECT kll_merge(spread) AS spread FROM v").await;
    let median = "SELECT k, kll_quantile(kll_sketch(n), 0.5) AS median FROM facts GROUP BY k";
    lake.run(&format!("CREATE MATERIALIZED VIEW m WITH (refresh='manual') AS {median}")).await;
    let reason = async |view: &str| lake.run(&format!("EXPLAIN REFRESH {view}")).await[..2].join(" ");
    assert!(reason("w").await.starts_with("strategy|incremental"), "{}", reason("w").await);
    assert!(
        reason("m").await.contains("strategy|full reason|a column is made of a KLL sketch"),
        "{}",
        reason("m").await
    );
    for _ in 0..3 {
        let insert = "INSERT INTO facts (ts, k, n) SELECT TIMESTAMPTZ '2017-11-01T10:00:00Z', 'a', value FROM generate_series(1, 3000)";
        lake.run(insert).await;
        for view in ["v", "w", "m"] {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
            assert!(lake.run(&format!("VERIFY MATERIALIZED VIEW {view}")).await.is_empty(), "{view}");
        }
    }
    let read = "SELECT kll_count(spread), kll_quantile(spread, 0), kll_quantile(spread, 1), \
                abs(kll_quantile(spread, 0.5) - 1500) < 150 FROM w";
    assert_eq!(lake.run(read).await, ["9000|1.0|3000.0|true"]);
    let plan = lake.run("EXPLAIN SELECT k, kll_sketch(n) FROM facts GROUP BY k").await.join("\n");
    assert!(plan.contains("TableScan: facts") && !plan.contains("rollup."), "{plan}");
    let plan = lake.run("EXPLAIN SELECT k, count(*) FROM facts GROUP BY k").await.join("\n");
    assert!(plan.contains("rollup.v"), "{plan}");
    // Fewer numbers in the view than in the table are found.
    lake.run("CREATE TABLE other (n BIGINT)").await;
    lake.run("INSERT INTO other SELECT value FROM generate_series(1, 3000)").await;
    let full = "SELECT kll_sketch(n) AS spread FROM other";
    lake.run(&format!("CREATE MATERIALIZED VIEW f WITH (refresh='manual', strategy='full') AS {full}")).await;
    lake.run("REFRESH MATERIALIZED VIEW f").await;
    assert!(lake.run("VERIFY MATERIALIZED VIEW f").await.is_empty());
    lake.run("INSERT INTO other VALUES (7)").await;
    assert_eq!(lake.run("VERIFY MATERIALIZED VIEW f").await.len(), 2);
}

/// In three processes, some overtaken and one dropped on its way (RUN-1).
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_or_repeated_refresh_counts_every_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let view = "SELECT k, count(*) AS rows FROM facts GROUP BY k";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    let others = [Process::over(&folder, &[]).await, Process::over(&folder, &[]).await];
    for round in 1..=12 {
        lake.run("INSERT INTO facts (ts, k) VALUES (TIMESTAMPTZ '2017-11-01T10:00:00Z', 'a')").await;
        // All at once, in three processes; some are overtaken, and one is dropped on its way.
        let all = [&lake, &others[0], &others[1]].map(|process| process.sql("REFRESH MATERIALIZED VIEW v"));
        let dropped = crate::seeds::abandon(lake.sql("REFRESH MATERIALIZED VIEW v"), round * 2);
        let (done, _) = tokio::join!(futures::future::join_all(all), dropped);
        for refreshed in done {
            assert!(
                refreshed.as_ref().is_ok() || refreshed.as_ref().is_err_and(|error| error.contains("run it again")),
                "{refreshed:?}"
            );
        }
        lake.run("REFRESH MATERIALIZED VIEW v").await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), [format!("a|{round}")]);
        assert_eq!(lake.run("SELECT pending_rows FROM system.views").await, ["0"]);
    }
}

/// Whichever of refresh and delete came last, and whichever of them is still to come.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_leave_views_and_rewritten_queries() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let view = "SELECT date_trunc('day', ts) AS day, k, count(*) AS rows, sum(n) AS total FROM facts GROUP BY 1, 2";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    let insert = "INSERT INTO facts (ts, k, n) SELECT to_timestamp(1509530400 + (value / 100) * 86400), 'a', 1 FROM generate_series(0, 999)";
    lake.run(insert).await;
    let by_key = "(SELECT k, count(*), sum(n) FROM facts GROUP BY k)";
    let check = async |expected: &str| {
        assert_eq!(lake.all(&lake.session, by_key).await.unwrap(), [expected]);
        assert_eq!(lake.all(&lake.plain, by_key).await.unwrap(), [expected]);
        assert_eq!(lake.all(&lake.session, "v").await, lake.all(&lake.plain, &format!("({view})")).await);
        assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
    };
    lake.run("DELETE FROM facts WHERE ts < TIMESTAMPTZ '2017-11-02T00:00:00Z'").await;
    check("a|900|900").await;
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    check("a|900|900").await;
    lake.run(
        "DELETE FROM facts WHERE ts >= TIMESTAMPTZ '2017-11-05T00:00:00Z' AND ts < TIMESTAMPTZ '2017-11-07T00:00:00Z'",
    )
    .await;
    check("a|700|700").await;
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 5)").await;
    check("a|701|705").await;
    lake.run("OPTIMIZE TABLE facts").await;
    check("a|701|705").await;
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    check("a|701|705").await;
}
