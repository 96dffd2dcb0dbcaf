//! Rows of files that are not committed yet, as the table would give them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::action::{self, Action};
use super::{StagedFile, Table};
use crate::storage::index::{CommitChange, DataFile, RowChanges};
use crate::storage::scan::LakeTable;
use crate::storage::{StorageError, TableSnapshot};

impl Table {
    /// A provider of the rows of staged files, in the columns of `stored`, a version of this table.
    ///
    /// # Errors
    /// Files of other columns.
    pub fn provider_of_staged(
        &self,
        files: &[StagedFile],
        stored: &TableSnapshot,
    ) -> Result<Arc<dyn TableProvider>, StorageError> {
        // What the log will say of them is read as it will be read there.
        let lines: Vec<Action> = files.iter().map(|file| Action::Add(file.add.clone())).collect();
        let commit = CommitChange::parse(&self.parts.path, stored.version().0 + 1, &action::render(&lines)?)?;
        let added = RowChanges::of([&commit]).files(stored.index())?;
        let replaced = added.replaced.into_iter().map(|staged| staged.file);
        let files: Vec<Arc<DataFile>> = added.present.into_iter().chain(replaced).collect();
        Ok(Arc::new(LakeTable::of_files(stored.index(), &files)))
    }
}
