//! Folding: several files of partial aggregates become one in which every group stands once.
//!
//! Each refresh adds a file with a part of the groups it touched; ordinary compaction would merge those files and keep every
//! part. Folding takes files of like size together, so a part is written again about once for each tenfold of its view
//! (O'Neil et al., "The Log-Structured Merge-Tree", 1996). It changes no answer, and gives up when a file it has read is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::rows::{conform, write};
use super::{MaterializeError, Refresher};
use crate::catalog::Definition;
use crate::rollup::Strategy;
use crate::storage::{CommitMode, CommitRequest, FileSummary, StorageError};

/// Files of one size class and partition that are folded together at least.
const FILES_MIN: usize = 8;
/// Sizes of one class differ by less than this factor.
const CLASS: u64 = 8;
/// Smaller files are of one class.
const SMALLEST: u64 = 64 << 10;

/// Folds what is due of the stored rows of `view`.
///
/// # Errors
/// Storage trouble, cancelled: nothing has changed.
pub(super) async fn fold(
    refresher: &Refresher,
    view: &str,
    cancel: &CancellationToken,
) -> Result<(), MaterializeError> {
    let parts = &refresher.0.parts;
    let object = parts.catalog.snapshot().relation(view)?.clone();
    let (Definition::MaterializedView(_), Some(path)) = (&object.definition, &object.table_path) else {
        return Ok(());
    };
    let decision = parts.engine.view_decision(view)?;
    let Strategy::Incremental(design) = &decision.strategy else { return Ok(()) };
    let table = parts.lake.open_table(path).await?;
    let stored = table.snapshot().await?;
    for files in due(&stored.file_summaries()) {
        let partials = stored.provider_of(&files);
        let folded = parts.engine.open_folded(design.clone(), partials, cancel.clone()).await?;
        let folded = conform(view, folded, stored.columns(), cancel.clone())?;
        let staged = write(view, &table, folded, &parts.engine.task_context(), cancel).await?;
        let info = BTreeMap::from([("files_in".to_owned(), files.len().into())]);
        let request = CommitRequest {
            files: staged.clone(),
            mode: CommitMode::ReplaceFiles(files),
            transactions: Vec::new(),
            fence: None,
            expected: None,
            operation: "FOLD",
            info,
        };
        match table.commit(request).await {
            Ok(_) => {}
            Err(error) => {
                table.discard(staged).await;
                // Others were compacted, folded or replaced meanwhile.
                if !matches!(error, StorageError::FilesGone { .. }) {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(())
}

/// Which files are folded together: those of one partition and size class, when there are many.
fn due(files: &[FileSummary]) -> Vec<BTreeSet<String>> {
    let mut classes: BTreeMap<(Arc<str>, u32), BTreeSet<String>> = BTreeMap::new();
    for file in files {
        classes.entry((file.partition.clone(), class(file.bytes))).or_default().insert(file.name.clone());
    }
    classes.into_values().filter(|files| files.len() >= FILES_MIN).collect()
}

fn class(bytes: u64) -> u32 {
    (bytes / SMALLEST).max(1).ilog(CLASS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: usize, partition: &str, bytes: u64) -> FileSummary {
        FileSummary { name: name.to_string(), partition: partition.into(), bytes, rows: 1 }
    }

    #[test]
    fn many_files_of_like_size_and_one_partition_are_folded() {
        let small: Vec<FileSummary> = (0..8).map(|name| file(name, "day=1", 10_000)).collect();
        assert_eq!(due(&small).len(), 1);
        assert_eq!(due(&small[..7]), Vec::<BTreeSet<String>>::new());
        let mixed: Vec<FileSummary> =
            (0..8).map(|name| file(name, if name % 2 == 0 { "day=1" } else { "day=2" }, 10_000)).collect();
        assert!(due(&mixed).is_empty());
        let mut sizes = small;
        sizes.push(file(8, "day=1", 100 << 20));
        assert_eq!(
            due(&sizes).first().map(BTreeSet::len),
            Some(8),
            "a large file is not written again for a few small ones"
        );
    }
}
