//! The statistics of one file, from its Parquet footer into the JSON of the log.
//!
//! Bounds hold for every row: text longer than Parquet keeps is cut by Parquet so that a lower bound stays below and an
//! upper bound above; a column with a row group of unknown bounds has none.

use std::fmt::Display;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use serde_json::Value;

use super::value::{bound_json, has_bounds};

/// The statistics of a file as the log writes them: `{"numRecords":…,"minValues":{…},"maxValues":{…},"nullCount":{…}}`.
#[derive(Debug, Default)]
pub(in crate::storage::table) struct StatsText {
    rows: Option<String>,
    mins: Vec<String>,
    maxs: Vec<String>,
    nulls: Vec<String>,
}

impl StatsText {
    /// `rows`: of the whole file; None: not known.
    pub fn new(rows: Option<impl Display>) -> Self {
        Self { rows: rows.map(|rows| format!("\"numRecords\":{rows},")), ..Self::default() }
    }

    pub fn nulls(&mut self, column: &str, count: impl Display) {
        self.nulls.push(format!("{}:{count}", Value::from(column)));
    }

    /// Bounds of types that have none are left out.
    pub fn bounds(&mut self, column: &str, (min, max): (Option<&ScalarValue>, Option<&ScalarValue>)) {
        let bound = |value: &ScalarValue| Some(format!("{}:{}", Value::from(column), bound_json(value)?));
        self.mins.extend(min.and_then(bound));
        self.maxs.extend(max.and_then(bound));
    }

    pub fn text(self) -> String {
        let Self { rows, mins, maxs, nulls } = self;
        let (mins, maxs, nulls) = (mins.join(","), maxs.join(","), nulls.join(","));
        let rows = rows.unwrap_or_default();
        format!("{{{rows}\"minValues\":{{{mins}}},\"maxValues\":{{{maxs}}},\"nullCount\":{{{nulls}}}}}")
    }
}

/// From the footer.
pub(super) fn stats_json(schema: &Schema, metadata: &ParquetMetaData) -> Result<String, ParquetError> {
    let groups = metadata.row_groups();
    let parquet_schema = metadata.file_metadata().schema_descr();
    let mut stats = StatsText::new(Some(metadata.file_metadata().num_rows()));
    for field in schema.fields().iter().filter(|field| !field.data_type().is_nested()) {
        let converter = StatisticsConverter::try_new(field.name(), schema, parquet_schema)?;
        let null_counts = converter.row_group_null_counts(groups)?;
        if null_counts.null_count() == 0 {
            let total: u64 = null_counts.values().iter().sum();
            stats.nulls(field.name(), total);
        }
        if !has_bounds(field.data_type()) || !all_known(field, groups, &null_counts, &converter)? {
            continue;
        }
        let min = extreme(&converter.row_group_mins(groups)?, std::cmp::Ordering::Less);
        let max = extreme(&converter.row_group_maxes(groups)?, std::cmp::Ordering::Greater);
        stats.bounds(field.name(), (min.as_ref(), max.as_ref()));
    }
    Ok(stats.text())
}

/// Whether every row group with a value has bounds.
fn all_known(
    _field: &Field,
    groups: &[RowGroupMetaData],
    null_counts: &UInt64Array,
    converter: &StatisticsConverter<'_>,
) -> Result<bool, ParquetError> {
    let (mins, maxs) = (converter.row_group_mins(groups)?, converter.row_group_maxes(groups)?);
    Ok(groups.iter().enumerate().all(|(at, group)| {
        let rows = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
        let all_null = null_counts.is_valid(at) && null_counts.value(at) == rows;
        all_null || (mins.is_valid(at) && maxs.is_valid(at))
    }))
}

fn extreme(values: &ArrayRef, wanted: std::cmp::Ordering) -> Option<ScalarValue> {
    let known = (0..values.len()).filter(|at| values.is_valid(*at));
    let scalars = known.filter_map(|at| ScalarValue::try_from_array(values, at).ok());
    scalars.reduce(|best, next| if next.partial_cmp(&best) == Some(wanted) { next } else { best })
}
