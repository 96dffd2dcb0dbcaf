//! The catalog over a real lake in a temporary folder; two `Catalog`s stand for two processes.

use super::*;
use crate::base::Timestamp;
use crate::catalog::testing::create;
use crate::storage::{test_config, test_lake};

struct Fixture {
    lake: Lake,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lake = test_lake(&dir, &test_config(), Clock::manual(Timestamp(0))).await;
        Self { lake, _dir: dir }
    }

    async fn catalog(&self) -> Arc<Catalog> {
        Catalog::open(&self.lake, Clock::manual(Timestamp(5))).await.unwrap()
    }
}

fn put(sql: &str) -> Edit {
    Edit::Put(Object::new(create(sql), None, Timestamp(5)))
}

async fn define(catalog: &Catalog, sql: &str) -> Result<Arc<CatalogSnapshot>, CatalogError> {
    catalog.edit(|_| Ok(vec![put(sql)])).await
}

fn names(snapshot: &CatalogSnapshot) -> String {
    snapshot.all().map(|object| object.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn definitions_survive_and_reach_other_processes() {
    let fixture = Fixture::new().await;
    let (here, there) = (fixture.catalog().await, fixture.catalog().await);
    define(&here, "CREATE TABLE t (a INT)").await.unwrap();
    define(&here, "CREATE VIEW v AS SELECT a FROM t").await.unwrap();
    assert_eq!(names(&there.snapshot()), "");
    assert_eq!(names(&there.refresh().await.unwrap()), "t v");
    let reopened = fixture.catalog().await.snapshot();
    assert_eq!((names(&reopened), reopened.version), ("t v".to_owned(), CatalogVersion(2)));
    assert_eq!(reopened.relation("v").unwrap().created_at, Timestamp(5));
}

#[tokio::test]
async fn edits_of_many_writers_are_all_kept() {
    let fixture = Fixture::new().await;
    let catalogs = [fixture.catalog().await, fixture.catalog().await, fixture.catalog().await];
    let work = (0..12).map(|n| {
        let catalog = catalogs[n % 3].clone();
        async move { define(&catalog, &format!("CREATE TABLE t{n} (a INT)")).await.map(|_| ()) }
    });
    for outcome in futures::future::join_all(work).await {
        outcome.unwrap();
    }
    let newest = catalogs[0].refresh().await.unwrap();
    assert_eq!((newest.relations.len(), newest.version), (12, CatalogVersion(12)));
}

#[tokio::test]
async fn an_edit_that_would_break_the_whole_changes_nothing() {
    let fixture = Fixture::new().await;
    let catalog = fixture.catalog().await;
    define(&catalog, "CREATE VIEW a AS SELECT 1 AS x").await.unwrap();
    define(&catalog, "CREATE VIEW b AS SELECT * FROM a").await.unwrap();
    let text = |outcome: Result<Arc<CatalogSnapshot>, CatalogError>| outcome.unwrap_err().to_string();
    assert_eq!(
        text(define(&catalog, "CREATE VIEW a AS SELECT * FROM b").await),
        "definitions form a cycle: a -> b -> a"
    );
    assert_eq!(
        text(define(&catalog, "CREATE VIEW c AS SELECT * FROM bb").await),
        "table or view 'bb' not found; did you mean 'b'?"
    );
    define(&catalog, "CREATE ENDPOINT e (x INT) WITH (path='/v1/e/{x}') AS SELECT $x").await.unwrap();
    assert_eq!(
        text(define(&catalog, "CREATE ENDPOINT f (y INT) WITH (path='/v1/e/{y}') AS SELECT $y").await),
        "endpoints 'e' and 'f' have the same path '/v1/e/{y}'"
    );
    let snapshot = catalog.refresh().await.unwrap();
    assert_eq!((names(&snapshot), snapshot.version), ("a b e".to_owned(), CatalogVersion(3)));
}

#[tokio::test]
async fn removal_needs_the_right_kind() {
    let fixture = Fixture::new().await;
    let catalog = fixture.catalog().await;
    define(&catalog, "CREATE TABLE t (a INT)").await.unwrap();
    let wrong = catalog.edit(|_| Ok(vec![Edit::Remove(ObjectKind::View, "t".to_owned())])).await.unwrap_err();
    assert_eq!(wrong.to_string(), "view 't' not found; it is a table");
    let gone = catalog.edit(|_| Ok(vec![Edit::Remove(ObjectKind::Table, "t".to_owned())])).await.unwrap();
    assert_eq!(names(&gone), "");
    let idle = catalog.edit(|_| Ok(Vec::new())).await.unwrap();
    assert_eq!(idle.version, gone.version);
}
