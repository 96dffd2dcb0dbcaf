//! OPTIMIZE, VACUUM, retention and the job that does the same by itself, beside ingest.

use std::time::Duration;

use super::*;

async fn with_small_files(process: &Process, count: usize) {
    for n in 0..count {
        process.append("clicks", &click(n, "2017-11-07T10:00:00Z")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimize_and_vacuum_change_no_row_and_no_duplicate_slips_in() {
    let lake = Process::with_clicks().await;
    with_small_files(&lake, 6).await;
    let optimized = lake.sql("OPTIMIZE TABLE clicks").await;
    let cells: Vec<&str> = optimized[0].split(' ').collect();
    assert_eq!(cells[..5], ["6", "1", "1", "0", "6"], "files before and after, tasks, superseded, rows");
    assert_eq!(lake.count("clicks").await, 6);
    let again = lake.append("clicks", &(click(3, "2017-11-07T10:00:00Z") + &click(6, "2017-11-07T10:00:00Z"))).await;
    assert_eq!((again.accepted, again.duplicates), (1, 1));
    let other = lake.another().await;
    let again = other.append("clicks", &(click(0, "2017-11-07T10:00:00Z") + &click(7, "2017-11-07T10:00:00Z"))).await;
    assert_eq!((again.accepted, again.duplicates), (1, 1));
    assert_eq!(lake.sql("VACUUM TABLE clicks").await, ["0 0 9"], "everything is younger than a day");
    assert_eq!(lake.sql("VACUUM TABLE clicks RETAIN '2 hours'").await, ["0 0 9"]);
    assert_eq!(lake.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["8 8"]);
    let told = lake.sql("SELECT work, runs, errors, files_in, files_out FROM system.maintenance ORDER BY work").await;
    assert_eq!(told, ["compact 1 0 6 1", "vacuum 2 0 0 0"]);
    let files = lake.sql("SELECT DISTINCT active_files, small_files FROM system.maintenance").await;
    assert_eq!(files, ["3 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_maintained_is_named() {
    let lake = Process::with_clicks().await;
    lake.sql("CREATE VIEW v AS SELECT event_id FROM clicks").await;
    let error = |sql: &'static str| {
        let lake = &lake;
        async move { lake.try_sql(sql).await.unwrap_err() }
    };
    let short = error("VACUUM TABLE clicks RETAIN '59 minutes'").await;
    assert!(short.contains("RETAIN '59 minutes' is shorter than maintenance.retain_min = '1 hour'"), "{short}");
    assert!(error("OPTIMIZE TABLE clickz").await.contains("did you mean 'clicks'?"));
    assert!(error("VACUUM TABLE v").await.contains("'v' is a view; only tables and materialized views have files"));
    assert!(error("OPTIMIZE clicks").await.contains("expected TABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_lake_keeps_its_tables_in_shape() {
    let settings = [
        ("maintenance.interval", "1 ms"),
        ("maintenance.files_min", "4"),
        ("http.port", "0"),
        ("flight.port", "0"),
        ("storage.poll_interval", "0 s"),
    ];
    let process = Process::over(Arc::new(tempfile::tempdir().unwrap()), &settings).await;
    process.sql(CLICKS).await;
    process.sql("CREATE TABLE short (at TIMESTAMPTZ NOT NULL, n BIGINT) WITH (event_time='at', retention='1 day', partition_by='day(at)')").await;
    process
        .sql(
            "INSERT INTO short VALUES (TIMESTAMPTZ '2017-11-01 00:00:00Z', 1), (TIMESTAMPTZ '2017-11-07 00:00:00Z', 2)",
        )
        .await;
    let running = process.app.clone().serve().await.unwrap();
    with_small_files(&process, 40).await;
    let until = |sql: &'static str, expected: &'static str| {
        let process = &process;
        async move {
            while process.sql(sql).await != [expected] {
                tokio::task::yield_now().await;
            }
        }
    };
    let settled = async {
        until("SELECT files_in >= 40 FROM system.maintenance WHERE table_name = 'clicks' AND work = 'compact'", "true")
            .await;
        until(
            "SELECT active_files < 8 FROM system.maintenance WHERE table_name = 'clicks' AND work = 'compact'",
            "true",
        )
        .await;
        until("SELECT sum(n) FROM short", "2").await;
        until("SELECT count(*) FROM system.commits WHERE table_name = 'short' AND operation = 'RETENTION'", "1").await;
    };
    tokio::time::timeout(Duration::from_secs(120), settled).await.expect("maintenance did not happen by itself");
    assert_eq!(process.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["40 40"]);
    assert_eq!(process.sql("SELECT sum(errors) FROM system.maintenance").await, ["0"]);
    assert!(running.app.stop().await);
}
