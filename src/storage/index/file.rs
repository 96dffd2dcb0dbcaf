//! One Parquet file of a table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Utc};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use object_store::path::Path;

use super::action::{AddFile, relative_path};
use super::features::check_file;
use super::layout::Layout;
use super::root::TableRoot;
use super::statistics;
use crate::storage::spec::SORTED_BY_TAG;
use crate::storage::{StorageError, TableVersion};

/// A file as the log describes it, its statistics typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataFile {
    /// Below the table's folder, decoded; identifies the file.
    pub relative: Path,
    /// In the lake's store.
    pub location: Path,
    pub size: u64,
    pub modified: DateTime<Utc>,
    /// Columns the rows are sorted by, joined by commas; ascending, nulls last.
    pub sorted_by: Option<Box<str>>,
    /// All partition values, hidden ones too, as one text: equal texts, same partition.
    pub partition: Arc<str>,
    /// Every row was in the table by this version: that of the commit for new rows, an earlier one for rewritten rows. A
    /// file that was read from a checkpoint and says nothing has the checkpoint's.
    pub rows_until: TableVersion,
    /// Values of the plain partition columns, in table order.
    pub partition_values: Vec<ScalarValue>,
    /// In table order. Row count and null counts are exact where present; bounds as IDX-2 says.
    pub statistics: Arc<Statistics>,
}

impl DataFile {
    pub(super) fn from_add(root: &TableRoot, layout: &Layout, add: &AddFile) -> Result<DataFile, StorageError> {
        check_file(&root.name, add)?;
        let relative = relative_path(&root.name, &add.path)?;
        let partition_values = partition_values(root, layout, &add.partition_values)?;
        let value_of = |name: String| add.partition_values.get(&name).cloned().flatten();
        let hidden: Vec<Option<String>> =
            layout.hidden.iter().map(|(part, _)| value_of(part.partition_column())).collect();
        let statistics = statistics::typed(layout, add.stats.as_deref(), add.size, &partition_values, &hidden);
        let tag = add.tags.as_ref().and_then(|tags| tags.get(SORTED_BY_TAG)).cloned().flatten();
        Ok(DataFile {
            location: root.data_file(&relative),
            relative,
            size: add.size,
            modified: DateTime::from_timestamp_millis(add.modification_time).unwrap_or_default(),
            sorted_by: tag.map(String::into_boxed_str),
            partition: partition_text(layout, &add.partition_values),
            rows_until: TableVersion(add.rows_until),
            partition_values,
            statistics: Arc::new(statistics),
        })
    }

    /// Rows, when the log knows; files written by adlake always do.
    pub fn rows(&self) -> Option<u64> {
        self.statistics.num_rows.get_value().map(|rows| *rows as u64)
    }

    /// The same file under a later layout; `places` is `later.places_in(earlier)`. Columns the file's statistics do not
    /// cover are unknown, as they are when the log is read afresh (IDX-1).
    pub fn under(&self, places: &[Option<usize>]) -> DataFile {
        let known = |place: &Option<usize>| place.and_then(|at| self.statistics.column_statistics.get(at)).cloned();
        let columns = places.iter().map(|place| known(place).unwrap_or_else(ColumnStatistics::new_unknown)).collect();
        let statistics = Statistics { column_statistics: columns, ..self.statistics.as_ref().clone() };
        DataFile { statistics: Arc::new(statistics), ..self.clone() }
    }

    /// Whether no row has a null at `place`.
    pub fn has_no_nulls(&self, place: usize) -> bool {
        self.statistics.column_statistics.get(place).is_some_and(|column| column.null_count == Precision::Exact(0))
    }
}

fn partition_text(layout: &Layout, values: &HashMap<String, Option<String>>) -> Arc<str> {
    let part = |name: String| match values.get(&name).and_then(Option::as_deref) {
        Some(value) => format!("{name}={value:?}"),
        None => format!("{name}=null"),
    };
    layout.spec.partition_columns().into_iter().map(part).collect::<Vec<_>>().join("/").into()
}

fn partition_values(
    root: &TableRoot,
    layout: &Layout,
    values: &HashMap<String, Option<String>>,
) -> Result<Vec<ScalarValue>, StorageError> {
    let fields = layout.ordered().fields().iter().skip(layout.file_column_count());
    fields
        .map(|field| {
            let text = values.get(field.name()).and_then(Option::as_deref);
            partition_value(text, field.data_type()).map_err(|reason| StorageError::Damaged {
                message: format!("partition value of column '{}' of table '{}' {reason}", field.name(), root.name),
            })
        })
        .collect()
}

/// A partition value from its text in the log. The empty text is null, for every type.
/// Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization>
fn partition_value(text: Option<&str>, data_type: &DataType) -> Result<ScalarValue, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("is not readable: {error}");
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return ScalarValue::try_from(data_type).map_err(|error| unreadable(&error));
    };
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => statistics::exact_timestamp(text)
            .map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()))
            .ok_or_else(|| "is not a timestamp".to_owned()),
        _ => ScalarValue::try_from_string(text.to_owned(), data_type).map_err(|error| unreadable(&error)),
    }
}
