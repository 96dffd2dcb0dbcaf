//! Sums and averages that are kept in parts answer as `sum` and `avg` over the rows, to the last bit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::{SessionStateBuilder, SessionStateDefaults};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{aggregate, rollup, scalar};

/// A session as the engine makes it, with a table `t (g VARCHAR, part BIGINT, n BIGINT)` in two partitions.
fn session(rows: &[(&str, i64, Option<i64>)]) -> SessionContext {
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.extend(aggregate());
    let mut scalars = SessionStateDefaults::default_scalar_functions();
    scalars.extend(scalar());
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(2).with_batch_size(4))
        .with_aggregate_functions(aggregates)
        .with_scalar_functions(scalars)
        .build();
    let schema = Arc::new(Schema::new(vec![
        Field::new("g", DataType::Utf8, false),
        Field::new("part", DataType::Int64, false),
        Field::new("n", DataType::Int64, true),
    ]));
    let batch = |rows: &[(&str, i64, Option<i64>)]| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(schema.clone(), columns).unwrap()
    };
    let (first, second) = rows.split_at(rows.len() / 2);
    let table =
        datafusion::datasource::MemTable::try_new(schema.clone(), vec![vec![batch(first)], vec![batch(second)]]);
    let session = SessionContext::new_with_state(state);
    #[expect(clippy::disallowed_methods, reason = "a table of this test alone")]
    session.register_table("t", Arc::new(table.unwrap())).unwrap();
    session
}

async fn run(session: &SessionContext, sql: &str) -> Result<String, String> {
    let plan = session.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = plan.collect().await.map_err(|error| error.to_string())?;
    Ok(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string())
}

/// Both queries give the same text, or the same error.
async fn same(session: &SessionContext, one: &str, other: &str) -> Result<String, String> {
    let (one, other) = (run(session, one).await, run(session, other).await);
    assert_eq!(one, other);
    one
}

const PARTS: &str = "SELECT g, part, adlake_partial_sum(n) FILTER (WHERE n <> 13) AS s, count(n) FILTER (WHERE n <> 13) AS c \
                     FROM t GROUP BY g, part";

async fn check(rows: &[(&str, i64, Option<i64>)]) -> Result<String, String> {
    let session = session(rows);
    for (keys, end) in [("g,", "GROUP BY g ORDER BY g"), ("", "")] {
        let base = format!("SELECT {keys} avg(n) FILTER (WHERE n <> 13) AS a FROM t {end}");
        let parts =
            format!("SELECT {keys} adlake_average(adlake_fold_sum(s), coalesce(sum(c), 0)) AS a FROM ({PARTS}) {end}");
        same(&session, &base, &parts).await?;
    }
    let folded = format!("SELECT g, part % 2 AS p, adlake_fold_sum(s) AS s FROM ({PARTS}) GROUP BY g, p");
    let merged = format!("SELECT g, adlake_merge_sum(s) AS s FROM ({folded}) GROUP BY g ORDER BY g");
    let base = "SELECT g, sum(n) FILTER (WHERE n <> 13) AS s FROM t GROUP BY g ORDER BY g";
    same(&session, base, &merged).await
}

#[tokio::test]
async fn a_part_may_overflow_and_the_total_fit() {
    let rows = [
        ("a", 0, Some(i64::MAX)),
        ("a", 0, Some(i64::MAX)),
        ("a", 1, Some(-i64::MAX)),
        ("a", 2, Some(5)),
        ("b", 0, None),
    ];
    assert!(check(&rows[1..]).await.unwrap().contains('5'));
    assert!(check(&rows[..3]).await.unwrap().contains("9223372036854775807"));
}

#[tokio::test]
async fn a_total_out_of_range_is_the_same_error() {
    let rows = [("a", 0, Some(i64::MAX)), ("a", 1, Some(1)), ("b", 1, Some(1))];
    let error = check(&rows).await.unwrap_err();
    assert!(error.contains("sum is out of the range of Int64"), "{error}");
}

#[tokio::test]
async fn nothing_to_add_is_null() {
    assert!(check(&[]).await.is_ok());
    check(&[("a", 0, None), ("a", 1, None), ("b", 0, Some(13)), ("c", 0, Some(13)), ("c", 3, Some(1))]).await.unwrap();
}

#[tokio::test]
async fn any_integers_in_any_parts_give_the_same_bits() {
    // A linear congruential generator: values of all magnitudes and both signs, the same in every run.
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed
    };
    for _ in 0..20 {
        let rows: Vec<(&str, i64, Option<i64>)> = (0..40)
            .map(|_| {
                let group = ["a", "b", "c"][(next() >> 33) as usize % 3];
                let part = (next() >> 33) as i64 % 5;
                let value = (next() as i64).wrapping_shr((next() >> 40) as u32 % 62) / 16;
                (group, part, (next() >> 40 & 7 != 0).then_some(value))
            })
            .collect();
        check(&rows).await.unwrap();
    }
}

#[tokio::test]
async fn rollup_gets_the_functions_of_the_session() {
    let session = session(&[]);
    let functions = rollup(&session.state());
    let state = session.state();
    for function in [&functions.sum, &functions.partial_sum, &functions.fold_sum, &functions.merge_sum, &functions.min]
    {
        assert!(Arc::ptr_eq(function, &state.aggregate_functions()[function.name()]), "{}", function.name());
    }
    assert!(Arc::ptr_eq(&functions.average, &state.scalar_functions()["adlake_average"]));
}

#[tokio::test]
async fn parts_are_not_distinct() {
    let session = session(&[("a", 0, Some(1))]);
    for sql in [
        "SELECT adlake_partial_sum(DISTINCT n), count(*) FROM t",
        "SELECT adlake_partial_sum(DISTINCT n), count(*) FROM t GROUP BY g",
    ] {
        assert!(run(&session, sql).await.unwrap_err().contains("does not take DISTINCT"));
    }
}
