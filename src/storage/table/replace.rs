//! Putting new files in the place of some that are there, chosen by whoever knows what is in them (fold of partial rows).
//!
//! ```text
//!   file_summaries ─► choose ─► provider_of ─► write_files ─► commit, mode ReplaceFiles
//!                                                                │ one of them is gone (compacted, replaced, expired)
//!                                                                └─► FilesGone: nothing changed, look again
//! ```
//!
//! Independent of appends, as compaction is. Unlike compaction it may change the rows, so readers of changes see rows go.
//!
//! Not here: rewriting that keeps the rows (`rewrite`).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use object_store::path::Path;

use super::CommitMode;
use crate::storage::TableSnapshot;
use crate::storage::index::DataFile;
use crate::storage::scan::LakeTable;

/// One file of a version, for choosing among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Below the table's folder; no other file of the table is ever called so.
    pub name: String,
    /// Equal texts, same partition.
    pub partition: Arc<str>,
    pub bytes: u64,
    /// Zero when another program wrote the file and does not say.
    pub rows: u64,
}

impl FileSummary {
    pub(crate) fn of(file: &DataFile) -> Self {
        Self {
            name: file.relative.to_string(),
            partition: file.partition.clone(),
            bytes: file.size,
            rows: file.rows().unwrap_or(0),
        }
    }
}

impl TableSnapshot {
    /// All files of the version, in no order.
    pub fn file_summaries(&self) -> Vec<FileSummary> {
        self.index().files().map(|file| FileSummary::of(file)).collect()
    }

    /// A provider of the rows of the files of these names. Names the version does not have give none; committing them as
    /// replaced is refused.
    pub fn provider_of(self: &Arc<Self>, names: &BTreeSet<String>) -> Arc<dyn TableProvider> {
        let files: Vec<Arc<DataFile>> = names.iter().filter_map(|name| named(self, name)).cloned().collect();
        Arc::new(LakeTable::of_files(self.index(), &files))
    }
}

/// The files a commit of `mode` takes out of `base`; `None` when `base` does not have one of them.
pub(super) fn leaving<'a>(base: &'a TableSnapshot, mode: &CommitMode) -> Option<Vec<&'a Arc<DataFile>>> {
    match mode {
        CommitMode::Append => Some(Vec::new()),
        CommitMode::Replace => Some(base.index().files().collect()),
        CommitMode::ReplaceFiles(names) => names.iter().map(|name| named(base, name)).collect(),
    }
}

fn named<'a>(snapshot: &'a TableSnapshot, name: &str) -> Option<&'a Arc<DataFile>> {
    snapshot.index().file(&Path::parse(name).ok()?)
}
