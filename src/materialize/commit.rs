//! The commit that ends a refresh, by whichever strategy.
//!
//! RUN-1: it is refused unless the stored rows are still those that the refresh goes on from. Files that were written for a commit
//! that does not happen are deleted, whatever stood in its way; those of one that may have happened stay.

use std::collections::BTreeMap;

use super::last_refresh::REFRESH;
use super::restated::{self, Restatement};
use super::staged::{Staged, Target};
use super::{MaterializeError, RefreshReport};
use crate::base::Stopwatch;
use crate::storage::{
    CommitMode, CommitOutcome, CommitRequest, StorageError, Table, TableSnapshot, TableVersion, Transaction,
};

/// Other commits to the view's table (compaction, folding) that a refresh lets pass by.
const COMMITS_PASSED: usize = 20;

/// The application whose version counts rebuilds.
const REBUILT: &str = "adlake.rebuilt";

/// What a refresh has made, its files aside.
pub(super) struct Made {
    pub mode: CommitMode,
    /// The first tells a repeat.
    pub transactions: Vec<Transaction>,
    /// Versions of the tables that the stored rows are true for then.
    pub sources: BTreeMap<String, TableVersion>,
    /// Rows of the sources that were worked through, and rows written from them.
    pub source_rows: u64,
    pub rows: u64,
    pub restated: Vec<Restatement>,
}

/// Commits what was made unless another refresh came first, be it by another design, after which `is_same` is not true of the
/// stored version any more. Other commits, of compaction or folding, change no rows: they are let pass, unless they took a file
/// away that was to be replaced.
///
/// # Errors
/// That of `made`; `Overtaken`; storage trouble.
pub(super) async fn commit(
    target: &Target<'_>,
    stopwatch: &Stopwatch,
    staged: Staged,
    made: Result<Made, MaterializeError>,
    is_same: &(dyn Fn(&TableSnapshot) -> bool + Sync),
) -> Result<RefreshReport, MaterializeError> {
    let committed = match made {
        Ok(made) => {
            let (rows, source_rows) = (made.rows, made.source_rows);
            let version = match request(&target.stored, &staged, made, stopwatch) {
                Ok(request) => committed(target.table, request, is_same).await,
                Err(error) => Err(error),
            };
            version.map(|version| RefreshReport { rows, source_rows, version })
        }
        Err(error) => Err(error),
    };
    if committed.is_err() {
        staged.discard(target.table).await;
    }
    committed
}

fn request(
    stored: &TableSnapshot,
    staged: &Staged,
    made: Made,
    stopwatch: &Stopwatch,
) -> Result<CommitRequest, MaterializeError> {
    let Made { mode, mut transactions, sources, source_rows, rows, restated } = made;
    let versions: serde_json::Map<String, serde_json::Value> =
        sources.into_iter().map(|(name, version)| (name, version.0.into())).collect();
    let mut info = BTreeMap::from([
        ("sources".to_owned(), versions.into()),
        ("rows".to_owned(), rows.into()),
        ("source_rows".to_owned(), source_rows.into()),
        ("elapsed_ms".to_owned(), (stopwatch.elapsed_micros() / 1_000).into()),
    ]);
    transactions.extend(restated::put(&restated, stored, &mut info)?);
    Ok(CommitRequest {
        files: staged.files().to_vec(),
        transactions,
        mode,
        fence: None,
        expected: Some(stored.version()),
        operation: REFRESH,
        info,
    })
}

async fn committed(
    table: &Table,
    mut request: CommitRequest,
    is_same: &(dyn Fn(&TableSnapshot) -> bool + Sync),
) -> Result<TableVersion, MaterializeError> {
    let is_rebuild = request.transactions.first().is_some_and(|first| first.app_id == REBUILT);
    for _ in 0..COMMITS_PASSED {
        match table.commit(request.clone()).await {
            // Another rebuild has that number; what it did may be less than this one does.
            Ok(CommitOutcome::AlreadyCommitted(_)) if is_rebuild => break,
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
    Err(MaterializeError::Overtaken)
}

/// The first of a rebuild's transactions: that is what makes a commit a repeat, and a rebuild from the same rows is none.
pub(super) fn rebuilding(stored: &TableSnapshot) -> Transaction {
    let version = i64::try_from(stored.version().0 + 1).unwrap_or(i64::MAX);
    Transaction { app_id: REBUILT.to_owned(), version }
}
