//! REFRESH by the full strategy: run the view's query at one pinned set of source versions, replace the stored rows in one commit.
//!
//! ```text
//! pin sources → stream query → staged Parquet files (invisible) → one Delta commit: remove all old, add all new
//! ```
//! Invariants: MV-1 (a reader sees the version before or after, never between: the swap is one commit), RUN-1 (killed
//! before the commit nothing has changed, killed after it the refresh is done; `expected` refuses to overwrite the result
//! of a refresh that finished meanwhile, possibly from newer sources).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::absorb::rebuilding;
use super::last_refresh::REFRESH;
use super::rows::{conform, write};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::query::{MadeOf, PinnedQuery, as_of};
use crate::storage::{CommitMode, CommitOutcome, CommitRequest, StorageError, Table, TableVersion};

/// Puts the present answer of `query` in place of the stored rows.
///
/// # Errors
/// A query that fails, storage trouble, cancelled: nothing has changed.
pub(super) async fn replace(
    parts: &RefreshParts,
    (view, query): (&str, &str),
    table: &Table,
    task: &Arc<TaskContext>,
    cancel: &CancellationToken,
) -> Result<RefreshReport, MaterializeError> {
    let stopwatch = Stopwatch::start();
    let before = table.refresh().await?;
    let PinnedQuery { stream, sources, source_rows, data_as_of, catalog, .. } =
        parts.engine.open_query(query, cancel.clone()).await?;
    let rows = conform(view, stream, before.columns(), cancel.clone())?;
    let files = write(view, table, rows, task, cancel).await?;
    let rows = files.iter().map(|file| file.rows).sum();
    let made_of = MadeOf::today(&catalog, view).transactions();
    let transactions = [rebuilding(&before), as_of(data_as_of)].into_iter().chain(made_of);
    let request = CommitRequest {
        files,
        mode: CommitMode::Replace,
        transactions: transactions.collect(),
        fence: None,
        expected: Some(before.version()),
        operation: REFRESH,
        info: refresh_info(&sources, (source_rows, rows), &stopwatch),
    };
    let version = commit(table, request).await?;
    Ok(RefreshReport { rows, source_rows, version })
}

async fn commit(table: &Table, request: CommitRequest) -> Result<TableVersion, MaterializeError> {
    let staged = request.files.clone();
    match table.commit(request).await {
        Ok(CommitOutcome::Committed(version) | CommitOutcome::AlreadyCommitted(version)) => Ok(version),
        Err(StorageError::VersionMoved { .. }) => {
            table.discard(staged).await;
            Err(MaterializeError::Overtaken)
        }
        Err(error) => Err(error.into()),
    }
}

/// The source versions the stored rows are true for, and what it took, kept in the commit.
fn refresh_info(
    sources: &[(String, TableVersion)],
    (source_rows, rows): (u64, u64),
    stopwatch: &Stopwatch,
) -> BTreeMap<String, serde_json::Value> {
    let versions: serde_json::Map<String, serde_json::Value> =
        sources.iter().map(|(name, version)| (name.clone(), version.0.into())).collect();
    BTreeMap::from([
        ("sources".to_owned(), versions.into()),
        ("rows".to_owned(), rows.into()),
        ("source_rows".to_owned(), source_rows.into()),
        ("elapsed_ms".to_owned(), (stopwatch.elapsed_micros() / 1_000).into()),
    ])
}
