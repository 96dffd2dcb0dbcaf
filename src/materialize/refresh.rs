//! REFRESH by the full strategy: run the view's query at one pinned set of source versions, replace the stored rows in one commit.
//!
//! ```text
//! pin sources → stream query → staged Parquet files (invisible) → one Delta commit: remove all old, add all new
//! ```
//! Invariants: MV-1 (a reader sees the version before or after, never between: the swap is one commit), RUN-1 (killed
//! before the commit nothing has changed, killed after it the refresh is done; `expected` refuses to overwrite the result
//! of a refresh that finished meanwhile, possibly from newer sources).
//! Not here: incremental and partition strategies, scheduling.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::Stopwatch;
use crate::catalog::{Catalog, Definition};
use crate::query::{Engine, PinnedQuery};
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, InputOrder, Lake, StorageError, Table, TableVersion, WriteOptions,
};
use crate::telemetry::metrics;

use super::MaterializeError;

/// Refreshes that lost against another one are run again this often.
const ATTEMPTS: u32 = 3;

/// What a refresh needs.
pub struct RefreshParts {
    pub engine: Engine,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshReport {
    pub rows: u64,
    pub version: TableVersion,
}

/// Runs refreshes; one at a time per view in this process. Cheap to clone.
#[derive(Clone)]
pub struct Refresher(Arc<Inner>);

struct Inner {
    parts: RefreshParts,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Refresher {
    pub fn new(parts: RefreshParts) -> Self {
        Self(Arc::new(Inner { parts, turns: Mutex::default() }))
    }

    /// Brings `view` to the present state of its sources. When this returns, every later read sees the new rows.
    ///
    /// # Errors
    /// Not a materialized view; a query that fails; cancelled. In every case the stored rows are those before.
    pub async fn refresh(
        &self,
        view: &str,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<RefreshReport, MaterializeError> {
        let turn = self.0.turns.lock().entry(view.to_owned()).or_default().clone();
        let _turn = turn.lock().await;
        let stopwatch = Stopwatch::start();
        for attempt in 1..=ATTEMPTS {
            match self.attempt(view, &task, &cancel).await {
                Err(MaterializeError::Storage(StorageError::VersionMoved { .. })) if attempt < ATTEMPTS => {}
                Err(MaterializeError::Storage(StorageError::VersionMoved { .. })) => break,
                Ok(report) => {
                    let elapsed = stopwatch.elapsed();
                    tracing::info!(view, rows = report.rows, version = %report.version, elapsed_ms = elapsed.as_millis(), "refreshed");
                    metrics().observe_seconds(
                        "refresh_seconds",
                        "Time of one refresh",
                        &[("view", view)],
                        elapsed.as_secs_f64(),
                    );
                    return Ok(report);
                }
                Err(other) => return Err(other),
            }
        }
        Err(MaterializeError::Contended { view: view.to_owned(), attempts: ATTEMPTS })
    }

    async fn attempt(
        &self,
        view: &str,
        task: &Arc<TaskContext>,
        cancel: &CancellationToken,
    ) -> Result<RefreshReport, MaterializeError> {
        let RefreshParts { engine, lake, catalog } = &self.0.parts;
        let object = catalog.snapshot().relation(view)?.clone();
        let (Definition::MaterializedView(definition), Some(path)) = (&object.definition, &object.table_path) else {
            return Err(MaterializeError::NotMaterialized { name: view.to_owned(), kind: object.kind.to_string() });
        };
        let table = lake.open_table(path).await?;
        let before = table.refresh().await?;
        let pinned = engine.open_query(&definition.query, cancel.clone()).await?;
        let PinnedQuery { stream, sources, .. } = pinned;
        let rows = conform(view, stream, before.columns(), cancel.clone())?;
        let options = WriteOptions { order: InputOrder::Unsorted, context: task.clone() };
        let files = match table.write_files(rows, options).await {
            Err(_) if cancel.is_cancelled() => return Err(MaterializeError::Cancelled { view: view.to_owned() }),
            other => other?,
        };
        let row_count = files.iter().map(|file| file.rows).sum();
        let request = CommitRequest {
            files,
            mode: CommitMode::Replace,
            transactions: Vec::new(),
            fence: None,
            expected: Some(before.version()),
            operation: "REFRESH",
            info: refresh_info(&sources, row_count),
        };
        let version = commit(&table, request).await?;
        Ok(RefreshReport { rows: row_count, version })
    }
}

async fn commit(table: &Table, request: CommitRequest) -> Result<TableVersion, MaterializeError> {
    let staged = request.files.clone();
    match table.commit(request).await {
        Ok(CommitOutcome::Committed(version) | CommitOutcome::AlreadyCommitted(version)) => Ok(version),
        Err(error) => {
            if matches!(error, StorageError::VersionMoved { .. }) {
                table.discard(staged).await;
            }
            Err(error.into())
        }
    }
}

/// The source versions the stored rows are true for, kept in the commit.
fn refresh_info(sources: &[(String, TableVersion)], rows: u64) -> BTreeMap<String, serde_json::Value> {
    let versions: serde_json::Map<String, serde_json::Value> =
        sources.iter().map(|(name, version)| (name.clone(), version.0.into())).collect();
    BTreeMap::from([("sources".to_owned(), versions.into()), ("rows".to_owned(), rows.into())])
}

/// The query's rows in the stored column types (such as view strings to plain ones), ending in an error once cancelled.
fn conform(
    view: &str,
    rows: SendableRecordBatchStream,
    stored: SchemaRef,
    cancel: CancellationToken,
) -> Result<SendableRecordBatchStream, MaterializeError> {
    let found = rows.schema();
    for (field, wanted) in found.fields().iter().zip(stored.fields()) {
        if field.name() != wanted.name() || !arrow::compute::can_cast_types(field.data_type(), wanted.data_type()) {
            return Err(changed(view, field.name(), &field.data_type().to_string(), &wanted.to_string()));
        }
    }
    if found.fields().len() != stored.fields().len() {
        let counts = (format!("one of {} columns", found.fields().len()), format!("one of {}", stored.fields().len()));
        return Err(changed(view, "*", &counts.0, &counts.1));
    }
    let schema = stored.clone();
    let batches = rows.map(move |batch| {
        if cancel.is_cancelled() {
            return Err(DataFusionError::Execution("refresh was cancelled".to_owned()));
        }
        conform_batch(&batch?, &stored)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
}

fn changed(view: &str, column: &str, found: &str, stored: &str) -> MaterializeError {
    MaterializeError::SchemaChanged {
        view: view.to_owned(),
        column: column.to_owned(),
        found: found.to_owned(),
        stored: stored.to_owned(),
    }
}

fn conform_batch(batch: &RecordBatch, stored: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(stored.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(stored.clone(), columns)?)
}
