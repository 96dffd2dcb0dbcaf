//! Definitions as plans: all or nothing, other processes, versions, what is left on disk.

use std::sync::Arc;

use adlake::base::{Clock, Tasks};
use adlake::catalog::{Catalog, Change, Create, Plan, Statement, parse_statement};
use adlake::query::{Engine, EngineParts};
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, NOW};
use futures::TryStreamExt;

fn create(sql: &str) -> Create {
    match parse_statement(sql) {
        Ok(Statement::Create(create)) => *create,
        other => panic!("not a CREATE: {sql}: {other:?}"),
    }
}

fn plan_of(lab: &Lab, texts: &[&str]) -> Plan {
    adlake::catalog::plan(&lab.catalog.snapshot(), texts.iter().map(|text| create(text)).collect()).unwrap()
}

/// Folders of tables on disk.
fn folders(lab: &Lab) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(crate::place::files(lab.folder.path()).join("tables")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_plan_is_made_whole() {
    let lab = Lab::open().await;
    let plan = plan_of(
        &lab,
        &[
            "CREATE VIEW v AS SELECT a FROM t",
            "CREATE TABLE t (a BIGINT)",
            "CREATE MATERIALIZED VIEW m WITH (refresh='manual') AS SELECT a, count(*) AS n FROM v GROUP BY a",
            "CREATE ENDPOINT e (a BIGINT) WITH (path='/v1/e/{a}') AS SELECT n FROM m WHERE a = $a",
        ],
    );
    lab.engine.apply(plan).await.unwrap();
    assert_eq!(lab.rows("SELECT name FROM system.objects ORDER BY name").await, ["e", "m", "t", "v"]);
    assert_eq!(folders(&lab), ["m", "t"]);
    assert!(plan_of(&lab, &["CREATE TABLE t (a BIGINT)"]).changes.is_empty());
}

#[tokio::test]
async fn a_plan_with_one_mistake_changes_nothing() {
    let lab = Lab::open().await;
    let plan = plan_of(
        &lab,
        &["CREATE TABLE t (a BIGINT)", "CREATE VIEW good AS SELECT a FROM t", "CREATE VIEW bad AS SELECT b FROM t"],
    );
    let error = lab.engine.apply(plan).await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 27: column 'b' not found; did you mean 'a'?");
    assert_eq!(lab.rows("SELECT name FROM system.objects").await, Vec::<String>::new());
    assert_eq!(folders(&lab), Vec::<String>::new());
}

#[tokio::test]
async fn a_plan_made_before_somebody_elses_change_is_refused() {
    let lab = Lab::open().await;
    let plan = plan_of(&lab, &["CREATE TABLE t (a BIGINT)"]);
    lab.run("CREATE TABLE t (b VARCHAR)").await;
    assert!(lab.engine.apply(plan).await.unwrap_err().to_string().contains("exists already"));
    lab.run("CREATE VIEW v AS SELECT b FROM t").await;
    let plan = plan_of(&lab, &["CREATE TABLE t (b VARCHAR)", "CREATE VIEW v AS SELECT b, 1 AS one FROM t"]);
    assert!(matches!(plan.changes.as_slice(), [Change::Replace { .. }]));
    lab.run("CREATE OR REPLACE VIEW v AS SELECT b, 2 AS two FROM t").await;
    let error = lab.engine.apply(plan).await.unwrap_err().to_string();
    assert_eq!(error, "catalog changed while this statement ran; run it again");
}

#[tokio::test]
async fn endpoints_are_proved() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE clicks (ad_id VARCHAR, country VARCHAR, at TIMESTAMP WITH TIME ZONE)").await;
    let endpoint = |body: &str| format!("CREATE ENDPOINT e (ad_id VARCHAR) WITH (path='/v1/x/{{ad_id}}') AS {body}");
    let error = lab.error(&endpoint("SELECT count(*) AS n FROM clicks WHERE ad = $ad_id")).await;
    assert!(error.starts_with("invalid_argument: line 1, column"), "{error}");
    assert!(error.contains("column 'ad' not found"), "{error}");
    let filtered = "CREATE ENDPOINT e (ad_id VARCHAR, since TIMESTAMP WITH TIME ZONE DEFAULT now() - INTERVAL '1 hour') \
                    WITH (path='/v1/x/{ad_id}', filters='country, device') AS \
                    SELECT count(*) AS n FROM clicks WHERE ad_id = $ad_id AND at >= $since AND adlake_filters()";
    let error = lab.error(filtered).await;
    assert!(error.contains("column 'device' not found"), "{error}");
    lab.run(&filtered.replace(", device", "")).await;
    let bad_default =
        filtered.replace(", device", "").replace("now() - INTERVAL '1 hour'", "nope()").replace(" e (", " f (");
    let error = lab.error(&bad_default.replace("/v1/x", "/v1/y")).await;
    assert!(error.contains("default of parameter 'since'") && error.contains("nope"), "{error}");
    let error = lab.error("DROP TABLE clicks").await;
    assert_eq!(error, "failed_precondition: cannot drop 'clicks': read by e; drop those first or use CASCADE");
}

#[tokio::test]
async fn dropped_tables_leave_no_files_in_the_end_and_names_are_free() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("INSERT INTO t VALUES (1)").await;
    lab.run("DROP TABLE t").await;
    lab.lake.sweep(std::time::Duration::ZERO, &std::collections::BTreeSet::new()).await.unwrap();
    assert_eq!(folders(&lab), Vec::<String>::new());
    lab.run("CREATE TABLE t (b VARCHAR)").await;
    assert_eq!(lab.rows("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn another_process_sees_definitions_at_once() {
    let lab = Lab::open().await;
    let clock = Clock::manual(NOW);
    let catalog = Catalog::open(&lab.lake, clock.clone()).await.unwrap();
    let config = adlake::config::load(None, &[], &[]).unwrap().config.query;
    let parts =
        EngineParts { lake: lab.lake.clone(), catalog, config, settings: Vec::new(), clock, tasks: Tasks::new() };
    let other = Engine::start(parts).await.unwrap();
    lab.run("CREATE TABLE fresh (a BIGINT)").await;
    let answer = other.execute(adlake::query::Request::new("SELECT * FROM fresh", &lab.session)).await;
    assert!(answer.is_ok());
}

#[tokio::test]
async fn one_statement_reads_one_version() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("CREATE VIEW v AS SELECT a FROM t").await;
    lab.run("INSERT INTO t VALUES (1)").await;
    let sql = "SELECT (SELECT count(*) FROM t) AS direct, (SELECT count(*) FROM v) AS through_view";
    let pinned = lab.engine.open_query(sql, CancellationToken::new()).await.unwrap();
    lab.run("INSERT INTO t VALUES (2)").await;
    let sources: Vec<_> = pinned.sources.iter().map(|(name, version)| (name.as_str(), version.0)).collect();
    assert_eq!(sources, [("t", 1)]);
    let rows: Vec<_> = pinned.stream.try_collect().await.unwrap();
    let counted = arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    assert!(counted.contains("| 1      | 1            |"), "{counted}");
    assert_eq!(lab.rows(sql).await, ["2|2"]);
}

#[tokio::test]
async fn a_statement_may_insert_from_its_own_table() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("INSERT INTO t VALUES (1), (2)").await;
    let answered = lab.run("INSERT INTO t SELECT a + 10 FROM t").await;
    assert_eq!(answered.affected, Some(2));
    assert_eq!(lab.rows("SELECT a FROM t ORDER BY a").await, ["1", "2", "11", "12"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_make_one() {
    let lab = Arc::new(Lab::open().await);
    let attempts = (0..8).map(|_| {
        let lab = lab.clone();
        async move { lab.try_run("CREATE TABLE one (a BIGINT)").await.is_ok() }
    });
    let made = futures::future::join_all(attempts).await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 1);
    assert_eq!(folders(&lab).len(), 1);
    lab.run("INSERT INTO one VALUES (1)").await;
}
