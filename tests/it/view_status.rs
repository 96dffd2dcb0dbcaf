//! `system.views`, `system.lineage` and DESCRIBE: what an operator sees of a view, before and after a restart.

use std::time::Duration;

use crate::process::Process;

const SALES: &str = "CREATE TABLE sales (ts TIMESTAMP WITH TIME ZONE NOT NULL, shop VARCHAR, amount BIGINT) \
     WITH (event_time='ts', lateness='100000 days')";

async fn sell(lake: &Process, shop: &str) {
    lake.run(&format!("INSERT INTO sales (ts, shop, amount) VALUES (TIMESTAMPTZ '2017-11-07T11:00:00Z', '{shop}', 1)"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_views_is_right_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let exact = [("storage.poll_interval", "0 s")];
    let lake = Process::over(&folder, &exact).await;
    lake.run(SALES).await;
    lake.run(
        "CREATE MATERIALIZED VIEW parts WITH (refresh='manual') AS SELECT shop, count(*) AS n FROM sales GROUP BY shop",
    )
    .await;
    lake.run("CREATE MATERIALIZED VIEW whole WITH (strategy='full') AS SELECT DISTINCT shop FROM sales").await;
    let shown = "SELECT view_name, strategy, refresh, absorbed_version, source_version, pending_rows, stored_rows, lag_ms, \
         data_as_of, last_refresh_at, last_rows_in, last_rows_out, failures FROM system.views ORDER BY view_name";
    let never = ["parts|incremental|manual|∅|0|∅|0|∅|∅|∅|∅|∅|0", "whole|full|manual|∅|∅|∅|0|∅|∅|∅|∅|∅|0"];
    assert_eq!(lake.run(shown).await, never);
    for shop in ["a", "b", "a"] {
        sell(&lake, shop).await;
    }
    lake.clock.advance(Duration::from_secs(60));
    lake.run("REFRESH MATERIALIZED VIEW parts").await;
    lake.run("REFRESH MATERIALIZED VIEW whole").await;
    let at = "2017-11-07T12:01:00Z";
    let refreshed = [
        format!("parts|incremental|manual|3|3|0|2|0|{at}|{at}|3|2|0"),
        format!("whole|full|manual|∅|∅|0|2|0|{at}|{at}|3|2|0"),
    ];
    assert_eq!(lake.run(shown).await, refreshed);
    lake.clock.advance(Duration::from_secs(60));
    sell(&lake, "c").await;
    lake.clock.advance(Duration::from_secs(30));
    let behind = [
        format!("parts|incremental|manual|3|4|1|2|30000|2017-11-07T12:02:00Z|{at}|3|2|0"),
        format!("whole|full|manual|∅|∅|1|2|30000|{at}|{at}|3|2|0"),
    ];
    assert_eq!(lake.run(shown).await, behind);
    let cost = "SELECT bool_and(last_refresh_ms >= 0), bool_and(stored_bytes > 0) FROM system.views";
    assert_eq!(lake.run(cost).await, ["true|true"]);
    // Another process, after commits that refresh nothing.
    lake.run("OPTIMIZE TABLE parts").await;
    let another = Process::over(&folder, &exact).await;
    another.clock.set(lake.clock.now());
    assert_eq!(another.run(shown).await, behind);
    assert_eq!(another.run(cost).await, ["true|true"]);
    // What fails is told by the process it failed in, and the last refresh stays.
    another.run("REFRESH MATERIALIZED VIEW whole").await;
    assert_eq!(
        lake.run("SELECT last_rows_in, last_rows_out FROM system.views WHERE view_name = 'whole'").await,
        ["4|3"]
    );
}

/// A view that lacks no rows, and has some that are no more, is behind.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_are_a_lag_of_views_kept_by_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[("storage.poll_interval", "0 s")]).await;
    lake.run(SALES).await;
    lake.run(
        "CREATE MATERIALIZED VIEW shops WITH (refresh='manual') AS SELECT date_trunc('day', ts) AS day, \
         count(DISTINCT shop) AS n FROM sales GROUP BY 1",
    )
    .await;
    let check = async |lag: &str, partitions: &str, next: &str| {
        assert_eq!(lake.run("SELECT pending_rows, lag_ms FROM system.views").await, [format!("0|{lag}")], "{next}");
        let explained = lake.run("EXPLAIN REFRESH shops").await;
        for expected in [format!("pending partitions|{partitions}"), format!("next refresh|{next}")] {
            assert!(explained.contains(&expected), "{expected} is not in {explained:?}");
        }
    };
    sell(&lake, "a").await;
    lake.run("REFRESH MATERIALIZED VIEW shops").await;
    check("0", "0", "nothing: all rows are absorbed").await;
    lake.run("DELETE FROM sales WHERE shop = 'a'").await;
    lake.clock.advance(Duration::from_secs(30));
    check("30000", "1", "take out the rows of 1 partition, in one commit").await;
    lake.run("REFRESH MATERIALIZED VIEW shops").await;
    assert!(lake.run("SELECT * FROM shops").await.is_empty());
    check("0", "0", "nothing: all rows are absorbed").await;
    sell(&lake, "b").await;
    lake.run("DELETE FROM sales WHERE shop = 'b'").await;
    check("0", "0", "take note of the new versions: what has changed has no rows at any time").await;
    lake.run("REFRESH MATERIALIZED VIEW shops").await;
    check("0", "0", "nothing: all rows are absorbed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_views_are_respected() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(SALES).await;
    lake.run(
        "CREATE MATERIALIZED VIEW parts WITH (refresh='manual') AS SELECT shop, count(*) AS n FROM sales GROUP BY shop",
    )
    .await;
    sell(&lake, "a").await;
    lake.run("REFRESH MATERIALIZED VIEW parts").await;
    let error = lake.sql("DROP TABLE sales").await.unwrap_err();
    assert!(error.contains("parts"), "{error}");
    assert!(lake.sql("CREATE OR REPLACE TABLE sales (ts TIMESTAMP WITH TIME ZONE NOT NULL)").await.is_err());
    // A column more changes nothing for the view.
    lake.run("ALTER TABLE sales ADD COLUMN country VARCHAR").await;
    sell(&lake, "b").await;
    assert_eq!(lake.run("SELECT * FROM parts ORDER BY shop").await, ["a|1", "b|1"]);
    lake.run("DROP TABLE sales CASCADE").await;
    assert!(lake.run("SELECT * FROM system.lineage").await.is_empty());
    assert!(lake.run("SELECT * FROM system.views").await.is_empty());
}
