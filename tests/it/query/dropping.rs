//! Statements that read a table which is dropped or replaced meanwhile read on.

use std::time::Duration;

use adlake::catalog::{Statement, parse_statement};
use adlake::query::{Answer, Outcome};
use futures::TryStreamExt;

use crate::lab::{Lab, NOW};
use crate::process::Process;

const FILES: usize = 60;

/// A table of many files.
async fn lab() -> Lab {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    fill(&lab).await;
    lab
}

async fn fill(lab: &Lab) {
    for file in 0..FILES {
        lab.run(&format!("INSERT INTO t SELECT {file} FROM generate_series(1, 1000)")).await;
    }
}

/// How many rows of `t` a statement reads that has begun when `change` takes place.
async fn rows_around<F: Future<Output = ()>>(lab: &Lab, change: F) -> usize {
    let answer = lab.engine.execute(lab.request("SELECT a FROM t")).await.unwrap();
    let Answer { outcome: Outcome::Rows(mut rows), .. } = answer else { panic!("no rows") };
    let first = rows.try_next().await.unwrap().unwrap();
    change.await;
    let rest: Vec<_> = rows.try_collect().await.unwrap();
    first.num_rows() + rest.iter().map(|batch| batch.num_rows()).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_table_are_read_to_their_end_after_it_is_gone() {
    let lab = lab().await;
    let create = "CREATE TABLE t (a BIGINT)";
    let replace = async {
        let Statement::Create(create) = parse_statement(create).unwrap() else { panic!("no CREATE") };
        let beside = lab.engine.make_beside(*create).await.unwrap();
        lab.engine.replace_table(&beside).await.unwrap();
    };
    assert_eq!(Box::pin(rows_around(&lab, replace)).await, FILES * 1000);
    lab.run("DROP TABLE t").await;
    lab.run(create).await;
    fill(&lab).await;
    let drop = async {
        lab.run("DROP TABLE t").await;
    };
    assert_eq!(Box::pin(rows_around(&lab, drop)).await, FILES * 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_dropped_tables_go_in_the_end_and_never_those_of_their_successors() {
    let lab = Lab::open().await;
    let files = crate::place::files(lab.folder.path());
    let folder = files.join("tables");
    let grace = Duration::from_secs(3600);
    let sweep = async |later: Duration, named: &[&str]| {
        let named = named.iter().copied().collect();
        lab.lake.sweep(grace.saturating_sub(later), &named).await.unwrap();
    };
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("INSERT INTO t VALUES (1)").await;
    lab.run("DROP TABLE t").await;
    // One without rows leaves no data files, and its name is taken all the same.
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("DROP TABLE t").await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("INSERT INTO t VALUES (3)").await;
    let path = lab.catalog.snapshot().relation("t").unwrap().table_path.clone().unwrap();
    assert_eq!(path, "t.3");
    sweep(Duration::ZERO, &[]).await;
    assert!(folder.join("t").exists(), "statements may read it until {NOW:?} and an hour");
    let log = std::fs::read_dir(folder.join("t/_delta_log")).map_or(0, |entries| entries.count());
    assert_eq!(log, 0, "nobody opens it");
    sweep(grace, &["t"]).await;
    assert!(folder.join("t").exists(), "the catalog names it");
    sweep(grace, &[]).await;
    assert!(!folder.join("t").exists() && !folder.join("t.2").exists());
    assert_eq!(std::fs::read_dir(files.join("dropped")).map_or(0, |notes| notes.count()), 0);
    assert_eq!(lab.rows("SELECT a FROM t").await, ["3"]);
    lab.run("CREATE TABLE u (a BIGINT)").await;
    lab.run("DROP TABLE t").await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    assert_eq!(
        lab.catalog.snapshot().relation("t").unwrap().table_path.as_deref(),
        Some("t"),
        "its first name is free"
    );
}

/// As one that another process drops after this one has read the catalog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_opened_answers_nothing() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (k BIGINT, n BIGINT)").await;
    lab.run("INSERT INTO t SELECT value % 2, 1 FROM generate_series(1, 100)").await;
    lab.run("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS SELECT k, sum(n) AS total FROM t GROUP BY k").await;
    lab.run("REFRESH MATERIALIZED VIEW v").await;
    let query = "SELECT k, sum(n) FROM t GROUP BY k ORDER BY k";
    assert!(lab.rows(&format!("EXPLAIN {query}")).await.join(" ").contains("rollup.v"));
    let path = lab.catalog.snapshot().relation("v").unwrap().table_path.clone().unwrap();
    lab.lake.delete_table(&path).await.unwrap();
    assert_eq!(lab.rows(query).await, ["0|50", "1|50"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_stands_for_the_new_table_also_where_only_the_old_one_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let here = Process::over(&folder, &[]).await;
    here.run("CREATE TABLE t (a BIGINT)").await;
    here.run("INSERT INTO t VALUES (1)").await;
    let there = Process::over(&folder, &[]).await;
    here.run("DROP TABLE t").await;
    here.run("CREATE TABLE t (a BIGINT)").await;
    here.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(there.run("SELECT a FROM t").await, ["2"]);
}
