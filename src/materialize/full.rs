//! REFRESH by the full strategy: run the view's query at one pinned set of source versions, replace the stored rows in one commit.
//!
//! ```text
//! pin sources → stream query → staged Parquet files (invisible) → one Delta commit: remove all old, add all new
//! ```
//! Invariants: MV-1 (a reader sees the version before or after, never between: the swap is one commit), RUN-1 (killed
//! before the commit nothing has changed, killed after it the refresh is done; `expected` refuses to overwrite the result
//! of a refresh that finished meanwhile, possibly from newer sources).

use std::sync::Arc;

use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::commit::{Made, commit, rebuilding};
use super::staged::{Staged, Target};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::query::{MadeOf, PinnedQuery, as_of};
use crate::storage::{CommitMode, Table};

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
    let target = Target { view, table, stored: table.refresh().await?, task, cancel };
    let mut staged = Staged::default();
    let made = make(parts, query, &target, &mut staged).await;
    // Whatever came meanwhile may be from newer sources.
    commit(&target, &stopwatch, staged, made, &|_| false).await
}

async fn make(
    parts: &RefreshParts,
    query: &str,
    target: &Target<'_>,
    staged: &mut Staged,
) -> Result<Made, MaterializeError> {
    let PinnedQuery { stream, sources, source_rows, data_as_of, catalog, .. } =
        parts.engine.open_query(query, target.cancel.clone()).await?;
    let made_of = MadeOf::today(&catalog, target.view).transactions();
    Ok(Made {
        rows: staged.write(target, stream).await?,
        mode: CommitMode::Replace,
        transactions: [rebuilding(&target.stored), as_of(data_as_of)].into_iter().chain(made_of).collect(),
        sources: sources.into_iter().collect(),
        source_rows,
        restated: Vec::new(),
    })
}
