//! Materialized views over a real lake: a view is its query over the source, whatever has happened (MV-1).

use std::sync::Arc;

use adlake::query::Session;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::process::Process;
use crate::removing::{self, Removed, Retained};
use crate::seeds::abandon;

const FACTS: &str = "CREATE TABLE facts (ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR, c VARCHAR, n BIGINT, \
     d DECIMAL(12,2), b BOOLEAN) WITH (event_time='ts', partition_by='day(ts)', lateness='100000 days', retention='100000 days')";

/// Dimensions: a snapshot table, whose rows change; a list, with keys that are NULL or there twice; a view of some rows.
const DIMENSIONS: [&str; 3] = [
    "CREATE TABLE words (k VARCHAR NOT NULL, name VARCHAR, w BIGINT, ok BOOLEAN) WITH (kind='snapshot', key='k')",
    "CREATE TABLE notes (k VARCHAR, note VARCHAR)",
    "CREATE VIEW good_words AS SELECT k, name, w FROM words WHERE ok",
];

impl Process {
    /// The rows of a relation in a fixed order; errors of overflow are an answer too.
    pub async fn all(&self, session: &Arc<Session>, relation: &str) -> Result<Vec<String>, &'static str> {
        match self.sql_in(session, &format!("SELECT * FROM {relation} AS r")).await {
            Ok(mut rows) => {
                rows.sort();
                Ok(rows)
            }
            Err(error) if error.contains("out of the range") || error.contains("too large") => Err("out of range"),
            Err(error) => panic!("{relation}: {error}"),
        }
    }
}

/// One thing that happens to the source or to the view.
#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Fact>),
    /// Rows of this condition go.
    Delete(&'static str),
    Refresh,
    RefreshFull,
    RefreshBetween,
    RefreshElsewhere,
    /// Dropped after so many polls.
    RefreshKilled(u32),
    Remove(Removed),
    Retain(Retained),
    OptimizeSource,
    OptimizeView,
    AddColumn,
    Restart,
    /// Rows of `words`: key, name, number, truth.
    Describe(Vec<(&'static str, Option<&'static str>, i64, Option<bool>)>),
    /// A row of `notes`.
    Note(Option<&'static str>, &'static str),
}

#[derive(Clone, Debug)]
struct Fact {
    ts: i64,
    k: Option<&'static str>,
    c: Option<&'static str>,
    n: Option<i64>,
    d: Option<i64>,
    b: Option<bool>,
}

impl Fact {
    fn values(&self) -> String {
        let text = |value: &Option<&str>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
        let number = self.n.map_or("NULL".to_owned(), |n| format!("CAST('{n}' AS BIGINT)"));
        let cents = self.d.map_or("NULL".to_owned(), |d| format!("{}.{:02}", d / 100, (d % 100).abs()));
        let truth = self.b.map_or("NULL".to_owned(), |b| b.to_string());
        let ts = chrono::DateTime::from_timestamp(self.ts, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
        format!("(TIMESTAMPTZ '{ts}', {}, {}, {number}, {cents}, {truth})", text(&self.k), text(&self.c))
    }
}

fn some_text() -> impl Strategy<Value = Option<&'static str>> + Clone {
    prop_oneof![Just(None), Just(Some("")), Just(Some("a")), Just(Some("é"))]
}

fn described() -> impl Strategy<Value = Vec<(&'static str, Option<&'static str>, i64, Option<bool>)>> {
    let key = prop_oneof![Just(""), Just("a"), Just("é"), Just("unused")];
    vec((key, some_text(), -3_i64..4, any::<Option<bool>>()), 1..4)
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let numbers = prop_oneof![
        4 => (-3_i64..4).prop_map(Some),
        1 => Just(None),
        1 => prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(1_i64 << 60)].prop_map(Some),
    ];
    // Around a day's, month's and year's end, and before 1970.
    let moments = prop_oneof![
        (-130_i64..130).prop_map(|offset| 1_509_494_400 + offset),
        (-4_000_i64..4_000).prop_map(|offset| 1_514_764_800 + offset),
        (-100_i64..100).prop_map(|offset| offset * 40 - 2_000),
    ];
    let fact = (moments, some_text(), some_text(), numbers, proptest::option::of(-500_i64..500), any::<Option<bool>>())
        .prop_map(|(ts, k, c, n, d, b)| Fact { ts, k, c, n, d, b });
    vec(fact, 1..12)
}

/// Conditions of deletes: some rows, days, none, all.
const DELETED: [&str; 7] = [
    "k = 'a'",
    "c IS NULL",
    "n > 1",
    "ts < TIMESTAMPTZ '2017-11-01T00:00:00Z'",
    "ts >= TIMESTAMPTZ '2017-12-31T23:30:00Z' AND ts < TIMESTAMPTZ '2018-01-01T00:30:00Z'",
    "k = 'nobody'",
    "TRUE",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => facts().prop_map(Step::Insert),
        2 => proptest::sample::select(DELETED.to_vec()).prop_map(Step::Delete),
        4 => Just(Step::Refresh),
        1 => Just(Step::RefreshFull),
        1 => Just(Step::RefreshBetween),
        1 => Just(Step::RefreshElsewhere),
        1 => (0_u32..12).prop_map(Step::RefreshKilled),
        2 => removing::removed().prop_map(Step::Remove),
        1 => removing::retained().prop_map(Step::Retain),
        1 => Just(Step::OptimizeSource),
        1 => Just(Step::OptimizeView),
        1 => Just(Step::AddColumn),
        1 => Just(Step::Restart),
        2 => described().prop_map(Step::Describe),
        1 => (some_text(), prop_oneof![Just("first"), Just("second")]).prop_map(|(k, note)| Step::Note(k, note)),
    ];
    vec(step, 4..14)
}

/// A view: its keys, its calls, a filter, a condition on groups.
#[derive(Clone, Debug)]
struct Grouping {
    keys: Vec<&'static str>,
    calls: Vec<&'static str>,
    filter: &'static str,
    having: &'static str,
}

impl Grouping {
    fn sql(&self) -> String {
        let Self { keys, calls, filter, having } = self;
        let shown = keys.iter().enumerate().map(|(index, key)| format!("{key} AS g{index}"));
        let called = calls.iter().enumerate().map(|(index, call)| format!("{call} AS a{index}"));
        let columns = shown.chain(called).collect::<Vec<_>>().join(", ");
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        format!("SELECT {columns} FROM facts{filter}{group}{having}")
    }

    /// An aggregate over its groups, `from` being what they are read of; bits choose among keys, calls and a filter. None where the
    /// groups cannot be looked through.
    fn over(&self, from: &str, bits: u64) -> Option<String> {
        if self.keys.is_empty() || !self.having.is_empty() {
            return None;
        }
        let has = |bit: usize| bits >> bit & 1 == 1;
        // One at least is left out: groups of all keys have more columns that DataFusion groups by.
        let keys = self.keys.iter().enumerate().skip(1).filter(|(index, _)| has(*index));
        // Of two keys that are one over the table, a view is not kept incrementally.
        let keys = keys.map(|(index, key)| match key.strip_prefix("date_trunc(") {
            Some(cut) if cut.starts_with("'minute'") => format!("date_trunc('hour', g{index})"),
            Some(_) => format!("date_trunc('month', g{index})"),
            None => format!("g{index}"),
        });
        let keys: Vec<String> = keys.collect();
        let chosen = self.calls.iter().enumerate().filter(|(index, _)| has(8 + index) || *index == 0);
        let calls = chosen.filter_map(|(index, call)| {
            let name = format!("a{index}");
            Some(match call.split('(').next()? {
                "count" if has(20) => format!("sum({name}) FILTER (WHERE g0 IS NOT NULL)"),
                "count" | "sum" => format!("sum({name})"),
                "coalesce" if has(21) => format!("coalesce(sum({name}), 0)"),
                "coalesce" => format!("sum({name})"),
                same @ ("min" | "max" | "bool_and" | "bool_or") => format!("{same}({name})"),
                "hll_sketch" => format!("hll_union({name})"),
                "theta_sketch" => format!("theta_union({name})"),
                _ => return None,
            })
        });
        let calls = calls.chain(["max(g0)".to_owned()]).enumerate().map(|(index, call)| format!("{call} AS b{index}"));
        let shown = keys.iter().enumerate().map(|(index, key)| format!("{key} AS h{index}"));
        let columns = shown.chain(calls).collect::<Vec<_>>().join(", ");
        let filter = if has(22) { " WHERE g0 IS NOT NULL" } else { "" };
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        Some(format!("SELECT {columns} FROM {from}{filter}{group}"))
    }
}

fn views() -> impl Strategy<Value = Grouping> {
    let keys = proptest::sample::subsequence(
        vec![
            "k",
            "c",
            "b",
            "upper(c)",
            "date_trunc('minute', ts)",
            "date_trunc('day', ts)",
            "date_trunc('week', ts)",
            //DB
        ],
        0..4,
    );
    let calls = proptest::sample::subsequence(
        vec![
            "count(*)",
            "count(n)",
            "sum(n)",
            "min(n)",
            "max(k)",
            "avg(n)",
            "sum(d)",
            "bool_and(b)",
            "bool_or(b)",
            "count(*) FILTER (WHERE n > 0)",
            "sum(n) FILTER (WHERE c = 'a')",
            "coalesce(sum(n), 0)",
            "min(ts)",
            "hll_sketch(k)",
            "theta_sketch(n)",
            "approx_distinct(c)",
        ],
        1..6,
    );
    let filters = prop_oneof![Just(""), Just(" WHERE n IS NOT NULL"), Just(" WHERE k <> 'a' AND n < 1000")];
    let having = prop_oneof![4 => Just(""), 1 => Just(" HAVING count(*) > 1")];
    (keys, calls, filters, having).prop_map(|(keys, calls, filter, having)| Grouping { keys, calls, filter, having })
}

/// A view over the table joined with dimensions.
fn star_views() -> impl Strategy<Value = String> {
    let joined = prop_oneof![
        Just(("facts JOIN words ON facts.k = words.k", "words")),
        Just(("words JOIN facts USING (k)", "words")),
        Just(("facts LEFT JOIN words ON facts.k = words.k AND facts.b", "words")),
        Just(("facts LEFT JOIN words ON upper(facts.c) = upper(words.name) OR facts.n < words.w", "words")),
        Just(("facts LEFT JOIN good_words AS words ON facts.c = words.k", "words")),
        Just(("facts LEFT JOIN words ON facts.k = words.k LEFT JOIN notes ON notes.k = words.name", "notes")),
        Just(("facts JOIN notes ON facts.c = notes.k LEFT JOIN words ON words.k = facts.k", "notes")),
    ];
    let keys = proptest::sample::subsequence(
        vec![
            "facts.c",
            "facts.b",
            "date_trunc('day', ts)",
            "coalesce(words.name, facts.c)",
            "words.w",
            "upper(facts.k)",
        ],
        0..4,
    );
    let calls = proptest::sample::subsequence(
        vec![
            "count(*)",
            "count(n)",
            "sum(n)",
            "min(n)",
            "avg(n)",
            "sum(d)",
            "bool_or(b)",
            "max(facts.k)",
            "count(words.name)",
            "max(words.w)",
            "sum(n) FILTER (WHERE words.w > 0)",
            "count(*) FILTER (WHERE n > 0 AND words.name = 'a')",
        ],
        1..6,
    );
    let filters =
        prop_oneof![2 => Just(""), 1 => Just(" WHERE n < 1000"), 1 => Just(" WHERE words.w >= 0 OR facts.c = 'a'")];
    let having = prop_oneof![4 => Just(""), 1 => Just(" HAVING count(*) > 1")];
    (joined, keys, calls, filters, having).prop_map(|((joined, last), keys, calls, filter, having)| {
        let keys = match last {
            "notes" => keys.into_iter().chain(["notes.note"]).collect(),
            _ => keys,
        };
        let shown = keys.iter().enumerate().map(|(index, key)| format!("{key} AS g{index}"));
        let called = calls.iter().enumerate().map(|(index, call)| format!("{call} AS a{index}"));
        let columns = shown.chain(called).collect::<Vec<_>>().join(", ");
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        format!("SELECT {columns} FROM {joined}{filter}{group}{having}")
    })
}

/// A query on the table, often one that a view covers: a view's own form, narrowed.
fn queries() -> impl Strategy<Value = String> {
    let moment = prop_oneof![
        (-130_i64..130).prop_map(|offset| 1_509_494_400 + offset),
        Just(1_509_494_400),
        Just(1_514_764_800),
        (-100_i64..100).prop_map(|offset| offset * 40 - 2_000),
    ]
    .prop_map(|ts| {
        chrono::DateTime::from_timestamp(ts, 0).unwrap().format("TIMESTAMPTZ '%Y-%m-%dT%H:%M:%SZ'").to_string()
    });
    let narrowed = prop_oneof![
        3 => Just(String::new()),
        2 => (moment.clone(), prop_oneof![Just(">="), Just(">"), Just("<"), Just("<="), Just("=")])
            .prop_map(|(at, compared)| format!("ts {compared} {at}")),
        2 => (moment.clone(), moment.clone()).prop_map(|(from, to)| format!("ts BETWEEN {from} AND {to}")),
        2 => (moment.clone(), moment).prop_map(|(from, to)| format!("ts >= {from} AND ts < {to} AND k = 'a'")),
        1 => Just("c IN ('a', '')".to_owned()),
        1 => Just("k IS NULL OR c = 'é'".to_owned()),
        1 => Just("date_trunc('hour', ts) >= TIMESTAMPTZ '2017-10-31T23:00:00Z'".to_owned()),
        1 => Just("n > 1".to_owned()),
    ];
    (views(), narrowed).prop_map(|(query, narrowed)| {
        let query = query.sql();
        match (narrowed.as_str(), query.contains(" WHERE n ") || query.contains(" WHERE k ")) {
            ("", _) => query,
            (_, true) => query.replacen("FROM facts WHERE ", &format!("FROM facts WHERE ({narrowed}) AND "), 1),
            (_, false) => query.replacen("FROM facts", &format!("FROM facts WHERE {narrowed}"), 1),
        }
    })
}

/// `ADLAKE_CASES` cases, 24 unless it is set.
#[test]
fn a_view_is_its_query_whatever_happens() {
    let cases = std::env::var("ADLAKE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() });
    let asked = prop_oneof![2 => queries(), 1 => star_views()];
    runner
        .run(
            &(vec(views(), 1..4), vec(any::<u64>(), 3), vec(star_views(), 0..3), vec(asked, 3..6), steps()),
            |(views, bits, stars, queries, steps)| {
                runtime.block_on(check(&Defined::of(&views, &bits, stars), &queries, &steps))
            },
        )
        .unwrap();
}

/// Views to make, each with its query as it is defined, and spelt out over the table; and queries on views likewise.
struct Defined {
    /// Those of the table first: v0 …, then those of views: w0 …, then those joined with dimensions: s0 ….
    views: Vec<(String, String, String)>,
    on_views: Vec<(String, String)>,
}

impl Defined {
    /// Of each view of the table: a view of it, and a query on it.
    fn of(groupings: &[Grouping], bits: &[u64], stars: Vec<String>) -> Self {
        let (mut views, mut upper, mut on_views) = (Vec::new(), Vec::new(), Vec::new());
        for ((index, grouping), bits) in groupings.iter().enumerate().zip(bits) {
            let (name, sql) = (format!("v{index}"), grouping.sql());
            let inline = format!("({sql}) AS {name}");
            for (bits, is_view) in [(*bits, true), (bits.rotate_left(32), false), (bits.rotate_left(16), false)] {
                let Some((defined, spelt)) = grouping.over(&name, bits).zip(grouping.over(&inline, bits)) else {
                    continue;
                };
                match is_view {
                    true => upper.push((format!("w{index}"), defined, spelt)),
                    false => on_views.push((defined, spelt)),
                }
            }
            views.push((name, sql.clone(), sql));
        }
        views.extend(upper);
        views.extend(stars.into_iter().enumerate().map(|(index, sql)| (format!("s{index}"), sql.clone(), sql)));
        Self { views, on_views }
    }
}

async fn check(defined: &Defined, queries: &[String], steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Process::over(&folder, &[]).await;
    for sql in [FACTS].iter().chain(&DIMENSIONS) {
        lake.run(sql).await;
    }
    for (name, query, _) in &defined.views {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {query}")).await;
        let explained = lake.run(&format!("EXPLAIN REFRESH {name}")).await;
        let expected = match query.contains(" JOIN ") {
            true => "strategy|incremental with dimensions",
            false => "strategy|incremental",
        };
        prop_assert_eq!(&explained[0], expected, "{}: {:?}", query, explained);
        prop_assert!(explained.contains(&"source|facts".to_owned()), "{}: {:?}", query, explained);
    }
    let mut columns = 0;
    for step in steps {
        act(&mut lake, &folder, defined, (step, &mut columns)).await;
        compare(&lake, defined, queries, step).await?;
    }
    Ok(())
}

async fn act(lake: &mut Process, folder: &tempfile::TempDir, defined: &Defined, (step, columns): (&Step, &mut u32)) {
    match step {
        Step::Insert(facts) => {
            let values = facts.iter().map(Fact::values).collect::<Vec<_>>().join(", ");
            lake.run(&format!("INSERT INTO facts (ts, k, c, n, d, b) VALUES {values}")).await;
        }
        Step::Delete(condition) => {
            lake.run(&format!("DELETE FROM facts WHERE {condition}")).await;
        }
        Step::Refresh => refresh(lake, defined, "").await,
        Step::RefreshFull => refresh(lake, defined, " FULL").await,
        Step::RefreshBetween => refresh(lake, defined, " BETWEEN '2017-10-31' AND '2017-11-01T00:00:30Z'").await,
        Step::RefreshKilled(polls) => {
            for (name, ..) in &defined.views {
                abandon(Box::pin(lake.sql(&format!("REFRESH MATERIALIZED VIEW {name}"))), *polls).await;
            }
        }
        Step::Remove(removed) => removing::remove(lake, "facts", removed).await,
        Step::Retain(retained) => removing::retain(lake, "facts", *retained).await,
        Step::RefreshElsewhere => refresh(&Process::over(folder, &[]).await, defined, "").await,
        Step::OptimizeSource => {
            lake.run("OPTIMIZE TABLE facts").await;
        }
        Step::OptimizeView => {
            lake.run("OPTIMIZE TABLE v0").await;
        }
        Step::AddColumn => {
            *columns += 1;
            lake.run(&format!("ALTER TABLE facts ADD COLUMN extra{columns} BIGINT")).await;
        }
        Step::Restart => *lake = Process::over(folder, &[]).await,
        Step::Describe(rows) => {
            let row = |(k, name, w, ok): &(&str, Option<&str>, i64, Option<bool>)| {
                let name = name.map_or("NULL".to_owned(), |name| format!("'{name}'"));
                format!("('{k}', {name}, {w}, {})", ok.map_or("NULL".to_owned(), |ok| ok.to_string()))
            };
            let values = rows.iter().map(row).collect::<Vec<_>>().join(", ");
            lake.run(&format!("INSERT INTO words VALUES {values}")).await;
        }
        Step::Note(k, note) => {
            let k = k.map_or("NULL".to_owned(), |k| format!("'{k}'"));
            lake.run(&format!("INSERT INTO notes VALUES ({k}, '{note}')")).await;
        }
    }
}

/// Views and their queries, queries and queries without views: the same.
async fn compare(lake: &Process, defined: &Defined, queries: &[String], step: &Step) -> Result<(), TestCaseError> {
    for (name, query, spelt) in &defined.views {
        let view = lake.all(&lake.session, name).await;
        let asked = lake.all(&lake.plain, &format!("({spelt})")).await;
        prop_assert_eq!(answer_of_both(view, asked, query != spelt), None, "after {:?}: {} AS {}", step, name, query);
    }
    for (query, spelt) in &defined.on_views {
        let asked = lake.all(&lake.plain, &format!("({spelt})")).await;
        for session in [&lake.session, &lake.plain] {
            let answer = lake.all(session, &format!("({query})")).await;
            let explained = lake.sql_in(session, &format!("EXPLAIN {query}")).await;
            let differ = answer_of_both(answer, asked.clone(), true);
            prop_assert_eq!(differ, None, "after {:?}: {}; {:?}", step, query, explained);
        }
    }
    for query in queries {
        let relation = format!("({query})");
        let (rewritten, plain) = (lake.all(&lake.session, &relation).await, lake.all(&lake.plain, &relation).await);
        if rewritten != plain {
            let explained = lake.sql(&format!("EXPLAIN {query}")).await;
            prop_assert_eq!(rewritten, plain, "after {:?}: {}; {:?}", step, query, explained);
        }
    }
    Ok(())
}

type AnswerOf = Result<Vec<String>, &'static str>;

/// The two answers when they differ. Over groups the query may fail at a group whose sum leaves the range, where the total is in it:
/// then it has no answer to differ from.
fn answer_of_both(found: AnswerOf, asked: AnswerOf, is_over_groups: bool) -> Option<(AnswerOf, AnswerOf)> {
    let has_none = is_over_groups && asked.is_err();
    (found != asked && !has_none).then_some((found, asked))
}

/// An error is one that the query itself answers too: the comparison afterwards finds any other.
async fn refresh(lake: &Process, defined: &Defined, scope: &str) {
    for (name, ..) in &defined.views {
        if let Err(error) = lake.sql(&format!("REFRESH MATERIALIZED VIEW {name}{scope}")).await {
            assert!(error.contains("out of the range") || error.contains("leave BETWEEN out"), "{error}");
        }
    }
}

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

/// Views are planned again only when they, or what they read, are defined otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_of_a_view_holds_until_what_it_reads_changes() {
    let lab = crate::lab::Lab::open().await;
    lab.run(FACTS).await;
    lab.run("CREATE VIEW seen AS SELECT * FROM facts WHERE n > 0").await;
    lab.run("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS SELECT k, count(*) AS rows FROM seen GROUP BY k")
        .await;
    let decision = || lab.engine.view_decision("v").unwrap();
    let first = decision();
    lab.run("CREATE TABLE other (a BIGINT)").await;
    lab.run("CREATE MATERIALIZED VIEW w WITH (refresh='manual') AS SELECT c, count(*) AS rows FROM facts GROUP BY c")
        .await;
    assert!(Arc::ptr_eq(&first, &decision()), "nothing it reads has changed");
    lab.run("CREATE OR REPLACE VIEW seen AS SELECT * FROM facts WHERE n > 1").await;
    assert!(!Arc::ptr_eq(&first, &decision()), "a view below is another one");
    let second = decision();
    lab.run("ALTER TABLE facts ADD COLUMN extra BIGINT").await;
    assert!(!Arc::ptr_eq(&second, &decision()), "its table has other columns");
    // Rewriting follows: the view is found through the view below it, and not once it may not be used.
    lab.run("INSERT INTO facts (ts, k, n) SELECT to_timestamp(1509530400 + value), 'a', 2 FROM generate_series(0, 99)")
        .await;
    lab.run("REFRESH MATERIALIZED VIEW v").await;
    let explain = "EXPLAIN SELECT count(*) FROM facts WHERE n > 1 GROUP BY k";
    assert!(lab.rows(explain).await.join(" ").contains("rollup.v"));
    lab.run("ALTER MATERIALIZED VIEW v SET (rewrite='off')").await;
    assert!(!lab.rows(explain).await.join(" ").contains("rollup.v"));
}

/// The log of the view's table still has the version that was absorbed by the design before.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_is_changed_and_changed_back_leaves_no_rows_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let below = async |above: i64| {
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT * FROM facts WHERE n > {above}")).await;
    };
    below(0).await;
    let view = "SELECT k, count(*) AS rows FROM seen GROUP BY k";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 1)").await;
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 2)").await;
    for (above, expected) in [(0, "a|2"), (1, "a|1"), (0, "a|2"), (1, "a|1")] {
        below(above).await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), [expected], "before the refresh");
        lake.run("REFRESH MATERIALIZED VIEW v").await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), [expected], "after it");
    }
}

/// DataFusion prints the two of each pair alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_only_looks_as_before_leaves_no_rows_of_the_other() {
    let listed = |last: i64| {
        format!(
            "SELECT ts, k, n AS x FROM facts JOIN (VALUES (10), (11), (12), (13), (14), ({last})) AS t (m) ON n = m"
        )
    };
    let pairs = [
        ["SELECT ts, k, n - 1 - 1 AS x FROM facts", "SELECT ts, k, n - (1 - 1) AS x FROM facts"].map(str::to_owned),
        ["NOT (b OR n > 5)", "NOT b OR n > 5"].map(|which| format!("SELECT ts, k, n AS x FROM facts WHERE {which}")),
        ["(b OR n > 5) IS NULL", "b OR n > 5 IS NULL"]
            .map(|which| format!("SELECT ts, k, n AS x FROM facts WHERE {which}")),
        [1, 7].map(listed),
    ];
    for [before, after] in pairs {
        let folder = tempfile::tempdir().unwrap();
        let lake = Process::over(&folder, &[]).await;
        lake.run(FACTS).await;
        lake.run(&format!("CREATE VIEW seen AS {before}")).await;
        let parts = "SELECT k, sum(x) AS total FROM seen GROUP BY k";
        let times = "SELECT date_trunc('day', ts) AS day, sum(DISTINCT x) AS total FROM seen GROUP BY 1";
        for (name, view) in [("parts", parts), ("times", times)] {
            lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {view}")).await;
        }
        let rows = "('a', 1, false), ('a', 7, true), ('a', 3, NULL)";
        let insert = "INSERT INTO facts (ts, k, n, b) SELECT TIMESTAMPTZ '2017-11-05T10:00:00Z', k, n, b";
        lake.run(&format!("{insert} FROM (VALUES {rows}) AS t (k, n, b)")).await;
        let check = async |moment: &str| {
            for (name, view) in [("parts", parts), ("times", times)] {
                let asked = lake.all(&lake.plain, &format!("({view})")).await;
                assert_eq!(lake.all(&lake.session, name).await, asked, "{name} over {after}, {moment}");
            }
        };
        for name in ["parts", "times"] {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        }
        let first = lake.all(&lake.session, "parts").await.unwrap();
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS {after}")).await;
        check("before the refresh").await;
        assert_ne!(lake.all(&lake.session, "parts").await.unwrap(), first, "{after} is another question");
        for name in ["parts", "times"] {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        }
        check("after it").await;
    }
}

/// Stored rows are not cast to what they were: a fraction would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_gives_another_type_is_not_stored_as_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let below = async |x: &str| {
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT k, {x} AS x FROM facts")).await;
    };
    below("n").await;
    for (name, view) in
        [("parts", "SELECT k, sum(x) AS total FROM seen GROUP BY k"), ("whole", "SELECT k, x FROM seen")]
    {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {view}")).await;
    }
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 1)").await;
    let refreshed = async || {
        let mut refused = Vec::new();
        for name in ["parts", "whole"] {
            if let Err(error) = lake.sql(&format!("REFRESH MATERIALIZED VIEW {name}")).await {
                assert!(error.contains("use CREATE OR REPLACE MATERIALIZED VIEW"), "{error}");
                refused.push(name);
            }
        }
        refused
    };
    assert_eq!(refreshed().await, [""; 0]);
    below("n + 0.5").await;
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1.5"]);
    assert_eq!(refreshed().await, ["parts", "whole"]);
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1.5"]);
    assert_eq!(lake.all(&lake.session, "whole").await.unwrap(), [""; 0], "its rows are those of another query");
    below("n").await;
    assert_eq!(refreshed().await, [""; 0]);
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1"]);
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
