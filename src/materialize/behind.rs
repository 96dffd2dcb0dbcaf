//! What the sources of a view that is kept by the full strategy have got since its last refresh.

use super::MaterializeError;
use super::last_refresh::LastRefresh;
use crate::base::Timestamp;
use crate::catalog::CatalogSnapshot;
use crate::storage::{Lake, TableChanges, TableVersion};

/// Rows that are not in the stored ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    pub rows: u64,
    /// When the oldest of their commits was made.
    pub since: Option<Timestamp>,
}

/// Whether, and since when, tables that the view reads have changed; None: not known without reading them.
///
/// # Errors
/// Tables that cannot be opened.
pub(super) async fn behind(
    lake: &Lake,
    catalog: &CatalogSnapshot,
    last: &LastRefresh,
) -> Result<Option<Behind>, MaterializeError> {
    let mut behind = Behind::default();
    for (name, version) in &last.told.sources {
        let path = catalog.relations.get(name).and_then(|object| object.table_path.as_deref());
        let Some(path) = path else { return Ok(None) };
        let table = lake.open_table(path).await?;
        let newest = table.snapshot().await?;
        match table.changes(TableVersion(*version), &newest).await? {
            TableChanges::Known(changed) if !changed.removes_rows() => {
                behind.rows += changed.rows_added;
                behind.since = [behind.since, changed.first_committed_at].into_iter().flatten().min();
            }
            TableChanges::Known(_) | TableChanges::Unknown { .. } => return Ok(None),
        }
    }
    Ok(Some(behind))
}
