//! Values that cut the rows of a table into parts of about the same size, told by the page indexes of its files.
//!
//! A page has at most some thousand rows and says its smallest value, so the values of all pages in order are a sample of the
//! column, dense where rows are. Footers and page indexes come through the cache that scans use.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::Array;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::arrange::partitioned;
use super::provider::LakeTable;
use crate::base::Timestamp;
use crate::storage::index::{DataFile, Layout};
use crate::storage::{StorageError, TimeRange};

/// Times `[from, to)` of a column; an open end is None.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeWindow {
    pub column: String,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// What is known of the times of `column` in each file of `provider`, in no order; none when it is no table of a lake.
pub fn time_ranges(provider: &dyn TableProvider, column: &str) -> Vec<TimeRange> {
    let Some(table) = provider.downcast_ref::<LakeTable>() else { return Vec::new() };
    table.files().map(|file| time_range(table.layout(), file, column)).collect()
}

/// Values of `column`, ascending, with about `part_rows` rows between two neighbours, of the files that may have rows in
/// `within`; with more where parts would be no larger than a page of each file, since reading a part reads whole pages. None when it cannot be told: no table of a lake, files without statistics of their pages.
///
/// # Errors
/// A file that cannot be read.
pub async fn quantiles(
    provider: &dyn TableProvider,
    column: &str,
    within: Option<&TimeWindow>,
    part_rows: u64,
) -> Result<Option<Vec<ScalarValue>>, StorageError> {
    let Some(table) = provider.downcast_ref::<LakeTable>() else { return Ok(None) };
    let readers = CachedParquetFileReaderFactory::new(table.root().store.clone(), table.root().metadata_cache.clone());
    let mut pages: Vec<(ScalarValue, u64)> = Vec::new();
    let mut files = 0;
    for file in table.files().filter(|file| may_be_within(table.layout(), file, within)) {
        let reading = |error: ParquetError| {
            StorageError::engine(format!("read the page index of '{}'", file.location), error.into())
        };
        let reader = readers.create_reader(0, partitioned(file), None, &ExecutionPlanMetricsSet::new());
        let mut reader = reader.map_err(|error| StorageError::engine("open a file", error))?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.get_metadata(Some(&options)).await.map_err(reading)?;
        match page_minima(table.layout(), &metadata, column).map_err(reading)? {
            Some(found) => pages.extend(found),
            None => return Ok(None),
        }
        files += 1;
    }
    let rows: u64 = pages.iter().map(|(_, rows)| rows).sum();
    let of_a_page_each = rows.saturating_mul(files) / (pages.len() as u64).max(1);
    Ok(cut(pages, part_rows.max(of_a_page_each)))
}

/// The smallest value of each page that has any, and the rows of the page; None: they are not known.
fn page_minima(
    layout: &Layout,
    metadata: &Arc<ParquetMetaData>,
    column: &str,
) -> Result<Option<Vec<(ScalarValue, u64)>>, ParquetError> {
    let (Some(pages), Some(offsets)) = (metadata.column_index(), metadata.offset_index()) else { return Ok(None) };
    let schema = layout.spec.file_schema();
    let converter = StatisticsConverter::try_new(column, &schema, metadata.file_metadata().schema_descr())?;
    let groups: Vec<usize> = (0..metadata.num_row_groups()).collect();
    let minima = converter.data_page_mins(pages, offsets, &groups)?;
    let Some(rows) = converter.data_page_row_counts(offsets, metadata.row_groups(), &groups)? else { return Ok(None) };
    let known = (0..minima.len()).filter(|at| minima.is_valid(*at) && rows.is_valid(*at));
    let found = known.filter_map(|at| Some((ScalarValue::try_from_array(&minima, at).ok()?, rows.value(at))));
    let found: Vec<_> = found.collect();
    Ok((!found.is_empty()).then_some(found))
}

/// Values at which `part_rows` rows have gone by since the one before, none twice; None: values that do not compare.
fn cut(mut pages: Vec<(ScalarValue, u64)>, part_rows: u64) -> Option<Vec<ScalarValue>> {
    let mut is_ordered = true;
    pages.sort_by(|(left, _), (right, _)| {
        left.partial_cmp(right).unwrap_or_else(|| {
            is_ordered = false;
            Ordering::Equal
        })
    });
    let mut points: Vec<ScalarValue> = Vec::new();
    let mut rows = 0;
    for (value, page_rows) in pages {
        if rows >= part_rows && points.last() != Some(&value) {
            points.push(value);
            rows = 0;
        }
        rows += page_rows;
    }
    is_ordered.then_some(points)
}

fn may_be_within(layout: &Layout, file: &DataFile, within: Option<&TimeWindow>) -> bool {
    let Some(window) = within else { return true };
    let range = time_range(layout, file, &window.column);
    let ends_before = range.latest.zip(window.from).is_some_and(|(latest, from)| latest < from);
    let begins_behind = range.earliest.zip(window.to).is_some_and(|(earliest, to)| earliest >= to);
    !ends_before && !begins_behind
}

/// What the log knows of the times in a file.
pub(in crate::storage) fn time_range(layout: &Layout, file: &DataFile, column: &str) -> TimeRange {
    let place = layout.ordered().index_of(column).ok();
    let column = place.and_then(|place| file.statistics.column_statistics.get(place));
    let micros = |value: Option<&ScalarValue>| match value {
        Some(ScalarValue::TimestampMicrosecond(micros, _)) => micros.map(Timestamp),
        _ => None,
    };
    TimeRange {
        earliest: micros(column.and_then(|column| column.min_value.get_value())),
        latest: micros(column.and_then(|column| column.max_value.get_value())),
        rows: file.rows(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_about_as_many_rows_as_asked_for() {
        let pages = |values: &[i64]| values.iter().map(|value| (ScalarValue::from(*value), 10)).collect::<Vec<_>>();
        let points = |values: &[i64], rows| cut(pages(values), rows).unwrap();
        let scalars = |values: &[i64]| values.iter().copied().map(ScalarValue::from).collect::<Vec<_>>();
        assert_eq!(points(&[5, 1, 3, 2, 4, 6], 20), scalars(&[3, 5]));
        assert_eq!(points(&[1, 2, 3], 1_000), scalars(&[]));
        assert_eq!(points(&[7, 7, 7, 7, 8], 10), scalars(&[7, 8]), "one value is one part, however many rows it has");
        assert_eq!(points(&[], 10), scalars(&[]));
        assert_eq!(cut(vec![(ScalarValue::from(1_i64), 1), (ScalarValue::from("a"), 1)], 1), None);
    }
}
