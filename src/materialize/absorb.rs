//! REFRESH by the incremental strategy: the new rows of the source become partial aggregates, added in one commit.
//!
//! ```text
//! source: (absorbed, newest] ─ exactly the rows added ─► partials ─► staged files ─► one commit: files + "absorbed = newest"
//!         rows went ─ at known times ──────────────────► partials of the source at these times, in place of the stored ones
//!         times not known, or the log is gone ─────────► partials of the whole source, in place of all stored ones
//! ```
//! RUN-1: the version of the source stands in the commit that brings its rows, and the commit is refused (`expected`) unless
//! the stored rows are still those of the version it goes on from. So a refresh killed anywhere, repeated, or run by two
//! processes at once counts every row once.
//! Source: the invalidation log and partial states of TimescaleDB's continuous aggregates; here the Delta log is both.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use tokio_util::sync::CancellationToken;

use super::commit::{Made, commit, rebuilding};
use super::restated::{self, Listing, Rebuilt, Replaced};
use super::slices::{slices, write_slices};
use super::staged::{Held, Staged, Target};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::query::{Pending, absorbed_version, absorbing, pending, rows_at};
use crate::rollup::{Design, Dirty, Times};
use crate::storage::{CommitMode, Table, TableSnapshot, TableVersion, Transaction};

/// A view and its source.
pub(super) struct ViewAt<'a> {
    pub name: &'a str,
    pub design: Arc<Design>,
    pub table: Arc<Table>,
    pub source: Arc<Table>,
    /// Folder of the source.
    pub source_path: String,
}

/// Which rows a refresh works through.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extent {
    Pending,
    /// What is pending, and the rows of these times whether they are or not.
    And(Times),
    Everything,
}

/// What a refresh reads.
struct Work {
    /// Version of the source.
    source: TableVersion,
    reads: Vec<Read>,
    /// Stored rows that go; none: none go.
    goes: Goes,
    source_rows: u64,
    /// What the stored rows lack; none: that cannot be told.
    lacks: Option<Pending>,
}

/// Rows of the source that become partial aggregates.
struct Read {
    rows: Arc<dyn TableProvider>,
    within: Option<Expr>,
}

enum Goes {
    Nothing,
    Dirty(Dirty),
    Everything,
}

/// Brings the stored rows to the newest version of the source.
///
/// # Errors
/// A query that fails on the source's rows, storage trouble, cancelled: nothing has changed. `VersionMoved`: somebody else
/// has refreshed it meanwhile.
pub(super) async fn absorb(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    extent: &Extent,
    task: &Arc<TaskContext>,
    cancel: &CancellationToken,
) -> Result<RefreshReport, MaterializeError> {
    let stopwatch = Stopwatch::start();
    let stored = view.table.refresh().await?;
    let source = view.source.refresh().await?;
    let before = absorbed_version(&stored, view.design.fingerprint, &view.source_path);
    if *extent == Extent::Pending && before == Some(source.version()) {
        return Ok(RefreshReport { rows: 0, source_rows: 0, version: stored.version() });
    }
    let work = work(view, extent, before, &source).await?;
    let target = Target { view: view.name, table: &view.table, stored: stored.clone(), task, cancel };
    let mut staged = Staged::default();
    let made = make(parts, view, &target, (extent, work), &mut staged).await;
    let is_as_before =
        |stored: &TableSnapshot| absorbed_version(stored, view.design.fingerprint, &view.source_path) == before;
    commit(&target, &stopwatch, staged, made, &is_as_before).await
}

/// Writes the new rows.
async fn make(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    target: &Target<'_>,
    (extent, work): (&Extent, Work),
    staged: &mut Staged,
) -> Result<Made, MaterializeError> {
    let Work { source, reads, goes, source_rows, lacks } = work;
    let mut listing = Listing::new(&view.design.question.source);
    if let Some(lacks) = &lacks {
        restated::find(parts, view, (&target.stored, lacks), (target.cancel, &mut listing)).await?;
    }
    let mut rows = 0;
    for read in reads {
        rows += stage(parts, view, target, staged, read).await?;
    }
    let rebuilt = rebuilt(extent, &goes);
    if let Some(lacks) = &lacks
        && (lacks.dirty.is_some() || !matches!(rebuilt, Rebuilt::Nothing))
    {
        let (stored, new) = (&target.stored, view.table.provider_of_staged(staged.files(), &target.stored)?);
        let replaced = Replaced { stored, new, lacks, rebuilt, version: source.0 };
        restated::find_replaced(parts, view, &replaced, (target.cancel, &mut listing)).await?;
    }
    let mode = match &goes {
        Goes::Nothing => CommitMode::Append,
        Goes::Everything => CommitMode::Replace,
        Goes::Dirty(dirty) => {
            let held = Held { key: dirty.key(), times: dirty.times(), others: dirty.stored_outside() };
            staged.take_out(parts, target, held).await?
        }
    };
    let absorbing = absorbing(view.design.fingerprint, [(view.source_path.as_str(), source)]);
    let transactions = transactions(extent, &goes, &target.stored, absorbing);
    let sources = BTreeMap::from([(view.design.question.source.clone(), source)]);
    Ok(Made { mode, transactions, sources, source_rows, rows, restated: listing.told(view.name) })
}

/// What is put in place beside what is pending.
fn rebuilt(extent: &Extent, goes: &Goes) -> Rebuilt {
    match (extent, goes) {
        (Extent::Pending, _) | (Extent::And(_), Goes::Nothing) => Rebuilt::Nothing,
        (Extent::And(_), Goes::Dirty(dirty)) => Rebuilt::Times(dirty.clone()),
        (Extent::And(_), Goes::Everything) | (Extent::Everything, _) => Rebuilt::Everything,
    }
}

/// Writes the partial aggregates of what is read, in slices where all of it is; how many rows.
///
/// # Errors
/// As for [`absorb`].
async fn stage(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    target: &Target<'_>,
    staged: &mut Staged,
    Read { rows, within }: Read,
) -> Result<u64, MaterializeError> {
    // What is read without bounds is read alone: no other file is staged before it.
    if within.is_none()
        && let Some(slices) = slices(view, &rows, &target.stored, parts.slice_rows).await?
    {
        let files = write_slices(parts, view, (rows, slices), (target.task, target.cancel)).await?;
        return Ok(staged.add(files));
    }
    let partials = parts.engine.open_partials(view.design.clone(), (rows, within), target.cancel.clone()).await?;
    staged.write(target, partials).await
}

async fn work(
    view: &ViewAt<'_>,
    extent: &Extent,
    absorbed: Option<TableVersion>,
    source: &Arc<TableSnapshot>,
) -> Result<Work, MaterializeError> {
    let everything = |lacks| Work {
        source: source.version(),
        reads: vec![Read { rows: source.provider(), within: None }],
        goes: Goes::Everything,
        source_rows: source.row_count(),
        lacks,
    };
    let Some(from) = absorbed.filter(|from| *from <= source.version()) else { return Ok(everything(None)) };
    let Some(lacks) = pending(&view.design, &view.source, (from, source)).await? else {
        tracing::info!(view = view.name, "what its source has lost cannot be told by time; all of it is read again");
        return Ok(everything(None));
    };
    let dirty = match extent {
        Extent::Everything => return Ok(everything(Some(lacks))),
        Extent::Pending => lacks.dirty.clone(),
        Extent::And(times) => {
            match Dirty::with(lacks.dirty.clone(), &view.design, &source.provider().schema(), times) {
                Some(dirty) => Some(dirty),
                None => return Ok(everything(Some(lacks))),
            }
        }
    };
    let mut reads = Vec::new();
    reads.extend(lacks.tail.clone().map(|rows| Read { rows, within: dirty.as_ref().map(Dirty::outside) }));
    let (goes, source_rows) = match dirty {
        None => (Goes::Nothing, lacks.tail_rows),
        Some(dirty) => {
            reads.push(Read { rows: source.provider(), within: Some(dirty.inside()) });
            let again = rows_at(source, dirty.column(), dirty.times());
            (Goes::Dirty(dirty), lacks.tail_rows.saturating_add(again))
        }
    };
    Ok(Work { source: source.version(), reads, goes, source_rows, lacks: Some(lacks) })
}

fn transactions(extent: &Extent, goes: &Goes, stored: &TableSnapshot, absorbing: Vec<Transaction>) -> Vec<Transaction> {
    let rebuilding = match (extent, goes) {
        (Extent::Pending, Goes::Nothing | Goes::Dirty(_)) => None,
        (_, Goes::Everything) | (Extent::And(_) | Extent::Everything, _) => Some(rebuilding(stored)),
    };
    rebuilding.into_iter().chain(absorbing).collect()
}
