//! Views for questions: what is written is planned as any view's query is, and covers what it was made for.

use super::lab::{Text, design, plan, schema, session};
use crate::rollup::{Question, Shape, Values, aggregates, cover, question, shapes, sought, with_joins, written};

async fn asked(sql: &str) -> Question {
    let plan = plan(&session(&[], Text::Declared), sql).await;
    question(aggregates(&plan)[0]).unwrap()
}

/// The query of the view, in one line.
fn query(shape: &Shape) -> String {
    let ddl = written(shape, 10, &[], &|_| false).unwrap().ddl;
    let (_, query) = ddl.split_once("\nAS\n").unwrap();
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The views that answer one question, each of which does.
async fn check(sql: &str, expected: &[&str]) {
    let question = asked(sql).await;
    let found = shapes(&question, &schema(Text::Declared), Values::Given);
    assert_eq!(found.iter().map(query).collect::<Vec<_>>(), expected, "{sql}");
    for shape in &found {
        let design = design(&query(shape)).await;
        assert!(cover(&question, &design, &schema(Text::Read)).is_some(), "{sql}: {}", query(shape));
    }
}

#[tokio::test]
async fn a_question_has_a_view_with_its_filters_as_keys_and_one_that_is_filtered() {
    check("SELECT k, count(*) FROM f GROUP BY k", &["SELECT k, count(*) AS row_count FROM f GROUP BY k"]).await;
    check(
        "SELECT k, sum(n) AS total, avg(n) FROM f WHERE c = 'it''s' GROUP BY k",
        &[
            "SELECT k, c, sum(n) AS sum_n, avg(n) AS avg_n FROM f GROUP BY k, c",
            "SELECT k, sum(n) AS sum_n, avg(n) AS avg_n FROM f WHERE (c = 'it''s') GROUP BY k",
        ],
    )
    .await;
    check(
        "SELECT upper(k), min(d) FROM f WHERE length(k) > 1 GROUP BY upper(k)",
        &[
            "SELECT k, min(d) AS min_d FROM f GROUP BY k",
            "SELECT upper(k) AS upper_k, min(d) AS min_d FROM f WHERE (character_length(k) > 1) GROUP BY upper(k)",
        ],
    )
    .await;
    check("SELECT count(*) FROM f WHERE x > 1.5", &["SELECT count(*) AS row_count FROM f WHERE (x > 1.5)"]).await;
    check("SELECT k FROM f GROUP BY k", &["SELECT k, count(*) AS row_count FROM f GROUP BY k"]).await;
}

#[tokio::test]
async fn times_are_cut_as_fine_as_keys_and_ranges_need() {
    check(
        "SELECT date_trunc('day', ts), count(n) FROM f GROUP BY 1",
        &["SELECT date_trunc('day', ts) AS day, count(n) AS count_n FROM f GROUP BY date_trunc('day', ts)"],
    )
    .await;
    check(
        "SELECT date_bin(INTERVAL '15 minutes', ts), max(n) FROM f GROUP BY 1",
        &["SELECT date_trunc('minute', ts) AS minute, max(n) AS max_n FROM f GROUP BY date_trunc('minute', ts)"],
    )
    .await;
    let hourly =
        ["SELECT date_trunc('hour', ts) AS hour, count(*) AS row_count FROM f GROUP BY date_trunc('hour', ts)"];
    check(
        "SELECT count(*) FROM f WHERE ts >= TIMESTAMPTZ '2026-01-01T05:00:00Z' AND ts < TIMESTAMPTZ '2026-02-01T00:00:00Z'",
        &hourly,
    )
    .await;
    check("SELECT date_part('hour', ts), count(*) FROM f GROUP BY 1", &hourly).await;
    // A cut range, and the week and the month, which have days in common.
    check(
        "SELECT count(*) FROM f WHERE ts >= TIMESTAMPTZ '2026-01-01T05:00:07Z'",
        &["SELECT date_trunc('minute', ts) AS minute, count(*) AS row_count FROM f GROUP BY date_trunc('minute', ts)"],
    )
    .await;
    check(
        "SELECT date_trunc('week', ts), date_trunc('month', ts), count(*) FROM f GROUP BY 1, 2",
        &["SELECT date_trunc('day', ts) AS day, count(*) AS row_count FROM f GROUP BY date_trunc('day', ts)"],
    )
    .await;
}

/// Joined views answer all that was asked, in any order.
#[tokio::test]
async fn joins_answer_all_they_are_made_of() {
    let queries = [
        "SELECT k, count(*) FROM f WHERE c = 'a' GROUP BY k",
        "SELECT c, sum(n) FROM f WHERE c = 'a' AND ts >= TIMESTAMPTZ '2026-01-01T00:00:00Z' GROUP BY c",
        "SELECT date_trunc('hour', ts), count(*) FILTER (WHERE b) FROM f GROUP BY 1",
    ];
    let mut of_one = Vec::new();
    let mut questions = Vec::new();
    for sql in queries {
        let question = asked(sql).await;
        of_one.extend(shapes(&question, &schema(Text::Declared), Values::Given));
        questions.push(question);
    }
    let candidates = with_joins(of_one.clone(), 48);
    assert_eq!(candidates[..of_one.len()], of_one[..]);
    let mut widest = Vec::new();
    for shape in &candidates {
        let design = design(&query(shape)).await;
        if questions.iter().all(|question| cover(question, &design, &schema(Text::Read)).is_some()) {
            widest.push(query(shape));
        }
    }
    assert_eq!(
        widest,
        ["SELECT k, c, date_trunc('hour', ts) AS hour, count(*) FILTER (WHERE b) AS count_filter_where_b, \
          count(*) AS row_count, sum(n) AS sum_n FROM f GROUP BY k, c, date_trunc('hour', ts)"]
    );
    // What both filter by stays a filter of both.
    let filtered = "SELECT k, c, date_trunc('day', ts) AS day, count(*) AS row_count, sum(n) AS sum_n FROM f WHERE (c = 'a') \
         GROUP BY k, c, date_trunc('day', ts)";
    assert!(candidates.iter().any(|shape| query(shape) == filtered));
    assert!(with_joins(of_one, 6).len() == 6, "bounded");
}

/// Values that stand for parameters are no filters of a view.
#[tokio::test]
async fn stand_ins_become_keys() {
    let question = asked("SELECT count(*) FROM f WHERE k = '' AND x > 1.0").await;
    let found = shapes(&question, &schema(Text::Declared), Values::StandIns);
    assert_eq!(
        found.iter().map(query).collect::<Vec<_>>(),
        ["SELECT k, x, count(*) AS row_count FROM f GROUP BY k, x"]
    );
    assert_eq!(sought(&question), ["k"]);
}

#[tokio::test]
async fn names_and_layout_are_ready_to_run() {
    let question =
        asked("SELECT k, date_trunc('minute', ts) AS m, count(*) FROM f WHERE c IN ('a', 'b') GROUP BY 1, 2").await;
    let shape = shapes(&question, &schema(Text::Declared), Values::Given).remove(0);
    let head = |rows: u64, taken: &[&str]| {
        let written = written(&shape, rows, &sought(&question), &|name| taken.contains(&name)).unwrap();
        written.ddl.split("\nAS\n").next().unwrap().to_owned()
    };
    assert_eq!(
        head(10, &[]),
        "CREATE MATERIALIZED VIEW f_by_k_c_minute\nWITH (refresh = 'continuous', sort_by = 'c, k, minute')"
    );
    assert_eq!(
        head(2_000_000, &["f_by_k_c_minute"]),
        "CREATE MATERIALIZED VIEW f_by_k_c_minute_2\n\
         WITH (refresh = 'continuous', partition_by = 'day(minute)', sort_by = 'c, k, minute')"
    );
}
