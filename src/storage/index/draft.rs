//! Actions of one or more commits, gathered before they change an index.

use std::collections::HashMap;

use object_store::path::Path;

use super::action::{AddFile, LogLine, Protocol, TableMetadata, relative_path};
use super::features::cannot_read;
use crate::storage::StorageError;
use crate::storage::spec::ROWS_UNTIL_TAG;

/// The net effect of commits applied in order. Files stay untyped until the end: the last metadata decides their types.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub metadata: Option<TableMetadata>,
    pub protocol: Option<Protocol>,
    pub transactions: HashMap<String, i64>,
    /// Milliseconds.
    pub committed_at: Option<i64>,
    /// The newest version that took rows away.
    pub rows_removed_at: Option<u64>,
    added: Vec<Option<(Path, AddFile)>>,
    places: HashMap<Path, usize>,
    /// Paths that the files before these commits no longer provide.
    gone: HashMap<Path, ()>,
}

impl Draft {
    /// Applies the actions of the commit, or of the checkpoint, of `version`.
    pub fn apply(&mut self, table: &str, version: u64, lines: Vec<LogLine>) -> Result<(), StorageError> {
        // Within a commit an add and a remove never name the same file, so the order of its lines does not matter;
        // writers do put them in any order. Removes first.
        let mut adds = Vec::new();
        for line in lines {
            if line.sidecar.is_some() {
                return Err(cannot_read(table, "v2Checkpoint"));
            }
            if let Some(remove) = line.remove {
                self.remove(relative_path(table, &remove.path)?);
                if remove.data_change {
                    self.rows_removed_at = Some(version);
                }
            }
            adds.extend(line.add);
            if let Some(txn) = line.txn {
                self.transactions.insert(txn.app_id, txn.version);
            }
            if let Some(info) = line.commit_info {
                self.committed_at = info.time();
            }
            self.metadata = line.meta_data.or(self.metadata.take());
            self.protocol = line.protocol.or(self.protocol.take());
        }
        for mut add in adds {
            add.rows_until = rows_until(&add, version);
            self.add(relative_path(table, &add.path)?, add);
        }
        Ok(())
    }

    /// Whether nothing changes but, perhaps, metadata and transactions.
    pub fn has_no_files(&self) -> bool {
        self.places.is_empty() && self.gone.is_empty()
    }

    /// The files added, in order, and the paths replaced or removed.
    pub fn into_files(self) -> (Vec<AddFile>, Vec<Path>) {
        let added = self.added.into_iter().flatten().map(|(_, add)| add).collect();
        (added, self.gone.into_keys().collect())
    }

    fn add(&mut self, path: Path, add: AddFile) {
        self.drop_added(&path);
        // Adding a known path again replaces what was said about it.
        self.gone.insert(path.clone(), ());
        self.places.insert(path.clone(), self.added.len());
        self.added.push(Some((path, add)));
    }

    fn remove(&mut self, path: Path) {
        self.drop_added(&path);
        self.gone.insert(path, ());
    }

    fn drop_added(&mut self, path: &Path) {
        if let Some(place) = self.places.remove(path)
            && let Some(slot) = self.added.get_mut(place)
        {
            *slot = None;
        }
    }
}

/// A rewritten file says how old its rows are; other files bring new ones.
fn rows_until(add: &AddFile, version: u64) -> u64 {
    let tag = add.tags.as_ref().and_then(|tags| tags.get(ROWS_UNTIL_TAG)).and_then(Option::as_deref);
    tag.and_then(|text| text.parse().ok()).map_or(version, |until: u64| until.min(version))
}
