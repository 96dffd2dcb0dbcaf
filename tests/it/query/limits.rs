//! Memory, time, turns, cancellation, streaming: what one statement may take from the others.

use std::time::Duration;

use adlake::base::{Classify, Kind};
use adlake::query::{Outcome, QueryError, QueryId, Request};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::lab::Lab;

/// Never ends by itself within the life of a test, and gives rows at once.
const LONG: &str = "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
/// As long, and gives no row before its end.
const SILENT: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value < 0";
/// As long, in an operator that does not give way.
const STUBBORN: &str =
    "SELECT count(*) FROM generate_series(1, 20000) a JOIN generate_series(1, 20000) b ON a.value + b.value < 0";

async fn open(lab: &Lab, sql: &str) -> (QueryId, SendableRecordBatchStream) {
    let answer = lab.engine.execute(lab.request(sql)).await.unwrap();
    match answer.outcome {
        Outcome::Rows(rows) => (answer.query_id, rows),
        Outcome::Done { message, .. } => panic!("no rows: {message}"),
    }
}

async fn state_of(lab: &Lab, id: &QueryId) -> String {
    lab.rows(&format!("SELECT state FROM system.queries WHERE query_id = '{id}'")).await.join(",")
}

/// Waits for what another task is about to do.
async fn until_state(lab: &Lab, id: &QueryId, wanted: &str) {
    let reached = async {
        while state_of(lab, id).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("never {wanted}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_before_the_end() {
    let lab = Lab::open().await;
    let (id, mut rows) = open(&lab, LONG).await;
    assert!(rows.next().await.unwrap().unwrap().num_rows() > 0);
    until_state(&lab, &id, "running").await;
    drop(rows);
    until_state(&lab, &id, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_or_an_id_cancels() {
    let lab = Lab::open().await;
    let cancel = CancellationToken::new();
    let request = Request { cancel: cancel.clone(), ..lab.request(SILENT) };
    let answer = lab.engine.execute(request).await.unwrap();
    let Outcome::Rows(rows) = answer.outcome else { panic!("no rows") };
    cancel.cancel();
    let error = QueryError::from(rows.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(error.kind(), Kind::Cancelled);

    let (id, rows) = open(&lab, SILENT).await;
    lab.run(&format!("KILL QUERY '{}'", id.0)).await;
    let error = QueryError::from(rows.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(error.kind(), Kind::Cancelled);
    until_state(&lab, &id, "cancelled").await;
    let again = lab.error(&format!("KILL QUERY '{}'", id.0)).await;
    assert!(again.contains("does not run any more"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_limited() {
    let lab = Lab::open().await;
    lab.run("SET statement_timeout = '50ms'").await;
    for sql in [SILENT, STUBBORN] {
        assert_eq!(lab.error(sql).await, "deadline_exceeded: statement ran longer than 50 milliseconds");
    }
    lab.run("RESET statement_timeout").await;
    assert_eq!(lab.rows("SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_shorten_its_time_and_not_lengthen_it() {
    let lab = Lab::with(&[("query.timeout", "40 ms")]).await;
    lab.run("SET statement_timeout = '1 hour'").await;
    assert_eq!(lab.error(SILENT).await, "deadline_exceeded: statement ran longer than 40 milliseconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_limited_and_given_back() {
    let lab = Lab::with(&[("query.concurrent", "1"), ("query.queue_length", "0")]).await;
    let (id, rows) = open(&lab, LONG).await;
    assert_eq!(
        lab.error("SELECT 1").await,
        "resource_exhausted: too many statements: 1 running and 0 waiting; try again later"
    );
    // What shows the trouble, and definitions, need no turn; what could make more of it does.
    assert_eq!(state_of(&lab, &id).await, "running");
    let dear = "SELECT count(*) FROM system.functions a, system.functions b, system.functions c, system.functions d";
    assert!(lab.error(dear).await.starts_with("resource_exhausted"));
    lab.run("CREATE TABLE t (a BIGINT)").await;
    drop(rows);
    until_state(&lab, &id, "cancelled").await;
    assert_eq!(lab.rows("SELECT 1").await, ["1"]);
    lab.run("INSERT INTO t VALUES (1)").await;
    assert_eq!(lab.rows("SELECT a FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_statement_gets_its_turn() {
    let lab = Lab::with(&[("query.concurrent", "1"), ("query.queue_length", "1")]).await;
    let (_, rows) = open(&lab, LONG).await;
    let waiting = lab.rows("SELECT 2");
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(rows);
    assert_eq!(waiting.await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_limited_and_given_back() {
    let lab = Lab::with(&[("query.memory_limit", "48 MiB")]).await;
    let error = lab.error("SELECT array_agg(value) FROM generate_series(1, 20000000)").await;
    assert!(error.starts_with("resource_exhausted: not enough memory for this statement"), "{error}");
    // The operators give it back on the engine's threads, after the error has reached us.
    let given_back = async {
        while lab.engine.task_context().memory_pool().reserved() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), given_back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_beyond_memory_spills_and_is_right() {
    // 160 MB of rows, more while they are sorted.
    let lab = Lab::with(&[("query.memory_limit", "128 MiB")]).await;
    let sql =
        "SELECT value % 1000 AS k, value, repeat('x', 100) AS pad FROM generate_series(1, 1400000) ORDER BY k, value";
    let (_, mut rows) = open(&lab, sql).await;
    let (mut before, mut count) = ((-1, -1), 0);
    while let Some(batch) = rows.next().await {
        let batch = batch.unwrap();
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>();
        for (k, value) in column(0).values().iter().zip(column(1).values()) {
            assert!(before < (*k, *value), "{before:?} before {:?}", (k, value));
            before = (*k, *value);
            count += 1;
        }
    }
    assert_eq!(count, 1_400_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_refuses_and_says_so() {
    let lab = Lab::open().await;
    lab.tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(lab.error("SELECT 1").await, "unavailable: server is stopping; connect again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_texts_are_refused() {
    let lab = Lab::with(&[("query.max_sql_size", "1 KiB")]).await;
    let error = lab.error(&format!("SELECT '{}'", "x".repeat(2000))).await;
    assert!(error.starts_with("invalid_argument: statement has 2009 bytes, at most 1 KiB are allowed"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting_is_an_error_and_the_engine_lives_on() {
    let lab = Lab::open().await;
    let nested = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    let too_deep = "nested too deeply; split the statement, for example with WITH or a view";
    assert!(lab.error(&nested).await.contains(too_deep));
    let wide = format!("SELECT 1 WHERE 1 = 1{}", " OR 1 = 2".repeat(1_000));
    assert_eq!(lab.rows(&wide).await, ["1"]);
    let queries = format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(500), ")".repeat(500));
    assert!(lab.error(&queries).await.contains(too_deep));
    let chain = format!("SELECT 1{}", " + 1".repeat(20_000));
    assert!(lab.error(&chain).await.contains("more than 6000 operators in one expression"));
    assert_eq!(lab.rows("SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_insert_ends_and_is_listed() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    {
        let insert = lab.run(
            "INSERT INTO t SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b",
        );
        tokio::pin!(insert);
        assert!(futures::poll!(&mut insert).is_pending());
    }
    let ended = async {
        while lab.rows("SELECT state FROM system.queries WHERE sql LIKE 'INSERT INTO t SELECT%'").await != ["cancelled"]
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(lab.rows("SELECT count(*) FROM t").await, ["0"]);
}

/// Constants are computed while planning, where no memory pool sees them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_do_not_grow_beyond_memory() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (text VARCHAR, n BIGINT)").await;
    lab.run("INSERT INTO t VALUES ('x', 2000000000)").await;
    for value in [
        "range(0, 2000000000)",
        "generate_series(0, 2000000000)",
        "generate_series(2000000000, 0, -1)",
        "range(DATE '0001-01-01', DATE '9999-01-01', INTERVAL '1 second')",
        "generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1 microsecond')",
        "repeat('x', 2000000000)",
        "lpad('x', 2000000000, 'y')",
        "rpad('x', 2000000000)",
        "array_repeat(1, 2000000000)",
        "array_repeat([1, 2], 2000000000)",
        "array_resize([1], 2000000000)",
        "replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
    ] {
        let error = lab.error(&format!("SELECT {value}")).await;
        assert!(error.starts_with("resource_exhausted:") && error.contains("more than 256 MiB"), "{value}: {error}");
    }
    for value in ["repeat(text, n)", "array_length(range(n))", "lpad(text, n)", "array_repeat(text, n)"] {
        let error = lab.error(&format!("SELECT {value} FROM t")).await;
        assert!(error.starts_with("resource_exhausted:"), "{value}: {error}");
    }
    let fine = "SELECT array_length(range(0, 1000000)), length(repeat('x', 1000000)), length(lpad('x', 1000, 'é')), \
                array_length(array_repeat('a', 1000)), replace('abab', 'b', 'xyz'), \
                array_length(generate_series(DATE '2026-01-01', DATE '2026-12-31', INTERVAL '1 day'))";
    assert_eq!(lab.rows(fine).await, ["1000000|1000000|1000|1000|axyzaxyz|365"]);
    assert_eq!(lab.rows("SELECT count(*) FROM generate_series(1, 3000000)").await, ["3000000"]);
}
