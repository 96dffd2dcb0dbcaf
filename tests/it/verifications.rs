//! `verify='…%'`: answers from materialized views, computed again from the table and compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use adlake::storage::{CommitMode, CommitRequest, InputOrder, WriteOptions};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use crate::process::Process;

const FACTS: &str = "CREATE TABLE facts (k VARCHAR, n BIGINT)";
const VIEW: &str = "SELECT k, count(*) AS rows, sum(n) AS total FROM facts GROUP BY k";

async fn lake(folder: &tempfile::TempDir, verify: &str) -> Process {
    let lake = Process::over(folder, &[]).await;
    lake.run(FACTS).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual'{verify}) AS {VIEW}")).await;
    lake.run("INSERT INTO facts SELECT 'k' || (value % 10), value FROM generate_series(0, 999)").await;
    lake.run("REFRESH MATERIALIZED VIEW v").await;
    lake
}

/// What became of the checks: outcome, rows alike, rows that differ.
async fn verified(lake: &Process) -> Vec<String> {
    lake.app.engine.verified().await;
    lake.run("SELECT view_name, outcome, groups_equal, rows_differing FROM system.verifications ORDER BY query_id")
        .await
}

/// Makes a stored group one row too many.
async fn plant(lake: &Process, key: &str) {
    let path = lake.app.catalog.snapshot().relation("v").unwrap().table_path.clone().unwrap();
    let table = lake.app.lake.open_table(&path).await.unwrap();
    let stored = table.refresh().await.unwrap();
    let task = lake.app.engine.task_context();
    let context =
        datafusion::prelude::SessionContext::new_with_config_rt(task.session_config().clone(), task.runtime_env());
    let frame = context.read_table(stored.provider()).unwrap();
    let own = datafusion::prelude::col("k").eq(datafusion::prelude::lit(key));
    let rows = frame.filter(own).unwrap().limit(0, Some(1)).unwrap().collect().await.unwrap();
    let row = rows.into_iter().find(|batch| batch.num_rows() == 1).unwrap();
    // The number of rows is the only BIGINT that is stored; the total is a DECIMAL.
    let more = |column: &ArrayRef| -> ArrayRef {
        match column.as_primitive_opt::<Int64Type>() {
            Some(_) => Arc::new(Int64Array::from(vec![1])),
            None => column.clone(),
        }
    };
    let columns = row.columns().iter().map(more).collect();
    let row = RecordBatch::try_new(row.schema(), columns).unwrap();
    let rows = RecordBatchStreamAdapter::new(row.schema(), futures::stream::iter([Ok(row)]));
    let options = WriteOptions { order: InputOrder::Unsorted, context: task };
    let files = table.write_files(Box::pin(rows), options).await.unwrap();
    let request = CommitRequest {
        files,
        mode: CommitMode::Append,
        transactions: Vec::new(),
        fence: None,
        expected: None,
        operation: "TEST",
        info: BTreeMap::new(),
    };
    table.commit(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_stored_row_is_found_by_the_query_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder, ", verify='100%'").await;
    let ask = "SELECT k, sum(n) AS total, count(*) FROM facts GROUP BY k ORDER BY 2 DESC LIMIT 3";
    lake.run(ask).await;
    assert_eq!(verified(&lake).await, ["v|equal|10|0"]);
    // What is not absorbed is part of both.
    lake.run("INSERT INTO facts VALUES ('new', 1), (NULL, NULL)").await;
    lake.run(ask).await;
    assert_eq!(verified(&lake).await.last().unwrap(), "v|equal|12|0");
    plant(&lake, "k3").await;
    lake.run(ask).await;
    assert_eq!(verified(&lake).await.len(), 3);
    let found = "SELECT rows_differing, groups_equal, sql FROM system.verifications WHERE outcome = 'different'";
    let listed = lake.run(found).await;
    assert_eq!(listed, [format!("2|11|{ask}")]);
    let sample = lake.run("SELECT sample FROM system.verifications WHERE outcome = 'different'").await;
    let mut sample: Vec<serde_json::Value> = serde_json::from_str(&sample[0]).unwrap();
    sample.sort_by_key(|row| row["side"].to_string());
    let row = |side: &str, total: u64, rows: u64| serde_json::json!({"side": side, "k": "k3", "sum(facts.n)": total, "count(Int64(1))": rows});
    assert_eq!(sample, [row("table", 49_800, 100), row("view", 99_600, 101)]);
    // The table finds what VERIFY finds, and keeps it.
    assert_eq!(lake.run("SELECT count(*) FROM v").await, ["12"]);
    assert_eq!(lake.run("VERIFY MATERIALIZED VIEW v").await.len(), 2);
    let another = Process::over(&folder, &[]).await;
    assert_eq!(another.run(found).await, listed, "differences are the lake's");
    lake.run("REFRESH MATERIALIZED VIEW v FULL").await;
    lake.run(ask).await;
    assert_eq!(verified(&lake).await.last().unwrap(), "v|equal|12|0");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_answers_from_views_that_ask_for_it_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder, "").await;
    let ask = "SELECT sum(n) FROM facts WHERE k = 'k1'";
    lake.run(ask).await;
    lake.run("SELECT * FROM v").await;
    assert!(verified(&lake).await.is_empty(), "verify is not set");
    lake.run("ALTER MATERIALIZED VIEW v SET (verify='100%')").await;
    lake.run("SELECT max(n) FROM facts WHERE k = 'k1'").await;
    assert!(verified(&lake).await.is_empty(), "the table answers");
    lake.run(&format!("EXPLAIN {ask}")).await;
    assert!(verified(&lake).await.is_empty(), "nothing was answered");
    lake.run(ask).await;
    assert_eq!(verified(&lake).await, ["v|equal|1|0"]);
    // Rows that may be older have no version of the table left to be compared with.
    lake.run("SET adlake.max_staleness = '1 hour'").await;
    lake.run("INSERT INTO facts VALUES ('k1', 1)").await;
    lake.run(ask).await;
    assert_eq!(verified(&lake).await.len(), 1);
}

/// Checks wait in a bounded queue; those beyond it are let go, and queries never wait.
#[tokio::test(flavor = "multi_thread")]
async fn checks_beyond_the_queue_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let own = [("query.verify_waiting", "2"), ("query.concurrent", "2")];
    lake(&folder, ", verify='100%'").await;
    let lake = Process::over(&folder, &own).await;
    // One of two turns is taken: enough are left for queries, not for checks.
    let held = lake.answer(&lake.session, "SELECT * FROM generate_series(0, 100000000)").await.unwrap();
    for _ in 0..5 {
        lake.run("SELECT k, sum(n) FROM facts GROUP BY k").await;
    }
    assert!(lake.run("SELECT * FROM system.verifications").await.is_empty());
    drop(held);
    assert_eq!(verified(&lake).await, ["v|equal|10|0", "v|equal|10|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_computed_again_is_said() {
    let folder = tempfile::tempdir().unwrap();
    lake(&folder, ", verify='100%'").await;
    let lake = Process::over(&folder, &[("query.verify_timeout", "0 s")]).await;
    let rows = lake.answer(&lake.session, "SELECT k, sum(n) FROM facts GROUP BY k").await.unwrap();
    let adlake::query::Outcome::Rows(rows) = rows.outcome else { panic!("no rows") };
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    lake.app.engine.verified().await;
    let failed = lake.run("SELECT outcome, error FROM system.verifications").await;
    assert!(failed[0].starts_with("failed|") && failed[0].contains("0 seconds"), "{failed:?}");
}

/// Dimensions are read again for either answer: by whom the statement ran, and only where they are the same each time.
#[tokio::test(flavor = "multi_thread")]
async fn dimensions_are_those_of_the_statement() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder, ", verify='100%'").await;
    lake.run("CREATE TABLE owners (k VARCHAR, owner VARCHAR)").await;
    lake.run("INSERT INTO owners VALUES ('k1', 'test'), ('k2', 'test'), ('k3', 'another')").await;
    let query =
        |owners: &str| format!("SELECT o.k, sum(f.n) FROM facts AS f JOIN ({owners}) AS o ON f.k = o.k GROUP BY o.k");
    let own = query("SELECT k FROM owners WHERE owner = current_user()");
    assert!(lake.scans(&own).await.contains(&"rollup.v".to_owned()));
    assert_eq!(lake.run(&own).await.len(), 2);
    assert_eq!(verified(&lake).await, ["v|equal|2|0"], "not nothing with nothing");
    for by_chance in [
        "SELECT k FROM owners WHERE random() < 0.5",
        "SELECT k FROM owners LIMIT 2",
        "SELECT k FROM (SELECT k, row_number() OVER (ORDER BY owner) AS n FROM owners) AS r WHERE n = 2",
    ] {
        lake.run(&query(by_chance)).await;
        assert_eq!(verified(&lake).await.len(), 1, "{by_chance}");
    }
}
