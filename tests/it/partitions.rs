//! Views kept by partitions over a real lake: a view is its query over its sources, whatever has happened (MV-1), and a refresh
//! works through the partitions that were touched, no others.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::process::Process;
use crate::removing::{self, Removed, Retained};
use crate::seeds::abandon;

const EVENTS: &str = "(id VARCHAR NOT NULL, ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR, n BIGINT, d DECIMAL(12,2)) \
     WITH (event_time='ts', event_key='id', partition_by='day(ts)', lateness='100000 days', retention='100000 days')";
const DIMENSION: &str = "CREATE TABLE dims (k VARCHAR NOT NULL, label VARCHAR) WITH (kind='snapshot', key='k')";

async fn lake(folder: &tempfile::TempDir) -> Process {
    let lake = Process::over(folder, &[]).await;
    for table in ["a", "b"] {
        lake.run(&format!("CREATE TABLE {table} {EVENTS}")).await;
    }
    lake.run(DIMENSION).await;
    lake
}

/// A row of `a` or `b`; ids are given when it is inserted.
#[derive(Clone, Debug)]
struct Event {
    /// Seconds after 2017-10-30.
    at: i64,
    k: Option<&'static str>,
    n: Option<i64>,
    d: Option<i64>,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(&'static str, Vec<Event>),
    Dimension(&'static str, &'static str),
    Refresh,
    RefreshFull,
    RefreshBetween,
    RefreshElsewhere,
    /// Dropped after so many polls.
    RefreshKilled(u32),
    Remove(&'static str, Removed),
    Retain(&'static str, Retained),
    Optimize(&'static str),
    AddColumn(&'static str),
    Restart,
}

fn table() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b"])
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Days around the change of a week's and a month's day, at their edges.
    let at = (0_i64..9, select(vec![0_i64, 1, 3_599, 32_400, 43_200, 86_399]), 0_i64..3);
    let at = at.prop_map(|(day, second, more)| day * 86_400 + second + more);
    // In 1849, which is NULL by `date_bin`.
    let at = prop_oneof![30 => at, 1 => Just(-61_320 * 86_400 + 5)];
    let word = select(vec![None, Some("x"), Some("y"), Some("")]);
    let event = (at, word, proptest::option::of(-2_i64..3), proptest::option::of(-300_i64..300));
    vec(event.prop_map(|(at, k, n, d)| Event { at, k, n, d }), 1..10)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (table(), events()).prop_map(|(table, events)| Step::Insert(table, events)),
        4 => Just(Step::Refresh),
        1 => (select(vec!["x", "y"]), select(vec!["l", "m"])).prop_map(|(k, label)| Step::Dimension(k, label)),
        1 => Just(Step::RefreshFull),
        1 => Just(Step::RefreshBetween),
        1 => Just(Step::RefreshElsewhere),
        1 => (0_u32..16).prop_map(Step::RefreshKilled),
        2 => (table(), removing::removed()).prop_map(|(table, removed)| Step::Remove(table, removed)),
        1 => (table(), removing::retained()).prop_map(|(table, retained)| Step::Retain(table, retained)),
        1 => select(vec!["a", "b", "v0"]).prop_map(Step::Optimize),
        1 => table().prop_map(Step::AddColumn),
        1 => Just(Step::Restart),
    ];
    vec(step, 4..14)
}

/// A time key of the column called `ts`.
fn key() -> impl Strategy<Value = &'static str> {
    select(vec![
        "date_trunc('hour', {}.ts)",
        "date_trunc('day', {}.ts)",
        "date_trunc('week', {}.ts)",
        "date_trunc('month', {}.ts)",
        "date_bin(INTERVAL '6 hours', {}.ts)",
        "CAST({}.ts AS DATE)",
        "date_trunc('day', {}.ts + INTERVAL '9 hours')",
        "date_trunc('month', date_trunc('week', {}.ts))",
        "{}.ts - INTERVAL '1 day'",
    ])
}

fn of(key: &str, table: &str) -> String {
    key.replace("{}", table)
}

fn aggregates() -> impl Strategy<Value = String> {
    let calls = vec!["count(DISTINCT x.k)", "avg(x.d)", "median(x.n)", "count(DISTINCT x.n)", "sum(DISTINCT x.n)"];
    let calls = (proptest::sample::subsequence(calls, 1..3), any::<bool>());
    let filter = select(vec!["", " WHERE x.n > 0", " WHERE x.k <> 'x' OR x.d IS NULL"]);
    let having = select(vec!["", "", " HAVING count(*) > 1"]);
    (key(), table(), calls, any::<bool>(), filter, having).prop_map(
        |(key, table, (mut calls, more), by_k, filter, having)| {
            if more {
                calls.extend(["count(*)", "sum(x.n)", "max(x.k)"]);
            }
            let calls = calls.iter().enumerate().map(|(index, call)| format!("{call} AS c{index}"));
            let (key, k) = (of(key, "x"), if by_k { ", x.k" } else { "" });
            let calls = calls.collect::<Vec<_>>().join(", ");
            format!("SELECT {key} AS t{k}, {calls} FROM {table} AS x{filter} GROUP BY {key}{k}{having}")
        },
    )
}

fn windows() -> impl Strategy<Value = String> {
    let call = select(vec![
        ("rank()", "x.n"),
        ("row_number()", "x.n, x.id"),
        ("sum(x.n)", "x.ts"),
        ("lag(x.n)", "x.ts, x.id"),
        ("count(x.k)", "x.n"),
    ]);
    let by = select(vec!["", "x.k, "]);
    let within = select(vec!["date_trunc('hour', x.ts)", "date_trunc('day', x.ts)", "date_trunc('week', x.ts)"]);
    let shown = prop_oneof![2 => Just("{}.ts"), 3 => key()];
    (shown, table(), call, by, within).prop_map(|(key, table, (call, order), by, within)| {
        let key = of(key, "x");
        format!(
            "SELECT {key} AS t, x.id, {call} OVER (PARTITION BY {by}{within} ORDER BY {order}) AS w FROM {table} AS x"
        )
    })
}

fn joins() -> impl Strategy<Value = String> {
    let bounds = select(vec![
        "x.ts >= y.ts AND x.ts < y.ts + INTERVAL '2 days'",
        "y.ts BETWEEN x.ts - INTERVAL '90 minutes' AND x.ts + INTERVAL '1 day'",
        "date_trunc('day', x.ts) = date_trunc('day', y.ts)",
        "date_trunc('day', x.ts + INTERVAL '9 hours') = date_trunc('day', y.ts)",
        "date_trunc('week', y.ts) = date_trunc('week', x.ts)",
        "y.ts + INTERVAL '1 day' <= x.ts AND y.ts + INTERVAL '3 days' > x.ts",
    ]);
    let join = select(vec!["JOIN", "LEFT JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]);
    (key(), bounds, join, any::<bool>(), any::<bool>()).prop_map(|(key, bounds, join, by_row, by_k)| {
        let key = of(key, "x");
        let from = format!("FROM a AS x {join} b AS y ON x.k = y.k AND {bounds}");
        let (y_id, is_one_sided) =
            if join.contains("SEMI") || join.contains("ANTI") { ("x.id", true) } else { ("y.id", false) };
        match (by_row, by_k) {
            (true, _) if is_one_sided => format!("SELECT {key} AS t, x.id AS i, x.n {from}"),
            (true, _) => format!("SELECT {key} AS t, x.id AS i, y.id AS j, y.n {from}"),
            (false, true) => {
                format!("SELECT x.k, {key} AS t, count(*) AS c, count(DISTINCT {y_id}) AS u {from} GROUP BY x.k, {key}")
            }
            (false, false) => {
                format!("SELECT {key} AS t, sum(x.n) AS s, count(DISTINCT {y_id}) AS u {from} GROUP BY {key}")
            }
        }
    })
}

fn others() -> impl Strategy<Value = String> {
    (0..6, key(), key(), table()).prop_map(|(which, one, two, table)| {
        let (x, y) = (of(one, "x"), of(two, "y"));
        match which {
            0 => format!(
                "SELECT t, count(DISTINCT k) AS c, sum(n) AS s FROM (SELECT {x} AS t, x.k, x.n FROM a AS x UNION ALL \
                 SELECT {y}, y.k, -y.n FROM b AS y WHERE y.n IS NOT NULL) AS u GROUP BY t"
            ),
            1 => format!(
                "SELECT {x} AS t, dims.label, count(DISTINCT x.k) AS c FROM {table} AS x LEFT JOIN dims ON x.k = dims.k \
                 GROUP BY {x}, dims.label"
            ),
            2 => format!(
                "SELECT l.t, l.c, r.c AS d FROM (SELECT {x} AS t, count(DISTINCT x.k) AS c FROM a AS x GROUP BY {x}) AS l \
                 LEFT JOIN (SELECT {} AS t, count(*) AS c FROM b AS y GROUP BY {}) AS r ON l.t = r.t",
                of(one, "y"),
                of(one, "y")
            ),
            3 => format!("SELECT t, count(*) AS c FROM (SELECT DISTINCT {x} AS t, x.k FROM {table} AS x) AS u GROUP BY t"),
            4 => format!(
                "SELECT {x} AS t, count(*) AS c, count(DISTINCT z.id) AS u FROM a AS x, b AS y, {table} AS z WHERE x.k = y.k \
                 AND y.ts > x.ts AND y.ts <= x.ts + INTERVAL '1 day' AND date_trunc('day', z.ts) = date_trunc('day', y.ts) \
                 GROUP BY {x}"
            ),
            _ => format!("SELECT x.id, x.n, {x} AS t FROM {table} AS x WHERE x.n IS NOT NULL"),
        }
    })
}

fn views() -> impl Strategy<Value = String> {
    prop_oneof![3 => aggregates(), 2 => windows(), 4 => joins(), 3 => others()]
}

/// `ADLAKE_CASES` cases, 12 unless it is set.
#[test]
fn a_view_kept_by_partitions_is_its_query_whatever_happens() {
    crate::seeds::property(
        12,
        (vec(views(), 1..4), steps()),
        |(views, steps)| async move { check(&views, &steps).await },
    );
}

async fn check(views: &[String], steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = lake(&folder).await;
    for (index, query) in views.iter().enumerate() {
        lake.run(&format!("CREATE MATERIALIZED VIEW v{index} WITH (refresh='manual') AS {query}")).await;
        let explained = lake.run(&format!("EXPLAIN REFRESH v{index}")).await;
        prop_assert_eq!(&explained[0], "strategy|partition", "{}: {:?}", query, explained);
    }
    let mut ids = 0;
    for step in steps {
        if let Step::Restart = step {
            lake = Process::over(&folder, &[]).await;
        } else {
            happen(&lake, &folder, (step, views.len()), &mut ids).await;
        }
        for (index, query) in views.iter().enumerate() {
            let view = lake.all(&lake.session, &format!("v{index}")).await;
            let asked = lake.all(&lake.plain, &format!("({query})")).await;
            prop_assert_eq!(view, asked, "after {:?}: v{} AS {}", step, index, query);
        }
    }
    Ok(())
}

async fn happen(lake: &Process, folder: &tempfile::TempDir, (step, views): (&Step, usize), ids: &mut u64) {
    match step {
        Step::Insert(table, events) => insert(lake, table, events, ids).await,
        Step::Dimension(k, label) => {
            lake.run(&format!("INSERT INTO dims VALUES ('{k}', '{label}')")).await;
        }
        Step::Refresh => refresh(lake, views, "").await,
        Step::RefreshFull => refresh(lake, views, " FULL").await,
        Step::RefreshBetween => refresh(lake, views, " BETWEEN '2017-10-31' AND '2017-11-01T12:00:00Z'").await,
        Step::RefreshElsewhere => refresh(&Process::over(folder, &[]).await, views, "").await,
        Step::RefreshKilled(polls) => {
            for index in 0..views {
                abandon(Box::pin(lake.sql(&format!("REFRESH MATERIALIZED VIEW v{index}"))), *polls).await;
            }
        }
        Step::Remove(table, removed) => removing::remove(lake, table, removed).await,
        Step::Retain(table, retained) => removing::retain(lake, table, *retained).await,
        Step::Optimize(table) => {
            lake.run(&format!("OPTIMIZE TABLE {table}")).await;
        }
        Step::AddColumn(table) => {
            *ids += 1;
            lake.run(&format!("ALTER TABLE {table} ADD COLUMN extra{ids} BIGINT")).await;
        }
        Step::Restart => {}
    }
}

async fn insert(lake: &Process, table: &str, events: &[Event], ids: &mut u64) {
    let values = events.iter().map(|Event { at, k, n, d }| {
        *ids += 1;
        let ts = chrono::DateTime::from_timestamp(1_509_321_600 + at, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
        let k = k.map_or("NULL".to_owned(), |k| format!("'{k}'"));
        let n = n.map_or("NULL".to_owned(), |n| n.to_string());
        let d = d.map_or("NULL".to_owned(), |d| format!("{}.{:02}", d / 100, (d % 100).abs()));
        format!("('{ids}', TIMESTAMPTZ '{ts}', {k}, {n}, {d})")
    });
    let values = values.collect::<Vec<_>>().join(", ");
    lake.run(&format!("INSERT INTO {table} (id, ts, k, n, d) VALUES {values}")).await;
}

async fn refresh(lake: &Process, views: usize, scope: &str) {
    for index in 0..views {
        lake.run(&format!("REFRESH MATERIALIZED VIEW v{index}{scope}")).await;
    }
}

fn event(day: i64, hour: i64, k: &'static str) -> Event {
    Event { at: day * 86_400 + hour * 3_600, k: Some(k), n: Some(1), d: None }
}

/// Property and value of EXPLAIN REFRESH.
async fn explained(lake: &Process, view: &str, property: &str) -> String {
    let rows = lake.run(&format!("EXPLAIN REFRESH {view}")).await;
    let found = rows.iter().find_map(|row| row.strip_prefix(&format!("{property}|")));
    found.unwrap_or_else(|| panic!("{rows:?}")).to_owned()
}

/// Rows read and written by the last refresh.
async fn cost(lake: &Process, view: &str) -> String {
    let sql = format!("SELECT last_rows_in, last_rows_out FROM system.views WHERE view_name = '{view}'");
    lake.run(&sql).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_touched_partitions_are_worked_through() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut ids) = (lake(&folder).await, 0);
    let users = "SELECT date_trunc('day', ts) AS day, count(DISTINCT k) AS users FROM a GROUP BY 1";
    let joined = "SELECT date_trunc('day', b.ts) AS day, count(*) AS n, count(DISTINCT a.id) AS u FROM b JOIN a ON a.k = b.k \
         AND b.ts >= a.ts AND b.ts < a.ts + INTERVAL '2 days' GROUP BY 1";
    for (name, query) in [("users", users), ("joined", joined)] {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {query}")).await;
    }
    for day in 0..10 {
        insert(&lake, "a", &[event(day, 1, "x"), event(day, 2, "y"), event(day, 3, "x")], &mut ids).await;
        insert(&lake, "b", &[event(day, 12, "x")], &mut ids).await;
    }
    lake.run("REFRESH MATERIALIZED VIEW users").await;
    lake.run("REFRESH MATERIALIZED VIEW joined").await;
    assert_eq!(cost(&lake, "users").await, "30|10");
    assert_eq!(cost(&lake, "joined").await, "40|10");
    assert_eq!(explained(&lake, "joined", "next refresh").await, "nothing: all rows are absorbed");

    insert(&lake, "a", &[event(4, 13, "z")], &mut ids).await;
    assert_eq!(explained(&lake, "users", "pending times").await, "2017-11-03T00:00:00Z to 2017-11-04T00:00:00Z");
    assert_eq!(explained(&lake, "users", "pending partitions").await, "1");
    assert_eq!(explained(&lake, "joined", "pending times").await, "2017-11-03T00:00:00Z to 2017-11-06T00:00:00Z");
    assert_eq!(explained(&lake, "joined", "pending partitions").await, "3");
    assert_eq!(lake.scans("SELECT * FROM users").await, ["stored.users", "a"]);
    for view in ["users", "joined"] {
        lake.run(&format!("REFRESH MATERIALIZED VIEW {view}")).await;
        assert!(lake.run(&format!("VERIFY MATERIALIZED VIEW {view}")).await.is_empty());
    }
    // The day has 4 rows of a; three days of b and what two days before and these three have of a.
    assert_eq!(cost(&lake, "users").await, "4|1");
    assert_eq!(cost(&lake, "joined").await, "19|3");
    assert_eq!(lake.scans("SELECT * FROM users").await, ["stored.users"]);

    // Rows that go touch their day only, and so does a range that is asked for.
    removing::retain(&lake, "a", Retained::hours(180)).await;
    assert_eq!(explained(&lake, "users", "pending times").await, "2017-10-30T00:00:00Z to 2017-10-31T00:00:00Z");
    lake.run("REFRESH MATERIALIZED VIEW users").await;
    assert_eq!(cost(&lake, "users").await, "0|0");
    assert_eq!(lake.run("SELECT count(*) FROM users").await, ["9"]);
    lake.run("REFRESH MATERIALIZED VIEW users BETWEEN '2017-11-01T12:00:00Z' AND '2017-11-02'").await;
    assert_eq!(cost(&lake, "users").await, "3|1");
    assert!(lake.run("VERIFY MATERIALIZED VIEW users BETWEEN '2017-11-01' AND '2017-11-03'").await.is_empty());

    // Compaction of a source is no change, and neither is a new column.
    lake.run("OPTIMIZE TABLE a").await;
    lake.run("ALTER TABLE a ADD COLUMN extra BIGINT").await;
    assert_eq!(explained(&lake, "users", "pending partitions").await, "0");
    lake.run("REFRESH MATERIALIZED VIEW users").await;
    assert_eq!(explained(&lake, "users", "next refresh").await, "nothing: all rows are absorbed");
    // Another table under the old name is another table.
    lake.run("CREATE OR REPLACE MATERIALIZED VIEW joined WITH (refresh='manual') AS SELECT ts, k FROM b").await;
    lake.run("DROP TABLE a CASCADE").await;
    assert_eq!(lake.run("SELECT count(*) FROM joined").await, ["10"]);
}

/// What a view below was when rows were stored is told from what it is now, also when it is again what it was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_is_changed_and_changed_back_leaves_no_rows_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut ids) = (lake(&folder).await, 0);
    let below = async |sql: &str| {
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT ts, {sql} FROM a")).await;
    };
    below("n AS x, k AS y").await;
    for (name, query) in [
        ("users", "date_trunc('day', ts) AS day, count(DISTINCT x) AS users FROM seen GROUP BY 1"),
        ("all_rows", "* FROM seen"),
    ] {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS SELECT {query}")).await;
        assert_eq!(explained(&lake, name, "strategy").await, "partition");
    }
    insert(&lake, "a", &[event(1, 1, "x"), event(1, 2, "y")], &mut ids).await;
    for (columns, users, sum) in
        [("n", 1, "2"), ("length(id) + n", 1, "4"), ("n", 1, "2"), ("CAST(id AS BIGINT)", 2, "3")]
    {
        below(&format!("{columns} AS x, k AS y")).await;
        for moment in ["before a refresh", "after it"] {
            let found = (lake.run("SELECT users FROM users").await, lake.run("SELECT sum(x) FROM all_rows").await);
            assert_eq!(found, (vec![users.to_string()], vec![sum.to_owned()]), "{columns}, {moment}");
            lake.run("REFRESH MATERIALIZED VIEW users").await;
            lake.run("REFRESH MATERIALIZED VIEW all_rows").await;
        }
    }
    // Columns that cannot hold the rows any more: others, and one of another type.
    for (columns, read, expected) in [
        ("k AS y, n AS x", "SELECT y, x FROM all_rows ORDER BY y", ["x|1", "y|1"]),
        ("n + 0.5 AS x, k AS y", "SELECT x, y FROM all_rows ORDER BY y", ["1.5|x", "1.5|y"]),
        ("n AS x, k AS y, id", "SELECT x, id FROM all_rows ORDER BY id", ["1|1", "1|2"]),
    ] {
        below(columns).await;
        assert_eq!(lake.run(read).await, expected, "{columns}");
        let error = lake.sql("REFRESH MATERIALIZED VIEW all_rows").await.unwrap_err();
        assert!(error.contains("use CREATE OR REPLACE MATERIALIZED VIEW"), "{error}");
        assert_eq!(lake.run(read).await, expected, "{columns}");
    }
    below("n AS x, k AS y").await;
    assert_eq!(lake.run("SELECT x, y FROM all_rows ORDER BY y").await, ["1|x", "1|y"]);
    lake.run("REFRESH MATERIALIZED VIEW all_rows").await;
    assert!(lake.run("VERIFY MATERIALIZED VIEW all_rows").await.is_empty());
}

/// Days and times together are times, although the query's plan says days until its types are settled.
#[tokio::test(flavor = "multi_thread")]
async fn hours_of_a_union_with_days_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut ids) = (lake(&folder).await, 0);
    let query = "SELECT CAST(date_trunc('month', date_trunc('week', ts)) AS DATE) AS t, id FROM a UNION ALL SELECT ts, id FROM b";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {query}")).await;
    assert_eq!(explained(&lake, "v", "time key").await, "t, by 1 hour");
    for hour in [10, 12, 11] {
        insert(&lake, "b", &[event(3, hour, "x")], &mut ids).await;
        insert(&lake, "a", &[event(3, hour, "x")], &mut ids).await;
        let expected = lake.all(&lake.plain, &format!("({query})")).await.unwrap();
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), expected);
        lake.run("REFRESH MATERIALIZED VIEW v").await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), expected);
        insert(&lake, "b", &[event(3, hour, "y")], &mut ids).await;
        let expected = lake.all(&lake.plain, &format!("({query})")).await.unwrap();
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), expected);
        lake.run("REFRESH MATERIALIZED VIEW v BETWEEN '2017-11-02T11:00:00Z' AND '2017-11-02T11:30:00Z'").await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), expected);
    }
}

/// A table of the system is none of the lake, whatever it is called.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_other_schemas_are_read_whole_at_every_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run("CREATE TABLE settings (key VARCHAR NOT NULL) WITH (kind='snapshot', key='key')").await;
    for (source, expected) in [("settings", "partition"), ("system.settings", "full")] {
        let query = format!(
            "SELECT date_trunc('day', a.ts) AS day, count(DISTINCT a.k) AS n FROM a JOIN {source} AS s ON a.k = s.key GROUP BY 1"
        );
        lake.run(&format!("CREATE OR REPLACE MATERIALIZED VIEW v WITH (refresh='manual') AS {query}")).await;
        assert_eq!(explained(&lake, "v", "strategy").await, expected, "{source}");
    }
}

/// A partial aggregate of days from which rows went is made anew, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn removed_rows_touch_their_groups_of_an_incremental_view() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut ids) = (lake(&folder).await, 0);
    let view = "SELECT date_trunc('hour', ts) AS hour, k, count(*) AS n FROM a GROUP BY 1, 2";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual', partition_by='day(hour)') AS {view}")).await;
    for day in 0..9 {
        insert(&lake, "a", &[event(day, 1, "x"), event(day, 2, "y"), event(day, 2, "x")], &mut ids).await;
    }
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(cost(&lake, "v").await, "27|27");
    removing::retain(&lake, "a", Retained::hours(180)).await;
    insert(&lake, "a", &[event(8, 3, "x")], &mut ids).await;
    assert_eq!(explained(&lake, "v", "rows were removed at").await, "2017-10-30T01:00:00Z to 2017-10-30T03:00:00Z");
    assert_eq!(lake.scans("SELECT k, sum(n) FROM v GROUP BY k").await, ["rollup.v", "tail.a", "base.a"]);
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(cost(&lake, "v").await, "1|1", "what is left of the source is not read");
    assert_eq!(lake.run("SELECT count(*), sum(n) FROM v").await, ["25|25"]);
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
    // A part of the time, though nothing is pending; then what is pending elsewhere too.
    lake.run("REFRESH MATERIALIZED VIEW v BETWEEN '2017-11-01' AND '2017-11-02'").await;
    assert_eq!(cost(&lake, "v").await, "3|3");
    insert(&lake, "a", &[event(5, 1, "x")], &mut ids).await;
    lake.run("REFRESH MATERIALIZED VIEW v BETWEEN '2017-11-01' AND '2017-11-02'").await;
    assert_eq!(explained(&lake, "v", "pending rows").await, "0");
    assert!(lake.run("VERIFY MATERIALIZED VIEW v").await.is_empty());
    assert_eq!(lake.run("SELECT count(*), sum(n) FROM v").await, ["25|26"]);
}

/// Refreshes of one view in three processes, compaction, and rows that come and go, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn refreshes_at_once_leave_the_state_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut ids) = (lake(&folder).await, 0);
    let by_times = "SELECT date_trunc('day', ts) AS day, count(DISTINCT k) AS users FROM a GROUP BY 1";
    let by_parts = "SELECT date_trunc('day', ts) AS day, k, count(*) AS n FROM a GROUP BY 1, 2";
    for (name, query) in [("v0", by_times), ("v1", by_parts)] {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {query}")).await;
    }
    let others = [Arc::new(Process::over(&folder, &[]).await), Arc::new(Process::over(&folder, &[]).await)];
    for round in 0..12 {
        insert(&lake, "a", &[event(round % 4, 1, "x"), event(round % 3, 2, "y")], &mut ids).await;
        removing::remove(&lake, "a", &Removed::day(round % 5)).await;
        for view in ["v0", "v1"] {
            let sql = format!("REFRESH MATERIALIZED VIEW {view}");
            let refreshed = futures::future::join_all([lake.sql(&sql), others[0].sql(&sql), others[1].sql(&sql)]);
            let compacted = async { lake.run(&format!("OPTIMIZE TABLE {view}")).await };
            let killed = abandon(Box::pin(others[0].sql(&sql)), u32::try_from(round).unwrap() + 1);
            let (refreshed, _, _) = tokio::join!(refreshed, compacted, killed);
            for done in refreshed {
                assert!(
                    done.as_ref().is_ok() || done.as_ref().is_err_and(|error| error.contains("run it again")),
                    "{done:?}"
                );
            }
            lake.run(&sql).await;
            assert!(lake.run(&format!("VERIFY MATERIALIZED VIEW {view}")).await.is_empty(), "{view} in round {round}");
            let pending = lake.run(&format!("SELECT pending_rows FROM system.views WHERE view_name = '{view}'")).await;
            assert_eq!(pending, ["0"]);
        }
    }
}
