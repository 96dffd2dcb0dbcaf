//! What is by chance is never taken for the query's own answer.

use super::lab::{Row, Rows, decided, design};
use crate::rollup::{Certainty, StoredLayout, Strategy, Wanted};

async fn certainties(sql: &str) -> Result<Vec<Certainty>, String> {
    let decision = decided(sql, Wanted::Auto, &StoredLayout::default()).await;
    decision.map(|decision| decision.certainties).map_err(|refusal| refusal.reason)
}

#[tokio::test]
async fn columns_say_how_certain_they_are() {
    use Certainty::{Certain, Derived, Sketch};
    let check =
        async |sql: &str, expected: &[Certainty]| assert_eq!(certainties(sql).await.unwrap(), expected, "{sql}");
    check("SELECT k, hll_sketch(c) AS s, sum(n) AS n FROM f GROUP BY k", &[Certain, Certain, Certain]).await;
    check("SELECT k, kll_sketch(n) AS s, length(kll_sketch(n)) AS l FROM f GROUP BY k", &[Certain, Sketch, Derived])
        .await;
    check("SELECT kll_merge(s) AS s FROM (SELECT k, kll_sketch(n) AS s FROM f GROUP BY k)", &[Sketch]).await;
    check("SELECT max(s) AS s FROM (SELECT k, kll_sketch(n) AS s FROM f GROUP BY k)", &[Derived]).await;
    check("SELECT k, approx_median(n) AS m FROM f GROUP BY k", &[Certain, Derived]).await;
    check("SELECT s, n FROM (SELECT kll_sketch(n) AS s, 1 AS n FROM f UNION ALL SELECT c, 2 FROM (SELECT hll_sketch(k) AS c FROM f))", &[Sketch, Certain]).await;
    check(
        "SELECT a.k, s FROM (SELECT k, kll_sketch(n) AS s FROM f GROUP BY k) a JOIN other ON a.k = other.k",
        &[Certain, Sketch],
    )
    .await;
    check("SELECT k, (SELECT approx_median(n) FROM other) AS m FROM f", &[Certain, Derived]).await;
}

#[tokio::test]
async fn rows_chosen_by_chance_are_no_view() {
    let refused = async |sql: &str, expected: &str| {
        let reason = certainties(sql).await.unwrap_err();
        assert!(reason.starts_with(expected) && reason.contains("by chance"), "{sql}: {reason}");
    };
    refused("SELECT k, count(*) AS n FROM f GROUP BY k HAVING approx_median(n) > 3", "rows are chosen by").await;
    refused(
        "SELECT s, count(*) AS n FROM (SELECT kll_sketch(n) AS s FROM f GROUP BY k) GROUP BY s",
        "groups are made by",
    )
    .await;
    refused("SELECT DISTINCT s FROM (SELECT k, kll_sketch(n) AS s FROM f GROUP BY k)", "rows are chosen by").await;
    let by_hand =
        decided("SELECT DISTINCT kll_sketch(n) AS s FROM f", Wanted::FullManual, &StoredLayout::default()).await;
    assert!(by_hand.is_ok_and(|decision| decision.certainties.is_empty()));
}

#[tokio::test]
async fn a_kll_sketch_is_kept_by_parts_and_answers_nobody_else() {
    let view = "SELECT k, kll_sketch(n) AS spread, count(*) AS rows FROM f GROUP BY k";
    let kept = design(view).await;
    let rows = [Row { n: Some(1), ..Row::default() }, Row { n: Some(2), ..Row::default() }];
    let rows = Rows { absorbed: &[&rows[..1]], tail: &rows[1..], gone: &[] };
    let stored = rows.stored(&kept).await.unwrap();
    assert_eq!(rows.reading(&kept, &stored, view).await, Some(rows.by_base(view).await));
    assert!(rows.by_rollup(&kept, &stored, "SELECT k, count(*) AS rows FROM f GROUP BY k").await.is_some());
    assert!(rows.by_rollup(&kept, &stored, view).await.is_none());
    let derived =
        decided("SELECT k, length(kll_sketch(n)) AS l FROM f GROUP BY k", Wanted::Auto, &StoredLayout::default())
            .await
            .unwrap();
    assert!(
        matches!(derived.strategy, Strategy::Full(_)) && derived.reason.contains("show the sketch"),
        "{}",
        derived.reason
    );
}
