//! EXPLAIN REFRESH and VERIFY: rows of the plug, on a lake that this process may not write.

use std::sync::Arc;

use adlake::base::{Clock, Tasks};
use adlake::catalog::{Catalog, CopyInto, Maintain, Refresh, Replay};
use adlake::config;
use adlake::query::{
    CommandContext, CommandError, Commands, Engine, EngineParts, Outcome, Request, StatementKind, SystemState,
    VERIFIED_SIDE, ViewRow, WriteReport, explained,
};
use adlake::storage::{Lake, LakeLocation, TableVersion};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use crate::lab::{Lab, NOW};

/// Knows two statements. VERIFY answers its bounds, in other types than the view's.
struct Inspector;

#[async_trait]
impl Commands for Inspector {
    async fn explain_refresh(&self, view: &str, _context: CommandContext) -> Result<RecordBatch, CommandError> {
        explained(vec![("strategy", "full".to_owned()), ("view", view.to_owned())])
    }

    async fn verify(
        &self,
        view: &str,
        range: Option<(String, String)>,
        _context: CommandContext,
    ) -> Result<RecordBatch, CommandError> {
        let (from, to) = range.unwrap_or_default();
        let sides: ArrayRef = Arc::new(StringArray::from(vec!["view", "query"]));
        let a: ArrayRef = Arc::new(StringArray::from(vec![from, to]));
        let n: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2]));
        let last = if view == "wrong" { "m" } else { "n" };
        Ok(RecordBatch::try_from_iter([(VERIFIED_SIDE, sides), ("a", a), (last, n)]).unwrap())
    }

    async fn insert(
        &self,
        _: &str,
        _: SendableRecordBatchStream,
        _: CommandContext,
    ) -> Result<WriteReport, CommandError> {
        unreachable!()
    }

    async fn copy_into(&self, _: CopyInto, _: CommandContext) -> Result<RecordBatch, CommandError> {
        unreachable!()
    }

    async fn replay(&self, _: Replay, _: CommandContext) -> Result<WriteReport, CommandError> {
        unreachable!()
    }

    async fn refresh(&self, _: Refresh, _: CommandContext) -> Result<u64, CommandError> {
        unreachable!("the lake is read only")
    }

    async fn maintain(&self, _: Maintain, _: CommandContext) -> Result<(RecordBatch, String), CommandError> {
        unreachable!()
    }
}

#[async_trait::async_trait]
impl SystemState for Inspector {
    fn ingest(&self) -> Vec<adlake::query::IngestRow> {
        Vec::new()
    }

    async fn views(&self) -> Vec<ViewRow> {
        let view = ViewRow { view: "m".to_owned(), absorbed_version: Some(TableVersion(7)), ..ViewRow::default() };
        vec![ViewRow { last_refresh_at: Some(NOW), last_error: Some("no".to_owned()), ..view }]
    }

    fn listeners(&self) -> Vec<adlake::query::ListenerRow> {
        Vec::new()
    }
}

/// The lake of a lab, read by another process.
async fn reader(lab: &Lab) -> Engine {
    let config = config::load(None, &[], &crate::place::settings(lab.folder.path())).unwrap().config;
    let location: LakeLocation = crate::place::location(lab.folder.path()).parse().unwrap();
    let clock = Clock::manual(NOW);
    let lake = Lake::open_read_only(&location, &config.storage, clock.clone(), "elsewhere:1").await.unwrap();
    let catalog = Catalog::open(&lake, clock.clone()).await.unwrap();
    let tasks = Tasks::new();
    let parts = EngineParts { lake, catalog, config: config.query, settings: Vec::new(), clock, tasks };
    let engine = Engine::start(parts).await.unwrap();
    engine.plug(Arc::new(Inspector));
    engine.plug_state(Arc::new(Inspector));
    engine
}

/// The rows of a statement, whose columns are those that were announced.
async fn told(engine: &Engine, lab: &Lab, sql: &str) -> Result<String, String> {
    let prepared = engine.prepare(sql, &lab.session).await.map_err(|error| error.to_string())?;
    assert_eq!((prepared.kind, prepared.parameters.fields().len()), (StatementKind::Query, 0));
    let answer = engine.execute(Request::new(sql, &lab.session)).await.map_err(|error| error.to_string())?;
    assert_eq!(answer.schema, prepared.schema);
    let Outcome::Rows(rows) = answer.outcome else { panic!("no rows") };
    let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    assert!(rows.iter().all(|batch| batch.schema() == prepared.schema));
    Ok(pretty_format_batches(&rows).unwrap().to_string())
}

async fn lab() -> Lab {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a VARCHAR, b BIGINT)").await;
    for view in ["m", "wrong"] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh='manual') AS SELECT a, count(*) AS n FROM t GROUP BY a"
        );
        lab.run(&sql).await;
    }
    lab
}

#[tokio::test]
async fn they_run_where_the_lake_is_read_only() {
    let lab = lab().await;
    let engine = reader(&lab).await;
    let explained = told(&engine, &lab, "EXPLAIN REFRESH m").await.unwrap();
    assert!(explained.contains("| strategy | full  |"), "{explained}");
    let verified = told(&engine, &lab, "VERIFY MATERIALIZED VIEW m BETWEEN '1' AND now()").await.unwrap();
    assert!(verified.contains("| side  | a     | n |") && verified.contains("| query | now() | 2 |"), "{verified}");
    let request = Request::new("REFRESH MATERIALIZED VIEW m", &lab.session);
    let refused = engine.execute(request).await.err().unwrap().to_string();
    assert!(refused.contains("elsewhere:1"), "{refused}");
}

#[tokio::test]
async fn answers_of_another_shape_are_errors() {
    let lab = lab().await;
    let engine = reader(&lab).await;
    let error = told(&engine, &lab, "VERIFY MATERIALIZED VIEW wrong").await.unwrap_err();
    assert_eq!(error, "internal error: columns side, a, m were answered instead of side, a, n");
    let error = told(&engine, &lab, "VERIFY MATERIALIZED VIEW t").await.unwrap_err();
    assert_eq!(error, "materialized view 't' not found; it is a table");
    let error = told(&engine, &lab, "EXPLAIN REFRESH wrng").await.unwrap_err();
    assert_eq!(error, "materialized view 'wrng' not found; did you mean 'wrong'?");
}

#[tokio::test]
async fn views_are_shown() {
    let lab = lab().await;
    let engine = reader(&lab).await;
    let sql = "SELECT view_name, absorbed_version, source_version, stored_rows, last_refresh_at IS NULL AS never, last_error \
               FROM system.views";
    let shown = told(&engine, &lab, sql).await.unwrap();
    assert!(
        shown.contains("| m         | 7                |                | 0           | false | no         |"),
        "{shown}"
    );
}
