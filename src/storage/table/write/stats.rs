//! The statistics of one file, from its Parquet footer into the JSON of the log.
//!
//! Bounds hold for every row: text longer than Parquet keeps is cut by Parquet so that a lower bound stays below and an
//! upper bound above; a column with a row group of unknown bounds has none.

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::value::{bound_json, has_bounds};

/// `{"numRecords":…,"minValues":{…},"maxValues":{…},"nullCount":{…}}`
pub(super) fn stats_json(schema: &Schema, metadata: &ParquetMetaData) -> Result<String, ParquetError> {
    let groups = metadata.row_groups();
    let parquet_schema = metadata.file_metadata().schema_descr();
    let (mut mins, mut maxs, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    for field in schema.fields().iter().filter(|field| !field.data_type().is_nested()) {
        let converter = StatisticsConverter::try_new(field.name(), schema, parquet_schema)?;
        let null_counts = converter.row_group_null_counts(groups)?;
        let name = serde_json::to_string(field.name()).map_err(|error| ParquetError::External(Box::new(error)))?;
        if null_counts.null_count() == 0 {
            let total: u64 = null_counts.values().iter().sum();
            nulls.push(format!("{name}:{total}"));
        }
        if !has_bounds(field.data_type()) || !all_known(field, groups, &null_counts, &converter)? {
            continue;
        }
        let min = extreme(&converter.row_group_mins(groups)?, std::cmp::Ordering::Less);
        let max = extreme(&converter.row_group_maxes(groups)?, std::cmp::Ordering::Greater);
        mins.extend(min.and_then(|value| bound_json(&value)).map(|json| format!("{name}:{json}")));
        maxs.extend(max.and_then(|value| bound_json(&value)).map(|json| format!("{name}:{json}")));
    }
    Ok(format!(
        "{{\"numRecords\":{},\"minValues\":{{{}}},\"maxValues\":{{{}}},\"nullCount\":{{{}}}}}",
        metadata.file_metadata().num_rows(),
        mins.join(","),
        maxs.join(","),
        nulls.join(",")
    ))
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
