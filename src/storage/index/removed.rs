//! A file that went with its rows, as far as its commit tells what was in it.
//!
//! adlake tells the extremes of its times; other programs the partition values, at best.
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file>

use std::collections::HashMap;

use datafusion::common::ColumnStatistics;
use object_store::path::Path;

use super::action::{RemoveFile, relative_path};
use super::layout::Layout;
use super::statistics;
use crate::storage::{FileTimes, StorageError};

/// See the module.
#[derive(Debug)]
pub(crate) struct RemovedFile {
    pub path: Path,
    stats: Option<String>,
    partition_values: HashMap<String, Option<String>>,
}

impl RemovedFile {
    pub(super) fn parse(table: &str, remove: RemoveFile) -> Result<RemovedFile, StorageError> {
        let path = relative_path(table, &remove.path)?;
        Ok(RemovedFile { path, stats: remove.stats, partition_values: remove.partition_values.unwrap_or_default() })
    }

    /// The times of `column`, whose type is that of `layout`.
    pub fn times(&self, layout: &Layout, column: &str) -> FileTimes {
        let Ok(field) = layout.ordered().field_with_name(column) else { return FileTimes::Unknown };
        let (mut known, rows) = match &self.stats {
            Some(stats) => statistics::of_column(stats, column, field.data_type()),
            None => (ColumnStatistics::new_unknown(), None),
        };
        for part in layout.spec.partition_by.iter().filter(|part| part.column == column) {
            if let Some(Some(value)) = self.partition_values.get(&part.partition_column()) {
                statistics::bound_by_partition(&mut known, part.transform, value, field.data_type());
            }
        }
        FileTimes::of(Some(&known), rows, field.is_nullable())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::base::Timestamp;
    use crate::storage::index::fixture::{TestTable, spec};

    const DAY: i64 = 86_400_000_000;

    #[tokio::test]
    async fn what_a_commit_tells_of_a_file_that_went() {
        let index = TestTable::create(spec()).await.load().await.unwrap();
        let check = |remove: Value, expected: FileTimes| {
            let remove: RemoveFile = serde_json::from_value(remove).unwrap();
            assert_eq!(RemovedFile::parse("t", remove).unwrap().times(index.layout(), "t"), expected);
        };
        let between = |earliest, latest| FileTimes::Between {
            earliest: Timestamp(earliest),
            latest: Timestamp(latest),
            or_none: true,
        };
        check(json!({"path": "a"}), FileTimes::Unknown);
        check(json!({"path": "a", "partitionValues": {"t_day": "1970-01-02"}}), between(DAY, 2 * DAY - 1));
        check(json!({"path": "a", "partitionValues": {"t_day": null}}), FileTimes::Unknown);
        let stats = json!({"numRecords": 2, "minValues": {"t": "1970-01-01T00:00:00.000001Z"},
            "maxValues": {"t": "1970-01-01T00:00:00.5Z"}});
        check(json!({"path": "a", "stats": stats.to_string()}), between(1, 500_999));
        let stats = json!({"numRecords": 2, "nullCount": {"t": 2}});
        check(json!({"path": "a", "stats": stats.to_string()}), FileTimes::Without);
        check(json!({"path": "a", "stats": "no JSON"}), FileTimes::Unknown);
    }
}
