//! What fingerprints are of tells any two expressions apart, and nothing else.

use super::lab::{Text, plan, session};
use crate::rollup::identity;

async fn identity(sql: &str) -> String {
    identity::of_plan(&plan(&session(&[], Text::Declared), sql).await)
}

#[tokio::test]
async fn what_is_printed_alike_is_told_apart() {
    for [one, other] in [
        ["SELECT m - (m - n) FROM f", "SELECT m - m - n FROM f"],
        ["SELECT * FROM f WHERE NOT (b OR n = 1)", "SELECT * FROM f WHERE NOT b OR n = 1"],
        ["SELECT (b OR n = 1) IS NULL FROM f", "SELECT b OR n = 1 IS NULL FROM f"],
        ["VALUES (1), (2), (3), (4), (5), (6)", "VALUES (1), (2), (3), (4), (5), (7)"],
        ["SELECT X'000102030405060708090A0B0C'", "SELECT X'000102030405060708090A0B0D'"],
        ["SELECT [X'000102030405060708090A0B0C']", "SELECT [X'000102030405060708090A0B0D']"],
        ["SELECT 'a\") (Literal Utf8 Utf8(\"b'", "SELECT 'a', 'b'"],
        ["SELECT * FROM f WHERE EXISTS (SELECT 1 FROM g)", "SELECT * FROM f WHERE EXISTS (SELECT 1 FROM other)"],
        ["SELECT n IN (SELECT n FROM g WHERE b) FROM f", "SELECT n IN (SELECT n FROM g WHERE NOT b) FROM f"],
        ["SELECT sum(n) FILTER (WHERE b) FROM f", "SELECT sum(n) FROM f WHERE b"],
        ["SELECT rank() OVER (PARTITION BY k ORDER BY n) FROM f", "SELECT rank() OVER (PARTITION BY k, n) FROM f"],
        ["SELECT CASE n WHEN 1 THEN 2 END FROM f", "SELECT CASE WHEN n = 1 THEN 2 END FROM f"],
        ["SELECT * FROM f ORDER BY n", "SELECT * FROM f ORDER BY n DESC"],
        ["SELECT * FROM f UNION ALL SELECT * FROM f", "SELECT * FROM f UNION SELECT * FROM f"],
    ] {
        let (one, other) = (identity(one).await, identity(other).await);
        assert_ne!(one, other);
    }
}

#[tokio::test]
async fn the_same_query_is_the_same_wherever_it_is_planned() {
    let sql = "SELECT date_trunc('day', ts) AS day, k, sum(n) FILTER (WHERE b OR c LIKE 'x%') AS total, median(n) FROM f \
               WHERE n NOT IN (1, 2, 3) AND k = upper(c) GROUP BY 1, 2";
    assert_eq!(identity(sql).await, identity(sql).await);
    assert_eq!(identity(sql).await, identity(&sql.replace(" AND ", "  and ")).await);
}
