//! `system.restatements` of views that are refreshed as a whole: windows of time whose rows are other ones than before.

use std::time::Duration;

use crate::process::Process;
use crate::restatements::{BY_MINUTE, CAUSES, click, double, lake, refresh};

const BY_HOUR: &str = "SELECT date_trunc('hour', ts) AS hour, ad, count(*) AS clicks, sum(price) AS spend \
     FROM clicks GROUP BY 1, 2";
const DAY: i64 = 24 * 60;

async fn full(lake: &Process, view: &str, query: &str) {
    let options = "refresh='manual', strategy='full', restate_after='1 hour'";
    lake.run(&format!("CREATE MATERIALIZED VIEW {view} WITH ({options}) AS {query}")).await;
}

/// A row of [`BY_HOUR`].
fn row(hour: u32, ad: &str, clicks: i64, spend: i64) -> String {
    format!(r#"[{{"hour":"2017-11-07T{hour:02}:00:00Z","ad":"{ad}","clicks":{clicks},"spend":{spend}}}]"#)
}

fn key(hour: u32) -> String {
    format!(r#"{{"hour":"2017-11-07T{hour:02}:00:00Z"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_listed_with_the_rows_that_late_events_changed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    full(&lake, "v", BY_HOUR).await;
    click(&lake, &[(0, "a", 5), (30, "a", 1), (90, "a", 7), (90, "b", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(CAUSES).await.is_empty(), "what a view is made with restates nothing");
    // This hour is not over, the one before it has been over for no time.
    click(&lake, &[(0, "a", 1), (30, "c", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(CAUSES).await.is_empty());
    click(&lake, &[(30, "a", 1), (90, "a", 10), (300, "c", 2)]).await;
    refresh(&lake).await;
    let expected = [
        format!("{}|∅|{}|clicks|3|3|∅|∅|changed rows", key(7), row(7, "c", 1, 2)),
        format!("{}|{}|{}|clicks|3|3|∅|∅|changed rows", key(10), row(10, "a", 1, 7), row(10, "a", 2, 17)),
    ];
    assert_eq!(lake.run(CAUSES).await, expected);
    // A second refresh of the same rows and another process add none.
    refresh(&lake).await;
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    let another = Process::over(&folder, &[]).await;
    refresh(&another).await;
    assert_eq!(another.run(CAUSES).await, expected, "they are the lake's");
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_events_and_what_was_stored_wrong_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    full(&lake, "v", BY_HOUR).await;
    click(&lake, &[(10, "a", 1), (90, "a", 7), (90, "b", 1)]).await;
    refresh(&lake).await;
    lake.run("DELETE FROM clicks WHERE ad = 'b'").await;
    refresh(&lake).await;
    double(&lake, "v").await;
    refresh(&lake).await;
    let expected = [
        format!("{}|{}|∅|clicks|2|2|∅|∅|changed rows", key(10), row(10, "b", 1, 1)),
        format!("{}|{}|∅|clicks|2|2|∅|∅|rebuild", key(10), row(10, "a", 1, 7)),
    ];
    assert_eq!(lake.run(CAUSES).await, expected);
    refresh(&lake).await;
    assert_eq!(lake.run(CAUSES).await, expected);
}

/// Late is what was late when it was committed, also where the view reads another one that is refreshed as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn lateness_is_that_of_the_commit_not_of_the_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    full(&lake, "v", BY_HOUR).await;
    let by_day = "SELECT date_trunc('day', hour) AS day, sum(clicks) AS clicks FROM v GROUP BY 1";
    full(&lake, "days", by_day).await;
    let both = async || {
        refresh(&lake).await;
        lake.run("REFRESH MATERIALIZED VIEW days").await;
    };
    click(&lake, &[(DAY, "a", 1)]).await;
    both().await;
    // In time, and seen when its day is over.
    click(&lake, &[(0, "a", 1)]).await;
    lake.clock.advance(Duration::from_secs(2 * 24 * 3600));
    both().await;
    assert!(lake.run(CAUSES).await.is_empty());
    click(&lake, &[(DAY, "a", 1)]).await;
    both().await;
    let listed = "SELECT source_name, first_version, last_version, old_value, new_value, cause FROM system.restatements \
         WHERE view_name = 'days'";
    let row = |clicks: i64| format!(r#"[{{"day":"2017-11-06T00:00:00Z","clicks":{clicks}}}]"#);
    assert_eq!(lake.run(listed).await, [format!("v|3|3|{}|{}|changed rows", row(1), row(2))]);
    let of_v = "SELECT window_start, source_name FROM system.restatements WHERE view_name = 'v'";
    assert_eq!(lake.run(of_v).await, ["2017-11-06T12:00:00Z|clicks"]);
}

/// A change of any table that is read changes rows; which of them have changed is said.
#[tokio::test(flavor = "multi_thread")]
async fn changed_tables_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run("CREATE TABLE ads (ad VARCHAR NOT NULL, owner VARCHAR) WITH (kind='snapshot', key='ad')").await;
    let owned = "SELECT date_trunc('day', clicks.ts) AS day, ads.owner, count(*) AS clicks FROM clicks JOIN ads \
         ON clicks.ad = ads.ad GROUP BY 1, 2";
    full(&lake, "v", owned).await;
    lake.run("INSERT INTO ads VALUES ('a', 'x'), ('b', 'y')").await;
    click(&lake, &[(DAY, "a", 1), (DAY, "b", 1), (0, "a", 1)]).await;
    refresh(&lake).await;
    lake.run("INSERT INTO ads VALUES ('a', 'z'), ('b', 'y')").await;
    refresh(&lake).await;
    lake.run("INSERT INTO ads VALUES ('a', 'z'), ('b', 'y'), ('c', 'x')").await;
    click(&lake, &[(DAY, "b", 2)]).await;
    refresh(&lake).await;
    let row =
        |owner: &str, clicks: i64| format!(r#"[{{"day":"2017-11-06T00:00:00Z","owner":"{owner}","clicks":{clicks}}}]"#);
    let listed = "SELECT source_name, first_version, last_version, old_value, new_value FROM system.restatements \
         ORDER BY view_version";
    let expected = [
        format!("ads|2|2|{}|{}", row("x", 1), row("z", 1)),
        format!("ads, clicks|∅|∅|{}|{}", row("y", 1), row("y", 2)),
    ];
    assert_eq!(lake.run(listed).await, expected);
}

/// Rows of another query were nobody's; rows that differ though nothing has changed would be listed with every refresh.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_compared_lists_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run("CREATE VIEW named AS SELECT ts, ad, price FROM clicks").await;
    full(&lake, "v", &BY_HOUR.replace("FROM clicks", "FROM named")).await;
    let hour = "SELECT date_trunc('hour', ts) AS hour,";
    let others = [
        ("SELECT ad, count(*) AS n FROM clicks GROUP BY ad".to_owned(), "no column of it is a time of its sources"),
        (
            format!("{hour} ad FROM clicks WHERE ts > now() - INTERVAL '30 days'"),
            "now() changes from one run to the next",
        ),
        (format!("{hour} random() AS r FROM clicks"), "random() changes from one run to the next"),
        (format!("{hour} ad FROM clicks ORDER BY ad LIMIT 3"), "it contains LIMIT"),
        (format!("{hour} stddev(price) AS n FROM clicks GROUP BY 1"), "stddev may depend on the order of rows"),
    ];
    for (place, (query, reason)) in others.iter().enumerate() {
        full(&lake, &format!("v{place}"), query).await;
        let explained = lake.run(&format!("EXPLAIN REFRESH v{place}")).await.join("\n");
        assert!(explained.contains(&format!("late events|not told: {reason}")), "{explained}");
    }
    let told = "late events|windows of hour are listed in system.restatements when they change after they were over for 1 hour";
    assert!(lake.run("EXPLAIN REFRESH v").await.iter().any(|line| line == told));
    let all = async || {
        refresh(&lake).await;
        for place in 0..others.len() {
            lake.run(&format!("REFRESH MATERIALIZED VIEW v{place}")).await;
        }
    };
    click(&lake, &[(90, "a", 7), (300, "b", 1)]).await;
    all().await;
    lake.run("CREATE OR REPLACE VIEW named AS SELECT ts, ad, 2 * price AS price FROM clicks").await;
    click(&lake, &[(90, "a", 1)]).await;
    all().await;
    assert!(lake.run(CAUSES).await.is_empty());
    click(&lake, &[(90, "a", 1)]).await;
    all().await;
    assert_eq!(lake.run("SELECT view_name, group_key FROM system.restatements").await, [format!("v|{}", key(10))]);
}

/// A load of old events changes many windows: some are listed, all are counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    full(&lake, "v", BY_MINUTE).await;
    refresh(&lake).await;
    lake.run(
        "INSERT INTO clicks SELECT to_timestamp(1509494400 + (value % 1000) * 60), 'a', 1 FROM generate_series(0, 2999)",
    )
    .await;
    refresh(&lake).await;
    let counted = "SELECT group_key IS NULL, count(*), sum(groups), min(first_version), max(last_version) \
         FROM system.restatements GROUP BY 1 ORDER BY 1";
    assert_eq!(lake.run(counted).await, ["false|200|200|1|1", "true|1|800|1|1"]);
}

/// In three processes, some overtaken and one dropped on its way: what a refresh restates is in its commit (RUN-1).
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_refresh_lists_once_what_it_has_restated() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    full(&lake, "v", BY_MINUTE).await;
    refresh(&lake).await;
    let others = [Process::over(&folder, &[]).await, Process::over(&folder, &[]).await];
    let listed = "SELECT old_value, new_value FROM system.restatements ORDER BY view_version";
    let mut expected = Vec::new();
    for round in 1..=12 {
        click(&lake, &[(600, "a", 1)]).await;
        let all = [&lake, &others[0], &others[1]].map(|process| process.sql("REFRESH MATERIALIZED VIEW v"));
        // Dropped at some point of its way.
        let dropped = crate::seeds::abandon(lake.sql("REFRESH MATERIALIZED VIEW v"), round * 2);
        let _ = tokio::join!(dropped, futures::future::join_all(all));
        refresh(&lake).await;
        let value = |n: u32| match n {
            0 => "∅".to_owned(),
            n => format!(r#"[{{"minute":"2017-11-07T02:00:00Z","ad":"a","clicks":{n},"spend":{n}}}]"#),
        };
        expected.push(format!("{}|{}", value(round - 1), value(round)));
        assert_eq!(lake.run(listed).await, expected);
        assert_eq!(others[1].run(listed).await, expected);
    }
    // Without the copies everything is still in the log of the view.
    std::fs::remove_dir_all(crate::place::files(folder.path()).join("tables/_restatements")).unwrap();
    let afterwards = Process::over(&folder, &[]).await;
    assert_eq!(afterwards.run(listed).await, expected);
}
