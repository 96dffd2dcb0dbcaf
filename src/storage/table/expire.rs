//! Table retention: rows older than `retention` go, by whole files in one commit, without reading a row.
//!
//! In a table partitioned by its event time a partition goes when all of it is older, so that what is left has no holes; in
//! another table a file goes when its youngest row is older. A file whose youngest row is not known stays.
//! Deleting the bytes is vacuum's work: readers of older versions keep reading.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::ScalarValue;

use super::Table;
use super::removal::Rows;
use super::rewrite::{FileChange, RewriteReport};
use crate::base::{Span, Timestamp};
use crate::storage::index::DataFile;
use crate::storage::spec::partition_end;
use crate::storage::{StorageError, TableSnapshot, Transform};

impl Table {
    /// Removes the rows that are older than `retention`, as far as whole files allow. Nothing is committed when none are.
    pub(crate) async fn expire(&self, retention: Duration) -> Result<RewriteReport, StorageError> {
        let base = self.refresh().await?;
        let cutoff = self.parts.clock.now().minus(retention);
        let removed = expired(&base, cutoff);
        let mut report = RewriteReport {
            files_in: removed.len() as u64,
            bytes_in: removed.iter().map(|file| file.size).sum(),
            rows: removed.iter().filter_map(|file| file.rows()).sum(),
            ..RewriteReport::default()
        };
        if removed.is_empty() {
            return Ok(report);
        }
        let info = BTreeMap::from([
            ("retention".to_owned(), Span(retention).to_string().into()),
            ("older_than".to_owned(), cutoff.to_string().into()),
            ("files".to_owned(), report.files_in.into()),
            ("rows".to_owned(), report.rows.into()),
        ]);
        let change = FileChange { removed, added: Vec::new(), rows: Rows::Leave, operation: "RETENTION", info };
        report.committed = self.commit_change(change).await?.is_some();
        Ok(report)
    }
}

/// Files all of whose rows (and all rows that could share their partition) are older than `cutoff`.
fn expired(base: &TableSnapshot, cutoff: Timestamp) -> Vec<Arc<DataFile>> {
    let (spec, layout) = (base.spec(), base.index().layout());
    let place = spec.event_time.as_ref().and_then(|name| layout.ordered().index_of(name).ok());
    let Some(place) = place else { return Vec::new() };
    let own = spec.partition_by.iter().find(|part| spec.event_time.as_deref() == Some(part.column.as_str()));
    let transform = own.map_or(Transform::Identity, |part| part.transform);
    let is_old = |file: &&Arc<DataFile>| {
        let latest = latest(file, place);
        latest.is_some_and(|latest| partition_end(transform, latest) <= cutoff.micros())
    };
    base.index().files().filter(is_old).cloned().collect()
}

/// An upper bound of the event times of a file; `None` when there is none.
fn latest(file: &DataFile, place: usize) -> Option<i64> {
    if !file.has_no_nulls(place) {
        return None;
    }
    match file.statistics.column_statistics.get(place)?.max_value.get_value()? {
        ScalarValue::TimestampMicrosecond(micros, _) => *micros,
        _ => None,
    }
}
