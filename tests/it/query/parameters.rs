//! Prepared statements: inferred types, bound values, what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use adlake::query::{Params, Request, StatementKind};
use arrow::datatypes::{DataType, Field, TimeUnit};
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
