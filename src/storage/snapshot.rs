//! [`TableSnapshot`]: one version of a table, as everything above storage sees it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;

use super::index::{DataFile, FileIndex};
use super::scan::{LakeTable, time_range};
use super::table::is_small;
use super::{FileSummary, FileTimes, TableSpec, TableVersion};
use crate::base::Timestamp;

/// Event times of one file; `None` = unknown.
#[derive(Clone, Copy, Debug)]
pub struct TimeRange {
    pub earliest: Option<Timestamp>,
    pub latest: Option<Timestamp>,
    pub rows: Option<u64>,
}

/// The files of one version, immutable.
#[derive(Debug)]
pub struct TableSnapshot {
    index: Arc<FileIndex>,
}

impl TableSnapshot {
    pub(crate) fn new(index: Arc<FileIndex>) -> Self {
        Self { index }
    }

    /// What is known of each file.
    pub(crate) fn index(&self) -> &Arc<FileIndex> {
        &self.index
    }

    pub fn version(&self) -> TableVersion {
        self.index.version()
    }

    /// When the version was committed, by the clock of who committed it.
    pub fn committed_at(&self) -> Timestamp {
        self.index.committed_at()
    }

    pub fn spec(&self) -> &TableSpec {
        &self.index.layout().spec
    }

    /// Columns as users declared them. A provider gives text and bytes in their view layouts.
    pub fn columns(&self) -> SchemaRef {
        self.spec().columns.clone()
    }

    pub fn file_count(&self) -> usize {
        self.index.file_count()
    }

    /// Files of less than half of `target_bytes`: what compaction would like to merge.
    pub fn small_file_count(&self, target_bytes: u64) -> usize {
        self.index.files().filter(|file| is_small(file.size, target_bytes)).count()
    }

    pub fn row_count(&self) -> u64 {
        self.index.row_count()
    }

    /// Bytes of the Parquet files.
    pub fn bytes(&self) -> u64 {
        self.index.bytes()
    }

    /// The version last committed under a transaction id.
    pub fn transaction_version(&self, app_id: &str) -> Option<i64> {
        self.index.transaction_version(app_id)
    }

    /// What the log knows of the event times in each file, in no order.
    pub fn time_ranges(&self, column: &str) -> Vec<TimeRange> {
        self.index.files().map(|file| time_range(self.index.layout(), file, column)).collect()
    }

    /// The same of the files that `older` has and this version does not. Rows of `older` that are missing here
    /// ([`Self::rows_removed_since`]) were in these files.
    pub fn time_ranges_gone_since(&self, older: &TableSnapshot, column: &str) -> Vec<TimeRange> {
        let gone = self.index.files_gone_since(&older.index).into_iter();
        gone.map(|file| time_range(older.index.layout(), file, column)).collect()
    }

    /// All files, in no order, with their times of `column`.
    pub fn file_times(&self, column: &str) -> Vec<(FileSummary, FileTimes)> {
        self.index.files().map(|file| (FileSummary::of(file), self.times_in(file, column))).collect()
    }

    /// Rows of the files whose times of `column` are such; a file that does not say its rows counts as none.
    pub fn rows_of(&self, column: &str, is_such: impl Fn(&FileTimes) -> bool) -> u64 {
        let files = self.index.files().filter(|file| is_such(&self.times_in(file, column)));
        files.filter_map(|file| file.rows()).sum()
    }

    /// Of a file in the columns of this version.
    pub(crate) fn times_in(&self, file: &DataFile, column: &str) -> FileTimes {
        let ordered = self.index.layout().ordered();
        let Some((place, field)) = ordered.column_with_name(column) else { return FileTimes::Unknown };
        let rows = file.statistics.num_rows;
        let rows = matches!(rows, Precision::Exact(_)).then(|| rows.get_value().copied()).flatten();
        FileTimes::of(file.statistics.column_statistics.get(place), rows, field.is_nullable())
    }

    /// A provider that reads exactly this version.
    pub fn provider(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        Arc::new(LakeTable::new(&self.index))
    }

    /// Whether rows of `older` may be gone (deleted, replaced, or past the table's retention). Compaction takes none away.
    pub fn rows_removed_since(&self, older: &TableSnapshot) -> bool {
        self.index.rows_removed_since(&older.index)
    }

    /// All rows that `older` does not have, for advancing a set of keys, as a provider; `None` when there are none. Files
    /// that compaction made of rows `older` has are left out; one made of older and newer rows is given whole, so this may
    /// give rows that `older` has (who must not count a row twice, reads the log instead).
    pub fn provider_of_files_added_since(self: &Arc<Self>, older: &TableSnapshot) -> Option<Arc<dyn TableProvider>> {
        let files = self.index.files_added_since(&older.index);
        (!files.is_empty()).then(|| Arc::new(LakeTable::of_files(&self.index, &files)) as Arc<dyn TableProvider>)
    }
}
