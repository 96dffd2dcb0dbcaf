//! `system.restatements`: what late events change of windows that had been over for a while.

use std::time::Duration;

use adlake::storage::{CommitMode, CommitRequest, InputOrder, Subject, WriteOptions};
use datafusion::logical_expr::lit;
use tokio_util::sync::CancellationToken;

use crate::process::{NOON, Process};

const CLICKS: &str = "CREATE TABLE clicks (ts TIMESTAMP WITH TIME ZONE NOT NULL, ad VARCHAR, price BIGINT) \
     WITH (event_time='ts', lateness='1000 days')";
pub const BY_MINUTE: &str = "SELECT date_trunc('minute', ts) AS minute, ad, count(*) AS clicks, sum(price) AS spend \
     FROM clicks GROUP BY 1, 2";
/// What is listed, in the order of its windows.
const LISTED: &str = "SELECT view_name, group_key, window_start, old_value, new_value, source_name, first_version, \
     last_version, late_events, groups FROM system.restatements ORDER BY view_version, window_start, group_key";

pub async fn lake(folder: &tempfile::TempDir) -> Process {
    let lake = Process::over(folder, &[("storage.poll_interval", "0 s")]).await;
    lake.run(CLICKS).await;
    lake
}

/// Clicks of one commit: minutes before noon, ad, price.
pub async fn click(lake: &Process, clicks: &[(i64, &str, i64)]) {
    let value = |(minutes, ad, price): &(i64, &str, i64)| {
        let at = chrono::DateTime::from_timestamp_micros(NOON.0 - minutes * 60_000_000).unwrap();
        format!("(TIMESTAMPTZ '{}', '{ad}', {price})", at.format("%Y-%m-%dT%H:%M:%SZ"))
    };
    let values: Vec<String> = clicks.iter().map(value).collect();
    lake.run(&format!("INSERT INTO clicks VALUES {}", values.join(", "))).await;
}

pub async fn refresh(lake: &Process) {
    lake.run("REFRESH MATERIALIZED VIEW v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_are_listed_with_old_and_new_value() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    click(&lake, &[(0, "a", 5), (90, "a", 7), (90, "b", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(LISTED).await.is_empty(), "what a view is made with restates nothing");
    // An hour and less is not late; 61 minutes ago the minute was over for an hour exactly.
    click(&lake, &[(0, "a", 1), (60, "a", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(LISTED).await.is_empty());
    click(&lake, &[(1, "a", 1), (61, "c", 2), (90, "a", 10), (90, "a", 10)]).await;
    refresh(&lake).await;
    let expected = [
        r#"v|{"minute":"2017-11-07T10:30:00Z","ad":"a"}|2017-11-07T10:30:00Z|{"clicks":1,"spend":7}|{"clicks":3,"spend":27}|clicks|3|3|2|1"#,
        r#"v|{"minute":"2017-11-07T10:59:00Z","ad":"c"}|2017-11-07T10:59:00Z|∅|{"clicks":1,"spend":2}|clicks|3|3|1|1"#,
    ];
    assert_eq!(lake.run(LISTED).await, expected);
    // A second refresh of the same rows, a rebuild, and another process add none.
    refresh(&lake).await;
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    let another = Process::over(&folder, &[]).await;
    refresh(&another).await;
    assert_eq!(another.run(LISTED).await, expected, "they are the lake's");
}

/// What came late is listed beside rows that go in the same refresh; rows that stay, in another file, have not come late.
#[tokio::test(flavor = "multi_thread")]
async fn late_events_are_listed_beside_rows_that_go() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    click(&lake, &[(90, "a", 7)]).await;
    click(&lake, &[(300, "a", 1), (299, "b", 1)]).await;
    refresh(&lake).await;
    lake.run("DELETE FROM clicks WHERE ad = 'a' AND price = 1").await;
    click(&lake, &[(90, "a", 1)]).await;
    refresh(&lake).await;
    let late = "SELECT group_key, old_value, new_value, first_version, last_version, late_events \
         FROM system.restatements WHERE late_events > 0";
    let expected =
        [r#"{"minute":"2017-11-07T10:30:00Z","ad":"a"}|{"clicks":1,"spend":7}|{"clicks":2,"spend":8}|4|4|1"#];
    assert_eq!(lake.run(late).await, expected);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
}

/// What changed each group, with its versions and events.
pub const CAUSES: &str = "SELECT group_key, old_value, new_value, source_name, first_version, last_version, late_events, \
     removed_events, cause FROM system.restatements ORDER BY view_version, cause, window_start, group_key";

#[tokio::test(flavor = "multi_thread")]
async fn groups_from_which_events_were_deleted_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    click(&lake, &[(10, "a", 1), (90, "a", 7), (90, "a", 1), (90, "b", 1), (95, "c", 3)]).await;
    click(&lake, &[(300, "a", 1)]).await;
    refresh(&lake).await;
    lake.run("DELETE FROM clicks WHERE ad = 'a' AND price = 1 AND ts > '2017-11-07T08:00:00Z'").await;
    lake.run("DELETE FROM clicks WHERE ad = 'b'").await;
    click(&lake, &[(90, "d", 4), (300, "a", 2)]).await;
    refresh(&lake).await;
    // Not listed are the minute that is not over for an hour, and c, of which nothing went.
    let expected = [
        r#"{"minute":"2017-11-07T07:00:00Z","ad":"a"}|{"clicks":1,"spend":1}|{"clicks":2,"spend":3}|clicks|5|5|1|∅|late events"#,
        r#"{"minute":"2017-11-07T10:30:00Z","ad":"a"}|{"clicks":2,"spend":8}|{"clicks":1,"spend":7}|clicks|3|5|∅|1|removed events"#,
        r#"{"minute":"2017-11-07T10:30:00Z","ad":"b"}|{"clicks":1,"spend":1}|∅|clicks|3|5|∅|1|removed events"#,
        r#"{"minute":"2017-11-07T10:30:00Z","ad":"d"}|∅|{"clicks":1,"spend":4}|clicks|3|5|∅|0|removed events"#,
    ];
    assert_eq!(lake.run(CAUSES).await, expected);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
    refresh(&lake).await;
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    assert_eq!(lake.run(CAUSES).await, expected);
}

/// That events of a certain age go was agreed when the table was made.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_takes_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[("storage.poll_interval", "0 s")]).await;
    lake.run(&CLICKS.replace("1000 days", "2 days', retention='2 days")).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {BY_MINUTE}")).await;
    let by_day = "SELECT date_trunc('day', ts) AS day, count(DISTINCT ad) AS ads FROM clicks GROUP BY 1";
    lake.run(&format!("CREATE MATERIALIZED VIEW days WITH (refresh='manual') AS {by_day}")).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW whole WITH (strategy='full') AS {BY_MINUTE}")).await;
    click(&lake, &[(40 * 60, "a", 1)]).await;
    click(&lake, &[(300, "a", 1)]).await;
    let views = ["v", "days", "whole"];
    for view in views {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
    }
    lake.clock.advance(Duration::from_secs(24 * 3600));
    crate::removing::retain(&lake, "clicks", crate::removing::Retained::hours(48)).await;
    for view in views {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
        assert_eq!(lake.run(&format!("SELECT count(*) FROM {view}")).await, ["1"], "{view}");
    }
    assert!(lake.run(CAUSES).await.is_empty());
}

/// Commits all stored rows of a view once more.
pub async fn double(lake: &Process, view: &str) {
    let path = lake.app.catalog.snapshot().relation(view).unwrap().table_path.clone().unwrap();
    let table = lake.app.lake.open_table(&path).await.unwrap();
    let stored = table.refresh().await.unwrap().provider();
    let rows = lake.app.engine.open_rows((stored, lit(true)), CancellationToken::new()).await.unwrap();
    let options = WriteOptions { order: InputOrder::Unsorted, context: lake.app.engine.task_context() };
    let request = CommitRequest {
        files: table.write_files(rows, options).await.unwrap(),
        mode: CommitMode::Append,
        transactions: Vec::new(),
        fence: None,
        expected: None,
        operation: "TEST",
        info: Default::default(),
    };
    table.commit(request).await.unwrap();
}

/// A rebuild restates what was stored wrong, nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_list_what_they_set_right() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    click(&lake, &[(10, "a", 1), (90, "a", 7), (200, "b", 1)]).await;
    refresh(&lake).await;
    double(&lake, "v").await;
    click(&lake, &[(90, "a", 1), (5, "a", 1)]).await;
    lake.run("REFRESH MATERIALIZED VIEW v BETWEEN '2017-11-07T10:00:00Z' AND '2017-11-07T12:00:00Z'").await;
    let between = [
        r#"{"minute":"2017-11-07T10:30:00Z","ad":"a"}|{"clicks":2,"spend":14}|{"clicks":3,"spend":15}|clicks|2|2|1|∅|late events"#,
        r#"{"minute":"2017-11-07T10:30:00Z","ad":"a"}|{"clicks":3,"spend":15}|{"clicks":2,"spend":8}|clicks|2|2|∅|∅|rebuild"#,
    ];
    assert_eq!(lake.run(CAUSES).await, between);
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    let full = r#"{"minute":"2017-11-07T08:40:00Z","ad":"b"}|{"clicks":2,"spend":2}|{"clicks":1,"spend":1}|clicks|2|2|∅|∅|rebuild"#;
    assert_eq!(lake.run(CAUSES).await, [&between[..], &[full]].concat());
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    assert_eq!(lake.run(CAUSES).await.len(), 3);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_change_after_they_were_over_are_listed_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let by_day = "SELECT date_trunc('day', ts) AS day, count(DISTINCT ad) AS ads FROM clicks GROUP BY 1";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {by_day}")).await;
    const DAY: i64 = 24 * 60;
    click(&lake, &[(0, "a", 1), (DAY, "a", 1)]).await;
    click(&lake, &[(2 * DAY, "a", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(CAUSES).await.is_empty(), "what a view is made with restates nothing");
    // Today is not over, and another click on the same ad changes no number.
    click(&lake, &[(0, "b", 1), (DAY, "a", 1)]).await;
    refresh(&lake).await;
    assert!(lake.run(CAUSES).await.is_empty());
    click(&lake, &[(0, "c", 1), (DAY, "b", 1)]).await;
    refresh(&lake).await;
    lake.run("DELETE FROM clicks WHERE ts < '2017-11-06T00:00:00Z'").await;
    refresh(&lake).await;
    double(&lake, "v").await;
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    let expected = [
        r#"{"day":"2017-11-06T00:00:00Z"}|[{"day":"2017-11-06T00:00:00Z","ads":1}]|[{"day":"2017-11-06T00:00:00Z","ads":2}]|clicks|4|4|∅|∅|changed rows"#,
        r#"{"day":"2017-11-05T00:00:00Z"}|[{"day":"2017-11-05T00:00:00Z","ads":1}]|∅|clicks|5|5|∅|∅|changed rows"#,
        r#"{"day":"2017-11-06T00:00:00Z"}|[{"day":"2017-11-06T00:00:00Z","ads":2}]|∅|clicks|5|5|∅|∅|rebuild"#,
    ];
    assert_eq!(lake.run(CAUSES).await, expected);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    assert_eq!(lake.run(CAUSES).await, expected);
}

/// A partition depends on several tables, on some of them as a whole: which of them has changed is said.
#[tokio::test(flavor = "multi_thread")]
async fn changed_tables_below_a_partition_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run("CREATE TABLE ads (ad VARCHAR NOT NULL, owner VARCHAR) WITH (kind='snapshot', key='ad')").await;
    lake.run(
        "CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS SELECT date_trunc('day', clicks.ts) AS day, \
         ads.owner, count(DISTINCT clicks.price) AS prices FROM clicks JOIN ads ON clicks.ad = ads.ad GROUP BY 1, 2",
    )
    .await;
    lake.run("INSERT INTO ads VALUES ('a', 'x'), ('b', 'y')").await;
    click(&lake, &[(24 * 60, "a", 1), (24 * 60, "b", 1), (0, "a", 1)]).await;
    refresh(&lake).await;
    lake.run("INSERT INTO ads VALUES ('a', 'z')").await;
    refresh(&lake).await;
    lake.run("INSERT INTO ads VALUES ('c', 'x')").await;
    click(&lake, &[(24 * 60, "b", 2)]).await;
    refresh(&lake).await;
    let row =
        |owner: &str, prices: i64| format!(r#"[{{"day":"2017-11-06T00:00:00Z","owner":"{owner}","prices":{prices}}}]"#);
    let listed = "SELECT source_name, first_version, last_version, old_value, new_value FROM system.restatements \
         ORDER BY view_version";
    let expected = [
        format!("ads|2|2|{}|{}", row("x", 1), row("z", 1)),
        format!("ads, clicks|∅|∅|{}|{}", row("y", 1), row("y", 2)),
    ];
    assert_eq!(lake.run(listed).await, expected);
}

/// A window ends with its grain: events of a day are not late before the day is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_as_long_as_its_grain() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let by_day = "SELECT date_trunc('day', ts) AS day, count(*) AS clicks FROM clicks WHERE price > 0 GROUP BY 1";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {by_day}")).await;
    click(&lake, &[(0, "a", 1), (24 * 60, "a", 1)]).await;
    refresh(&lake).await;
    // Nine hours ago is today; thirteen hours ago was yesterday, but its price does not count.
    click(&lake, &[(9 * 60, "a", 1), (13 * 60, "a", 0)]).await;
    refresh(&lake).await;
    assert!(lake.run(LISTED).await.is_empty());
    click(&lake, &[(13 * 60, "a", 1)]).await;
    refresh(&lake).await;
    let expected =
        [r#"v|{"day":"2017-11-06T00:00:00Z"}|2017-11-06T00:00:00Z|{"clicks":1}|{"clicks":2}|clicks|3|3|1|1"#];
    assert_eq!(lake.run(LISTED).await, expected);
}

/// Late is what was late when it was committed: readers saw it from then on, whenever the view is refreshed.
#[tokio::test(flavor = "multi_thread")]
async fn lateness_is_that_of_the_commit_not_of_the_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    refresh(&lake).await;
    click(&lake, &[(10, "a", 1)]).await;
    click(&lake, &[(10, "a", 2), (10, "b", 2)]).await;
    lake.clock.advance(Duration::from_secs(2 * 3600));
    click(&lake, &[(10, "a", 4)]).await;
    click(&lake, &[(10, "a", 8), (9, "c", 8)]).await;
    refresh(&lake).await;
    let expected = [
        r#"v|{"minute":"2017-11-07T11:50:00Z","ad":"a"}|2017-11-07T11:50:00Z|{"clicks":2,"spend":3}|{"clicks":3,"spend":7}|clicks|3|3|1|1"#,
        r#"v|{"minute":"2017-11-07T11:50:00Z","ad":"a"}|2017-11-07T11:50:00Z|{"clicks":3,"spend":7}|{"clicks":4,"spend":15}|clicks|4|4|1|1"#,
        r#"v|{"minute":"2017-11-07T11:51:00Z","ad":"c"}|2017-11-07T11:51:00Z|∅|{"clicks":1,"spend":8}|clicks|4|4|1|1"#,
    ];
    let mut listed = lake.run(LISTED).await;
    listed.sort();
    assert_eq!(listed, expected);
}

/// A refresh that is far behind: commits are told several together, and no late event is left out or told twice.
#[tokio::test(flavor = "multi_thread")]
async fn many_commits_are_told_several_together() {
    const COMMITS: i64 = 70;
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour') AS {BY_MINUTE}"))
        .await;
    refresh(&lake).await;
    for n in 0..COMMITS {
        click(&lake, &[(90, "a", 1), (80, if n % 2 == 0 { "b" } else { "c" }, n)]).await;
        lake.clock.advance(Duration::from_secs(20));
    }
    refresh(&lake).await;
    let counted = "SELECT sum(late_events), min(first_version), max(last_version), max(last_version - first_version) \
         FROM system.restatements";
    assert_eq!(lake.run(counted).await, ["140|1|70|4"]);
    let changed =
        "SELECT new_value FROM system.restatements WHERE group_key LIKE '%\"a\"%' ORDER BY last_version DESC LIMIT 1";
    assert_eq!(lake.run(changed).await, [r#"{"clicks":70,"spend":70}"#]);
}

/// A load of old events changes many groups: some are listed, all are counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {BY_MINUTE}")).await;
    refresh(&lake).await;
    lake.run(
        "INSERT INTO clicks SELECT to_timestamp(1509494400 + (value % 1000) * 60), 'a', 1 FROM generate_series(0, 2999)",
    )
    .await;
    refresh(&lake).await;
    let counted = "SELECT group_key IS NULL, count(*), sum(groups), sum(late_events), min(first_version), max(last_version) \
         FROM system.restatements GROUP BY 1 ORDER BY 1";
    assert_eq!(lake.run(counted).await, ["false|200|200|600|1|1", "true|1|800|2400|1|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_without_a_window_restate_nothing_and_totals_out_of_range_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(
        "CREATE MATERIALIZED VIEW totals WITH (refresh='manual') AS SELECT ad, count(*) AS n FROM clicks GROUP BY ad",
    )
    .await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {BY_MINUTE}")).await;
    click(&lake, &[(600, "a", i64::MAX)]).await;
    lake.run("REFRESH MATERIALIZED VIEW totals").await;
    refresh(&lake).await;
    click(&lake, &[(600, "a", i64::MAX), (500, "b", 1)]).await;
    lake.run("REFRESH MATERIALIZED VIEW totals").await;
    refresh(&lake).await;
    assert_eq!(
        lake.run(LISTED).await,
        ["v|∅|∅|∅|∅|clicks|2|2|2|2"],
        "the values cannot be told, that they changed can"
    );
}

/// The restatements of a refresh that was killed before they were copied are read from its commit, and copied by the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_refresh_lists_once_what_it_has_restated() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {BY_MINUTE}")).await;
    refresh(&lake).await;
    let others = [Process::over(&folder, &[]).await, Process::over(&folder, &[]).await];
    let listed = "SELECT old_value, new_value, late_events FROM system.restatements ORDER BY view_version";
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
            n => format!(r#"{{"clicks":{n},"spend":{n}}}"#),
        };
        expected.push(format!("{}|{}|1", value(round - 1), value(round)));
        assert_eq!(lake.run(listed).await, expected);
        assert_eq!(others[1].run(listed).await, expected);
    }
    // Without the copies everything is still in the log of the view.
    std::fs::remove_dir_all(crate::place::files(folder.path()).join("tables/_restatements")).unwrap();
    let afterwards = Process::over(&folder, &[]).await;
    assert_eq!(afterwards.run(listed).await, expected);
    click(&afterwards, &[(600, "a", 1)]).await;
    refresh(&afterwards).await;
    assert_eq!(afterwards.run(listed).await.len(), 13);
    assert!(crate::place::files(folder.path()).join("tables/_restatements").exists(), "copied again");
}

#[tokio::test(flavor = "multi_thread")]
async fn restatements_are_kept_for_as_long_as_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {BY_MINUTE}")).await;
    refresh(&lake).await;
    let keep = || Subject { path: "_restatements".to_owned(), retention: Some("400 days".parse().unwrap()) };
    for day in [0, 300] {
        lake.clock.advance(Duration::from_secs(day * 24 * 3600));
        click(&lake, &[(600, "a", 1)]).await;
        refresh(&lake).await;
    }
    for (days, left) in [(99, 2), (3, 1), (299, 0)] {
        lake.clock.advance(Duration::from_secs(days * 24 * 3600));
        lake.app.maintainer.turn(&keep(), &CancellationToken::new()).await;
        assert_eq!(lake.run(LISTED).await.len(), left, "{days} days later");
    }
    refresh(&lake).await;
    assert!(lake.run(LISTED).await.is_empty(), "what has gone does not come back from the log of the view");
}
