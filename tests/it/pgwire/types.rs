//! Values of every type, there and back, in text and binary form.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::{Server, one, simple};

/// A value of each type as SQL, and as PostgreSQL writes it.
const VALUES: [(&str, &str); 21] = [
    ("true", "t"),
    ("CAST(-7 AS SMALLINT)", "-7"),
    ("CAST(7 AS INTEGER)", "7"),
    ("9223372036854775807", "9223372036854775807"),
    ("CAST(0.1 AS REAL)", "0.1"),
    ("CAST('1e300' AS DOUBLE)", "1e+300"),
    ("CAST('NaN' AS DOUBLE)", "NaN"),
    ("CAST('-123456789012345678901234567890.12345678' AS DECIMAL(38, 8))", "-123456789012345678901234567890.12345678"),
    ("CAST(1.50 AS DECIMAL(5, 2))", "1.50"),
    ("'it''s é'", "it's é"),
    ("CAST('x' AS BYTEA)", "\\x78"),
    ("DATE '2017-11-07'", "2017-11-07"),
    ("TIMESTAMP '2017-11-07 09:30:00.5'", "2017-11-07 09:30:00.5"),
    ("TIMESTAMPTZ '2017-11-07 09:30:00Z'", "2017-11-07 09:30:00+00"),
    ("INTERVAL '1 day 2 hours'", "1 day 02:00:00"),
    ("make_array(1, NULL, 3)", "{1,NULL,3}"),
    ("make_array('a', 'b c')", "{a,\"b c\"}"),
    ("named_struct('a', 1, 'b', 'x')", "{\"a\":1,\"b\":\"x\"}"),
    ("make_array(make_array(1))", "[[1]]"),
    ("CAST(5 AS BIGINT UNSIGNED)", "5"),
    ("NULL", "NULL"),
];

#[tokio::test]
async fn texts_are_what_postgres_writes() {
    let server = Server::start().await;
    let client = server.client().await;
    for (sql, text) in VALUES {
        assert_eq!(one(&client, &format!("SELECT {sql}")).await, text, "{sql}");
    }
    server.stop().await;
}

#[tokio::test]
async fn binary_values_come_back_as_they_went() {
    let server = Server::start().await;
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE v (i2 SMALLINT, i4 INTEGER, i8 BIGINT, f4 REAL, f8 DOUBLE, b BOOLEAN, s VARCHAR, y BYTEA, d DATE, \
             ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE)",
        )
        .await
        .unwrap();
    let day = NaiveDate::from_ymd_opt(1969, 2, 28).unwrap();
    let at: NaiveDateTime = day.and_hms_micro_opt(23, 59, 59, 999_999).unwrap();
    let zoned: DateTime<Utc> = at.and_utc();
    let (bytes, text): (&[u8], &str) = (&[0, 255, 92], "π \\ '\"");
    let insert = "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 11] =
        [&-2_i16, &-4_i32, &i64::MIN, &0.5_f32, &1e-300_f64, &true, &text, &bytes, &day, &at, &zoned];
    client.execute(insert, &values).await.unwrap();
    let row = client.query_one("SELECT * FROM v", &[]).await.unwrap();
    assert_eq!((row.get::<_, i16>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)), (-2, -4, i64::MIN));
    assert_eq!((row.get::<_, f32>(3), row.get::<_, f64>(4), row.get::<_, bool>(5)), (0.5, 1e-300, true));
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &[u8]>(7)), (text, bytes));
    assert_eq!((row.get::<_, NaiveDate>(8), row.get::<_, NaiveDateTime>(9)), (day, at));
    assert_eq!(row.get::<_, DateTime<Utc>>(10), zoned);
    let equal = "SELECT count(*) FROM v WHERE i8 = $1 AND s = $2 AND tz = $3 AND d = $4";
    let row = client.query_one(equal, &[&i64::MIN, &text, &zoned, &day]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    let nothing: Option<i64> = None;
    client.execute("INSERT INTO v (i8) VALUES ($1)", &[&nothing]).await.unwrap();
    assert_eq!(simple(&client, "SELECT i8, s FROM v WHERE i8 IS NULL").await, [[None, None]]);
    server.stop().await;
}

#[tokio::test]
async fn lists_and_structs_are_arrays_and_json() {
    let server = Server::start().await;
    let client = server.client().await;
    let row =
        client.query_one("SELECT make_array(1, 2), make_array('a', NULL), named_struct('a', 1)", &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<i64>>(0), [1, 2]);
    assert_eq!(row.get::<_, Vec<Option<String>>>(1), [Some("a".to_owned()), None]);
    assert_eq!(row.get::<_, serde_json::Value>(2), serde_json::json!({ "a": 1 }));
    server.stop().await;
}
