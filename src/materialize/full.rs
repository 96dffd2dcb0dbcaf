//! REFRESH by the full strategy: run the view's query at one pinned set of source versions, replace the stored rows in one commit.
//!
//! ```text
//! pin sources → stream query → staged Parquet files (invisible) → one Delta commit: remove all old, add all new
//! ```
//! Invariants: MV-1 (a reader sees the version before or after, never between: the swap is one commit), RUN-1 (killed
//! before the commit nothing has changed, killed after it the refresh is done; `expected` refuses to overwrite the result
//! of a refresh that finished meanwhile, possibly from newer sources). What the new rows restate stands in the same commit.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::commit::{Made, commit, rebuilding};
use super::last_refresh::LastRefreshes;
use super::restated::{self, Refreshed, Restatement};
use super::staged::{Staged, Target};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::catalog::CatalogSnapshot;
use crate::query::{MadeOf, PinnedQuery, as_of};
use crate::rollup::RowWindows;
use crate::storage::{CommitMode, Table, TableVersion};

/// A view that is kept so.
pub(super) struct WholeView<'a> {
    pub name: &'a str,
    pub query: &'a str,
    /// By which changes are told; none: they are not.
    pub windows: Option<&'a RowWindows>,
    pub last_refreshes: &'a LastRefreshes,
}

/// Puts the present answer of the view's query in place of the stored rows.
///
/// # Errors
/// A query that fails, storage trouble, cancelled: nothing has changed.
pub(super) async fn replace(
    parts: &RefreshParts,
    view: &WholeView<'_>,
    table: &Table,
    task: &Arc<TaskContext>,
    cancel: &CancellationToken,
) -> Result<RefreshReport, MaterializeError> {
    let stopwatch = Stopwatch::start();
    let target = Target { view: view.name, table, stored: table.refresh().await?, task, cancel };
    look_anew(parts, view.name).await?;
    let mut staged = Staged::default();
    let made = make(parts, view, &target, &mut staged).await;
    // Whatever came meanwhile may be from newer sources.
    commit(&target, &stopwatch, staged, made, &|_| false).await
}

/// Looks at all tables below the view. The stored rows may be another process's, made of versions that this one has not seen yet: rows
/// would go back, and be told to have changed.
async fn look_anew(parts: &RefreshParts, view: &str) -> Result<(), MaterializeError> {
    let catalog = parts.catalog.snapshot();
    let below = catalog.with_all_below(view).into_iter().filter_map(|name| catalog.relations.get(name));
    let paths: Vec<&str> = below.filter_map(|object| object.table_path.as_deref()).collect();
    for path in paths {
        parts.lake.open_table(path).await?.refresh().await?;
    }
    Ok(())
}

async fn make(
    parts: &RefreshParts,
    view: &WholeView<'_>,
    target: &Target<'_>,
    staged: &mut Staged,
) -> Result<Made, MaterializeError> {
    let PinnedQuery { stream, sources, source_rows, data_as_of, catalog, .. } =
        parts.engine.open_query(view.query, target.cancel.clone()).await?;
    let rows = staged.write(target, stream).await?;
    let made = (&*staged, sources.as_slice(), catalog.as_ref());
    let restated = Box::pin(changed(parts, view, target, made)).await?;
    let made_of = MadeOf::today(&catalog, target.view).transactions();
    Ok(Made {
        rows,
        mode: CommitMode::Replace,
        transactions: [rebuilding(&target.stored), as_of(data_as_of)].into_iter().chain(made_of).collect(),
        sources: sources.into_iter().collect(),
        source_rows,
        restated,
    })
}

/// What the new rows change of the stored ones. Nothing, where those are another query's or there are none: nobody has read them.
async fn changed(
    parts: &RefreshParts,
    view: &WholeView<'_>,
    target: &Target<'_>,
    (staged, sources, catalog): (&Staged, &[(String, TableVersion)], &CatalogSnapshot),
) -> Result<Vec<Restatement>, MaterializeError> {
    let stored = &target.stored;
    let Some(windows) = view.windows.filter(|_| MadeOf::today(catalog, view.name).is_of(stored)) else {
        return Ok(Vec::new());
    };
    // Its commit is further back than is looked.
    let Some(last) = view.last_refreshes.of(target.table, stored).await? else { return Ok(Vec::new()) };
    let new = target.table.provider_of_staged(staged.files(), stored)?;
    let before = &last.told.sources;
    let refreshed = Refreshed { view: view.name, windows, stored, before, sources, catalog };
    restated::find_full(parts, &refreshed, new, target.cancel).await
}
