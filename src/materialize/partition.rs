//! REFRESH of views that are kept by partitions: the rows of dirty times are made anew, one piece of time after another, and take
//! the place of the stored ones in one commit.
//!
//! ```text
//! versions of all tables pinned ─ dirty times ─ pieces ─► the view's query of each ─► staged files ─┐
//! stored files with rows of these times ───────────────► their other rows, written again ──────────┴─► one commit
//! ```
//! Memory is that of one piece. MV-1: all pieces read the same versions. RUN-1: the versions stand in the commit, which is refused
//! (`expected`) unless the stored rows are still those of before; killed anywhere nothing has changed, or all has.
//!
//! Not here: which times are dirty (`query::views::partitioned`), since reading the view asks the same.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::absorb::Extent;
use super::commit::{Made, commit, rebuilding};
use super::restated;
use super::rows::changed;
use super::staged::{Held, Staged, Target};
use super::{MaterializeError, RefreshParts, RefreshReport};
use crate::base::Stopwatch;
use crate::query::{PartitionAt, PartitionRun, absorbed_version, absorbing};
use crate::rollup::Times;
use crate::storage::{CommitMode, TableSnapshot, Transaction};

/// Source rows worked through at once: pieces are as long as that, but whole days (or months) at least.
const PIECE_ROWS: u64 = 4 << 20;

/// What a refresh makes anew.
enum Work {
    Nothing,
    Times(Times),
    Everything,
}

impl Work {
    /// None: all.
    fn times(&self) -> Option<&Times> {
        match self {
            Self::Times(times) => Some(times),
            Self::Nothing | Self::Everything => None,
        }
    }
}

/// Brings the stored rows to the newest versions of all tables below the view.
///
/// # Errors
/// A query that fails, storage trouble, cancelled: nothing has changed. `Overtaken`: somebody else has refreshed it meanwhile.
pub(super) async fn refresh(
    parts: &RefreshParts,
    (view, run): (&str, &PartitionRun),
    extent: &Extent,
    task: &Arc<TaskContext>,
    cancel: &CancellationToken,
) -> Result<RefreshReport, MaterializeError> {
    let stopwatch = Stopwatch::start();
    let at = &run.at;
    let (stored, table) = (&at.stored, at.table.as_ref());
    check_columns(view, at)?;
    let is_newest = at.sources().all(|(name, _, version)| at.behind.absorbed.get(name) == Some(&version));
    let work = work(at, extent);
    if matches!(work, Work::Nothing) && is_newest {
        return Ok(RefreshReport { rows: 0, source_rows: 0, version: stored.version() });
    }
    let target = Target { view, table, stored: stored.clone(), task, cancel };
    let mut staged = Staged::default();
    let made = make(parts, run, &target, work, &mut staged).await;
    commit(&target, &stopwatch, staged, made, &|now| is_as_before(at, now)).await
}

/// Writes the new rows.
async fn make(
    parts: &RefreshParts,
    run: &PartitionRun,
    target: &Target<'_>,
    work: Work,
    staged: &mut Staged,
) -> Result<Made, MaterializeError> {
    let at = &run.at;
    let (mut rows, mut source_rows) = (0, 0);
    for piece in pieces(at, &work) {
        source_rows += piece.as_ref().map_or_else(|| at.rows_in(&Times::always()), |times| at.rows_in(times));
        rows += staged.write(target, run.open(piece, target.cancel.clone()).await?).await?;
    }
    let restated = match &work {
        Work::Nothing => Vec::new(),
        Work::Times(_) | Work::Everything => {
            let new = target.table.provider_of_staged(staged.files(), &target.stored)?;
            restated::find_partitions(parts, (target.view, at), (new, work.times()), target.cancel).await?
        }
    };
    let mode = match &work {
        Work::Nothing => CommitMode::Append,
        Work::Everything => CommitMode::Replace,
        Work::Times(times) => {
            let others = at.design.stored_outside(times, target.stored.provider().schema().as_ref());
            let held = Held { key: &at.design.key, times, others };
            staged.take_out(parts, target, held).await?
        }
    };
    let sources = at.sources().map(|(name, _, version)| (name.to_owned(), version)).collect();
    Ok(Made { mode, transactions: transactions(at), sources, source_rows, rows, restated })
}

/// Rows would be cast to columns that another query had, before a view below it was changed.
fn check_columns(view: &str, at: &PartitionAt) -> Result<(), MaterializeError> {
    let stored = at.stored.columns();
    let Some(place) = at.design.differs(&stored) else { return Ok(()) };
    let said = |schema: &Schema| match schema.fields().get(place) {
        Some(field) => format!("{} {}", field.name(), field.data_type()),
        None => "nothing".to_owned(),
    };
    let (found, stored) = (said(&at.design.columns), said(&stored));
    Err(changed(view, &format!("number {}", place + 1), &found, &stored))
}

fn work(at: &PartitionAt, extent: &Extent) -> Work {
    let Some(dirty) = &at.behind.dirty else { return Work::Everything };
    let asked = match extent {
        Extent::Everything => return Work::Everything,
        Extent::Pending => Some(dirty.clone()),
        Extent::And(times) => {
            let mut all = dirty.clone();
            all.add_all(times);
            at.design.whole(all)
        }
    };
    match asked {
        None => Work::Everything,
        Some(times) if times.is_empty() => Work::Nothing,
        Some(times) => Work::Times(times),
    }
}

/// Times to be worked through at once; `None`: all.
fn pieces(at: &PartitionAt, work: &Work) -> Vec<Option<Times>> {
    let times = match (work, at.times()) {
        (Work::Nothing, _) => return Vec::new(),
        (Work::Everything, None) => return vec![None],
        (Work::Times(times), None) => return vec![Some(times.clone())],
        (Work::Everything, Some(all)) => all,
        // Elsewhere there are no rows.
        (Work::Times(times), Some(all)) => times.and(&all),
    };
    at.pieces(&times, PIECE_ROWS).into_iter().map(Some).collect()
}

/// The versions that the rows hold then. Of several tables any may have moved alone, so that none of them tells a repeat.
fn transactions(at: &PartitionAt) -> Vec<Transaction> {
    let versions = at.sources().map(|(_, path, version)| (path, version));
    std::iter::once(rebuilding(&at.stored)).chain(absorbing(at.design.fingerprint, versions)).collect()
}

/// Whether no other refresh has come since, be it by another design.
fn is_as_before(at: &PartitionAt, now: &TableSnapshot) -> bool {
    let held = |stored, path| absorbed_version(stored, at.design.fingerprint, path);
    at.sources().all(|(_, path, _)| held(now, path) == held(&at.stored, path))
}
