//! Views over a table joined with dimensions, and queries on such joins: what is stored, what is read, and what a changed
//! dimension costs.

use std::path::Path;

use crate::process::Process;

const CLICKS: &str = "CREATE TABLE clicks (ts TIMESTAMP WITH TIME ZONE NOT NULL, ad VARCHAR, price BIGINT) WITH (event_time='ts', partition_by='day(ts)')";
const ADS: &str =
    "CREATE TABLE ads (ad VARCHAR NOT NULL, campaign VARCHAR, active BOOLEAN) WITH (kind='snapshot', key='ad')";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_dimension_costs_no_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(CLICKS).await;
    lake.run(ADS).await;
    let view = "SELECT campaign, date_trunc('day', ts) AS day, count(*) AS clicks, sum(price) AS spend \
                FROM clicks JOIN ads ON clicks.ad = ads.ad WHERE active GROUP BY campaign, date_trunc('day', ts)";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    lake.run("INSERT INTO ads VALUES ('a', 'one', TRUE), ('b', 'one', TRUE), ('c', 'two', TRUE)").await;
    lake.run(
        "INSERT INTO clicks SELECT to_timestamp(1509530400 + value), CASE value % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'c' END, \
         value FROM generate_series(0, 299)",
    )
    .await;
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    let stored = "SELECT stored_rows, pending_rows FROM system.views";
    assert_eq!(lake.run(stored).await, ["3|0"], "one for each ad and day");
    let rows = async || lake.all(&lake.session, "(SELECT campaign, clicks, spend FROM v)").await.unwrap();
    assert_eq!(rows().await, ["one|200|29800", "two|100|15050"]);

    // An ad moves to another campaign, one is no longer active.
    lake.run("INSERT INTO ads VALUES ('b', 'two', TRUE), ('c', 'two', FALSE)").await;
    assert_eq!(rows().await, ["one|100|14850", "two|100|14950"]);
    assert_eq!(lake.run(stored).await, ["3|0"]);
    let refreshed = lake.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(refreshed, ["materialized view v refreshed: 0 rows"]);
    assert_eq!(lake.scans("SELECT * FROM v").await, ["rollup.v", "ads"]);
    lake.run("INSERT INTO clicks VALUES (TIMESTAMPTZ '2017-11-01T10:00:00Z', 'a', 1)").await;
    assert_eq!(lake.scans("SELECT * FROM v").await, ["rollup.v", "tail.clicks", "ads"]);
    assert_eq!(rows().await, ["one|101|14851", "two|100|14950"]);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_refresh_names_the_dimensions_or_says_why_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(CLICKS).await;
    lake.run(ADS).await;
    let explained = async |name: &str, query: &str| {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {query}")).await;
        lake.run(&format!("EXPLAIN REFRESH {name}")).await
    };
    let star =
        explained("star", "SELECT campaign, count(*) AS c FROM clicks LEFT JOIN ads USING (ad) GROUP BY campaign")
            .await;
    for row in [
        "strategy|incremental with dimensions",
        "reason|an aggregate of 'clicks' that merges from parts, joined with 'ads' when it is read",
        "source|clicks",
        "dimensions|ads",
        "stored keys|__adlake_key_0",
        "stored parts|__adlake_0_rows",
    ] {
        assert!(star.iter().any(|found| found == row), "{row}: {star:?}");
    }
    let reason = async |name: &str, query: &str| {
        let rows = explained(name, query).await;
        assert_eq!(rows[0], "strategy|full", "{query}");
        let no_time = "; its rows cannot be told apart by time either: no column of it is a time of its sources, such as date_trunc('day', …)";
        rows[1].strip_suffix(no_time).unwrap_or_else(|| panic!("{rows:?}")).to_owned()
    };
    assert_eq!(
        reason("kept", "SELECT campaign, count(*) AS c FROM clicks RIGHT JOIN ads USING (ad) GROUP BY campaign").await,
        "reason|a Right join does not go by the rows of 'clicks'"
    );
    assert_eq!(
        reason("doubled", "SELECT campaign, sum(price * 2) AS c FROM clicks JOIN ads USING (ad) GROUP BY campaign")
            .await,
        "reason|price * Int64(2) may fail for rows that a join or a filter drops; a LEFT JOIN without filters drops none"
    );
    assert_eq!(
        reason("twice", "SELECT a.ad, count(*) AS c FROM clicks a JOIN clicks b ON a.ad = b.ad GROUP BY a.ad").await,
        "reason|its aggregate does not read a table directly, but a join or union of it"
    );
    let strategies = "SELECT view_name, strategy FROM system.views ORDER BY view_name";
    let expected = ["doubled|full", "kept|full", "star|incremental with dimensions", "twice|full"];
    assert_eq!(lake.run(strategies).await, expected);
}

/// A materialized view that is kept incrementally is read as its query, which reads the fact itself here.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_fact_is_no_dimension_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(CLICKS).await;
    let per_ad = "SELECT ad, count(*) AS rows FROM clicks GROUP BY ad";
    lake.run(&format!("CREATE MATERIALIZED VIEW per_ad WITH (refresh='manual') AS {per_ad}")).await;
    let view =
        "SELECT per_ad.rows, count(*) AS clicks FROM clicks JOIN per_ad ON clicks.ad = per_ad.ad GROUP BY per_ad.rows";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    assert_eq!(lake.run("EXPLAIN REFRESH v").await[0], "strategy|full");
    for ad in ["a", "a", "b"] {
        lake.run(&format!("INSERT INTO clicks VALUES (TIMESTAMPTZ '2017-11-01T10:00:00Z', '{ad}', 1)")).await;
    }
    let asked = lake.all(&lake.plain, &format!("({view})")).await.unwrap();
    assert_eq!(asked, ["1|1", "2|2"]);
    assert_eq!(lake.all(&lake.session, &format!("({view})")).await.unwrap(), asked);
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(lake.all(&lake.session, "v").await.unwrap(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_of_the_fact_alone_answers_joins() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(CLICKS).await;
    lake.run(ADS).await;
    let per_minute = "SELECT date_trunc('minute', ts) AS minute, ad, count(*) AS clicks, sum(price) AS spend FROM clicks GROUP BY 1, 2";
    lake.run(&format!("CREATE MATERIALIZED VIEW per_minute WITH (refresh='manual') AS {per_minute}")).await;
    lake.run("INSERT INTO ads VALUES ('a', 'one', TRUE), ('b', 'one', FALSE)").await;
    let insert = "INSERT INTO clicks SELECT to_timestamp(1509530400 + (value / 1000) * 86400 + value % 60), CASE value % 2 WHEN 0 THEN 'a' ELSE 'b' END, 1 FROM generate_series(0, 9999)";
    lake.run(insert).await;
    let by_campaign =
        "SELECT campaign, count(*), sum(price) FROM clicks JOIN ads USING (ad) WHERE active GROUP BY campaign";
    assert_eq!(lake.scans(by_campaign).await, ["clicks", "ads"], "nothing is absorbed");
    lake.run("REFRESH MATERIALIZED VIEW per_minute").await;
    assert_eq!(lake.scans(by_campaign).await, ["rollup.per_minute", "ads"]);
    assert_eq!(lake.run(by_campaign).await, ["one|5000|5000"]);
    let cut = "SELECT campaign, count(*) FROM clicks LEFT JOIN ads ON clicks.ad = ads.ad AND active WHERE ts >= TIMESTAMPTZ '2017-11-01T10:00:30Z' GROUP BY 1";
    assert_eq!(lake.scans(cut).await, ["rollup.per_minute", "base.clicks", "ads"], "the first minute is cut");
    assert_eq!(lake.all(&lake.session, &format!("({cut})")).await, lake.all(&lake.plain, &format!("({cut})")).await);
    for left in [
        "SELECT campaign, count(*) FROM clicks RIGHT JOIN ads USING (ad) GROUP BY campaign",
        "SELECT campaign, max(price) FROM clicks JOIN ads USING (ad) GROUP BY campaign",
        "SELECT a.ad, count(*) FROM clicks a JOIN clicks b ON a.ad = b.ad AND a.ts = b.ts GROUP BY a.ad",
    ] {
        let scans = lake.scans(left).await;
        assert!(scans.iter().all(|scan| !scan.starts_with("rollup.")), "{left}: {scans:?}");
    }
    lake.run("SET adlake.rewrite = off").await;
    assert_eq!(lake.scans(by_campaign).await, ["clicks", "ads"]);
}

/// The shipped views are stars, and what is shipped on top of their tables is answered from them.
#[tokio::test(flavor = "multi_thread")]
async fn shipped_reports_are_answered_from_shipped_rollups() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    Box::pin(lake.app.apply_project(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql"))).await.unwrap();
    let strategies =
        "SELECT view_name, strategy FROM system.views WHERE view_name LIKE '%by_campaign_hour' ORDER BY view_name";
    let star = "incremental with dimensions";
    assert_eq!(
        lake.run(strategies).await,
        ["clicks", "impressions", "sales"].map(|name| format!("{name}_by_campaign_hour|{star}"))
    );
    lake.run(
        "INSERT INTO campaigns (campaign_id, name, currency) VALUES ('c1', 'first', 'KRW'), ('idle', 'idle', 'USD')",
    )
    .await;
    let events = |table: &str, price: &str| {
        format!(
            "INSERT INTO {table} (event_id, event_time, ad_id, campaign_id, {price}) SELECT 'e' || value, \
             to_timestamp(1509530400 + value), 'ad', CASE WHEN value % 10 < 8 THEN 'c1' END, value FROM generate_series(0, 4999)"
        )
    };
    for (table, price) in
        [("impressions", "price_micros"), ("clicks", "price_micros"), ("conversions", "revenue_micros")]
    {
        lake.run(&events(table, price)).await;
    }
    for view in ["impressions", "clicks", "sales"] {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}_by_campaign_hour")).await;
        assert!(lake.run(&format!("VERIFY MATERIALIZED VIEW {view}_by_campaign_hour")).await.is_empty());
    }
    let rollups =
        |views: &[&str]| views.iter().map(|view| format!("rollup.{view}_by_campaign_hour")).collect::<Vec<_>>();
    let performance = lake.scans("SELECT * FROM campaign_performance").await;
    let expected = rollups(&["impressions", "clicks", "sales"]);
    assert_eq!(performance, [expected, vec!["campaigns".to_owned(), "campaigns".to_owned()]].concat());
    let budget = lake.scans("SELECT * FROM budget_report").await;
    assert_eq!(budget, [vec!["budgets".to_owned()], rollups(&["impressions", "clicks"])].concat());
    for report in ["campaign_performance", "budget_report"] {
        let answered = lake.all(&lake.session, report).await;
        assert_eq!(answered, lake.all(&lake.plain, report).await, "{report}");
        assert!(answered.is_ok_and(|rows| !rows.is_empty()), "{report}");
    }
    // By the attributes of campaigns, as a report tool asks.
    let by_currency = "SELECT currency, count(*) AS clicks, sum(price_micros) FROM clicks LEFT JOIN campaigns USING (campaign_id) GROUP BY currency";
    assert_eq!(lake.scans(by_currency).await, ["rollup.clicks_by_campaign_hour", "campaigns"]);
    lake.run("INSERT INTO campaigns (campaign_id, name, currency) VALUES ('c1', 'renamed', 'USD')").await;
    assert_eq!(
        lake.all(
            &lake.session,
            "(SELECT campaign_name, currency, sum(clicks) FROM clicks_by_campaign_hour GROUP BY 1, 2)"
        )
        .await
        .unwrap(),
        ["renamed|USD|4000", "∅|∅|1000"]
    );
}
