//! A view read from stored rows and tail is its query over all rows.

use super::lab::{Row, Rows, at, design};

const CALLS: &str = "count(*) AS a1, count(n) AS a2, sum(n) AS a3, sum(d) AS a4, min(n) AS a5, max(k) AS a6, avg(n) AS a7, \
                     bool_and(b) AS a8, bool_or(b) AS a9, min(ts) AS a10, sum(m) FILTER (WHERE b) AS a11, \
                     count(*) FILTER (WHERE k = 'none') AS a12, avg(n) FILTER (WHERE k = 'none') AS a13";

fn some_rows() -> Vec<Row> {
    let words = [None, Some(""), Some("a"), Some("é")];
    (0..24)
        .map(|index: i64| Row {
            ts: at("1969-12-31T23:59:59.999999") + index * 1_700_000_000,
            late: Some(index * 1_000_000).filter(|_| index % 5 != 0),
            k: words[index as usize % 4],
            c: words[index as usize / 4 % 3],
            n: Some(index * 3 - 10).filter(|_| index % 4 != 1),
            m: index,
            d: Some(i128::from(index) * 7 - 50).filter(|_| index % 3 != 0),
            b: [None, Some(true), Some(false)][index as usize % 3],
        })
        .collect()
}

async fn check(view: &str, rows: &Rows<'_>) {
    let design = design(view).await;
    let expected = rows.by_base(view).await;
    for stored in [rows.stored(&design).await.unwrap(), rows.folded(&design).await.unwrap()] {
        assert_eq!(rows.reading(&design, &stored, view).await, Some(expected.clone()), "{view}");
    }
}

#[tokio::test]
async fn stored_rows_and_tail_are_the_query() {
    let all = some_rows();
    let splits = [
        Rows { absorbed: &[&all[..7], &all[7..15]], tail: &all[15..], gone: &[] },
        Rows { absorbed: &[&all], tail: &[], gone: &[] },
        Rows { absorbed: &[], tail: &all, gone: &[] },
        Rows { absorbed: &[&[]], tail: &all[..3], gone: &[] },
        Rows { absorbed: &[], tail: &[], gone: &[] },
        Rows { absorbed: &[&[]], tail: &[], gone: &[] },
    ];
    for rows in &splits {
        check(&format!("SELECT {CALLS} FROM f"), rows).await;
        check(&format!("SELECT k, {CALLS} FROM f GROUP BY k"), rows).await;
        check(&format!("SELECT upper(k) AS u, {CALLS} FROM f WHERE c <> 'a' GROUP BY upper(k), c"), rows).await;
        check(
            &format!("SELECT date_trunc('hour', ts) AS h, k, {CALLS} FROM f GROUP BY 1, 2 HAVING count(*) > 1"),
            rows,
        )
        .await;
        check("SELECT k, c FROM f GROUP BY k, c", rows).await;
        check("SELECT s, i, count(*) FROM (SELECT CAST(n AS VARCHAR) AS s, CAST(n AS SMALLINT) AS i FROM f) GROUP BY s, i", rows).await;
        check("SELECT date_trunc('day', ts AT TIME ZONE 'Asia/Kolkata') AS day, max(ts AT TIME ZONE 'Asia/Kolkata') FROM f GROUP BY 1", rows).await;
        check("SELECT coalesce(sum(n), 0) + count(*) AS both FROM f GROUP BY k", rows).await;
    }
}

#[tokio::test]
async fn only_the_whole_sum_has_to_fit() {
    let row = |n| Row { n: Some(n), ..Row::default() };
    let view = "SELECT sum(n) AS s, avg(n) AS a FROM f";
    let (high, low) = ([row(i64::MAX), row(i64::MAX)], [row(i64::MIN), row(i64::MIN), row(1)]);
    let rows = Rows { absorbed: &[&high, &low], tail: &[], gone: &[] };
    let design = design(view).await;
    let stored = rows.stored(&design).await.unwrap();
    let answer = rows.reading(&design, &stored, view).await.unwrap().unwrap();
    assert_eq!(answer, ["s Int64, a Float64", "\"-1\" \"-0.2\""]);

    let rows = Rows { absorbed: &[&high], tail: &[], gone: &[] };
    let stored = rows.stored(&design).await.unwrap();
    let error = rows.reading(&design, &stored, view).await.unwrap().unwrap_err();
    assert!(error.contains("out of the range"), "{error}");
}

#[tokio::test]
async fn a_fold_keeps_columns_and_types() {
    let all = some_rows();
    let rows = Rows { absorbed: &[&all, &all], tail: &[], gone: &[] };
    let design = design(&format!("SELECT k, {CALLS} FROM f GROUP BY k")).await;
    let (stored, folded) = (rows.stored(&design).await.unwrap(), rows.folded(&design).await.unwrap());
    assert_eq!(stored.source.schema(), folded.source.schema());
}
