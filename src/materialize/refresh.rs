//! REFRESH MATERIALIZED VIEW: one refresh at a time per view in this process, by the view's strategy.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::absorb::{Extent, ViewAt, absorb};
use super::full::WholeView;
use super::last_refresh::LastRefreshes;
use super::range::times_between;
use super::restated::RestatementLog;
use super::states::States;
use super::{MaterializeError, full, partition};
use crate::base::{Clock, Stopwatch, chain};
use crate::catalog::{Catalog, Definition, RefreshScope};
use crate::query::Engine;
use crate::rollup::{Design, Strategy};
use crate::storage::{Lake, Table, TableVersion};
use crate::telemetry::metrics;

/// Refreshes that were overtaken by another one are run again this often.
const ATTEMPTS: u32 = 3;

/// What a refresh needs.
pub struct RefreshParts {
    pub engine: Engine,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub clock: Clock,
    /// See [`MaterializeConfig::slice_rows`](super::MaterializeConfig::slice_rows).
    pub slice_rows: u64,
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshReport {
    /// Rows written.
    pub rows: u64,
    /// Rows of the source that were worked through; of a full view, all rows of its sources.
    pub source_rows: u64,
    pub version: TableVersion,
}

/// Runs refreshes. Cheap to clone.
#[derive(Clone)]
pub struct Refresher(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) parts: RefreshParts,
    pub(super) states: States,
    pub(super) last_refreshes: LastRefreshes,
    restatements: RestatementLog,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Refresher {
    pub fn new(parts: RefreshParts) -> Self {
        let restatements = RestatementLog::new(parts.lake.clone());
        let (states, last_refreshes, turns) = Default::default();
        Self(Arc::new(Inner { parts, states, last_refreshes, restatements, turns }))
    }

    /// Brings `view` to the present state of its sources. When this returns, every later read sees the new rows.
    ///
    /// # Errors
    /// Not a materialized view; a query that fails; cancelled. In every case the stored rows are those before.
    pub async fn refresh(
        &self,
        view: &str,
        scope: &RefreshScope,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<RefreshReport, MaterializeError> {
        let turn = self.0.turns.lock().entry(view.to_owned()).or_default().clone();
        let _turn = turn.lock().await;
        let stopwatch = Stopwatch::start();
        let mut outcome = Err(MaterializeError::Overtaken);
        for _ in 0..ATTEMPTS {
            outcome = Box::pin(self.attempt(view, scope, &task, &cancel)).await;
            if !matches!(outcome, Err(MaterializeError::Overtaken)) {
                break;
            }
        }
        let outcome = outcome.map_err(|error| match error {
            MaterializeError::Overtaken => MaterializeError::Contended { view: view.to_owned(), attempts: ATTEMPTS },
            other => other,
        });
        Box::pin(self.carry_restatements(view, &task)).await;
        let elapsed = stopwatch.elapsed();
        self.0.states.refreshed(view, &outcome, self.0.parts.clock.now(), elapsed);
        if let Ok(report) = &outcome {
            let RefreshReport { rows, source_rows, version } = report;
            tracing::debug!(view, rows, source_rows, %version, elapsed_ms = elapsed.as_millis(), "refreshed");
            let labels = [("view", view)];
            metrics().observe_seconds("refresh_seconds", "Time of one refresh", &labels, elapsed.as_secs_f64());
        }
        outcome
    }

    /// What refreshes have restated and not yet copied to the table of restatements, as rows of `system.restatements`.
    ///
    /// # Errors
    /// Storage trouble.
    pub async fn uncarried_restatements(&self) -> Result<RecordBatch, MaterializeError> {
        self.0.restatements.uncarried(&self.0.parts.catalog.snapshot()).await
    }

    /// What a refresh has restated is in the view's log; from there it is copied to where it is kept.
    async fn carry_restatements(&self, view: &str, task: &Arc<TaskContext>) {
        let RefreshParts { lake, catalog, .. } = &self.0.parts;
        let Ok(object) = catalog.snapshot().relation(view).cloned() else { return };
        let Some(path) = &object.table_path else { return };
        let carried = async {
            let table = lake.open_table(path).await?;
            self.0.restatements.carry(view, &table, task).await
        };
        if let Err(error) = carried.await {
            // Readers find it in the log until the next refresh has copied it.
            tracing::warn!(view, error = %chain(&error), "restatements not copied yet");
        }
    }

    async fn attempt(
        &self,
        view: &str,
        scope: &RefreshScope,
        task: &Arc<TaskContext>,
        cancel: &CancellationToken,
    ) -> Result<RefreshReport, MaterializeError> {
        let RefreshParts { engine, lake, catalog, .. } = &self.0.parts;
        let object = catalog.snapshot().relation(view)?.clone();
        let (Definition::MaterializedView(definition), Some(path)) = (&object.definition, &object.table_path) else {
            return Err(MaterializeError::NotMaterialized { name: view.to_owned(), kind: object.kind.to_string() });
        };
        let table = lake.open_table(path).await?;
        let decision = engine.view_decision(view)?;
        match &decision.strategy {
            Strategy::Full(_) if matches!(scope, RefreshScope::Between(..)) => {
                Err(MaterializeError::NoTimeKey { view: view.to_owned() })
            }
            Strategy::Full(windows) => {
                let (query, last_refreshes) = (definition.query.as_str(), &self.0.last_refreshes);
                let whole = WholeView { name: view, query, windows: windows.as_ref().ok(), last_refreshes };
                full::replace(&self.0.parts, &whole, &table, task, cancel).await
            }
            Strategy::Partition(_) => {
                let extent = self.extent(view, scope, cancel).await?;
                // Made anew otherwise a moment ago.
                let Some(run) = engine.partition_run(view).await? else { return Err(MaterializeError::Overtaken) };
                partition::refresh(&self.0.parts, (view, &run), &extent, task, cancel).await
            }
            Strategy::Incremental(design) => {
                let extent = self.extent(view, scope, cancel).await?;
                let (source, source_path) = self.source(view, design).await?;
                let at = ViewAt { name: view, design: design.clone(), table, source, source_path };
                absorb(&self.0.parts, &at, &extent, task, cancel).await
            }
        }
    }

    async fn extent(
        &self,
        view: &str,
        scope: &RefreshScope,
        cancel: &CancellationToken,
    ) -> Result<Extent, MaterializeError> {
        Ok(match scope {
            RefreshScope::Pending => Extent::Pending,
            RefreshScope::Full => Extent::Everything,
            RefreshScope::Between(from, to) => {
                self.time_key(view)?;
                Extent::And(times_between(&self.0.parts, (from, to), cancel).await?)
            }
        })
    }

    pub(super) async fn source(&self, view: &str, design: &Design) -> Result<(Arc<Table>, String), MaterializeError> {
        let source = &design.question.source;
        let object = self.0.parts.catalog.snapshot().relation(source)?.clone();
        let Some(path) = &object.table_path else {
            return Err(MaterializeError::NoSource { view: view.to_owned(), source_name: source.clone() });
        };
        Ok((self.0.parts.lake.open_table(path).await?, path.clone()))
    }
}
