//! Any star schema of a small grammar, any view and queries over it, any rows of fact and dimensions: the answer from partial rows
//! is the answer of the query, whenever there is one.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::at_random::{cases, runner};
use super::lab::{Described, Row, Rows, at, by_base_in, decided, design};
use crate::rollup::{StoredLayout, Strategy as Kept, Wanted};

const TIMES: &[&str] = &["1969-12-31T23:59:59", "2023-12-31T23:30:00", "2024-01-01T00:00:00", "2024-01-01T00:14:59"];
const WORDS: &[Option<&str>] = &[None, Some(""), Some("a"), Some("A"), Some("é")];
/// How the first dimension is joined.
const FIRST: &[&str] = &[
    "f JOIN d1 ON f.k = d1.k",
    "d1 JOIN f ON d1.k = f.k",
    "f LEFT JOIN d1 ON f.k = d1.k",
    "f LEFT JOIN d1 ON f.k = d1.k AND f.b",
    "f LEFT JOIN d1 ON f.k = d1.k AND f.n > d1.w",
    "f LEFT JOIN d1 ON lower(f.k) = d1.k OR d1.j = 1",
    "f LEFT JOIN d1 ON d1.ok AND f.c IS NULL",
    "d1 RIGHT JOIN f ON d1.k = f.k AND d1.ok",
    "f JOIN d1 USING (k)",
    "f LEFT JOIN d1 USING (k)",
    "f JOIN d1 ON f.m >= d1.j AND f.m < d1.w",
    "f JOIN d1 ON f.k = d1.k AND f.b AND d1.ok",
    "f JOIN d1 ON f.k IS NOT DISTINCT FROM d1.k",
    "f CROSS JOIN d1",
    "(SELECT k, c, n, m, d, b, ts FROM f WHERE n IS NOT NULL) AS f JOIN (SELECT k, j, name, w, ok FROM d1 WHERE ok) AS d1 ON f.k = d1.k",
];
/// And others after it.
const SECOND: &[&str] = &[
    "",
    " LEFT JOIN d2 ON f.c = d2.k",
    " JOIN d2 ON f.c = d2.k",
    " JOIN d2 ON d1.j = d2.j",
    " LEFT JOIN d2 ON d1.name = d2.k AND d2.ok",
    " LEFT JOIN d2 ON coalesce(d1.name, f.c) = d2.name",
    " LEFT JOIN (SELECT k, max(w) AS w, bool_or(ok) AS ok, min(name) AS name FROM d2 GROUP BY k) AS d2 ON d2.k = f.c",
    " JOIN (d2 JOIN d3 AS e ON d2.j = e.j) ON d2.k = f.k",
];
const THIRD: &[&str] = &[
    "",
    "",
    " LEFT SEMI JOIN d3 ON f.m = d3.j",
    " LEFT ANTI JOIN d3 ON f.k = d3.k AND f.b",
    " LEFT JOIN d3 ON f.m = d3.j",
];
const KEYS: &[&str] =
    &["f.k", "f.c", "f.b", "date_trunc('hour', f.ts)", "date_trunc('day', f.ts)", "f.n + f.m", "upper(f.c)"];
const OF_FIRST: &[&str] = &["d1.name", "d1.ok", "coalesce(d1.name, f.c)", "d1.w + f.n", "d1.w IS NULL"];
const OF_SECOND: &[&str] = &["d2.name", "d2.ok", "CASE WHEN d2.ok THEN f.k ELSE d2.name END"];
const CALLS: &[&str] = &[
    "count(*)",
    "count(f.n)",
    "count(f.k)",
    "sum(f.n)",
    "sum(f.m)",
    "avg(f.n)",
    "sum(f.d)",
    "min(f.n)",
    "max(f.k)",
    "max(f.d)",
    "min(f.ts)",
    "bool_and(f.b)",
    "bool_or(f.b)",
    "count(d1.w)",
    "count(d1.name)",
    "min(d1.name)",
    "max(d1.w)",
    "bool_or(d1.ok)",
    "sum(CASE WHEN f.b THEN f.n ELSE 1 END)",
];
const PREDICATES: &[&str] = &[
    "f.k = 'a'",
    "f.b",
    "f.n > 0",
    "f.k IS NULL OR d1.ok",
    "d1.ok",
    "NOT d1.ok",
    "d1.name IS NULL",
    "f.b AND d1.ok",
    "f.c = d1.name",
    "f.n > d1.w",
    "f.ts >= '2024-01-01'",
    "1 / (f.m + 1) = 0",
    "false",
];
/// A rollup of the fact alone that covers much.
const WIDE: &str = "SELECT k, c, b, n, date_trunc('hour', ts) AS hour, count(*) AS a0, sum(n) AS a1, sum(m) AS a2, avg(n) AS a3, sum(d) AS a4, \
                    max(d) AS a5, min(ts) AS a6, sum(CASE WHEN b THEN n ELSE 1 END) AS a7 FROM f GROUP BY 1, 2, 3, 4, 5";

fn a_row() -> impl Strategy<Value = Row> {
    let time = (select(TIMES), -1..=1_i64).prop_map(|(text, shift)| at(text) + shift);
    let numbers = (proptest::option::of(-3..=3_i64), 0..4_i64, proptest::option::of(-250..=250_i128));
    (time, select(WORDS), select(WORDS), numbers, proptest::option::of(any::<bool>()))
        .prop_map(|(ts, k, c, (n, m, d), b)| Row { ts, late: None, k, c, n, m, d, b })
}

fn a_dimension() -> impl Strategy<Value = Vec<Described>> {
    let numbers = (proptest::option::of(0..4_i64), proptest::option::of(-3..=3_i64));
    let row = (select(WORDS), select(WORDS), numbers, proptest::option::of(any::<bool>()))
        .prop_map(|(k, name, (j, w), ok)| Described { k, j, name, w, ok });
    proptest::collection::vec(row, 0..8)
}

fn calls() -> impl Strategy<Value = Vec<String>> {
    let filter = prop_oneof![3 => Just(None), 1 => select(PREDICATES).prop_map(Some)];
    let call = (select(CALLS), filter).prop_map(|(call, filter)| match filter {
        Some(filter) => format!("{call} FILTER (WHERE {filter})"),
        None => call.to_owned(),
    });
    proptest::collection::vec(call, 1..5)
}

/// The tables of a query and whether the second dimension can be named in it.
fn a_source() -> impl Strategy<Value = (String, bool)> {
    (select(FIRST), select(SECOND), select(THIRD))
        .prop_map(|(first, second, third)| (format!("{first}{second}{third}"), !second.is_empty()))
}

fn over(source: (String, bool)) -> impl Strategy<Value = String> {
    let (tables, has_second) = source;
    let of_second = match has_second {
        true => OF_SECOND.to_vec(),
        false => vec!["d1.j"],
    };
    let keys =
        (subsequence(KEYS.to_vec(), 0..=2), subsequence(OF_FIRST.to_vec(), 0..=1), subsequence(of_second, 0..=1));
    let filters = prop_oneof![1 => Just(vec![]), 1 => subsequence(PREDICATES.to_vec(), 1..=2)];
    (keys, calls(), filters, any::<bool>()).prop_map(move |((own, first, second), calls, filters, having)| {
        let keys: Vec<&str> = own.into_iter().chain(first).chain(second).collect();
        let shown = keys.iter().enumerate().map(|(index, key)| format!("{key} AS g{index}"));
        let called = calls.iter().enumerate().map(|(index, call)| format!("{call} AS a{index}"));
        let mut sql = format!("SELECT {} FROM {tables}", shown.chain(called).collect::<Vec<_>>().join(", "));
        if !filters.is_empty() {
            sql.push_str(&format!(" WHERE ({})", filters.join(") AND (")));
        }
        if !keys.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        if having {
            sql.push_str(" HAVING count(*) > 1");
        }
        sql
    })
}

/// What happened, over all cases.
#[derive(Default)]
struct Tally {
    stars: Cell<usize>,
    not_stars: Cell<usize>,
    asked: Cell<usize>,
    covered: Cell<usize>,
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

#[test]
fn partial_rows_answer_as_joined_rows_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut runner = runner();
    let rows = (proptest::collection::vec(a_row(), 0..30), [a_dimension(), a_dimension(), a_dimension()]);
    let queries = a_source().prop_flat_map(|source| {
        let near = proptest::collection::vec(over(source.clone()), 1..4);
        let far = proptest::collection::vec(a_source().prop_flat_map(over), 1..3);
        (over(source), near, far)
    });
    let splits = (0..30_usize, 0..30_usize);
    let tally = Tally::default();
    let outcome = runner.run(&(rows, queries, splits), |((rows, dimensions), (view, near, far), (one, two))| {
        let (one, two) = (one.min(rows.len()), two.min(rows.len()));
        let (low, high) = (one.min(two), one.max(two));
        let rows = Rows { absorbed: &[&rows[..low], &rows[low..high]], tail: &rows[high..], gone: &[] };
        let dimensions = [&dimensions[0][..], &dimensions[1][..], &dimensions[2][..]];
        runtime.block_on(check(&rows, dimensions, &view, &[near, far].concat(), &tally))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let [stars, not_stars, asked, covered] =
        [&tally.stars, &tally.not_stars, &tally.asked, &tally.covered].map(Cell::get);
    println!("{stars} views were stars, {not_stars} were not; {covered} of {asked} queries were covered");
    assert!(cases() < 64 || stars > not_stars, "{stars} stars, {not_stars} others");
    assert!(cases() < 64 || covered > asked / 10, "{covered} of {asked} covered");
}

async fn check(
    rows: &Rows<'_>,
    dimensions: [&[Described]; 3],
    view: &str,
    queries: &[String],
    tally: &Tally,
) -> Result<(), TestCaseError> {
    let session = rows.session_with(dimensions);
    // DataFusion takes some different expressions for one name.
    let is_strange = |answer: &Result<Vec<String>, String>| {
        answer.as_ref().is_err_and(|error| error.starts_with("Optimizer rule") || error.starts_with("Schema error"))
    };
    let mut designs = vec![design(WIDE).await];
    match decided(view, Wanted::Auto, &StoredLayout::default()).await.unwrap().strategy {
        Kept::Incremental(design) => {
            count(&tally.stars);
            let expected = by_base_in(&session, view).await;
            prop_assume!(!is_strange(&expected));
            for stored in [rows.stored(&design).await.unwrap(), rows.folded(&design).await.unwrap()] {
                prop_assert_eq!(&rows.reading_in(&session, &design, &stored, view).await, &expected, "{}", view);
            }
            designs.push(design);
        }
        Kept::Partition(_) | Kept::Full(_) => count(&tally.not_stars),
    }
    for design in &designs {
        let stored = rows.stored(design).await.unwrap();
        for sql in queries {
            count(&tally.asked);
            let Some(answer) = rows.by_rollup_in(&session, design, &stored, sql).await else { continue };
            count(&tally.covered);
            let expected = by_base_in(&session, sql).await;
            prop_assume!(!is_strange(&expected));
            prop_assert_eq!(answer, expected, "{}\n{}", view, sql);
        }
    }
    Ok(())
}
