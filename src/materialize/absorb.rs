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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use tokio_util::sync::CancellationToken;

use super::last_refresh::REFRESH;
use super::restated;
use super::slices::{slices, write_slices};
use super::staged::{Held, Staged, Target};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::query::{Pending, absorbed, absorbing, pending, rows_at};
use crate::rollup::{Design, Dirty, Times};
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, StagedFile, StorageError, Table, TableSnapshot, TableVersion, Transaction,
};

/// Other commits to the view's table (compaction, folding) that a refresh lets pass by.
const COMMITS_PASSED: usize = 20;

/// The application whose version counts rebuilds.
const REBUILT: &str = "adlake.rebuilt";

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
    let before = absorbed(&stored, view.design.fingerprint, &view.source_path);
    let newest = i64::try_from(source.version().0).unwrap_or(i64::MAX);
    if *extent == Extent::Pending && before == Some(newest) {
        return Ok(RefreshReport { rows: 0, source_rows: 0, version: stored.version() });
    }
    let Work { reads, goes, source_rows, lacks } = work(view, extent, before, &source).await?;
    let late = match &lacks {
        Some(lacks) => restated::find(parts, view, (&stored, lacks), cancel).await?,
        None => Vec::new(),
    };
    let target = Target { view: view.name, table: &view.table, stored: stored.clone(), task, cancel };
    let mut staged = Staged::default();
    let mut rows = 0;
    for read in reads {
        rows += stage(parts, view, &target, &mut staged, read).await?;
    }
    let mode = match &goes {
        Goes::Nothing => CommitMode::Append,
        Goes::Everything => CommitMode::Replace,
        Goes::Dirty(dirty) => {
            let held = Held { key: dirty.key(), times: dirty.times(), others: dirty.stored_outside() };
            replacing(staged.take_out(parts, &target, held).await?)
        }
    };
    let mut info = BTreeMap::from([
        ("sources".to_owned(), serde_json::json!({ (view.design.question.source.as_str()): source.version().0 })),
        ("rows".to_owned(), rows.into()),
        ("source_rows".to_owned(), source_rows.into()),
        ("elapsed_ms".to_owned(), (stopwatch.elapsed_micros() / 1_000).into()),
    ]);
    let absorbing = absorbing(view.design.fingerprint, [(view.source_path.as_str(), newest)]);
    let mut transactions = transactions(extent, &goes, &stored, absorbing);
    transactions.extend(restated::put(&late, &stored, &mut info)?);
    let request = CommitRequest {
        files: staged.files,
        transactions,
        mode,
        fence: None,
        expected: Some(stored.version()),
        operation: REFRESH,
        info,
    };
    let is_as_before = |stored: &TableSnapshot| absorbed(stored, view.design.fingerprint, &view.source_path) == before;
    let version = commit(&view.table, request, &is_as_before).await?;
    Ok(RefreshReport { rows, source_rows, version })
}

/// Writes the partial aggregates of what is read, in slices where all of it is; how many rows.
///
/// # Errors
/// As for [`absorb`]; then all staged files are deleted.
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
        let written = files.iter().map(|file| file.rows).sum();
        staged.files.extend(files);
        return Ok(written);
    }
    match parts.engine.open_partials(view.design.clone(), (rows, within), target.cancel.clone()).await {
        Ok(partials) => staged.add(target, partials).await,
        Err(error) => {
            staged.discard(&view.table).await;
            Err(error.into())
        }
    }
}

/// Replaces files, if there are any.
pub(super) fn replacing(leaving: BTreeSet<String>) -> CommitMode {
    match leaving.is_empty() {
        true => CommitMode::Append,
        false => CommitMode::ReplaceFiles(leaving),
    }
}

async fn work(
    view: &ViewAt<'_>,
    extent: &Extent,
    absorbed: Option<i64>,
    source: &Arc<TableSnapshot>,
) -> Result<Work, MaterializeError> {
    let everything = |lacks| Work {
        reads: vec![Read { rows: source.provider(), within: None }],
        goes: Goes::Everything,
        source_rows: source.row_count(),
        lacks,
    };
    let from = absorbed.and_then(|version| u64::try_from(version).ok()).map(TableVersion);
    let Some(from) = from.filter(|from| *from <= source.version()) else { return Ok(everything(None)) };
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
    Ok(Work { reads, goes, source_rows, lacks: Some(lacks) })
}

fn transactions(extent: &Extent, goes: &Goes, stored: &TableSnapshot, absorbing: Vec<Transaction>) -> Vec<Transaction> {
    let rebuilding = match (extent, goes) {
        (Extent::Pending, Goes::Nothing | Goes::Dirty(_)) => None,
        (_, Goes::Everything) | (Extent::And(_) | Extent::Everything, _) => Some(rebuilding(stored)),
    };
    rebuilding.into_iter().chain(absorbing).collect()
}

/// The first of a rebuild's transactions: that is what makes a commit a repeat, and a rebuild from the same rows is none.
pub(super) fn rebuilding(stored: &TableSnapshot) -> Transaction {
    let version = i64::try_from(stored.version().0 + 1).unwrap_or(i64::MAX);
    Transaction { app_id: REBUILT.to_owned(), version }
}

/// Commits unless another refresh came first, be it by another design, after which `is_same` is not true of the stored version
/// any more. Other commits, of compaction or folding, change no rows: they are let pass, unless they took a file away that was
/// to be replaced.
pub(super) async fn commit(
    table: &Table,
    mut request: CommitRequest,
    is_same: &(dyn Fn(&TableSnapshot) -> bool + Sync),
) -> Result<TableVersion, MaterializeError> {
    let staged: Vec<StagedFile> = request.files.clone();
    let is_rebuild = request.transactions.first().is_some_and(|first| first.app_id == REBUILT);
    for _ in 0..COMMITS_PASSED {
        match table.commit(request.clone()).await {
            // Another rebuild has that number; what it did may be less than this one does.
            Ok(CommitOutcome::AlreadyCommitted(_)) if is_rebuild => return Err(MaterializeError::Overtaken),
            Ok(CommitOutcome::Committed(version) | CommitOutcome::AlreadyCommitted(version)) => return Ok(version),
            Err(StorageError::FilesGone { .. }) => break,
            Err(StorageError::VersionMoved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let stored = table.refresh().await?;
        if !is_same(&stored) {
            break;
        }
        request.expected = Some(stored.version());
        restated::follow(&mut request.transactions, &stored);
    }
    table.discard(staged).await;
    Err(MaterializeError::Overtaken)
}
