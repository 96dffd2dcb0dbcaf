//! Any view of a small grammar, any query, any rows: the rollup's answer is the base's, whenever it has one.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::lab::{Row, Rows, at, design};

const TIMES: &[&str] = &[
    "1899-12-31T23:59:59.999999",
    "1968-02-29T00:00:00",
    "1969-12-28T23:59:59",
    "1969-12-31T23:59:59.999999",
    "1970-01-01T00:00:00",
    "2023-12-31T23:30:00",
    "2024-01-01T00:00:00",
    "2024-01-01T00:14:59",
    "2024-01-31T12:00:00",
    "2024-02-29T23:59:59.999999",
    "2024-03-01T00:00:00",
    "2024-03-01T00:00:00.000001",
    "2024-03-31T05:45:00",
    "2200-01-01T00:00:00",
];
const WORDS: &[Option<&str>] = &[None, Some(""), Some("a"), Some("é")];
const CUTS: &[&str] = &[
    "date_trunc('minute', ts)",
    "date_trunc('hour', ts)",
    "date_trunc('day', ts)",
    "date_trunc('week', ts)",
    "date_trunc('month', ts)",
    "date_trunc('quarter', ts)",
    "date_trunc('year', ts)",
    "date_trunc('day', late)",
    "date_bin(INTERVAL '15 minutes', ts)",
    "date_bin(INTERVAL '6 hours', ts)",
    "date_bin(INTERVAL '3 months', ts)",
    "date_bin(INTERVAL '1 hour', ts, TIMESTAMP '2001-01-01T00:45:00')",
    "ts",
    "CAST(ts AS DATE)",
];
const COARSER: &[&str] = &[
    "date_part('year', ts)",
    "date_part('dow', ts)",
    "date_part('hour', ts)",
    "date_part('month', late)",
    "date_trunc('week', late)",
    "date_bin(INTERVAL '30 days', ts)",
    "upper(k)",
    "coalesce(k, c)",
    "k = 'a'",
    "n",
];
const CALLS: &[&str] = &[
    "count(*)",
    "count(n)",
    "count(m)",
    "count(k)",
    "sum(n)",
    "sum(m)",
    "sum(n + m)",
    "sum(d)",
    "avg(n)",
    "avg(m)",
    "min(n)",
    "max(k)",
    "min(c)",
    "max(d)",
    "min(ts)",
    "max(late)",
    "bool_and(b)",
    "bool_or(b)",
    "hll_sketch(k)",
    "hll_sketch(n, 8)",
    "theta_sketch(k)",
    "theta_sketch(m, 9)",
    "approx_distinct(k)",
    "approx_distinct(c)",
];
const PREDICATES: &[&str] = &[
    "k = 'a'",
    "k <> ''",
    "k IS NULL",
    "c IN ('a', 'é')",
    "b",
    "NOT b",
    "n > 0",
    "m BETWEEN 1 AND 3",
    "k = 'a' AND b",
    "k = 'a' OR c = 'a'",
    "date_trunc('day', ts) > '2024-01-01'",
    "false",
];

/// One aggregate query. Its keys are called `g0` …, its calls `a0` ….
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) keys: Vec<&'static str>,
    pub(super) calls: Vec<(&'static str, Option<&'static str>)>,
    pub(super) filters: Vec<String>,
    pub(super) having: bool,
}

impl Asked {
    pub(super) fn sql(&self) -> String {
        let calls = self.calls.iter().enumerate().map(|(index, (call, filter))| match filter {
            Some(filter) => format!("{call} FILTER (WHERE {filter}) AS a{index}"),
            None => format!("{call} AS a{index}"),
        });
        let keys = self.keys.iter().enumerate().map(|(index, key)| format!("{key} AS g{index}"));
        let mut sql = format!("SELECT {} FROM f", keys.chain(calls).collect::<Vec<_>>().join(", "));
        if !self.filters.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(|filter| format!("({filter})")).collect();
            sql.push_str(&format!(" WHERE {}", filters.join(" AND ")));
        }
        if !self.keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", self.keys.join(", ")));
        }
        if self.having {
            sql.push_str(" HAVING count(*) > 1");
        }
        sql
    }
}

pub(super) fn a_row() -> impl Strategy<Value = Row> {
    let time = || (select(TIMES), -1..=1_i64).prop_map(|(text, shift)| at(text) + shift);
    let numbers = (proptest::option::of(-3..=3_i64), 0..4_i64, proptest::option::of(-250..=250_i128));
    (time(), proptest::option::of(time()), select(WORDS), select(WORDS), numbers, proptest::option::of(any::<bool>()))
        .prop_map(|(ts, late, k, c, (n, m, d), b)| Row { ts, late, k, c, n, m, d, b })
}

fn calls() -> impl Strategy<Value = Vec<(&'static str, Option<&'static str>)>> {
    let filter = prop_oneof![3 => Just(None), 1 => select(PREDICATES).prop_map(Some)];
    proptest::collection::vec((select(CALLS), filter), 1..5)
}

fn a_range() -> impl Strategy<Value = String> {
    let column = prop_oneof![8 => Just("ts"), 1 => Just("late")];
    (column, select(vec![">=", ">", "<", "<="]), select(TIMES))
        .prop_map(|(column, op, time)| format!("{column} {op} '{time}'"))
}

pub(super) fn a_view() -> impl Strategy<Value = Asked> {
    let keys = (subsequence(vec!["k", "c"], 0..=2), subsequence(CUTS.to_vec(), 0..=3));
    let filters = subsequence(PREDICATES.to_vec(), 0..=1);
    (keys, calls(), filters, any::<bool>()).prop_map(|((words, cuts), calls, filters, having)| Asked {
        keys: words.into_iter().chain(cuts).collect(),
        calls,
        filters: filters.into_iter().map(str::to_owned).collect(),
        having,
    })
}

/// A query that has much in common with the view, so that it is often covered.
fn a_query(view: &Asked) -> impl Strategy<Value = Asked> + use<> {
    let near = |most: usize, all: Vec<&'static str>| {
        let most = most.min(all.len());
        subsequence(all, 0..=most)
    };
    let keys = (
        near(3, view.keys.clone()),
        near(1, CUTS.to_vec()),
        prop_oneof![5 => Just(vec![]), 1 => near(1, COARSER.to_vec())],
    );
    let own = subsequence(view.calls.clone(), 0..=view.calls.len());
    let other = prop_oneof![6 => Just(vec![]), 1 => calls()];
    let predicates = prop_oneof![2 => Just(vec![]), 1 => near(1, PREDICATES.to_vec())];
    let filters = (proptest::collection::vec(a_range(), 0..3), predicates, 0..10);
    let kept = view.filters.clone();
    (keys, own, other, filters, any::<bool>()).prop_map(move |((own_keys, cut, more), own, other, filters, having)| {
        let (ranges, predicates, keep) = filters;
        let mut keys = Vec::new();
        for key in own_keys.into_iter().chain(cut).chain(more) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut calls: Vec<_> = own.into_iter().chain(other).collect();
        if calls.is_empty() {
            calls.push(("count(*)", None));
        }
        let kept = kept.iter().filter(|_| keep > 0).cloned();
        let filters = kept.chain(predicates.into_iter().map(str::to_owned)).chain(ranges).collect();
        Asked { keys, calls, filters, having }
    })
}

pub(super) fn cases() -> u32 {
    std::env::var("ADLAKE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// Runs [`cases`].
pub(super) fn runner() -> TestRunner {
    TestRunner::new(Config { cases: cases(), failure_persistence: None, max_shrink_iters: 300, ..Config::default() })
}

#[test]
fn a_rollup_answers_as_the_base() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut runner = runner();
    let rows = proptest::collection::vec(a_row(), 0..40);
    let queries = a_view().prop_flat_map(|view| {
        let query = a_query(&view);
        (Just(view), proptest::collection::vec(query, 1..6))
    });
    let splits = (0..40_usize, 0..40_usize, prop_oneof![1 => Just(0_usize), 1 => 1..6_usize]);
    let covered = std::cell::Cell::new(0_usize);
    let asked = std::cell::Cell::new(0_usize);
    let without_gone = std::cell::Cell::new(0_usize);
    let outcome = runner.run(&(rows, queries, splits), |(rows, (view, queries), (one, two, gone))| {
        let (gone, rows) = rows.split_at(gone.min(rows.len()));
        let (one, two) = (one.min(rows.len()), two.min(rows.len()));
        let (low, high) = (one.min(two), one.max(two));
        let rows = Rows { absorbed: &[&rows[..low], &rows[low..high]], tail: &rows[high..], gone };
        runtime.block_on(async {
            let view = view.sql();
            let design = design(&view).await;
            let expected = rows.by_base(&view).await;
            // DataFusion takes `ts` and `CAST(ts AS DATE)` as keys for one name.
            prop_assume!(!expected.as_ref().is_err_and(|error| error.starts_with("Optimizer rule")));
            let stored = rows.stored(&design).await.unwrap();
            if let Some(answer) = rows.reading(&design, &stored, &view).await {
                without_gone.set(without_gone.get() + usize::from(!gone.is_empty()));
                prop_assert_eq!(&answer, &expected, "{}", view);
                let folded = rows.folded(&design).await.unwrap();
                prop_assert_eq!(&rows.reading(&design, &folded, &view).await, &Some(expected), "folded: {}", view);
            } else {
                prop_assert!(!gone.is_empty(), "{}", view);
            }
            for sql in queries.iter().map(Asked::sql) {
                asked.set(asked.get() + 1);
                if let Some(answer) = rows.by_rollup(&design, &stored, &sql).await {
                    covered.set(covered.get() + 1);
                    let expected = rows.by_base(&sql).await;
                    prop_assume!(!expected.as_ref().is_err_and(|error| error.starts_with("Optimizer rule")));
                    prop_assert_eq!(answer, expected, "{}\n{}", view, sql);
                }
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    println!("{} of {} queries were covered", covered.get(), asked.get());
    println!("{} views were read beside rows that went", without_gone.get());
    assert!(cases() < 64 || without_gone.get() > 5, "{}", without_gone.get());
    assert!(cases() < 64 || covered.get() > asked.get() / 20, "{} of {} covered", covered.get(), asked.get());
}
