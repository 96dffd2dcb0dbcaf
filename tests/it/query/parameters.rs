//! Prepared statements: inferred types, bound values, what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use adlake::query::{Params, Request, StatementKind};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::ScalarValue;

use crate::lab::Lab;

async fn lab() -> Lab {
    let lab = Lab::open().await;
    lab.run(
        "CREATE TABLE t (id BIGINT, small INTEGER, name VARCHAR, at TIMESTAMP WITH TIME ZONE, amount DECIMAL(10, 2))",
    )
    .await;
    lab.run(
        "INSERT INTO t VALUES (1, 10, 'a', '2026-01-01T00:00:00Z', 1.50), (2, 20, 'b', '2026-01-02T00:00:00Z', 2.50)",
    )
    .await;
    lab
}

async fn bound(lab: &Lab, sql: &str, values: Vec<ScalarValue>) -> Result<Vec<String>, String> {
    let request = Request { params: Params::Positional(values), ..lab.request(sql) };
    let answered = lab.try_request(request).await.map_err(|error| error.to_string())?;
    match answered.affected {
        Some(count) => Ok(vec![count.to_string()]),
        None => Ok(answered.rows.into_iter().map(|row| row.join("|")).collect()),
    }
}

async fn types(lab: &Lab, sql: &str) -> Vec<DataType> {
    let prepared = lab.engine.prepare(sql, &lab.session).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    prepared.parameters.fields().iter().map(|field| field.data_type().clone()).collect()
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[tokio::test]
async fn types_are_inferred_from_their_place() {
    let lab = lab().await;
    assert_eq!(types(&lab, "SELECT * FROM t WHERE id = ? AND name LIKE ?").await, [DataType::Int64, DataType::Utf8]);
    assert_eq!(types(&lab, "SELECT * FROM t WHERE at BETWEEN $1 AND $2").await, [instant(), instant()]);
    assert_eq!(
        types(&lab, "SELECT * FROM t WHERE $2 = small AND id IN ($1, 3)").await,
        [DataType::Int64, DataType::Int32]
    );
    assert_eq!(types(&lab, "SELECT id FROM t LIMIT ? OFFSET ?").await, [DataType::Int64, DataType::Int64]);
    assert_eq!(
        types(&lab, "INSERT INTO t (amount, id) VALUES (?, ?)").await,
        [DataType::Decimal128(10, 2), DataType::Int64]
    );
    assert_eq!(types(&lab, "INSERT INTO t (id) SELECT id + 1 FROM t WHERE name = ?").await, [DataType::Utf8]);
    assert_eq!(types(&lab, "SELECT id FROM t").await, []);
}

#[tokio::test]
async fn a_cast_tells_the_type_and_casts_what_is_bound_all_the_same() {
    let lab = lab().await;
    assert_eq!(
        types(&lab, "SELECT CAST(? AS BIGINT), ?::BYTEA, CAST(? AS DATE) + INTERVAL '1 day', CAST(? AS DECIMAL(8, 3))")
            .await,
        [DataType::Int64, DataType::Binary, DataType::Date32, DataType::Decimal128(8, 3)]
    );
    // Nothing tells, or not one thing; a try may be of anything.
    assert_eq!(types(&lab, "SELECT ?, TRY_CAST(? AS BIGINT)").await, [DataType::Null, DataType::Null]);
    assert_eq!(types(&lab, "SELECT CAST($1 AS BIGINT) AS a, CAST($1 AS DATE) AS b").await, [DataType::Null]);
    assert_eq!(types(&lab, "SELECT CAST($1 AS VARCHAR) FROM t WHERE id = $1").await, [DataType::Int64]);
    let cast = "SELECT CAST(? AS BIGINT)";
    assert_eq!(bound(&lab, cast, vec![ScalarValue::from(1.5)]).await.unwrap(), ["1"]);
    assert_eq!(bound(&lab, cast, vec![ScalarValue::from("7")]).await.unwrap(), ["7"]);
    assert_eq!(bound(&lab, "SELECT TRY_CAST(? AS BIGINT)", vec![ScalarValue::from("x")]).await.unwrap(), ["NULL"]);
}

#[tokio::test]
async fn beside_an_interval_a_parameter_is_the_moment_it_is_compared_with() {
    let lab = lab().await;
    for sql in [
        "SELECT id FROM t WHERE at >= ? - INTERVAL '1 day' ORDER BY id",
        "SELECT id FROM t WHERE ? - INTERVAL '2 days' + INTERVAL '1 day' <= at ORDER BY id",
        "SELECT id FROM t WHERE at BETWEEN INTERVAL '-1 day' + ? AND TIMESTAMPTZ '2030-01-01T00:00:00Z' ORDER BY id",
        "SELECT id FROM (SELECT id, at FROM t WHERE at IN (SELECT at FROM t WHERE at >= ? - INTERVAL '1 day')) s ORDER BY id",
    ] {
        assert_eq!(types(&lab, sql).await, [instant()], "{sql}");
        for value in ["2026-01-02T12:00:00Z", "2026-01-02 12:00:00"] {
            assert_eq!(bound(&lab, sql, vec![ScalarValue::from(value)]).await.unwrap(), ["2"], "{sql}");
        }
        let refused = bound(&lab, sql, vec![ScalarValue::from("soon")]).await.unwrap_err();
        assert!(refused.starts_with("parameter $1: 'soon' is not a valid TIMESTAMP"), "{refused}");
    }
    assert_eq!(types(&lab, "SELECT id FROM t WHERE at::DATE >= ? - INTERVAL '1 day'").await, [DataType::Date32]);
    // Elsewhere the value bound tells.
    let elsewhere = "SELECT ? - INTERVAL '1 day' AS before";
    assert_eq!(types(&lab, elsewhere).await, [DataType::Null]);
    let noon = ScalarValue::TimestampMicrosecond(Some(1_767_355_200_000_000), Some("UTC".into()));
    assert_eq!(bound(&lab, elsewhere, vec![noon]).await.unwrap(), ["2026-01-01T12:00:00Z"]);
}

#[tokio::test]
async fn values_to_insert_have_the_types_of_their_columns() {
    let lab = lab().await;
    assert_eq!(
        types(&lab, "INSERT INTO t (amount, id) SELECT ?, ?").await,
        [DataType::Decimal128(10, 2), DataType::Int64]
    );
    assert_eq!(
        types(&lab, "INSERT INTO t (id, at) SELECT id, ? FROM t WHERE name = ? UNION ALL VALUES (?, NULL)").await,
        [instant(), DataType::Utf8, DataType::Int64]
    );
    assert_eq!(types(&lab, "INSERT INTO t (id, small) SELECT s.*, ? FROM (SELECT 1) s").await, [DataType::Null]);
    let insert = "INSERT INTO t (id, amount) SELECT ? AS a, ?";
    assert_eq!(bound(&lab, insert, vec![ScalarValue::from("9"), ScalarValue::from("1.50")]).await.unwrap(), ["1"]);
    assert_eq!(lab.rows("SELECT id, amount FROM t WHERE id = 9").await, ["9|1.50"]);
}

#[tokio::test]
async fn prepared_and_run_schemas_agree() {
    let lab = lab().await;
    for sql in [
        "SELECT id, count(*), sum(amount), max(at), avg(small), 1 AS one, NULL AS nothing FROM t WHERE id > ? GROUP BY id",
        "SELECT id FROM t WHERE id = ? UNION ALL SELECT amount FROM t",
        "SELECT *, now() AS now, date_trunc('day', at) FROM t WHERE id = ?",
    ] {
        let prepared = lab.engine.prepare(sql, &lab.session).await.unwrap();
        assert_eq!(prepared.kind, StatementKind::Query);
        let request = Request { params: Params::Positional(vec![ScalarValue::from(1_i64)]), ..lab.request(sql) };
        let answer = lab.engine.execute(request).await.unwrap();
        assert_eq!(prepared.schema, answer.schema, "{sql}");
    }
}

#[tokio::test]
async fn values_are_bound_with_casts() {
    let lab = lab().await;
    let by_id = "SELECT name FROM t WHERE id = ?";
    assert_eq!(bound(&lab, by_id, vec![ScalarValue::from(2_i64)]).await.unwrap(), ["b"]);
    assert_eq!(bound(&lab, by_id, vec![ScalarValue::from("2")]).await.unwrap(), ["b"]);
    assert_eq!(bound(&lab, by_id, vec![ScalarValue::Int8(Some(1))]).await.unwrap(), ["a"]);
    assert_eq!(bound(&lab, by_id, vec![ScalarValue::Null]).await.unwrap(), Vec::<String>::new());
    let by_time = "SELECT id FROM t WHERE at >= $1 ORDER BY id LIMIT $2";
    let values = vec![ScalarValue::from("2026-01-01T09:00:00+09:00"), ScalarValue::from(1_i64)];
    assert_eq!(bound(&lab, by_time, values).await.unwrap(), ["1"]);
    let echo = "SELECT ? AS a, ? AS b";
    let values = Params::Positional(vec![ScalarValue::from(7_i64), ScalarValue::from("x")]);
    let told = lab.engine.plan(echo, &values, &lab.session).await.unwrap();
    let kinds = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&told.schema), [DataType::Int64, DataType::Utf8]);
    let run = lab.engine.execute(Request { params: values, ..lab.request(echo) }).await.unwrap();
    assert_eq!(told.schema, run.schema);
    let unbound = lab.engine.prepare(echo, &lab.session).await.unwrap();
    assert_eq!(kinds(&unbound.schema), [DataType::Utf8, DataType::Utf8], "as clients are told to bind");
    assert_eq!(
        kinds(&lab.engine.prepare("SELECT concat(?, '')", &lab.session).await.unwrap().parameters),
        [DataType::Null]
    );
    let untyped = bound(&lab, "SELECT ? AS x", vec![ScalarValue::from(7_i64)]).await;
    assert_eq!(untyped.unwrap(), ["7"]);
    assert_eq!(bound(&lab, "SELECT '?' || ?", vec![ScalarValue::from("!")]).await.unwrap(), ["?!"]);
    assert_eq!(bound(&lab, "SELECT E'it\\'s', ?", vec![ScalarValue::from("!")]).await.unwrap(), ["it's|!"]);
}

#[tokio::test]
async fn inserts_take_parameters_of_every_column() {
    let lab = lab().await;
    let insert = "INSERT INTO t (id, name, at, amount) VALUES (?, ?, ?, ?), (?, NULL, NULL, NULL)";
    let values = vec![
        ScalarValue::from(3_i64),
        ScalarValue::from("c"),
        ScalarValue::TimestampMillisecond(Some(1_767_225_600_000), Some("UTC".into())),
        ScalarValue::from("9.99"),
        ScalarValue::Int32(Some(4)),
    ];
    assert_eq!(bound(&lab, insert, values).await.unwrap(), ["2"]);
    let rows = lab.rows("SELECT id, small, name, at, amount FROM t WHERE id > 2 ORDER BY id").await;
    assert_eq!(rows, ["3|NULL|c|2026-01-01T00:00:00Z|9.99", "4|NULL|NULL|NULL|NULL"]);
}

#[tokio::test]
async fn wrong_values_are_refused_by_name() {
    let lab = lab().await;
    let sql = "SELECT name FROM t WHERE id = ? AND small = ?";
    let one = ScalarValue::from(1_i64);
    for (values, message) in [
        (vec![one.clone()], "statement has 2 parameters, 1 values were given"),
        (vec![one.clone(), one.clone(), one.clone()], "statement has 2 parameters, 3 values were given"),
        (vec![ScalarValue::from("x"), one.clone()], "parameter $1: 'x' is not a valid BIGINT"),
        (vec![ScalarValue::from(1.5), one.clone()], "parameter $1: '1.5' is not a valid BIGINT"),
        (vec![one.clone(), ScalarValue::from(i64::MAX)], "parameter $2: '9223372036854775807' is not a valid INTEGER"),
    ] {
        assert_eq!(bound(&lab, sql, values).await.unwrap_err(), message);
    }
    assert_eq!(lab.error(sql).await, "invalid_argument: statement has 2 parameters, no values were given");
    assert!(lab.error("SELECT ?, $1").await.contains("either ? or $1"));
}

#[tokio::test]
async fn named_parameters_have_declared_types() {
    let lab = lab().await;
    let declared =
        vec![Arc::new(Field::new("from", instant(), true)), Arc::new(Field::new("name", DataType::Utf8, true))];
    let sql = "SELECT id FROM t WHERE at >= $from - INTERVAL '1 day' AND name = $name";
    let values = |name: &str| {
        let from = ScalarValue::from("2026-01-02T12:00:00Z");
        Params::Named(BTreeMap::from([("from".to_owned(), from), ("name".to_owned(), ScalarValue::from(name))]))
    };
    let request = Request { params: values("b"), declared: declared.clone(), ..lab.request(sql) };
    assert_eq!(lab.try_request(request).await.unwrap().rows, [["2"]]);
    let request = Request { params: values("a"), declared: declared.clone(), ..lab.request(sql) };
    assert_eq!(lab.try_request(request).await.unwrap().rows, Vec::<Vec<String>>::new());
    let missing = Params::Named(BTreeMap::from([("name".to_owned(), ScalarValue::from("a"))]));
    let request = Request { params: missing, declared, ..lab.request(sql) };
    assert_eq!(lab.try_request(request).await.err().unwrap().to_string(), "no value was given for parameter $from");
    let by_name = "SELECT id FROM t WHERE name = $name";
    let undeclared = Request { params: values("a"), ..lab.request(by_name) };
    let error = lab.try_request(undeclared).await.err().unwrap().to_string();
    assert_eq!(error, "statement has no parameter $from");
    let named = Params::Named(BTreeMap::from([("name".to_owned(), ScalarValue::from("a"))]));
    let request = Request { params: named.clone(), ..lab.request(by_name) };
    assert_eq!(lab.try_request(request).await.unwrap().rows, [["1"]]);
    let request = Request { params: named, ..lab.request("SELECT id FROM t") };
    assert_eq!(lab.try_request(request).await.err().unwrap().to_string(), "statement has no parameter $name");
}
