//! What the stored rows of a view lack of a newer version of its source: new rows, and times at which rows went.
//!
//! ```text
//! log: absorbed … pinned ─┬─ files of new rows ──────────────► tail
//!                         └─ files whose rows went: times ───► dirty (whole grains of the time key)
//! ```
//! The log tells the times of what went, not the rows. So at these times the stored rows and the tail are left aside, and the
//! source answers; at all other times both versions differ by the tail alone.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::base::Timestamp;
use crate::rollup::{Design, Dirty, Times};
use crate::storage::{ChangedFiles, FileTimes, StorageError, Table, TableChanges, TableSnapshot, TableVersion};

/// See the module.
#[derive(Clone, Default)]
pub struct Pending {
    /// Rows of the source that the stored rows do not hold yet; none: they lack nothing.
    pub tail: Option<Arc<dyn TableProvider>>,
    pub tail_rows: u64,
    /// Where neither stored rows nor the tail are used.
    pub dirty: Option<Dirty>,
    /// Rows of the source's files that may have such times.
    pub dirty_rows: u64,
    /// When the oldest commit that is not absorbed was made.
    pub since: Option<Timestamp>,
    /// What the log says of it; none: nothing has changed.
    pub changed: Option<ChangedFiles>,
}

impl Pending {
    /// Rows of the source to be read.
    pub fn rows(&self) -> u64 {
        self.tail_rows.saturating_add(self.dirty_rows)
    }
}

/// What stored rows that hold version `absorbed` of `table` lack of `source`, a version of it. `None`: it cannot be told, and
/// only the source as a whole can answer.
///
/// # Errors
/// The log cannot be read.
pub async fn pending(
    design: &Design,
    table: &Table,
    (absorbed, source): (TableVersion, &Arc<TableSnapshot>),
) -> Result<Option<Pending>, StorageError> {
    if absorbed == source.version() {
        return Ok(Some(Pending::default()));
    }
    let changed = match table.changes(absorbed, source).await? {
        TableChanges::Known(changed) => changed,
        TableChanges::Unknown { reason } => {
            tracing::debug!(table = table.path(), reason, "what is new cannot be told");
            return Ok(None);
        }
    };
    let mut pending = Pending {
        tail: changed.provider(),
        tail_rows: changed.rows_added,
        since: changed.first_committed_at,
        ..Pending::default()
    };
    if changed.removes_rows() {
        let Some(dirty) = dirty(design, &changed, source) else { return Ok(None) };
        pending.dirty_rows = rows_at(source, dirty.column(), dirty.times());
        pending.dirty = Some(dirty);
    }
    pending.changed = Some(changed);
    Ok(Some(pending))
}

fn dirty(design: &Design, changed: &ChangedFiles, source: &Arc<TableSnapshot>) -> Option<Dirty> {
    let columns = source.provider().schema();
    Dirty::of(design, &columns, &|column| touched(changed.times_removed(column)))
}

/// The times of files; `None` when one of them may have any.
pub(super) fn touched(files: impl IntoIterator<Item = FileTimes>) -> Option<Times> {
    let mut times = Times::default();
    for file in files {
        match file {
            FileTimes::NoRows => {}
            FileTimes::Without => times.add_missing(),
            FileTimes::Between { earliest, latest, or_none } => {
                times.add(earliest.micros(), latest.micros().saturating_add(1));
                if or_none {
                    times.add_missing();
                }
            }
            FileTimes::Unknown => return None,
        }
    }
    Some(times)
}

/// Rows of the files that may hold some of these times of `column`.
pub fn rows_at(snapshot: &TableSnapshot, column: &str, times: &Times) -> u64 {
    snapshot.rows_of(column, |file| may_hold(file, times))
}

/// Whether a file may have rows of these times.
pub fn may_hold(file: &FileTimes, times: &Times) -> bool {
    match file {
        FileTimes::NoRows => false,
        FileTimes::Without => times.has_missing(),
        FileTimes::Between { earliest, latest, or_none } => {
            times.overlaps(earliest.micros(), latest.micros()) || (*or_none && times.has_missing())
        }
        FileTimes::Unknown => !times.is_empty(),
    }
}
